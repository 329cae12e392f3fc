"""Covariance matrix adaptation of the weights of a linear policy."""

import math
from typing import Any

import numpy as np
from cmaes import CMA
from jaxtyping import Float

from agent.policies import Policy, PolicyFile
from agent.policies.features import features_at
from agent.policies.scoring import written_actions
from agent.randomness import named_seed
from scenarios.config.settings import TrainConfig
from scenarios.policy_training.simulators import MakePolicy, Simulator


class CmaTrainer:
    """Trains the weights of a `LinearPolicy` by covariance matrix adaptation.

    The result is the policy with the highest mean utility of all that were tried. The state is the utilities found so
    far: a new trainer samples the same weights again and receives these utilities.

    Args:
        config: population, what to observe, seed.
        simulator: tries the policies.

    References:
        Hansen, "The CMA evolution strategy: a tutorial", arXiv:1604.00772; Nomura and Shibata, "cmaes: a simple yet
        practical Python library for CMA-ES", arXiv:2402.01373.
    """

    def __init__(self, config: TrainConfig, simulator: Simulator) -> None:
        self.simulator, self.features = simulator, features_at(config.observes)
        self._cma = CMA(
            mean=np.zeros((len(self.features) + 1) * (len(simulator.actions) - 1)),
            sigma=1.0,
            population_size=config.population,
            seed=named_seed(config.policy_seed, "policy") % 2**32,
        )
        self._found: list[list[float]] = []
        self._best, self._weights = -np.inf, np.zeros(self._cma.dim)

    def iterate(self) -> dict[str, float]:
        """One generation."""
        sampled = self._sample()
        policies = [self._policy(weights).make() for weights in sampled]  # stateless: lifetimes share them
        found = self.simulator.utilities([_shared(policy) for policy in policies]).utilities.mean(axis=1)
        self._update(sampled, found.tolist())
        spread = float(np.sqrt(np.diag(self._cma._C)).mean() * self._cma._sigma)
        return {"utility": float(found.mean()), "best_utility": self._best, "deviation_of_weights": spread}

    def policy(self) -> PolicyFile:
        """The best policy so far; its weights are scaled by a power of two, for legibility without other decisions."""
        largest = float(np.abs(self._weights).max())
        return self._policy(np.ldexp(self._weights, -math.frexp(largest)[1]))

    def state(self) -> dict[str, Any]:
        """See Trainer."""
        return {"found": [list(found) for found in self._found]}

    def load_state(self, state: dict[str, Any]) -> None:
        """See Trainer."""
        for found in state["found"]:
            self._update(self._sample(), found)

    def _sample(self) -> list[np.ndarray]:
        return [self._cma.ask() for _ in range(self._cma.population_size)]

    def _update(self, sampled: list[np.ndarray], found: list[float]) -> None:
        self._found.append(found)
        for weights, reached in zip(sampled, found, strict=True):
            if reached > self._best:
                self._best, self._weights = reached, weights
        self._cma.tell([(weights, -reached) for weights, reached in zip(sampled, found, strict=True)])

    def _policy(self, weights: Float[np.ndarray, " n"]) -> PolicyFile:
        actions = self.simulator.actions
        rows = weights.reshape(len(actions) - 1, -1)
        of_features, bias = rows[:, :-1].tolist(), rows[:, -1].tolist()
        if len(rows) == 1:
            [of_features], [bias] = of_features, bias
        settings = {"features": list(self.features), "weights": of_features, "bias": bias}
        return PolicyFile("linear", settings | written_actions(actions))


def _shared(policy: Policy) -> MakePolicy:
    return lambda seed: policy
