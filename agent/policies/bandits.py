"""Contextual bandits: policies that estimate, within one lifetime, the reward of each action."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from agent.operations import OPERATIONS, Action
from agent.policies.features import accuracy_seen, features_at, features_of
from agent.policies.observation import Observation
from agent.policies.protocol import Policy
from agent.policies.ranges import check_at_least, check_one_of
from agent.randomness import named_generator

MIN_RIDGE = 1e-6
"""Above rounding in float64 after ten thousand chunks at prices of 100, the limit of a feature."""


class _DisjointModels(Policy):
    """One ridge regression of reward on context per action, updated from one observation to the next.

    The context is 1 and every feature that the policy may observe. The reward of an action is known at the next chunk:
    the rise of the accuracy on a chunk before its use, minus cost weight × the total cost between the two decisions.
    The reward of the last chunk is never known. Where an enforced budget refused the action, the reward is that of what
    was performed instead, if it is an action.
    """

    def __init__(self, cost_weight: float, ridge: float, observes: Literal["learner", "memory"]) -> None:
        check_at_least("cost_weight", cost_weight, 0)
        check_at_least("ridge", ridge, MIN_RIDGE)
        check_one_of("observes", observes, "learner", "memory")
        self.cost_weight, self.observes = cost_weight, observes
        n = 1 + len(features_at(observes))
        self.gram = {name: (ridge * np.eye(n)).tolist() for name in OPERATIONS}
        """By action, those that the agent does not offer among them: ridge × I + Σ x xᵀ over the contexts x in which
        the action was taken."""
        self.response = {name: [0.0] * n for name in self.gram}
        """By action: Σ reward × x."""
        self.last: tuple[str, list[float], float, float] | None = None
        """Of the last chunk: action, context, accuracy on it, and the total cost before it."""

    def _choose(self, observation: Observation, boldness: Float[np.ndarray, " n_actions"]) -> Action:
        """The action with the highest predicted reward + boldness × its standard error.

        Arms are in reverse order of the actions; if several are equal, the first of them is taken.
        """
        accuracy = accuracy_seen(observation, self.observes)
        if self.last is not None:
            chosen, context, accuracy_before, spent_before = self.last
            action = observation.performed or chosen
            reward = accuracy - accuracy_before - self.cost_weight * (observation.spent - spent_before)
            x = np.array(context)
            if action in self.gram:
                self.gram[action] = (self.gram[action] + np.outer(x, x)).tolist()
                self.response[action] = (self.response[action] + reward * x).tolist()
        x = np.append(1.0, features_of(observation.vector()[None], features_at(self.observes))[0])
        arms = list(reversed(observation.actions))
        means, errors = np.array([_prediction(self.gram[name], self.response[name], x) for name in arms]).T
        chosen = arms[int(np.argmax(means + boldness * errors))]
        self.last = chosen, x.tolist(), accuracy, observation.spent
        return Action(chosen)


def _prediction(gram: list[list[float]], response: list[float], x: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """x·A⁻¹b and sqrt(x·A⁻¹x), from the Cholesky factor of A: the mean of the reward, and its error at noise 1."""
    u, v = np.linalg.solve(np.linalg.cholesky(np.array(gram)), np.stack([x, response], axis=1)).T
    return float(u @ v), float(np.linalg.norm(u))


class LinUCBPolicy(_DisjointModels):
    """Learns if LEARN has the highest upper confidence bound of the reward: the bandit LinUCB.

    Predicts the reward of each action by a ridge regression on 1 and the features of the chunk, and takes the action
    with the highest upper confidence bound, prediction + alpha × its standard error. The reward is the rise, to the
    next chunk, of the accuracy before its use (the higher one of learner and memory), minus cost_weight × the cost
    in between. Without data both bounds are equal, and equal bounds mean LEARN: the first chunk is learned. The next
    one is memorized, unless the reward of learning outweighs the uncertainty about memorizing.

    Args:
        cost_weight: accuracy that one unit of the cost model is worth, 0 or more.
        alpha: weight of the standard error, 0 or more; higher values explore more.
        ridge: of the regressions, 0.000001 or more; as if so many chunks without reward came first in each direction.
        observes: what to observe and pay for: the learner's signals on a chunk, or also those of the memory.

    Raises:
        InvalidSetting: a number out of its range; another value of observes.

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
        """LEARN if its upper confidence bound is at least that of MEMORIZE."""
        return self._choose(observation, np.full(len(observation.actions), float(self.alpha)))


class ThompsonPolicy(_DisjointModels):
    """Learns with the probability that LEARN has the higher reward: Thompson sampling.

    Predicts the reward of each action as `linucb` does, draws one sample per action from N(prediction, (scale ×
    standard error)²), and takes the action with the highest sample. This equals drawing weights from their posterior,
    because only the score in the current context matters. Without data, the first chunk is learned or memorized with
    equal probability.

    Args:
        cost_weight: accuracy that one unit of the cost model is worth, 0 or more.
        scale: standard deviation of a reward about its prediction, 0 or more; 0 is greedy.
        ridge: of the regressions, 0.000001 or more; as if so many chunks without reward came first in each direction.
        observes: what to observe and pay for: the learner's signals on a chunk, or also those of the memory.
        seed: of the run; the policy has its own random stream, and draws one number per action at each chunk.

    Raises:
        InvalidSetting: a number out of its range; another value of observes.

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
        """LEARN if its sample is at least that of MEMORIZE."""
        drawn = torch.randn(len(observation.actions), generator=self.generator, dtype=torch.float64).numpy()
        return self._choose(observation, self.scale * drawn)
