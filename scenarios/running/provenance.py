"""The seeds that a policy was trained on, and notes about policies that run on these seeds."""

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.errors import DatasetError, InvalidSetting
from agent.policies.file import read_policy_file
from scenarios.config.members import Member
from scenarios.config.presets import FORMER_OPTIONS
from scenarios.datasets.fingerprints import without_path
from scenarios.datasets.load import fingerprint
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
