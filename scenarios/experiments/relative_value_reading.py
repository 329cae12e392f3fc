"""A finished curve, read from the records of its lifetimes."""

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from agent.accounting.meter import Meter, Part
from agent.accounting.work import Work
from agent.errors import RunError
from agent.evaluation.scores import Accuracy
from agent.evaluation.trajectory import Step
from agent.storage.record import SECONDS, SUMMARY, LifetimeRecord, read_object
from scenarios.analysis.matched_share import MatchedShares
from scenarios.analysis.rescues import Rescues
from scenarios.analysis.statistics import CurvePoint, RelativeValue
from scenarios.config.settings import CurveConfig
from scenarios.running.interval_notes import notes_on_intervals
from scenarios.running.provenance import notes_on_tuning
from scenarios.running.summary import N_QUERIES

COSTS = ("learn", "memorize", "calibrate")
TOTAL, UNCALIBRATED, ANSWERING = "total", "total_without_calibration", "answer_10000"
"""Further costs: the sum over all accounts, the sum without calibration, and the cost to answer `N_QUERIES`."""

TEMPERATURE = "learner_temperature"

Records = Mapping[float, Sequence[LifetimeRecord]]
"""Of the k%-learners by k, one for each seed."""


@dataclass(frozen=True)
class LearnerAt:
    """The k%-learner at one k: accuracies, memory and costs, one value for each seed."""

    point: CurvePoint
    statistics: RelativeValue
    y_warm: tuple[float, ...] | None
    warm_gflop: tuple[float, ...] | None
    """GFLOPs of the training from the k%-learner to y_warm, which no lifetime pays."""
    warm_statistics: RelativeValue | None
    """The statistics with y_warm for y; like y_warm, None if it was not measured."""
    w: tuple[float | None, ...]
    setting: dict[str, tuple[float | None, ...]]
    """The memory's fitted setting, by name, and the temperature of the learner if one was fitted; like w, None for a
    seed whose memory was empty."""
    gflop: dict[str, tuple[float, ...]]
    """By `COSTS`, `TOTAL`, `UNCALIBRATED` and `ANSWERING`."""
    memory_entries: tuple[int, ...]
    memory_nbytes: tuple[int, ...]
    memory_accuracy: tuple[float | None, ...]
    """Of the memory alone; None for a seed whose memory was empty."""
    recall_mflop: tuple[float, ...]
    """Work of the memory for a query, in MFLOP, without the forward pass, when `N_QUERIES` are asked together."""

    @property
    def mean_w(self) -> float | None:
        """The mean of w over the seeds for which it was fitted; None without any."""
        fitted = [w for w in self.w if w is not None]
        return mean(fitted) if fitted else None

    @property
    def typical_setting(self) -> dict[str, float | None]:
        """Geometric means over the seeds for which it was fitted, because settings are searched on logarithmic grids.

        An arithmetic mean if a value is 0 or below.
        """
        typical: dict[str, float | None] = {}
        for name, by_seed in self.setting.items():
            fitted = [value for value in by_seed if value is not None]
            if all(value > 0 for value in fitted):
                typical[name] = math.exp(mean([math.log(value) for value in fitted])) if fitted else None
            else:
                typical[name] = mean(fitted)
        return typical


@dataclass(frozen=True)
class SurfacePoint:
    """The k%-learner when only a part of the stream has passed: as if the stream had been that short."""

    learned: float
    """Percent of the whole stream that was learned, n."""
    passed: float
    """Percent of the whole stream that has passed, N; what is between n and N was memorized."""
    n_learned: int
    n_passed: int
    """The same in images, for the first seed."""
    point: CurvePoint
    """With k = 100 n / N, and for y the accuracy of the learner that learned all of N."""
    statistics: RelativeValue


@dataclass(frozen=True)
class Curve:
    """The finished experiment."""

    config: CurveConfig
    seeds: tuple[int, ...]
    """In the order of all values by seed."""
    n_train: int
    n_test: int
    """Number of images, the same for every seed."""
    precision: str
    """In which the network was computed; empty if it is not known."""
    learners: tuple[LearnerAt, ...]
    """In ascending order of k."""
    surface: tuple[SurfacePoint, ...] = ()
    """In ascending order of the percentages passed and learned; empty if it was not measured."""
    memories: Mapping[str, tuple[LearnerAt, ...]] = field(default_factory=dict)
    """The same learners with further memories, by label."""
    matched: MatchedShares | None = None
    """The policies on the same streams; None without any."""
    rescues: Rescues | None = None
    """What the memories rescue; None if predictions were not kept."""
    of_runs: tuple[str, ...] = ()
    """Notes on the runs that the lifetimes come from, if there are several."""
    folders: Mapping[int, Path] = field(default_factory=dict)
    """Of the lifetimes, by seed."""
    computed: Mapping[int, Mapping[Part, Work]] = field(default_factory=dict)
    """What a seed has really computed, by part, for the seeds that have a whole record of it."""

    @property
    def has_surface(self) -> bool:
        """Whether R is known for shorter streams."""
        return any(at.passed < 100 for at in self.surface)

    @property
    def notes(self) -> list[str]:
        """Notes for a careful reader of the intervals."""
        of_intervals = notes_on_intervals(self.config, n_together=len(self.learners), of="k's")
        return [*self.of_runs, *notes_on_tuning(self.config), *of_intervals]


def read_curve(
    config: CurveConfig, seeds: Sequence[int], records: Records, memories: Mapping[str, Records] | None = None
) -> Curve:
    """The curve of finished lifetimes.

    Args:
        config: resolved settings.
        seeds: of the lifetimes.
        records: one for each seed, by k; 100 is among the keys.
        memories: the same with further memories, by label, without 100.

    Raises:
        KeyError, TypeError, ValueError: a record lacks a value or holds an invalid one.
        CheckpointError: a trajectory is incomplete.
    """
    y = tuple(summary["accuracy"]["learner"] for summary in _summaries(records[100.0]))
    last = _summaries(records[100.0])[-1]
    return Curve(
        config,
        tuple(seeds),
        last["n_train"],
        last["n_test"],
        ", ".join(dict.fromkeys(precision_in(summary) for summary in _summaries(records[100.0]))),
        _learners(config, {k: records[k] for k in config.k}, y, warm=config.warm),
        _surface(config, records) if config.surface else (),
        _further(config, records, memories or {}, y),
    )


def computed_in(folders: Mapping[int, Path]) -> dict[int, Mapping[Part, Work]]:
    """What the lifetimes of a seed have computed together.

    Args:
        folders: by seed; those without a whole record are left out.
    """
    found: dict[int, Mapping[Part, Work]] = {}
    for seed, folder in folders.items():
        with suppress(OSError, RunError, KeyError, TypeError, ValueError):
            meter = Meter()
            meter.load_state(read_object(folder / SECONDS, ""))
            if all(0 <= number < math.inf for work in meter.work.values() for number in (work.flops, work.seconds)):
                found[seed] = meter.work
    return found


_AMOUNTS = (
    ("n_train",),
    ("n_test",),
    ("memory_entries",),
    ("memory_nbytes",),
    ("spent_gflop",),
    ("query_flops",),
    ("recall_flops",),
    ("answer_flops",),
    *(("work", account, "flops") for account in COSTS),
)
"""What a curve reads of a summary, besides accuracies and the mixture."""


def check_record(record: LifetimeRecord) -> None:
    """Check the summary of a finished lifetime.

    Raises:
        RunError: it is damaged; the message names its file.
    """
    summary = record.summary() or {}
    try:
        Accuracy(**summary["accuracy"])
        for path in _AMOUNTS:
            amount: Any = reduce(getitem, path, summary)
            if not isinstance(amount, int | float) or isinstance(amount, bool) or not 0 <= amount < math.inf:
                raise ValueError(f"expected {'.'.join(path)} of at least 0, got {amount!r}")
    except (KeyError, TypeError, ValueError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        run = record.path.parents[1]
        raise RunError(
            f"expected the end of a lifetime in {record.path / SUMMARY}, got: {what}; remove that file, and `lifetime "
            f"resume {run}` lives this lifetime again"
        ) from None


def precision_in(summary: Mapping[str, Any]) -> str:
    """In which the network of a finished lifetime was computed; empty if it is not known."""
    return str(summary.get("training", {}).get("precision", ""))


def _summaries(records: Sequence[LifetimeRecord]) -> list[dict[str, Any]]:
    return [summary for record in records if (summary := record.summary())]


def _further(
    config: CurveConfig, records: Records, memories: Mapping[str, Records], y: tuple[float, ...]
) -> dict[str, tuple[LearnerAt, ...]]:
    """The learners with further mixtures and memories, by label."""
    found = {label: _learners(config, of_memory, y, warm=False) for label, of_memory in memories.items()}
    return {rule: _by_rule(config, records, rule, y) for rule in config.with_mixtures} | found


def _learners(config: CurveConfig, records: Records, y: tuple[float, ...], *, warm: bool) -> tuple[LearnerAt, ...]:
    return _learners_of(config, {k: _summaries(by_seed) for k, by_seed in records.items()}, y, warm=warm)


def _by_rule(config: CurveConfig, records: Records, rule: str, y: tuple[float, ...]) -> tuple[LearnerAt, ...]:
    """The learners with a mixture that was fitted by another rule."""

    def under_rule(summary: dict[str, Any]) -> dict[str, Any]:
        found = summary["by_rule"][rule]
        mixture = {} if found["mixture"]["setting"] is None else found["mixture"]
        return {**summary, "accuracy": {**summary["accuracy"], "agent": found["accuracy"]}, "mixture": mixture}

    by_k = {k: [under_rule(summary) for summary in _summaries(records[k])] for k in config.k}
    return _learners_of(config, by_k, y, warm=False)


def _learners_of(
    config: CurveConfig, summaries: Mapping[float, list[dict[str, Any]]], y: tuple[float, ...], *, warm: bool
) -> tuple[LearnerAt, ...]:
    by_k = dict(sorted(summaries.items()))
    found = [_setting(summary) for summaries in by_k.values() for summary in summaries]
    names = dict.fromkeys(name for setting in found for name in setting)
    if all(setting.get(TEMPERATURE, 1) == 1 for setting in found):
        names.pop(TEMPERATURE, None)
    return tuple(_learner_at(k, summaries, y, names, config.confidence, warm) for k, summaries in by_k.items())


def _surface(config: CurveConfig, records: Records) -> tuple[SurfacePoint, ...]:
    steps = {
        k: [record.steps(summary["step"] + 1) for record, summary in zip(by_seed, _summaries(by_seed), strict=True)]
        for k, by_seed in records.items()
    }
    x = {k: tuple(_accuracy(each[-1]).learner for each in by_seed) for k, by_seed in steps.items()}
    surface = []
    for passed in sorted(k for k in steps if k > 0):
        for learned in sorted(k for k in steps if k < passed):
            at = round(passed * config.chunks / 100) - 1
            z = tuple(_accuracy(each[at]).agent for each in steps[learned])
            point = CurvePoint(100 * learned / passed, x=x[learned], y=x[passed], z=z)
            end = steps[learned][0][at]
            statistics = point.statistics(config.confidence)
            surface.append(SurfacePoint(learned, passed, end.learned, end.samples, point, statistics))
    return tuple(surface)


def _accuracy(step: Step) -> Accuracy:
    if step.accuracy is None:
        raise ValueError(f"evaluation after chunk {step.step + 1}")
    return step.accuracy


def _learner_at(
    k: float,
    summaries: Sequence[dict[str, Any]],
    y: tuple[float, ...],
    names: Iterable[str],
    confidence: float,
    warm: bool,
) -> LearnerAt:
    """The k%-learner, from one summary for each seed; `names` are those of the memory's settings."""

    def by_seed(*path: str) -> tuple[Any, ...]:
        return tuple(reduce(getitem, path, summary) for summary in summaries)

    point = CurvePoint(k, x=by_seed("accuracy", "learner"), y=y, z=by_seed("accuracy", "agent"))
    y_warm = by_seed("y_warm") if warm else None
    return LearnerAt(
        point,
        point.statistics(confidence),
        y_warm=y_warm,
        warm_gflop=by_seed("warm_gflop") if warm else None,
        warm_statistics=replace(point, y=y_warm).statistics(confidence) if y_warm else None,
        w=tuple(summary.get("mixture", {}).get("w") for summary in summaries),
        setting={name: tuple(_setting(summary).get(name) for summary in summaries) for name in names},
        gflop=_gflop(summaries),
        memory_entries=by_seed("memory_entries"),
        memory_nbytes=by_seed("memory_nbytes"),
        memory_accuracy=by_seed("accuracy", "memory"),
        recall_mflop=tuple((each["recall_flops"] / N_QUERIES + each["query_flops"]) / 1e6 for each in summaries),
    )


def _setting(summary: Mapping[str, Any]) -> dict[str, float]:
    """The fitted setting of the memory, and the temperature of the learner; empty if the memory was empty."""
    mixture = summary.get("mixture", {})
    return {**(mixture.get("setting") or {}), **({TEMPERATURE: mixture.get("temperature", 1.0)} if mixture else {})}


def _gflop(summaries: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, ...]]:
    by_account = {cost: tuple(summary["work"][cost]["flops"] / 1e9 for summary in summaries) for cost in COSTS}
    total = tuple(summary["spent_gflop"] for summary in summaries)
    return by_account | {
        TOTAL: total,
        UNCALIBRATED: tuple(whole - part for whole, part in zip(total, by_account["calibrate"], strict=True)),
        ANSWERING: tuple((each["recall_flops"] + N_QUERIES * each["answer_flops"]) / 1e9 for each in summaries),
    }


def mean(values: Sequence[float]) -> float:
    """The mean over seeds."""
    return sum(values) / len(values)
