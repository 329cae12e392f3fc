"""Find the parts, classes and images of a data set in a folder."""

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from agent.errors import DatasetError
from scenarios.datasets.folder_files import (
    ListedImage,
    composed,
    format_suffixes,
    has_images,
    list_class,
    loose_files,
    subfolders,
    suffix_of,
    walk_images,
)
from scenarios.datasets.image_decoding import image_suffixes

_LAYOUT = "PATH/train/<class>/ and PATH/test/<class>/, or PATH/<class>/ alone"
_AFFIXES = "(?:set|images?|data)*"
_PART_NAMES = {
    part: re.compile(f"{_AFFIXES}(?:{words}){_AFFIXES}")
    for part, words in {
        "train": "train(?:ing)?",
        "test": "test(?:ing)?",
        "validation": "val(?:id(?:ation)?)?|dev",
    }.items()
}
_NEUTRAL_NAMES = frozenset({"data", "image", "images", "img", "imgs"})
"""Names of folders that say nothing about the class or the part of their images."""
_N_SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Listing:
    """The content of an image folder."""

    root: Path
    """Absolute path, without links."""
    class_names: tuple[str, ...]
    """Sorted, in Unicode's composed form (NFC)."""
    parts: dict[str, list[ListedImage]]
    """By "train" and, if the folder has these parts, "test" and "validation"; sorted by class, then by path."""
    notes: tuple[str, ...]
    """One line for each kind of skipped files."""

    @property
    def files(self) -> list[ListedImage]:
        """The images of all parts, in the order of the parts."""
        return [file for files in self.parts.values() for file in files]


def list_folder(root: Path) -> Listing:
    """Find the parts, classes and images of `root`.

    The name of a part is train, training, test, testing, val, valid, validation or dev, in any case, with set, image,
    images or data before or after it. Hidden files and folders are skipped.

    Raises:
        DatasetError: the folder is missing or unreadable, its layout is wrong or ambiguous, there are fewer than two
            classes, the parts have different classes, or a class has no image.
    """
    try:
        root = root.expanduser().resolve()
        if not root.is_dir():
            got = "a file" if root.exists() else "nothing"
            raise DatasetError(f"expected a folder with {_LAYOUT}, got {got} at {root}; check the path")
        parts = _find_parts(root)
        if not parts:
            parts = {"train": root}
            _check_classes_hold_no_parts(root)
        return _list_parts(root, parts)
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a loop of links; ValueError: a NUL in a path
        raise DatasetError(
            f"expected a readable folder of images, got {error}; check its permissions and symbolic links"
        ) from error


def part_of(name: str) -> str | None:
    """The part that a folder of this name holds: "train", "test" or "validation"; None if it is not a part."""
    bare = "".join(letter for letter in name.casefold() if letter.isalnum())
    return next((part for part, names in _PART_NAMES.items() if names.fullmatch(bare)), None)


def part_suggested_by(name: str) -> str | None:
    """The part that a word in the name suggests, as in `seg_train`, `trainA` and `val2017`; None if there is none."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    return next((part for word in words if (part := part_of(word))), None)


def _find_parts(root: Path) -> dict[str, Path]:
    """The folder of each part; empty if no folder in `root` has the name of a part."""
    folders = subfolders(root)
    parts: dict[str, Path] = {}
    for folder in folders:
        if (part := part_of(folder.name)) is None:
            continue
        if part in parts:
            raise DatasetError(
                f"expected one folder for the {part} part in {root}, got {parts[part].name} and {folder.name}; "
                "merge, rename or remove one of them"
            )
        parts[part] = folder
    if not parts:
        return {}
    for folder in parts.values():
        if not subfolders(folder) and has_images(folder):
            raise DatasetError(
                f"expected class folders in {folder}, got images directly in it; lay the images out as {_LAYOUT}; "
                f"{_class_called(folder.name)}"
            )
    missing = [part for part in ("train", "test") if part not in parts]
    first = parts.get("train", next(iter(parts.values())))
    there = " and ".join(str(folder) for folder in parts.values())
    others = [folder for folder in folders if folder not in parts.values()]
    if strange := [folder.name for folder in others if any(walk_images(folder, Counter()))]:
        hint = f"; {_class_called(first.name)}" if missing else ""
        raise DatasetError(
            f"expected no images beside the parts {there}, got some in {_shorten(strange)}; move or remove them{hint}"
        )
    if missing:
        raise DatasetError(
            f"expected {_LAYOUT}, got no {' and no '.join(str(root / part) for part in missing)} beside {there}; "
            f"add it, or give {first} as PATH to split its images by seed"
        )
    return {part: parts[part] for part in ("train", "test", "validation") if part in parts}


def _class_called(name: str) -> str:
    return f"a class that is itself called {name} has to be renamed or given inside a part (PATH/train/{name}/...)"


def _check_classes_hold_no_parts(root: Path) -> None:
    """Reject PATH/<class>/<part>/, and PATH/<part>/<class>/ where the names of the parts are unknown."""
    folders = subfolders(root)
    inside_of = {folder.name: _names_inside(folder) for folder in folders if not has_images(folder)}
    got, fix = None, "rename or move the folders"
    suggested = {folder.name: part for folder in folders if (part := part_suggested_by(folder.name))}
    if len(set(suggested.values())) > 1 and 2 * len(suggested) >= len(folders):
        got = f"folders that seem to be parts, {_shorten(suggested)}, in {root}"
    for name, inside in inside_of.items() if got is None else ():
        if parts := sorted(each for each in inside if part_of(each)):
            got = f"no images in {root / name} but the folders of parts {_shorten(parts)}"
            fix += f", or give {root / name} as PATH" if len(folders) == 1 else ""
            break
    if got is None and len(inside_of) == len(folders) > 1:
        common, all_names = set.intersection(*inside_of.values()), set.union(*inside_of.values())
        # Half of the names are enough: one of the unknown parts may lack a class.
        neutral = {each.casefold() for each in all_names} <= _NEUTRAL_NAMES
        if common and 2 * len(common) >= len(all_names) and not neutral:
            shared = _shorten(sorted(common))
            got = f"folders {_shorten(inside_of)} without images of their own, each with the folders {shared}"
    if got:
        raise DatasetError(
            f"expected {_LAYOUT}, got {got}: it is not clear which are parts and which are classes; {fix}"
        )


def _names_inside(folder: Path) -> set[str]:
    """Names of the folders in a folder, and of the folders in its subfolders with a neutral name."""
    inside = subfolders(folder)
    deeper = [each for child in inside if child.name.casefold() in _NEUTRAL_NAMES for each in subfolders(child)]
    return {composed(each.name) for each in [*inside, *deeper]}


def _list_parts(root: Path, parts: dict[str, Path]) -> Listing:
    classes = {part: _class_folders(folder, at_least=2 if part == "train" else 1) for part, folder in parts.items()}
    class_names = tuple(sorted(classes["train"]))
    for part, found in classes.items():
        if differing := set(class_names) ^ set(found):
            raise DatasetError(
                f"expected the same classes in {parts['train']} and {parts[part]}, got only in one of them: "
                f"{', '.join(sorted(differing))}; rename, add or remove these class folders"
            )
    other: Counter[str] = Counter()
    listed = {
        part: [image for label, name in enumerate(class_names) for image in list_class(found[name], label, other)]
        for part, found in classes.items()
    }
    loose = Counter(suffix_of(name) for folder in {root, *parts.values()} for name in loose_files(folder))
    n_loose = sum(loose.pop(suffix, 0) for suffix in image_suffixes())
    other.update(loose)
    notes = []
    if n := other.total():
        files = "1 file that is not a readable image" if n == 1 else f"{n:,} files that are not readable images"
        notes.append(f"skipped {files}: {format_suffixes(other)}")
    if n_loose:
        notes.append(f"skipped {n_loose:,} {'image' if n_loose == 1 else 'images'} outside the class folders")
    return Listing(root, class_names, listed, tuple(notes))


def _class_folders(folder: Path, at_least: int) -> dict[str, Path]:
    """The class folders by their composed names."""
    folders: dict[str, Path] = {}
    for child in subfolders(folder):
        name = composed(child.name)
        if name in folders:
            raise DatasetError(
                f"expected class folders of different names in {folder}, got {name!r} composed in two ways: "
                f"{folders[name].name!a} and {child.name!a}; merge or rename them"
            )
        folders[name] = child
    if len(folders) < at_least:
        raise DatasetError(
            f"expected {at_least} or more class folders in {folder}, got {len(folders)} "
            f"({', '.join(folders) or 'none'}); lay the images out as {_LAYOUT}"
        )
    return folders


def _shorten(names: Collection[str]) -> str:
    rest = len(names) - _N_SHOWN
    return ", ".join(list(names)[:_N_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
