"""`lifetime simulate`: one agent in a stream under a policy."""

from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from scenarios.cli.experiment import Experiment, run_command
from scenarios.cli.identity import dataset_word
from scenarios.cli.options import Options, experiment_command, settings_from
from scenarios.cli.show import gflop, percent, results_console, results_table, view_command
from scenarios.config.settings import SimulateConfig
from scenarios.config.specs import file_name


@experiment_command(SimulateConfig)
def simulate(options: Options, given: dict[str, Any]) -> None:
    """Simulate one lifetime: for each chunk of a stream, a policy decides whether the agent learns or memorizes it.

    Settings come from a preset, then from a TOML file, then from the options below. The same command, given again,
    continues an interrupted run from its last checkpoint, and shows a finished one.
    """
    run_command(simulation(), settings_from(SimulateConfig, options, given), options)


def simulation() -> Experiment[SimulateConfig, dict[str, Any]]:
    """The experiment: one lifetime; its result is the summary."""
    from scenarios.experiments.simulate import prepare, resolve_simulation, simulate

    return Experiment(
        "simulate",
        SimulateConfig,
        resolve_simulation,
        words=_words,
        prepare=prepare,
        run=simulate,
        as_json=lambda summary, path: {"run": str(path), **summary},
        show=_show,
    )


def _words(settings: SimulateConfig) -> list[str]:
    scenario, policy = file_name(settings.scenario), file_name(settings.policy)
    return [dataset_word(settings.dataset), scenario, policy, f"seed{settings.seed}"]


def _show(summary: dict[str, Any], settings: SimulateConfig, path: Path, runs: Path) -> None:
    from agent.operations import OPERATIONS

    metrics, unit = summary["metrics"], summary["cost_unit"]
    decisions = _decisions(path, summary["step"] + 1)
    console = results_console()
    console.print(f"{settings.title}, policy {settings.policy}, seed {settings.seed}", markup=False, highlight=False)
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
    """The letters of the decisions, one for each chunk."""
    from agent.operations import OPERATIONS
    from agent.storage.record import LifetimeRecord

    return "".join(OPERATIONS[step.action].letter for step in LifetimeRecord(path).steps(n_chunks))


def _accuracies(metrics: dict[str, float | None], settings: SimulateConfig) -> Table:
    table = results_table()
    table.add_column("accuracy, %")
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
    """Work by account, and its cost if `priced`."""
    table = results_table()
    table.add_column("work and cost" if priced else "work")
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
