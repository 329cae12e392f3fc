"""Finished runs side by side: their lifetimes are read from their folders."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import InvalidSetting, RunError
from agent.storage.record import CONFIG, SUMMARY, read_object
from scenarios.analysis.comparison import ScheduleLifetimes
from scenarios.config.families import SPECS
from scenarios.config.presets import validate
from scenarios.config.settings import CompareConfig, SimulateConfig, settings_of
from scenarios.config.specs import Spec, file_name, parse, split_specs
from scenarios.experiments.compare import Compared, make_comparison
from scenarios.running.interval_notes import notes_on_intervals
from scenarios.running.summary import metrics_of

_AGENT = settings_of(CompareConfig, "agent")
_FREE = settings_of(CompareConfig, "free") | settings_of(SimulateConfig, "free") | settings_of(CompareConfig, "idle")


def compare_runs(paths: Sequence[Path], confidence: float, cost_weight: float | None = None) -> Compared:
    """Compare finished runs of `simulate` or `compare`.

    Args:
        paths: folders of runs.
        confidence: level of all intervals, in (0, 1).
        cost_weight: accuracy that one unit of cost is worth; None to report no utility.

    Raises:
        RunError: a folder is not such a run, or the run is not finished.
        InvalidSetting: runs of different data sets, scenarios or seeds, or two lifetimes of one schedule and seed.
    """
    found = [lifetime for path in paths for lifetime in _lifetimes(path)]
    reference = found[0]
    notes = _agreement(found)
    differing = [
        name
        for name in reference.settings
        if name in _AGENT and any(lifetime.settings.get(name) != reference.settings[name] for lifetime in found)
    ]
    by_label: dict[str, dict[int, dict[str, float | None]]] = {}
    for lifetime in found:
        label = " ".join([lifetime.policy, *(f"{name}={_label(lifetime.settings, name, found)}" for name in differing)])
        of_label = by_label.setdefault(label, {})
        if lifetime.seed in of_label:
            raise InvalidSetting(f"expected each schedule and seed once, got {label} with seed {lifetime.seed} twice")
        of_label[lifetime.seed] = lifetime.metrics
    settings = {name: value for name, value in reference.settings.items() if name not in ("policy", "seed")}
    try:
        config = validate(CompareConfig, settings | {"confidence": confidence, "cost_weight": cost_weight})
    except InvalidSetting as error:
        raise InvalidSetting(f"{error} (in the settings of the run at {paths[0]})") from None
    notes += notes_on_intervals(config, n_together=len(by_label), of="schedules")
    return make_comparison([ScheduleLifetimes(label, by_seed) for label, by_seed in by_label.items()], config, notes)


def runs_digest(paths: Sequence[Path]) -> str:
    """A digest of the summaries of finished runs, independent of their paths."""
    digest = hashlib.blake2b(digest_size=4)
    for path in paths:
        for summary in sorted(path.rglob(SUMMARY)):
            digest.update(summary.read_bytes())
    return digest.hexdigest()


def read_config(path: Path) -> dict[str, Any]:
    """The content of config.json in the folder of a run.

    Raises:
        RunError: there is none, or it is not a JSON object.
    """
    try:
        return read_object(path / CONFIG, "give the folder of a run")
    except FileNotFoundError:
        raise RunError(f"expected a run at {path}, found no {CONFIG} there; give the folder of a run") from None


@dataclass(frozen=True)
class _Lifetime:
    path: Path
    policy: str
    seed: int
    settings: Mapping[str, Any]
    data: Any
    versions: Any
    """Versions and machine: processor and threads decide rounding too."""
    own_code: Mapping[str, str]
    metrics: dict[str, float | None]


def _agreement(found: Sequence[_Lifetime]) -> list[str]:
    """Notes on differences between the runs; raises InvalidSetting if they cannot be compared."""
    reference = found[0]
    for lifetime in found[1:]:
        of_world = [name for name in {**reference.settings, **lifetime.settings} if name not in _AGENT | _FREE]
        pairs = {name: (reference.settings.get(name), lifetime.settings.get(name)) for name in of_world}
        pairs["data"] = reference.data, lifetime.data
        if reference.data is not None and reference.data == lifetime.data:
            del pairs["dataset"]  # the same content, whatever the path
        for policy in reference.own_code.keys() & lifetime.own_code.keys():
            pairs[f"the source of {policy}"] = reference.own_code[policy], lifetime.own_code[policy]
        for name, (ours, theirs) in pairs.items():
            if ours != theirs:
                raise InvalidSetting(
                    f"expected runs of one data set, scenario and measure, got {name} {ours!r} in {reference.path} and "
                    f"{theirs!r} in {lifetime.path}; compare those apart"
                )
    others = list(dict.fromkeys(str(lifetime.path) for lifetime in found if lifetime.versions != reference.versions))
    if not others:
        return []
    several = f" and {len(others) - 1} more" if others[1:] else ""
    return [f"{others[0]}{several} ran with other versions, other code or another machine than {reference.path}"]


def _lifetimes(path: Path) -> list[_Lifetime]:
    config = read_config(path)
    try:
        settings, versions = config["settings"], [config["versions"], config.get("machine")]
        data, own_code = config["data"], config.get("own_code", {})
        found = []
        for policy, seed, folder in _folders(path, config["experiment"], settings):
            try:
                summary = read_object(folder / SUMMARY, "--force starts anew")
            except FileNotFoundError:
                raise RunError(
                    f"expected a finished lifetime at {folder}, got one without {SUMMARY}; `lifetime resume {path}`"
                ) from None
            metrics = metrics_of(summary, folder)
            found.append(_Lifetime(path, policy, seed, settings, data, versions, own_code, metrics))
        return found
    except (KeyError, TypeError) as error:
        message = f"expected a run of this program at {path}, got one without or with an invalid {error}"
        raise RunError(message) from None


def _folders(path: Path, experiment: Any, settings: Mapping[str, Any]) -> list[tuple[str, int, Path]]:
    """Policy, seed and folder of each lifetime in a run."""
    if experiment == "simulate":
        return [(settings["policy"], settings["seed"], path)]
    if experiment == "compare":
        seeds = range(settings["first_seed"], settings["first_seed"] + settings["seeds"])
        policies = split_specs(settings["policies"])
        return [(policy, seed, path / f"seed{seed}" / file_name(policy)) for policy in policies for seed in seeds]
    raise RunError(f"expected a run of simulate or compare at {path}, got one of {experiment}")


def _label(settings: Mapping[str, Any], name: str, found: Sequence["_Lifetime"]) -> Any:
    """A setting as a label shows it: of a spec, the name and the settings that differ from other specs of that name."""
    value = settings.get(name)
    if name not in SPECS or not isinstance(value, str):
        return value
    spec = parse(value)
    specs = [parse(str(each.settings[name])) for each in found if each.settings.get(name)]
    others = [each.settings for each in specs if each.name == spec.name]
    differing = {key: text for key, text in spec.settings.items() if any(o.get(key) != text for o in others)}
    return str(Spec(spec.name, differing))
