"""Finished curves of different learners beside each other: does R fall as the learner gets stronger?"""

import json
from collections.abc import Sequence
from pathlib import Path

from agent.errors import InvalidSetting
from scenarios.config.method import Method
from scenarios.config.settings import BesideCurvesConfig, CurveConfig, JoinCurvesConfig, settings_of
from scenarios.experiments.beside_report import LEARNER, SETTINGS, CurvesBeside, report, write_beside
from scenarios.experiments.finished_runs import read_config, read_run, runs_digest, shown_part
from scenarios.experiments.joined_curves import check_each_once, check_folder, join, runs_of_joined
from scenarios.experiments.relative_value_reading import Curve
from scenarios.running.agreement import Described, check_agreement
from scenarios.running.experiment import Experiment, nothing
from scenarios.running.interval_notes import notes_on_intervals
from scenarios.running.provenance import notes_on_tuning
from scenarios.running.tasks import Run

_APART = {"k", "warm", "memories", "with_policies", "with_memories", "with_mixtures", "surface"}
_SHARED = settings_of(CurveConfig, "world") - _APART
"""The settings in which runs must agree: those of the data and the stream."""
_METHOD = sorted(settings_of(CurveConfig, "method"))
_BARE = (*LEARNER, "memory")
"""The parts whose values name themselves."""


def curves_beside(config: BesideCurvesConfig) -> CurvesBeside:
    """The curves of finished runs of `curve` by learner; runs of one learner, which differ in their seeds, are one.

    Raises:
        RunError: a folder is not such a run, or the run is not finished.
        InvalidSetting: runs of other data, one learner alone, or a run twice.
    """
    runs = [
        read_run(path, {"curve": CurveConfig}, _SHARED, of="curve or of curve --join") for path in _runs(config.paths)
    ]
    notes = check_agreement(
        [described for _, described in runs],
        "runs of curve in one world, whose learners, k's and seeds may differ",
        lambda name, value: "look at those apart",
    )
    groups: dict[str, list[tuple[CurveConfig, Described]]] = {}
    for of_run, described in runs:
        parts = of_run.model_dump(mode="json", include=set(_METHOD))
        groups.setdefault(json.dumps(parts, sort_keys=True), []).append((of_run, described))
    if len(groups) < 2:
        raise InvalidSetting(
            f"expected runs of different learners, got one learner in all {len(runs)} runs; --join makes one curve of "
            "their seeds"
        )
    labels, left_out = labels_of([group[0][0] for group in groups.values()])
    curves = {
        label: _joined([described.path for _, described in group], config.confidence)
        for label, group in zip(labels, groups.values(), strict=True)
    }
    ordered = dict(sorted(curves.items(), key=lambda item: (item[1].learners[0].statistics.y.estimate, item[0])))
    if left_out:
        notes.append(
            f"the learners also differ in {' and '.join(left_out)}, which their labels leave out: beside.json has all "
            "settings"
        )
    return CurvesBeside(ordered, config.confidence, tuple(dict.fromkeys([*notes, *_notes(ordered)])))


def labels_of(configs: Sequence[CurveConfig]) -> tuple[list[str], list[str]]:
    """A label for each learner, and the parts in which learners differ that the labels leave out.

    A label shows the parts that differ, and of a spec the settings that differ from other specs of its name. Recipe and
    learner are left out where the networks alone tell the learners apart; keys and pooling, where they are as usual
    with the network and memory and something else is left to tell the learner by.

    Args:
        configs: the settings of each learner, no two alike.
    """
    plain = [each.model_dump(mode="json", include=set(SETTINGS)) for each in configs]
    differing = [name for name in SETTINGS if any(each[name] != plain[0][name] for each in plain)]
    left_out: list[str] = []
    if len({str(each.network) for each in configs}) == len(configs):
        left_out = [name for name in differing if name in ("recipe", "learner")]
    names = [name for name in differing if name not in (*left_out, "tuned")]
    labels = [_label(each, names, configs) for each in configs]
    if len(set(labels)) < len(labels):  # the same parts, tuned by other runs
        labels = [_label(each, [*names, "tuned"], configs) for each in configs]
    return labels, left_out


def _label(config: CurveConfig, names: Sequence[str], configs: Sequence[CurveConfig]) -> str:
    usual = Method(network=config.network, memory=config.memory)
    plain = [name for name in names if name in ("keys", "pool") and getattr(config, name) == getattr(usual, name)]
    shown = [name for name in names if name not in plain] or names
    parts = {name: shown_part(config, name, configs) for name in shown}
    return " ".join(text if name in _BARE else f"{name}={text}" for name, text in parts.items())


def _runs(paths: Sequence[Path]) -> list[Path]:
    """The folders of the runs; a joined curve stands for the runs that it was made of.

    Raises:
        RunError: a folder is no run.
        InvalidSetting: a run twice.
    """
    found: list[Path] = []
    for path in paths:
        check_folder(path)
        content = read_config(path)
        found += runs_of_joined(content, path) if content.get("experiment") == "join-curves" else [path]
    check_each_once(found)
    return found


def _joined(paths: list[Path], confidence: float) -> Curve:
    """The curve of the runs of one learner."""
    config = JoinCurvesConfig(paths=tuple(paths), confidence=confidence)
    return join(config, whole=False, advice="leave one of them out")


def _notes(curves: dict[str, Curve]) -> list[str]:
    """Notes for a careful reader of the intervals."""
    notes = [note for curve in curves.values() for note in curve.of_runs]
    notes += [f"{label}: {note}" for label, curve in curves.items() for note in notes_on_tuning(curve.config)]
    if len({curve.seeds for curve in curves.values()}) > 1:
        seeds = "; ".join(f"{label}: {', '.join(map(str, curve.seeds))}" for label, curve in curves.items())
        notes.append(f"the intervals of different curves are of other seeds ({seeds})")
    if len(precisions := {curve.precision: label for label, curve in curves.items()}) > 1:
        listed = ", ".join(f"{precision or 'unknown'} ({label})" for precision, label in precisions.items())
        notes.append(f"the networks were computed in other precisions: {listed}")
    n_together = sum(len(curve.learners) for curve in curves.values())
    first = next(iter(curves.values())).config
    return notes + notes_on_intervals(first, n_together=n_together, of="values of R")


def _run(config: BesideCurvesConfig, run: Run) -> CurvesBeside:
    found = curves_beside(config)
    write_beside(found, run.directory)
    return found


BESIDE_CURVES = Experiment(
    "beside-curves",
    BesideCurvesConfig,
    words=lambda config: ["beside"],
    run=_run,
    report=lambda found, _, path: report(found, path),
    prepare=lambda config, _: nothing(curves_beside(config)),
    folder="curve",
    reads=lambda config: [*config.paths, *_runs(config.paths)],
    facts=lambda config: {"digest": runs_digest(sorted(_runs(config.paths), key=lambda path: runs_digest([path])))},
)
