"""Policies on schedule tables: utility, regret to the oracle, and what they are worth beside static schedules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from agent.errors import InvalidSetting
from scenarios.analysis.comparison import Comparison, Lived, Schedule, compare, paired_difference
from scenarios.analysis.statistics import Interval, Ratio, mean_interval, ratio_of_means
from scenarios.config.presets import validate
from scenarios.config.settings import TreeConfig
from scenarios.oracle.table import ScheduleTable
from scenarios.oracle.tables import ACCURACY, COST, REGRET, UTILITY, Pricing, TableSet, with_tariffs_drawn

Among = Literal["statics", "statics and heuristics"]


def _averaged(lived: Lived, n_draws: int) -> Lived:
    """Means over the paths of the tariff that each tree was lived under, which lie together, under its own seed."""
    lifetimes = list(lived.by_seed.items())
    by_seed: dict[int, dict[str, float | None]] = {}
    for first in range(0, len(lifetimes), n_draws):
        seed, metrics = lifetimes[first]
        paths = [values for _, values in lifetimes[first : first + n_draws]]
        by_name = {name: [value for values in paths if (value := values[name]) is not None] for name in metrics}
        by_seed[seed] = {name: float(np.mean(found)) if found else None for name, found in by_name.items()}
    return Lived(lived.label, by_seed)


@dataclass(frozen=True)
class PairedDifference:
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
        difference: accuracy of the policy minus that of the lot, paired by seed; None where no rival is as cheap.
    """

    policy: str
    among: Among
    rivals: tuple[str, str] | None
    share: float
    difference: Interval | None


@dataclass(frozen=True)
class Evaluated:
    """Policies on held-out trees.

    Attributes:
        comparison: every policy, the static schedules, the oracle and the best fixed schedule.
        pricing: behind utilities.
        n_chunks: of every tree.
        best_static: the static schedule of highest mean utility.
        fixed: the best fixed schedule, as L and M.
        differences: of every policy over every static and heuristic one.
        at_equal_cost: of every policy that is not static, first beside statics alone, then beside heuristics too.
        left_out: seeds of the trees that a policy was trained on.
    """

    comparison: Comparison
    pricing: Pricing
    n_chunks: int
    best_static: str
    fixed: str
    differences: tuple[PairedDifference, ...]
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
    tables: Sequence[ScheduleTable],
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
        tables: one a seed.
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
    held_out = _held_out(tables, seen)
    drawn = with_tariffs_drawn(held_out, pricing.tariff, n_draws)
    table_set = TableSet(drawn, pricing)
    names, (fixed, of_fixed) = list(dict.fromkeys([*policies, *statics])), table_set.fixed()
    lived = [*(table_set.live(spec) for spec in names), of_fixed, table_set.oracle()]
    n_paths = len(drawn) // len(held_out)
    comparison = compare([_averaged(each, n_paths) for each in lived] if n_paths > 1 else lived, confidence)
    by_label = {schedule.label: schedule for schedule in comparison.schedules}
    untrained = [spec for spec in names if spec not in trained_on]

    def at_equal_cost(policy: str, among: Among, specs: Sequence[str]) -> AtEqualCost:
        return _at_equal_cost(by_label[policy], among, [by_label[spec] for spec in specs if spec != policy], confidence)

    return Evaluated(
        comparison,
        pricing,
        table_set.n_chunks,
        max(statics, key=lambda spec: _mean(by_label[spec], UTILITY)),
        fixed,
        differences=tuple(
            _difference(by_label[policy], by_label[baseline], confidence)
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
        settings=validate(TreeConfig, dict(tables[0].facts["settings"])),
        n_paths=n_paths,
        left_out=tuple(sorted(seen & {int(table.facts["seed"]) for table in tables})),
    )


def _held_out(tables: Sequence[ScheduleTable], seen: frozenset[int]) -> list[ScheduleTable]:
    """The tables of other seeds than those that policies were trained on.

    Raises:
        InvalidSetting: there are none.
    """
    held_out = [table for table in tables if table.facts["seed"] not in seen]
    if not held_out:
        raise InvalidSetting(
            f"expected trees of seeds that no policy was trained on, got only those of {_listed(sorted(seen))}; grow "
            "more with `lifetime tree --first-seed`"
        )
    return held_out


def static_schedules(n_chunks: int) -> list[str]:
    """Every k%-learner of a stream, and every interleaved one, by its spec."""
    shares = [f"{100 * i / n_chunks:g}" for i in range(n_chunks + 1)]
    return [f"static:k={k}" for k in shares] + [f"interleaved:k={k}" for k in shares[1:-1]]


def _difference(policy: Schedule, baseline: Schedule, confidence: float) -> PairedDifference:
    differences = {name: paired_difference(policy, baseline, name, confidence) for name in (UTILITY, ACCURACY, COST)}
    own, other = ([values[REGRET] or 0.0 for values in each.by_seed.values()] for each in (policy, baseline))
    return PairedDifference(
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
    differences = [
        float(own[ACCURACY] or 0) - share * float(one[ACCURACY] or 0) - (1 - share) * float(other[ACCURACY] or 0)
        for own, one, other in zip(policy.by_seed.values(), a.by_seed.values(), b.by_seed.values(), strict=True)
    ]
    return AtEqualCost(policy.label, among, (a.label, b.label), share, mean_interval(differences, confidence))


def _mean(schedule: Schedule, metric: str) -> float:
    mean = schedule.means[metric]
    assert mean is not None
    return mean.estimate


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values))
