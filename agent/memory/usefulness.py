"""Eviction by usefulness: the entries stay that helped most with recent queries."""

import copy
from typing import Any

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from agent.memory.entry_store import EntryStore
from agent.memory.neighbours import nearest

N_NEIGHBOURS = 10
"""Entries that share the credit for a query."""

TEMPERATURE = 0.07
"""Of the softmax over the cosines of the neighbours, as in the k-nearest-neighbour evaluation of Wu et al. 2018,
arXiv:1805.01978."""

DECAY = 0.99
"""What remains of an entry's usefulness after a chunk."""


class LeastUseful:
    """The entries go that helped least with recently inserted samples; among equals the oldest.

    The queries are the samples of each new chunk. Each asks for its nearest entries among those stored before it. The
    softmax of their cosines / `TEMPERATURE` is a weight, which a neighbour of the same label gains in usefulness, and
    one of another label loses. Before that, all usefulness decays by `DECAY`.

    The usefulness of a new entry is the median of the entries stored before it (0 in an empty memory): an entry without
    evidence counts as a typical one. So a chunk first replaces the less useful half, and is not lost itself.

    It keeps 4 bytes for each entry. After re-keying, usefulness stays as it was.
    """

    def __init__(self) -> None:
        self._usefulness: Float32[Tensor, " n_entries"] = torch.empty(0)

    def nbytes_of(self, n_entries: int, key_length: int, n_classes: int) -> int:
        """Bytes of the usefulness."""
        return 4 * n_entries

    def flops(self, n: int, n_entries: int, n_evicted: int, key_length: int) -> int:
        """FLOPs of comparing each sample with each entry stored before it."""
        return 2 * n * n_entries * key_length

    def observe(
        self, before: EntryStore, keys: Float[Tensor, "n length"], labels: Int64[Tensor, " n"], n_classes: int
    ) -> None:
        """Give credit to the neighbours of the samples, and a usefulness to the samples."""
        usefulness = DECAY * self._usefulness
        if len(before):
            found = nearest(keys, before, N_NEIGHBOURS)
            at, cosines = found.positions.cpu(), found.similarity.cpu()
            same = before.labels.cpu()[at] == labels.cpu()[:, None]
            credit = (cosines / TEMPERATURE).softmax(dim=1) * torch.where(same, 1.0, -1.0)
            usefulness.index_add_(0, at.flatten(), credit.flatten())
        typical = usefulness.median() if len(before) else torch.tensor(0.0)
        self._usefulness = torch.cat([usefulness, typical.expand(len(keys))])

    def choose(self, entries: EntryStore, n_evicted: int) -> Int64[Tensor, " n_evicted"]:
        """The entries of the lowest usefulness."""
        chosen = self._usefulness.argsort(stable=True)[:n_evicted]
        remains = torch.ones(len(self._usefulness), dtype=torch.bool)
        remains[chosen] = False
        self._usefulness = self._usefulness[remains]
        return entries.ids.cpu()[chosen]

    def forget(self, entries: EntryStore, ids: Int64[Tensor, " n_evicted"]) -> None:
        """Drop the usefulness of the entries that go."""
        self._usefulness = self._usefulness[~torch.isin(entries.ids.cpu(), ids.cpu())]

    def rekeyed(self, entries: EntryStore) -> None:
        """Nothing to note."""

    def fork(self) -> "LeastUseful":
        """An independent eviction with the same usefulness, shared until one side observes."""
        return copy.copy(self)

    def state(self) -> dict[str, Any]:
        """The usefulness."""
        return {"usefulness": self._usefulness}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self._usefulness = state["usefulness"]
