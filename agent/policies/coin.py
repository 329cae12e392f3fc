"""Learning at random."""

import torch

from agent.operations import Action
from agent.policies.learning import LearningPolicy
from agent.policies.observation import Observation
from agent.policies.ranges import check_within
from agent.randomness import named_generator


class RandomPolicy(LearningPolicy):
    """Learns each chunk with the same probability, whatever it contains.

    The baseline for policies that observe the chunk: it learns as much as they do, but chooses blindly.

    Args:
        p: probability of learning, 0 to 1.
        both: memorize learned chunks as well, by BOTH in place of LEARN; the agent must offer it (--both).
        seed: of the run; the policy has its own random stream.

    Raises:
        InvalidSetting: p outside 0..1.
    """

    def __init__(self, p: float = 0.5, both: bool = False, *, seed: int = 0) -> None:
        super().__init__(both=both)
        check_within("p", p, 0, 1)
        self.p = p
        self.generator = named_generator(seed, "policy")

    def decide(self, observation: Observation) -> Action:
        """LEARN with probability p; draws one number per chunk."""
        drawn = torch.rand((), generator=self.generator, dtype=torch.float64).item()  # in [0, 1): p = 1 always learns
        return self.action(learns=drawn < self.p)
