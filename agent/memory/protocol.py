"""What every memory offers."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor

from agent.accounting.work import Work
from agent.memory.recall import Recall
from agent.version import Version


@runtime_checkable
class Memory(Protocol):
    """An episodic memory: pairs of key and label go in, class probabilities for queries come out."""

    n_entries: int
    """Entries held."""
    version: Version
    """Of the keys as written: replaced by `rekey`, shared by forks until then."""

    @property
    def nbytes(self) -> int:
        """Bytes held."""

    def nbytes_of(self, n: int, length: int) -> int:
        """Bytes that `insert` will write for n keys of `length` numbers and their labels; nothing is done."""

    def insert(self, keys: Float[Tensor, "n length"], labels: Int64[Tensor, " n"]) -> Work:
        """Append entries."""

    def recall(
        self, queries: Float[Tensor, "n length"], thetas: Float[Tensor, " n_thetas"], *, after: Recall | None = None
    ) -> tuple[Recall, Work]:
        """Ask for each query's class, at each θ at once; `after` an earlier recall, only of what is new."""

    def rekey(self, keys_of: Callable[[int, int], Float[Tensor, "n length"]]) -> Work:
        """Write all keys anew; `keys_of(first, end)` gives those of a range of entries, in the order of insertion."""

    @property
    def query_flops(self) -> int:
        """The FLOPs of recalling one query at one θ, which grow with the entries."""

    def fork(self) -> "Memory":
        """A memory with the same entries and a future of its own."""

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `load_state` restores the memory to the bit."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Become the memory whose `state` this is."""
