"""Features of images on disk, by the content of the images."""

import logging
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float16, Shaped
from torch import Tensor

_logger = logging.getLogger(__name__)

_WAIT_SECONDS = 60
"""For another process that writes."""
_CHECKSUM_NBYTES = 4


class FeatureStore:
    """A file with a row of float16 for each image that was ever asked for, and a checksum for each row.

    Processes may read and write it at once. A file that cannot be read or written is a warning, and features are
    computed again; so is a row that was damaged.

    Args:
        file: the SQLite database; it is made, with its folder, when the first rows are written.
        length: numbers in a row.
    """

    def __init__(self, file: Path, length: int) -> None:
        self.file, self.length = file, length

    def read(self, contents: Sequence[bytes]) -> tuple[Float16[Tensor, "n length"], Bool[Tensor, " n"]]:
        """The rows of images, and whether each of them was found; the others are 0.

        Args:
            contents: of the images, from `contents_of`.
        """
        rows = np.zeros((len(contents), self.length), dtype=np.float16)
        found = np.zeros(len(contents), dtype=bool)
        if self.file.exists():
            with self._opened("read") as database:
                database.execute("CREATE TEMP TABLE wanted (place INTEGER PRIMARY KEY, content BLOB)")
                database.executemany("INSERT INTO wanted VALUES (?, ?)", enumerate(contents))
                stored = database.execute("SELECT place, row FROM wanted JOIN features USING (content)").fetchall()
                intact = [(place, row[_CHECKSUM_NBYTES:]) for place, row in stored if self._is_intact(row)]
                if len(intact) < len(stored):
                    _logger.warning("expected intact features in %s, got damaged ones; computing them again", self.file)
                places = [place for place, _ in intact]
                found[places] = True
                rows[places] = np.frombuffer(b"".join(row for _, row in intact), np.float16).reshape(-1, self.length)
        return torch.from_numpy(rows), torch.from_numpy(found)

    def write(self, contents: Sequence[bytes], rows: Float16[Tensor, "n length"]) -> None:
        """Store the rows of images, in place of any that they have."""
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            _warn("written", self.file, error)
            return
        with self._opened("written") as database:
            database.execute("PRAGMA page_size = 16384")  # of a new file; a page of 4096 bytes has room for one row
            database.execute("CREATE TABLE IF NOT EXISTS features (content BLOB PRIMARY KEY, row BLOB NOT NULL)")
            written = (row.tobytes() for row in rows.numpy())
            checked = (_checksum(row) + row for row in written)
            database.executemany("INSERT OR REPLACE INTO features VALUES (?, ?)", zip(contents, checked, strict=True))

    def _is_intact(self, row: bytes) -> bool:
        values = row[_CHECKSUM_NBYTES:]
        return len(values) == 2 * self.length and row[:_CHECKSUM_NBYTES] == _checksum(values)

    @contextmanager
    def _opened(self, what: str) -> Iterator[sqlite3.Connection]:
        """The database in a transaction; an error of SQLite is a warning."""
        try:
            with closing(sqlite3.connect(self.file, timeout=_WAIT_SECONDS)) as database, database:
                database.execute("PRAGMA temp_store = MEMORY")
                yield database
        except sqlite3.Error as error:
            _warn(what, self.file, error)


def _warn(what: str, file: Path, error: Exception) -> None:
    _logger.warning(
        "expected features that can be %s at %s, got: %s; computing them again each time (remove a damaged file)",
        what,
        file,
        error,
    )


def _checksum(values: bytes) -> bytes:
    return zlib.crc32(values).to_bytes(_CHECKSUM_NBYTES, "little")


def contents_of(images: Shaped[Tensor, "n ..."]) -> list[bytes]:
    """A digest of each image, of its type, shape and values; equal images have equal ones."""
    plain = images.cpu().contiguous()
    shared = blake2b(f"{plain.dtype} {tuple(plain.shape[1:])}".encode(), digest_size=16)
    contents = []
    for image in plain.flatten(1).numpy():
        digest = shared.copy()
        digest.update(image)
        contents.append(digest.digest())
    return contents
