"""The prior of a forecast policy, fitted to lifetimes with random decisions."""

from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from agent.operations import Action
from agent.policies import Policy, PolicyFile, RandomPolicy
from agent.policies.features import accuracy_seen
from agent.policies.forecast import counts_before_each, fit_prior, terms_of
from agent.policies.observation import Observation
from agent.policies.protocol import Observes
from agent.randomness import named_seed
from scenarios.config.settings import TrainConfig
from scenarios.policy_training.simulators import Simulator

NOISE = 0.05
"""Standard deviation of the accuracy about the forecast."""


class RecordingPolicy(RandomPolicy):
    """Decides at random, and records its decisions and the accuracy on each chunk before its use.

    Args:
        p: probability of learning.
        seed: of the random decisions.
        observes: signals that it observes.
    """

    def __init__(self, p: float, seed: int, observes: Observes) -> None:
        super().__init__(p, seed=seed)
        self.observes = observes
        self.seen: list[float] = []
        self.learned: list[bool] = []

    def decide(self, observation: Observation) -> Action:
        """LEARN with probability p."""
        action = super().decide(observation)
        self.seen.append(accuracy_seen(observation, self.observes))
        self.learned.append(action == Action.LEARN)
        return action


class ForecastTrainer:
    """Fits the prior of a `ForecastPolicy` to lifetimes with random decisions, each with its own share of learning.

    Args:
        config: population, cost weight, what to observe, seed.
        simulator: runs the lifetimes.
    """

    def __init__(self, config: TrainConfig, simulator: Simulator) -> None:
        self.config, self.simulator = config, simulator
        self._rows: list[list[list[float]]] = []
        """By iteration, for every chunk of every lifetime: world, the four terms, and the accuracy before its use."""

    def iterate(self) -> dict[str, float]:
        """Run the population's lifetimes."""
        population = self.config.population

        def recording(i: int, seed: int) -> Policy:
            name = f"policy {population * len(self._rows) + i} of world {seed}"
            drawn = named_seed(self.config.policy_seed, name)
            return RecordingPolicy((i + 0.5) / population, drawn, self.config.observes)

        tried = self.simulator.utilities([partial(recording, i) for i in range(population)])
        rows = []
        recorded = [(seed, each) for seed, of_seed in tried.policies.items() for each in of_seed]
        for seed, policy in recorded:
            assert isinstance(policy, RecordingPolicy)
            terms = terms_of(counts_before_each(np.array(policy.learned)), len(policy.learned))
            world = self.simulator.worlds[seed]
            rows += [[world, *each, seen] for each, seen in zip(terms.tolist(), policy.seen, strict=True)]
        self._rows.append(rows)
        table = self._table()
        mean, _ = _fit(table)
        error = float(np.sqrt(np.mean((table[:, 1:5] @ np.array(mean) - table[:, 5]) ** 2)))
        return {"utility": float(tried.utilities.mean()), "error": error}

    def policy(self) -> PolicyFile:
        """The forecast policy with the fitted prior; with the generic one before the first iteration."""
        settings: dict[str, Any] = {
            "cost_weight": self.config.cost_weight,
            "noise": NOISE,
            "observes": self.config.observes,
        }
        if self._rows:
            mean, precision = _fit(self._table())
            settings |= {"mean": list(mean), "precision": [list(row) for row in precision]}
        return PolicyFile("forecast", settings)

    def state(self) -> dict[str, Any]:
        """See Trainer."""
        return {"rows": [[list(row) for row in rows] for rows in self._rows]}

    def load_state(self, state: dict[str, Any]) -> None:
        """See Trainer."""
        self._rows = [[list(row) for row in rows] for rows in state["rows"]]

    def _table(self) -> Float[np.ndarray, "n 6"]:
        return np.array([row for rows in self._rows for row in rows])


def _fit(table: Float[np.ndarray, "n 6"]) -> tuple[tuple[float, ...], tuple[tuple[float, ...], ...]]:
    return fit_prior(table[:, 1:5], table[:, 5], table[:, 0].astype(np.int64), noise=NOISE)
