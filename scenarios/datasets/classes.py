"""Labels of any kind as positions in a list of class names."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from agent.errors import DatasetError

_N_SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Classes:
    """The classes of a data set, and its labels as positions in them."""

    names: tuple[str, ...]
    labels: dict[str, Int64[Tensor, " _"]]
    """By part."""
    notes: tuple[str, ...] = ()
    """A line about classes that are left out."""


def classes_of(
    parts: Mapping[str, Shaped[np.ndarray, " _"]], origin: str, names: Sequence[str] | None = None
) -> Classes:
    """The classes of a data set: those that its train part has.

    Without `names`, the classes are the labels themselves, in their order. With `names`, a whole number is a position
    in them, and a text is one of them; names without a training sample are left out, with a note.

    Args:
        parts: the labels of "train" and further parts, whole numbers or texts.
        origin: where they are, for errors.
        names: the name of each class.

    Raises:
        DatasetError: labels of several kinds, labels without a name, names that occur twice, fewer than two classes,
            or a class that is not in the train part.
    """
    kinds = {part: _kind(labels) for part, labels in parts.items()}
    if len(set(kinds.values())) > 1:
        got = ", ".join(f"{kind} in {part}" for part, kind in kinds.items())
        raise DatasetError(f"expected labels of one kind in {origin}, got {got}; make them alike")
    found = {part: np.unique(labels) for part, labels in parts.items()}
    values = found["train"]
    if len(values) < 2:
        raise DatasetError(
            f"expected 2 or more classes in {origin}, got {len(values)} ({_listed(values.tolist())}); check the labels"
        )
    for part, others in found.items():
        if len(strange := np.setdiff1d(others, values)):
            raise DatasetError(
                f"expected each class of the {part} part to be in the train part of {origin}, got "
                f"{_listed(_named(strange, names))} in {part} alone; remove these samples or add some to train"
            )
    labels = {part: torch.from_numpy(np.searchsorted(values, each).astype(np.int64)) for part, each in parts.items()}
    if names is None:
        return Classes(tuple(map(str, values.tolist())), labels)
    return _as_named(values, labels, list(map(str, names)), origin)


def _as_named(
    values: Shaped[np.ndarray, " classes"], labels: dict[str, Int64[Tensor, " _"]], names: list[str], origin: str
) -> Classes:
    """The same classes by their given names and in their order."""
    if twice := sorted(name for name, n in Counter(names).items() if n > 1):
        raise DatasetError(f"expected each class name once in {origin}, got {_listed(twice)} twice; rename the classes")
    if values.dtype.kind == "U":
        if unknown := sorted(set(values.tolist()) - set(names)):
            raise DatasetError(
                f"expected labels out of the {len(names)} class names of {origin}, got {_listed(unknown)}; correct them"
            )
        numbers = {name: number for number, name in enumerate(names)}
        place = np.array([numbers[value] for value in values.tolist()])
    else:
        if int(values[0]) < 0 or int(values[-1]) >= len(names):
            raise DatasetError(
                f"expected labels from 0 to {len(names) - 1} in {origin}, positions in its {len(names)} class names, "
                f"got {int(values[0])} to {int(values[-1])}; correct the labels or the names"
            )
        place = values.astype(np.int64)
    order = np.argsort(place)
    rank = torch.from_numpy(np.argsort(order))
    used = set(place.tolist())
    unused = [name for number, name in enumerate(names) if number not in used]
    notes = (f"left out {len(unused)} of {len(names)} classes, without training samples: {_listed(unused)}",)
    kept = tuple(names[number] for number in sorted(used))
    return Classes(kept, {part: rank[each] for part, each in labels.items()}, notes if unused else ())


def _kind(labels: Shaped[np.ndarray, " n"]) -> str:
    return "texts" if labels.dtype.kind == "U" else "whole numbers"


def _named(values: Shaped[np.ndarray, " classes"], names: Sequence[str] | None) -> list[object]:
    inside = names is not None and values.dtype.kind != "U"
    return [names[v] if inside and names is not None and 0 <= v < len(names) else v for v in values.tolist()]


def _listed(values: Sequence[object]) -> str:
    plain = ["".join(c if c.isprintable() else "?" for c in str(value))[:24] for value in values]
    rest = len(plain) - _N_SHOWN
    return (", ".join(plain[:_N_SHOWN]) or "none") + (f" and {rest} more" if rest > 0 else "")
