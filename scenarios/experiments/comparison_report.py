"""A finished comparison: made from lifetimes, written as JSON, CSV and figure, and shown as tables."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from agent.accounting.utility import utility
from agent.storage.record import RunDirectory
from scenarios.analysis.comparison import (
    Best,
    Comparison,
    Schedule,
    ScheduleLifetimes,
    best_at_each_budget,
    compare,
    comparison_json,
    comparison_rows,
    paired_values,
    pareto_front,
)
from scenarios.analysis.formats import estimate_of, gflop, percent, plus_minus, spread
from scenarios.analysis.report import Column, Report, Table, numbers
from scenarios.analysis.rescues import Rescues
from scenarios.analysis.sample_size import seeds_for_mean
from scenarios.config.settings import CompareConfig
from scenarios.experiments.rescues import write_rescues
from scenarios.experiments.wanted_width import (
    Folders,
    WantedWidth,
    cost_of_seed,
    wanted_width_json,
    wanted_width_parts,
)
from scenarios.figures.pareto import pareto_figure
from scenarios.running.interval_notes import notes_on_probes
from scenarios.running.lifetimes import sharing_a_learner
from scenarios.running.results import write_results
from scenarios.running.summary import MISSED, PROBE, REFUSED

COST, ACCURACY = "total_cost", "final_accuracy"


_COSTS = {
    **{account: f"{account}_gflop" for account in ("learn", "memorize", "answer", "rekey", "calibrate", "decide")},
    "total": "total_gflop",
    "without\ncalibrating": "total_gflop_without_calibration",
    "10,000\nqueries": "answer_10000_gflop",
}
"""The metric of each column, by heading."""


@dataclass(frozen=True)
class Compared:
    """A comparison with its title and its results."""

    title: str
    unit: str
    """The unit of costs."""
    comparison: Comparison
    best: tuple[Best, ...]
    cost_weight: float | None = None
    """The weight in the metric `utility`; None without that metric."""
    notes: tuple[str, ...] = ()
    """Notes for a careful reader."""
    want_width: float | None = None
    """The width of intervals, in points, for which the report says how many seeds it needs; None to say nothing."""
    folders: Folders = field(default_factory=dict)
    """Where the lifetimes are."""
    rescues: Rescues | None = None
    """What the memories rescue; None if predictions were not kept."""


def make_comparison(
    schedules: Sequence[ScheduleLifetimes],
    config: CompareConfig,
    notes: list[str],
    folders: Mapping[str, Mapping[int, Path]],
) -> Compared:
    """Compare schedules with the confidence and the cost weight of the settings, and add to the notes.

    Args:
        schedules: the lifetimes of each method.
        config: the settings.
        notes: for a careful reader.
        folders: of the lifetimes, by label and seed.
    """
    if config.cost_weight is not None:
        schedules = [_with_utility(schedule, config.cost_weight) for schedule in schedules]
    comparison = compare(schedules, config.confidence)
    waiting = [method for method in config.methods if not method.calibrate_every and method.baseline is None]
    if config.prequential and waiting and config.calibration != "none":
        notes = [*notes, "w is 1 until the end: the agent's prequential accuracy is the learner's alone"]
    notes = [*notes, *notes_on_probes(comparison.metrics)]
    best = best_at_each_budget(comparison, COST, ACCURACY)
    unit = config.cost.make().unit
    groups = sharing_a_learner(config.methods)
    by_seed = {
        seed: [[folders[method.label][seed] for method in group] for group in groups] for seed in comparison.seeds
    }
    return Compared(
        config.title, unit, comparison, tuple(best), config.cost_weight, tuple(notes), config.want_width, by_seed
    )


def _with_utility(schedule: ScheduleLifetimes, cost_weight: float) -> ScheduleLifetimes:
    by_seed = {}
    for seed, metrics in schedule.by_seed.items():
        accuracy, spent = metrics[ACCURACY], metrics[COST]
        worth = None if accuracy is None or spent is None else utility(accuracy, spent, cost_weight)
        by_seed[seed] = metrics | {"utility": worth}
    return ScheduleLifetimes(schedule.label, by_seed)


def write_comparison(compared: Compared, directory: RunDirectory) -> None:
    """Write comparison.json, .csv and .png, and rescues if they are known, and the figures to TensorBoard."""
    comparison = compared.comparison
    content = {
        "title": compared.title,
        "unit": compared.unit,
        "cost_weight": compared.cost_weight,
        **comparison_json(comparison),
        "front": [schedule.label for schedule in pareto_front(comparison, COST, ACCURACY)],
        "best": [asdict(best) for best in compared.best],
        "notes": list(compared.notes),
    }
    figure = pareto_figure(comparison, cost=COST, accuracy=ACCURACY, unit=compared.unit, title=compared.title)
    with directory.tensorboard() as board:
        write_results(directory, board, "comparison", content, comparison_rows(comparison), figure)
        if compared.rescues:
            write_rescues(compared.rescues, directory, board)


def report(compared: Compared, path: Path, *, more_seeds: str) -> Report:
    """The report of a comparison that was written to a folder.

    Args:
        compared: the comparison.
        path: the folder.
        more_seeds: how further seeds are lived, as a sentence; `{seeds}` stands for their number in all, `{more}` for
            that of the further ones and `{first}` for the first of those.
    """
    figure = path / "comparison.png"
    content = json.loads((path / "comparison.json").read_text(encoding="utf-8"))
    parts: list[str | Table | list[Table]] = [[_table(compared, costs=True), _table(compared, costs=False)]]
    parts.append(_best(compared))
    if compared.want_width is not None:
        wanted = _wanted_width(compared, compared.want_width)
        seeds, confidence = compared.comparison.seeds, compared.comparison.confidence
        content |= {"wanted_width": wanted_width_json(wanted)}
        parts += wanted_width_parts(
            wanted,
            of="final accuracy",
            intervals=f"{100 * confidence:g}% t intervals, differences paired by seed; expected: if the deviation "
            "between seeds stays as it is",
            how=more_seeds.format(seeds=len(seeds) + (wanted.more or 0), more=wanted.more, first=seeds[-1] + 1),
        )
    return Report(
        content,
        parts,
        compared.notes,
        facts=[("figure", [figure]), ("table", [path / "comparison.csv", path / "comparison.json"])],
    )


def _table(compared: Compared, *, costs: bool) -> Table:
    """The schedules, with work by account only if `costs`."""
    comparison, unit = compared.comparison, compared.unit
    confidence = f"{100 * comparison.confidence:g}% t intervals over seeds"
    n = len(comparison.seeds)
    of_costs = (
        "costs in GFLOP, means; 10,000 queries: the work to answer that many at the end"
        if costs
        else "costs by account: in a wider window and in comparison.csv"
    )
    if REFUSED in comparison.metrics:
        of_costs += "; refused: chunks on which the budget did not last for the policy's action, %"
    if MISSED in comparison.metrics:
        of_costs += "; missed: chunks that arrived while an action still took the agent's time, %"
    weight = compared.cost_weight
    worth = "" if weight is None else f"; utility in points: final accuracy - {weight:g} × total cost in {unit}"
    further = {"refused": REFUSED, "missed": MISSED}
    decided = {"learned": "learned_fraction"} | {
        name: metric for name, metric in further.items() if metric in comparison.metrics
    }
    shares = {"final": "final_accuracy", "prequential": "prequential_accuracy", "anytime": "average_anytime_accuracy"}
    if any(schedule.means["forgetting"] for schedule in comparison.schedules):
        shares["forgetting"] = "forgetting"
    if PROBE in comparison.metrics:
        shares["probe"] = PROBE
        of_costs += "; probe: a linear classifier of the features, trained on the whole stream"
    if "utility" in comparison.metrics:
        shares["utility"] = "utility"
    amounts = dict(_COSTS) if costs else {}
    priced = unit != "GFLOP"
    if priced:
        amounts[f"storage\n{unit}"] = "storage_cost"
    if priced or not costs:
        amounts[f"total\n{unit}"] = "total_cost"
    rows = []
    for schedule in sorted(comparison.schedules, key=lambda each: estimate_of(each.means["total_cost"])):
        row = [schedule.label, *(percent(estimate_of(schedule.means[metric])) for metric in decided.values())]
        row += [_mean(schedule, metric, n) for metric in shares.values()]
        row += [gflop(estimate_of(schedule.means[metric])) for metric in amounts.values()]
        rows.append(tuple(row))
    return Table(
        (Column("schedule", is_text=True, folds=not costs), *numbers(*decided, *shares, *amounts)),
        tuple(rows),
        f"{compared.title}, {n} seed{'s' * (n > 1)}",
        f"accuracies in %, means ± half of {confidence}; {of_costs}{worth}",
    )


def _mean(schedule: Schedule, metric: str, n_seeds: int) -> str:
    """The mean of a metric, with the number of its seeds if some seeds lack it."""
    count = schedule.counts[metric]
    return plus_minus(schedule.means[metric]) + (f" ({count} of {n_seeds})" if 0 < count < n_seeds else "")


def _wanted_width(compared: Compared, width: float) -> WantedWidth:
    """The seeds for each method's final accuracy, and for the differences that `_best` shows, to a width in points."""
    comparison = compared.comparison
    by_label = {schedule.label: schedule for schedule in comparison.schedules}
    values = {
        label: [value for metrics in schedule.by_seed.values() if (value := metrics[ACCURACY]) is not None]
        for label, schedule in by_label.items()
    }
    for best in compared.best:
        if best.runner_up:
            paired = paired_values(by_label[best.label], by_label[best.runner_up], ACCURACY)
            values[f"{best.label} ahead of {best.runner_up}"] = paired.tolist()
    needs = {
        label: seeds_for_mean(of_label, width / 100, comparison.confidence)
        for label, of_label in values.items()
        if of_label
    }
    return WantedWidth(width, "points", needs, cost_of_seed(compared.folders), compared.unit)


def _best(compared: Compared) -> Table:
    columns = (
        Column(f"budget, {compared.unit}"),
        Column("schedule", is_text=True, folds=True),
        Column("ahead of", is_text=True, folds=True),
        Column("by (paired, points)", is_text=True),
    )
    return Table(
        columns,
        tuple(
            (gflop(best.budget), best.label, best.runner_up or "-", spread(best.difference)) for best in compared.best
        ),
        "best final accuracy at each budget",
        "the same seeds choose the two schedules and give the interval; no interval is corrected for that, nor for the "
        "number of budgets",
    )
