"""Comparison of schedules: means over seeds, the Pareto front of accuracy against cost, the best at each budget."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from agent.errors import InvalidSetting
from scenarios.analysis.csv_table import interval_columns
from scenarios.analysis.statistics import Interval, mean_interval, paired_differences


@dataclass(frozen=True)
class ScheduleLifetimes:
    """The lifetimes of one schedule.

    Attributes:
        label: its name, such as `static:k=20`.
        by_seed: for each seed its metrics by name; None if a metric is undefined, never NaN or infinite.
    """

    label: str
    by_seed: dict[int, dict[str, float | None]]


@dataclass(frozen=True)
class Schedule:
    """One schedule of a comparison.

    Attributes:
        label: its name, unique in the comparison.
        by_seed: for each seed, in ascending order, its metrics by name.
        means: for each metric the mean with its t interval over the seeds for which it is defined; None if there are no
            such seeds.
        counts: for each metric the number of these seeds.
    """

    label: str
    by_seed: dict[int, dict[str, float | None]]
    means: dict[str, Interval | None]
    counts: dict[str, int]


@dataclass(frozen=True)
class Comparison:
    """Schedules with the same seeds and the same metrics.

    Attributes:
        confidence: level of every interval, in (0, 1).
        seeds: in ascending order, the same for every schedule.
        metrics: their names, in the order of the first lifetime.
        schedules: in the order given to `compare`.
    """

    confidence: float
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    schedules: tuple[Schedule, ...]


@dataclass(frozen=True)
class Best:
    """The best schedule within a budget.

    Attributes:
        budget: a mean cost, in the unit of the cost metric.
        label: the schedule of highest mean accuracy within the budget; the cheapest one if several are equal.
        accuracy: its mean accuracy with the t interval.
        runner_up: the second best within the budget; None if there is none.
        difference: accuracy of the best minus that of the runner-up, paired by seed, with the t interval; None without
            a runner-up. The interval is not corrected for the fact that the same seeds selected the two schedules.
    """

    budget: float
    label: str
    accuracy: Interval
    runner_up: str | None
    difference: Interval | None


def compare(lifetimes: Sequence[ScheduleLifetimes], confidence: float = 0.95) -> Comparison:
    """Compute the means over seeds with their t intervals (`mean_interval`) for every schedule and metric.

    Args:
        lifetimes: the schedules, all with the same seeds and metrics.
        confidence: level of the intervals, in (0, 1).

    Raises:
        InvalidSetting: no schedules, no seeds, a label twice, seeds or metrics that differ from those of the first
            schedule, or a confidence outside (0, 1).
        ValueError: a metric that is NaN or infinite.
    """
    if not lifetimes:
        raise InvalidSetting("expected at least one schedule, got none")
    labels = [each.label for each in lifetimes]
    for label in labels:
        if labels.count(label) > 1:
            raise InvalidSetting(f"expected each schedule once, got {label} {labels.count(label)} times")
    seeds = sorted(lifetimes[0].by_seed)
    if not seeds:
        raise InvalidSetting(f"expected at least one seed, got none for {lifetimes[0].label}")
    metrics = list(lifetimes[0].by_seed[seeds[0]])
    return Comparison(
        confidence=confidence,
        seeds=tuple(seeds),
        metrics=tuple(metrics),
        schedules=tuple(_schedule(each, lifetimes[0].label, seeds, metrics, confidence) for each in lifetimes),
    )


def pareto_front(comparison: Comparison, cost: str, accuracy: str) -> list[Schedule]:
    """The Pareto front: the schedules that no other schedule dominates in mean cost and mean accuracy.

    A schedule dominates another if it costs no more, is no less accurate, and is better in one of the two. Schedules
    with equal means are all on the front or all off it. Schedules whose cost or accuracy is undefined for any seed are
    left out.

    Args:
        comparison: the schedules.
        cost: name of the metric to minimize.
        accuracy: name of the metric to maximize.

    Returns:
        In ascending order of cost, equal schedules in the order given; empty if no schedule has defined metrics.

    Raises:
        InvalidSetting: an unknown metric.
    """
    best, on_pareto_front = (math.inf, -math.inf), []
    for paid, reached, schedule in _by_cost(comparison, cost, accuracy):
        if reached > best[1] or (paid, reached) == best:
            best = (paid, reached)
            on_pareto_front.append(schedule)
    return on_pareto_front


def best_at_each_budget(comparison: Comparison, cost: str, accuracy: str) -> list[Best]:
    """The best schedule and the runner-up, with the mean cost of each schedule on the Pareto front as a budget.

    A schedule is within the budget if its mean cost is at most the budget. Among equal accuracies the cheaper schedule
    is better, then the one given first.

    Args:
        comparison: the schedules.
        cost: name of the metric that the budget limits.
        accuracy: name of the metric to maximize.

    Returns:
        One for each different budget, in ascending order.

    Raises:
        InvalidSetting: an unknown metric.
    """
    candidates = _by_cost(comparison, cost, accuracy)
    costs = {schedule.label: paid for paid, _, schedule in candidates}
    found = []
    for budget in dict.fromkeys(costs[schedule.label] for schedule in pareto_front(comparison, cost, accuracy)):
        affordable = [(reached, schedule) for paid, reached, schedule in candidates if paid <= budget]
        # The sort is stable: schedules of equal accuracy stay in order of cost, then in the order given.
        ranked = [schedule for _, schedule in sorted(affordable, key=lambda each: -each[0])]
        best, runner_up = ranked[0], ranked[1] if len(ranked) > 1 else None
        mean = best.means[accuracy]
        assert mean is not None
        found.append(
            Best(
                budget=budget,
                label=best.label,
                accuracy=mean,
                runner_up=runner_up.label if runner_up else None,
                difference=paired_difference(best, runner_up, accuracy, comparison.confidence) if runner_up else None,
            )
        )
    return found


def comparison_rows(comparison: Comparison) -> list[dict[str, object]]:
    """The means as rows of a table (`csv_table`), one for each schedule.

    Columns: schedule, seeds (their number), then for each metric its mean under its name, the ends of the interval
    under `<metric>_low` and `<metric>_high`, and the number of seeds for which it is defined under `<metric>_seeds`;
    empty if undefined.
    """
    rows = []
    for schedule in comparison.schedules:
        row: dict[str, object] = {"schedule": schedule.label, "seeds": len(comparison.seeds)}
        for metric in comparison.metrics:
            row |= interval_columns(metric, schedule.means[metric]) | {f"{metric}_seeds": schedule.counts[metric]}
        rows.append(row)
    return rows


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain JSON values, with the values of every seed; None for undefined metrics.

    Keys: confidence, seeds, and schedules, a list of {label, means: {metric: {estimate, low, high, seeds} or None},
    by_seed: {seed as a string: {metric: number or None}}}. The seeds of a mean are the number of seeds for which the
    metric is defined.
    """
    return {
        "confidence": comparison.confidence,
        "seeds": list(comparison.seeds),
        "schedules": [
            {
                "label": schedule.label,
                "means": {
                    metric: mean and asdict(mean) | {"seeds": schedule.counts[metric]}
                    for metric, mean in schedule.means.items()
                },
                "by_seed": {str(seed): dict(values) for seed, values in schedule.by_seed.items()},
            }
            for schedule in comparison.schedules
        ],
    }


def _schedule(
    lifetimes: ScheduleLifetimes, first: str, seeds: list[int], metrics: list[str], confidence: float
) -> Schedule:
    if sorted(lifetimes.by_seed) != seeds:
        raise InvalidSetting(
            f"expected the same seeds for every schedule, got {_listed(seeds)} for {first} and "
            f"{_listed(sorted(lifetimes.by_seed))} for {lifetimes.label}; run the missing ones"
        )
    for seed in seeds:
        values = lifetimes.by_seed[seed]
        if set(values) != set(metrics):
            raise InvalidSetting(
                f"expected the same metrics for every schedule and seed, got {_listed(sorted(set(values)))} for "
                f"{lifetimes.label}, seed {seed}, and {_listed(sorted(metrics))} for {first}"
            )
        for metric, value in values.items():
            if value is not None and not math.isfinite(value):
                raise ValueError(
                    f"expected a finite number or None in {metric} of {lifetimes.label}, seed {seed}, got {value:g}"
                )
    by_seed = {seed: {metric: lifetimes.by_seed[seed][metric] for metric in metrics} for seed in seeds}
    samples = {metric: [value for seed in seeds if (value := by_seed[seed][metric]) is not None] for metric in metrics}
    means = {metric: mean_interval(sample, confidence) if sample else None for metric, sample in samples.items()}
    return Schedule(lifetimes.label, by_seed, means, {metric: len(sample) for metric, sample in samples.items()})


def _by_cost(comparison: Comparison, cost: str, accuracy: str) -> list[tuple[float, float, Schedule]]:
    """Mean cost, mean accuracy and schedule, if both means are defined; in order of cost, then of falling accuracy."""
    for metric in (cost, accuracy):
        if metric not in comparison.metrics:
            raise InvalidSetting(f"expected one of the metrics {_listed(comparison.metrics)}, got {metric}")
    n = len(comparison.seeds)
    whole = [each for each in comparison.schedules if each.counts[cost] == each.counts[accuracy] == n]
    means = [(schedule.means[cost], schedule.means[accuracy], schedule) for schedule in whole]
    defined = [(paid.estimate, reached.estimate, schedule) for paid, reached, schedule in means if paid and reached]
    return sorted(defined, key=lambda each: (each[0], -each[1]))


def paired_difference(best: Schedule, other: Schedule, metric: str, confidence: float) -> Interval:
    """The mean of the best schedule's metric minus the other's, paired by seed, with its t interval.

    The schedules are of one comparison, and the metric is defined for every seed.
    """
    return mean_interval(paired_values(best, other, metric), confidence)


def paired_values(best: Schedule, other: Schedule, metric: str) -> Float[np.ndarray, " seeds"]:
    """The best schedule's metric minus the other's, by seed; as `paired_difference`."""
    a, b = (np.array([values[metric] for values in each.by_seed.values()], dtype=float) for each in (best, other))
    return paired_differences(a, b)


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values)) or "none"
