"""A growing, forkable store of labelled images, for rehearsal and refitting."""

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor


class SampleStore:
    """Images and labels in one tensor each, so that any batch is one gather.

    Rows are only ever appended. Capacity doubles, so that n appended rows cost O(n) copies; a fork shares the tensors
    and copies them only when both sides append.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._images: Tensor | None = None
        self._labels = torch.empty(0, dtype=torch.int64, device=device)
        self._used = [0]  # rows written in the shared tensors, by whichever fork wrote last
        self._n = 0

    def __len__(self) -> int:
        return self._n

    @property
    def nbytes(self) -> int:
        """Bytes of the rows in use."""
        return self._n * (self._images[0].nbytes + 8) if self._images is not None else 0

    def append(self, images: UInt8[Tensor, "n 3 height width"], labels: Int64[Tensor, " n"]) -> None:
        """Add rows at the end."""
        if not len(labels):
            return
        end = self._n + len(labels)
        if self._images is None or self._used[0] != self._n or end > len(self._labels):
            self._move(max(end, 2 * self._n), images.shape[1:])
        assert self._images is not None
        self._images[self._n : end] = images.to(self.device)
        self._labels[self._n : end] = labels.to(self.device)
        self._n = self._used[0] = end

    def _move(self, capacity: int, shape: torch.Size) -> None:
        images = torch.empty(capacity, *shape, dtype=torch.uint8, device=self.device)
        labels = torch.empty(capacity, dtype=torch.int64, device=self.device)
        if self._images is not None:
            images[: self._n] = self._images[: self._n]
            labels[: self._n] = self._labels[: self._n]
        self._images, self._labels, self._used = images, labels, [self._n]

    def batch(self, rows: Int64[Tensor, " n"]) -> tuple[UInt8[Tensor, "n 3 height width"], Int64[Tensor, " n"]]:
        """The images and labels of `rows`, on the store's device."""
        assert self._images is not None, "an empty store has no batches"
        rows = rows.to(self.device)
        return self._images[rows], self._labels[rows]

    def fork(self) -> "SampleStore":
        """A store with the same rows and a future of its own."""
        fork = SampleStore(self.device)
        fork._images, fork._labels, fork._used, fork._n = self._images, self._labels, self._used, self._n
        return fork

    def state(self) -> dict[str, Tensor]:
        """Tensors that `load_state` takes; empty for an empty store."""
        if self._images is None:
            return {}
        # Copies, lest a slice carry the spare capacity along into a file.
        return {"images": self._images[: self._n].clone().cpu(), "labels": self._labels[: self._n].clone().cpu()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Replace all rows by those of `state`."""
        self._images, self._n = None, 0
        if state:
            self.append(state["images"], state["labels"])
