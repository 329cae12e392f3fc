"""What memories around another memory have in common."""

from typing import Any

from jaxtyping import Float, Int64
from torch import Tensor

from agent.memory.mixture import Mixture
from agent.memory.protocol import Evictable, Memory
from agent.memory.settings import Setting
from agent.version import Version


class Decorated:
    """Answers with the memory inside, as far as a decorator does nothing else.

    Args:
        memory: an empty memory, which no other code changes from here on.
    """

    memory: Memory[Any]

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Those of the memory inside."""
        return self.memory.settings

    @property
    def prior(self) -> Setting:
        """That of the memory inside."""
        return self.memory.prior

    @property
    def needs_inputs(self) -> bool:
        """Whether the memory inside does."""
        return self.memory.needs_inputs

    @property
    def pools_keys(self) -> bool:
        """Whether the memory inside does."""
        return self.memory.pools_keys

    @property
    def version(self) -> Version:
        """That of the memory inside."""
        return self.memory.version

    @property
    def n_entries(self) -> int:
        """Samples in memory."""
        return self.memory.n_entries

    @property
    def shared_nbytes(self) -> int | None:
        """A capacity inside that is shared with the learner's samples, in bytes; None without one."""
        return self.memory.shared_nbytes if isinstance(self.memory, Decorated) else None

    def reserve(self, nbytes: int) -> None:
        """Leave room for so many bytes of the learner's samples, if a capacity inside is shared with them."""
        if isinstance(self.memory, Decorated):
            self.memory.reserve(nbytes)

    def evict(self, ids: Int64[Tensor, " n_evicted"]) -> None:
        """Remove entries of the memory inside, which must be `evictable`."""
        assert isinstance(self.memory, Evictable | Decorated)
        self.memory.evict(ids)

    def combine(
        self, learner: Float[Tensor, "n classes"], memory: Float[Tensor, "n classes"], fitted: Mixture
    ) -> Float[Tensor, "n classes"]:
        """The agent's probabilities; see `Memory`."""
        return self.memory.combine(learner, memory, fitted)

    def fit(
        self,
        learner: Float[Tensor, "n classes"],
        memory: Float[Tensor, "n_settings n classes"],
        labels: Int64[Tensor, " n"],
        *,
        within: float = 0.0,
    ) -> Mixture:
        """The setting and the weight of the learner; see `Memory`."""
        return self.memory.fit(learner, memory, labels, within=within)

    def save_cache(self, cache: Any) -> dict[str, Any]:
        """What the memory inside saves of its cache."""
        return self.memory.save_cache(cache)

    def load_cache(self, state: dict[str, Any]) -> Any:
        """The cache that was saved."""
        return self.memory.load_cache(state)


def evictable(memory: Memory[Any]) -> bool:
    """Whether entries of a memory can be removed, whatever is around it."""
    return evictable(memory.memory) if isinstance(memory, Decorated) else isinstance(memory, Evictable)
