"""What every memory offers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from agent.accounting.work import Work
from agent.memory.mixture import Mixture, Setting
from agent.networks.outputs import Outputs
from agent.version import Version

Cache = TypeVar("Cache")
"""What a memory keeps of a recall in order to bring it up to date: of a type of its own, and opaque to all others."""


@dataclass(frozen=True)
class ReadOut:
    """What a memory answers to queries."""

    probabilities: Float[Tensor, "n_settings n classes"]
    """Of each class, at each setting; uniform while the memory is empty."""
    novelty: Float[Tensor, " n"] | None
    """How far each query lies from all that is stored, 0 or more; None while the memory is empty, or for one that
    cannot tell."""


class Insertion(NamedTuple):
    """What an insert did."""

    work: Work
    evicted: Int64[Tensor, " n_evicted"]
    """Ids of the entries that had to go; nobody will ask for them again."""


class InsertionEstimate(NamedTuple):
    """What an insert will take."""

    work: Work
    """Without its seconds."""
    held_nbytes: int
    """Bytes that will be held in addition; below 0 where less will be held."""
    n_evicted: int = 0
    """Entries that will have to go, new ones included."""


@runtime_checkable
class Memory(Protocol[Cache]):
    """An episodic memory: outputs of a network and labels go in, class probabilities for queries come out."""

    settings: tuple[Setting, ...]
    """What the memory can be read with, for calibration to choose from; one empty setting where there is no choice."""
    prior: Setting
    """One of `settings`: what the memory is read with until calibration has chosen."""
    needs_inputs: bool
    """Whether `insert` is to be given the inputs."""
    pools_keys: bool
    """Whether keys should be averaged over space where nobody says otherwise."""
    version: Version
    """Replaced whenever an earlier answer no longer holds.

    Entries that merely add to earlier answers need not replace it: `recall` brings those up to date from their cache.
    So equal versions are equal content only along one line of descent: of two forks that were given different entries
    neither may go on from a cache of the other.
    """

    @property
    def n_entries(self) -> int:
        """Samples in memory; 0 means that it is empty."""

    @property
    def nbytes(self) -> int:
        """Bytes held."""

    def estimate_insert(self, n: int, key_length: int) -> InsertionEstimate:
        """What an insert of n samples with keys of `key_length` numbers will take; nothing is done.

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
            outputs: of the network as it is, on the samples.
            labels: their classes.
            ids: their names, each of which comes once in a lifetime.
            inputs: the samples, if the memory `needs_inputs`.

        Raises:
            InvalidSetting: outputs or labels that cannot be stored; nothing is stored then.
        """

    def recall(
        self, queries: Float[Tensor, "n length"], settings: tuple[Setting, ...], cache: Cache | None = None
    ) -> tuple[ReadOut, Cache, Work]:
        """Answer queries, at each setting at once.

        Args:
            queries: keys.
            settings: to read the memory with.
            cache: of an earlier recall of the same queries at the same settings and version, by this memory, an
                ancestor or a fork that was given nothing since: only what is new is computed, and billed. All bills
                together come to that of a recall from scratch.

        Returns:
            The read-out on the device of the queries, the cache for the next recall, and the work it took.

        Raises:
            InvalidSetting: queries or settings that cannot be answered.
        """

    def recall_flops(self, n: int) -> int:
        """FLOPs of answering n queries from scratch, at any one setting: a fixed amount, and as much for each query.

        At several settings recall may take less than so much for each.
        """

    def combine(
        self, learner: Float[Tensor, "n classes"], memory: Float[Tensor, "n classes"], fitted: Mixture
    ) -> Float[Tensor, "n classes"]:
        """The agent's probabilities from those of learner and memory, the latter read at the setting of `fitted`."""

    def fit(
        self,
        learner: Float[Tensor, "n classes"],
        memory: Float[Tensor, "n_settings n classes"],
        labels: Int64[Tensor, " n"],
    ) -> Mixture:
        """The setting and weight that suit validation data best.

        Args:
            learner: probabilities of data that neither trained the learner nor entered the memory.
            memory: the memory's for the same data, at each of `settings`.
            labels: their classes.
        """

    def save_cache(self, cache: Cache) -> dict[str, Any]:
        """Tensors and plain values from which `load_cache` restores a cache to the bit."""

    def load_cache(self, state: dict[str, Any]) -> Cache:
        """The cache that was saved."""

    def fork(self) -> "Memory[Cache]":
        """A memory with the same content and a future of its own."""

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `load_state` restores the memory to the bit."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Become the memory whose `state` this is."""


@runtime_checkable
class Rekeyable(Protocol):
    """A memory whose entries can be renewed by a network that has moved on."""

    def rekey(self, renew: Callable[[Int64[Tensor, " n"]], Outputs]) -> Work:
        """Renew everything that a network told of the entries; `renew` gives its outputs now, by id of the entry.

        Forks go on with what they had. If anything fails, so does the memory.
        """

    def estimate_rekey(self) -> Work:
        """What writing all entries anew takes, without the forward passes and without seconds."""
