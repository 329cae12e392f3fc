"""Features of images on disk, by the content of the images."""

import logging
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float16, Shaped
from torch import Tensor

_logger = logging.getLogger(__name__)

_WAIT_SECONDS = 60
"""For another process that writes."""
_CHECKSUM_NBYTES = 4


class FeatureStore:
    """A file with a row of float16 for each image that was ever asked for, and a checksum of both.

    Processes may read and write it at once. Rows that were damaged are a warning, and not found. A file that cannot be
    read or written, such as on a full disk, is a warning, and not used any more.

    Args:
        file: the SQLite database; it is made, with its folder, when the first rows are written.
        length: numbers in a row.
    """

    def __init__(self, file: Path, length: int) -> None:
        self.file, self.length = file, length
        self._usable = True

    def read(self, contents: Sequence[bytes]) -> tuple[Float16[Tensor, "n length"], Bool[Tensor, " n"]]:
        """The rows of images, and whether each of them was found; the others are 0.

        Args:
            contents: of the images, from `contents_of`.
        """
        rows = np.zeros((len(contents), self.length), dtype=np.float16)
        found = np.zeros(len(contents), dtype=bool)
        with self._warned("read"):
            if self._usable and self.file.exists():
                with self._opened() as database:
                    stored = _wanted(database, contents)
                intact = [(place, row) for place, row in stored if self._is_intact(contents[place], row)]
                if len(intact) < len(stored):
                    _logger.warning("expected intact features in %s, got damaged ones; computing them again", self.file)
                places = [place for place, _ in intact]
                values = b"".join(row[_CHECKSUM_NBYTES:] for _, row in intact)
                rows[places] = np.frombuffer(values, np.float16).reshape(-1, self.length)
                found[places] = True
        return torch.from_numpy(rows), torch.from_numpy(found)

    def write(self, contents: Sequence[bytes], rows: Float16[Tensor, "n length"]) -> None:
        """Store the rows of images, in place of any that they have."""
        pairs = ((content, row.tobytes()) for content, row in zip(contents, rows.numpy(), strict=True))
        checked = [(content, _checksum(content, row) + row) for content, row in pairs]
        with self._warned("written"):
            if self._usable:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                with self._opened() as database:
                    database.execute("PRAGMA page_size = 16384")  # of a new file; one of 4096 has room for one row
                    database.execute(
                        "CREATE TABLE IF NOT EXISTS features (content BLOB PRIMARY KEY, row BLOB NOT NULL)"
                    )
                    database.executemany("INSERT OR REPLACE INTO features VALUES (?, ?)", checked)

    def _is_intact(self, content: bytes, row: Any) -> bool:
        if not isinstance(row, bytes) or len(row) != _CHECKSUM_NBYTES + 2 * self.length:
            return False  # not even its type is sure in a damaged file
        return row[:_CHECKSUM_NBYTES] == _checksum(content, row[_CHECKSUM_NBYTES:])

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """The database in a transaction."""
        with closing(sqlite3.connect(self.file, timeout=_WAIT_SECONDS)) as database, database:
            database.execute("PRAGMA temp_store = MEMORY")
            yield database

    @contextmanager
    def _warned(self, what: str) -> Iterator[None]:
        """An error of the file is a warning, after which it is not used any more."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            self._usable = False
            _logger.warning(
                "expected a file of features that can be %s at %s, got: %s; computing them without keeping any%s",
                what,
                self.file,
                error,
                " (remove the damaged file)" if type(error) is sqlite3.DatabaseError else "",
            )


def _wanted(database: sqlite3.Connection, contents: Sequence[bytes]) -> list[tuple[int, Any]]:
    """The place in `contents` and the row of each image that is stored."""
    database.execute("CREATE TEMP TABLE wanted (place INTEGER PRIMARY KEY, content BLOB)")
    database.executemany("INSERT INTO wanted VALUES (?, ?)", enumerate(contents))
    return database.execute("SELECT place, row FROM wanted JOIN features USING (content)").fetchall()


def _checksum(content: bytes, row: bytes) -> bytes:
    return zlib.crc32(row, zlib.crc32(content)).to_bytes(_CHECKSUM_NBYTES, "little")


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
