"""What the cache directory keeps of image folders: their fingerprints and their decoded images."""

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


@dataclass(frozen=True)
class FolderRecord:
    """What is known of one folder.

    Attributes:
        root: the folder, absolute and without links.
        listing: digest of its listing, with sizes and times.
        fingerprint: of its content, for as long as the listing stays.
        decoded: name of the file of its decoded images; empty if there is none yet.
    """

    root: str
    listing: str
    fingerprint: str
    decoded: str = ""


def read_record(cache_dir: Path, root: Path) -> FolderRecord | None:
    """The record of `root`; None if there is none that can be read."""
    record = _parse_record(_record_file(cache_dir, root))
    return record if record is not None and record.root == str(root) else None


def write_record(cache_dir: Path, record: FolderRecord) -> None:
    """Keep `record` in place of an earlier one of its folder. Where that fails, the folder is only hashed again."""
    content = json.dumps(asdict(record), indent=2).encode()  # ASCII, which holds names that are no UTF-8, too
    try:
        _write_whole(_record_file(cache_dir, Path(record.root)), lambda stream: stream.write(content))
    except OSError as error:
        _logger.debug("fingerprint not kept: %s", error)


def decoded_file(cache_dir: Path, name: str) -> Path:
    """Where decoded images are kept."""
    return cache_dir / "folders" / name


def read_decoded(file: Path, shape: tuple[int, ...]) -> UInt8[np.ndarray, "n 3 32 32"] | None:
    """The images of `file`, or None if there is no such file or it is damaged (zip keeps a checksum)."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            images = arrays["images"]
        if images.dtype != np.uint8 or images.shape != shape:
            raise ValueError(f"{images.dtype} {images.shape}")
    except FileNotFoundError:
        return None
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        _logger.warning("expected a sound cache file at %s, got %s; decoding the images again", file, error)
        return None
    return images


def write_decoded(file: Path, images: UInt8[np.ndarray, "n 3 32 32"]) -> bool:
    """Keep the decoded images; False, and a warning, if that fails."""
    try:
        _write_whole(file, lambda stream: np.savez(stream, images=images))
    except OSError as error:
        _logger.warning(
            "expected a writable cache directory (--data-dir), got %s; the images will be decoded again next time",
            error,
        )
        return False
    return True


def use_decoded(cache_dir: Path, record: FolderRecord, name: str) -> None:
    """Record that the images of a folder lie in the decoded file `name`, and remove the one they lay in before.

    Folders of the same content share a file: one that another folder uses stays.
    """
    if record.decoded == name:
        return
    write_record(cache_dir, replace(record, decoded=name))
    try:
        for stale in decoded_file(cache_dir, "").glob(f"{_source(Path(record.root))}-*.npz"):
            stale.unlink(missing_ok=True)  # of a version that kept a file for each folder
        if record.decoded and record.decoded not in _decoded_in_use(cache_dir):
            decoded_file(cache_dir, record.decoded).unlink(missing_ok=True)
    except OSError as error:
        _logger.debug("stale decoded images not removed: %s", error)


def _decoded_in_use(cache_dir: Path) -> set[str]:
    """The decoded files of all folders that still exist; records of others are removed."""
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
    return _records(cache_dir) / f"{_source(root)}.json"


def _source(root: Path) -> str:
    return blake2b(os.fsencode(root), digest_size=8).hexdigest()


def _parse_record(file: Path) -> FolderRecord | None:
    try:
        record = FolderRecord(**json.loads(file.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    whole = all(isinstance(value, str) for value in asdict(record).values())
    odd_name = whole and re.fullmatch(r"([0-9a-f]+-[0-9a-f]+\.npz)?", record.decoded) is None
    return record if whole and not odd_name and re.fullmatch("[0-9a-f]{32}", record.fingerprint) else None


def _write_whole(file: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write all of it or nothing, and have it on the disk: readers see the file only once it is complete."""
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
