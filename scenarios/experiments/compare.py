"""Lifetimes side by side: policies that run together over seeds."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent.accounting.utility import utility
from agent.storage.record import RunDirectory
from scenarios.analysis.comparison import (
    Best,
    Comparison,
    ScheduleLifetimes,
    best_at_each_budget,
    compare,
    comparison_csv,
    comparison_json,
    pareto_front,
)
from scenarios.config.settings import CompareConfig
from scenarios.config.specs import file_name, split_specs
from scenarios.figures.pareto import pareto_figure
from scenarios.figures.style import figure_png, png_pixels
from scenarios.running.interval_notes import notes_on_intervals
from scenarios.running.lifetimes import run_together
from scenarios.running.progress import ProgressReporter
from scenarios.running.provenance import notes_on_training
from scenarios.running.summary import metrics_of
from scenarios.running.world import check_world, cost_model, load_world, resolve_policies, resolve_specs, truth_as_json

COST, ACCURACY = "total_cost", "final_accuracy"


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


def resolve_comparison(config: CompareConfig) -> CompareConfig:
    """The settings with canonical specs.

    Raises:
        InvalidSetting: an unknown name or setting, or a policy twice.
    """
    policies = resolve_policies(config.policies, config.first_seed)
    return config.model_copy(update={"policies": " ".join(policies), **resolve_specs(config)})


def compare_policies(
    config: CompareConfig,
    run: RunDirectory,
    reporter: ProgressReporter,
    *,
    download: bool = False,
    data_dir: Path | None = None,
) -> Compared:
    """Run every policy under every seed, those of a seed together; compare them, and write the comparison.

    Finished lifetimes in the run directory do not run again; unfinished ones continue from their checkpoint.

    Args:
        config: resolved settings.
        run: where everything is written.
        reporter: receives the progress.
        download: download a missing data set.
        data_dir: where data sets and caches are stored; None for the user's cache folder.

    Raises:
        DatasetError: the data set cannot be loaded.
        Interrupted: the reporter stopped the run.
        InvalidSetting: the data set or the machine does not allow the settings.
        TrainingDiverged: from the learner; the records so far stay.
        RunError: a file cannot be written, or a summary is invalid.
    """
    policies = split_specs(config.policies)
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    summaries: dict[str, dict[int, Any]] = {policy: {} for policy in policies}
    for seed in seeds:
        records = {policy: run.lifetime(f"seed{seed}/{file_name(policy)}") for policy in policies}
        if any(record.summary() is None for record in records.values()):
            reporter.say(f"seed {seed}")
            world = load_world(config, seed, data_dir=data_dir, download=download, reporter=reporter)
            run.write(f"seed{seed}/scenario.json", truth_as_json(world[1]))
            run_together(config, seed, world, records, run.checkpoints(f"seed{seed}"), reporter)
        run.checkpoints(f"seed{seed}").drop()
        for policy, record in records.items():
            summaries[policy][seed] = record.summary()
    schedules = [
        ScheduleLifetimes(policy, {seed: metrics_of(summary, run.path) for seed, summary in by_seed.items()})
        for policy, by_seed in summaries.items()
    ]
    notes = notes_on_training(policies, config.dataset, seeds, data_dir)
    notes += notes_on_intervals(config, n_together=len(policies), of="schedules")
    compared = make_comparison(schedules, config, notes)
    write_comparison(compared, run)
    return compared


def prepare(config: CompareConfig, *, download: bool, data_dir: Path | None) -> None:
    """Check that the lifetimes of the first seed can begin; see `check_world`."""
    check_world(config, config.first_seed, split_specs(config.policies), download=download, data_dir=data_dir)


def write_comparison(compared: Compared, run: RunDirectory) -> None:
    """Write comparison.json, .csv and .png, and the figure to TensorBoard."""
    comparison = compared.comparison
    on_pareto_front = [schedule.label for schedule in pareto_front(comparison, COST, ACCURACY)]
    content = {
        "title": compared.title,
        "unit": compared.unit,
        "cost_weight": compared.cost_weight,
        **comparison_json(comparison),
        "front": on_pareto_front,
        "best": [asdict(best) for best in compared.best],
        "notes": list(compared.notes),
    }
    run.write("comparison.json", json.dumps(content, indent=2) + "\n")
    run.write("comparison.csv", comparison_csv(comparison))
    figure = pareto_figure(comparison, cost=COST, accuracy=ACCURACY, unit=compared.unit, title=compared.title)
    png = figure_png(figure)
    run.write("comparison.png", png)
    with run.tensorboard() as board:
        board.add_image("comparison", png_pixels(png), dataformats="HWC")


def make_comparison(schedules: Sequence[ScheduleLifetimes], config: CompareConfig, notes: list[str]) -> Compared:
    """Compare schedules with the confidence and the cost weight of the settings, and add to the notes."""
    if config.cost_weight is not None:
        schedules = [_with_utility(schedule, config.cost_weight) for schedule in schedules]
    comparison = compare(schedules, config.confidence)
    if config.prequential and not config.calibrate_every:
        notes = [*notes, "w is 1 until the end: the agent's prequential accuracy is the learner's alone"]
    best = best_at_each_budget(comparison, COST, ACCURACY)
    unit = cost_model(config).unit
    return Compared(config.title, unit, comparison, tuple(best), config.cost_weight, tuple(notes))


def _with_utility(schedule: ScheduleLifetimes, cost_weight: float) -> ScheduleLifetimes:
    by_seed = {}
    for seed, metrics in schedule.by_seed.items():
        accuracy, spent = metrics[ACCURACY], metrics[COST]
        worth = None if accuracy is None or spent is None else utility(accuracy, spent, cost_weight)
        by_seed[seed] = metrics | {"utility": worth}
    return ScheduleLifetimes(schedule.label, by_seed)
