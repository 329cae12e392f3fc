"""Lifetimes side by side: policies lived together over seeds, or finished runs read again."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from agent.accounting.utility import utility
from agent.errors import InvalidSetting, RunError
from agent.storage.record import CONFIG, SUMMARY, RunDirectory, read_object
from scenarios.analysis.comparison import (
    Best,
    Comparison,
    Lived,
    best_at_each_budget,
    compare,
    comparison_csv,
    comparison_json,
    pareto_front,
)
from scenarios.config.families import SPECS
from scenarios.config.presets import validate
from scenarios.config.settings import CompareConfig, SimulateConfig, settings_of
from scenarios.config.specs import Spec, file_name, parse, split_specs
from scenarios.figures.pareto import pareto_figure
from scenarios.figures.style import figure_png
from scenarios.running.interval_notes import notes_on_intervals
from scenarios.running.lifetimes import live_together
from scenarios.running.progress import ProgressReporter
from scenarios.running.provenance import notes_on_training
from scenarios.running.summary import metrics_of
from scenarios.running.world import cost_model, load_world, resolve_policies, resolve_specs, try_world, write_truth

COST, ACCURACY = "total_cost", "final_accuracy"

_AGENT = settings_of(CompareConfig, "agent")
_FREE = settings_of(CompareConfig, "free") | settings_of(SimulateConfig, "free") | settings_of(CompareConfig, "idle")


@dataclass(frozen=True)
class Compared:
    """A comparison, what it is of, and what it says."""

    title: str
    unit: str
    """Of costs."""
    comparison: Comparison
    n_test: int
    best: tuple[Best, ...]
    cost_weight: float | None = None
    """Behind the metric `utility`, if it is among them."""
    notes: tuple[str, ...] = ()
    """What a careful reader should know."""


def resolve_comparison(config: CompareConfig) -> CompareConfig:
    """The settings with every spec in its one spelling.

    Raises:
        InvalidSetting: an unknown name or setting, or a policy twice.
    """
    policies = resolve_policies(config.policies, config.first_seed)
    return config.model_copy(update={"policies": " ".join(policies), **resolve_specs(config)})


def compare_policies(
    config: CompareConfig,
    run: RunDirectory,
    reporter: ProgressReporter,
    *,
    download: bool = False,
    data_dir: Path | None = None,
) -> Compared:
    """Live every policy under every seed, those of a seed together, and put them side by side.

    Lifetimes that the run directory holds already are not lived again; unfinished ones go on from their checkpoint.

    Args:
        config: resolved settings.
        run: where everything is written.
        reporter: told of progress.
        download: fetch a missing data set.
        data_dir: where data sets and caches lie; None for the user's cache folder.

    Raises:
        DatasetError: from loading.
        Interrupted: the reporter asked to stop.
        InvalidSetting: settings that the data set or the machine do not allow.
        TrainingDiverged: from the learner; what was recorded stays.
        RunError: from writing, or summaries that lost their meaning.
    """
    policies = split_specs(config.policies)
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    summaries: dict[str, dict[int, Any]] = {policy: {} for policy in policies}
    for seed in seeds:
        records = {policy: run.lifetime(f"seed{seed}/{file_name(policy)}") for policy in policies}
        if any(record.summary() is None for record in records.values()):
            reporter.say(f"seed {seed}")
            world = load_world(config, seed, data_dir=data_dir, download=download, reporter=reporter)
            run.write(f"seed{seed}/scenario.json", write_truth(world[1]))
            live_together(config, seed, world, records, run.checkpoints(f"seed{seed}"), reporter)
        run.checkpoints(f"seed{seed}").drop()
        for policy, record in records.items():
            summaries[policy][seed] = record.summary()
    lived = [Lived(policy, {s: metrics_of(x, run.path) for s, x in of.items()}) for policy, of in summaries.items()]
    notes = notes_on_training(policies, config.dataset, seeds, data_dir)
    notes += notes_on_intervals(config, n_together=len(policies), of="schedules")
    return _compared(lived, config, summaries[policies[0]][seeds[0]]["n_test"], notes)


def prepare(config: CompareConfig, *, download: bool, data_dir: Path | None) -> None:
    """Try whether the lifetimes of the first seed could begin; see `try_world`."""
    try_world(config, config.first_seed, split_specs(config.policies), download=download, data_dir=data_dir)


def compare_runs(paths: Sequence[Path], confidence: float, cost_weight: float | None = None) -> Compared:
    """Put finished runs of `simulate` or `compare` side by side.

    Args:
        paths: folders of runs.
        confidence: level of all intervals, in (0, 1).
        cost_weight: accuracy that one unit of cost is worth, to tell utilities by; None for none.

    Raises:
        RunError: a folder that is no such run, or one that is not finished.
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
        told = (f"{name}={_as_told(lifetime.settings, name, found)}" for name in differing)
        label = " ".join([lifetime.policy, *told])
        of_label = by_label.setdefault(label, {})
        if lifetime.seed in of_label:
            raise InvalidSetting(f"expected each schedule and seed once, got {label} with seed {lifetime.seed} twice")
        of_label[lifetime.seed] = lifetime.metrics
    config = validate(
        CompareConfig,
        {name: value for name, value in reference.settings.items() if name not in ("policy", "seed")}
        | {"confidence": confidence, "cost_weight": cost_weight},
    )
    notes += notes_on_intervals(config, n_together=len(by_label), of="schedules")
    return _compared([Lived(label, by_seed) for label, by_seed in by_label.items()], config, reference.n_test, notes)


def _as_told(settings: Mapping[str, Any], name: str, among: Sequence["_Lifetime"]) -> Any:
    """A setting for a label; of a spec its name, and the settings that not all specs of that name have alike."""
    value = settings.get(name)
    if name not in SPECS or not isinstance(value, str):
        return value
    spec = parse(value)
    beside = [parse(str(each.settings[name])) for each in among if each.settings.get(name)]
    others = [each.settings for each in beside if each.name == spec.name]
    differing = {key: text for key, text in spec.settings.items() if any(o.get(key) != text for o in others)}
    return str(Spec(spec.name, differing))


def runs_digest(paths: Sequence[Path]) -> str:
    """Identifies what finished runs say, wherever they lie."""
    digest = hashlib.blake2b(digest_size=4)
    for path in paths:
        for summary in sorted(path.rglob(SUMMARY)):
            digest.update(summary.read_bytes())
    return digest.hexdigest()


def write_comparison(compared: Compared, run: RunDirectory) -> None:
    """Write comparison.json, .csv and .png, and the figure for TensorBoard."""
    comparison = compared.comparison
    on_pareto_front = [schedule.label for schedule in pareto_front(comparison, COST, ACCURACY)]
    content = {
        "title": compared.title,
        "unit": compared.unit,
        "cost_weight": compared.cost_weight,
        **comparison_json(comparison),
        "front": on_pareto_front,
        "best": [asdict(best) for best in compared.best],
        "notes": list(compared.notes),
    }
    run.write("comparison.json", json.dumps(content, indent=2) + "\n")
    run.write("comparison.csv", comparison_csv(comparison))
    figure = pareto_figure(comparison, cost=COST, accuracy=ACCURACY, unit=compared.unit, title=compared.title)
    png = figure_png(figure)
    run.write("comparison.png", png)
    with run.tensorboard() as board:
        board.add_image("comparison", np.asarray(Image.open(io.BytesIO(png)).convert("RGB")), dataformats="HWC")


@dataclass(frozen=True)
class _Lifetime:
    path: Path
    policy: str
    seed: int
    settings: Mapping[str, Any]
    data: Any
    versions: Any
    """With the machine: processor and threads decide the last digits, too."""
    n_test: int
    own_code: Mapping[str, str]
    metrics: dict[str, float | None]


def _agreement(found: Sequence[_Lifetime]) -> list[str]:
    """What a reader should know of runs that may be compared; raises InvalidSetting for those that may not."""
    reference = found[0]
    for lifetime in found[1:]:
        of_world = [name for name in {**reference.settings, **lifetime.settings} if name not in _AGENT | _FREE]
        pairs = {name: (reference.settings.get(name), lifetime.settings.get(name)) for name in of_world}
        pairs["data"] = reference.data, lifetime.data
        if reference.data is not None and reference.data == lifetime.data:
            del pairs["dataset"]  # the same folder, wherever it lay
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
    return [f"other versions, another source or another machine lived {others[0]}{several} than {reference.path}"]


def _lifetimes(path: Path) -> list[_Lifetime]:
    try:
        config = read_object(path / CONFIG, "give the folder of a run")
    except FileNotFoundError:
        raise RunError(f"expected a run at {path}, found no {CONFIG} there; give the folder of a run") from None
    try:
        settings, experiment = config["settings"], config["experiment"]
        if experiment not in ("simulate", "compare"):
            raise RunError(f"expected a run of simulate or compare at {path}, got one of {experiment}")
        if experiment == "simulate":
            folders = [(settings["policy"], settings["seed"], path)]
        else:
            seeds = range(settings["first_seed"], settings["first_seed"] + settings["seeds"])
            policies = split_specs(settings["policies"])
            folders = [(p, seed, path / f"seed{seed}" / file_name(p)) for p in policies for seed in seeds]
        found = []
        for policy, seed, folder in folders:
            try:
                summary = read_object(folder / SUMMARY, "--force starts anew")
            except FileNotFoundError:
                raise RunError(
                    f"expected a finished lifetime at {folder}, got one without {SUMMARY}; `lifetime resume {path}`"
                ) from None
            metrics = metrics_of(summary, folder)
            lifetime = _Lifetime(
                path,
                policy,
                seed,
                settings,
                config["data"],
                [config["versions"], config.get("machine")],
                summary["n_test"],
                config.get("own_code", {}),
                metrics,
            )
            found.append(lifetime)
        return found
    except (KeyError, TypeError) as error:
        raise RunError(f"expected a run of this program at {path}, got one without or with an odd {error}") from None


def _compared(lived: Sequence[Lived], config: CompareConfig, n_test: int, notes: list[str]) -> Compared:
    if config.cost_weight is not None:
        lived = [_with_utility(each, config.cost_weight) for each in lived]
    comparison = compare(lived, config.confidence)
    if config.prequential and not config.calibrate_every:
        notes = [*notes, "w is 1 until the end of life: the agent's prequential accuracy is the learner's alone"]
    tariff = "" if config.tariff == "constant" else f", {config.tariff} tariff"
    title = f"{config.dataset}, {config.scenario}{tariff}"
    best = best_at_each_budget(comparison, COST, ACCURACY)
    unit = cost_model(config).unit
    return Compared(title, unit, comparison, n_test, tuple(best), config.cost_weight, tuple(notes))


def _with_utility(lived: Lived, cost_weight: float) -> Lived:
    by_seed = {}
    for seed, metrics in lived.by_seed.items():
        accuracy, spent = metrics[ACCURACY], metrics[COST]
        worth = None if accuracy is None or spent is None else utility(accuracy, spent, cost_weight)
        by_seed[seed] = metrics | {"utility": worth}
    return Lived(lived.label, by_seed)
