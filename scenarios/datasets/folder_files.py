"""The image files in a folder, and what the file system reports about them."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from agent.errors import DatasetError
from scenarios.datasets.image_decoding import image_suffixes

_COMMON_SUFFIXES = ".bmp .gif .jpeg .jpg .png .tif .webp or another kind that Pillow decodes"
_N_SHOWN = 5  # suffixes in a message


class ListedImage(NamedTuple):
    """An image file of a data set, with what the file system reports about it."""

    path: str
    label: int
    within: str
    """Its path in the class folder, in Unicode's composed form (NFC)."""
    nbytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int


def list_class(folder: Path, label: int, other: Counter[str]) -> list[ListedImage]:
    """The images of a class, sorted by path; the suffixes of all other files are counted in `other`.

    Raises:
        DatasetError: the class has no image.
        OSError: a file or folder cannot be read.
    """
    start = len(str(folder)) + 1
    skipped: Counter[str] = Counter()
    images = []
    for entry in walk_images(folder, skipped):
        info, within = entry.stat(), composed(entry.path[start:])
        images.append(
            ListedImage(entry.path, label, within, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino)
        )
    if not images:
        found = f" but {format_suffixes(skipped)}" if skipped else ""
        raise DatasetError(
            f"expected images ({_COMMON_SUFFIXES}) in the class folder {folder}, got none{found}; "
            "add some or remove the folder"
        )
    other.update(skipped)
    images.sort(key=lambda image: (image.within, image.path))
    return images


def walk_images(
    folder: Path | str, skipped: Counter[str], parents: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[os.DirEntry[str]]:
    """Every image below `folder`, without hidden files; the suffixes of other files are counted in `skipped`.

    `parents` identifies the folders above, so that a link back to one of them raises a DatasetError.
    """
    status = os.stat(folder)  # noqa: PTH116 - called for folders named by str as well, as os.scandir gives them
    identity = (status.st_dev, status.st_ino)
    if identity in parents:
        raise DatasetError(f"expected a tree of folders, got a loop of symbolic links at {folder}; remove the link")
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from walk_images(entry.path, skipped, parents | {identity})
                continue
            suffix = suffix_of(entry.name)
            # A broken link counts as an image and fails when it is read. A pipe does not: reading it could block.
            if suffix in image_suffixes() and (entry.is_file() or not os.path.exists(entry.path)):  # noqa: PTH110
                yield entry
            else:
                skipped[suffix] += 1


def subfolders(folder: Path) -> list[Path]:
    """The folders directly in `folder`, sorted, without hidden ones."""
    return sorted(child for child in folder.iterdir() if not child.name.startswith(".") and child.is_dir())


def loose_files(folder: Path) -> Iterator[str]:
    """Names of the files directly in `folder`, without hidden ones."""
    with os.scandir(folder) as entries:
        yield from (entry.name for entry in entries if not entry.name.startswith(".") and not entry.is_dir())


def has_images(folder: Path) -> bool:
    """Whether images are directly in `folder`."""
    return any(suffix_of(name) in image_suffixes() for name in loose_files(folder))


def suffix_of(name: str) -> str:
    """The suffix of a file name, in lower case and with the dot."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - 60,000 Paths are slow


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC): some file systems store decomposed names, which look the same."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def format_suffixes(counts: Counter[str]) -> str:
    """Suffixes and how often each occurs, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{_printable(suffix) or 'no suffix'} ({n:,})" for suffix, n in ordered[:_N_SHOWN]]
    if rest := sum(n for _, n in ordered[_N_SHOWN:]):
        shown.append(f"others ({rest:,})")
    return ", ".join(shown)


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:12]
