"""`lifetime compare`: policies over seeds, or finished runs, side by side."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from agent.errors import InvalidSetting
from scenarios.cli.identity import dataset_word, describe, run_folder
from scenarios.cli.options import check_name, settings_from, with_options
from scenarios.cli.running import running
from scenarios.cli.show import gflop, percent, plus_minus, results_console, spread, view_command
from scenarios.config.settings import CompareConfig

if TYPE_CHECKING:
    from scenarios.analysis.comparison import Schedule
    from scenarios.analysis.statistics import Interval
    from scenarios.experiments.compare import Compared


def compare(
    run: list[Path] | None,
    preset: str,
    config: Path | None,
    runs: Path,
    name: str | None,
    force: bool,
    data_dir: Path | None,
    download: bool,
    quiet: bool,
    as_json: bool,
    **overrides: Any,
) -> None:
    """Put lifetimes side by side: those of finished runs, or of --policies lived over --seeds.

    Gives means and intervals over paired seeds, the front of accuracy against cost, and which schedule is best at each
    budget. Policies of one seed are lived together and share what they have in common. The same command given again
    continues an interrupted comparison, and shows a finished one.
    """
    if run:
        of_lives: dict[str, Any] = {"config": config, "data_dir": data_dir, "download": download or None}
        of_lives["preset"] = None if preset == "quick" else preset
        _compare_runs(run, runs, name, overrides | of_lives, force=force, quiet=quiet, as_json=as_json)
        return
    settings = settings_from(CompareConfig, preset, config, overrides, name)

    from scenarios.config.specs import file_name
    from scenarios.experiments.compare import resolve_comparison
    from scenarios.running.factory import choose_device

    with redirect_stdout(sys.stderr):
        settings = resolve_comparison(settings)
    settings = settings.model_copy(update={"device": choose_device(settings.device).type})
    described = describe("compare", preset, settings, data_dir=data_dir)
    words = [dataset_word(settings.dataset), file_name(settings.scenario)]
    path = run_folder(runs / "compare", name, words, described)
    options: dict[str, Any] = {"force": force, "data_dir": data_dir, "download": download, "quiet": quiet or as_json}
    compared = live_in(path, settings, described, **options)
    report(compared, path, runs, quiet=quiet, as_json=as_json)


with_options(
    CompareConfig,
    compare,
    ("run", list[Path] | None, typer.Argument(None, help="Folders of finished runs, instead of --policies.")),
)


def live_in(
    path: Path,
    settings: CompareConfig,
    described: dict[str, Any],
    *,
    force: bool = False,
    data_dir: Path | None = None,
    download: bool = False,
    quiet: bool = False,
) -> "Compared":
    """Live the lifetimes in a run directory, new or to be continued, and write the comparison."""
    from scenarios.experiments.compare import compare_policies, prepare, write_comparison

    if force:  # nothing is dropped for settings that cannot be lived
        prepare(settings, download=download, data_dir=data_dir)
    with running(path, described, force=force, quiet=quiet) as (run, bar):
        compared = compare_policies(settings, run, bar, download=download, data_dir=data_dir)
        write_comparison(compared, run)
        return compared


def _compare_runs(
    found: list[Path],
    runs: Path,
    name: str | None,
    overrides: dict[str, Any],
    *,
    force: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    check_name(name)
    given = [f"--{option.replace('_', '-')}" for option, value in overrides.items() if value is not None]
    if set(given) - {"--confidence", "--cost-weight"}:
        raise InvalidSetting(
            f"expected no settings beside finished runs, which have their own, got {', '.join(given)}; leave them out"
        )

    from agent.storage.record import open_run
    from scenarios.config.presets import resolve
    from scenarios.experiments.compare import compare_runs, runs_digest, write_comparison

    of_reading = resolve(CompareConfig, "quick", {key: value for key, value in overrides.items() if value is not None})
    confidence, cost_weight = of_reading.confidence, of_reading.cost_weight
    compared = compare_runs(found, confidence, cost_weight)
    described = {
        "experiment": "compare-runs",
        "digest": runs_digest(found),
        "confidence": confidence,
        "cost_weight": cost_weight,
    }
    path = run_folder(runs / "compare", name, ["runs"], described)
    with open_run(path, described, anew=force) as directory:
        write_comparison(compared, directory)
    report(compared, path, runs, quiet=quiet, as_json=as_json)


def report(compared: "Compared", path: Path, runs: Path, *, quiet: bool, as_json: bool) -> None:
    """Print a comparison as was asked for."""
    if as_json:
        print((path / "comparison.json").read_text(encoding="utf-8"), end="")
    elif not quiet:
        _show(compared, path, runs)


def _show(compared: "Compared", path: Path, runs: Path) -> None:
    console = results_console()
    table = _table(compared, costs=True)
    if console.measure(table, options=console.options.update_width(1000)).maximum > console.width:
        table = _table(compared, costs=False)
    console.print(table)
    console.print(_best(compared))
    for note in compared.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    print(
        f"figure: {path / 'comparison.png'}\ntable:  {path / 'comparison.csv'}, {path / 'comparison.json'}\n"
        f"trajectories: {view_command(runs)}"
    )


def _table(compared: "Compared", *, costs: bool) -> Table:
    comparison, unit = compared.comparison, compared.unit
    confidence = f"{100 * comparison.confidence:g}% t intervals over seeds"
    n = len(comparison.seeds)
    of_costs = (
        "costs in GFLOP, means; 10,000 queries: what answering so many takes at the end"
        if costs
        else "costs by account: in a wider window, and in comparison.csv"
    )
    weight = compared.cost_weight
    worth = "" if weight is None else f"; utility in points: final accuracy - {weight:g} × total cost in {unit}"
    table = Table(
        title=escape(f"{compared.title}, {n} seed{'s' * (n > 1)}"),
        caption=escape(f"accuracies in %, means ± half of {confidence}; {of_costs}{worth}"),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("schedule", overflow="fold", no_wrap=costs)
    shares = {"final": "final_accuracy", "prequential": "prequential_accuracy", "anytime": "average_anytime_accuracy"}
    if any(schedule.means["forgetting"] for schedule in comparison.schedules):
        shares["forgetting"] = "forgetting"
    if "utility" in comparison.metrics:
        shares["utility"] = "utility"
    accounts = _COSTS if costs else {}
    for column in ("learned", *shares, *accounts):
        table.add_column(column, justify="right", no_wrap=True)
    priced = unit != "GFLOP"
    if priced:
        table.add_column(f"storage\n{escape(unit)}", justify="right", no_wrap=True)
    if priced or not costs:
        table.add_column(f"total\n{escape(unit)}", justify="right", no_wrap=True)
    for schedule in sorted(comparison.schedules, key=lambda each: _estimate(each.means["total_cost"])):
        row = [escape(schedule.label), percent(_estimate(schedule.means["learned_fraction"]))]
        row += [_mean(schedule, name, n) for name in shares.values()]
        row += [gflop(_estimate(schedule.means[metric])) for metric in accounts.values()]
        if priced:
            row.append(gflop(_estimate(schedule.means["storage_cost"])))
        if priced or not costs:
            row.append(gflop(_estimate(schedule.means["total_cost"])))
        table.add_row(*row)
    return table


_COSTS = {
    **{account: f"{account}_gflop" for account in ("learn", "memorize", "answer", "rekey", "calibrate", "decide")},
    "total": "total_gflop",
    "without\ncalibrating": "total_gflop_without_calibration",
    "10,000\nqueries": "answer_10000_gflop",
}
"""Metrics by the headings of their columns."""


def _mean(schedule: "Schedule", metric: str, n_seeds: int) -> str:
    """A mean, and over how many seeds, where that is not all of them."""
    count = schedule.counts[metric]
    return plus_minus(schedule.means[metric]) + (f" ({count} of {n_seeds})" if 0 < count < n_seeds else "")


def _best(compared: "Compared") -> Table:
    table = Table(
        title="best final accuracy at each budget",
        caption="intervals are not corrected for the two having been picked by the same seeds, nor for how many "
        "budgets are read",
        caption_justify="left",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column(f"budget, {escape(compared.unit)}", justify="right", no_wrap=True)
    for column in ("schedule", "ahead of"):
        table.add_column(column, overflow="fold")
    table.add_column("by (paired, points)", no_wrap=True)
    for best in compared.best:
        table.add_row(gflop(best.budget), escape(best.label), escape(best.runner_up or "-"), spread(best.difference))
    return table


def _estimate(interval: "Interval | None") -> float:
    return interval.estimate if interval else 0.0
