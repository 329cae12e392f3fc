"""The report of one lifetime."""

from pathlib import Path
from typing import Any

from agent.operations import OPERATIONS, operation_of
from agent.storage.record import LifetimeRecord
from scenarios.analysis.formats import gflop, percent
from scenarios.analysis.report import Column, Report, Table, numbers
from scenarios.config.settings import SimulateConfig
from scenarios.running.interval_notes import notes_on_late_labels, notes_on_probes
from scenarios.running.provenance import notes_on_tuning
from scenarios.running.summary import PROBE


def report(summary: dict[str, Any], config: SimulateConfig, path: Path) -> Report:
    """The report of a summary."""
    metrics, unit = summary["metrics"], summary["cost_unit"]
    decisions = _decisions(path, summary["step"] + 1)
    done = {"learn": "learned", "memorize": "memorized", "consolidate": "consolidated", "both": "learned and memorized"}
    letters = {name: OPERATIONS[name].letter for name in reversed(config.actions)}
    counts = [f"{decisions.count(letter)} {done.get(name, name)} ({letter})" for name, letter in letters.items()]
    if config.enforce or config.speed is not None:
        told = {"n_missed": "missed", "n_refused": "refused by the budget"}
        passed = [f"{summary[name]} {how}" for name, how in told.items() if name in summary]
        counts.append(f"{decisions.count('P')} passed (P); {', '.join(passed)}")
    entries, megabytes = metrics["memory_entries"] or 0, metrics["memory_megabytes"] or 0
    per_query, recall = (gflop(metrics[f"{name}_mflop_per_query"] or 0) for name in ("answer", "recall"))
    return Report(
        {"run": str(path), **summary},
        [
            f"{config.title}, {_decides(config)}, seed {config.seed}",
            f"{len(decisions)} chunks: {', '.join(counts)}",
            *([decisions] if len(decisions) <= 400 else []),
            _accuracies(metrics, config),
            _costs(metrics, unit, priced=unit != "GFLOP" or config.tariff.name != "constant"),
        ],
        notes=[*notes_on_tuning(config), *notes_on_late_labels(config), *notes_on_probes(metrics)],
        facts=[
            (
                "memory",
                [
                    f"{entries:,.0f} entries, {gflop(megabytes)} MB; answering a query takes {per_query} MFLOP, "
                    f"{recall} of them in memory"
                ],
            ),
            *([("precision", [summary["training"]["precision"]])] if "training" in summary else []),
            *([("budget", [_spent(metrics, config, unit)])] if config.enforce else []),
            ("lifetime", [path / "summary.json", path / "trajectory.jsonl"]),
        ],
    )


def _spent(metrics: dict[str, float | None], config: SimulateConfig, unit: str) -> str:
    """What was spent of an enforced budget."""
    spent, budget = metrics["total_cost"] or 0.0, config.budget or 0.0
    beyond = "; what no action decides, such as queries, is billed whatever is left" if spent > budget else ""
    return f"{gflop(spent)} of {gflop(budget)} {unit} spent{beyond}"


def _decides(config: SimulateConfig) -> str:
    return f"policy {config.policy}" if config.baseline is None else f"baseline {config.baseline}"


def _decisions(path: Path, n_chunks: int) -> str:
    """The letters of what was done, one for each chunk."""
    return "".join(operation_of(step.action).letter for step in LifetimeRecord(path).steps(n_chunks))


def _accuracies(metrics: dict[str, float | None], config: SimulateConfig) -> Table:
    final = ("final_accuracy", "learner_accuracy", "memory_accuracy")
    before = ("prequential_accuracy", "prequential_learner_accuracy", "prequential_memory_accuracy")
    rows = [("at the end, on the test set", *(percent(metrics[name]) for name in final))]
    if metrics["prequential_accuracy"] is not None:
        title = "prequential: each chunk " + ("when it comes" if config.label_delay else "before its use")
        if not config.calibrate_every and config.baseline is None and config.calibration != "none":
            title += " (w is 1 until the end: the agent is the learner)"
        shares = [percent(metrics[name]) for name in before]
        if metrics["prequential_memory_accuracy"] is not None:
            shares[-1] += f" of {metrics['prequential_memory_samples']:,.0f} images"
        rows.append((title, *shares))
    others = {
        "average anytime": "average_anytime_accuracy",
        "worst case": "worst_case_accuracy",
        "forgetting (minus backward transfer)": "forgetting",
        "forward transfer": "forward_transfer",
    }
    rows += [(title, percent(metrics[name]), "", "") for title, name in others.items() if metrics[name] is not None]
    if PROBE in metrics:
        rows.append(
            ("linear probe: a classifier of the features, trained on the whole stream", "", percent(metrics[PROBE]), "")
        )
    columns = (Column("accuracy, %", is_text=True, folds=True), *numbers("agent", "learner", "memory"))
    return Table(columns, tuple(rows))


def _costs(metrics: dict[str, float | None], unit: str, *, priced: bool) -> Table:
    """Work by account, and its cost if `priced`."""
    rows = []
    for account in ("learn", "memorize", "answer", "rekey", "calibrate", "decide", "storage", "total"):
        work, cost = metrics.get(f"{account}_gflop"), metrics[f"{account}_cost"]
        if work or cost or account in ("learn", "memorize", "answer"):
            rows.append((account, "" if work is None else gflop(work), gflop(cost or 0.0)))
    work, cost = metrics["total_gflop_without_calibration"], metrics["total_cost_without_calibration"]
    rows.append(("total without calibration", gflop(work or 0.0), gflop(cost or 0.0)))
    rows.append(("10,000 more queries", gflop(metrics["answer_10000_gflop"] or 0.0), ""))
    columns = (Column("work and cost" if priced else "work", is_text=True), *numbers("GFLOP", f"cost, {unit}"))
    n = len(columns) if priced else len(columns) - 1
    return Table(columns[:n], tuple(row[:n] for row in rows))
