"""Read image folders as square RGB arrays, which are decoded once and cached."""

import os
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from agent.data.chunk import LabelledInputs
from scenarios.datasets.content import check_unchanged, decoded_once, in_threads, record_of
from scenarios.datasets.folder_cache import FolderRecord
from scenarios.datasets.folder_files import ListedImage
from scenarios.datasets.folder_layout import Listing, list_folder
from scenarios.datasets.image_decoding import IMAGE_SIZE, MAX_MEGAPIXELS, decode_image, quiet_decoding
from scenarios.datasets.source import PHOTOGRAPHS, Progress, Source, scaled


def read_image_folder(
    root: Path,
    *,
    cache_dir: Path,
    progress: Progress | None = None,
    max_megapixels: float = MAX_MEGAPIXELS,
    size: int = IMAGE_SIZE,
) -> Source:
    """Read `root`/train/<class>/ and `root`/test/<class>/ (and a validation part), or `root`/<class>/ alone.

    See `list_folder` for the names of parts. Classes are sorted by name, images by class and then by path. A class
    folder is read with all its subfolders; hidden files and files that are not images are skipped. Each image is
    turned upright (EXIF), converted to 8-bit RGB (transparency over white, 16-bit grey scaled, the first frame of an
    animation), resized so that its shorter side has `size` pixels, and cropped to the square in the middle.

    The decoded images are stored in a file below `cache_dir`, one for each size. Later calls read this file, while the
    content of the folder and the versions of the decoders stay the same (`folder_fingerprint`, `decoder_versions`). If
    the file cannot be written, a warning is logged.

    Args:
        root: the folder.
        cache_dir: where decoded images are stored.
        progress: called while images are decoded.
        max_megapixels: the most pixels, in millions, to decode for one image. A large JPEG is decoded at an eighth of
            its size.
        size: width and height of the images, in pixels.

    Raises:
        DatasetError: as `list_folder`, or a file cannot be read or decoded.
    """
    listing = list_folder(root)
    files = listing.files
    images = decoded_once(
        _record(listing, cache_dir),
        cache_dir,
        (len(files), 3, size, size),
        lambda: _decode_all(files, progress, max_megapixels, size),
    )
    labels = torch.tensor([file.label for file in files])
    sizes = [len(part) for part in listing.parts.values()]
    split = map(LabelledInputs, torch.from_numpy(images).split(sizes), labels.split(sizes))
    parts = dict(zip(listing.parts, split, strict=True))
    return Source(
        listing.class_names,
        parts["train"],
        scaled(PHOTOGRAPHS, size),
        parts.get("validation"),
        parts.get("test"),
        listing.notes,
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
    return record_of(listing.root, _names(listing), listing.files, cache_dir)


def _names(listing: Listing) -> list[bytes]:
    """Part, class and path of each image, in the order of `Listing.files`."""
    return [
        os.fsencode(f"{part}\0{listing.class_names[file.label]}\0{file.within}\0")
        for part, files in listing.parts.items()
        for file in files
    ]


def _decode_all(
    files: list[ListedImage], progress: Progress | None, max_megapixels: float, size: int
) -> UInt8[np.ndarray, "n 3 size size"]:
    images = np.empty((len(files), 3, size, size), np.uint8)

    def decode_one(row: int) -> None:
        images[row] = decode_image(files[row].path, max_megapixels, size).transpose(2, 0, 1)
        check_unchanged(files[row])

    with quiet_decoding(max_megapixels):
        in_threads(len(files), decode_one, progress)
    return images
