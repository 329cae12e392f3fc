"""What an experiment says when it is finished, as plain values: the command line and notebooks draw it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    heading: str
    is_text: bool = False
    """Text is left-aligned; numbers are right-aligned."""
    folds: bool = False
    """Whether long cells are broken into lines."""


@dataclass(frozen=True)
class Table:
    """A table of texts."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    """Each with a text for each column."""
    title: str = ""
    caption: str = ""
    gap: int = 1
    """Characters between columns."""


def numbers(*headings: str) -> tuple[Column, ...]:
    """Columns of numbers with these headings."""
    return tuple(map(Column, headings))


@dataclass(frozen=True)
class Report:
    """The results of a run, in the order in which they are shown."""

    content: Any
    """The results as plain values, for JSON."""
    parts: Sequence[str | Table | Sequence[Table]]
    """Lines of text and tables; of several versions of a table, widest first, the first that fits is shown."""
    notes: Sequence[str] = ()
    """Notes for a careful reader."""
    facts: Sequence[tuple[str, Sequence[Path | str]]] = ()
    """Files that were written, and other facts of a line, by kind."""
    has_trajectories: bool = True
    """Whether TensorBoard shows trajectories of the run."""
    error: str = ""
    """What is wrong with the run; the command line shows it last, and exits with code 2."""
