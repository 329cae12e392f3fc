"""A sweep: lifetimes of every method in every world under every seed, as tasks.

A lifetime is known by the settings that decide it: its folder is `WORLD/seedN/METHOD` in that of the sweep, where WORLD
and METHOD end in digests. A sweep whose axes or seeds change goes on in its folder, and finds there what is finished.
"""

import json
import shutil
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from agent.errors import InvalidSetting
from agent.storage.record import CONFIG, SUMMARY, RunDirectory, read_object
from scenarios.config.method import Method
from scenarios.config.settings import CompareConfig, settings_of
from scenarios.config.sweep import OF_WORLD, Cell, SweepConfig, at
from scenarios.datasets.load import Dataset
from scenarios.datasets.source import Access
from scenarios.experiments.sweep_report import Failure, Lifetime, Swept, make_sweep, report, write_sweep
from scenarios.running.experiment import Experiment
from scenarios.running.identity import dataset_word, default_name, describe, identity_of, own_code, short_digest
from scenarios.running.interval_notes import notes_on_intervals
from scenarios.running.lifetimes import run_together, sharing_a_learner
from scenarios.running.own_code import component_errors
from scenarios.running.progress import Interrupted
from scenarios.running.provenance import notes_on_training, notes_on_tuning
from scenarios.running.summary import metrics_of
from scenarios.running.tasks import Run, Site, Task
from scenarios.running.world import (
    check_methods,
    check_policies,
    check_prices,
    check_world,
    load_world,
    truth_as_json,
)
from scenarios.streams.scenario import Scenario

FAILED = "failed.json"
_DECIDING = OF_WORLD | settings_of(CompareConfig, "machine")


@dataclass(frozen=True)
class World:
    """A cell of a sweep, with the folder of its lifetimes."""

    number: int
    """Its position among the cells."""
    cell: Cell
    described: Mapping[str, Any]
    """What decides its lifetimes beside the method and the seed."""
    directory: RunDirectory

    @property
    def config(self) -> CompareConfig:
        """Its settings."""
        return self.cell.config

    @cached_property
    def folders(self) -> dict[str, str]:
        """The name of the folder of each method's lifetimes, by label."""
        return {method.label: lifetime_folder(method) for method in self.config.methods}


@dataclass(frozen=True)
class Group:
    """The lifetimes of one task: those of a world and a seed whose methods share a learner."""

    world: World
    seed: int
    methods: tuple[Method, ...]
    folder: str
    """Of its checkpoints, in that of its world."""

    def lifetime(self, method: Method) -> Path:
        """The folder of one of its lifetimes."""
        return self.world.directory.path / f"seed{self.seed}" / self.world.folders[method.label]

    @property
    def unfinished(self) -> list[Method]:
        """The methods whose lifetimes have not ended."""
        return [method for method in self.methods if not (self.lifetime(method) / SUMMARY).exists()]

    @property
    def failed(self) -> Path:
        """The file that says how it failed."""
        return self.world.directory.path / self.folder / FAILED


def lifetime_folder(method: Method) -> str:
    """The folder of a method's lifetimes, which ends in a digest of what decides them."""
    parts = method.model_dump(mode="json", exclude={"label"})
    return default_name([method.label], short_digest({**parts, "own_code": own_code(method)}))


def worlds_of(config: SweepConfig, path: Path, access: Access) -> list[World]:
    """The worlds of a sweep in the folder at `path`."""
    of_data: dict[tuple[str, Any], dict[str, Any]] = {}
    worlds = []
    for number, cell in enumerate(config.cells):
        dataset, plain = cell.config.dataset, cell.config.model_dump(mode="json", include=set(_DECIDING))
        key = str(dataset), cell.config.image_size
        if key not in of_data:  # versions, machine and fingerprint
            alone = cell.config.model_copy(update={"methods": ()})
            threads = config.threads
            of_data[key] = describe("sweep", config.preset, alone, dataset=dataset, threads=threads, access=access)
        own = {spec: found for spec, found in own_code(cell.config).items() if spec in plain.values()}
        described = {**of_data[key], "experiment": "lifetimes of a sweep", "settings": plain, "own_code": own}
        words = [f"{name}-{value}" for name, value in cell.values.items()] or [dataset_word(dataset)]
        folder = default_name(words, short_digest(identity_of(described)))
        worlds.append(World(number, cell, described, RunDirectory(path / folder)))
    return worlds


def groups_of(config: SweepConfig, worlds: Sequence[World]) -> Iterator[Group]:
    """The tasks of a sweep, those of one world and seed after each other."""
    for world in worlds:
        shared = [tuple(methods) for methods in sharing_a_learner(world.config.methods)]
        digests = [short_digest({"lifetimes": [world.folders[each.label] for each in methods]}) for methods in shared]
        for seed in config.seeds:
            for methods, digest in zip(shared, digests, strict=True):
                yield Group(world, seed, methods, f"seed{seed}/task-{digest}")


def run(config: SweepConfig, run: Run) -> Swept:
    """Run every task that has neither finished nor failed, and write the table of all finished lifetimes.

    A lifetime that fails is listed with its error, and the others go on; `retry_failed` runs it again.

    Raises:
        DatasetError: a data set cannot be loaded.
        Interrupted: the reporter stopped the run; the table has what is finished.
        InvalidSetting: a world, or the machine, does not allow a method.
        RunError: a file cannot be written, a summary is invalid, or a worker process was lost.
    """
    groups = list(groups_of(config, worlds_of(config, run.directory.path, run.access)))
    waiting = waiting_of(config, groups)
    _check(waiting, run)
    by_task = {(group.world.directory.path, (group.seed, group.folder)): group for group in waiting}
    try:
        for task, failed in run.do(_task(group, run) for group in waiting):
            group = by_task[task.folder, task.arguments]
            if failed:
                group.world.directory.write(f"{group.folder}/{FAILED}", json.dumps(failed, indent=2) + "\n")
            else:
                shutil.rmtree(group.failed.parent, ignore_errors=True)
    except Interrupted:
        _write(config, groups, run)
        raise
    return _write(config, groups, run)


def waiting_of(config: SweepConfig, groups: Sequence[Group]) -> list[Group]:
    """The tasks that are to be done."""
    unfinished = [group for group in groups if group.unfinished]
    return [group for group in unfinished if config.retry_failed or not group.failed.exists()]


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


def load_first(groups: Sequence[Group], run: Run) -> tuple[Dataset, Scenario]:
    """Load the world of the first of the groups, all of one world, and check that each of their methods can begin.

    Raises:
        DatasetError: the data set cannot be loaded.
        InvalidSetting: the world does not allow a method.
    """
    world, seed = groups[0].world, groups[0].seed
    try:
        loaded = run.cache.get(
            (world_key(world.config), seed),
            lambda: load_world(world.config, seed, _access(world, run.access), run.reporter),
        )
        methods = dict.fromkeys(method for group in groups for method in group.methods)
        check_methods(world.config, seed, list(methods), loaded)
    except InvalidSetting as error:
        raise InvalidSetting(f"{error}{at(world.cell.values)}") from None
    return loaded


def _task(group: Group, run: Run) -> Task:
    directory, config = group.world.directory, group.world.config.model_copy(update={"methods": group.methods})
    if not (directory.path / CONFIG).exists():
        directory.write(CONFIG, json.dumps(group.world.described, indent=2) + "\n")
    access = _access(group.world, run.access)
    return Task(run_lifetimes, config, (group.seed, group.folder), directory.path, access)


def _access(world: World, access: Access) -> Access:
    return replace(access, content=world.described["data"])


def world_key(config: CompareConfig) -> tuple[Any, ...]:
    """What decides the world of a seed."""
    return tuple(getattr(config, name) for name in sorted(OF_WORLD))


def run_lifetimes(config: CompareConfig, seed: int, folder: str, site: Site) -> dict[str, dict[str, str]]:
    """Run the unfinished lifetimes of a task, together; if that fails, each alone, so that only those fail that must.

    Args:
        config: settings of the world, with the methods of the task alone.
        seed: of the lifetimes.
        folder: of the checkpoints.
        site: in the folder of the world.

    Returns:
        The error and its traceback of each lifetime that failed, by the label of its method.

    Raises:
        Interrupted: the reporter stopped the run.
    """
    failed = _run(config, seed, config.methods, folder, site)
    if failed is None:
        return {}
    if len(config.methods) == 1:
        return {config.methods[0].label: failed}
    site.directory.checkpoints(folder).drop()  # its error would come again
    alone = {
        each.label: _run(config, seed, [each], f"{folder}/{lifetime_folder(each)}", site) for each in config.methods
    }
    return {label: error for label, error in alone.items() if error is not None}


def _run(config: CompareConfig, seed: int, methods: Sequence[Method], folder: str, site: Site) -> dict[str, str] | None:
    """Run the unfinished lifetimes of methods that share a learner; returns how they failed, or None."""
    try:
        with component_errors():
            key = world_key(config), seed
            world = site.cache.get(key, lambda: load_world(config, seed, site.access, site.reporter))
            site.directory.write(f"seed{seed}/scenario.json", truth_as_json(world[1]))
            records = {each.label: site.directory.lifetime(f"seed{seed}/{lifetime_folder(each)}") for each in methods}
            run_together(config, seed, methods, world, records, site.directory.checkpoints(folder), site.reporter)
    except Interrupted:
        raise
    except Exception as error:  # the other tasks go on
        reason = " ".join(str(error).split()) or type(error).__name__
        return {"error": reason, "traceback": "".join(traceback.format_exception(error))}
    return None


def _write(config: SweepConfig, groups: Sequence[Group], run: Run) -> Swept:
    """Write the table of finished lifetimes, their means and the figure."""
    lifetimes, failures, n_missing = [], [], 0
    for group in groups:
        unfinished = group.unfinished
        n_missing += len(unfinished)
        if unfinished and group.failed.exists():
            said = read_object(group.failed, "--retry-failed runs the task again")
            values = group.world.cell.values
            failures += [Failure(values, group.seed, label, str(each["error"])) for label, each in said.items()]
        for method in (each for each in group.methods if each not in unfinished):
            folder = group.lifetime(method)
            summary = read_object(folder / SUMMARY, "remove it, and run the sweep again")
            place = folder.relative_to(run.directory.path).as_posix()
            metrics = metrics_of(summary, folder)
            lifetimes.append(Lifetime(group.world.number, method, group.seed, place, metrics))
    notes = notes_on_intervals(config.first, n_together=len(config.first.methods), of="schedules")
    notes += notes_on_tuning(config)
    for cell in config.cells:
        policies = list(dict.fromkeys(method.policy for method in cell.config.methods))
        notes += notes_on_training(policies, cell.config.dataset, config.seeds, run.access)
    swept = make_sweep(config, lifetimes, failures, n_missing, list(dict.fromkeys(notes)))
    write_sweep(swept, run.directory)
    return swept


def _check_settings(config: SweepConfig) -> None:
    for cell in config.cells:
        try:
            check_prices(cell.config)
            check_policies(dict.fromkeys(method.policy for method in cell.config.methods))
            for recipe in dict.fromkeys(method.recipe for method in cell.config.methods):
                recipe.make()
        except InvalidSetting as error:
            raise InvalidSetting(f"{error}{at(cell.values)}") from None


def _prepare(config: SweepConfig, access: Access) -> None:
    for cell in config.cells:
        check_world(cell.config, config.first.first_seed, cell.config.methods, access)


SWEEP = Experiment(
    "sweep",
    SweepConfig,
    words=lambda config: [*config.axes, short_digest(config.model_dump(mode="json"))],
    run=run,
    report=lambda swept, _, path: report(swept, path),
    check=_check_settings,
    prepare=_prepare,
    dataset=lambda config: None,  # each cell has its own
    side_by_side=True,
    settle=lambda config, settled: config.changed(settled),
)
