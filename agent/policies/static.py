"""The k%-learner: learns from the first k% of its stream and memorizes the rest."""

from agent.operations import Action
from agent.policies.observation import Observation
from agent.policies.protocol import Policy
from agent.policies.ranges import check_within


class StaticPolicy(Policy):
    """Learns from the first k% of the stream, then memorizes: Orhan's k%-learner.

    Learns from the first round(k / 100 × chunks) chunks and memorizes the others; needs to observe nothing.

    Args:
        k: percent of the stream to learn from, 0 to 100.

    Raises:
        InvalidSetting: k outside 0..100.

    References:
        Orhan, "The relative value of learning over memorizing", 2019.
    """

    def __init__(self, k: float) -> None:
        check_within("k", k, 0, 100)
        self.k = k

    def n_learned(self, n_chunks: int) -> int:
        """Chunks learned from, out of `n_chunks`."""
        return round(self.k / 100 * n_chunks)

    def decide(self, observation: Observation) -> Action:
        """LEARN up to the share k, MEMORIZE beyond it."""
        return Action.LEARN if observation.step < self.n_learned(observation.n_chunks) else Action.MEMORIZE
