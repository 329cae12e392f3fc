"""Schedule tables of several seeds under one pricing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from agent.accounting.costs import CostModel
from agent.errors import InvalidSetting, RunError
from agent.operations import best
from agent.policies import LinearPolicy, NetworkPolicy, Policy
from agent.policies.features import features_of
from agent.policies.protocol import Observes, check_policy
from agent.randomness import named_seed
from scenarios.analysis.comparison import Lived
from scenarios.config.families import COST_MODEL, POLICY, TARIFF
from scenarios.config.members import make
from scenarios.config.presets import validate
from scenarios.config.settings import TreeConfig
from scenarios.oracle.priced_table import PricedTable
from scenarios.oracle.table import ScheduleTable, decisions_of, read_table, schedule_of

ORACLE, FIXED = "oracle", "best fixed schedule"


OF_PRICES = frozenset(("tariff", "cost", "cost_weight", "budget"))
"""Settings that a table leaves open."""


COST, ACCURACY, UTILITY, REGRET = "total_cost", "final_accuracy", "utility", "regret"


@dataclass(frozen=True)
class Pricing:
    """What turns tables into utilities.

    Attributes:
        tariff: spec of the price of compute over time.
        cost: spec of the cost model.
        cost_weight: accuracy that one unit of cost is worth.
        budget: what a lifetime may spend, shown to policies; None for no budget.
    """

    tariff: str
    cost: str
    cost_weight: float
    budget: float | None = None

    @property
    def model(self) -> CostModel:
        """The prices."""
        return make(self.cost, COST_MODEL)


class TableSet:
    """Schedule tables of several seeds under one pricing.

    Args:
        tables: of one number of chunks, each of another seed.
        pricing: of all of them.

    Raises:
        InvalidSetting: a tariff or cost model that cannot be, no trees, trees of different lengths or two of a seed.
    """

    def __init__(self, tables: Sequence[ScheduleTable], pricing: Pricing) -> None:
        if not tables:
            raise InvalidSetting("expected at least 1 schedule table, got none; `lifetime tree` grows some")
        if len({table.n_chunks for table in tables}) > 1:
            raise InvalidSetting("expected trees of one number of chunks, got several; evaluate those apart")
        if len({table.facts["seed"] for table in tables}) < len(tables):
            raise InvalidSetting("expected trees each of another seed, got one seed twice; leave one of them out")
        self.pricing = pricing
        self.by_seed = {int(table.facts["seed"]): table for table in tables}
        self._priced: dict[tuple[int, Observes], PricedTable] = {}
        self._features: dict[tuple[int, tuple[str, ...]], Float[np.ndarray, "decisions features"]] = {}

    @property
    def worlds(self) -> dict[int, int]:
        """By seed the world of the tree, which several have that differ in their tariffs alone."""
        return {seed: int(table.facts.get("world", seed)) for seed, table in self.by_seed.items()}

    @property
    def n_chunks(self) -> int:
        """Of every tree."""
        return next(iter(self.by_seed.values())).n_chunks

    def priced(self, seed: int, observes: Observes) -> PricedTable:
        """A seed's tree for who asks to see so much."""
        if (seed, observes) not in self._priced:
            table, pricing = self.by_seed[seed], self.pricing
            prices = make(pricing.tariff, TARIFF, n_chunks=table.n_chunks, seed=seed)
            budget = inf if pricing.budget is None else pricing.budget
            self._priced[seed, observes] = PricedTable(table, tuple(prices), pricing.model, budget, observes)
        return self._priced[seed, observes]

    def metrics(self, seed: int, observes: Observes, leaf: int) -> dict[str, float | None]:
        """Of the lifetime that ends at a leaf; regret in comparison with the best schedule of the seed."""
        priced, weight = self.priced(seed, observes), self.pricing.cost_weight
        blind = self.priced(seed, "nothing")
        reached = float(priced.utility(weight)[leaf])
        return {
            UTILITY: reached,
            REGRET: float(blind.utility(weight)[blind.best(weight)]) - reached,
            ACCURACY: float(priced.table.accuracy[leaf, 0]),
            "learner_accuracy": float(priced.table.accuracy[leaf, 1]),
            "memory_accuracy": None if np.isnan(of_memory := priced.table.accuracy[leaf, 2]) else float(of_memory),
            "learned_fraction": _learned(priced.table, leaf),
            COST: float(priced.spent[leaf]),
        }

    def live(self, spec: str) -> Lived:
        """A policy's lifetimes on every tree; a policy that draws numbers draws them by the tree's seed.

        Raises:
            InvalidSetting: an unknown policy or setting.
            PolicyError: from a policy of the user's own.
        """
        by_seed = {}
        for seed in self.by_seed:
            policy = make(spec, POLICY, seed=seed)
            check_policy(policy)
            by_seed[seed] = self.metrics(seed, policy.observes, self.leaf(seed, policy))
        return Lived(spec, by_seed)

    def leaf(self, seed: int, policy: Policy) -> int:
        """Where a policy, newly made, comes to; one that keeps nothing in mind decides at all nodes at once."""
        priced = self.priced(seed, policy.observes)
        if not isinstance(policy, LinearPolicy | NetworkPolicy):
            return priced.live(policy)
        key = seed, policy.features
        if key not in self._features:
            self._features[key] = features_of(priced.vectors, policy.features)
        return priced.follow(best(policy.scores(self._features[key])))

    def oracle(self) -> Lived:
        """The best schedule of every seed, in hindsight."""
        weight = self.pricing.cost_weight
        leaves = {seed: self.priced(seed, "nothing").best(weight) for seed in self.by_seed}
        return Lived(ORACLE, {seed: self.metrics(seed, "nothing", leaf) for seed, leaf in leaves.items()})

    def fixed(self) -> tuple[str, Lived]:
        """The one schedule of highest mean utility over these very seeds: the best that goes by the position alone."""
        table = next(iter(self.by_seed.values()))
        first, weight = int(table.nodes(self.n_chunks)[0]), self.pricing.cost_weight
        mean = sum(self.priced(seed, "nothing").utility(weight)[first:] for seed in self.by_seed)
        leaf = first + int(np.argmax(mean))
        return schedule_of(leaf, table.actions), Lived(
            FIXED, {seed: self.metrics(seed, "nothing", leaf) for seed in self.by_seed}
        )


def with_tariffs_drawn(tables: Sequence[ScheduleTable], tariff: str, n_draws: int) -> list[ScheduleTable]:
    """Each tree under its own path of a tariff and, where paths are drawn, under others, n_draws in all.

    The own path is the one of a lifetime with the tree's seed. A tree knows its path by its seed: under other paths it
    has other seeds, and its facts say of which `world` it is.

    Raises:
        InvalidSetting: a tariff that cannot be.
    """

    def prices(seed: int) -> tuple[float, ...]:
        return make(tariff, TARIFF, n_chunks=tables[0].n_chunks, seed=seed)

    if not tables or prices(0) == prices(1):
        return list(tables)
    drawn = []
    for table in tables:
        seed = int(table.facts["seed"])
        others = [named_seed(seed, f"tariff {number}") % 2**31 for number in range(1, n_draws)]
        drawn += [replace(table, facts={**table.facts, "seed": number, "world": seed}) for number in (seed, *others)]
    return drawn


def read_tables(run: Path) -> list[ScheduleTable]:
    """The tables of a run of `lifetime tree`, by seed.

    Raises:
        RunError: none there, one that cannot be read, or tables that do not belong together.
    """
    tables = {path: read_table(path) for path in run.glob("seed*/table.npz")}
    if not tables:
        raise RunError(f"expected a run of `lifetime tree` at {run}, found no seed*/table.npz there; grow one first")
    first, settings = "", dict[str, Any]()
    for path, table in tables.items():
        if path.parent.name != f"seed{table.facts['seed']}":
            raise RunError(f"expected the tree of that seed at {path}, got the one of seed {table.facts['seed']}")
        own = _checked_settings(table, path)
        first, settings = first or str(path), settings or own
        differing = [name for name in own.keys() | settings.keys() if own.get(name) != settings.get(name)]
        if differing:
            raise RunError(
                f"expected trees that differ in their seeds alone, got another {min(differing)} at {path} than at "
                f"{first}; keep them in folders of their own"
            )
    return sorted(tables.values(), key=lambda table: table.facts["seed"])


def _checked_settings(table: ScheduleTable, path: Path) -> dict[str, Any]:
    """The settings of the world and agent behind a table."""
    settings = dict(table.facts["settings"])
    missing = {"dataset", "rekey", *OF_PRICES} - settings.keys()
    if missing:
        raise RunError(f"expected the settings of a tree in {path}, got no {min(missing)}; `lifetime tree` grows one")
    try:
        validate(TreeConfig, settings)
    except InvalidSetting as error:
        raise RunError(f"{error}, in the settings of the tree in {path}") from None
    return {name: value for name, value in settings.items() if name not in ("seeds", "first_seed")}


def _learned(table: ScheduleTable, leaf: int) -> float:
    learned = [table.operations[number].learns for number in decisions_of(leaf, len(table.actions))]
    return float(np.dot(learned, table.n_samples) / table.n_samples.sum())
