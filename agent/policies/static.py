"""The k%-learners: they learn k% of the stream, at its beginning or spread evenly over it."""

from agent.operations import Action
from agent.policies.learning import LearningPolicy
from agent.policies.observation import Observation
from agent.policies.ranges import check_within


class _PercentPolicy(LearningPolicy):
    """Learns k% of the stream; members say which."""

    def __init__(self, k: float, both: bool = False) -> None:
        super().__init__(both=both)
        check_within("k", k, 0, 100)
        self.k = k

    def n_learned(self, n_chunks: int) -> int:
        """Number of learned chunks in a stream of `n_chunks`."""
        return round(self.k / 100 * n_chunks)


class StaticPolicy(_PercentPolicy):
    """Learns the first k% of the stream, then memorizes: Orhan's k%-learner.

    LEARN for the first round(k / 100 × n) of the n chunks.

    Args:
        k: percent of the stream to learn, 0 to 100.
        both: memorize learned chunks as well, by BOTH in place of LEARN; the agent must offer it (--both).

    Raises:
        InvalidSetting: k outside 0..100.

    References:
        Orhan, "The relative value of learning over memorizing", 2019.
    """

    def decide(self, observation: Observation) -> Action:
        """LEARN up to the share k, then MEMORIZE."""
        return self.action(learns=observation.step < self.n_learned(observation.n_chunks))


class InterleavedPolicy(_PercentPolicy):
    """Learns k% of the stream, spread evenly over it.

    Learns as many of the n chunks as `StaticPolicy`, m = round(k / 100 × n); ceil(s × m / n) of them are among the
    first s chunks. The first chunk is learned, so keys never come from an untrained network.

    Args:
        k: percent of the stream to learn, 0 to 100.
        both: memorize learned chunks as well, by BOTH in place of LEARN; the agent must offer it (--both).

    Raises:
        InvalidSetting: k outside 0..100.

    References:
        Bresenham, "Algorithm for computer control of a digital plotter", IBM Systems Journal 4(1), 1965.
    """

    def decide(self, observation: Observation) -> Action:
        """LEARN if the even schedule has one more learned chunk after this one."""
        n, m = observation.n_chunks, self.n_learned(observation.n_chunks)
        before, after = -(-observation.step * m // n), -(-(observation.step + 1) * m // n)  # ceil, in integers
        return self.action(learns=after > before)
