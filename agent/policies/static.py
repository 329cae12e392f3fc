"""The k%-learner: learns from the first k% of its stream and memorizes the rest."""

from agent.errors import InvalidSetting
from agent.policies.protocol import Action, Observation


class StaticPolicy:
    """Orhan's k%-learner ("The relative value of learning over memorizing", 2019).

    Learns from the first round(k / 100 × chunks) chunks and memorizes the others; needs to observe nothing.

    Args:
        k: percent of the stream to learn from, 0 to 100.

    Raises:
        InvalidSetting: k outside 0..100.
    """

    def __init__(self, k: float) -> None:
        if not 0 <= k <= 100:
            raise InvalidSetting(f"expected k in 0..100, got {k:g}")
        self.k = k

    def n_learned(self, n_chunks: int) -> int:
        """Chunks learned from, out of `n_chunks`."""
        return round(self.k / 100 * n_chunks)

    def decide(self, observation: Observation) -> Action:
        """LEARN up to the share k, MEMORIZE beyond it."""
        return Action.LEARN if observation.step < self.n_learned(observation.n_chunks) else Action.MEMORIZE
