"""The content of the files of a data set: a fingerprint of it, and what was decoded from it, in the cache directory."""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from agent.errors import DatasetError
from scenarios.datasets.folder_cache import (
    FolderRecord,
    decoded_file,
    read_decoded,
    read_record,
    use_decoded,
    write_decoded,
    write_record,
)
from scenarios.datasets.image_decoding import IMAGE_SIZE, decoder_versions
from scenarios.datasets.source import Progress

_FORMAT_VERSION = 2  # of the decoded images: increase it when decoding gives other pixels
_ROWS_PER_TASK = 128  # a task for each row would cost more than decoding a small file
_READ_NBYTES = 1 << 20
_CLOCK_TICK_SECONDS = 0.02  # file systems may give two changes within this time the same time stamp


@runtime_checkable
class OnDisk(Protocol):
    """A file of a data set, with what the file system reports about it."""

    @property
    def path(self) -> str:
        """Its path."""

    @property
    def nbytes(self) -> int:
        """Its size."""

    @property
    def mtime_ns(self) -> int:
        """When its content last changed."""

    @property
    def ctime_ns(self) -> int:
        """When its content or its properties last changed."""

    @property
    def inode(self) -> int:
        """Its number in the file system."""


class ListedFile(NamedTuple):
    """A file that is no image of its own; see `OnDisk`."""

    path: str
    nbytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int


def list_file(path: Path) -> ListedFile:
    """What the file system reports about a file; raises OSError if it cannot."""
    info = path.stat()
    return ListedFile(str(path), info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino)


def record_of(
    root: Path, names: Sequence[bytes], files: Sequence[OnDisk], cache_dir: Path, what: str = ""
) -> FolderRecord:
    """The stored record of the files of a data set, or a new one if one of them has changed.

    Args:
        root: an absolute path without links, of the data set.
        names: what the fingerprint holds of each file besides its bytes.
        files: in the order of `names`.
        cache_dir: where records are stored.
        what: tells apart the data sets that have the same root.

    Raises:
        DatasetError: a file cannot be read, or changes meanwhile.
    """
    digest = blake2b(digest_size=16)
    for name, file in zip(names, files, strict=True):
        digest.update(name + f"{file.nbytes} {file.mtime_ns} {file.ctime_ns} {file.inode}\n".encode())
    known = read_record(cache_dir, root, what)
    if known is not None and known.listing == digest.hexdigest():
        return known
    decoded = known.decoded if known is not None else ""
    record = FolderRecord(str(root), digest.hexdigest(), _hash_content(names, files), decoded, what)
    write_record(cache_dir, record)
    return record


def decoded_once(
    record: FolderRecord,
    cache_dir: Path,
    shape: tuple[int, ...],
    decode: Callable[[], UInt8[np.ndarray, "n 3 size size"]],
    *choices: str,
) -> UInt8[np.ndarray, "n 3 size size"]:
    """The decoded images of a data set: from the cache, or decoded now and stored.

    Args:
        record: of the data set.
        cache_dir: where decoded images are stored. If they cannot be, a warning is logged.
        shape: of the images.
        decode: decodes all of them.
        choices: what else decides the pixels.
    """
    name = decoded_name(record, shape[-1], *choices)
    cache_file = decoded_file(cache_dir, name)
    images = read_decoded(cache_file, shape)
    stored = images is not None
    if images is None:
        images = decode()
        stored = write_decoded(cache_file, images)
    if stored:
        use_decoded(cache_dir, record, name)
    return images


def decoded_name(record: FolderRecord, size: int, *choices: str) -> str:
    """The name of the file of decoded images, which says their content, size and decoders."""
    versions = repr((_FORMAT_VERSION, size, sorted(decoder_versions().items()), *choices))
    of_size = "" if size == IMAGE_SIZE else f"-{size}"
    return f"{record.fingerprint}-{blake2b(versions.encode(), digest_size=8).hexdigest()}{of_size}.npz"


def _hash_content(names: Sequence[bytes], files: Sequence[OnDisk]) -> str:
    newest_seconds = max(file.ctime_ns for file in files) / 1e9
    # Wait until the clock has passed the newest file, so that any later change has another time stamp.
    time.sleep(min(max(newest_seconds + _CLOCK_TICK_SECONDS - time.time(), 0), _CLOCK_TICK_SECONDS))
    digests = [b""] * len(files)

    def hash_one(row: int) -> None:
        digests[row] = hash_file(files[row].path)
        check_unchanged(files[row])

    in_threads(len(files), hash_one, None)
    digest = blake2b(digest_size=16)
    for name, content in zip(names, digests, strict=True):
        digest.update(name + content)
    return digest.hexdigest()


def hash_file(path: str) -> bytes:
    """A digest of the bytes of a file; raises DatasetError if it cannot be read."""
    digest = blake2b(digest_size=16)
    try:
        with open(path, "rb", buffering=0) as stream:  # noqa: PTH123 - 60,000 Paths are slow
            while content := stream.read(_READ_NBYTES):
                digest.update(content)
    except OSError as error:
        raise DatasetError(f"expected a readable file, got {path} ({error}); repair or remove the file") from error
    return digest.digest()


def check_unchanged(file: OnDisk) -> None:
    """Reject a file that has changed since it was listed: its digest or pixels may not match the listing."""
    try:
        status = os.stat(file.path)  # noqa: PTH116 - 60,000 Paths are slow
        same = (status.st_size, status.st_mtime_ns) == (file.nbytes, file.mtime_ns)
    except OSError:
        same = False
    if not same:
        raise DatasetError(
            f"expected files that stay as they are while they are read, got a change of {file.path}; "
            "try again once nothing writes to it"
        )


def in_threads(n: int, work: Callable[[int], None], progress: Progress | None, workers: int | None = None) -> None:
    """Call `work` with each row from 0 to n - 1; reading, hashing and decoding release the GIL.

    Args:
        n: number of rows.
        work: may raise anything, which ends the work.
        progress: called after each task.
        workers: threads; None for one on each core.
    """

    workers = workers or os.cpu_count() or 1
    at_once = max(1, min(_ROWS_PER_TASK, n // (4 * workers)))

    def work_from(start: int) -> int:
        stop = min(start + at_once, n)
        for row in range(start, stop):
            work(row)
        return stop

    with ThreadPoolExecutor(max_workers=workers) as threads:
        try:
            for done in threads.map(work_from, range(0, n, at_once)):
                if progress is not None:
                    progress(done, n)
        except BaseException:
            threads.shutdown(wait=True, cancel_futures=True)
            raise
