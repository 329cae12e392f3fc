"""Fingerprints and decoded images of data sets in files, stored in the cache directory."""

import json
import logging
import os
import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import IO
from uuid import uuid4

import numpy as np
from jaxtyping import UInt8

from agent.storage.checkpoint import sync_folder

_logger = logging.getLogger(__name__)

DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error)
"""What `np.load` raises for a damaged file."""


@dataclass(frozen=True)
class FolderRecord:
    """What the cache knows about one data set in files: a folder or a file."""

    root: str
    """Absolute path, without links."""
    listing: str
    """Digest of the names, sizes and times of its files."""
    fingerprint: str
    """Digest of its content, valid while the listing stays the same."""
    decoded: str = ""
    """Names of the files with its decoded images, one for each size, separated by blanks; empty if there is none."""
    what: str = ""
    """Tells apart the data sets that have the same root; empty for a folder of images."""


def read_record(cache_dir: Path, root: Path, what: str = "") -> FolderRecord | None:
    """The record of `root`; None if it is missing or damaged."""
    record = _parse_record(_record_file(cache_dir, root, what))
    return record if record is not None and (record.root, record.what) == (str(root), what) else None


def write_record(cache_dir: Path, record: FolderRecord) -> None:
    """Replace the record of the data set. If writing fails, its files are hashed again next time."""
    content = json.dumps(asdict(record), indent=2).encode()  # ASCII escapes also hold names that are not valid UTF-8
    file = _record_file(cache_dir, Path(record.root), record.what)
    try:
        write_atomically(file, lambda stream: stream.write(content))
    except OSError as error:
        _logger.debug("fingerprint not stored: %s", error)


def cache_dir_of(data_dir: Path | None) -> Path:
    """Where data sets and caches are stored: `data_dir`, or the user's cache directory."""
    if data_dir is not None:
        return data_dir
    from platformdirs import user_cache_path

    return user_cache_path("learn-or-memorize")


def decoded_file(cache_dir: Path, name: str) -> Path:
    """The path of the file `name` of decoded images."""
    return cache_dir / "folders" / name


def read_decoded(file: Path, shape: tuple[int, ...]) -> UInt8[np.ndarray, "n 3 size size"] | None:
    """The images in `file`; None if it is missing or damaged (the zip format has a checksum)."""
    arrays = read_arrays(file, ("images",), lambda found: _check_images(found["images"], shape))
    return None if arrays is None else arrays["images"]


def read_arrays(
    file: Path, names: tuple[str, ...], check: Callable[[dict[str, np.ndarray]], None]
) -> dict[str, np.ndarray] | None:
    """The arrays `names` in `file`; None if it is missing or damaged, or if `check` raises a ValueError."""
    try:
        with np.load(file, allow_pickle=False) as found:
            arrays = {name: found[name] for name in names}
        check(arrays)
    except FileNotFoundError:
        return None
    except DAMAGE as error:
        _logger.warning("expected an intact cache file at %s, got %s; decoding the images again", file, error)
        return None
    return arrays


def _check_images(images: np.ndarray, shape: tuple[int, ...]) -> None:
    if images.dtype != np.uint8 or images.shape != shape:
        raise ValueError(f"{images.dtype} {images.shape}")


def write_decoded(file: Path, images: UInt8[np.ndarray, "n 3 size size"], **more: np.ndarray) -> bool:
    """Store the decoded images, and what belongs to them; if that fails, log a warning and return False."""
    try:
        write_atomically(file, lambda stream: np.savez(stream, images=images, **more))  # type: ignore[arg-type]
    except OSError as error:
        _logger.warning(
            "expected a writable cache directory (--data-dir), got %s; the images will be decoded again next time",
            error,
        )
        return False
    return True


def use_decoded(cache_dir: Path, record: FolderRecord, name: str) -> None:
    """Record that decoded images of a data set are in the file `name`, and remove its previous file of their size.

    The files of other sizes stay if they have the same content. Data sets with the same content share a file, so a file
    that another one uses stays.
    """
    before = record.decoded.split()
    if name in before:
        return
    others = [each for each in before if _content_of(each) == _content_of(name) and _size_in(each) != _size_in(name)]
    write_record(cache_dir, replace(record, decoded=" ".join([*others, name])))
    try:
        for stale in decoded_file(cache_dir, "").glob(f"{_digest_of_path(Path(record.root))}-*.npz"):
            stale.unlink(missing_ok=True)  # of an earlier version, which wrote one file for each folder
        used = _decoded_in_use(cache_dir) if before else set()
        for stale_name in set(before) - used:
            decoded_file(cache_dir, stale_name).unlink(missing_ok=True)
    except OSError as error:
        _logger.debug("stale decoded images not removed: %s", error)


def _content_of(name: str) -> str:
    return name.partition("-")[0]


def _size_in(name: str) -> str:
    """The size in the name of a decoded file; empty for the default size."""
    return "".join(name.removesuffix(".npz").split("-")[2:])


def _decoded_in_use(cache_dir: Path) -> set[str]:
    """The decoded files of all data sets that still exist; the records of others are removed."""
    used: set[str] = set()
    for file in _records(cache_dir).glob("*.json"):
        record = _parse_record(file)
        if record is not None and Path(record.root).exists():
            used.update(record.decoded.split())
        else:
            file.unlink(missing_ok=True)
    return used


def _records(cache_dir: Path) -> Path:
    return cache_dir / "folder-fingerprints"


def _record_file(cache_dir: Path, root: Path, what: str) -> Path:
    suffix = f"-{blake2b(what.encode(), digest_size=4).hexdigest()}" if what else ""
    return _records(cache_dir) / f"{_digest_of_path(root)}{suffix}.json"


def _digest_of_path(root: Path) -> str:
    return blake2b(os.fsencode(root), digest_size=8).hexdigest()


def _parse_record(file: Path) -> FolderRecord | None:
    try:
        record = FolderRecord(**json.loads(file.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    intact = (
        all(isinstance(value, str) for value in asdict(record).values())
        and re.fullmatch("[0-9a-f]{32}", record.fingerprint)
        and all(re.fullmatch(r"[0-9a-f]+-[0-9a-f]+(-[0-9]+)?\.npz", name) for name in record.decoded.split())
    )
    return record if intact else None


def write_atomically(file: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write and sync a temporary file, then rename it to `file`, so that readers only see a complete file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(f".{uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
        sync_folder(file.parent)
    finally:
        temporary.unlink(missing_ok=True)
