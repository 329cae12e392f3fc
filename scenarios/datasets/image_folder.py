"""Folders of photographs as 32 x 32 RGB arrays, decoded once and cached."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
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

_FORMAT_VERSION = 2  # of the decoded images: count up when decoding gives other pixels
_AT_ONCE = 128  # files of a task for the threads: one for each file would cost more than decoding a small one
_READ_AT_ONCE = 1 << 20  # bytes
_CLOCK_TICK_SECONDS = 0.02  # file systems do not tell times apart that are closer

Progress = Callable[[int, int], None]
"""Called with the images decoded so far and the images in all."""


@dataclass(frozen=True)
class FolderImages:
    """What an image folder holds; `validation` and `test` are None where the folder does not set them apart.

    `notes` has a line each for the files that were passed over.
    """

    class_names: tuple[str, ...]
    train: LabelledInputs
    validation: LabelledInputs | None
    test: LabelledInputs | None
    notes: tuple[str, ...] = ()


def read_image_folder(
    root: Path, *, cache_dir: Path, progress: Progress | None = None, max_megapixels: float = MAX_MEGAPIXELS
) -> FolderImages:
    """Read `root`/train/<class>/ and `root`/test/<class>/ (and a validation part), or `root`/<class>/ alone.

    See `list_folder` for the names of parts. Classes are sorted by name, images by class and then by path. Class
    folders are read with all that is below them; hidden files and files that are no images are passed over. Each image
    is turned upright (EXIF), made 8-bit RGB (transparency over white, 16-bit grey scaled, the first frame of an
    animation), resized so that its shorter side has 32 pixels, and cut to the 32 x 32 pixels in the middle.

    The decoded images are kept in a file below `cache_dir`; it is read instead for as long as the content of the folder
    and the versions of the decoders stay the same (`folder_fingerprint`, `decoder_versions`). Where it cannot be
    written, a warning is logged and nothing else is lost.

    Args:
        root: the folder.
        cache_dir: where decoded images are kept.
        progress: called while images are decoded.
        max_megapixels: the most pixels, in millions, that are decoded for one image. A large JPEG is decoded at an
            eighth of its size.

    Raises:
        DatasetError: the folder or a part of it is missing, empty or unreadable, its layout is not clear, there are
            fewer than two classes, the parts disagree on the classes, or a file cannot be decoded.
    """
    listing = list_folder(root)
    files = list(chain(*listing.parts.values()))
    record = _record(listing, cache_dir)
    versions = repr((_FORMAT_VERSION, IMAGE_SIZE, sorted(decoder_versions().items())))
    name = f"{record.fingerprint}-{blake2b(versions.encode(), digest_size=8).hexdigest()}.npz"
    cache_file = decoded_file(cache_dir, name)
    images = read_decoded(cache_file, (len(files), 3, IMAGE_SIZE, IMAGE_SIZE))
    kept = images is not None
    if images is None:
        images = _decode_all(files, progress, max_megapixels)
        kept = write_decoded(cache_file, images)
    if kept:
        use_decoded(cache_dir, record, name)
    labels = torch.tensor([file.label for file in files])
    bounds = np.cumsum([0, *(len(part) for part in listing.parts.values())])
    found = {
        part: LabelledInputs(torch.from_numpy(images[start:stop]), labels[start:stop])
        for part, start, stop in zip(listing.parts, bounds[:-1], bounds[1:], strict=True)
    }
    return FolderImages(listing.class_names, found["train"], found.get("validation"), found.get("test"), listing.notes)


def folder_fingerprint(root: Path, cache_dir: Path) -> str:
    """Identifies what a folder holds by the bytes and names of its images, their classes and parts.

    Where the folder lies, how its path or its parts are spelled and when it was written do not count. The fingerprint
    is kept below `cache_dir` for as long as no image changes its name, size, times or inode.

    Raises:
        DatasetError: as `list_folder`, or a file that cannot be read.
    """
    return _record(list_folder(root), cache_dir).fingerprint


def _record(listing: Listing, cache_dir: Path) -> FolderRecord:
    """What the cache knows of the folder; its fingerprint is made anew if the listing has changed."""
    digest = blake2b(digest_size=16)
    for part, files in listing.parts.items():
        for file in files:
            digest.update(_name(listing, part, file))
            digest.update(f"{file.nbytes} {file.mtime_ns} {file.ctime_ns} {file.inode}\n".encode())
    known = read_record(cache_dir, listing.root)
    if known is not None and known.listing == digest.hexdigest():
        return known
    decoded = known.decoded if known is not None else ""
    record = FolderRecord(str(listing.root), digest.hexdigest(), _hash_content(listing), decoded)
    write_record(cache_dir, record)
    return record


def _name(listing: Listing, part: str, file: ListedImage) -> bytes:
    return os.fsencode(f"{part}\0{listing.class_names[file.label]}\0{file.within}\0")


def _hash_content(listing: Listing) -> str:
    files = list(chain(*listing.parts.values()))
    newest = max(file.ctime_ns for file in files) / 1e9
    # Wait until a change after the hashing has another time than the files now.
    time.sleep(min(max(newest + _CLOCK_TICK_SECONDS - time.time(), 0), _CLOCK_TICK_SECONDS))
    digests = [b""] * len(files)

    def hash_one(row: int) -> None:
        digests[row] = _hash_file(files[row].path)
        _check_unchanged(files[row])

    _in_threads(len(files), hash_one, None)
    digest = blake2b(digest_size=16)
    rows = iter(digests)
    for part, listed in listing.parts.items():
        for file in listed:
            digest.update(_name(listing, part, file) + next(rows))
    return digest.hexdigest()


def _hash_file(path: str) -> bytes:
    digest = blake2b(digest_size=16)
    try:
        with open(path, "rb", buffering=0) as stream:  # noqa: PTH123 - 60,000 Paths are slow
            while content := stream.read(_READ_AT_ONCE):
                digest.update(content)
    except OSError as error:
        raise DatasetError(f"expected a readable image, got {path} ({error}); repair or remove the file") from error
    return digest.digest()


def _check_unchanged(file: ListedImage) -> None:
    """Refuse a file that was written since it was listed, or the cache would hold it under another's fingerprint."""
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

    def decode_one(row: int) -> None:
        images[row] = decode_image(files[row].path, max_megapixels).transpose(2, 0, 1)
        _check_unchanged(files[row])

    with quiet_decoding(max_megapixels):
        _in_threads(len(files), decode_one, progress)
    return images


def _in_threads(n: int, work: Callable[[int], None], progress: Progress | None) -> None:
    """Call `work` with each number below `n`; reading, hashing and decoding run without the GIL."""

    def work_from(start: int) -> int:
        stop = min(start + _AT_ONCE, n)
        for row in range(start, stop):
            work(row)
        return stop

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as threads:
        try:
            for done in threads.map(work_from, range(0, n, _AT_ONCE)):
                if progress is not None:
                    progress(done, n)
        except BaseException:
            threads.shutdown(wait=True, cancel_futures=True)
            raise
