"""Contextual bandits: policies that find out within one lifetime which action pays where."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from agent.errors import InvalidSetting
from agent.operations import OPERATIONS, Action, best
from agent.policies.features import accuracy_seen, features_at, features_of
from agent.policies.observation import Observation
from agent.policies.protocol import Policy
from agent.policies.ranges import check_at_least
from agent.randomness import named_generator

MIN_RIDGE = 1e-6
"""Ten thousand chunks at prices of 100, the largest a feature can be, leave this above rounding in float64."""


class _DisjointModels(Policy):
    """A ridge regression of reward on context for each action, updated from one observation to the next.

    The context is 1 and every feature that may be seen. The reward of an action is known at the next chunk: the rise
    in what the agent gets right before a chunk's use, less the cost weight × all that was paid in between. That of the
    last chunk is never known.
    """

    def __init__(self, cost_weight: float, ridge: float, observes: Literal["learner", "memory"]) -> None:
        check_at_least("cost_weight", cost_weight, 0)
        check_at_least("ridge", ridge, MIN_RIDGE)
        if observes not in ("learner", "memory"):
            raise InvalidSetting(f"expected observes to be learner or memory, got {observes}")
        self.cost_weight, self.observes = cost_weight, observes
        n = 1 + len(features_at(observes))
        self.gram = {name: (ridge * np.eye(n)).tolist() for name in self._arms()}
        """ridge × I + Σ x xᵀ over the contexts x in which the action was taken."""
        self.response = {name: [0.0] * n for name in self._arms()}
        """Σ reward × x."""
        self.last: tuple[str, list[float], float, float] | None = None
        """Of the last chunk: action, context, accuracy seen, spent before."""

    def _choose(self, observation: Observation, boldness: Float[np.ndarray, " n_actions"]) -> Action:
        """The action of the highest predicted reward + boldness × its standard error; of equals the last one."""
        accuracy = accuracy_seen(observation, self.observes)
        if self.last is not None:
            action, context, accuracy_before, spent_before = self.last
            reward = accuracy - accuracy_before - self.cost_weight * (observation.spent - spent_before)
            x = np.array(context)
            self.gram[action] = (self.gram[action] + np.outer(x, x)).tolist()
            self.response[action] = (self.response[action] + reward * x).tolist()
        x = np.append(1.0, features_of(observation.vector()[None], features_at(self.observes))[0])
        arms = self._arms()
        means, errors = np.array([_prediction(self.gram[name], self.response[name], x) for name in arms]).T
        scores = dict(zip(arms, (means + boldness * errors).tolist(), strict=True))
        names = list(OPERATIONS)
        chosen = names[best(np.array([[scores[name] for name in names]]))[0]]
        self.last = chosen, x.tolist(), accuracy, observation.spent
        return Action(chosen)

    @staticmethod
    def _arms() -> list[str]:
        """The actions, the last of the table first."""
        return list(reversed(OPERATIONS))


def _prediction(gram: list[list[float]], response: list[float], x: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """x·A⁻¹b and sqrt(x·A⁻¹x), from the Cholesky factor of A: the mean of the reward, and its error at noise 1."""
    u, v = np.linalg.solve(np.linalg.cholesky(np.array(gram)), np.stack([x, response], axis=1)).T
    return float(u @ v), float(np.linalg.norm(u))


class LinUCBPolicy(_DisjointModels):
    """Learns where it may pay most, as far as this lifetime has shown: the bandit LinUCB.

    Predicts the reward of either action from 1 and the features of the chunk, a ridge regression each, and takes the
    one with the highest upper confidence bound, prediction + alpha × its standard error. The reward is the rise, to the
    next chunk, in what the better of learner and memory gets right before using it, less cost_weight × what was paid.
    Nothing is known at first, and equals mean LEARN: the first chunk is learned from, and the next one memorized
    unless what learning brought outweighs that memorizing is untried.

    Args:
        cost_weight: accuracy that a unit of the cost model is worth, 0 or more.
        alpha: how bold to try what is little known, 0 or more.
        ridge: of the regressions, 0.000001 or more: as many chunks without reward, in every direction, as a start.
        observes: what to see of a chunk, and pay for: what the learner makes of it, or also what the memory does.

    Raises:
        InvalidSetting: a number out of its range; anything else to observe.

    References:
        Li, Chu, Langford and Schapire, "A contextual-bandit approach to personalized news article recommendation",
        WWW 2010, arXiv:1003.0146, algorithm 1 (disjoint linear models).
    """

    def __init__(
        self,
        cost_weight: float = 0.004,
        alpha: float = 0.5,
        ridge: float = 1.0,
        observes: Literal["learner", "memory"] = "memory",
    ) -> None:
        super().__init__(cost_weight, ridge, observes)
        check_at_least("alpha", alpha, 0)
        self.alpha = alpha

    def decide(self, observation: Observation) -> Action:
        """LEARN where its upper confidence bound is at least that of MEMORIZE."""
        return self._choose(observation, np.full(len(OPERATIONS), float(self.alpha)))


class ThompsonPolicy(_DisjointModels):
    """Learns as often as it probably pays, as far as this lifetime has shown: Thompson sampling.

    Predicts the reward of either action as `linucb` does, draws both from what they may be, N(prediction, (scale × its
    standard error)²), and takes the higher. That is the score of weights drawn from their posterior, as only the score
    in the context at hand counts. Nothing is known at first: the first chunk is learned from or memorized by an
    even lot.

    Args:
        cost_weight: accuracy that a unit of the cost model is worth, 0 or more.
        scale: standard deviation of a reward about its prediction, 0 or more; 0 is greedy.
        ridge: of the regressions, 0.000001 or more: as many chunks without reward, in every direction, as a start.
        observes: what to see of a chunk, and pay for: what the learner makes of it, or also what the memory does.
        seed: of the run; the policy draws from a stream of its own, two numbers a chunk.

    Raises:
        InvalidSetting: a number out of its range; anything else to observe.

    References:
        Agrawal and Goyal, "Thompson sampling for contextual bandits with linear payoffs", ICML 2013, arXiv:1209.3352.
    """

    def __init__(
        self,
        cost_weight: float = 0.004,
        scale: float = 0.1,
        ridge: float = 1.0,
        observes: Literal["learner", "memory"] = "memory",
        *,
        seed: int = 0,
    ) -> None:
        super().__init__(cost_weight, ridge, observes)
        check_at_least("scale", scale, 0)
        self.scale = scale
        self.generator = named_generator(seed, "policy")

    def decide(self, observation: Observation) -> Action:
        """LEARN where its drawn reward is at least that of MEMORIZE."""
        drawn = torch.randn(len(OPERATIONS), generator=self.generator, dtype=torch.float64).numpy()
        return self._choose(observation, self.scale * drawn)
