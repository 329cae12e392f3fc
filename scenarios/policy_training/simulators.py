"""Where policies are tried while they are trained: on schedule tables, or in lifetimes of their own."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from agent.accounting.utility import utility
from agent.policies import Policy
from scenarios.config.settings import TreeConfig
from scenarios.datasets.load import Dataset
from scenarios.oracle.tables import TableSet
from scenarios.running.progress import Interrupted, ProgressReporter
from scenarios.running.world import halved_plan, load_world, make_episode, make_lifetimes
from scenarios.streams.scenario import Scenario

MakePolicy = Callable[[int], Policy]
"""A policy about to live, from the seed of the world."""


@runtime_checkable
class Simulator(Protocol):
    """Worlds to try policies in."""

    worlds: dict[int, int]
    """By seed, the world: seeds of one world differ in their tariffs alone."""
    n_chunks: int

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the lifetimes."""

    def utilities(self, policies: Sequence[MakePolicy]) -> Float[np.ndarray, "policies seeds"]:
        """The utility of each policy in the world of each seed."""


class TableSimulator:
    """Schedule tables: a lifetime takes microseconds, if the policy itself takes no longer.

    Args:
        table_set: the trees, priced.
    """

    def __init__(self, table_set: TableSet) -> None:
        self.table_set, self.worlds, self.n_chunks = table_set, table_set.worlds, table_set.n_chunks

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the trees."""
        return tuple(self.worlds)

    def utilities(self, policies: Sequence[MakePolicy]) -> Float[np.ndarray, "policies seeds"]:
        """See Field."""
        weight = self.table_set.pricing.cost_weight
        found = np.empty((len(policies), len(self.seeds)))
        for j, seed in enumerate(self.seeds):
            for i, make in enumerate(policies):
                policy = make(seed)
                priced = self.table_set.priced(seed, policy.observes)
                found[i, j] = priced.utility(weight)[self.table_set.leaf(seed, policy)]
        return found


class LiveSimulator:
    """Lifetimes: those of a seed are lived together and share what they have in common.

    Args:
        config: resolved settings of the world and the agent.
        seeds: of the worlds.
        reporter: told of every chunk of every lifetime, and asked after each whether to stop.
        download: fetch a missing data set.
        data_dir: where data sets and caches lie; None for the user's cache folder.

    Raises:
        DatasetError: from loading.
        InvalidSetting: settings that the data sets or the machine do not allow.
    """

    def __init__(
        self,
        config: TreeConfig,
        seeds: Sequence[int],
        reporter: ProgressReporter,
        *,
        download: bool,
        data_dir: Path | None,
    ) -> None:
        self.config, self.reporter = config, reporter
        self.worlds = {seed: seed for seed in seeds}
        self.download, self.data_dir = download, data_dir
        self._loaded: Mapping[int, tuple[Dataset, Scenario]] = {
            seed: load_world(config, seed, data_dir=data_dir, download=download, reporter=reporter) for seed in seeds
        }
        first = self._loaded[self.seeds[0]]
        self.n_chunks = len(first[1].stream)
        make_episode(
            config, self.seeds[0], first, "nothing"
        )  # settings that cannot be are refused before anything is lived

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the worlds."""
        return tuple(self.worlds)

    def utilities(self, policies: Sequence[MakePolicy]) -> Float[np.ndarray, "policies seeds"]:
        """See Field.

        Raises:
            Interrupted: the reporter asked to stop.
            TrainingDiverged: from the learner.
        """
        found = np.empty((len(policies), len(self.seeds)))
        for j, (seed, world) in enumerate(self._loaded.items()):
            plan = halved_plan(world[1])
            named = {str(i): make(seed) for i, make in enumerate(policies)}
            lifetimes = make_lifetimes(self.config, seed, world, named, plan)
            while lifetimes:
                self.reporter.advance(len(lifetimes.advance()))
                if self.reporter.stopping:
                    raise Interrupted
                for name, trajectory, _ in lifetimes.ended():
                    spent = trajectory.steps[-1].spent
                    found[int(name), j] = utility(trajectory.accuracy.agent, spent, self.config.cost_weight)
        return found
