"""The predictions of a finished lifetime for every test item, as a file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from agent.errors import RunError
from agent.storage.npz import npz_bytes

PREDICTIONS = "predictions.npz"
_PARTS = ("learner", "memory", "agent")


@dataclass(frozen=True)
class Predictions:
    """Class probabilities of a lifetime for its test items after the last chunk."""

    ids: Int64[np.ndarray, " n"]
    """The row of each item in the data set's own test part, or in all its items if it has no such part; lifetimes of
    other seeds and other test sizes have the same ids for the same items, unless the seed draws the items."""
    labels: Int64[np.ndarray, " n"]
    """The class of each item, a position in `class_names`."""
    learner: Float32[np.ndarray, "n classes"]
    memory: Float32[np.ndarray, "n classes"] | None
    """None if the memory was empty."""
    agent: Float32[np.ndarray, "n classes"]
    """Learner and memory, mixed."""
    class_names: tuple[str, ...]

    def as_npz(self) -> bytes:
        """A NumPy archive for `read_predictions`; the same predictions give the same bytes."""
        parts = {name: values for name in _PARTS if (values := getattr(self, name)) is not None}
        names = np.array(self.class_names, dtype=np.str_)
        return npz_bytes({"ids": self.ids, "labels": self.labels, **parts, "class_names": names})


def read_predictions(path: Path | str) -> Predictions:
    """Read the predictions of a lifetime.

    Args:
        path: of `predictions.npz`, or of the folder of the lifetime.

    Raises:
        RunError: the file is missing or damaged, or holds something else.
    """
    path = Path(path)
    path = path / PREDICTIONS if path.is_dir() else path
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in ("ids", "labels", *_PARTS) if name != "memory" or name in archive}
            names = tuple(map(str, archive["class_names"].tolist()))
        _check(arrays, len(names))
        return Predictions(**{"memory": None, **arrays}, class_names=names)
    except FileNotFoundError:
        reason = "no such file"
    except Exception as error:  # a file can hold anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    raise RunError(
        f"expected predictions at {path}, got: {reason}; a run with --keep-predictions writes them: remove the file "
        "summary.json beside it, and `lifetime resume` of that run lives this lifetime again"
    )


def _check(arrays: dict[str, np.ndarray], n_classes: int) -> None:
    """Raise ValueError for other shapes or types, labels that name no class, or values that are not finite."""
    labels = arrays["labels"]
    n = len(labels)
    for name, values in arrays.items():
        shape, kind = ((n, n_classes), np.float32) if name in _PARTS else ((n,), np.int64)
        if values.shape != shape or values.dtype != kind:
            raise ValueError(
                f"{name} of shape {values.shape} and type {values.dtype} for {n} items, {n_classes} classes"
            )
        if name in _PARTS and not np.isfinite(values).all():
            raise ValueError(f"{name} with NaN or infinity")
    if not n:
        raise ValueError("no items")
    if labels.min() < 0 or labels.max() >= n_classes:
        raise ValueError(f"labels outside 0 to {n_classes - 1}")
