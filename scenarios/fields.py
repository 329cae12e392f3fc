"""Where policies are tried while they are trained: on decision trees, or in lifetimes of their own."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from agent.exam import Exam
from agent.policies import Policy
from agent.policies.features import features_of
from agent.policies.linear import LinearPolicy
from agent.policies.network import NetworkPolicy
from agent.utility import utility
from scenarios.config import TreeConfig
from scenarios.datasets import Dataset
from scenarios.evaluation import Orchard
from scenarios.lives import halves, load_world, newborn, unborn
from scenarios.scenario import Scenario
from scenarios.watching import Interrupted, Watcher

Made = Callable[[int], Policy]
"""A policy about to live, from the seed of the world."""


@runtime_checkable
class Field(Protocol):
    """Worlds to try policies in."""

    seeds: tuple[int, ...]
    n_chunks: int

    def utilities(self, policies: Sequence[Made]) -> Float[np.ndarray, "policies seeds"]:
        """The utility of each policy in the world of each seed."""


class TableField:
    """Decision trees: a lifetime takes microseconds.

    Args:
        orchard: the trees, priced.
    """

    def __init__(self, orchard: Orchard) -> None:
        self.orchard = orchard
        self.seeds, self.n_chunks = tuple(orchard.by_seed), orchard.n_chunks
        self._features: dict[tuple[int, tuple[str, ...]], np.ndarray] = {}

    def utilities(self, policies: Sequence[Made]) -> Float[np.ndarray, "policies seeds"]:
        """See Field. Policies that keep nothing in mind decide at all nodes at once."""
        weight = self.orchard.pricing.cost_weight
        found = np.empty((len(policies), len(self.seeds)))
        for j, seed in enumerate(self.seeds):
            for i, made in enumerate(policies):
                policy = made(seed)
                priced = self.orchard.priced(seed, policy.observes)
                if isinstance(policy, LinearPolicy | NetworkPolicy):
                    leaf = priced.follow(policy.scores(self._features_of(seed, policy)) >= 0)
                else:
                    leaf = priced.live(policy)
                found[i, j] = priced.utility(weight)[leaf]
        return found

    def _features_of(self, seed: int, policy: LinearPolicy | NetworkPolicy) -> np.ndarray:
        key = seed, policy.features
        if key not in self._features:
            vectors = self.orchard.priced(seed, policy.observes).vectors
            self._features[key] = features_of(vectors, policy.features)
        return self._features[key]


class LiveField:
    """Lifetimes: those of a seed are lived together and share what they have in common.

    Args:
        config: resolved settings of the world and the agent.
        seeds: of the worlds.
        watcher: asked after each chunk whether to stop.
        download: fetch a missing data set.
        data_dir: where data sets and caches lie; None for the user's cache folder.

    Raises:
        DatasetError: from loading.
        InvalidSetting: settings that the data sets or the machine do not allow.
    """

    def __init__(
        self, config: TreeConfig, seeds: Sequence[int], watcher: Watcher, *, download: bool, data_dir: Path | None
    ) -> None:
        self.config, self.seeds, self.watcher = config, tuple(seeds), watcher
        self.download, self.data_dir = download, data_dir
        self._worlds: Mapping[int, tuple[Dataset, Scenario]] = {
            seed: load_world(config, seed, data_dir=data_dir, download=download, watcher=watcher) for seed in seeds
        }
        first = self._worlds[self.seeds[0]]
        self.n_chunks = len(first[1].stream)
        unborn(config, self.seeds[0], first, "nothing")  # settings that cannot be are refused before anything is lived

    def utilities(self, policies: Sequence[Made]) -> Float[np.ndarray, "policies seeds"]:
        """See Field.

        Raises:
            Interrupted: the watcher asked to stop.
            TrainingDiverged: from the learner.
        """
        found = np.empty((len(policies), len(self.seeds)))
        for j, (seed, world) in enumerate(self._worlds.items()):
            exam = Exam(*halves(world[1].validation))
            named = {str(i): made(seed) for i, made in enumerate(policies)}
            lives = newborn(self.config, seed, world, named, exam)
            while lives:
                lives.advance()
                if self.watcher.stopping:
                    raise Interrupted
                for name, trajectory, _ in lives.ended():
                    spent = trajectory.steps[-1].spent
                    found[int(name), j] = utility(trajectory.accuracy.agent, spent, self.config.cost_weight)
        return found
