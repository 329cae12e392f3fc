"""Fingerprints and decoded images of image folders, stored in the cache directory."""

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

_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error)
"""What `np.load` raises for a damaged file."""


@dataclass(frozen=True)
class FolderRecord:
    """What the cache knows about one folder."""

    root: str
    """Absolute path, without links."""
    listing: str
    """Digest of the names, sizes and times of its images."""
    fingerprint: str
    """Digest of its content, valid while the listing stays the same."""
    decoded: str = ""
    """Name of the file with its decoded images; empty if there is none yet."""


def read_record(cache_dir: Path, root: Path) -> FolderRecord | None:
    """The record of `root`; None if it is missing or damaged."""
    record = _parse_record(_record_file(cache_dir, root))
    return record if record is not None and record.root == str(root) else None


def write_record(cache_dir: Path, record: FolderRecord) -> None:
    """Replace the record of the folder. If writing fails, the folder is hashed again next time."""
    content = json.dumps(asdict(record), indent=2).encode()  # ASCII escapes also hold names that are not valid UTF-8
    try:
        _write_atomically(_record_file(cache_dir, Path(record.root)), lambda stream: stream.write(content))
    except OSError as error:
        _logger.debug("fingerprint not stored: %s", error)


def decoded_file(cache_dir: Path, name: str) -> Path:
    """The path of the file `name` of decoded images."""
    return cache_dir / "folders" / name


def read_decoded(file: Path, shape: tuple[int, ...]) -> UInt8[np.ndarray, "n 3 32 32"] | None:
    """The images in `file`; None if it is missing or damaged (the zip format has a checksum)."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            images = arrays["images"]
        if images.dtype != np.uint8 or images.shape != shape:
            raise ValueError(f"{images.dtype} {images.shape}")
    except FileNotFoundError:
        return None
    except _DAMAGE as error:
        _logger.warning("expected an intact cache file at %s, got %s; decoding the images again", file, error)
        return None
    return images


def write_decoded(file: Path, images: UInt8[np.ndarray, "n 3 32 32"]) -> bool:
    """Store the decoded images; if that fails, log a warning and return False."""
    try:
        _write_atomically(file, lambda stream: np.savez(stream, images=images))
    except OSError as error:
        _logger.warning(
            "expected a writable cache directory (--data-dir), got %s; the images will be decoded again next time",
            error,
        )
        return False
    return True


def use_decoded(cache_dir: Path, record: FolderRecord, name: str) -> None:
    """Record that the decoded images of a folder are in the file `name`, and remove its previous file.

    Folders with the same content share a file, so a file that another folder uses stays.
    """
    if record.decoded == name:
        return
    write_record(cache_dir, replace(record, decoded=name))
    try:
        for stale in decoded_file(cache_dir, "").glob(f"{_digest_of_path(Path(record.root))}-*.npz"):
            stale.unlink(missing_ok=True)  # of an earlier version, which wrote one file for each folder
        if record.decoded and record.decoded not in _decoded_in_use(cache_dir):
            decoded_file(cache_dir, record.decoded).unlink(missing_ok=True)
    except OSError as error:
        _logger.debug("stale decoded images not removed: %s", error)


def _decoded_in_use(cache_dir: Path) -> set[str]:
    """The decoded files of all folders that still exist; the records of other folders are removed."""
    used = set()
    for file in _records(cache_dir).glob("*.json"):
        record = _parse_record(file)
        if record is not None and Path(record.root).is_dir():
            used.add(record.decoded)
        else:
            file.unlink(missing_ok=True)
    return used


def _records(cache_dir: Path) -> Path:
    return cache_dir / "folder-fingerprints"


def _record_file(cache_dir: Path, root: Path) -> Path:
    return _records(cache_dir) / f"{_digest_of_path(root)}.json"


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
        and re.fullmatch(r"([0-9a-f]+-[0-9a-f]+\.npz)?", record.decoded)
    )
    return record if intact else None


def _write_atomically(file: Path, write: Callable[[IO[bytes]], object]) -> None:
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
