"""The contract of memories."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from agent.accounting.work import Work
from agent.memory.entry_store import EntryStore
from agent.memory.mixture import Mixture
from agent.memory.settings import Setting
from agent.networks.outputs import Outputs
from agent.version import Version

Cache = TypeVar("Cache")
"""What a memory needs to update an earlier recall. Each memory has a type of its own, which no other code reads."""


@dataclass(frozen=True)
class ReadOut:
    """The answers of a memory to queries."""

    probabilities: Float[Tensor, "n_settings n classes"]
    """Class probabilities at each setting; uniform while the memory is empty."""
    novelty: Float[Tensor, " n"] | None
    """Distance of each query from the stored samples, 0 or more; None if the memory is empty or has no distance."""


class Insertion(NamedTuple):
    """The result of an insert."""

    work: Work
    evicted: Int64[Tensor, " n_evicted"] = torch.empty(0, dtype=torch.int64)
    """Ids of the entries that were removed for good."""


class InsertionEstimate(NamedTuple):
    """The estimated cost of an insert."""

    work: Work
    """Without seconds."""
    held_nbytes: int
    """Change of the bytes held; negative if the memory shrinks."""
    n_evicted: int = 0
    """Entries that the insert removes, new ones included."""


@runtime_checkable
class Memory(Protocol[Cache]):
    """An episodic memory: it stores a network's outputs with labels, and gives class probabilities for queries."""

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Parameters of recall from which calibration chooses; one empty setting if there is no choice."""

    @property
    def prior(self) -> Setting:
        """The one of `settings` that recall uses before calibration."""

    @property
    def needs_inputs(self) -> bool:
        """Whether `insert` needs the inputs."""

    @property
    def pools_keys(self) -> bool:
        """Whether keys are averaged over space by default."""

    @property
    def version(self) -> Version:
        """Replaced when earlier caches of `recall` become invalid.

        An insert need not replace it if `recall` can update an earlier cache with the new entries. So equal versions do
        not mean equal content: two forks with different entries may share a version, but must not share caches.
        """

    @property
    def n_entries(self) -> int:
        """Samples in memory."""

    @property
    def nbytes(self) -> int:
        """Bytes held."""

    def estimate_insert(self, n: int, key_length: int) -> InsertionEstimate:
        """Estimate an insert of n samples with keys of `key_length` numbers, without doing it.

        Raises:
            InvalidSetting: keys that are too long for this memory.
        """

    def insert(
        self,
        outputs: Outputs,
        labels: Int64[Tensor, " n"],
        ids: Int64[Tensor, " n"],
        inputs: Shaped[Tensor, "n ..."] | None = None,
    ) -> Insertion:
        """Store samples.

        Args:
            outputs: of the current network on the samples.
            labels: classes of the samples, from 0 to the number of classes - 1.
            ids: of the samples, unique in a lifetime, from 0 to 2³¹ - 1.
            inputs: the samples, if the memory `needs_inputs`.

        Raises:
            InvalidSetting: samples that cannot be stored (see `check_entries`); the memory does not change.
        """

    def recall(
        self, queries: Float[Tensor, "n length"], settings: tuple[Setting, ...], cache: Cache | None = None
    ) -> tuple[ReadOut, Cache, Work]:
        """Answer queries at each setting.

        Args:
            queries: keys.
            settings: parameters of the recall.
            cache: of an earlier recall of the same queries at the same settings and version, by this memory, an
                ancestor, or a fork with no inserts of its own. The memory then computes and bills only what is new;
                the sum of all bills equals that of a recall from scratch.

        Returns:
            The read-out on the device of the queries, the cache for the next recall, and the work done.

        Raises:
            InvalidSetting: queries or settings that cannot be answered.
        """

    def recall_flops(self, n: int) -> int:
        """FLOPs of answering n queries from scratch at one setting: a constant plus an amount for each query.

        A recall at several settings may take less than that for each.
        """

    def combine(
        self, learner: Float[Tensor, "n classes"], memory: Float[Tensor, "n classes"], fitted: Mixture
    ) -> Float[Tensor, "n classes"]:
        """The agent's probabilities from the learner's and the memory's, the latter at the setting of `fitted`."""

    def fit(
        self,
        learner: Float[Tensor, "n classes"],
        memory: Float[Tensor, "n_settings n classes"],
        labels: Int64[Tensor, " n"],
        *,
        within: float = 0.0,
    ) -> Mixture:
        """Fit the setting and the weight of the learner to validation data.

        Args:
            learner: the learner's probabilities of data that neither trained it nor entered the memory.
            memory: the memory's probabilities of the same data, at each of `settings`.
            labels: classes of the data.
            within: standard errors of a paired difference from the highest accuracy within which likelihood decides.
        """

    def save_cache(self, cache: Cache) -> dict[str, Any]:
        """Tensors and plain values from which `load_cache` restores a cache to the bit."""

    def load_cache(self, state: dict[str, Any]) -> Cache:
        """The cache that was saved."""

    def fork(self) -> "Memory[Cache]":
        """An independent memory with the same content."""

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `load_state` restores the memory to the bit."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""


@runtime_checkable
class Rekeyable(Protocol):
    """A memory that can replace the network's outputs in its entries after the network has changed."""

    def rekey(self, renew: Callable[[Int64[Tensor, " n"]], Outputs]) -> Work:
        """Replace the outputs in all entries; the memory is the same as before if that fails.

        Args:
            renew: gives the current network's outputs on entries, by id.

        Returns:
            The work of writing, without the forward passes. Forks keep the earlier outputs.
        """

    def estimate_rekey(self) -> Work:
        """The work of `rekey`, without the forward passes and without seconds."""


@runtime_checkable
class Evictable(Memory[Cache], Protocol[Cache]):
    """A memory whose entries can be removed. An insert appends all samples to `entries`, and evicts nothing."""

    @property
    def n_classes(self) -> int:
        """Number of classes."""

    @property
    def entries(self) -> EntryStore:
        """The entries; read only."""

    def evict(self, ids: Int64[Tensor, " n_evicted"]) -> None:
        """Remove entries, and change the version; forks keep theirs.

        Raises:
            InvalidSetting: an id that is not stored; nothing is removed.
        """
