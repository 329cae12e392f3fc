"""The raw inputs of entries in memory, which re-keying and consolidation need."""

import copy
from typing import Any

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from agent.data.chunk import LabelledInputs
from agent.data.sample_store import LABEL_NBYTES, SampleStore
from agent.errors import InvalidSetting
from agent.memory.packed import ids_of, labels_of, packed


class RawImages:
    """Inputs of entries in memory with their classes, on the CPU, by the ids of the entries in ascending order.

    Args:
        all_kept: whether they stay for as long as the entry is in memory, as re-keying needs them.
        awaiting: whether they wait until the learner has learned from them, as consolidation wants it. Those that are
            neither kept nor awaited are not stored.
    """

    def __init__(self, *, all_kept: bool, awaiting: bool) -> None:
        self.all_kept, self.awaiting = all_kept, awaiting
        self._store = SampleStore(torch.device("cpu"))  # in place of its labels are labels packed with ids
        self.unlearned = torch.empty(0, dtype=torch.int64)
        """Ids of those that wait for the learner, ascending; a new tensor after each change."""

    def __len__(self) -> int:
        return len(self._store)

    @property
    def stores(self) -> bool:
        """Whether anything is stored at all."""
        return self.all_kept or self.awaiting

    @property
    def nbytes(self) -> int:
        """Bytes of inputs, classes and ids."""
        return self._store.nbytes

    def nbytes_of(self, inputs: Shaped[Tensor, "n ..."], *, learned: bool = False) -> int:
        """Bytes of storing so many inputs of that shape and type; `learned` is that of `append`."""
        stores = self.all_kept if learned else self.stores
        return inputs.nbytes + len(inputs) * LABEL_NBYTES if stores else 0

    def append(
        self,
        inputs: Shaped[Tensor, "n ..."],
        labels: Int64[Tensor, " n"],
        ids: Int64[Tensor, " n"],
        *,
        learned: bool = False,
    ) -> int:
        """Store the inputs of new entries; returns the bytes written.

        Those that the learner has `learned` already do not wait for it, and are stored only if all are kept.
        """
        nbytes = self.nbytes_of(inputs, learned=learned)
        if nbytes:
            self._store.append(inputs, packed(labels.cpu(), ids))
        if self.awaiting and not learned:
            self.unlearned = torch.cat([self.unlearned, ids])
        return nbytes

    def of(self, ids: Int64[Tensor, " n"]) -> LabelledInputs:
        """Copies of the inputs of entries with their classes, in the order of `ids`.

        Raises:
            InvalidSetting: an id that is not stored.
        """
        ids, stored = ids.cpu(), ids_of(self._store.labels)
        rows = torch.searchsorted(stored, ids).clamp_max(max(len(stored) - 1, 0))
        found = stored[rows] if len(stored) else torch.full_like(ids, -1)
        if not torch.equal(found, ids):
            missing = int(ids[found != ids][0])
            raise InvalidSetting(f"expected ids of entries that are in memory, got {missing}; was it evicted?")
        inputs, pairs = self._store.batch(rows)
        return LabelledInputs(inputs, labels_of(pairs))

    def next(self, most: int) -> Int64[Tensor, " n"]:
        """The ids of up to `most` entries that wait for the learner, evenly spaced by age."""
        return self.unlearned[spaced(len(self.unlearned), most)]

    def learned(self, ids: Int64[Tensor, " n"]) -> None:
        """Take note that the learner has learned from entries; their inputs go, unless all are kept."""
        self.unlearned = _without(self.unlearned, ids)
        if not self.all_kept:
            self._drop(ids)

    def evict(self, ids: Int64[Tensor, " n"]) -> None:
        """Remove the inputs of entries that are not in memory any more; ids that are not stored have no effect."""
        if len(ids):
            self.unlearned = _without(self.unlearned, ids)
            self._drop(ids)

    def _drop(self, ids: Int64[Tensor, " n"]) -> None:
        if len(self._store):
            remains = ~torch.isin(ids_of(self._store.labels), ids.cpu())
            self._store = self._store.part(remains.nonzero()[:, 0])

    def fork(self) -> "RawImages":
        """An independent copy, which shares the tensors."""
        fork = copy.copy(self)
        fork._store = self._store.fork()
        return fork

    def state(self) -> dict[str, Any]:
        """Tensors from which `load_state` restores the images."""
        return {**self._store.state(), "unlearned": self.unlearned}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self.unlearned = state["unlearned"]
        self._store.load_state({name: values for name, values in state.items() if name != "unlearned"})


def spaced(n: int, most: int) -> Int64[Tensor, " chosen"]:
    """Up to `most` positions out of n, evenly spaced, the first one among them."""
    n_chosen = min(n, most)
    return torch.arange(n_chosen) * n // max(n_chosen, 1)


def _without(ids: Int64[Tensor, " n"], others: Int64[Tensor, " m"]) -> Int64[Tensor, " left"]:
    return ids[~torch.isin(ids, others.cpu())]
