"""Learning by the clock."""

from agent.errors import InvalidSetting
from agent.operations import Action
from agent.policies.learning import LearningPolicy
from agent.policies.observation import Observation
from agent.policies.ranges import check_within


class PeriodicPolicy(LearningPolicy):
    """Learns the first chunks of every period and memorizes the others.

    LEARN for the chunks whose number s, counted from 0, has (s - offset) mod period < learn.

    Args:
        period: length of the period in chunks, 1 or more.
        learn: number of chunks to learn in each period, 0 to period.
        offset: number of the chunk that begins a period, 0 to period - 1; at 0 the stream begins with learning.
        both: memorize learned chunks as well, by BOTH in place of LEARN; the agent must offer it (--both).

    Raises:
        InvalidSetting: period below 1, learn outside 0..period, or offset outside 0..period - 1.

    References:
        Periodic retraining: Mahadevan and Mathioudakis, "Cost-effective retraining of machine learning models", 2023,
        arXiv:2310.04216.
    """

    def __init__(self, period: int, learn: int = 1, offset: int = 0, both: bool = False) -> None:
        super().__init__(both=both)
        if period < 1:
            raise InvalidSetting(f"expected a period of at least 1 chunk, got {period}")
        check_within("learn", learn, 0, period)
        check_within("offset", offset, 0, period - 1)
        self.period, self.learn, self.offset = period, learn, offset

    def decide(self, observation: Observation) -> Action:
        """LEARN at the beginning of a period, MEMORIZE in the rest of it."""
        since = (observation.step - self.offset) % self.period
        return self.action(learns=since < self.learn)
