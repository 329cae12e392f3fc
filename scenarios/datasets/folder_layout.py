"""Which folders are the parts and the classes of a data set, and which files are its images."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agent.errors import DatasetError
from scenarios.datasets.folder_files import (
    ListedImage,
    composed,
    has_images,
    list_class,
    loose_files,
    subfolders,
    suffix_of,
    suffixes_counted,
    walk_images,
)
from scenarios.datasets.image_decoding import image_suffixes

_LAYOUT = "PATH/train/<class>/ and PATH/test/<class>/, or PATH/<class>/ alone"
_WORDS_AROUND = "(?:set|images?|data)*"
_PART_NAMES = {
    part: re.compile(f"{_WORDS_AROUND}(?:{words}){_WORDS_AROUND}")
    for part, words in {
        "train": "train(?:ing)?",
        "test": "test(?:ing)?",
        "validation": "val(?:id(?:ation)?)?|dev",
    }.items()
}
_WRAPPERS = frozenset({"data", "image", "images", "img", "imgs"})  # folders of a class that set nothing apart
_SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Listing:
    """What a folder holds.

    Attributes:
        root: the folder, absolute and without links.
        class_names: sorted, with composed characters (Unicode NFC).
        parts: the images of "train" and, where the folder sets them apart, of "test" and "validation"; by class and
            then by path.
        notes: a line each for the files that were passed over.
    """

    root: Path
    class_names: tuple[str, ...]
    parts: dict[str, list[ListedImage]]
    notes: tuple[str, ...]


def list_folder(root: Path) -> Listing:
    """Find the parts, classes and images of `root`.

    A part is a folder called train, training, test, testing, val, valid, validation or dev, in any case, and with set,
    image, images or data before or after it. Hidden files and folders are passed over.

    Raises:
        DatasetError: the folder is missing or unreadable, its layout is not the expected one or not clear, there are
            fewer than two classes, the parts disagree on the classes, or a class has no image.
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
    """Which part a folder of this name holds: "train", "test" or "validation"; None for another folder."""
    bare = "".join(letter for letter in name.casefold() if letter.isalnum())
    return next((part for part, names in _PART_NAMES.items() if names.fullmatch(bare)), None)


def part_suggested_by(name: str) -> str | None:
    """Which part a folder seems to hold that is not called so: `seg_train`, `trainA` and `val2017` tell of one."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    return next((part for word in words if (part := part_of(word))), None)


def _find_parts(root: Path) -> dict[str, Path]:
    """The folder of each part; none if no folder of `root` has the name of a part."""
    folders = subfolders(root)
    parts: dict[str, Path] = {}
    for folder in folders:
        part = part_of(folder.name)
        if part and part in parts:
            raise DatasetError(
                f"expected one folder for the {part} part in {root}, got {parts[part].name} and {folder.name}; "
                "merge, rename or remove one of them"
            )
        if part:
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
    if strange := [folder.name for folder in folders if folder not in parts.values() and any(walk_images(folder))]:
        hint = f"; {_class_called(first.name)}" if missing else ""
        raise DatasetError(
            f"expected no images beside the parts {there}, got some in {_named(strange)}; move or remove them{hint}"
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
    """Refuse PATH/<class>/<part>/ and PATH/<a part of another name>/<class>/."""
    folders = subfolders(root)
    bare = {folder.name: _names_inside(folder) for folder in folders if not has_images(folder)}
    got, fix = None, "rename or move the folders"
    suggested = {folder.name: part for folder in folders if (part := part_suggested_by(folder.name))}
    if len(set(suggested.values())) > 1 and 2 * len(suggested) >= len(folders):
        got = f"folders that seem to be parts, {_named(suggested)}, in {root}"
    for name, inside in bare.items() if got is None else ():
        if parts := sorted(each for each in inside if part_of(each)):
            got = f"no images in {root / name} but the folders of parts {_named(parts)}"
            fix += f", or give {root / name} as PATH" if len(folders) == 1 else ""
            break
    if got is None and len(bare) == len(folders) > 1:
        common, all_names = set.intersection(*bare.values()), set.union(*bare.values())
        # Half of the names: a class may be missing in one of the unknown parts.
        if common and 2 * len(common) >= len(all_names) and not {each.casefold() for each in all_names} <= _WRAPPERS:
            got = f"folders {_named(bare)} without images of their own, each with the folders {_named(sorted(common))}"
    if got:
        raise DatasetError(
            f"expected {_LAYOUT}, got {got}: it is not clear which are parts and which are classes; {fix}"
        )


def _names_inside(folder: Path) -> set[str]:
    """Names of the folders in a folder, and of those in folders that set nothing apart."""
    inside = subfolders(folder)
    wrapped = [each for wrapper in inside if wrapper.name.casefold() in _WRAPPERS for each in subfolders(wrapper)]
    return {composed(each.name) for each in [*inside, *wrapped]}


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
    n_loose = 0
    for folder in {root, *parts.values()}:
        for name in loose_files(folder):
            suffix = suffix_of(name)
            if suffix in image_suffixes():
                n_loose += 1
            else:
                other[suffix] += 1
    notes = []
    if n := other.total():
        files = "1 file that is no image" if n == 1 else f"{n:,} files that are no images"
        notes.append(f"passed over {files} which can be read here: {suffixes_counted(other)}")
    if n_loose:
        notes.append(f"passed over {n_loose:,} {'image' if n_loose == 1 else 'images'} outside the class folders")
    return Listing(root, class_names, listed, tuple(notes))


def _class_folders(folder: Path, at_least: int) -> dict[str, Path]:
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


def _named(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:_SHOWN]) + (f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else "")
