"""A sweep: lifetimes of every method in every world under every seed, as tasks."""

import json
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from agent.errors import InvalidSetting, RunError
from agent.storage.record import SUMMARY, read_object
from scenarios.config.presets import validate
from scenarios.config.sweep import SweepConfig, at, read_sweep
from scenarios.datasets.fingerprints import without_path
from scenarios.datasets.source import Access
from scenarios.experiments.sweep_plan import plan
from scenarios.experiments.sweep_report import Failure, Lifetime, Swept, make_sweep, read_swept, report, write_sweep
from scenarios.experiments.sweep_tasks import (
    MAY_PASS,
    Group,
    Place,
    failures_of,
    groups_of,
    load_first,
    mend_worlds,
    task_of,
    waiting_of,
    worlds_of,
)
from scenarios.running.experiment import Experiment
from scenarios.running.failures import FAILED
from scenarios.running.interval_notes import (
    notes_on_intervals,
    notes_on_labels,
    notes_on_late_labels,
    notes_on_lazy_learners,
    notes_on_probes,
)
from scenarios.running.progress import Interrupted
from scenarios.running.provenance import notes_on_training, notes_on_tuning
from scenarios.running.summary import metrics_of
from scenarios.running.tasks import Run
from scenarios.running.world import check_parts, check_world


def run(config: SweepConfig, run: Run) -> Swept:
    """Run every task that has neither finished nor failed, and write the table of all finished lifetimes.

    A lifetime that fails is listed with its error, and the others go on; `retry_failed` runs it again.

    Raises:
        DatasetError: a data set cannot be loaded.
        Interrupted: the reporter stopped the run; the table has what is finished.
        InvalidSetting: a world, or the machine, does not allow a method.
        RunError: a file cannot be written, a summary is invalid, or a worker process was lost.
    """
    if run.is_read:
        return read_swept(config, run.directory.path)
    worlds = worlds_of(config, run.directory.path, run.access)
    mend_worlds(worlds)
    groups = list(groups_of(config, worlds))
    for group in groups:
        if group.failed.parent.exists() and not group.unfinished:
            shutil.rmtree(group.failed.parent, ignore_errors=True)  # left by a process that was killed
    waiting = waiting_of(config, groups)
    _check(waiting, run)
    by_place = {group.place: group for group in waiting}
    passing: dict[Place, dict[str, str]] = {}
    try:
        for task, failed in run.do(task_of(group, run) for group in waiting):
            group = by_place[task.arguments[0]]
            kept = {label: said for label, said in failed.items() if MAY_PASS not in said}
            passing[group.place] = {label: said["error"] for label, said in failed.items() if label not in kept}
            if kept:
                group.world.directory.write(f"{group.folder}/{FAILED}", json.dumps(kept, indent=2) + "\n")
            elif not failed:
                shutil.rmtree(group.failed.parent, ignore_errors=True)
    except Interrupted:
        _write(config, groups, run, passing)
        raise
    return _write(config, groups, run, passing)


def _check(waiting: Sequence[Group], run: Run) -> None:
    """Check that each method can begin a lifetime in its world, before the first of them lives."""
    total = 0
    of_world: dict[int, list[Group]] = {}
    for group in waiting:
        of_world.setdefault(group.world.number, []).append(group)
    for groups in of_world.values():
        run.reporter.say("data")
        loaded = load_first(groups, run)
        total += len(loaded[1].stream) * sum(len(group.unfinished) for group in groups)
    run.reporter.expect(total)


def _write(config: SweepConfig, groups: Sequence[Group], run: Run, passing: Mapping[Place, Mapping[str, str]]) -> Swept:
    """Write the table of finished lifetimes, their means and the figure; `passing` are errors that are not kept."""
    lifetimes, failures, n_missing = [], [], 0
    for group in groups:
        unfinished = {method.label for method in group.unfinished}
        n_missing += len(unfinished)
        if unfinished:
            now, values = passing.get(group.place, {}), group.world.cell.values
            failures += [
                Failure(values, group.seed, label, error, label in now)
                for label, error in {**failures_of(group), **now}.items()
                if label in unfinished
            ]
        for method in (each for each in group.methods if each.label not in unfinished):
            folder = group.lifetime(method)
            summary = read_object(folder / SUMMARY, "remove it, and run the sweep again")
            place = folder.relative_to(run.directory.path).as_posix()
            try:
                metrics = metrics_of(summary, folder)
            except RunError:
                raise RunError(
                    f"expected metrics in {folder / SUMMARY}, got none or invalid ones; remove it, and run the sweep "
                    "again"
                ) from None
            lifetimes.append(Lifetime(group.world.number, method, group.seed, place, metrics))
    notes = notes_on_tuning(config)
    for cell in config.cells:
        notes += notes_on_intervals(cell.config, n_together=len(cell.config.methods), of="schedules")
        notes += notes_on_lazy_learners(cell.config)
        notes += notes_on_late_labels(cell.config)
        notes += notes_on_labels(cell.config)
        policies = list(dict.fromkeys(method.policy for method in cell.config.methods))
        notes += notes_on_training(policies, cell.config.dataset, config.seeds, run.access)
    notes += notes_on_probes(dict.fromkeys(name for each in lifetimes for name in each.metrics))
    swept = make_sweep(config, lifetimes, failures, n_missing, list(dict.fromkeys(notes)))
    write_sweep(swept, run.directory)
    return swept


def _check_settings(config: SweepConfig) -> None:
    for cell in config.cells:
        try:
            check_parts(cell.config, cell.config.methods)
        except InvalidSetting as error:
            raise InvalidSetting(f"{error}{at(cell.values)}") from None


def _grown(stored: Mapping[str, Any], now: Mapping[str, Any]) -> Mapping[str, Any]:
    """The present configuration, whatever has changed, if it shares a world with the stored one; raises RunError."""
    if stored["settings"] == now["settings"]:
        return now
    try:
        before = _worlds_in(stored)
    except InvalidSetting:  # of a component that is there no more
        return now
    wanted = _worlds_in(now)
    if {json.dumps(world) for world in before}.isdisjoint(json.dumps(world) for world in wanted):
        name = next(name for name, value in wanted[0].items() if value != before[0][name])
        raise RunError(
            f"expected a sweep in at least one of the worlds that the run has, got another sweep, whose {name} was "
            f"{before[0][name]} and is now {wanted[0][name]}; choose another --name, or --force to start anew"
        )
    return now


def _worlds_in(described: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The settings of the worlds of a sweep; the path of a data set does not tell them apart."""
    worlds = validate(SweepConfig, described["settings"]).worlds
    return [{**world, "dataset": without_path(world["dataset"])} for world in worlds]


def _prepare(config: SweepConfig, access: Access) -> None:
    for cell in config.cells:
        check_world(cell.config, config.first.first_seed, cell.config.methods, access)


SWEEP = Experiment(
    "sweep",
    SweepConfig,
    words=lambda config: list(config.axes),
    run=run,
    report=lambda swept, _, path: report(swept, path),
    plan=plan,
    check=_check_settings,
    prepare=_prepare,
    dataset=lambda config: None,  # each cell has its own
    grown=_grown,
    side_by_side=True,
    read=read_sweep,
    settle=lambda config, settled: config.changed(settled),
)
