"""Folders of photographs as 32 x 32 RGB arrays, decoded once and cached."""

import logging
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import torch
from jaxtyping import UInt8

from agent.chunk import LabelledImages
from agent.errors import DatasetError

if TYPE_CHECKING:
    from PIL import Image

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
IMAGE_SIZE = 32

_FORMAT_VERSION = 1  # of the cache: count up when decoding gives other pixels
_DECODED_AT_ONCE = 128  # a task for each file would cost more than decoding a small one
_LAYOUT = "PATH/train/<class>/ and PATH/test/<class>/, or PATH/<class>/ alone"
_VALIDATION_NAMES = ("validation", "valid", "val")

Progress = Callable[[int, int], None]
"""Called with the images decoded so far and the images in all."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FolderImages:
    """What an image folder holds; `validation` and `test` are None where the folder does not set them apart."""

    class_names: tuple[str, ...]
    train: LabelledImages
    validation: LabelledImages | None
    test: LabelledImages | None


@dataclass(frozen=True)
class _File:
    path: str
    label: int
    nbytes: int
    mtime_ns: int


def read_image_folder(root: Path, *, cache_dir: Path, progress: Progress | None = None) -> FolderImages:
    """Read `root`/train/<class>/ and `root`/test/<class>/ (and validation, valid or val), or `root`/<class>/ alone.

    Classes are sorted by name, images by class and then by path. Class folders are read with all that is below them;
    hidden files and files of other kinds (see `IMAGE_SUFFIXES`) are passed over. Each image is turned upright (EXIF),
    made 8-bit RGB (transparency over white, 16-bit grey scaled, the first frame of an animation), resized so that its
    shorter side has 32 pixels, and cut to the 32 x 32 pixels in the middle.

    The decoded images are kept in a file below `cache_dir`; it is read instead for as long as no image has changed its
    name, size or modification time. Where it cannot be written, a warning is logged and nothing else is lost.

    Raises:
        DatasetError: the folder or a part of it is missing, empty or unreadable, there are fewer than two classes, the
            parts disagree on the classes, or a file cannot be decoded.
    """
    root, class_names, parts = _listed(root)
    files = [file for part in parts.values() for file in part]
    images = _cached(files, root, cache_dir, progress)
    labels = torch.tensor([file.label for file in files])
    bounds = np.cumsum([0, *(len(part) for part in parts.values())])
    found = {
        name: LabelledImages(torch.from_numpy(images[start:stop]), labels[start:stop])
        for name, start, stop in zip(parts, bounds[:-1], bounds[1:], strict=True)
    }
    return FolderImages(class_names, found["train"], found.get("validation"), found.get("test"))


def folder_fingerprint(root: Path) -> str:
    """Identifies what a folder holds by the names, sizes and modification times of its images.

    Raises:
        DatasetError: as `read_image_folder`.
    """
    root, _, parts = _listed(root)
    digest = blake2b(digest_size=8)
    for name, files in parts.items():
        digest.update(f"{name}\n".encode())
        for file in files:
            digest.update(os.fsencode(os.path.relpath(file.path, root)) + f"\0{file.nbytes} {file.mtime_ns}\n".encode())
    return digest.hexdigest()


def _listed(root: Path) -> tuple[Path, tuple[str, ...], dict[str, list[_File]]]:
    try:
        root = root.expanduser().resolve()
        return root, *_list_parts(root)
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a loop of links; ValueError: a NUL in a path
        raise DatasetError(
            f"expected a readable folder of images, got {error}; check its permissions and symbolic links"
        ) from error


def _list_parts(root: Path) -> tuple[tuple[str, ...], dict[str, list[_File]]]:
    """The class names, and the files of "train" and, where `root` has them, "validation" and "test"."""
    if not root.is_dir():
        got = "a file" if root.exists() else "nothing"
        raise DatasetError(f"expected a folder with {_LAYOUT}, got {got} at {root}; check the path")
    folders = {name: root / name for name in ("train", "test") if (root / name).is_dir()}
    if not folders:
        class_names = _class_names(root)
        return class_names, {"train": _list_images(root, class_names)}
    if len(folders) == 1:
        (there,) = folders
        missing = root / ("test" if there == "train" else "train")
        raise DatasetError(
            f"expected {_LAYOUT}, got no {missing} beside {folders[there]}; "
            f"add it, or give {folders[there]} as PATH to split its images by seed"
        )
    for name in _VALIDATION_NAMES:
        if (root / name).is_dir():
            folders["validation"] = root / name
    class_names = _class_names(folders["train"])
    for folder in folders.values():
        if differing := set(class_names) ^ set(_class_names(folder, at_least=1)):
            raise DatasetError(
                f"expected the same classes in {folders['train']} and {folder}, got only in one of them: "
                f"{', '.join(sorted(differing))}; rename, add or remove these class folders"
            )
    return class_names, {name: _list_images(folder, class_names) for name, folder in folders.items()}


def _class_names(folder: Path, at_least: int = 2) -> tuple[str, ...]:
    names = tuple(sorted(child.name for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")))
    if len(names) < at_least:
        raise DatasetError(
            f"expected {at_least} or more class folders in {folder}, got {len(names)} ({', '.join(names) or 'none'}); "
            f"lay the images out as {_LAYOUT}"
        )
    return names


def _list_images(folder: Path, class_names: tuple[str, ...]) -> list[_File]:
    files: list[_File] = []
    for label, name in enumerate(class_names):
        entries = sorted(_walk(folder / name, frozenset()), key=lambda entry: entry.path)
        if not entries:
            raise DatasetError(
                f"expected images ({' '.join(sorted(IMAGE_SUFFIXES))}) in the class folder {folder / name}, got none; "
                "add some or remove the folder"
            )
        for entry in entries:
            status = entry.stat()
            files.append(_File(entry.path, label, status.st_size, status.st_mtime_ns))
    return files


def _walk(folder: Path | str, inside: frozenset[tuple[int, int]]) -> Iterator[os.DirEntry[str]]:
    """Every image below `folder`; `inside` identifies the folders that lead to it, to notice a link back to one."""
    status = os.stat(folder)  # noqa: PTH116 - called for folders named by str as well, as os.scandir gives them
    identity = (status.st_dev, status.st_ino)
    if identity in inside:
        raise DatasetError(f"expected a tree of folders, got a loop of symbolic links at {folder}; remove the link")
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _walk(entry.path, inside | {identity})
                continue
            suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - 60,000 Paths are slow
            # A broken link is an error later; a pipe, which is no file, would be waited for.
            if suffix in IMAGE_SUFFIXES and (entry.is_file() or not os.path.exists(entry.path)):  # noqa: PTH110
                yield entry


def _cached(
    files: list[_File], root: Path, cache_dir: Path, progress: Progress | None
) -> UInt8[np.ndarray, "n 3 32 32"]:
    """The decoded `files`: from the cache file where it is sound, else decoded and written to it."""
    source = blake2b(os.fsencode(root), digest_size=8).hexdigest()
    cache_file = cache_dir / "folders" / f"{source}-{_fingerprint(files)}.npz"
    images = _read_cache(cache_file, len(files))
    if images is None:
        images = _decode_all(files, progress)
        try:
            _write_cache(cache_file, images)
            for stale in cache_file.parent.glob(f"{source}-*.npz"):
                if stale != cache_file:
                    stale.unlink(missing_ok=True)
        except OSError as error:
            _logger.warning(
                "expected a writable cache directory (--data-dir), got %s; the images will be decoded again next time",
                error,
            )
    return images


def _fingerprint(files: list[_File]) -> str:
    digest = blake2b(f"{_FORMAT_VERSION} {IMAGE_SIZE}".encode(), digest_size=16)
    for file in files:
        digest.update(os.fsencode(file.path) + f"\0{file.label} {file.nbytes} {file.mtime_ns}\n".encode())
    return digest.hexdigest()


def _read_cache(cache_file: Path, n: int) -> UInt8[np.ndarray, "n 3 32 32"] | None:
    """The images of `cache_file`, or None if there is no such file or it is damaged (zip keeps a checksum)."""
    try:
        with np.load(cache_file, allow_pickle=False) as arrays:
            images = arrays["images"]
        if images.dtype != np.uint8 or images.shape != (n, 3, IMAGE_SIZE, IMAGE_SIZE):
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
        _logger.warning("expected a sound cache file at %s, got %s; decoding the images again", cache_file, error)
        return None
    return images


def _write_cache(cache_file: Path, images: UInt8[np.ndarray, "n 3 32 32"]) -> None:
    """Write all of it or nothing: readers see the file only once it is complete."""
    cache_file.parent.mkdir(parents=True, exist_ok=True)
    temporary = cache_file.with_suffix(f".{uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as stream:
            np.savez(stream, images=images)
        temporary.replace(cache_file)
    finally:
        temporary.unlink(missing_ok=True)


def _decode_all(files: list[_File], progress: Progress | None) -> UInt8[np.ndarray, "n 3 32 32"]:
    images = np.empty((len(files), 3, IMAGE_SIZE, IMAGE_SIZE), np.uint8)

    def decode_from(start: int) -> int:
        stop = min(start + _DECODED_AT_ONCE, len(files))
        for row in range(start, stop):
            images[row] = _decode(files[row].path).transpose(2, 0, 1)
        return stop

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as threads:  # PIL decodes and resizes without the GIL
        try:
            for done in threads.map(decode_from, range(0, len(files), _DECODED_AT_ONCE)):
                if progress is not None:
                    progress(done, len(files))
        except BaseException:
            threads.shutdown(wait=True, cancel_futures=True)
            raise
    return images


def _decode(path: str) -> UInt8[np.ndarray, "32 32 3"]:
    """One image as 32 x 32 RGB.

    Raises:
        DatasetError: the file is not a whole image of a kind that PIL reads.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            # A large JPEG is decoded at a half, a quarter or an eighth of its size, if four times the target is left.
            image.draft(None, (4 * IMAGE_SIZE, 4 * IMAGE_SIZE))
            ImageOps.exif_transpose(image, in_place=True)
            rgb = _to_rgb(image)
            if rgb.size != (IMAGE_SIZE, IMAGE_SIZE):
                rgb = ImageOps.fit(rgb, (IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.LANCZOS)
            return np.asarray(rgb)
    except Exception as error:  # PIL's many parsers raise whatever a broken file makes them stumble over
        raise DatasetError(f"expected a readable image, got {path} ({error}); repair or remove the file") from error


def _to_rgb(image: "Image.Image") -> "Image.Image":
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits: PIL's own conversion would clip at 255
        grey = np.asarray(image).astype(np.float32) / 257
        return Image.fromarray(grey.round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("floating-point pixels")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        opaque = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(opaque, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")
