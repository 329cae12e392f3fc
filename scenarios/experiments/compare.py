"""Methods side by side, over seeds."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from agent.storage.checkpoint import Checkpoints
from agent.storage.record import LifetimeRecord, RunDirectory
from scenarios.analysis.comparison import ScheduleLifetimes
from scenarios.config.settings import CompareConfig
from scenarios.config.specs import file_name
from scenarios.datasets.source import Access
from scenarios.experiments.comparison_report import Compared, make_comparison, report, write_comparison
from scenarios.experiments.rescues import read_rescues, with_rescues
from scenarios.running.experiment import Experiment
from scenarios.running.identity import dataset_word
from scenarios.running.interval_notes import (
    notes_on_intervals,
    notes_on_labels,
    notes_on_late_labels,
    notes_on_lazy_learners,
)
from scenarios.running.lifetimes import run_together, sharing_a_learner
from scenarios.running.provenance import notes_on_training, notes_on_tuning
from scenarios.running.summary import metrics_of
from scenarios.running.tasks import Run, Site
from scenarios.running.world import check_methods, check_parts, check_world, load_world, truth_as_json


def run(config: CompareConfig, run: Run) -> Compared:
    """Run every method under every seed; compare them, and write the comparison.

    Methods of a seed that share a learner run together. Finished lifetimes in the run directory do not run again;
    unfinished ones continue from their checkpoint.

    Raises:
        DatasetError: the data set cannot be loaded.
        Interrupted: the reporter stopped the run.
        InvalidSetting: the data set or the machine does not allow the settings.
        TrainingDiverged: from the learner; the records so far stay.
        RunError: a file cannot be written, or a summary is invalid.
    """
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    records = {seed: _records(config, seed, run.directory) for seed in seeds}
    _run_unfinished(config, records, run)
    schedules = [ScheduleLifetimes(method.label, {}) for method in config.methods]
    for schedule in schedules:
        for seed in seeds:
            summary = records[seed][schedule.label].summary()
            schedule.by_seed[seed] = metrics_of(summary, run.directory.path)
    policies = list(dict.fromkeys(method.policy for method in config.methods))
    notes = notes_on_training(policies, config.dataset, seeds, run.access)
    notes += notes_on_tuning(config)
    notes += notes_on_intervals(config, n_together=len(schedules), of="schedules")
    notes += notes_on_lazy_learners(config)
    notes += notes_on_late_labels(config)
    notes += notes_on_labels(config)
    folders = {method.label: {seed: records[seed][method.label].path for seed in seeds} for method in config.methods}
    compared = make_comparison(schedules, config, notes, folders)
    if config.keep_predictions:
        lived: dict[tuple[str, float | None], dict[int, Path]] = {(label, None): folders[label] for label in folders}
        compared = replace(compared, rescues=read_rescues(config.title, "schedule", lived, config.confidence))
    write_comparison(compared, run.directory)
    return compared


def _records(config: CompareConfig, seed: int, directory: RunDirectory) -> dict[str, LifetimeRecord]:
    """The records of a seed's lifetimes, by the labels of their methods."""
    return {method.label: directory.lifetime(f"seed{seed}/{method.file_name}") for method in config.methods}


def _run_unfinished(config: CompareConfig, records: Mapping[int, Mapping[str, LifetimeRecord]], run: Run) -> None:
    """Run the unfinished lifetimes of each seed: a task for those that share a learner."""
    unfinished = {
        (seed, number): sum(of_seed[method.label].summary() is None for method in methods)
        for seed, of_seed in records.items()
        for number, methods in enumerate(sharing_a_learner(config.methods))
    }
    for (seed, number), n in unfinished.items():
        if not n:
            _checkpoints(run.directory, seed, number).drop()  # left by a process that was killed before it did this
    tasks = [
        run.task(run_group, config, seed, number, part=f"seed{seed}") for (seed, number), n in unfinished.items() if n
    ]
    if not tasks:
        return
    run.reporter.say("data")
    first, _ = tasks[0].arguments
    world = run.cache.get(first, lambda: load_world(config, first, run.access, run.reporter))
    check_methods(config, first, config.methods, world)  # before the first of them lives
    run.reporter.expect(len(world[1].stream) * sum(unfinished.values()))
    for _ in run.do(tasks):
        pass


def run_group(config: CompareConfig, seed: int, number: int, site: Site) -> None:
    """Run the unfinished lifetimes of a seed under the methods of one group of `sharing_a_learner`."""
    methods = sharing_a_learner(config.methods)[number]
    world = site.cache.get(seed, lambda: load_world(config, seed, site.access, site.reporter))
    site.directory.write(f"seed{seed}/scenario.json", truth_as_json(world[1]))
    every = _records(config, seed, site.directory)
    records = {method.label: every[method.label] for method in methods}
    checkpoints = _checkpoints(site.directory, seed, number)
    run_together(config, seed, methods, world, records, checkpoints, site.reporter)


def _checkpoints(directory: RunDirectory, seed: int, number: int) -> Checkpoints:
    return directory.checkpoints(f"seed{seed}/learner{number}" if number else f"seed{seed}")


def _prepare(config: CompareConfig, access: Access) -> None:
    check_world(config, config.first_seed, config.methods, access)


COMPARE = Experiment(
    "compare",
    CompareConfig,
    words=lambda config: [dataset_word(config.dataset), file_name(config.scenario.spec)],
    run=run,
    report=lambda compared, _, path: with_rescues(
        report(compared, path, more_seeds="The same command with --seeds {seeds} lives only the new ones."),
        compared.rescues,
        path,
    ),
    check=lambda config: check_parts(config, config.methods),
    prepare=_prepare,
)
