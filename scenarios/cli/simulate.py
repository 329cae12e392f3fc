"""`lifetime simulate`: one agent through a stream under a policy."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from scenarios.cli.identity import dataset_word, describe, run_folder
from scenarios.cli.options import settings_from, with_options
from scenarios.cli.running import running
from scenarios.cli.show import gflop, percent, print_json, results_console, view_command
from scenarios.config.settings import SimulateConfig


def simulate(
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
    """Live one lifetime: an agent meets a stream, and a policy decides for each chunk to learn or to memorize.

    Settings come from a preset, then from a TOML file, then from the options below. The same command given again
    continues an interrupted run from its last checkpoint, and shows a finished one.
    """
    settings = settings_from(SimulateConfig, preset, config, overrides, name)

    from scenarios.config.specs import file_name
    from scenarios.experiments.simulate import resolve_simulation
    from scenarios.running.factory import choose_device

    with redirect_stdout(sys.stderr):
        settings = resolve_simulation(settings)
    settings = settings.model_copy(update={"device": choose_device(settings.device).type})
    described = describe("simulate", preset, settings, data_dir=data_dir)
    words = [
        dataset_word(settings.dataset),
        file_name(settings.scenario),
        file_name(settings.policy),
        f"seed{settings.seed}",
    ]
    path = run_folder(runs / "simulate", name, words, described)
    options: dict[str, Any] = {"force": force, "data_dir": data_dir, "download": download, "quiet": quiet or as_json}
    summary = live_in(path, settings, described, **options)
    report(summary, settings, path, runs, quiet=quiet, as_json=as_json)


with_options(SimulateConfig, simulate)


def live_in(
    path: Path,
    settings: SimulateConfig,
    described: dict[str, Any],
    *,
    force: bool = False,
    data_dir: Path | None = None,
    download: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Live the lifetime in a run directory, new or to be continued; returns its summary."""
    from scenarios.experiments.simulate import prepare, simulate

    if force:  # nothing is dropped for settings that cannot be lived
        prepare(settings, download=download, data_dir=data_dir)
    with running(path, described, force=force, quiet=quiet) as (run, bar):
        return simulate(settings, run, bar, download=download, data_dir=data_dir)


def report(
    summary: dict[str, Any], settings: SimulateConfig, path: Path, runs: Path, *, quiet: bool, as_json: bool
) -> None:
    """Print a lifetime as was asked for."""
    if as_json:
        print_json({"run": str(path), **summary})
    elif not quiet:
        _show(summary, settings, path, runs)


def _show(summary: dict[str, Any], settings: SimulateConfig, path: Path, runs: Path) -> None:
    from agent.operations import OPERATIONS

    metrics, unit = summary["metrics"], summary["cost_unit"]
    decisions = _decisions(path, summary["step"] + 1)
    console = results_console()
    tariff = "" if settings.tariff == "constant" else f", {settings.tariff} tariff"
    console.print(
        f"{settings.dataset}, {settings.scenario}{tariff}, policy {settings.policy}, seed {settings.seed}",
        markup=False,
        highlight=False,
    )
    done = {"learn": "learned", "memorize": "memorized"}
    counts = [
        f"{decisions.count(operation.letter)} {done.get(name, name)} ({operation.letter})"
        for name, operation in reversed(OPERATIONS.items())
    ]
    console.print(f"{len(decisions)} chunks: {', '.join(counts)}")
    if len(decisions) <= 400:
        console.print(decisions, highlight=False)
    console.print(_accuracies(metrics, settings))
    console.print(_costs(metrics, unit, priced=unit != "GFLOP" or settings.tariff != "constant"))
    entries, megabytes = metrics["memory_entries"] or 0, metrics["memory_megabytes"] or 0
    per_query, recall = (gflop(metrics[f"{name}_mflop_per_query"] or 0) for name in ("answer", "recall"))
    print(
        f"memory:       {entries:,.0f} entries, {gflop(megabytes)} MB; answering a query takes {per_query} MFLOP, "
        f"{recall} of them in memory"
    )
    print(f"lifetime:     {path / 'summary.json'}, {path / 'trajectory.jsonl'}\ntrajectories: {view_command(runs)}")


def _decisions(path: Path, n_chunks: int) -> str:
    from agent.operations import OPERATIONS
    from agent.storage.record import LifetimeRecord

    return "".join(OPERATIONS[step.action].letter for step in LifetimeRecord(path).steps(n_chunks))


def _accuracies(metrics: dict[str, float | None], settings: SimulateConfig) -> Table:
    table = _table("accuracy, %")
    for column in ("agent", "learner", "memory"):
        table.add_column(column, justify="right")
    final = ("final_accuracy", "learner_accuracy", "memory_accuracy")
    before = ("prequential_accuracy", "prequential_learner_accuracy", "prequential_memory_accuracy")
    table.add_row("at the end, on the test set", *(percent(metrics[name]) for name in final))
    if metrics["prequential_accuracy"] is not None:
        title = "prequential: each chunk before its use"
        if not settings.calibrate_every:
            title += " (w is 1 until the end: the agent is the learner)"
        shares = [percent(metrics[name]) for name in before]
        if metrics["prequential_memory_accuracy"] is not None:
            shares[-1] += f" of {metrics['prequential_memory_samples']:,.0f} images"
        table.add_row(title, *shares)
    rows = {
        "average anytime": "average_anytime_accuracy",
        "worst case": "worst_case_accuracy",
        "forgetting (minus backward transfer)": "forgetting",
        "forward transfer": "forward_transfer",
    }
    for title, name in rows.items():
        if metrics[name] is not None:
            table.add_row(title, percent(metrics[name]), "", "")
    return table


def _costs(metrics: dict[str, float | None], unit: str, *, priced: bool) -> Table:
    table = _table("what it took")
    table.add_column("GFLOP", justify="right")
    if priced:
        table.add_column(f"cost, {escape(unit)}", justify="right")
    for account in ("learn", "memorize", "answer", "rekey", "calibrate", "decide", "storage", "total"):
        work, cost = metrics.get(f"{account}_gflop"), metrics[f"{account}_cost"]
        if work or cost or account in ("learn", "memorize", "answer"):
            table.add_row(account, "" if work is None else gflop(work), *([gflop(cost or 0.0)] if priced else []))
    work, cost = metrics["total_gflop_without_calibration"], metrics["total_cost_without_calibration"]
    table.add_row("total without calibration", gflop(work or 0.0), *([gflop(cost or 0.0)] if priced else []))
    answering = gflop(metrics["answer_10000_gflop"] or 0.0)
    table.add_row("10,000 more queries", answering, *([""] if priced else []))
    return table


def _table(title: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(title)
    return table
