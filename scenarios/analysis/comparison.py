"""Schedules side by side: means over seeds, the front of accuracy against cost, and the best at each budget."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from agent.errors import InvalidSetting
from scenarios.analysis.statistics import ROUNDING, Interval, mean_interval


@dataclass(frozen=True)
class Lived:
    """The lifetimes of one schedule.

    Attributes:
        label: its name, such as `static:k=20`.
        by_seed: for each seed its metrics by name; None where a metric is undefined, never NaN or infinite.
    """

    label: str
    by_seed: dict[int, dict[str, float | None]]


@dataclass(frozen=True)
class Schedule:
    """One schedule of a comparison.

    Attributes:
        label: its name, unique in the comparison.
        by_seed: for each seed, in ascending order, its metrics by name.
        means: for each metric the mean with its t interval over the seeds for which it is defined; None where that is
            none.
        counts: for each metric the number of those seeds.
    """

    label: str
    by_seed: dict[int, dict[str, float | None]]
    means: dict[str, Interval | None]
    counts: dict[str, int]


@dataclass(frozen=True)
class Comparison:
    """Schedules that lived the same seeds, with the same metrics.

    Attributes:
        confidence: level of every interval, in (0, 1).
        seeds: in ascending order, the same for every schedule.
        metrics: their names, in the order in which the first lifetime gave them.
        schedules: in the order given to `compare`.
    """

    confidence: float
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    schedules: tuple[Schedule, ...]


@dataclass(frozen=True)
class Best:
    """The best schedule that a budget affords.

    Attributes:
        budget: a mean cost, in the unit of the cost metric.
        label: the affordable schedule of highest mean accuracy, the cheapest one where several share it.
        accuracy: its mean accuracy with the t interval.
        runner_up: the next best among the affordable; None where nothing else is affordable.
        difference: accuracy of the best minus that of the runner-up, paired by seed, with the t interval; the same
            seeds picked the two, for which the interval is not corrected. None without a runner-up.
    """

    budget: float
    label: str
    accuracy: Interval
    runner_up: str | None
    difference: Interval | None


def compare(lived: Sequence[Lived], confidence: float = 0.95) -> Comparison:
    """Means over seeds with their t intervals (`mean_interval`) for every schedule and metric.

    Args:
        lived: the schedules, all with the same seeds and metrics.
        confidence: level of the intervals, in (0, 1).

    Raises:
        InvalidSetting: no schedules, no seeds, a label twice, other seeds or metrics than those of the first schedule,
            or a confidence outside (0, 1).
        ValueError: a metric that is NaN or infinite.
    """
    if not lived:
        raise InvalidSetting("expected at least one schedule, got none")
    labels = [each.label for each in lived]
    for label in labels:
        if labels.count(label) > 1:
            raise InvalidSetting(f"expected each schedule once, got {label} {labels.count(label)} times")
    seeds = sorted(lived[0].by_seed)
    if not seeds:
        raise InvalidSetting(f"expected at least one seed, got none for {lived[0].label}")
    metrics = list(lived[0].by_seed[seeds[0]])
    return Comparison(
        confidence=confidence,
        seeds=tuple(seeds),
        metrics=tuple(metrics),
        schedules=tuple(_schedule(each, lived[0].label, seeds, metrics, confidence) for each in lived),
    )


def pareto_front(comparison: Comparison, cost: str, accuracy: str) -> list[Schedule]:
    """The Pareto front: schedules that no other beats in mean accuracy at the same or a lower mean cost.

    One schedule is beaten by another that is no dearer and no less accurate, and better in one of the two; of equals
    all stay. Schedules with a cost or accuracy that is undefined for any seed are left out.

    Args:
        comparison: the schedules.
        cost: name of the metric to pay little of.
        accuracy: name of the metric to have much of.

    Returns:
        The schedules on the front in ascending order of cost, equals in the order given; empty where none is defined.

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
    """For the mean cost of each schedule on the front: the best affordable schedule, and its lead on the next.

    Affordable is a schedule whose mean cost is at most the budget. Of equal accuracies the cheaper counts as better,
    then the one given first.

    Args:
        comparison: the schedules.
        cost: name of the metric that the budget limits.
        accuracy: name of the metric to have much of.

    Returns:
        One for each different budget, ascending.

    Raises:
        InvalidSetting: an unknown metric.
    """
    candidates = _by_cost(comparison, cost, accuracy)
    costs = {schedule.label: paid for paid, _, schedule in candidates}
    found = []
    for budget in dict.fromkeys(costs[schedule.label] for schedule in pareto_front(comparison, cost, accuracy)):
        affordable = [(paid, -reached, schedule) for paid, reached, schedule in candidates if paid <= budget]
        # A stable sort of what is sorted by cost: equals stay in order of cost, then as given.
        ranked = [schedule for _, _, schedule in sorted(affordable, key=lambda each: each[1])]
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


def comparison_csv(comparison: Comparison) -> str:
    """A table of the means in CSV (RFC 4180, lines ending in \\n), one line a schedule, floats in full precision.

    Columns: schedule, seeds (their number), then for each metric its mean under its name, the ends of the interval
    under `<metric>_low` and `<metric>_high`, and under `<metric>_seeds` how many seeds it is defined for; empty where
    undefined.
    """
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    ends = ("", "_low", "_high", "_seeds")
    columns = [f"{metric}{end}" for metric in comparison.metrics for end in ends]
    writer.writerow(["schedule", "seeds", *columns])
    for schedule in comparison.schedules:
        cells: list[float | None] = []
        for metric in comparison.metrics:
            mean = schedule.means[metric]
            cells += [None] * 3 if mean is None else [mean.estimate, mean.low, mean.high]
            cells.append(schedule.counts[metric])
        writer.writerow([schedule.label, len(comparison.seeds), *cells])
    return table.getvalue()


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain JSON values, None for what is undefined, with the values of every seed.

    Keys: confidence, seeds, and schedules, a list of {label, means: {metric: {estimate, low, high, seeds} or None},
    by_seed: {seed as a string: {metric: number or None}}}, where seeds counts those for which a metric is defined.
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


def _schedule(lived: Lived, first: str, seeds: list[int], metrics: list[str], confidence: float) -> Schedule:
    if sorted(lived.by_seed) != seeds:
        raise InvalidSetting(
            f"expected the same seeds for every schedule, got {_listed(seeds)} for {first} and "
            f"{_listed(sorted(lived.by_seed))} for {lived.label}; live the missing ones"
        )
    for seed in seeds:
        values = lived.by_seed[seed]
        if set(values) != set(metrics):
            raise InvalidSetting(
                f"expected the same metrics for every schedule and seed, got {_listed(sorted(set(values)))} for "
                f"{lived.label}, seed {seed}, and {_listed(sorted(metrics))} for {first}"
            )
        for metric, value in values.items():
            if value is not None and not math.isfinite(value):
                raise ValueError(
                    f"expected a finite number or None in {metric} of {lived.label}, seed {seed}, got {value:g}"
                )
    by_seed = {seed: {metric: lived.by_seed[seed][metric] for metric in metrics} for seed in seeds}
    samples = {metric: [value for seed in seeds if (value := by_seed[seed][metric]) is not None] for metric in metrics}
    means = {metric: mean_interval(sample, confidence) if sample else None for metric, sample in samples.items()}
    return Schedule(lived.label, by_seed, means, {metric: len(sample) for metric, sample in samples.items()})


def _by_cost(comparison: Comparison, cost: str, accuracy: str) -> list[tuple[float, float, Schedule]]:
    """Mean cost, mean accuracy and schedule where both are defined; the cheapest first, of these the most accurate."""
    for metric in (cost, accuracy):
        if metric not in comparison.metrics:
            raise InvalidSetting(f"expected one of the metrics {_listed(comparison.metrics)}, got {metric}")
    n = len(comparison.seeds)
    whole = [each for each in comparison.schedules if each.counts[cost] == each.counts[accuracy] == n]
    means = [(schedule.means[cost], schedule.means[accuracy], schedule) for schedule in whole]
    defined = [(paid.estimate, reached.estimate, schedule) for paid, reached, schedule in means if paid and reached]
    return sorted(defined, key=lambda each: (each[0], -each[1]))


def paired_difference(best: Schedule, other: Schedule, metric: str, confidence: float) -> Interval:
    """What one schedule has more of than another, seed by seed; for two of one comparison and a defined metric."""
    a, b = (np.array([values[metric] for values in each.by_seed.values()], dtype=float) for each in (best, other))
    difference = a - b
    return mean_interval(np.where(np.abs(difference) < ROUNDING, 0.0, difference), confidence)


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values)) or "none"
