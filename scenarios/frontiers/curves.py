"""The k%-learners of finished curves, with each of their memories, as options."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agent.accounting.work import PAID
from agent.errors import InvalidSetting, RunError
from agent.storage.record import SUMMARY, FinishedRun, LifetimeRecord
from scenarios.analysis.options import AMOUNTS, Options
from scenarios.config.settings import CurveConfig, FrontierConfig, settings_of
from scenarios.experiments.finished_runs import read_run
from scenarios.experiments.relative_value import records_of
from scenarios.experiments.relative_value_reading import check_record, precision_in
from scenarios.frontiers.labels import LEARNER_PARTS, labels_of, parts_of
from scenarios.frontiers.reading import Measured, chosen_labels, common_seeds
from scenarios.running.agreement import Described, check_agreement

_APART = {"k", "warm", "memories", "with_policies", "with_memories", "with_mixtures", "surface"}
_SHARED = LEARNER_PARTS | (settings_of(CurveConfig, "world") - _APART)
"""The settings in which runs must agree: those of the data, the stream and the learner."""
_WHOLE = "100"
"""The name of the lifetime of the 100%-learner."""


class _Outcome(NamedTuple):
    """What a lifetime reached and took, in the order of `AMOUNTS`."""

    accuracy: float
    flops: float
    query_flops: float
    recall_flops: float
    written: float
    byte_chunks: float


@dataclass
class _Found:
    """The outcomes by memory, k and seed; the 100%-learner has no memory."""

    outcomes: dict[tuple[str, str], dict[int, _Outcome]] = field(default_factory=dict)
    folders: dict[tuple[str, str, int], Path] = field(default_factory=dict)
    """The run that each memory, k and seed is from."""
    parts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Of each memory."""
    precisions: dict[str, Path] = field(default_factory=dict)
    n_test: int = 0
    notes: list[str] = field(default_factory=list)


def read_curves(paths: Sequence[Path], config: FrontierConfig) -> Measured:
    """The options of finished runs of `curve`.

    Args:
        paths: the runs, at least one; those of joined curves are given one by one.
        config: which memories, and whether the calibration is billed.

    Raises:
        RunError: a folder is not such a run, the run is not finished, or a record is damaged.
        InvalidSetting: runs of other data or learners, a memory, k and seed in two runs, or an unknown memory.
    """
    runs = [read_run(path, {"curve": CurveConfig}, _SHARED, of="curve, curve --join or tree") for path in paths]
    found = _Found()
    found.notes += check_agreement(
        [described for _, described in runs],
        "runs of curve with one world and learner, whose memories, k's and seeds may differ",
        lambda name, value: "look at those apart",
    )
    own = labels_of([parts_of(of_run) for of_run, _ in runs])
    for (of_run, described), label in zip(runs, own, strict=True):
        _read(of_run, described, label, config.calibrating, found)
    if len(found.precisions) > 1:
        (one, here), (other, there), *_ = found.precisions.items()
        raise InvalidSetting(f"expected curves of one precision, got {one} in {here} and {other} in {there}")
    return _measured(runs[0][0], found, config)


def _read(config: CurveConfig, described: Described, own: str, calibrating: bool, found: _Found) -> None:
    """Read the lifetimes of a run."""
    for seed in range(config.first_seed, config.first_seed + config.seeds):
        records = records_of(config, FinishedRun(described.path), seed)
        whole = _finished(records[_WHOLE], described.path)
        found.precisions.setdefault(precision_in(whole.summary() or {}), described.path)
        found.n_test = found.n_test or (whole.summary() or {})["n_test"]
        outcome = _outcome(whole, calibrating, lambda summary: summary["accuracy"]["learner"])
        earlier = found.outcomes.setdefault(("", _WHOLE), {}).setdefault(seed, outcome)
        if earlier.accuracy != outcome.accuracy:
            found.notes.append(
                f"the 100%-learner of seed {seed} has another accuracy in {described.path} than in a run before it, "
                "which counts"
            )
        for label, (parts, names, rule) in _memories(config, own).items():
            _agree(found, label, parts, described.path)
            for k, name in names.items():
                _claim(found, (label, k, seed), described.path)
                record, accuracy = _finished(records[name], described.path), partial(_accuracy, rule=rule)
                found.outcomes.setdefault((label, k), {})[seed] = _outcome(record, calibrating, accuracy)


def _memories(config: CurveConfig, own: str) -> dict[str, tuple[dict[str, Any], dict[str, str], str]]:
    """The parts of each memory of a run, the name of its lifetime at each k, and the rule of its mixture if a further
    one, by label."""
    ks = [f"{k:g}" for k in sorted(config.k) if f"{k:g}" != _WHOLE]  # a k that rounds to 100 is the 100%-learner
    parts = parts_of(config)
    found = {own: (parts, {k: k for k in ks}, "")}
    for rule in config.with_mixtures:
        found[f"{own}, {rule}"] = ({**parts, "mixture": rule}, {k: k for k in ks}, rule)
    for memory in config.with_memories:
        if memory.label in found:
            raise InvalidSetting(f"expected a label for each memory, got {memory.label} twice in a run; join it alone")
        found[memory.label] = (parts_of(memory), {k: f"{memory.label} {k}" for k in ks}, "")
    return found


def _claim(found: _Found, place: tuple[str, str, int], path: Path) -> None:
    """Note that a memory, k and seed are in a run; raises InvalidSetting if another run has them, too."""
    if (other := found.folders.setdefault(place, path)) is not path:
        label, k, seed = place
        raise InvalidSetting(
            f"expected each memory, k and seed in one run, got {label} with k = {k} and seed {seed} in {other} and "
            f"{path}; leave one of them out"
        )


def _agree(found: _Found, label: str, parts: Mapping[str, Any], path: Path) -> None:
    """Note the parts of a memory; raises InvalidSetting if a run before has another memory of that label."""
    known = found.parts.setdefault(label, parts)
    if differing := [name for name in known if name in parts and known[name] != parts[name]]:
        raise InvalidSetting(
            f"expected one memory of each label, got {label} with {differing[0]} {known[differing[0]]} and, in {path}, "
            f"{parts[differing[0]]}; look at those apart"
        )


def _finished(record: LifetimeRecord, run: Path) -> LifetimeRecord:
    """The record of a finished lifetime; raises RunError if it is not finished, or damaged."""
    if record.summary() is None:
        raise RunError(f"expected a finished lifetime at {record.path}, got none; `lifetime resume {run}`")
    check_record(record)
    return record


def _accuracy(summary: Mapping[str, Any], rule: str) -> float:
    """The agent's accuracy, under a further rule of its mixture if one is given."""
    return float(summary["by_rule"][rule]["accuracy"] if rule else summary["accuracy"]["agent"])


def _outcome(record: LifetimeRecord, calibrating: bool, accuracy: Callable[[Mapping[str, Any]], float]) -> _Outcome:
    """What a lifetime took, without the account `calibrate` unless that is billed.

    Raises:
        RunError: the record lacks an amount, or it is no number of 0 or more.
    """
    paid = [account for account in PAID if calibrating or account != "calibrate"]
    summary = record.summary() or {}
    try:
        work = summary["work"]
        outcome = _Outcome(
            float(accuracy(summary)),
            float(sum(work[account]["flops"] for account in paid) + summary["pending_flops"]),
            float(summary["answer_flops"]),
            float(summary["recall_flops"]),
            float(sum(work[account]["nbytes"] for account in paid)),
            float(summary["byte_chunks"]),
        )
        if not all(0 <= amount < inf for amount in outcome):
            raise ValueError(f"expected amounts of at least 0, got {min(outcome):g}")
    except (KeyError, TypeError, ValueError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise RunError(
            f"expected the end of a lifetime in {record.path / SUMMARY}, got: {what}; remove that file, and `lifetime "
            f"resume {record.path.parents[1]}` lives this lifetime again"
        ) from None
    return outcome


def _measured(config: CurveConfig, found: _Found, wanted: FrontierConfig) -> Measured:
    """The options under the seeds that all have."""
    labels = chosen_labels(list(found.parts), wanted.memories)
    by_seed = {key: of for key, of in found.outcomes.items() if not key[0] or key[0] in labels}
    keys = sorted(by_seed, key=lambda key: (labels.index(key[0]) if key[0] else len(labels), float(key[1])))
    seeds, notes = common_seeds({f"{label} k = {k}".strip(): list(by_seed[label, k]) for label, k in keys})
    amounts = np.array([[by_seed[key][seed] for key in keys] for seed in seeds])
    options = Options(
        tuple(f"{k}%" for _, k in keys),
        tuple(label for label, _ in keys),
        np.array([float(k) / 100 for _, k in keys]),
        **{name: amounts[:, :, column] for column, name in enumerate(AMOUNTS)},
    )
    return Measured(
        "curve",
        config,
        f"{config.dataset}, {config.learner.name}",
        seeds,
        config.chunks,
        found.n_test,
        options,
        {label: np.array(list(_indices(keys, label)), dtype=np.int64) for label in labels},
        (*found.notes, *notes),
    )


def _indices(keys: Sequence[tuple[str, str]], label: str) -> Iterator[int]:
    """The indices of a memory's options, and of the 100%-learner."""
    return (i for i, (memory, _) in enumerate(keys) if memory in ("", label))
