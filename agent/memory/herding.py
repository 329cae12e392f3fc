"""Eviction by herding: the entries stay whose mean comes closest to that of their class."""

import copy
from typing import Any

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from agent.data.class_shares import quotas
from agent.data.herding import herd, herding_flops
from agent.memory.entries import normalized
from agent.memory.entry_store import EntryStore

TILE = 2048
"""Entries whose keys are read at once."""


class Herding:
    """Of each class the entries stay, in equal numbers, whose mean comes closest to the class mean.

    The class mean μ is that of the normalized keys of all samples of the class ever inserted. Entries are picked one
    after the other: of the k-th, the distance ‖μ - (x + Σ_{j<k} p_j) / k‖ is smallest. `quotas` says how many of a
    class stay. After re-keying, the mean is that of the entries held, with the weight of all samples ever inserted.

    It keeps sums and counts of each class: 8 C (L + 1) bytes for C classes and keys of L numbers.

    References:
        Rebuffi et al., "iCaRL", CVPR 2017, arXiv:1611.07725, Algorithm 4. Welling, "Herding dynamical weights to
        learn", ICML 2009.
    """

    def __init__(self) -> None:
        self._sums: Float64[Tensor, "classes length"] | None = None
        self._counts: Int64[Tensor, " classes"] | None = None

    def nbytes_of(self, n_entries: int, key_length: int, n_classes: int) -> int:
        """Bytes of the sums and counts."""
        return 8 * n_classes * (key_length + 1)

    def flops(self, n: int, n_entries: int, n_evicted: int, key_length: int) -> int:
        """An upper bound (`herding_flops`)."""
        n_entries += n
        return herding_flops(n_entries, n_entries - n_evicted, key_length) if n_evicted else 0

    def observe(
        self, before: EntryStore, keys: Float[Tensor, "n length"], labels: Int64[Tensor, " n"], n_classes: int
    ) -> None:
        """Add the keys to the sums of their classes."""
        labels = labels.cpu()
        if self._sums is None or self._counts is None:
            self._sums = torch.zeros(n_classes, keys.shape[1], dtype=torch.float64)
            self._counts = torch.zeros(n_classes, dtype=torch.int64)
        # Sums are new tensors, since forks share the old ones, and on the CPU, where their order is always the same.
        self._sums = self._sums.index_add(0, labels, normalized(keys.cpu()).double())
        self._counts = self._counts + torch.bincount(labels, minlength=n_classes)

    def choose(self, entries: EntryStore, n_evicted: int) -> Int64[Tensor, " n_evicted"]:
        """The entries of the classes with more than their quota that herding does not pick."""
        assert self._sums is not None, "the entries were observed"
        assert self._counts is not None
        ids, labels = entries.ids.cpu(), entries.labels.cpu()
        counts = torch.bincount(labels, minlength=len(self._counts))
        quota = quotas(counts, len(ids) - n_evicted)
        candidates = (counts > quota)[labels].nonzero()[:, 0]
        candidates = candidates[labels[candidates].argsort(stable=True)]  # so that those of a class lie together
        classes, sizes = labels[candidates].unique_consecutive(return_counts=True)
        means = self._sums[classes] / self._counts[classes, None]
        picked = herd(_keys(entries, candidates).double(), sizes, means, quota[classes])
        return ids[candidates[~picked]]

    def forget(self, entries: EntryStore, ids: Int64[Tensor, " n_evicted"]) -> None:
        """Nothing to note: the means are those of all samples ever inserted."""

    def rekeyed(self, entries: EntryStore) -> None:
        """Replace the means by those of the entries that are held; a class without entries begins anew."""
        if self._sums is None or self._counts is None:
            return
        labels = entries.labels.cpu()
        held = torch.bincount(labels, minlength=len(self._counts))
        sums = torch.zeros_like(self._sums)
        for tile in entries.tiles_after(0, TILE):
            sums.index_add_(0, tile.labels.cpu(), tile.keys.cpu().double())
        self._counts = torch.where(held > 0, self._counts, 0)
        self._sums = sums * (self._counts / held.clamp_min(1))[:, None]

    def fork(self) -> "Herding":
        """An independent eviction with the same sums."""
        return copy.copy(self)

    def state(self) -> dict[str, Any]:
        """The sums and counts."""
        return {} if self._sums is None else {"sums": self._sums, "counts": self._counts}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self._sums, self._counts = state.get("sums"), state.get("counts")


def _keys(entries: EntryStore, chosen: Int64[Tensor, " n"]) -> Float[Tensor, "n length"]:
    """The keys of entries by their position, on the CPU."""
    keys, first = torch.empty(len(chosen), entries.key_length or 0), 0
    for tile in entries.tiles_after(0, TILE):
        here = (chosen >= first) & (chosen < first + len(tile.keys))
        keys[here] = tile.keys.cpu()[chosen[here] - first]
        first += len(tile.keys)
    return keys
