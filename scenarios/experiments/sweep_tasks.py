"""What a sweep consists of: worlds, and tasks in them.

A lifetime is known by the settings that decide it: its folder is `WORLD/seedN/METHOD` in that of the sweep, where WORLD
and METHOD end in digests. A sweep whose axes or seeds change goes on in its folder, and finds there what is finished.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from agent.errors import InvalidSetting, RunError
from agent.storage.record import CONFIG, SUMMARY, RunDirectory, read_object
from scenarios.config.method import Method
from scenarios.config.settings import CompareConfig, settings_of
from scenarios.config.sweep import OF_WORLD, Cell, SweepConfig, at
from scenarios.datasets.fingerprints import reads_files
from scenarios.datasets.load import Dataset
from scenarios.datasets.source import Access
from scenarios.running.failures import FAILED, PASSING, said_of
from scenarios.running.identity import (
    AVALANCHE,
    dataset_word,
    default_name,
    describe,
    identity_of,
    own_code,
    same_run,
    short_digest,
)
from scenarios.running.lifetimes import run_together, sharing_a_learner
from scenarios.running.machine import distribution_version
from scenarios.running.own_code import component_errors
from scenarios.running.progress import Interrupted
from scenarios.running.tasks import Run, Site, Task
from scenarios.running.world import check_methods, load_world, truth_as_json
from scenarios.streams.scenario import Scenario

MAY_PASS = "passing"
"""Marks an error that is no fault of a method."""
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
    def config_text(self) -> str:
        """The content of its config.json."""
        return json.dumps(self.described, indent=2) + "\n"

    @cached_property
    def folders(self) -> dict[str, str]:
        """The name of the folder of each method's lifetimes, by label."""
        return {method.label: lifetime_folder(method) for method in self.config.methods}


class Place(NamedTuple):
    """Where a task's files are, in the folder of the sweep."""

    world: str
    """The folder of its world."""
    seed: int
    checkpoints: str
    """The folder of its checkpoints, in that of its world."""
    described: str
    """The content of config.json of the world, which the first of its tasks writes."""


@dataclass(frozen=True)
class Group:
    """The lifetimes of one task: those of a world and a seed whose methods share a learner."""

    world: World
    seed: int
    methods: tuple[Method, ...]
    folder: str
    """Of its checkpoints, in that of its world."""

    @property
    def place(self) -> Place:
        """Where the files of its task are."""
        return Place(self.world.directory.path.name, self.seed, self.folder, self.world.config_text)

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
    """The folder of a method's lifetimes, which ends in a digest of what decides them; its label does not."""
    parts = method.model_dump(mode="json", exclude={"label"})
    decides = {**parts, "own_code": own_code(method)}
    if method.baseline is not None:
        decides[AVALANCHE] = distribution_version(AVALANCHE)
    return default_name([str(method.baseline or method.policy)], short_digest(decides))


def worlds_of(config: SweepConfig, path: Path, access: Access) -> list[World]:
    """The worlds of a sweep in the folder at `path`; those that are there already are known by their digests.

    Raises:
        InvalidSetting: two methods of the same parts, or two worlds of the same settings.
    """
    of_data: dict[tuple[str, Any], dict[str, Any]] = {}
    there = {each.name.rpartition("-")[2]: each.name for each in path.glob("*-*") if (each / CONFIG).exists()}
    worlds: list[World] = []
    for number, cell in enumerate(config.cells):
        # These change no other number, but lifetimes without them are not those that were asked for.
        deciding = {*_DECIDING, *(name for name in ("keep_predictions", "evaluate") if getattr(cell.config, name))}
        dataset, plain = cell.config.dataset, cell.config.model_dump(mode="json", include=deciding)
        key = str(dataset), cell.config.image_size
        if key not in of_data:  # versions, machine and fingerprint
            alone = cell.config.model_copy(update={"methods": ()})
            threads = config.threads
            of_data[key] = describe("sweep", config.preset, alone, dataset=dataset, threads=threads, access=access)
        own = {spec: found for spec, found in own_code(cell.config).items() if spec in plain.values()}
        described = {**of_data[key], "experiment": "lifetimes of a sweep", "settings": plain, "own_code": own}
        digest = short_digest(identity_of(described))
        if digest not in there and described["data"] is None and reads_files(str(dataset)):
            digest = _without_data(path, described, there) or digest
        words = [f"{name}-{value}" for name, value in cell.values.items()] or [dataset_word(dataset)]
        folder = there.get(digest) or default_name(words, digest)
        _check_different(folder, cell, worlds)
        worlds.append(World(number, cell, described, RunDirectory(path / folder)))
    return worlds


def _without_data(path: Path, described: Mapping[str, Any], there: Mapping[str, str]) -> str | None:
    """The digest of a world that is there, but whose data are missing now."""
    for digest, name in there.items():
        before, now = same_run(read_object(path / name / CONFIG, "remove the file"), described)
        if before == now:
            return digest
    return None


def _check_different(folder: str, cell: Cell, worlds: Sequence[World]) -> None:
    if any(world.directory.path.name == folder for world in worlds):
        raise InvalidSetting(f"expected different worlds, got one twice{at(cell.values)}; leave out either")
    by_parts: dict[str, str] = {}
    for method in cell.config.methods:
        other = by_parts.setdefault(lifetime_folder(method), method.label)
        if other != method.label:
            raise InvalidSetting(f"expected different methods, got {other} and {method.label}, which are the same")


def groups_of(config: SweepConfig, worlds: Sequence[World]) -> Iterator[Group]:
    """The tasks of a sweep, those of one world and seed after each other."""
    for world in worlds:
        shared = [tuple(methods) for methods in sharing_a_learner(world.config.methods)]
        digests = [short_digest({"lifetimes": [world.folders[each.label] for each in methods]}) for methods in shared]
        for seed in config.seeds:
            for methods, digest in zip(shared, digests, strict=True):
                yield Group(world, seed, methods, f"seed{seed}/task-{digest}")


def waiting_of(config: SweepConfig, groups: Sequence[Group]) -> list[Group]:
    """The tasks that are to be done: those with lifetimes that have neither ended nor failed, or that are retried."""
    waiting = []
    for group in groups:
        unfinished = {method.label for method in group.unfinished}
        if unfinished and (config.retry_failed or unfinished - failures_of(group).keys()):
            waiting.append(group)
    return waiting


def failures_of(group: Group) -> dict[str, str]:
    """The errors of the lifetimes that failed before, by the labels of their methods.

    Raises:
        RunError: the file that says so is damaged.
    """
    if not group.failed.exists():
        return {}
    found = read_object(group.failed, "remove it, and run the sweep again")
    try:
        return {label: str(said["error"]) for label, said in found.items()}
    except (KeyError, TypeError):
        raise RunError(
            f"expected the errors of lifetimes in {group.failed}, got something else; remove it, and run the sweep "
            "again"
        ) from None


def mend_worlds(worlds: Sequence[World]) -> None:
    """Write what identifies a world again, where its file was removed or damaged."""
    for world in worlds:
        path = world.directory.path
        if path.exists():
            try:
                found = read_object(path / CONFIG, "")
            except (FileNotFoundError, RunError):
                found = {}
            if not found.keys() >= {"settings", "versions", "machine", "data"}:
                world.directory.write(CONFIG, world.config_text)


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


def task_of(group: Group, run: Run) -> Task:
    """The task of a group."""
    config, access = group.world.config.model_copy(update={"methods": group.methods}), _access(group.world, run.access)
    place = group.place
    return Task(run_lifetimes, config, (place,), run.directory.path, access, f"{place.world}/seed{place.seed}")


def _access(world: World, access: Access) -> Access:
    return replace(access, content=world.described["data"])


def world_key(config: CompareConfig) -> tuple[Any, ...]:
    """What decides the world of a seed."""
    return tuple(getattr(config, name) for name in sorted(OF_WORLD))


def run_lifetimes(config: CompareConfig, place: Place, site: Site) -> dict[str, dict[str, str]]:
    """Run the unfinished lifetimes of a task, together; if that fails, each alone, so that only those fail that must.

    Args:
        config: settings of the world, with the methods of the task alone.
        place: of the files.
        site: in the folder of the sweep.

    Returns:
        The error and its traceback of each lifetime that failed, by the label of its method, with a mark if the next
        attempt may succeed.

    Raises:
        Interrupted: the reporter stopped the run.
    """
    labels = [method.label for method in config.methods]
    try:
        _run(config, config.methods, place, site)
    except Interrupted:
        raise
    except Exception as error:  # the other tasks go on
        said = _said(error)
        if MAY_PASS in said or len(labels) == 1:
            return {label: dict(said) for label in labels}
    else:
        return {}
    # The error would come again from the checkpoint.
    shutil.rmtree(site.directory.path / place.world / place.checkpoints, ignore_errors=True)
    failed = {}
    for method in config.methods:
        own = place._replace(checkpoints=f"{place.checkpoints}/{lifetime_folder(method)}")
        try:
            _run(config, [method], own, site)
        except Interrupted:
            raise
        except Exception as error:
            failed[method.label] = _said(error)
    return failed


def _run(config: CompareConfig, methods: Sequence[Method], place: Place, site: Site) -> None:
    """Run the unfinished lifetimes of methods that share a learner."""
    directory, seed = RunDirectory(site.directory.path / place.world), place.seed
    with component_errors():
        if not (directory.path / CONFIG).exists():
            directory.write(CONFIG, place.described)
        key = world_key(config), seed
        world = site.cache.get(key, lambda: load_world(config, seed, site.access, site.reporter))
        directory.write(f"seed{seed}/scenario.json", truth_as_json(world[1]))
        records = {each.label: directory.lifetime(f"seed{seed}/{lifetime_folder(each)}") for each in methods}
        run_together(config, seed, methods, world, records, directory.checkpoints(place.checkpoints), site.reporter)


def _said(error: Exception) -> dict[str, str]:
    """What is said of an error, marked if it is no fault of a method."""
    said = said_of(error)
    return {**said, MAY_PASS: "yes"} if isinstance(error, PASSING) else said
