"""Learning at random."""

import torch

from agent.operations import Action
from agent.policies.observation import Observation
from agent.policies.protocol import Policy
from agent.policies.ranges import check_within
from agent.randomness import named_generator


class RandomPolicy(Policy):
    """Learns each chunk with the same probability, whatever it contains.

    The baseline for policies that observe the chunk: it learns as much as they do, but chooses blindly.

    Args:
        p: probability of learning, 0 to 1.
        seed: of the run; the policy has its own random stream.

    Raises:
        InvalidSetting: p outside 0..1.
    """

    def __init__(self, p: float = 0.5, *, seed: int = 0) -> None:
        check_within("p", p, 0, 1)
        self.p = p
        self.generator = named_generator(seed, "policy")

    def decide(self, observation: Observation) -> Action:
        """LEARN with probability p; draws one number per chunk."""
        drawn = torch.rand((), generator=self.generator, dtype=torch.float64).item()  # in [0, 1): p = 1 always learns
        return Action.LEARN if drawn < self.p else Action.MEMORIZE
