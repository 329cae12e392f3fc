"""`lifetime compare`: policies over seeds, or finished runs, side by side."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from agent.errors import InvalidSetting
from scenarios.cli.experiment import Experiment, run_command
from scenarios.cli.identity import dataset_word, run_folder
from scenarios.cli.options import Options, check_name, experiment_command, settings_from
from scenarios.cli.show import (
    estimate_of,
    gflop,
    percent,
    plus_minus,
    print_json,
    print_notes,
    print_widest,
    results_console,
    results_table,
    spread,
    view_command,
)
from scenarios.config.presets import resolve
from scenarios.config.settings import CompareConfig
from scenarios.config.specs import file_name

if TYPE_CHECKING:
    from scenarios.analysis.comparison import Schedule
    from scenarios.experiments.compare import Compared


@experiment_command(CompareConfig)
def compare(
    options: Options,
    given: dict[str, Any],
    run: Annotated[list[Path] | None, typer.Argument(help="Folders of finished runs, instead of --policies.")] = None,
) -> None:
    """Compare lifetimes: those of finished runs, or of --policies over --seeds.

    Gives means and intervals over paired seeds, the Pareto front of accuracy against cost, and the best schedule at
    each budget. Policies of one seed run together and share the work that they have in common. The same command, given
    again, continues an interrupted comparison, and shows a finished one.
    """
    if run:
        _compare_runs(run, options, given)
    else:
        run_command(comparison(), settings_from(CompareConfig, options, given), options)


def comparison() -> Experiment[CompareConfig, "Compared"]:
    """The experiment: lifetimes under several policies and seeds."""
    from scenarios.experiments.compare import compare_policies, prepare, resolve_comparison

    return Experiment(
        "compare",
        CompareConfig,
        resolve_comparison,
        words=lambda settings: [dataset_word(settings.dataset), file_name(settings.scenario)],
        prepare=prepare,
        run=compare_policies,
        as_json=_as_json,
        show=lambda compared, _, path, runs: _show(compared, path, runs),
    )


def _compare_runs(found: list[Path], options: Options, given: dict[str, Any]) -> None:
    check_name(options.name)
    of_lifetimes = {
        "config": options.config,
        "data_dir": options.data_dir,
        "download": options.download or None,
        "preset": None if options.preset == "quick" else options.preset,
    }
    overrides = {name: value for name, value in {**given, **of_lifetimes}.items() if value is not None}
    if overrides.keys() - {"confidence", "cost_weight"}:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in overrides)
        raise InvalidSetting(
            f"expected no settings beside finished runs, which have their own, got {flags}; leave them out"
        )

    from agent.storage.record import open_run
    from scenarios.experiments.compare import write_comparison
    from scenarios.experiments.finished_runs import compare_runs, runs_digest

    settings = resolve(CompareConfig, "quick", overrides)
    compared = compare_runs(found, settings.confidence, settings.cost_weight)
    described = {
        "experiment": "compare-runs",
        "digest": runs_digest(found),
        "confidence": settings.confidence,
        "cost_weight": settings.cost_weight,
    }
    path = run_folder(options.runs / "compare", options.name, ["runs"], described)
    with open_run(path, described, anew=options.force) as directory:
        write_comparison(compared, directory)
    if options.as_json:
        print_json(_as_json(compared, path))
    elif not options.quiet:
        _show(compared, path, options.runs)


def _as_json(_: "Compared", path: Path) -> Any:
    return json.loads((path / "comparison.json").read_text(encoding="utf-8"))


def _show(compared: "Compared", path: Path, runs: Path) -> None:
    console = results_console()
    print_widest(console, (_table(compared, costs=costs) for costs in (True, False)))
    console.print(_best(compared))
    print_notes(console, compared.notes)
    print(
        f"figure: {path / 'comparison.png'}\ntable:  {path / 'comparison.csv'}, {path / 'comparison.json'}\n"
        f"trajectories: {view_command(runs)}"
    )


def _table(compared: "Compared", *, costs: bool) -> Table:
    """The schedules, with work by account only if `costs`."""
    comparison, unit = compared.comparison, compared.unit
    confidence = f"{100 * comparison.confidence:g}% t intervals over seeds"
    n = len(comparison.seeds)
    of_costs = (
        "costs in GFLOP, means; 10,000 queries: the work to answer that many at the end"
        if costs
        else "costs by account: in a wider window and in comparison.csv"
    )
    weight = compared.cost_weight
    worth = "" if weight is None else f"; utility in points: final accuracy - {weight:g} × total cost in {unit}"
    table = results_table(
        f"{compared.title}, {n} seed{'s' * (n > 1)}",
        f"accuracies in %, means ± half of {confidence}; {of_costs}{worth}",
    )
    shares = {"final": "final_accuracy", "prequential": "prequential_accuracy", "anytime": "average_anytime_accuracy"}
    if any(schedule.means["forgetting"] for schedule in comparison.schedules):
        shares["forgetting"] = "forgetting"
    if "utility" in comparison.metrics:
        shares["utility"] = "utility"
    amounts = dict(_COSTS) if costs else {}
    priced = unit != "GFLOP"
    if priced:
        amounts[f"storage\n{escape(unit)}"] = "storage_cost"
    if priced or not costs:
        amounts[f"total\n{escape(unit)}"] = "total_cost"
    table.add_column("schedule", overflow="fold", no_wrap=costs)
    for column in ("learned", *shares, *amounts):
        table.add_column(column, justify="right", no_wrap=True)
    for schedule in sorted(comparison.schedules, key=lambda each: estimate_of(each.means["total_cost"])):
        row = [escape(schedule.label), percent(estimate_of(schedule.means["learned_fraction"]))]
        row += [_mean(schedule, metric, n) for metric in shares.values()]
        row += [gflop(estimate_of(schedule.means[metric])) for metric in amounts.values()]
        table.add_row(*row)
    return table


_COSTS = {
    **{account: f"{account}_gflop" for account in ("learn", "memorize", "answer", "rekey", "calibrate", "decide")},
    "total": "total_gflop",
    "without\ncalibrating": "total_gflop_without_calibration",
    "10,000\nqueries": "answer_10000_gflop",
}
"""The metric of each column, by heading."""


def _mean(schedule: "Schedule", metric: str, n_seeds: int) -> str:
    """The mean of a metric, with the number of its seeds if some seeds lack it."""
    count = schedule.counts[metric]
    return plus_minus(schedule.means[metric]) + (f" ({count} of {n_seeds})" if 0 < count < n_seeds else "")


def _best(compared: "Compared") -> Table:
    table = results_table(
        "best final accuracy at each budget",
        "the same seeds choose the two schedules and give the interval; no interval is corrected for that, nor for the "
        "number of budgets",
    )
    table.add_column(f"budget, {escape(compared.unit)}", justify="right", no_wrap=True)
    for column in ("schedule", "ahead of"):
        table.add_column(column, overflow="fold")
    table.add_column("by (paired, points)", no_wrap=True)
    for best in compared.best:
        table.add_row(gflop(best.budget), escape(best.label), escape(best.runner_up or "-"), spread(best.difference))
    return table
