"""A memory with a capacity, around a memory of entries."""

import copy
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from agent.abilities import missing_members
from agent.accounting.work import Work
from agent.errors import InvalidSetting
from agent.memory.decorated import Decorated
from agent.memory.eviction import Eviction, Stateless
from agent.memory.protocol import Evictable, Insertion, InsertionEstimate, Memory, ReadOut, Rekeyable
from agent.memory.settings import Setting
from agent.networks.outputs import Outputs

UNITS = {"GB": 10**9, "MB": 10**6, "kB": 10**3, "B": 1}


@dataclass(frozen=True)
class Capacity:
    """What a memory may hold: a number of entries, or bytes.

    Args:
        entries: the most entries, 1 or more.
        nbytes: the most bytes of entries and of what the eviction keeps beside them, 1 or more.
        shared: whether the bytes are also those of the samples that the learner stores, which come first: entries have
            what is left.

    Raises:
        InvalidSetting: not exactly one of the two numbers, one below 1, or entries that are shared.
    """

    entries: int | None = None
    nbytes: int | None = None
    shared: bool = False

    def __post_init__(self) -> None:
        given = [each for each in (self.entries, self.nbytes) if each is not None]
        if len(given) != 1 or given[0] < 1:
            raise InvalidSetting(f"expected a capacity of at least 1 entry or 1 byte, not both, got {self!r}")
        if self.shared and self.nbytes is None:
            raise InvalidSetting(f"expected bytes to be shared, as in shared:10MB, got {self.entries} entries")

    def __str__(self) -> str:
        if self.nbytes is None:
            return str(self.entries)
        unit = next(unit for unit, size in UNITS.items() if self.nbytes % size == 0)
        return f"{'shared:' * self.shared}{self.nbytes // UNITS[unit]}{unit}"

    @classmethod
    def parse(cls, text: str) -> "Capacity":
        """Parse entries, as `1000`, or bytes in decimal units, as `10MB` or `shared:10MB`.

        Raises:
            InvalidSetting: anything else.
        """
        found = re.fullmatch(r"(shared:)?([0-9]{1,18})(GB|MB|kB|B)?", text)
        if not found or not int(found[2]):
            raise InvalidSetting(
                "expected a capacity of 1 or more in entries (1000) or in B, kB, MB or GB (10MB), or in bytes that the "
                f"learner's samples share (shared:10MB), got {text!r}"
            )
        number, shared = int(found[2]), found[1] is not None
        return cls(nbytes=number * UNITS[found[3]], shared=shared) if found[3] else cls(entries=number, shared=shared)


class BoundedMemory(Decorated):
    """A memory of entries with a capacity: each insert stores all its samples, and then evicts the surplus.

    All samples are written, and billed as by the memory without a capacity; the FLOPs of choosing entries are billed
    too. What the eviction keeps counts as bytes held, not as bytes written. The evicted entries may be new ones.

    Args:
        memory: an empty memory, which no other code changes from here on.
        capacity: the most it may hold between inserts.
        eviction: chooses the entries that go.

    Raises:
        InvalidSetting: a memory that is not `Evictable`, or that has entries; or a shared capacity with an eviction
            that computes, as what the learner stores would then cost FLOPs of the memory.
    """

    def __init__(self, memory: Memory[Any], capacity: Capacity, eviction: Eviction) -> None:
        if memory.n_entries:
            raise InvalidSetting(f"expected an empty memory for a capacity, got one of {memory.n_entries} entries")
        if capacity.shared and not isinstance(eviction, Stateless):
            raise InvalidSetting(
                "expected an eviction without FLOPs (reservoir, class-balanced or fifo) with a shared capacity, got "
                f"{type(eviction).__name__}"
            )
        self.memory: Evictable[Any] = _evictable(memory)
        self.capacity, self.eviction = capacity, eviction.fork()
        self.reserved_nbytes = 0
        """Of the capacity, for the learner."""

    @property
    def nbytes(self) -> int:
        """Bytes of the memory, and of what the eviction keeps."""
        return self.memory.nbytes + self._kept_nbytes(self.n_entries, self.memory.entries.key_length or 0)

    def _kept_nbytes(self, n_entries: int, key_length: int) -> int:
        return self.eviction.nbytes_of(n_entries, key_length, self.memory.n_classes) if n_entries else 0

    def most_entries(self, key_length: int) -> int:
        """The most entries with keys of `key_length` numbers that the capacity has room for.

        Raises:
            InvalidSetting: a capacity in bytes without room for one entry, whatever the learner stores.
        """
        if self.capacity.nbytes is None:
            assert self.capacity.entries is not None
            return self.capacity.entries
        one, two = (self.memory.entries.nbytes_of(n, key_length) + self._kept_nbytes(n, key_length) for n in (1, 2))
        if self.capacity.nbytes < one:
            raise InvalidSetting(
                f"expected a capacity of at least {one:,} bytes (one entry of {key_length:,} numbers, and what the "
                f"eviction keeps beside it), got {self.capacity.nbytes:,}; raise it, or pool the keys"
            )
        return max(0, 1 + (self.capacity.nbytes - self.reserved_nbytes - one) // (two - one))

    @property
    def shared_nbytes(self) -> int | None:
        """The capacity, if it is shared with the learner's samples."""
        return self.capacity.nbytes if self.capacity.shared else super().shared_nbytes

    def reserve(self, nbytes: int) -> None:
        """Evict what leaves no room for the learner's bytes; see `Decorated`."""
        if not self.capacity.shared:
            return
        self.reserved_nbytes = nbytes
        key_length = self.memory.entries.key_length
        n_evicted = 0 if key_length is None else max(0, self.n_entries - self.most_entries(key_length))
        if n_evicted:
            self.memory.evict(self.eviction.choose(self.memory.entries, n_evicted))

    def estimate_insert(self, n: int, key_length: int) -> InsertionEstimate:
        """The cost of storing n samples and evicting the surplus, exactly; see `Memory`.

        Raises:
            InvalidSetting: see `most_entries`; or keys that are too long for the memory.
        """
        n_entries, most = self.n_entries, self.most_entries(key_length)
        inner = self.memory.estimate_insert(n, key_length)
        n_evicted = max(0, n_entries + n - most) if n else 0
        left = n_entries + n - n_evicted
        held = inner.held_nbytes - self.memory.entries.nbytes_of(n_evicted, key_length)
        held += self._kept_nbytes(left, key_length) - self._kept_nbytes(n_entries, key_length)
        flops = self.eviction.flops(n, n_entries, n_evicted, key_length)
        return InsertionEstimate(inner.work + Work(flops), held, n_evicted)

    def insert(
        self,
        outputs: Outputs,
        labels: Int64[Tensor, " n_labels"],
        ids: Int64[Tensor, " n_ids"],
        inputs: Shaped[Tensor, "n ..."] | None = None,
    ) -> Insertion:
        """Store all samples, and evict the surplus; see `Memory`.

        Raises:
            InvalidSetting: see `estimate_insert` and the memory's `insert`; nothing is stored or evicted.
        """
        keys = outputs.keys
        if not len(keys):
            return self.memory.insert(outputs, labels, ids, inputs)
        n, n_entries = len(keys), self.n_entries
        n_evicted = max(0, n_entries + n - self.most_entries(keys.shape[1]))
        before = self.memory.entries.fork()
        work = self.memory.insert(outputs, labels, ids, inputs).work  # first, since it checks the samples
        start = time.perf_counter()
        self.eviction.observe(before, keys, labels, self.memory.n_classes)
        evicted = torch.empty(0, dtype=torch.int64)
        if n_evicted:
            evicted = self.eviction.choose(self.memory.entries, n_evicted)
            self.memory.evict(evicted)
        flops = self.eviction.flops(n, n_entries, n_evicted, keys.shape[1])
        return Insertion(work + Work(flops, seconds=time.perf_counter() - start), evicted)

    def evict(self, ids: Int64[Tensor, " n_evicted"]) -> None:
        """Remove entries that need not go; see `Evictable`."""
        entries = self.memory.entries.fork()
        self.memory.evict(ids)  # first, since it checks the ids
        self.eviction.forget(entries, ids)

    def recall(
        self, queries: Float[Tensor, "n length"], settings: tuple[Setting, ...], cache: Any = None
    ) -> tuple[ReadOut, Any, Work]:
        """Answer queries from the entries that are held; see `Memory`."""
        return self.memory.recall(queries, settings, cache)

    def recall_flops(self, n: int) -> int:
        """FLOPs of answering n queries from scratch at one setting."""
        return self.memory.recall_flops(n)

    def fork(self) -> "BoundedMemory":
        """An independent memory with the same content and capacity."""
        fork = copy.copy(self)
        fork.memory, fork.eviction = _evictable(self.memory.fork()), self.eviction.fork()
        return fork

    def state(self) -> dict[str, Any]:
        """The states of the memory and of the eviction."""
        return {"memory": self.memory.state(), "eviction": self.eviction.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self.memory.load_state(state["memory"])
        self.eviction.load_state(state["eviction"])


class RekeyableBoundedMemory(BoundedMemory):
    """A bounded memory whose entries can be re-keyed, because those of the memory in it can; see `bounded`."""

    def rekey(self, renew: Callable[[Int64[Tensor, " n"]], Outputs]) -> Work:
        """Replace the outputs in all entries that are held; see `Rekeyable`."""
        assert isinstance(self.memory, Rekeyable)
        work = self.memory.rekey(renew)
        start = time.perf_counter()
        self.eviction.rekeyed(self.memory.entries)
        return work + Work(seconds=time.perf_counter() - start)

    def estimate_rekey(self) -> Work:
        """The work of `rekey`, without the forward passes and without seconds."""
        assert isinstance(self.memory, Rekeyable)
        return self.memory.estimate_rekey()


def bounded(memory: Memory[Any], capacity: Capacity, eviction: Eviction) -> BoundedMemory:
    """A memory with a capacity, which is `Rekeyable` exactly if `memory` is; see `BoundedMemory`."""
    kind = RekeyableBoundedMemory if isinstance(memory, Rekeyable) else BoundedMemory
    return kind(memory, capacity, eviction)


def _evictable(memory: Memory[Any]) -> Evictable[Any]:
    if not isinstance(memory, Evictable):
        raise InvalidSetting(
            "expected a memory whose entries can be removed (cache, knn, residual, logistic, or one of your own with "
            f"agent.memory.protocol.Evictable) for --capacity, got {type(memory).__name__}, which lacks "
            f"{missing_members(memory, Evictable)}"
        )
    return memory
