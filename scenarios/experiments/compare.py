"""Methods side by side, over seeds."""

from collections.abc import Iterable, Mapping

from agent.storage.record import LifetimeRecord
from scenarios.analysis.comparison import ScheduleLifetimes
from scenarios.config.members import Member
from scenarios.config.settings import CompareConfig
from scenarios.config.specs import file_name
from scenarios.datasets.source import Access
from scenarios.experiments.comparison_report import Compared, make_comparison, report, write_comparison
from scenarios.running.experiment import Experiment, Run
from scenarios.running.identity import dataset_word
from scenarios.running.interval_notes import notes_on_intervals
from scenarios.running.lifetimes import run_together, sharing_a_learner
from scenarios.running.provenance import notes_on_training
from scenarios.running.summary import metrics_of
from scenarios.running.world import check_settings, check_world, load_world, truth_as_json


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
    _check_unfinished(config, seeds, run)
    schedules = [ScheduleLifetimes(method.label, {}) for method in config.methods]
    for seed in seeds:
        records = run_seed(config, seed, run)
        for schedule in schedules:
            summary = records[schedule.label].summary()
            schedule.by_seed[seed] = metrics_of(summary, run.directory.path)
    notes = notes_on_training(_policies(config), config.dataset, seeds, run.access)
    notes += notes_on_intervals(config, n_together=len(schedules), of="schedules")
    compared = make_comparison(schedules, config, notes)
    write_comparison(compared, run.directory)
    return compared


def _records(config: CompareConfig, seed: int, run: Run) -> dict[str, LifetimeRecord]:
    """The records of a seed's lifetimes, by the labels of their methods."""
    return {method.label: run.directory.lifetime(f"seed{seed}/{method.file_name}") for method in config.methods}


def _check_unfinished(config: CompareConfig, seeds: Iterable[int], run: Run) -> None:
    """Check that every method can live in the world, before the first of them does."""
    for seed in seeds:
        if any(record.summary() is None for record in _records(config, seed, run).values()):
            check_world(config, seed, config.methods, run.access)
            return


def run_seed(config: CompareConfig, seed: int, run: Run) -> Mapping[str, LifetimeRecord]:
    """Run the unfinished lifetimes of a seed; returns the record of each, by the label of its method."""
    directory, reporter, records = run.directory, run.reporter, _records(config, seed, run)
    unfinished = sum(record.summary() is None for record in records.values())
    world = None
    for number, methods in enumerate(sharing_a_learner(config.methods)):
        of_group = {method.label: records[method.label] for method in methods}
        checkpoints = directory.checkpoints(f"seed{seed}/learner{number}" if number else f"seed{seed}")
        if any(record.summary() is None for record in of_group.values()):
            if world is None:
                reporter.say(f"seed {seed}")
                world = load_world(config, seed, run.access, reporter)
                directory.write(f"seed{seed}/scenario.json", truth_as_json(world[1]))
                reporter.expect(len(world[1].stream) * unfinished)
            run_together(config, seed, methods, world, of_group, checkpoints, reporter)
        checkpoints.drop()  # left by a process that was killed just before it deleted them
    return records


def _policies(config: CompareConfig) -> list[Member]:
    return list(dict.fromkeys(method.policy for method in config.methods))


def _check(config: CompareConfig) -> None:
    check_settings(config, _policies(config))
    for method in config.methods:
        method.recipe.make()


def _prepare(config: CompareConfig, access: Access) -> None:
    check_world(config, config.first_seed, config.methods, access)


COMPARE = Experiment(
    "compare",
    CompareConfig,
    words=lambda config: [dataset_word(config.dataset), file_name(config.scenario.spec)],
    run=run,
    report=lambda compared, _, path: report(compared, path),
    check=_check,
    prepare=_prepare,
)
