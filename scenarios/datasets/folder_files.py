"""Which files of a folder are images, and what the file system knows of them."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from agent.errors import DatasetError
from scenarios.datasets.image_decoding import image_suffixes

_COMMON_SUFFIXES = ".bmp .gif .jpeg .jpg .png .tif .webp or another kind that Pillow decodes"
_SHOWN = 5  # suffixes in a message


class ListedImage(NamedTuple):
    """An image file of a data set.

    Attributes:
        path: where it is read from.
        label: position of its class.
        within: its path in the class folder, with composed characters.
        nbytes: size.
        mtime_ns: time of modification.
        ctime_ns: time of the last change of the file or of what the system knows of it.
        inode: number in the file system.
    """

    path: str
    label: int
    within: str
    nbytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int


def list_class(folder: Path, label: int, other: Counter[str]) -> list[ListedImage]:
    """The images of a class, sorted by path; `other` counts the suffixes of the files that are no images.

    Raises:
        DatasetError: the class has no image.
        OSError: a file or folder that cannot be read.
    """
    start = len(str(folder)) + 1
    passed_over: Counter[str] = Counter()
    images = []
    for entry in walk_images(folder, passed_over):
        status = entry.stat()
        images.append(
            ListedImage(
                entry.path,
                label,
                composed(entry.path[start:]),
                status.st_size,
                status.st_mtime_ns,
                status.st_ctime_ns,
                status.st_ino,
            )
        )
    if not images:
        found = f" but {suffixes_counted(passed_over)}" if passed_over else ""
        raise DatasetError(
            f"expected images ({_COMMON_SUFFIXES}) in the class folder {folder}, got none{found}; "
            "add some or remove the folder"
        )
    other.update(passed_over)
    images.sort(key=lambda image: (image.within, image.path))
    return images


def walk_images(
    folder: Path | str, passed_over: Counter[str] | None = None, inside: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[os.DirEntry[str]]:
    """Every image below `folder`; other files are counted in `passed_over`.

    `inside` identifies the folders that lead to it, to notice a link back to one.
    """
    status = os.stat(folder)  # noqa: PTH116 - called for folders named by str as well, as os.scandir gives them
    identity = (status.st_dev, status.st_ino)
    if identity in inside:
        raise DatasetError(f"expected a tree of folders, got a loop of symbolic links at {folder}; remove the link")
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from walk_images(entry.path, passed_over, inside | {identity})
                continue
            suffix = suffix_of(entry.name)
            # A broken link is an error later; a pipe, which is no file, would be waited for.
            if suffix in image_suffixes() and (entry.is_file() or not os.path.exists(entry.path)):  # noqa: PTH110
                yield entry
            elif passed_over is not None:
                passed_over[suffix] += 1


def subfolders(folder: Path) -> list[Path]:
    """The folders in `folder`, sorted and without the hidden ones."""
    return sorted(child for child in folder.iterdir() if not child.name.startswith(".") and child.is_dir())


def loose_files(folder: Path) -> list[str]:
    """Names of the files directly in `folder`, without the hidden ones."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if not entry.name.startswith(".") and not entry.is_dir()]


def has_images(folder: Path) -> bool:
    """Whether images lie directly in `folder`."""
    with os.scandir(folder) as entries:
        return any(
            not entry.name.startswith(".") and suffix_of(entry.name) in image_suffixes() and not entry.is_dir()
            for entry in entries
        )


def suffix_of(name: str) -> str:
    """How the name of a file ends, in lower case and with the dot."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - 60,000 Paths are slow


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC): some file systems take names apart, which look the same."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def suffixes_counted(counts: Counter[str]) -> str:
    """Suffixes with how often they occur, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{_harmless(suffix) or 'no suffix'} ({n:,})" for suffix, n in ordered[:_SHOWN]]
    if rest := sum(n for _, n in ordered[_SHOWN:]):
        shown.append(f"others ({rest:,})")
    return ", ".join(shown)


def _harmless(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:12]
