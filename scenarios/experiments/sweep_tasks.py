"""What a sweep consists of: worlds, and tasks in them.

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
from typing import Any, NamedTuple

from agent.errors import InvalidSetting
from agent.storage.record import CONFIG, SUMMARY, RunDirectory
from scenarios.config.method import Method
from scenarios.config.settings import CompareConfig, settings_of
from scenarios.config.sweep import OF_WORLD, Cell, SweepConfig, at
from scenarios.datasets.load import Dataset
from scenarios.datasets.source import Access
from scenarios.running.identity import dataset_word, default_name, describe, identity_of, own_code, short_digest
from scenarios.running.lifetimes import run_together, sharing_a_learner
from scenarios.running.own_code import component_errors
from scenarios.running.progress import Interrupted
from scenarios.running.tasks import Run, Site, Task
from scenarios.running.world import (
    check_methods,
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


def waiting_of(config: SweepConfig, groups: Sequence[Group]) -> list[Group]:
    """The tasks that are to be done."""
    unfinished = [group for group in groups if group.unfinished]
    return [group for group in unfinished if config.retry_failed or not group.failed.exists()]


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
        The error and its traceback of each lifetime that failed, by the label of its method.

    Raises:
        Interrupted: the reporter stopped the run.
    """
    failed = _run(config, config.methods, place, site)
    if failed is None:
        return {}
    if len(config.methods) == 1:
        return {config.methods[0].label: failed}
    shutil.rmtree(
        site.directory.path / place.world / place.checkpoints, ignore_errors=True
    )  # its error would come again
    alone = {}
    for method in config.methods:
        own = place._replace(checkpoints=f"{place.checkpoints}/{lifetime_folder(method)}")
        alone[method.label] = _run(config, [method], own, site)
    return {label: error for label, error in alone.items() if error is not None}


def _run(config: CompareConfig, methods: Sequence[Method], place: Place, site: Site) -> dict[str, str] | None:
    """Run the unfinished lifetimes of methods that share a learner; returns how they failed, or None."""
    directory, seed = RunDirectory(site.directory.path / place.world), place.seed
    try:
        with component_errors():
            if not (directory.path / CONFIG).exists():
                directory.write(CONFIG, place.described)
            world = site.cache.get(
                (world_key(config), seed), lambda: load_world(config, seed, site.access, site.reporter)
            )
            directory.write(f"seed{seed}/scenario.json", truth_as_json(world[1]))
            records = {each.label: directory.lifetime(f"seed{seed}/{lifetime_folder(each)}") for each in methods}
            run_together(config, seed, methods, world, records, directory.checkpoints(place.checkpoints), site.reporter)
    except Interrupted:
        raise
    except Exception as error:  # the other tasks go on
        reason = " ".join(str(error).split()) or type(error).__name__
        return {"error": reason, "traceback": "".join(traceback.format_exception(error))}
    return None
