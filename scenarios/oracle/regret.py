"""Policies on schedule tables: utility, regret to the oracle, and differences from static schedules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from agent.errors import InvalidSetting
from scenarios.analysis.comparison import Comparison, Schedule, ScheduleLifetimes, compare, paired_difference
from scenarios.analysis.statistics import Interval, Ratio, mean_interval, ratio_of_means
from scenarios.config.families import POLICY
from scenarios.config.members import Member
from scenarios.config.presets import validate
from scenarios.config.settings import TreeConfig
from scenarios.oracle.table import ScheduleTable
from scenarios.oracle.tables import ACCURACY, COST, REGRET, UTILITY, Pricing, TableSet, with_tariffs_drawn

Among = Literal["statics", "statics and heuristics"]


@dataclass(frozen=True)
class PairedDifference:
    """The difference between a policy and a baseline, policy minus baseline, paired by seed, with t intervals.

    Attributes:
        policy: label of the policy.
        baseline: label of the baseline.
        utility: difference in utility.
        accuracy: difference in accuracy, in [-1, 1].
        cost: difference in cost, in the unit of the cost model; below 0 the policy is cheaper.
        regret_ratio: mean regret of the policy divided by the mean regret of the baseline.
    """

    policy: str
    baseline: str
    utility: Interval
    accuracy: Interval
    cost: Interval
    regret_ratio: Ratio


@dataclass(frozen=True)
class AtEqualCost:
    """The accuracy of a policy compared with a random choice between two rivals at the same mean cost.

    Attributes:
        policy: label of the policy.
        among: whether the rivals are static schedules alone, or also heuristics.
        rivals: labels of the two rivals; None if no rival is as cheap as the policy.
        share: probability of the first rival, 0 to 1.
        difference: accuracy of the policy minus that of the random choice, paired by seed; None without rivals.
    """

    policy: str
    among: Among
    rivals: tuple[str, str] | None
    share: float
    difference: Interval | None


@dataclass(frozen=True)
class Evaluated:
    """The evaluation of policies on held-out trees.

    Attributes:
        comparison: every policy, the static schedules, the oracle and the best fixed schedule.
        pricing: tariff, cost model and cost weight behind the utilities.
        n_chunks: number of chunks of every tree.
        best_static: the static schedule of highest mean utility.
        fixed: the best fixed schedule, one letter for each chunk.
        differences: of every policy from every static schedule and every other policy.
        at_equal_cost: for every policy that is not static, first among static schedules alone, then also among
            heuristics.
        left_out: seeds of the trees that a policy was trained on.
        settings: settings of the trees; `pricing` replaces their prices.
        n_paths: number of tariff paths for each tree.
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
    n_paths: int = 1


def evaluate(
    tables: Sequence[ScheduleTable],
    policies: Sequence[Member],
    pricing: Pricing,
    *,
    trained_on: Mapping[str, frozenset[int]],
    n_draws: int = 1,
    confidence: float = 0.95,
) -> Evaluated:
    """Run policies and all static schedules on the trees that no policy was trained on.

    Args:
        tables: one for each seed.
        policies: those to evaluate.
        pricing: tariff, cost model and cost weight for the utilities.
        trained_on: by spec, the seeds of these trees that a policy was trained on.
        n_draws: number of tariff paths for each tree, if the tariff is random; a seed counts with their mean.
        confidence: level of all intervals, in (0, 1).

    Raises:
        InvalidSetting: an invalid policy or price, or policies were trained on all trees.
    """
    seen = frozenset[int]().union(*trained_on.values())
    held_out = _held_out(tables, seen)
    drawn = with_tariffs_drawn(held_out, pricing.tariff, n_draws)
    n_paths = len(drawn) // len(held_out)
    table_set = TableSet(drawn, pricing)
    statics = static_schedules(table_set.n_chunks)
    ran = {str(policy): policy for policy in (*policies, *statics)}
    names, asked, fixed_shares = list(ran), [str(policy) for policy in policies], [str(each) for each in statics]
    fixed, of_fixed = table_set.fixed()
    lifetimes = [*(table_set.run(policy) for policy in ran.values()), of_fixed, table_set.oracle()]
    comparison = compare([_mean_over_paths(each, n_paths) for each in lifetimes], confidence)
    of = {schedule.label: schedule for schedule in comparison.schedules}
    rivals: dict[Among, Sequence[str]] = {
        "statics": fixed_shares,
        "statics and heuristics": [spec for spec in names if spec not in trained_on],
    }
    return Evaluated(
        comparison,
        pricing,
        table_set.n_chunks,
        max(fixed_shares, key=lambda spec: _mean(of[spec], UTILITY)),
        fixed,
        differences=tuple(
            _difference(of[policy], of[baseline], confidence)
            for policy in asked
            for baseline in names
            if baseline != policy
        ),
        at_equal_cost=tuple(
            _at_equal_cost(of[policy], among, [of[spec] for spec in specs if spec != policy], confidence)
            for policy in asked
            if policy not in fixed_shares
            for among, specs in rivals.items()
        ),
        left_out=tuple(sorted(seen & {int(table.facts["seed"]) for table in tables})),
        settings=validate(TreeConfig, dict(tables[0].facts["settings"])),
        n_paths=n_paths,
    )


def _held_out(tables: Sequence[ScheduleTable], seen: frozenset[int]) -> list[ScheduleTable]:
    held_out = [table for table in tables if table.facts["seed"] not in seen]
    if not held_out:
        raise InvalidSetting(
            "expected trees of seeds that no policy was trained on, got only those of "
            f"{', '.join(map(str, sorted(seen)))}; grow more with `lifetime tree --first-seed`"
        )
    return held_out


def _mean_over_paths(lifetimes: ScheduleLifetimes, n_paths: int) -> ScheduleLifetimes:
    """Means over the tariff paths of each tree, adjacent in `by_seed`, under the seed of the first path."""
    items = list(lifetimes.by_seed.items())
    by_seed: dict[int, dict[str, float | None]] = {}
    for first in range(0, len(items), n_paths):
        seed, metrics = items[first]
        paths = [values for _, values in items[first : first + n_paths]]
        by_name = {name: [value for values in paths if (value := values[name]) is not None] for name in metrics}
        by_seed[seed] = {name: float(np.mean(found)) if found else None for name, found in by_name.items()}
    return ScheduleLifetimes(lifetimes.label, by_seed)


def static_schedules(n_chunks: int) -> list[Member]:
    """Every k%-learner of a stream, and every interleaved one."""
    shares = [float(f"{100 * i / n_chunks:g}") for i in range(n_chunks + 1)]
    named = [("static", share) for share in shares] + [("interleaved", share) for share in shares[1:-1]]
    return [Member(POLICY, name, {"k": share}) for name, share in named]


def _difference(policy: Schedule, baseline: Schedule, confidence: float) -> PairedDifference:
    ours, theirs = ([values[REGRET] or 0.0 for values in each.by_seed.values()] for each in (policy, baseline))
    return PairedDifference(
        policy.label,
        baseline.label,
        paired_difference(policy, baseline, UTILITY, confidence),
        paired_difference(policy, baseline, ACCURACY, confidence),
        paired_difference(policy, baseline, COST, confidence),
        ratio_of_means(ours, theirs, confidence, denominator_name="the baseline's regret"),
    )


def _at_equal_cost(policy: Schedule, among: Among, rivals: Sequence[Schedule], confidence: float) -> AtEqualCost:
    """Compare with the best random choice between two rivals whose mean cost is at most that of the policy.

    A random choice between two schedules has their weighted mean cost and accuracy. So the best choice is on the upper
    convex hull of mean accuracy over mean cost.
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
