"""Simulators, which try policies during training: on schedule tables, or in lifetimes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float

from agent.accounting.utility import utility
from agent.policies import Policy
from agent.policies.protocol import Observes
from scenarios.config.settings import TreeConfig
from scenarios.datasets.load import Dataset
from scenarios.oracle.tables import TableSet
from scenarios.policy_training.worlds_env import DecidedLifetime, SimulatedLifetime, TableLifetime
from scenarios.running.progress import Interrupted, ProgressReporter, SilentReporter
from scenarios.running.tasks import Run, Site
from scenarios.running.world import halved_plan, load_world, make_alike, make_episode
from scenarios.streams.scenario import Scenario

MakePolicy = Callable[[int], Policy]
"""Makes a policy for one lifetime, given the seed of the world."""


@dataclass(frozen=True)
class Tried:
    """Policies that were tried in every world."""

    utilities: Float[np.ndarray, "policies seeds"]
    policies: Mapping[int, Sequence[Policy]]
    """The policies of each seed as they are at the end of their lifetimes."""


class Simulator(ABC):
    """Worlds in which policies are tried."""

    worlds: Mapping[int, int]
    """By seed, the number of the world: seeds of one world differ only in their tariffs."""
    actions: tuple[str, ...]
    """Names of the actions that agents offer, by number."""
    n_chunks: int
    cost_weight: float
    reporter: ProgressReporter = SilentReporter()
    """Receives the progress of lifetimes."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the lifetimes."""
        return tuple(self.worlds)

    @abstractmethod
    def utilities(self, policies: Sequence[MakePolicy]) -> Tried:
        """Try each policy in the world of each seed; policies are made seed by seed."""

    @abstractmethod
    def begin(self, seed: int, observes: Observes) -> DecidedLifetime:
        """A lifetime at its beginning, whose actions the caller gives."""


class TableSimulator(Simulator):
    """Looks lifetimes up in schedule tables, in microseconds."""

    def __init__(self, table_set: TableSet) -> None:
        self.table_set, self.worlds, self.n_chunks = table_set, table_set.worlds, table_set.n_chunks
        self.actions, self.cost_weight = table_set.actions, table_set.pricing.cost_weight

    def utilities(self, policies: Sequence[MakePolicy]) -> Tried:
        """See Simulator."""
        made = {seed: [make(seed) for make in policies] for seed in self.seeds}
        found = np.empty((len(policies), len(self.seeds)))
        for j, (seed, of_seed) in enumerate(made.items()):
            for i, policy in enumerate(of_seed):
                priced = self.table_set.priced(seed, policy.observes)
                found[i, j] = priced.utility(self.cost_weight)[self.table_set.leaf(seed, policy)]
        return Tried(found, made)

    def begin(self, seed: int, observes: Observes) -> DecidedLifetime:
        """See Simulator."""
        return TableLifetime(self.table_set.priced(seed, observes))


class LifetimeSimulator(Simulator):
    """Simulates lifetimes; those of one seed are a task, and share what they have in common.

    Args:
        config: settings of the world and the agent.
        seeds: of the worlds.
        run: does the tasks; its reporter receives every chunk of every lifetime, and may ask to stop.

    Raises:
        DatasetError: from loading.
        InvalidSetting: the data sets or the machine do not allow the settings.
    """

    def __init__(self, config: TreeConfig, seeds: Sequence[int], run: Run) -> None:
        self.config, self.run, self.reporter, self.cost_weight = config, run, run.reporter, config.cost_weight
        self.actions, self.worlds = config.actions, {seed: seed for seed in seeds}
        first = self.seeds[0]
        self.n_chunks = len(self._world(first)[1].stream)
        make_episode(config, first, self._world(first), "nothing")  # invalid settings raise now

    def utilities(self, policies: Sequence[MakePolicy]) -> Tried:
        """See Simulator.

        Raises:
            Interrupted: the reporter asked to stop.
            TrainingDiverged: from the learner.
        """
        made = {seed: [make(seed) for make in policies] for seed in self.seeds}
        n = len(made)
        tasks = [self.run.task(try_policies, self.config, seed, n, each, part=None) for seed, each in made.items()]
        found = {task.arguments[0]: tried for task, tried in self.run.do(tasks)}
        utilities = np.ascontiguousarray(np.array([found[seed][0] for seed in self.seeds]).T)
        return Tried(utilities, {seed: found[seed][1] for seed in self.seeds})

    def begin(self, seed: int, observes: Observes) -> DecidedLifetime:
        """See Simulator."""
        return SimulatedLifetime(partial(make_episode, self.config, seed, self._world(seed), observes))

    def _world(self, seed: int) -> tuple[Dataset, Scenario]:
        run = self.run
        return run.cache.get(
            seed, lambda: load_world(self.config, seed, run.access, run.reporter), most=len(self.worlds)
        )


def try_policies(
    config: TreeConfig, seed: int, n_worlds: int, policies: Sequence[Policy], site: Site
) -> tuple[list[float], list[Policy]]:
    """The task: a lifetime under each policy; returns their utilities, and the policies as they are at the end.

    A process keeps so many worlds, since every iteration of a training returns to all of them.
    """
    world = site.cache.get(seed, lambda: load_world(config, seed, site.access, SilentReporter()), most=n_worlds)
    lifetimes = make_alike(
        config, seed, world, {str(i): each for i, each in enumerate(policies)}, halved_plan(world[1])
    )
    found = [0.0] * len(policies)
    while lifetimes:
        site.reporter.advance(len(lifetimes.advance()))
        if site.reporter.stopping:
            raise Interrupted
        for name, trajectory, _ in lifetimes.ended():
            found[int(name)] = utility(trajectory.accuracy.agent, trajectory.steps[-1].spent, config.cost_weight)
    return found, list(policies)
