"""The identity of a run: the settings, data, code, versions and machine that decide its numbers.

config.json holds the identity and more: `identity_of` leaves out what cannot change a number, such as the spelling of a
folder's path.
"""

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.errors import DatasetError, InvalidSetting, RunError
from agent.storage.record import CONFIG
from scenarios.config.members import Member
from scenarios.config.method import MethodSettings, Settings, names_baseline
from scenarios.config.settings import (
    AgentConfig,
    BesideCurvesConfig,
    CompareRunsConfig,
    EvaluateConfig,
    FrontierConfig,
    JoinCurvesConfig,
    TrainConfig,
    settings_of,
)
from scenarios.config.specs import FILE
from scenarios.config.sweep import SweepConfig
from scenarios.datasets.fingerprints import decodes_images, reads_files, without_path
from scenarios.datasets.load import fingerprint
from scenarios.datasets.source import Access
from scenarios.running.code_digest import digest_of_module
from scenarios.running.machine import DECODER, machine, versions

_DECIDING = ("python", "torch", "numpy", "scipy", "source")
"""Versions that decide the numbers of every run; some runs have more (`_versions_that_decide`)."""

_VERSIONS_OF_DATA = {"digits": ("scikit-learn",), "torchvision": ("torchvision",), "parquet": ("pyarrow",)}
"""Versions that decide the data of some data sets, in addition."""

_NOT_IDENTIFYING = frozenset({"preset", "prior_knowledge"})
"""Parts of a description that are not part of the identity."""

_IDLE = frozenset().union(
    *(
        settings_of(kind, "idle")
        for kind in (
            AgentConfig,
            TrainConfig,
            EvaluateConfig,
            CompareRunsConfig,
            JoinCurvesConfig,
            BesideCurvesConfig,
            FrontierConfig,
            SweepConfig,
        )
    )
)
"""Settings that are not part of the identity; digests identify the trees, runs and lifetimes that some of them name."""

AVALANCHE = "avalanche-lib"
"""What decides the numbers of baselines."""

_GROWING = {"curve": "seeds", "compare": "seeds", "reproduce": "seeds", "tune": "trials"}
"""What runs of an experiment can have more of later: the number is not part of the identity."""

PRIOR_KNOWLEDGE = (
    "number of classes",
    "normalization: mean and standard deviation of each channel over the whole training part",
    "augmentation that suits the data set",
    "number of chunks of the stream, for policies that read it",
)
"""What an agent knows at initialization; summaries hold the values."""


def describe(
    experiment: str, preset: str, config: Settings, *, dataset: Member | None, threads: int | None, access: Access
) -> dict[str, Any]:
    """The content of config.json.

    Args:
        experiment: its name.
        preset: the preset that the settings started from.
        config: the settings.
        dataset: the data set that the run reads; None if it reads none.
        threads: threads of a process; None for the default of torch.
        access: where data sets are.

    Returns:
        Plain values. `data` is None if the run reads no data set, or if the data set needs no fingerprint or is
        missing: a finished run can be shown without its data, and an unfinished one fails when it loads them.
    """
    plain = config.model_dump(mode="json")
    read = [(each.config.dataset, each.config.image_size) for each in getattr(config, "cells", ())]
    read += [(dataset, plain.get("image_size"))] if dataset is not None else []
    try:
        data = fingerprint(dataset, access) if dataset else None
    except DatasetError:
        data = None
    described = {
        "experiment": experiment,
        "preset": preset,
        "settings": plain,
        "data": data,
        "prior_knowledge": list(PRIOR_KNOWLEDGE),
        "versions": versions(decoders=any(decodes_images(*each) for each in read)),
        "machine": machine(getattr(config, "device", "cpu"), threads),
    }
    own = own_code(config)
    return described | ({"own_code": own} if own else {})


def identity_of(described: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a description that decides the numbers of its run: equal identities are the same run.

    The content identifies a folder of images, not its path.
    """
    identity = {name: value for name, value in described.items() if name not in _NOT_IDENTIFYING}
    if described.get("experiment") == "sweep":
        identity.pop("own_code", None)  # that of a lifetime identifies it
    settings, found = described.get("settings"), described.get("versions")
    dataset = str(settings.get("dataset")) if isinstance(settings, dict) else ""
    if isinstance(settings, dict):
        unused = _IDLE | (MethodSettings.model_fields.keys() if "methods" in settings else set())  # they are complete
        unused |= {_GROWING.get(str(described.get("experiment")), "")}
        identity["settings"] = {name: value for name, value in settings.items() if name not in unused}
        if dataset:
            identity["settings"]["dataset"] = without_path(dataset)
    if isinstance(found, dict):
        deciding = _versions_that_decide(str(described.get("experiment")), dataset)
        deciding |= {AVALANCHE} if _names_baseline(settings) else set()
        identity["versions"] = {
            name: value for name, value in found.items() if name in deciding or name.startswith(DECODER)
        }
    return identity


def same_run(found: Mapping[str, Any], described: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The identities of a run on disk and of a description, without their data if the description lacks them."""
    before, now = identity_of(found), identity_of(described)
    if now.get("data") is None and before.get("data") is not None:
        before, now = before | {"data": None}, now | {"data": None}
    return before, now


def grown_run(stored: Mapping[str, Any], now: Mapping[str, Any]) -> Mapping[str, Any]:
    """The configuration of a run that goes on, which may have more of what `_GROWING` says.

    Raises:
        RunError: fewer than it had.
    """
    if now["experiment"] not in _GROWING:
        return stored
    name = _GROWING[now["experiment"]]
    before, wanted = stored["settings"].get(name), now["settings"][name]
    if before is not None and wanted < before:
        raise RunError(
            f"expected at least the {before} {name} that the run has, got {wanted}; give --{name} {before}, or choose "
            "another --name"
        )
    return {**stored, "settings": {**stored["settings"], name: wanted}}


def run_folder(parent: Path, name: str | None, words: list[str], described: Mapping[str, Any]) -> Path:
    """The folder of a run: its name, or else words and the digest of its identity.

    A run of the same identity under other words is found again, as its data folder may have had another name. A run
    whose data are missing is found again by their path.

    Raises:
        InvalidSetting: the data are missing and several runs have these settings.
    """
    if name is not None:
        known = [path for path in parent.glob("*") if _composed(path.name) == _composed(name)]
        return known[0] if known else parent / _composed(name)
    identity, settings = identity_of(described), described.get("settings")
    if described.get("experiment") == "sweep":  # it may change its settings, but has a name by those that it began with
        given = {name: value for name, value in (settings or {}).get("given", {}).items() if name != "seeds"}
        identity["settings"] = {**(settings or {}), "given": given}
    digest = short_digest(identity)
    default = parent / default_name(words, digest)
    if default.exists():
        return default
    others = sorted(path for path in parent.glob(f"*-{digest}") if path.is_dir())
    dataset = str(settings.get("dataset")) if isinstance(settings, dict) else ""
    if not others and reads_files(dataset) and not described["data"]:
        wanted = identity_of(described)  # without data
        others = [
            path
            for path in sorted(parent.glob("*"))
            if _identity_in(path) | {"data": None} == wanted and _dataset_in(path) == dataset
        ]
        if len(others) > 1:
            raise InvalidSetting(
                f"expected one run with these settings, got {len(others)} on different data, and the files of the "
                f"data set, which decide between them, are missing; `lifetime resume {others[0]}` shows one of them"
            )
    return others[0] if others else default


def default_name(words: list[str], digest: str) -> str:
    """A folder name from words and a digest, of at most 200 bytes in any encoding."""
    plain = (re.sub(r"[^\w.-]+", "-", _composed(word)).strip("-.") for word in words)
    named = "-".join(_cut(word, 60) for word in plain if word)
    return "-".join(part for part in (_cut(named, 180), digest) if part)


def _composed(name: str) -> str:
    """A name in Unicode's composed form, so that names that look the same are the same."""
    return unicodedata.normalize("NFC", name)


def _cut(word: str, nbytes: int) -> str:
    return word.encode("utf-8")[:nbytes].decode("utf-8", errors="ignore").rstrip("-.")


def short_digest(values: Mapping[str, Any]) -> str:
    """A short digest of plain values."""
    return hashlib.blake2b(json.dumps(values, sort_keys=True).encode("utf-8"), digest_size=4).hexdigest()


def _identity_in(path: Path) -> dict[str, Any]:
    return identity_of(_described_in(path))


def _dataset_in(path: Path) -> Any:
    settings = _described_in(path).get("settings")
    return settings.get("dataset") if isinstance(settings, dict) else None


def _described_in(path: Path) -> dict[str, Any]:
    try:
        found = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def members_of(config: Settings) -> list[Member]:
    """Every member in the settings, those of methods included."""
    found: list[Member] = []
    for value in vars(config).values():
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, Member):
                found.append(each)
            elif isinstance(each, Settings):
                found += members_of(each)
    return list(dict.fromkeys(found))


def own_code(config: Settings) -> dict[str, str]:
    """Digests of the policy files and of the user's own modules in the settings, by spec."""
    return {str(member): digest for member in members_of(config) if (digest := _digest_of(member))}


def own_components(config: Settings) -> list[str]:
    """The import paths of the user's own components in the settings."""
    return list(dict.fromkeys(member.name for member in members_of(config) if member.is_own))


def _versions_that_decide(experiment: str, dataset: str) -> set[str]:
    of_training = ("cmaes", "gymnasium", "stable-baselines3") if experiment == "train-policy" else ()
    of_tuning = ("optuna",) if experiment == "tune" else ()
    of_data: tuple[str, ...] = _VERSIONS_OF_DATA.get(dataset.partition(":")[0], ())
    if experiment == "sweep":
        of_data = tuple(name for names in _VERSIONS_OF_DATA.values() for name in names)
    return {*_DECIDING, *of_training, *of_tuning, *of_data}


def _names_baseline(settings: Any) -> bool:
    """Whether the settings of a run, as plain values, have a baseline in any of their methods."""
    if not isinstance(settings, dict):
        return False
    given = settings.get("given")  # of a sweep
    found = [settings, given, *(settings.get("methods") or ()), *((given or {}).get("methods") or ())]
    named = any(isinstance(each, Mapping) and names_baseline(each) for each in found)
    return named or "baseline" in (settings.get("axes") or {})


def dataset_word(dataset: Member) -> str:
    """The data set as one word of a folder name."""
    return str(dataset) if dataset.path is None else dataset.path.name or dataset.name


def _digest_of(member: Member) -> str | None:
    """The digest of a policy file or of the modules of a user's own member; None for members of this program."""
    if member.is_own:
        return digest_of_module(member.name.rpartition(".")[0])
    if member.name != FILE or member.path is None:
        return None
    try:
        return hashlib.blake2b(Path(os.path.expanduser(member.path)).read_bytes(), digest_size=8).hexdigest()  # noqa: PTH111
    except OSError as error:
        raise InvalidSetting(f"expected a readable policy file at {member.path}, got: {error.strerror}") from error
