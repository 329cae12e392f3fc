"""What policies were trained on and methods were tuned on, and notes about runs that use them."""

import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.errors import DatasetError, InvalidSetting
from agent.policies.file import read_policy_file
from scenarios.config.members import Member
from scenarios.config.method import AgentSettings, Settings
from scenarios.config.presets import FORMER_OPTIONS
from scenarios.config.settings import AgentConfig
from scenarios.config.tuned import Tuned
from scenarios.datasets.fingerprints import without_path
from scenarios.datasets.load import GENERATED, fingerprint
from scenarios.datasets.source import Access


def policy_files(policies: Iterable[Member]) -> dict[str, Path]:
    """The path of each policy from a file, by its spec; other policies are left out."""
    return {str(policy): policy.path for policy in policies if policy.path is not None}


def seeds_trained_on(path: Path, dataset: Member | None, data: str | None) -> frozenset[int]:
    """The seeds of a data set that the policy in a file was trained on; none for a policy written by hand.

    A seed with another scenario or tariff has the same images, and counts as trained on. Another seed of a generated
    data set (textures) has other images. Another seed of a finite data set has the same images in another split: only
    the order, the initial weights and the split are new. A folder is identified by its fingerprint; if a fingerprint
    is missing, any two folders count as the same.

    Args:
        path: the policy file.
        dataset: the data set; None to check the file alone.
        data: its fingerprint (`scenarios.datasets.load.fingerprint`); None if it has none or it is unknown.

    Raises:
        InvalidSetting: the policy file is missing, or its facts about training are not those of this program.
    """
    training, settings = _training_of(path)
    if not training:
        return frozenset()
    theirs, seeds = settings.get("dataset"), training.get("seeds")
    listed: list[Any] = seeds if isinstance(seeds, list) else [None]
    if not isinstance(theirs, str) or not all(type(seed) is int and seed >= 0 for seed in listed):
        raise InvalidSetting(
            f"expected the policy file {path} to name the data set and the seeds that it was trained on, got none or "
            "invalid ones; train the policy again"
        )
    fingerprints = {data, training.get("data")}
    same = without_path(theirs) == without_path(str(dataset)) and (len(fingerprints) == 1 or None in fingerprints)
    return frozenset(listed) if same else frozenset()


def _training_of(path: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The facts in a policy file about its training, and the settings among them.

    Raises:
        InvalidSetting: the policy file is missing, or a setting has an earlier name.
    """
    training = read_policy_file(path).training
    settings = training.get("settings")
    settings = settings if isinstance(settings, dict) else {}
    former = [name for name in settings if name in FORMER_OPTIONS]
    if former:
        raise InvalidSetting(
            f"expected {FORMER_OPTIONS[former[0]]} among the settings that the policy in {path} was trained with, "
            f"got {former[0]}, as it was called before; train it again"
        )
    return training, settings


def notes_on_tariffs(policies: Iterable[Member]) -> list[str]:
    """Notes about policies that were trained under a tariff and run here at a constant price.

    Raises:
        InvalidSetting: a policy file cannot be read.
    """
    notes = []
    for spec, path in policy_files(policies).items():
        _, settings = _training_of(path)
        tariff = settings.get("tariff", "constant")
        if tariff != "constant":
            notes.append(
                f"{spec} was trained under the tariff {reprlib.repr(tariff)}, but the price is 1 for all chunks here; "
                "`lifetime compare --tariff` runs it under a tariff"
            )
    return notes


def notes_on_training(policies: Iterable[Member], dataset: Member, seeds: Sequence[int], access: Access) -> list[str]:
    """Notes about policies that run on seeds that they were trained on.

    Args:
        policies: those that run.
        dataset: the data set; a folder that cannot be read counts as any folder.
        seeds: the seeds of the lifetimes.
        access: where data sets are.

    Raises:
        InvalidSetting: a policy file cannot be read.
    """
    paths = policy_files(policies)
    if not paths:
        return []
    try:
        data = fingerprint(dataset, access)
    except DatasetError:
        data = None
    notes = []
    for spec, path in paths.items():
        if seen := sorted(seeds_trained_on(path, dataset, data) & set(seeds)):
            notes.append(
                f"{spec} was trained on seeds {', '.join(map(str, seen))} of this data set: its results on them say "
                "little about other seeds; choose others with --first-seed"
            )
    return notes


def check_tuning(config: Settings, access: Access) -> None:
    """Check that a run uses no seed that its methods were tuned on, on the same data.

    Args:
        config: the settings of any experiment.
        access: where data sets are.

    Raises:
        InvalidSetting: it uses one.
    """
    for world, _, tuned in _tuned_in(config):
        shared = sorted(set(_seeds_of(world)) & set(tuned.on_seeds))
        if shared and _same_data(tuned, world, access):
            raise InvalidSetting(
                f"expected other seeds than {_range(tuned.on_seeds)}, on which run {tuned.run} tuned "
                f"{_listed(sorted(tuned.parts))}, got {shared[0]}; choose others"
            )


def notes_on_tuning(config: Settings) -> list[str]:
    """A note for what was tuned: which parts, on what, beside which others, and whether test images were seen.

    Args:
        config: the settings of any experiment.
    """
    labels: dict[tuple[Tuned, bool], list[str]] = {}
    others: dict[tuple[Tuned, bool], list[str]] = {}
    for world, method, tuned in _tuned_in(config):
        key = tuned, _sees_test_images(tuned, world)
        labels.setdefault(key, []).append(getattr(method, "label", ""))
        others.setdefault(key, []).extend(tuned.others(method.model_dump(mode="json")))
    n_methods = max((len(_methods_of(world)) for world in _worlds(config)), default=0)
    notes = []
    for (tuned, sees), named in labels.items():
        distinct = list(dict.fromkeys(named))
        prefix = f"{', '.join(distinct)}: " if len(distinct) < n_methods else ""
        notes.append(f"{prefix}{_note(tuned, list(dict.fromkeys(others[tuned, sees])), sees)}")
    return notes


def _note(tuned: Tuned, others: Sequence[str], sees: bool) -> str:
    then = f" with another {_listed(others)}" if others else ""
    test = (
        "some of the test images here are among those that it was tuned on, since the seed draws them: give one "
        "--data-seed to both"
        if sees
        else "no test image was seen"
    )
    was = "was" if len(tuned.parts) == 1 else "were"
    return (
        f"{_listed(sorted(tuned.parts))} {was} tuned on {_range(tuned.on_seeds)} of {tuned.dataset}, {tuned.scenario} "
        f"({tuned.held_out:,} of {tuned.train_images:,} training images held out), {tuned.trials} trials, for "
        f"{tuned.maximized.replace('_', ' ')}{then}, run {tuned.run}; {test}"
    )


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _range(seeds: range) -> str:
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"


def _worlds(config: Settings) -> Iterator[AgentConfig]:
    """The settings of each world of an experiment, those of the cells of a sweep."""
    cells: Iterable[Any] = getattr(config, "cells", ())
    for cell in cells:
        yield cell.config
    if isinstance(config, AgentConfig):
        yield config


def _methods_of(world: AgentConfig) -> Sequence[AgentSettings]:
    """The methods of a world, or its own agent."""
    methods: Sequence[AgentSettings] = getattr(world, "methods", ())
    return methods or (world,)


def _tuned_in(config: Settings) -> Iterator[tuple[AgentConfig, AgentSettings, Tuned]]:
    """Each method with tuned parts, with its world and what it was tuned on."""
    for world in _worlds(config):
        for method in _methods_of(world):
            if method.tuned is not None:
                yield world, method, method.tuned


def _seeds_of(world: Any) -> range:
    if hasattr(world, "seed"):
        return range(world.seed, world.seed + 1)
    return range(world.first_seed, world.first_seed + world.seeds)


def _same_data(tuned: Tuned, world: AgentConfig, access: Access) -> bool:
    """Whether the data set is the one that was tuned on; files that cannot be read count as any files."""
    if without_path(tuned.dataset) != without_path(str(world.dataset)):
        return False
    try:
        found = fingerprint(world.dataset, access)
    except DatasetError:
        found = None
    return found == tuned.data or None in (found, tuned.data)


def _sees_test_images(tuned: Tuned, world: AgentConfig) -> bool:
    """Whether test images of a run may be among the images that were tuned on.

    They are not if the data set has a test part of its own, if the seed draws other images, or if the split is the
    same: what was tuned on is of its training part.
    """
    if tuned.own_test or without_path(tuned.dataset) != without_path(str(world.dataset)):
        return False
    names = ("data_seed", "train_size", "validation_size", "test_size", "image_size")
    split = {name: value for name in names if (value := getattr(world, name)) is not None}
    if "data_seed" in split and split == tuned.split:
        return False
    if tuned.dataset.partition(":")[0] not in GENERATED:
        return True
    seeds, before = _seeds_of(world), tuned.on_seeds
    drawn = {split["data_seed"]} if "data_seed" in split else {*seeds}
    drawn_before = {tuned.split["data_seed"]} if "data_seed" in tuned.split else {*before}
    return bool(drawn & drawn_before)
