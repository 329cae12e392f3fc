"""Find the Parquet files of the parts of a data set, as public data hubs lay them out."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from agent.errors import DatasetError
from scenarios.datasets.folder_layout import part_of

_LAYOUT = "train-*.parquet and test-*.parquet, or train/*.parquet and test/*.parquet"
_N_SHOWN = 5  # names in a message


@dataclass(frozen=True)
class ParquetFiles:
    """The files of each part, in the order of their names."""

    root: Path
    """Absolute path, without links, of the file or the folder."""
    parts: dict[str, list[Path]]
    """By "train" and, if there are, "validation" and "test"."""
    notes: tuple[str, ...] = ()
    """A line about files that belong to no part."""


def find_parquet(path: Path) -> ParquetFiles:
    """The files at a path: one file, or a folder of files whose names or folders say the part.

    A file `train-00000-of-00002.parquet` or `train/0000.parquet` belongs to the train part. A folder whose files name
    no part is one part. Files of other parts are left out with a note.

    Raises:
        DatasetError: there is no Parquet file, no train part beside another one, or two sets of files for one part.
    """
    try:
        root = path.expanduser().resolve()
        if root.is_file():
            return ParquetFiles(root, {"train": [root]})
        found = _below(root) if root.is_dir() else []
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a loop of links; ValueError: a NUL in a path
        raise DatasetError(f"expected readable Parquet files, got {error}; check the path") from error
    if not found:
        got = "a folder without one" if root.is_dir() else "nothing"
        raise DatasetError(f"expected a Parquet file or a folder of them ({_LAYOUT}), got {got} at {root}; check it")
    _check_complete(root, found)
    named = {file: _name_of_part(file.relative_to(root)) for file in found}
    if not any(part_of(name) for name in named.values()):
        return _one_part(root, named)
    return _several_parts(root, named)


def _below(root: Path) -> list[Path]:
    """All Parquet files below a folder, without hidden ones."""
    return sorted(
        Path(folder, name)
        for folder, folders, names in os.walk(root)
        for name in names
        if name.lower().endswith(".parquet") and not _is_hidden(Path(folder, name).relative_to(root))
    )


def _check_complete(root: Path, files: list[Path]) -> None:
    """Raise DatasetError for files that are numbered as in train-00000-of-00002, of which some are missing."""
    numbered = [(file, re.fullmatch(r"(.*?)(\d+)-of-(\d+)", file.stem)) for file in files]
    series: dict[tuple[Path, str, int], set[int]] = {}
    for file, match in numbered:
        if match:
            series.setdefault((file.parent, match[1], int(match[3])), set()).add(int(match[2]))
    for (folder, name, n), there in series.items():
        if len(there) < n:
            raise DatasetError(
                f"expected {n} files {name}*-of-{n:05} in {folder}, as their names say, got {len(there)}; add the "
                "others, or give one file"
            )


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _name_of_part(file: Path) -> str:
    """The word of a path that names a part: the beginning of the file's name, or else the nearest folder's name."""
    begun = re.split(r"[-_.]?\d", file.stem)[0]
    candidates = [begun, *(folder.removeprefix("partial-") for folder in reversed(file.parts[:-1]))]
    return next((name for name in candidates if part_of(name)), begun)


def _one_part(root: Path, named: dict[Path, str]) -> ParquetFiles:
    if len(words := sorted({name for name in named.values() if name})) > 1:
        raise DatasetError(
            f"expected a folder of Parquet files with parts ({_LAYOUT}), got files called {_listed(words)} at {root}: "
            "it is not clear which are parts; rename them, or give one of the files"
        )
    return ParquetFiles(root, {"train": list(named)})


def _several_parts(root: Path, named: dict[Path, str]) -> ParquetFiles:
    parts: dict[str, list[Path]] = {"train": [], "validation": [], "test": []}
    others = []
    for file, name in named.items():
        if part := part_of(name):
            parts[part].append(file)
        else:
            others.append(file)
    for part, files in parts.items():
        sets = sorted({str(_set_of(file.relative_to(root))) for file in files})
        if len(sets) > 1:
            raise DatasetError(
                f"expected one set of files for the {part} part at {root}, got {_listed(sets)}; give the path "
                "of one of them"
            )
    if not parts["train"]:
        there = " and ".join(part for part, files in parts.items() if files)
        raise DatasetError(
            f"expected a train part in {root} ({_LAYOUT}), got {there} alone; add it, or give a file to split it by "
            "seed"
        )
    names = _listed([str(file.relative_to(root)) for file in others])
    counted = "1 Parquet file of another part" if len(others) == 1 else f"{len(others)} Parquet files of other parts"
    notes = (f"left out {counted}: {names}",) if others else ()
    return ParquetFiles(root, {part: files for part, files in parts.items() if files}, notes)


def _set_of(file: Path) -> Path:
    """What the files of one part have in common: their folder and the word for the part."""
    begun = re.split(r"[-_.]?\d", file.stem)[0]
    return file.parent / begun if begun else file.parent


def _listed(names: list[str]) -> str:
    rest = len(names) - _N_SHOWN
    return ", ".join(names[:_N_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
