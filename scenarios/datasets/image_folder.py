"""Read image folders as 32 x 32 RGB arrays, which are decoded once and cached."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from agent.data.chunk import LabelledInputs
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
from scenarios.datasets.folder_files import ListedImage
from scenarios.datasets.folder_layout import Listing, list_folder
from scenarios.datasets.image_decoding import IMAGE_SIZE, MAX_MEGAPIXELS, decode_image, decoder_versions, quiet_decoding
from scenarios.datasets.source import PHOTOGRAPHS, Progress, Source

_FORMAT_VERSION = 2  # of the decoded images: increase it when decoding gives other pixels
_FILES_PER_TASK = 128  # a task for each file would cost more than decoding a small file
_READ_NBYTES = 1 << 20
_CLOCK_TICK_SECONDS = 0.02  # file systems may give two changes within this time the same time stamp


def read_image_folder(
    root: Path, *, cache_dir: Path, progress: Progress | None = None, max_megapixels: float = MAX_MEGAPIXELS
) -> Source:
    """Read `root`/train/<class>/ and `root`/test/<class>/ (and a validation part), or `root`/<class>/ alone.

    See `list_folder` for the names of parts. Classes are sorted by name, images by class and then by path. A class
    folder is read with all its subfolders; hidden files and files that are not images are skipped. Each image is
    turned upright (EXIF), converted to 8-bit RGB (transparency over white, 16-bit grey scaled, the first frame of an
    animation), resized so that its shorter side has 32 pixels, and cropped to the 32 x 32 pixels in the middle.

    The decoded images are stored in a file below `cache_dir`. Later calls read this file, while the content of the
    folder and the versions of the decoders stay the same (`folder_fingerprint`, `decoder_versions`). If the file cannot
    be written, a warning is logged.

    Args:
        root: the folder.
        cache_dir: where decoded images are stored.
        progress: called while images are decoded.
        max_megapixels: the most pixels, in millions, to decode for one image. A large JPEG is decoded at an eighth of
            its size.

    Raises:
        DatasetError: as `list_folder`, or a file cannot be read or decoded.
    """
    listing = list_folder(root)
    files = listing.files
    record = _record(listing, cache_dir)
    versions = repr((_FORMAT_VERSION, IMAGE_SIZE, sorted(decoder_versions().items())))
    name = f"{record.fingerprint}-{blake2b(versions.encode(), digest_size=8).hexdigest()}.npz"
    cache_file = decoded_file(cache_dir, name)
    images = read_decoded(cache_file, (len(files), 3, IMAGE_SIZE, IMAGE_SIZE))
    stored = images is not None
    if images is None:
        images = _decode_all(files, progress, max_megapixels)
        stored = write_decoded(cache_file, images)
    if stored:
        use_decoded(cache_dir, record, name)
    labels = torch.tensor([file.label for file in files])
    sizes = [len(part) for part in listing.parts.values()]
    split = map(LabelledInputs, torch.from_numpy(images).split(sizes), labels.split(sizes))
    parts = dict(zip(listing.parts, split, strict=True))
    return Source(
        listing.class_names, parts["train"], PHOTOGRAPHS, parts.get("validation"), parts.get("test"), listing.notes
    )


def folder_fingerprint(root: Path, cache_dir: Path) -> str:
    """A digest of the bytes and names of a folder's images, with their classes and parts.

    The path of the folder, the spelling of its parts and its time stamps do not matter. The fingerprint is stored below
    `cache_dir` and stays valid while no image changes its name, size, times or inode.

    Raises:
        DatasetError: as `list_folder`, or a file cannot be read.
    """
    return _record(list_folder(root), cache_dir).fingerprint


def _record(listing: Listing, cache_dir: Path) -> FolderRecord:
    """The stored record of the folder, or a new one if its listing has changed."""
    digest = blake2b(digest_size=16)
    for name, file in zip(_names(listing), listing.files, strict=True):
        digest.update(name + f"{file.nbytes} {file.mtime_ns} {file.ctime_ns} {file.inode}\n".encode())
    known = read_record(cache_dir, listing.root)
    if known is not None and known.listing == digest.hexdigest():
        return known
    decoded = known.decoded if known is not None else ""
    record = FolderRecord(str(listing.root), digest.hexdigest(), _hash_content(listing), decoded)
    write_record(cache_dir, record)
    return record


def _names(listing: Listing) -> list[bytes]:
    """Part, class and path of each image, in the order of `Listing.files`."""
    return [
        os.fsencode(f"{part}\0{listing.class_names[file.label]}\0{file.within}\0")
        for part, files in listing.parts.items()
        for file in files
    ]


def _hash_content(listing: Listing) -> str:
    newest_seconds = max(file.ctime_ns for file in listing.files) / 1e9
    # Wait until the clock has passed the newest file, so that any later change has another time stamp.
    time.sleep(min(max(newest_seconds + _CLOCK_TICK_SECONDS - time.time(), 0), _CLOCK_TICK_SECONDS))
    digests = [b""] * len(listing.files)

    def hash_one(row: int, path: str) -> None:
        digests[row] = _hash_file(path)

    _in_threads(listing.files, hash_one, None)
    digest = blake2b(digest_size=16)
    for name, content in zip(_names(listing), digests, strict=True):
        digest.update(name + content)
    return digest.hexdigest()


def _hash_file(path: str) -> bytes:
    digest = blake2b(digest_size=16)
    try:
        with open(path, "rb", buffering=0) as stream:  # noqa: PTH123 - 60,000 Paths are slow
            while content := stream.read(_READ_NBYTES):
                digest.update(content)
    except OSError as error:
        raise DatasetError(f"expected a readable image, got {path} ({error}); repair or remove the file") from error
    return digest.digest()


def _check_unchanged(file: ListedImage) -> None:
    """Reject a file that has changed since it was listed: its digest or pixels may not match the listing."""
    try:
        status = os.stat(file.path)  # noqa: PTH116 - 60,000 Paths are slow
        same = (status.st_size, status.st_mtime_ns) == (file.nbytes, file.mtime_ns)
    except OSError:
        same = False
    if not same:
        raise DatasetError(
            f"expected images that stay as they are while they are read, got a change of {file.path}; "
            "try again once nothing writes to the folder"
        )


def _decode_all(
    files: list[ListedImage], progress: Progress | None, max_megapixels: float
) -> UInt8[np.ndarray, "n 3 32 32"]:
    images = np.empty((len(files), 3, IMAGE_SIZE, IMAGE_SIZE), np.uint8)

    def decode_one(row: int, path: str) -> None:
        images[row] = decode_image(path, max_megapixels).transpose(2, 0, 1)

    with quiet_decoding(max_megapixels):
        _in_threads(files, decode_one, progress)
    return images


def _in_threads(files: list[ListedImage], work: Callable[[int, str], None], progress: Progress | None) -> None:
    """Call `work` with the row and the path of each file; reading, hashing and decoding release the GIL.

    Raises:
        DatasetError: a file has changed since it was listed, or what `work` raises.
    """

    def work_from(start: int) -> int:
        stop = min(start + _FILES_PER_TASK, len(files))
        for row in range(start, stop):
            work(row, files[row].path)
            _check_unchanged(files[row])
        return stop

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as threads:
        try:
            for done in threads.map(work_from, range(0, len(files), _FILES_PER_TASK)):
                if progress is not None:
                    progress(done, len(files))
        except BaseException:
            threads.shutdown(wait=True, cancel_futures=True)
            raise
