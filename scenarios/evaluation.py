"""Policies on decision trees: utility, regret to the oracle, and what they are worth beside static schedules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from agent.costs import COST_MODELS, CostModel
from agent.errors import InvalidSetting, RunError
from agent.policies import LinearPolicy, NetworkPolicy, Policy
from agent.policies.features import features_of
from agent.policies.protocol import Observes, check_policy
from agent.policies.registry import POLICIES
from agent.randomness import named_seed
from scenarios.analysis import Interval, Ratio, mean_interval, ratio_of_means
from scenarios.comparison import Comparison, Lived, Schedule, compare, paired_difference
from scenarios.config import TreeConfig
from scenarios.decision_tree import DecisionTree, PricedTree, read_tree, schedule_of
from scenarios.presets import validate
from scenarios.specs import make
from scenarios.tariffs import TARIFFS

ORACLE, FIXED = "oracle", "best fixed schedule"
OF_PRICES = frozenset(("tariff", "cost", "cost_weight", "budget"))
"""Settings that a table leaves open."""
Among = Literal["statics", "statics and heuristics"]
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
        return make(self.cost, COST_MODELS, "cost model")


class Orchard:
    """Decision trees of several seeds under one pricing.

    Args:
        trees: of one number of chunks, each of another seed.
        pricing: of all of them.

    Raises:
        InvalidSetting: a tariff or cost model that cannot be, no trees, trees of different lengths or two of a seed.
    """

    def __init__(self, trees: Sequence[DecisionTree], pricing: Pricing) -> None:
        if not trees:
            raise InvalidSetting("expected at least 1 decision tree, got none; `lifetime tree` grows some")
        if len({tree.n_chunks for tree in trees}) > 1:
            raise InvalidSetting("expected trees of one number of chunks, got several; evaluate those apart")
        if len({tree.facts["seed"] for tree in trees}) < len(trees):
            raise InvalidSetting("expected trees each of another seed, got one seed twice; leave one of them out")
        self.pricing = pricing
        self.by_seed = {int(tree.facts["seed"]): tree for tree in trees}
        self._priced: dict[tuple[int, Observes], PricedTree] = {}
        self._features: dict[tuple[int, tuple[str, ...]], Float[np.ndarray, "decisions features"]] = {}

    @property
    def worlds(self) -> dict[int, int]:
        """By seed the world of the tree, which several have that differ in their tariffs alone."""
        return {seed: int(tree.facts.get("world", seed)) for seed, tree in self.by_seed.items()}

    @property
    def n_chunks(self) -> int:
        """Of every tree."""
        return next(iter(self.by_seed.values())).n_chunks

    def priced(self, seed: int, observes: Observes) -> PricedTree:
        """A seed's tree for who asks to see so much."""
        if (seed, observes) not in self._priced:
            tree, pricing = self.by_seed[seed], self.pricing
            prices = make(pricing.tariff, TARIFFS, "tariff", n_chunks=tree.n_chunks, seed=seed)
            budget = inf if pricing.budget is None else pricing.budget
            self._priced[seed, observes] = tree.priced(prices, pricing.model, budget, observes)
        return self._priced[seed, observes]

    def metrics(self, seed: int, observes: Observes, leaf: int) -> dict[str, float | None]:
        """Of the lifetime that ends at a leaf; regret in comparison with the best schedule of the seed."""
        priced, weight = self.priced(seed, observes), self.pricing.cost_weight
        blind = self.priced(seed, "nothing")
        reached = float(priced.utility(weight)[leaf])
        return {
            UTILITY: reached,
            REGRET: float(blind.utility(weight)[blind.best(weight)]) - reached,
            ACCURACY: float(priced.tree.accuracy[leaf, 0]),
            "learner_accuracy": float(priced.tree.accuracy[leaf, 1]),
            "memory_accuracy": None if np.isnan(of_memory := priced.tree.accuracy[leaf, 2]) else float(of_memory),
            "learned_fraction": _learned(priced.tree, leaf),
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
            policy = make(spec, POLICIES, "policy", seed=seed)
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
        return priced.follow(policy.scores(self._features[key]) >= 0)

    def oracle(self) -> Lived:
        """The best schedule of every seed, in hindsight."""
        weight = self.pricing.cost_weight
        leaves = {seed: self.priced(seed, "nothing").best(weight) for seed in self.by_seed}
        return Lived(ORACLE, {seed: self.metrics(seed, "nothing", leaf) for seed, leaf in leaves.items()})

    def fixed(self) -> tuple[str, Lived]:
        """The one schedule of highest mean utility over these very seeds: the best that goes by the position alone."""
        n_leaves = 1 << self.n_chunks
        weight = self.pricing.cost_weight
        mean = sum(self.priced(seed, "nothing").utility(weight)[n_leaves:] for seed in self.by_seed)
        leaf = n_leaves + int(np.argmax(mean))
        return schedule_of(leaf), Lived(FIXED, {seed: self.metrics(seed, "nothing", leaf) for seed in self.by_seed})


def with_tariffs_drawn(trees: Sequence[DecisionTree], tariff: str, n_draws: int) -> list[DecisionTree]:
    """Each tree under its own path of a tariff and, where paths are drawn, under others, n_draws in all.

    The own path is the one of a lifetime with the tree's seed. A tree knows its path by its seed: under other paths it
    has other seeds, and its facts say of which `world` it is.

    Raises:
        InvalidSetting: a tariff that cannot be.
    """

    def prices(seed: int) -> tuple[float, ...]:
        return make(tariff, TARIFFS, "tariff", n_chunks=trees[0].n_chunks, seed=seed)

    if not trees or prices(0) == prices(1):
        return list(trees)
    drawn = []
    for tree in trees:
        seed = int(tree.facts["seed"])
        others = [named_seed(seed, f"tariff {number}") % 2**31 for number in range(1, n_draws)]
        drawn += [replace(tree, facts={**tree.facts, "seed": number, "world": seed}) for number in (seed, *others)]
    return drawn


def _averaged(lived: Lived, n_draws: int) -> Lived:
    """Means over the paths of the tariff that each tree was lived under, which lie together, under its own seed."""
    lives = list(lived.by_seed.items())
    by_seed: dict[int, dict[str, float | None]] = {}
    for first in range(0, len(lives), n_draws):
        seed, metrics = lives[first]
        paths = [values for _, values in lives[first : first + n_draws]]
        by_name = {name: [value for values in paths if (value := values[name]) is not None] for name in metrics}
        by_seed[seed] = {name: float(np.mean(found)) if found else None for name, found in by_name.items()}
    return Lived(lived.label, by_seed)


@dataclass(frozen=True)
class Lead:
    """What a policy has over a baseline; paired by seed, with t intervals.

    Attributes:
        policy: of which is spoken.
        baseline: beside which.
        utility: more of it.
        accuracy: more of it, 0 to 1.
        cost: more of it, in the unit of the cost model; below 0 the policy is cheaper.
        regret_ratio: mean regret of the policy over that of the baseline.
    """

    policy: str
    baseline: str
    utility: Interval
    accuracy: Interval
    cost: Interval
    regret_ratio: Ratio


@dataclass(frozen=True)
class AtEqualCost:
    """A policy beside others at the policy's own mean cost.

    Attributes:
        policy: of which is spoken.
        among: whether static schedules alone stand beside it, or heuristics too.
        rivals: the two between which one would choose by lot, the first with the share `share`.
        share: 0 to 1.
        lead: accuracy of the policy minus that of the lot, paired by seed; None where no rival is as cheap.
    """

    policy: str
    among: Among
    rivals: tuple[str, str] | None
    share: float
    lead: Interval | None


@dataclass(frozen=True)
class Evaluated:
    """Policies on held-out trees.

    Attributes:
        comparison: every policy, the static schedules, the oracle and the best fixed schedule.
        pricing: behind utilities.
        n_chunks: of every tree.
        best_static: the static schedule of highest mean utility.
        fixed: the best fixed schedule, as L and M.
        leads: of every policy over every static and heuristic one.
        at_equal_cost: of every policy that is not static, first beside statics alone, then beside heuristics too.
        left_out: seeds of the trees that a policy was trained on.
    """

    comparison: Comparison
    pricing: Pricing
    n_chunks: int
    best_static: str
    fixed: str
    leads: tuple[Lead, ...]
    at_equal_cost: tuple[AtEqualCost, ...]
    left_out: tuple[int, ...]
    settings: TreeConfig
    """Of the trees, but for what `pricing` says."""
    n_paths: int = 1
    """Of the tariff, for each tree."""

    def schedule(self, label: str) -> Schedule:
        """By its label."""
        return next(each for each in self.comparison.schedules if each.label == label)


def evaluate(
    trees: Sequence[DecisionTree],
    policies: Sequence[str],
    pricing: Pricing,
    *,
    statics: Sequence[str],
    trained_on: Mapping[str, frozenset[int]],
    n_draws: int = 1,
    confidence: float = 0.95,
) -> Evaluated:
    """Live policies on the trees that none of them was trained on, beside static schedules.

    Args:
        trees: one a seed.
        policies: specs.
        pricing: behind utilities.
        statics: specs of the schedules to be surpassed.
        trained_on: by spec, the seeds of these trees that a policy was trained on.
        n_draws: paths of a tariff that is drawn, for each tree; their mean is that of the seed.
        confidence: level of all intervals, in (0, 1).

    Raises:
        InvalidSetting: policies or prices that cannot be, or no tree that no policy was trained on.
    """
    seen = frozenset().union(*trained_on.values()) if trained_on else frozenset()
    held_out = [tree for tree in trees if tree.facts["seed"] not in seen]
    if not held_out:
        raise InvalidSetting(
            f"expected trees of seeds that no policy was trained on, got only those of {_listed(sorted(seen))}; grow "
            "more with `lifetime tree --first-seed`"
        )
    drawn = with_tariffs_drawn(held_out, pricing.tariff, n_draws)
    orchard = Orchard(drawn, pricing)
    names = list(dict.fromkeys([*policies, *statics]))
    fixed, of_fixed = orchard.fixed()
    lived = [*(orchard.live(spec) for spec in names), of_fixed, orchard.oracle()]
    n_paths = len(drawn) // len(held_out)
    comparison = compare([_averaged(each, n_paths) for each in lived] if n_paths > 1 else lived, confidence)
    by_label = {schedule.label: schedule for schedule in comparison.schedules}
    best_static = max(statics, key=lambda spec: _mean(by_label[spec], UTILITY))
    untrained = [spec for spec in names if spec not in trained_on]

    def at_equal_cost(policy: str, among: Among, specs: Sequence[str]) -> AtEqualCost:
        return _at_equal_cost(by_label[policy], among, [by_label[spec] for spec in specs if spec != policy], confidence)

    return Evaluated(
        comparison,
        pricing,
        orchard.n_chunks,
        best_static,
        fixed,
        leads=tuple(
            _lead(by_label[policy], by_label[baseline], confidence)
            for policy in policies
            for baseline in names
            if baseline != policy
        ),
        at_equal_cost=tuple(
            at_equal_cost(policy, *beside)
            for policy in policies
            if policy not in statics
            for beside in (("statics", statics), ("statics and heuristics", untrained))
        ),
        settings=validate(TreeConfig, dict(trees[0].facts["settings"])),
        n_paths=n_paths,
        left_out=tuple(sorted(seen & {int(tree.facts["seed"]) for tree in trees})),
    )


def static_schedules(n_chunks: int) -> list[str]:
    """Every k%-learner of a stream, and every interleaved one, by its spec."""
    shares = [f"{100 * i / n_chunks:g}" for i in range(n_chunks + 1)]
    return [f"static:k={k}" for k in shares] + [f"interleaved:k={k}" for k in shares[1:-1]]


def read_trees(run: Path) -> list[DecisionTree]:
    """The tables of a run of `lifetime tree`, by seed.

    Raises:
        RunError: none there, one that cannot be read, or tables that do not belong together.
    """
    trees = {path: read_tree(path) for path in run.glob("seed*/table.npz")}
    if not trees:
        raise RunError(f"expected a run of `lifetime tree` at {run}, found no seed*/table.npz there; grow one first")
    first, settings = "", dict[str, Any]()
    for path, tree in trees.items():
        if path.parent.name != f"seed{tree.facts['seed']}":
            raise RunError(f"expected the tree of that seed at {path}, got the one of seed {tree.facts['seed']}")
        own = _checked_settings(tree, path)
        first, settings = first or str(path), settings or own
        differing = [name for name in own.keys() | settings.keys() if own.get(name) != settings.get(name)]
        if differing:
            raise RunError(
                f"expected trees that differ in their seeds alone, got another {min(differing)} at {path} than at "
                f"{first}; keep them in folders of their own"
            )
    return sorted(trees.values(), key=lambda tree: tree.facts["seed"])


def _checked_settings(tree: DecisionTree, path: Path) -> dict[str, Any]:
    """The settings of the world and agent behind a table."""
    settings = dict(tree.facts["settings"])
    missing = {"dataset", "rekey", *OF_PRICES} - settings.keys()
    if missing:
        raise RunError(f"expected the settings of a tree in {path}, got no {min(missing)}; `lifetime tree` grows one")
    try:
        validate(TreeConfig, settings)
    except InvalidSetting as error:
        raise RunError(f"{error}, in the settings of the tree in {path}") from None
    return {name: value for name, value in settings.items() if name not in ("seeds", "first_seed")}


def _lead(policy: Schedule, baseline: Schedule, confidence: float) -> Lead:
    differences = {name: paired_difference(policy, baseline, name, confidence) for name in (UTILITY, ACCURACY, COST)}
    own, other = ([values[REGRET] or 0.0 for values in each.by_seed.values()] for each in (policy, baseline))
    return Lead(
        policy.label,
        baseline.label,
        differences[UTILITY],
        differences[ACCURACY],
        differences[COST],
        ratio_of_means(own, other, confidence, denominator_name="the baseline's regret"),
    )


def _at_equal_cost(policy: Schedule, among: Among, rivals: Sequence[Schedule], confidence: float) -> AtEqualCost:
    """The best lot between two rivals whose mean cost is that of the policy, or below.

    Choosing between two schedules by lot costs and achieves, in the mean, what lies between them; the best such lot is
    on the upper hull of mean accuracy over mean cost.
    """
    budget = _mean(policy, COST)
    best: tuple[float, Schedule, Schedule, float] | None = None
    for a in rivals:
        for b in rivals:
            low, high = _mean(a, COST), _mean(b, COST)
            if low > budget or (high <= budget and a is not b):
                continue
            share = 1.0 if a is b else (high - budget) / (high - low)
            accuracy = share * _mean(a, ACCURACY) + (1 - share) * _mean(b, ACCURACY)
            if best is None or accuracy > best[0]:
                best = accuracy, a, b, share
    if best is None:
        return AtEqualCost(policy.label, among, None, 0.0, None)
    _, a, b, share = best
    leads = [
        float(own[ACCURACY] or 0) - share * float(one[ACCURACY] or 0) - (1 - share) * float(other[ACCURACY] or 0)
        for own, one, other in zip(policy.by_seed.values(), a.by_seed.values(), b.by_seed.values(), strict=True)
    ]
    return AtEqualCost(policy.label, among, (a.label, b.label), share, mean_interval(leads, confidence))


def _learned(tree: DecisionTree, leaf: int) -> float:
    learned = [action == "L" for action in schedule_of(leaf)]
    return float(np.dot(learned, tree.n_samples) / tree.n_samples.sum())


def _mean(schedule: Schedule, metric: str) -> float:
    mean = schedule.means[metric]
    assert mean is not None
    return mean.estimate


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values))
