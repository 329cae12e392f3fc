"""Seeds that a policy has seen in training, and on which its results say little about others."""

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.errors import DatasetError, InvalidSetting
from agent.policies.file import read_policy_file
from scenarios.config.presets import PLACES_OF_BEFORE
from scenarios.config.specs import FILE, parse
from scenarios.datasets.load import fingerprint


def seeds_trained_on(path: Path, dataset: str, data: str | None) -> frozenset[int]:
    """The seeds of a data set that the policy in a file was trained on; none for one made by hand.

    Another scenario or tariff on the same seed has the same images, and counts as seen. Other seeds of a data set that
    is made up (textures) have other images. Those of a finite one share its images and part them otherwise: what is
    held out there are order, initial weights and which images serve for what, and not the images. A folder is known by
    its fingerprint, however it is spelled; where a fingerprint is missing, any two folders count as the same.

    Args:
        path: of the policy file.
        dataset: by its name.
        data: its fingerprint (`scenarios.datasets.load.fingerprint`); None if it has or tells none.

    Raises:
        InvalidSetting: no policy file, or one that tells of its training in another way than this program does.
    """
    training = _training_of(path)
    if not training:
        return frozenset()
    settings, seeds = training.get("settings"), training.get("seeds")
    theirs = settings.get("dataset") if isinstance(settings, dict) else None
    listed: list[Any] = seeds if isinstance(seeds, list) else [None]
    if not isinstance(theirs, str) or not all(type(seed) is int and seed >= 0 for seed in listed):
        raise InvalidSetting(
            f"expected the policy file {path} to tell the data set and the seeds that it was trained on, got none or "
            "odd ones; without them nobody knows what it may be evaluated on"
        )
    if theirs.startswith("folder:") and dataset.startswith("folder:"):
        prints = {data, training.get("data")}
        same = len(prints) == 1 or None in prints
    else:
        same = theirs == dataset
    return frozenset(listed) if same else frozenset()


def _training_of(path: Path) -> Mapping[str, Any]:
    """What a policy file tells of its training.

    Raises:
        InvalidSetting: no policy file, or one whose settings have names of before.
    """
    training = read_policy_file(path).training
    settings = training.get("settings")
    former = [name for name in settings if name in PLACES_OF_BEFORE] if isinstance(settings, dict) else []
    if former:
        raise InvalidSetting(
            f"expected {PLACES_OF_BEFORE[former[0]]} among the settings that the policy in {path} was trained with, "
            f"got {former[0]}, as it was called before; train it again"
        )
    return training


def notes_on_tariffs(policies: Iterable[str]) -> list[str]:
    """What a careful reader should know of policies trained under a tariff that live where prices are constant.

    Raises:
        InvalidSetting: a policy file that cannot be read.
    """
    notes = []
    for spec in policies:
        if parse(spec).name != FILE:
            continue
        settings = _training_of(Path(parse(spec).settings["path"])).get("settings")
        tariff = settings.get("tariff", "constant") if isinstance(settings, dict) else "constant"
        if tariff != "constant":
            notes.append(
                f"{spec} was trained under the tariff {reprlib.repr(tariff)}, and lives here at a constant price of 1; "
                "`lifetime compare --tariff` lives it in such a world"
            )
    return notes


def notes_on_training(policies: Sequence[str], dataset: str, seeds: Sequence[int], data_dir: Path | None) -> list[str]:
    """What a careful reader should know of policies that are lived on seeds that they were trained on.

    Args:
        policies: specs.
        dataset: by its name; a folder that is gone counts as any folder.
        seeds: of the lifetimes.
        data_dir: where fingerprints are kept; None for the user's cache folder.

    Raises:
        InvalidSetting: a policy file that cannot be read.
    """
    notes: list[str] = []
    if not any(parse(spec).name == FILE for spec in policies):
        return notes
    try:
        data = fingerprint(dataset, data_dir)
    except DatasetError:
        data = None
    for spec in policies:
        if parse(spec).name != FILE:
            continue
        seen = sorted(seeds_trained_on(Path(parse(spec).settings["path"]), dataset, data) & set(seeds))
        if seen:
            listed = ", ".join(map(str, seen))
            notes.append(
                f"{spec} was trained on seeds {listed} of this data set: its results on them say little about others; "
                "--first-seed begins beyond them"
            )
    return notes
