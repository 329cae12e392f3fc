"""A growing, forkable store of labelled rows: images for rehearsal, refitting and re-keying, keys for recall."""

import copy

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

LABEL_NBYTES = 8
"""Bytes of an int64."""


class SampleStore:
    """Rows of one shape and type and their labels, in one tensor each, so that a batch is one gather.

    Rows are appended and never changed. Capacity doubles, so n appended rows cost O(n) copies. Forks share the tensors;
    of two forks that append, the second copies them.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._rows: Tensor | None = None
        self._labels = torch.empty(0, dtype=torch.int64, device=device)
        self._used = [0]  # rows written to the tensors; forks share this list with them
        self._n = 0

    def __len__(self) -> int:
        return self._n

    @property
    def nbytes(self) -> int:
        """Bytes of the rows and labels, without spare capacity."""
        return self._n * (self._rows[0].nbytes + LABEL_NBYTES) if self._rows is not None else 0

    @property
    def rows(self) -> Shaped[Tensor, "n ..."]:
        """All rows in the order of `append`: a read-only view."""
        assert self._rows is not None, "an empty store has no rows"
        return self._rows[: self._n]

    @property
    def labels(self) -> Int64[Tensor, " n"]:
        """The labels of all rows: a read-only view."""
        return self._labels[: self._n]

    def append(self, rows: Shaped[Tensor, "n ..."], labels: Int64[Tensor, " n"]) -> None:
        """Add rows at the end."""
        if not len(labels):
            return
        end = self._n + len(labels)
        if self._rows is None or self._used[0] != self._n or end > len(self._labels):
            self._move(max(end, 2 * self._n), rows)
        assert self._rows is not None
        self._rows[self._n : end] = rows.to(self.device)
        self._labels[self._n : end] = labels.to(self.device)
        self._n = self._used[0] = end

    def _move(self, capacity: int, like: Tensor) -> None:
        rows = torch.empty(capacity, *like.shape[1:], dtype=like.dtype, device=self.device)
        labels = torch.empty(capacity, dtype=torch.int64, device=self.device)
        if self._rows is not None:
            rows[: self._n], labels[: self._n] = self.rows, self.labels
        self._rows, self._labels, self._used = rows, labels, [self._n]

    def batch(self, rows: Int64[Tensor, " n"]) -> tuple[Shaped[Tensor, "n ..."], Int64[Tensor, " n"]]:
        """The rows with these numbers and their labels, on the store's device."""
        assert self._rows is not None, "an empty store has no batches"
        rows = rows.to(self.device)
        return self._rows[rows], self._labels[rows]

    def part(self, rows: Int64[Tensor, " n"]) -> "SampleStore":
        """A store of the rows with these numbers alone."""
        part = SampleStore(self.device)
        part.append(*self.batch(rows))
        return part

    def fork(self) -> "SampleStore":
        """An independent store with the same rows, which shares the tensors."""
        return copy.copy(self)

    def state(self) -> dict[str, Tensor]:
        """Tensors for `load_state`; empty for an empty store. Rows never change, so full tensors are not copied."""
        if self._rows is None:
            return {}
        return {"rows": _compact(self.rows, self._rows).cpu(), "labels": _compact(self.labels, self._labels).cpu()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned."""
        self._rows, self._n = None, 0
        if state:
            self.append(state["rows"], state["labels"])


def _compact(part: Tensor, whole: Tensor) -> Tensor:
    """Rows without spare capacity, which a saved view would include."""
    return part if len(part) == len(whole) else part.clone()
