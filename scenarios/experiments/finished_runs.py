"""Finished runs side by side: their lifetimes are read from their folders."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from agent.errors import InvalidSetting, RunError
from agent.storage.record import CONFIG, SUMMARY, read_object
from scenarios.analysis.comparison import ScheduleLifetimes
from scenarios.analysis.lifetime_table import read_table
from scenarios.config.members import Member
from scenarios.config.method import SPECS, AgentSettings, Method, Settings
from scenarios.config.presets import validate
from scenarios.config.reproduce import ReproduceConfig
from scenarios.config.settings import CompareConfig, CompareRunsConfig, LifetimeConfig, SimulateConfig, settings_of
from scenarios.config.specs import Spec
from scenarios.config.tuned import Tuned
from scenarios.experiments.comparison_report import Compared, make_comparison, report, write_comparison
from scenarios.experiments.sweep_report import TABLE
from scenarios.running.agreement import Described, check_agreement
from scenarios.running.experiment import Experiment, nothing
from scenarios.running.interval_notes import notes_on_intervals, notes_on_labels, notes_on_late_labels
from scenarios.running.provenance import notes_on_tuning
from scenarios.running.summary import PROBE, metrics_of
from scenarios.running.tasks import Run

Config = TypeVar("Config", bound=Settings)

_OF_WORLD = settings_of(LifetimeConfig, "world")
_KINDS: dict[str, type[SimulateConfig | CompareConfig]] = {
    "simulate": SimulateConfig,
    "compare": CompareConfig,
    "reproduce": ReproduceConfig,
}


def compare_runs(config: CompareRunsConfig) -> Compared:
    """Compare finished runs of `simulate`, `compare`, `reproduce` or `sweep`.

    Raises:
        RunError: a folder is not such a run, or the run is not finished.
        InvalidSetting: runs of different data sets, scenarios or seeds, two lifetimes of one schedule and seed, or no
            lifetime that `where` chooses.
    """
    found = _chosen([lifetime for path in config.paths for lifetime in lifetimes_of(path)], config.where)
    notes = _agreement(found)
    labels = _labels([lifetime.method for lifetime in found])
    unprobed: dict[str, float | None] = {PROBE: None} if any(PROBE in each.metrics for each in found) else {}
    by_label: dict[str, dict[int, dict[str, float | None]]] = {}
    folders: dict[str, dict[int, Path]] = {}
    for label, lifetime in zip(labels, found, strict=True):
        of_label = by_label.setdefault(label, {})
        if lifetime.seed in of_label:
            raise InvalidSetting(f"expected each schedule and seed once, got {label} with seed {lifetime.seed} twice")
        of_label[lifetime.seed] = unprobed | lifetime.metrics
        folders.setdefault(label, {})[lifetime.seed] = lifetime.folder
    of_world = {name: getattr(found[0].config, name) for name in _OF_WORLD}
    methods = {label: lifetime.method for label, lifetime in zip(labels, found, strict=True)}
    compared = CompareConfig(
        **of_world,
        methods=tuple(method.model_copy(update={"label": label}) for label, method in methods.items()),
        confidence=config.confidence,
        cost_weight=config.cost_weight,
        want_width=config.want_width,
    )
    notes += notes_on_tuning(compared)
    notes += notes_on_intervals(compared, n_together=len(by_label), of="schedules")
    notes += notes_on_late_labels(compared)
    notes += notes_on_labels(compared)
    schedules = [ScheduleLifetimes(label, by_seed) for label, by_seed in by_label.items()]
    return make_comparison(schedules, compared, notes, folders)


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


def read_run(
    path: Path, kinds: Mapping[str, type[Config]], shared: Iterable[str], *, of: str
) -> tuple[Config, Described]:
    """The settings of a run, and what it says of itself.

    Args:
        path: folder of the run.
        kinds: the settings of the experiments that it may be one of, by name.
        shared: settings in which it must agree with others.
        of: the experiments, in an error.

    Raises:
        RunError: there is no run of these experiments, or config.json lacks a part.
        InvalidSetting: a setting is invalid.
    """
    content = read_config(path)
    try:
        experiment = content["experiment"]
        if experiment not in kinds:
            raise RunError(f"expected a run of {of} at {path}, got one of {experiment}")
        config = validate(kinds[experiment], content["settings"])
        return config, _described(path, content, config, shared)
    except (KeyError, TypeError) as error:
        raise RunError(
            f"expected a run of this program at {path}, got one without or with an invalid {error}"
        ) from None
    except InvalidSetting as error:
        raise InvalidSetting(f"{error} (in the settings of the run at {path})") from None


def _described(path: Path, content: Mapping[str, Any], config: Settings, shared: Iterable[str]) -> Described:
    """What a run says of itself in its config.json; raises KeyError if a part is missing."""
    return Described(
        path,
        {name: getattr(config, name) for name in sorted(shared)},
        content["data"],
        [content["versions"], content.get("machine"), getattr(config, "compile", None)],
        content.get("own_code", {}),
    )


def _chosen(lifetimes: Sequence["FinishedLifetime"], where: Mapping[str, Sequence[str]]) -> list["FinishedLifetime"]:
    """The lifetimes with these values of settings; raises InvalidSetting if there are none."""
    for name, values in where.items():
        found: dict[str, list[FinishedLifetime]] = {}
        for lifetime in lifetimes:
            found.setdefault(lifetime.text_of(name), []).append(lifetime)
        whole = " | ".join(values)  # a label may contain what separates choices
        wanted = {whole} if whole in found else {_canonical(name, value) for value in values}
        lifetimes = [each for value, listed in found.items() if value in wanted for each in listed]
        if wanted - found.keys():
            raise InvalidSetting(
                f"expected lifetimes with {name} = {' | '.join(values)}, got those with {' | '.join(found)}"
            )
    return list(lifetimes)


def _canonical(name: str, value: str) -> str:
    """A value as lifetimes have it: specs with their settings in the usual order."""
    with suppress(InvalidSetting):
        return str(Member.read(value, SPECS[name])) if name in SPECS else value
    return value


@dataclass(frozen=True)
class FinishedLifetime:
    """A lifetime that was read from its run."""

    folder: Path
    config: LifetimeConfig
    method: Method
    seed: int
    described: Described
    """What its run says of itself."""
    metrics: dict[str, float | None]

    def text_of(self, name: str) -> str:
        """The value of a setting, of `label` or of `seed`.

        Raises:
            InvalidSetting: there is no such setting.
        """
        if name == "seed":
            return str(self.seed)
        owner = self.method if name in Method.model_fields else self.config
        if name not in type(owner).model_fields:
            raise InvalidSetting(f"expected settings of lifetimes, label or seed for --where, got {name}")
        value = owner.model_dump(mode="json", include={name}).get(name, "none")  # without what is left out
        return value if isinstance(value, str) else json.dumps(value)


def _agreement(found: Sequence[FinishedLifetime]) -> list[str]:
    """Notes on differences between the runs; raises InvalidSetting if they cannot be compared."""
    return check_agreement(
        [lifetime.described for lifetime in found],
        "runs of one data set, scenario and measure",
        lambda name, value: f"compare those apart, as with --where '{name} = {value}'",
    )


def lifetimes_of(path: Path) -> list[FinishedLifetime]:
    """The lifetimes of a run of simulate, compare, reproduce or sweep.

    Raises:
        RunError: there is no such run, or it is not finished.
    """
    if read_config(path).get("experiment") == "sweep":
        return _swept(path)
    config, described = read_run(path, _KINDS, _OF_WORLD, of="simulate, compare, reproduce or sweep")
    found = []
    for method, seed, folder in _folders(path, config):
        try:
            summary = read_object(folder / SUMMARY, "--force starts anew")
        except FileNotFoundError:
            raise RunError(
                f"expected a finished lifetime at {folder}, got one without {SUMMARY}; `lifetime resume {path}`"
            ) from None
        found.append(FinishedLifetime(folder, config, method, seed, described, metrics_of(summary, folder)))
    return found


def _swept(path: Path) -> list[FinishedLifetime]:
    """The lifetimes in the table of a sweep."""
    worlds: dict[str, tuple[LifetimeConfig, Described]] = {}
    methods: dict[str, Method] = {}
    names, settings = set(Method.model_fields), set(CompareConfig.model_fields) | {"label", "seed", "folder", "policy"}
    found = []
    for row in read_table(path / TABLE):
        try:
            world, of_method = row["folder"].partition("/")[0], {name: row[name] for name in names}
            if world not in worlds:
                content = read_config(path / world)
                of_world = validate(LifetimeConfig, content["settings"])
                worlds[world] = of_world, _described(path / world, content, of_world, _OF_WORLD)
            config, described = worlds[world]
            method = methods.setdefault(json.dumps(of_method), Method.of(of_method))
            metrics = {name: value for name, value in row.items() if name not in settings | {"cost_unit"}}
        except (KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"expected a table of lifetimes at {path / TABLE}, got one without a valid {error}"
            ) from None
        folder = path / row["folder"]
        found.append(FinishedLifetime(folder, config, method, row["seed"], described, metrics))
    if not found:
        raise RunError(f"expected finished lifetimes in {path}, found none; `lifetime resume {path}`")
    return found


def _folders(path: Path, config: SimulateConfig | CompareConfig) -> list[tuple[Method, int, Path]]:
    """Method, seed and folder of each lifetime in a run."""
    if isinstance(config, SimulateConfig):
        return [(config.as_method, config.seed, path)]
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    return [(method, seed, path / f"seed{seed}" / method.file_name) for method in config.methods for seed in seeds]


def _labels(methods: Sequence[Method]) -> list[str]:
    """The label of each method; those of policies, and those that others share, show the parts that differ."""
    differing = [name for name in methods[0].differences(*methods) if name != "policy"]
    others: dict[str, set[Method]] = {}
    for method in methods:
        others.setdefault(method.label, set()).add(method)
    return [
        " ".join([method.label, *(f"{name}={shown_part(method, name, methods)}" for name in differing)])
        if method.label == str(method.policy) or len(others[method.label]) > 1
        else method.label
        for method in methods
    ]


def shown_part(method: AgentSettings, name: str, methods: Sequence[AgentSettings]) -> str:
    """A part as a label shows it: of a spec, the name and the settings that differ from other specs of that name.

    Args:
        method: the settings that have the part.
        name: of the part.
        methods: the settings that labels tell apart.
    """
    value = getattr(method, name)
    if isinstance(value, Tuned):
        return value.run
    if not isinstance(value, Member):
        return str(method.model_dump(mode="json", include={name})[name])
    members = [each for each in (getattr(other, name) for other in methods) if isinstance(each, Member)]
    of_name = [each.spec.settings for each in members if each.name == value.name]
    settings = value.spec.settings
    differing = {key: text for key, text in settings.items() if any(other.get(key) != text for other in of_name)}
    return str(Spec(value.name, differing))


def _run(config: CompareRunsConfig, run: Run) -> Compared:
    compared = compare_runs(config)
    write_comparison(compared, run.directory)
    return compared


COMPARE_RUNS = Experiment(
    "compare-runs",
    CompareRunsConfig,
    words=lambda config: ["runs"],
    run=_run,
    report=lambda compared, _, path: report(
        compared,
        path,
        more_seeds="Give them to the command of a run of compare or sweep (--seeds), or live them apart (compare "
        "--first-seed {first} --seeds {more}; simulate --seed), and compare all runs.",
    ),
    prepare=lambda config, _: nothing(compare_runs(config)),
    folder="compare",
    reads=lambda config: config.paths,
    facts=lambda config: {"digest": runs_digest(config.paths)},
)
