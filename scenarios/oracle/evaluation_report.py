"""An evaluation on schedule tables: written as JSON, CSV and figure, and shown as tables."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from agent.policies.file import POLICY_FILE
from agent.storage.record import RunDirectory
from scenarios.analysis.comparison import comparison_json, comparison_rows
from scenarios.analysis.csv_table import csv_table, interval_columns
from scenarios.analysis.formats import estimate_of, gflop, percent, plus_minus, spread
from scenarios.analysis.report import Column, Report, Table, numbers
from scenarios.config.settings import EvaluateConfig
from scenarios.config.specs import FILE
from scenarios.figures.pareto import pareto_figure
from scenarios.oracle.regret import Evaluated, static_schedules
from scenarios.oracle.tables import ACCURACY, COST
from scenarios.running.interval_notes import notes_on_intervals
from scenarios.running.provenance import notes_on_tuning
from scenarios.running.results import write_results

_COLUMNS = (
    ("learned", "cost", "accuracy", "utility", "regret", "over", "equal", "rivals"),
    ("learned", "cost", "accuracy", "utility", "regret", "over", "equal"),
    ("cost", "accuracy", "utility", "regret", "over"),
    ("cost", "utility", "over"),
)
"""The columns for each width of the window, the widest first."""


def report(evaluated: Evaluated, config: EvaluateConfig, path: Path) -> Report:
    """The report of an evaluation that was written to a folder."""
    figure = path / "evaluation.png"
    tables = [path / "evaluation.csv", path / "evaluation.json"]
    return Report(
        json.loads(tables[1].read_text(encoding="utf-8")),
        [[_table(evaluated, config.trees, columns) for columns in _COLUMNS], _verdict(evaluated)],
        notes_of(evaluated),
        facts=[("figure", [figure]), ("table", tables), ("every pair", [path / "differences.csv"])],
        has_trajectories=False,
    )


def short_labels(labels: Sequence[str]) -> dict[str, str]:
    """A short form of each label: a policy file is named by the folder of its run, or by its own name.

    A label stays whole if its short form is not unique.
    """
    short = {label: _short(label) for label in labels}
    taken = list(short.values())
    return {label: each if taken.count(each) == 1 else label for label, each in short.items()}


def _short(label: str) -> str:
    if not label.startswith(f"{FILE}:"):
        return label
    path = Path(label.removeprefix(f"{FILE}:"))
    named = path.parent.name if path.name == POLICY_FILE and path.parent.name else path.name
    short = f"{FILE}:…/{named}"
    return short if len(short) < len(label) else label


def shown(evaluated: Evaluated) -> list[str]:
    """The labels to show: all but most of the static schedules."""
    always = {evaluated.best_static, "static:k=0", "static:k=100"}
    always |= {difference.policy for difference in evaluated.differences}
    hidden = set(map(str, static_schedules(evaluated.n_chunks))) - always
    return [each.label for each in evaluated.comparison.schedules if each.label not in hidden]


def write_evaluation(evaluated: Evaluated, directory: RunDirectory) -> None:
    """Write evaluation.json, .csv and .png, the figure for TensorBoard, and every pair in differences.csv."""
    pricing, comparison = evaluated.pricing, evaluated.comparison
    content = {
        "pricing": pricing.as_json(),
        "n_chunks": evaluated.n_chunks,
        "n_paths": evaluated.n_paths,
        "left_out": list(evaluated.left_out),
        "best_static": evaluated.best_static,
        "best_fixed_schedule": evaluated.fixed,
        "differences": [asdict(difference) for difference in evaluated.differences],
        "at_equal_cost": [asdict(each) for each in evaluated.at_equal_cost],
        "notes": notes_of(evaluated),
        **comparison_json(comparison),
    }
    labels = short_labels(shown(evaluated))
    drawn = tuple(replace(each, label=labels[each.label]) for each in comparison.schedules if each.label in labels)
    figure = pareto_figure(
        replace(comparison, schedules=drawn),
        cost=COST,
        accuracy=ACCURACY,
        unit=pricing.model.unit,
        title=f"policies on held-out trees of {evaluated.n_chunks} chunks, {pricing.tariff} tariff",
        cost_weight=pricing.cost_weight,
    )
    directory.write("differences.csv", _differences_csv(evaluated))
    with directory.tensorboard() as board:
        write_results(directory, board, "evaluation", content, comparison_rows(comparison), figure)


def notes_of(evaluated: Evaluated) -> list[str]:
    """Notes about what the trees were tuned on and about the intervals."""
    n = len({difference.policy for difference in evaluated.differences})
    tuned = notes_on_tuning(evaluated.settings)
    return [*tuned, *notes_on_intervals(evaluated.settings, n_together=n, of="policies")]


def _differences_csv(evaluated: Evaluated) -> str:
    return csv_table(
        [
            {
                "policy": difference.policy,
                "baseline": difference.baseline,
                **interval_columns("utility", difference.utility),
                **interval_columns("accuracy", difference.accuracy),
                **interval_columns("cost", difference.cost),
                **interval_columns("regret_ratio", difference.regret_ratio),
            }
            for difference in evaluated.differences
        ]
    )


def _table(evaluated: Evaluated, trees: Path, columns: Sequence[str]) -> Table:
    pricing, comparison, best = evaluated.pricing, evaluated.comparison, evaluated.best_static
    unit = pricing.model.unit
    left_out = f"; left out, as trained on: {_listed(evaluated.left_out)}" if evaluated.left_out else ""
    paths = f" ({evaluated.n_paths} paths a tree)" if evaluated.n_paths > 1 else ""
    seeds = f"seeds {_listed(comparison.seeds)}{left_out}"
    headings = {"learned": "learned\n%", "cost": f"cost\n{unit}", "over": f"over\n{best}"}
    headings |= {"equal": "at equal\ncost", "rivals": "among\nall"}
    ahead = {
        difference.policy: difference.utility for difference in evaluated.differences if difference.baseline == best
    }
    equal = {(each.policy, each.among): each.difference for each in evaluated.at_equal_cost}
    labels = short_labels(shown(evaluated))
    listed = [schedule for schedule in comparison.schedules if schedule.label in labels]
    rows = []
    for schedule in sorted(listed, key=lambda each: -estimate_of(each.means["utility"])):
        label = labels[schedule.label] + (f"\n({evaluated.fixed})" if schedule.label == "best fixed schedule" else "")
        cells = {
            "learned": percent(estimate_of(schedule.means["learned_fraction"])),
            "cost": gflop(estimate_of(schedule.means["total_cost"])),
            "accuracy": plus_minus(schedule.means["final_accuracy"]),
            "utility": plus_minus(schedule.means["utility"]),
            "regret": plus_minus(schedule.means["regret"]),
            "over": spread(ahead.get(schedule.label)),
            "equal": spread(equal.get((schedule.label, "statics"))),
            "rivals": spread(equal.get((schedule.label, "statics and heuristics"))),
        }
        rows.append((label, *(cells[column] for column in columns)))
    return Table(
        (Column("policy", is_text=True, folds=True), *numbers(*(headings.get(each, each) for each in columns))),
        tuple(rows),
        f"{trees}: {evaluated.n_chunks} chunks, {pricing.tariff} tariff{paths}, {seeds}",
        _caption(evaluated, columns),
    )


def _caption(evaluated: Evaluated, columns: Sequence[str]) -> str:
    pricing, comparison, best = evaluated.pricing, evaluated.comparison, evaluated.best_static
    seeds = f"{len(comparison.seeds)} seed{'s' * (len(comparison.seeds) > 1)}"
    caption = [
        f"means ± half of {100 * comparison.confidence:g}% t intervals over {seeds}, in points",
        f"utility = accuracy - {pricing.cost_weight:g} × cost in {pricing.model.unit}",
    ]
    if "regret" in columns:
        caption.append("regret: to the schedule that is best on the same images, luck included")
    caption.append(f"over {best}: utility, paired by seed; intervals are not corrected for the number of policies")
    if "equal" in columns:
        caption.append(
            "at equal cost: accuracy over the best random mix of two static schedules of that mean cost, paired"
        )
    if "rivals" in columns:
        caption.append("among all: the same with a mix of any two static schedules or heuristics")
    if len(columns) < len(_COLUMNS[0]):
        caption.append("more columns: in a wider window")
    return "; ".join(caption)


def _verdict(evaluated: Evaluated) -> str:
    labels = short_labels([schedule.label for schedule in evaluated.comparison.schedules])
    over = [difference for difference in evaluated.differences if difference.baseline == evaluated.best_static]
    n = len(evaluated.comparison.seeds)
    sure = [difference for difference in over if difference.utility.low is not None and difference.utility.low > 0]
    if not sure:
        return (
            f"no policy is ahead of {evaluated.best_static}, the best static schedule, by an interval that excludes "
            "zero: adapting gains nothing here, or these policies do not find the gain, or "
            f"{n} seed{'s are' if n > 1 else ' is'} too few to tell"
        )
    best = max(sure, key=lambda difference: difference.utility.estimate)
    ratio = best.regret_ratio
    of_regret = (
        ""
        if ratio.estimate is None
        else f", with {percent(ratio.estimate)} [{percent(ratio.low)}, {percent(ratio.high)}] % of its regret"
    )
    return (
        f"ahead of {evaluated.best_static}, the best static schedule, by an interval that excludes zero: "
        f"{', '.join(labels[difference.policy] for difference in sure)}; the furthest is {labels[best.policy]}, by "
        f"{spread(best.utility)} points{of_regret}, at {gflop(abs(best.cost.estimate))} {evaluated.pricing.model.unit} "
        f"{'more' if best.cost.estimate > 0 else 'less'} cost; intervals are not corrected for this choice among "
        f"{len(over)}"
    )


def _listed(seeds: tuple[int, ...]) -> str:
    if len(seeds) > 2 and seeds == tuple(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))
