"""The k%-learner whose learning is spread over the whole stream."""

from agent.operations import Action
from agent.policies.observation import Observation
from agent.policies.protocol import Policy
from agent.policies.ranges import check_within


class InterleavedPolicy(Policy):
    """Learns from k% of the stream, spread evenly over it.

    Learns from as many chunks as `StaticPolicy` does, m = round(k / 100 × n), but ceil(s × m / n) of them lie among the
    first s of the n chunks: the first one is learned from, so that keys never come from an untrained network.

    Args:
        k: percent of the stream to learn from, 0 to 100.

    Raises:
        InvalidSetting: k outside 0..100.

    References:
        Bresenham, "Algorithm for computer control of a digital plotter", IBM Systems Journal 4(1), 1965.
    """

    def __init__(self, k: float) -> None:
        check_within("k", k, 0, 100)
        self.k = k

    def n_learned(self, n_chunks: int) -> int:
        """Chunks learned from, out of `n_chunks`."""
        return round(self.k / 100 * n_chunks)

    def decide(self, observation: Observation) -> Action:
        """LEARN where the even schedule goes up by one chunk."""
        n, m = observation.n_chunks, self.n_learned(observation.n_chunks)
        before, after = -(-observation.step * m // n), -(-(observation.step + 1) * m // n)  # ceil, in whole numbers
        return Action.LEARN if after > before else Action.MEMORIZE
