"""Which entries a memory removes when it is full."""

import copy
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from agent.data.class_shares import quotas, ranks
from agent.memory.entry_store import EntryStore
from agent.randomness import priorities


@runtime_checkable
class Eviction(Protocol):
    """Chooses the entries that go, and keeps what it needs for that.

    The memory calls `observe` after it has stored a chunk, and then `choose` if it holds too many entries.
    """

    def nbytes_of(self, n_entries: int, key_length: int, n_classes: int) -> int:
        """Bytes kept beside n_entries entries, 1 or more: a constant plus an amount for each entry."""

    def flops(self, n: int, n_entries: int, n_evicted: int, key_length: int) -> int:
        """FLOPs of observing n samples and evicting, in a memory that held `n_entries` entries before."""

    def observe(
        self, before: EntryStore, keys: Float[Tensor, "n length"], labels: Int64[Tensor, " n"], n_classes: int
    ) -> None:
        """Take note of a chunk of n samples.

        Args:
            before: the entries that were stored before them.
            keys: of the samples; not normalized.
            labels: of the samples.
            n_classes: number of classes of the memory.
        """

    def choose(self, entries: EntryStore, n_evicted: int) -> Int64[Tensor, " n_evicted"]:
        """Ids of the entries that go; the caller removes them, and nothing is kept for them any more."""

    def forget(self, entries: EntryStore, ids: Int64[Tensor, " n_evicted"]) -> None:
        """Take note that entries go which this eviction did not choose; `entries` are those before."""

    def rekeyed(self, entries: EntryStore) -> None:
        """Take note that the keys of all entries were replaced."""

    def fork(self) -> "Eviction":
        """An independent eviction that has observed the same."""

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `load_state` restores it to the bit."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""


class Stateless:
    """An eviction that chooses by the ids and labels of the entries alone, at no FLOPs: it keeps nothing."""

    def nbytes_of(self, n_entries: int, key_length: int, n_classes: int) -> int:
        """No bytes."""
        return 0

    def flops(self, n: int, n_entries: int, n_evicted: int, key_length: int) -> int:
        """No products."""
        return 0

    def observe(
        self, before: EntryStore, keys: Float[Tensor, "n length"], labels: Int64[Tensor, " n"], n_classes: int
    ) -> None:
        """Nothing to note."""

    def forget(self, entries: EntryStore, ids: Int64[Tensor, " n_evicted"]) -> None:
        """Nothing to note."""

    def rekeyed(self, entries: EntryStore) -> None:
        """Nothing to note."""

    def fork(self) -> Any:
        """An equal eviction."""
        return copy.copy(self)

    def state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""


class Fifo(Stateless):
    """The oldest entries go."""

    def choose(self, entries: EntryStore, n_evicted: int) -> Int64[Tensor, " n_evicted"]:
        """The first entries."""
        return entries.ids[:n_evicted].cpu()


class Reservoir(Stateless):
    """What stays is a uniform sample of all that was ever inserted and not released.

    Each sample has a pseudo-random priority, a hash of the seed and its id, and the lowest priorities stay (bottom-k
    sampling). So the same samples stay whatever the chunks, and nothing needs to be stored.

    Args:
        seed: of the priorities.

    References:
        Cohen and Kaplan, "Summarizing data using bottom-k sketches", PODC 2007.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def choose(self, entries: EntryStore, n_evicted: int) -> Int64[Tensor, " n_evicted"]:
        """The entries of the highest priorities."""
        ids = entries.ids.cpu()
        n_left = len(ids) - n_evicted
        return ids[torch.from_numpy(np.argpartition(priorities(ids, self.seed), n_left)[n_left:])]


class ClassBalanced(Stateless):
    """What stays is a uniform sample of each class, in equal numbers (`quotas`).

    What stays is what would be chosen from all samples ever inserted, whatever the chunks: no quota grows, unless
    entries are released.

    Args:
        seed: of the priorities.

    References:
        The classes share the capacity as in Avalanche's ClassBalancedBuffer, where a share that is not full stays free.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def choose(self, entries: EntryStore, n_evicted: int) -> Int64[Tensor, " n_evicted"]:
        """The entries of the highest priorities in each class that has more than its quota."""
        ids, labels = entries.ids.cpu(), entries.labels.cpu()
        counts = torch.bincount(labels)
        order = torch.from_numpy(np.lexsort((priorities(ids, self.seed), labels.numpy())))
        surplus = ranks(counts) >= quotas(counts, len(ids) - n_evicted)[labels[order]]
        return ids[order[surplus]]
