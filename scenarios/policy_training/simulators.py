"""Simulators, which try policies during training: on schedule tables, or in lifetimes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from jaxtyping import Float

from agent.accounting.utility import utility
from agent.policies import Policy
from agent.policies.protocol import Observes
from scenarios.config.settings import TreeConfig
from scenarios.datasets.load import Dataset
from scenarios.datasets.source import Access
from scenarios.oracle.tables import TableSet
from scenarios.policy_training.worlds_env import DecidedLifetime, SimulatedLifetime, TableLifetime
from scenarios.running.progress import Interrupted, ProgressReporter, SilentReporter
from scenarios.running.world import halved_plan, load_world, make_alike, make_episode
from scenarios.streams.scenario import Scenario

MakePolicy = Callable[[int], Policy]
"""Makes a policy for one lifetime, given the seed of the world."""


class Simulator(ABC):
    """Worlds in which policies are tried."""

    worlds: Mapping[int, int]
    """By seed, the number of the world: seeds of one world differ only in their tariffs."""
    n_chunks: int
    cost_weight: float
    reporter: ProgressReporter = SilentReporter()
    """Receives the progress of lifetimes."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the lifetimes."""
        return tuple(self.worlds)

    @abstractmethod
    def utilities(self, policies: Sequence[MakePolicy]) -> Float[np.ndarray, "policies seeds"]:
        """The utility of each policy in the world of each seed."""

    @abstractmethod
    def begin(self, seed: int, observes: Observes) -> DecidedLifetime:
        """A lifetime at its beginning, whose actions the caller gives."""


class TableSimulator(Simulator):
    """Looks lifetimes up in schedule tables, in microseconds."""

    def __init__(self, table_set: TableSet) -> None:
        self.table_set, self.worlds, self.n_chunks = table_set, table_set.worlds, table_set.n_chunks
        self.cost_weight = table_set.pricing.cost_weight

    def utilities(self, policies: Sequence[MakePolicy]) -> Float[np.ndarray, "policies seeds"]:
        """See Simulator."""
        found = np.empty((len(policies), len(self.seeds)))
        for j, seed in enumerate(self.seeds):
            for i, make in enumerate(policies):
                policy = make(seed)
                priced = self.table_set.priced(seed, policy.observes)
                found[i, j] = priced.utility(self.cost_weight)[self.table_set.leaf(seed, policy)]
        return found

    def begin(self, seed: int, observes: Observes) -> DecidedLifetime:
        """See Simulator."""
        return TableLifetime(self.table_set.priced(seed, observes))


class LifetimeSimulator(Simulator):
    """Simulates lifetimes; those of one seed share what they have in common.

    Args:
        config: resolved settings of the world and the agent.
        seeds: of the worlds.
        reporter: receives every chunk of every lifetime, and may ask to stop after each.
        access: where data sets are.

    Raises:
        DatasetError: from loading.
        InvalidSetting: the data sets or the machine do not allow the settings.
    """

    def __init__(self, config: TreeConfig, seeds: Sequence[int], reporter: ProgressReporter, access: Access) -> None:
        self.config, self.reporter, self.cost_weight = config, reporter, config.cost_weight
        self.worlds = {seed: seed for seed in seeds}
        self._loaded: Mapping[int, tuple[Dataset, Scenario]] = {
            seed: load_world(config, seed, access, reporter) for seed in seeds
        }
        self.n_chunks = len(self._loaded[self.seeds[0]][1].stream)
        first = self.seeds[0]
        make_episode(config, first, self._loaded[first], "nothing")  # invalid settings raise now

    def utilities(self, policies: Sequence[MakePolicy]) -> Float[np.ndarray, "policies seeds"]:
        """See Simulator.

        Raises:
            Interrupted: the reporter asked to stop.
            TrainingDiverged: from the learner.
        """
        found = np.empty((len(policies), len(self.seeds)))
        for j, (seed, world) in enumerate(self._loaded.items()):
            named = {str(i): make(seed) for i, make in enumerate(policies)}
            lifetimes = make_alike(self.config, seed, world, named, halved_plan(world[1]))
            while lifetimes:
                self.reporter.advance(len(lifetimes.advance()))
                if self.reporter.stopping:
                    raise Interrupted
                for name, trajectory, _ in lifetimes.ended():
                    spent = trajectory.steps[-1].spent
                    found[int(name), j] = utility(trajectory.accuracy.agent, spent, self.cost_weight)
        return found

    def begin(self, seed: int, observes: Observes) -> DecidedLifetime:
        """See Simulator."""
        return SimulatedLifetime(partial(make_episode, self.config, seed, self._loaded[seed], observes))
