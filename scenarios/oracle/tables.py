"""Schedule tables of several seeds under one pricing."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isnan
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from agent.accounting.costs import CostModel
from agent.errors import InvalidSetting, RunError
from agent.operations import Action, best
from agent.policies import Policy, ScoringPolicy
from agent.policies.features import features_of
from agent.policies.protocol import Observes, check_policy
from agent.randomness import named_seed
from scenarios.analysis.comparison import ScheduleLifetimes
from scenarios.config.families import COST_MODEL, TARIFF
from scenarios.config.members import Member
from scenarios.config.presets import validate
from scenarios.config.settings import TreeConfig
from scenarios.oracle.priced_table import PricedTable
from scenarios.oracle.table import ScheduleTable, read_table, schedule_of
from scenarios.streams.tariffs import checked_prices

ORACLE, FIXED = "oracle", "best fixed schedule"
COST, ACCURACY, UTILITY, REGRET = "total_cost", "final_accuracy", "utility", "regret"
OF_PRICES = frozenset(("tariff", "cost", "cost_weight", "budget"))
"""The settings that do not change a schedule table."""


@dataclass(frozen=True)
class Pricing:
    """Tariff, cost model, cost weight and budget, which determine the utilities on a schedule table.

    Attributes:
        tariff: the price of compute over time.
        cost: the cost model.
        cost_weight: accuracy that one unit of cost is worth.
        budget: cost that a lifetime may spend, which policies observe; None for no budget.
    """

    tariff: Member
    cost: Member
    cost_weight: float
    budget: float | None = None

    @classmethod
    def read(cls, tariff: str, cost: str, cost_weight: float, budget: float | None = None) -> "Pricing":
        """The pricing of two specs; raises as `Member.read` does."""
        return cls(Member.read(tariff, TARIFF), Member.read(cost, COST_MODEL), cost_weight, budget)

    @classmethod
    def of_settings(cls, config: TreeConfig) -> "Pricing":
        """The pricing in the settings of trees."""
        return cls(config.tariff, config.cost, config.cost_weight, config.budget)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "tariff": str(self.tariff), "cost": str(self.cost)}

    @property
    def model(self) -> CostModel:
        """The cost model."""
        return self.cost.make()

    def of(self, table: ScheduleTable, observes: Observes) -> PricedTable:
        """The table at these prices, for policies with this value of `observes`; its seed draws the tariff."""
        prices = self.tariff.make(n_chunks=table.n_chunks, seed=int(table.facts["seed"]))
        checked = checked_prices(prices, table.n_chunks)
        return PricedTable(table, checked, self.model, inf if self.budget is None else self.budget, observes)


class TableSet:
    """Schedule tables of several seeds under one pricing.

    Args:
        tables: with the same number of chunks and different seeds.
        pricing: the prices of all tables.

    Raises:
        InvalidSetting: no tables, different numbers of chunks, different actions, or a seed twice.
    """

    def __init__(self, tables: Sequence[ScheduleTable], pricing: Pricing) -> None:
        if not tables:
            raise InvalidSetting("expected at least 1 schedule table, got none; `lifetime tree` grows some")
        if len({table.n_chunks for table in tables}) > 1:
            raise InvalidSetting("expected trees of one number of chunks, got several; evaluate those apart")
        if len({table.actions for table in tables}) > 1:
            raise InvalidSetting("expected trees of the same actions, got several; evaluate those apart")
        if len({table.facts["seed"] for table in tables}) < len(tables):
            raise InvalidSetting("expected trees each of another seed, got one seed twice; leave one of them out")
        self.pricing = pricing
        self.by_seed = {int(table.facts["seed"]): table for table in tables}
        self._priced: dict[tuple[int, Observes], PricedTable] = {}
        self._features: dict[tuple[int, tuple[str, ...]], Float[np.ndarray, "decisions features"]] = {}

    @property
    def worlds(self) -> dict[int, int]:
        """The world of each seed; seeds with the same world differ only in their tariff paths."""
        return {seed: int(table.facts.get("world", seed)) for seed, table in self.by_seed.items()}

    @property
    def actions(self) -> tuple[str, ...]:
        """The names of the actions of every tree, by number."""
        return next(iter(self.by_seed.values())).actions

    @property
    def n_chunks(self) -> int:
        """The number of chunks of every tree."""
        return next(iter(self.by_seed.values())).n_chunks

    def priced(self, seed: int, observes: Observes) -> PricedTable:
        """The priced table of a seed for policies with this value of `observes`."""
        if (seed, observes) not in self._priced:
            self._priced[seed, observes] = self.pricing.of(self.by_seed[seed], observes)
        return self._priced[seed, observes]

    def metrics(self, seed: int, observes: Observes, leaf: int) -> dict[str, float | None]:
        """The metrics of the lifetime that ends at a leaf; the regret is to the best schedule of the seed."""
        priced, weight = self.priced(seed, observes), self.pricing.cost_weight
        blind = self.priced(seed, "nothing")
        reached = float(priced.utility(weight)[leaf])
        accuracy, learner_accuracy, memory_accuracy = map(float, priced.table.accuracy[leaf])
        return {
            UTILITY: reached,
            REGRET: float(blind.utility(weight)[blind.best(weight)]) - reached,
            ACCURACY: accuracy,
            "learner_accuracy": learner_accuracy,
            "memory_accuracy": None if isnan(memory_accuracy) else memory_accuracy,
            "learned_fraction": _learned_fraction(priced.table, leaf),
            COST: float(priced.spent[leaf]),
        }

    def run(self, policy: Member) -> ScheduleLifetimes:
        """The lifetimes of a policy on every tree; a random policy uses the seed of the tree.

        Raises:
            InvalidSetting: a setting out of its range.
            PolicyError: from a user's own policy.
        """
        by_seed = {}
        for seed in self.by_seed:
            decider = policy.make(seed=seed)
            check_policy(decider)
            by_seed[seed] = self.metrics(seed, decider.observes, self.leaf(seed, decider))
        return ScheduleLifetimes(str(policy), by_seed)

    def leaf(self, seed: int, policy: Policy) -> int:
        """The leaf at the end of a lifetime under a new policy; a policy without state decides at all nodes at once."""
        priced = self.priced(seed, policy.observes)
        for name in policy.needs_actions:
            priced.table.number_of(Action(name))
        if not isinstance(policy, ScoringPolicy):
            return priced.run(policy)
        key = seed, policy.features
        if key not in self._features:
            self._features[key] = features_of(priced.vectors, policy.features)
        return priced.follow(best(policy.scores(self._features[key])), policy.actions)

    def oracle(self) -> ScheduleLifetimes:
        """The best schedule of every seed, in hindsight."""
        weight = self.pricing.cost_weight
        leaves = {seed: self.priced(seed, "nothing").best(weight) for seed in self.by_seed}
        return ScheduleLifetimes(ORACLE, {seed: self.metrics(seed, "nothing", leaf) for seed, leaf in leaves.items()})

    def fixed(self) -> tuple[str, ScheduleLifetimes]:
        """The schedule of highest mean utility over these seeds: the best one that depends only on the position."""
        table = next(iter(self.by_seed.values()))
        leaves, weight = table.nodes(self.n_chunks), self.pricing.cost_weight
        totals = sum(self.priced(seed, "nothing").utility(weight)[leaves] for seed in self.by_seed)
        leaf = int(leaves[np.argmax(totals)])
        by_seed = {seed: self.metrics(seed, "nothing", leaf) for seed in self.by_seed}
        return schedule_of(leaf, table.actions), ScheduleLifetimes(FIXED, by_seed)


def with_tariffs_drawn(tables: Sequence[ScheduleTable], tariff: Member, n_draws: int) -> list[ScheduleTable]:
    """Each tree under n_draws paths of a random tariff; the trees alone if the tariff is not random.

    The first path of a tree is that of a lifetime with the tree's seed. The seed of a table determines its path, so the
    tables for further paths have new seeds, and the fact `world` holds the tree's seed.

    Raises:
        InvalidSetting: an invalid tariff.
    """

    def prices(seed: int) -> tuple[float, ...]:
        return tariff.make(n_chunks=tables[0].n_chunks, seed=seed)

    if not tables or prices(0) == prices(1):
        return list(tables)
    drawn = []
    for table in tables:
        seed = int(table.facts["seed"])
        others = [named_seed(seed, f"tariff {number}") % 2**31 for number in range(1, n_draws)]
        drawn += [replace(table, facts={**table.facts, "seed": number, "world": seed}) for number in (seed, *others)]
    return drawn


def read_tables(run: Path) -> list[ScheduleTable]:
    """The tables of a run of `lifetime tree`, in order of their seeds.

    Raises:
        RunError: there are no tables, one cannot be read, or their settings differ.
    """
    tables = {path: read_table(path) for path in run.glob("seed*/table.npz")}
    if not tables:
        raise RunError(f"expected a run of `lifetime tree` at {run}, found no seed*/table.npz there; grow one first")
    settings = {path: _settings_of(table, path) for path, table in tables.items()}
    first, reference = next(iter(settings.items()))
    for path, own in settings.items():
        differing = [name for name in own.keys() | reference.keys() if own.get(name) != reference.get(name)]
        if differing:
            raise RunError(
                f"expected trees that differ in their seeds alone, got another {min(differing)} at {path} than at "
                f"{first}; keep them in folders of their own"
            )
    return sorted(tables.values(), key=lambda table: table.facts["seed"])


def _settings_of(table: ScheduleTable, path: Path) -> dict[str, Any]:
    """The valid settings of the world and the agent behind a table, without those of the seeds."""
    if path.parent.name != f"seed{table.facts['seed']}":
        raise RunError(f"expected the tree of that seed at {path}, got the one of seed {table.facts['seed']}")
    settings = dict(table.facts["settings"])
    missing = {"dataset", *OF_PRICES} - settings.keys()
    if missing:
        raise RunError(f"expected the settings of a tree in {path}, got no {min(missing)}; `lifetime tree` grows one")
    try:
        validate(TreeConfig, settings)
    except InvalidSetting as error:
        raise RunError(f"{error}, in the settings of the tree in {path}") from None
    return {name: value for name, value in settings.items() if name not in ("seeds", "first_seed")}


def _learned_fraction(table: ScheduleTable, leaf: int) -> float:
    return float(table.learned[leaf] / table.n_samples.sum())


def tables_digest(tables: Sequence[ScheduleTable]) -> str:
    """A digest of the contents of tables, independent of their paths."""
    digest = hashlib.blake2b(digest_size=8)
    for table in tables:
        digest.update(table.as_npz())
    return digest.hexdigest()
