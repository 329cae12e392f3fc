"""A finished curve: read from the summaries of its lifetimes, and written as JSON, CSV, figure and events."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import reduce
from operator import getitem
from typing import TYPE_CHECKING, Any

from agent.storage.record import LifetimeRecord, RunDirectory
from scenarios.analysis.csv_table import interval_columns
from scenarios.analysis.matched_share import (
    MatchedShares,
    matched_share_json,
    matched_share_rows,
    mean_learned,
    mean_marks,
)
from scenarios.analysis.statistics import CurvePoint, Interval, Ratio, RelativeValue
from scenarios.config.settings import CurveConfig
from scenarios.config.specs import file_name
from scenarios.figures.curve import curve_figure
from scenarios.figures.matched_share import matched_share_figure
from scenarios.running.interval_notes import notes_on_intervals
from scenarios.running.provenance import notes_on_tuning
from scenarios.running.results import write_results
from scenarios.running.summary import N_QUERIES

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

COSTS = ("learn", "memorize", "calibrate")
TOTAL, UNCALIBRATED, ANSWERING = "total", "total_without_calibration", "answer_10000"
"""Further costs: the sum over all accounts, the sum without calibration, and the cost to answer `N_QUERIES`."""


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
    """The memory's fitted setting, by name; like w, None for a seed whose memory was empty."""
    gflop: dict[str, tuple[float, ...]]
    """By `COSTS`, `TOTAL`, `UNCALIBRATED` and `ANSWERING`."""
    memory_entries: tuple[int, ...]
    memory_nbytes: tuple[int, ...]

    @property
    def mean_w(self) -> float | None:
        """The mean of w over the seeds for which it was fitted; None without any."""
        fitted = [w for w in self.w if w is not None]
        return _mean(fitted) if fitted else None

    @property
    def typical_setting(self) -> dict[str, float | None]:
        """Geometric means over the seeds for which it was fitted, because settings are searched on logarithmic grids.

        An arithmetic mean if a value is 0 or below.
        """
        typical: dict[str, float | None] = {}
        for name, by_seed in self.setting.items():
            fitted = [value for value in by_seed if value is not None]
            if all(value > 0 for value in fitted):
                typical[name] = math.exp(_mean([math.log(value) for value in fitted])) if fitted else None
            else:
                typical[name] = _mean(fitted)
        return typical


@dataclass(frozen=True)
class Curve:
    """The finished experiment."""

    config: CurveConfig
    n_train: int
    n_test: int
    """Number of images, the same for every seed."""
    learners: tuple[LearnerAt, ...]
    """In ascending order of k."""
    matched: MatchedShares | None = None
    """The policies on the same streams; None without any."""

    @property
    def notes(self) -> list[str]:
        """Notes for a careful reader of the intervals."""
        of_intervals = notes_on_intervals(self.config, n_together=len(self.learners), of="k's")
        return [*notes_on_tuning(self.config), *of_intervals]

    @property
    def seeds(self) -> list[int]:
        """The seeds, in the order of all values by seed."""
        return list(range(self.config.first_seed, self.config.first_seed + self.config.seeds))


def read_curve(config: CurveConfig, records: Mapping[float, Sequence[LifetimeRecord]]) -> Curve:
    """The curve of finished lifetimes.

    Args:
        config: resolved settings.
        records: one for each seed, by k; 100 is among the keys.

    Raises:
        KeyError, TypeError, ValueError: a summary lacks a value or holds an invalid one.
    """
    summaries: dict[float, list[dict[str, Any]]] = {
        k: [summary for record in by_seed if (summary := record.summary())] for k, by_seed in records.items()
    }
    y = tuple(summary["accuracy"]["learner"] for summary in summaries[100])
    names = dict.fromkeys(name for k in config.k for summary in summaries[k] for name in _setting(summary))
    learners = tuple(_learner_at(k, summaries[k], y, names, config) for k in sorted(config.k))
    last = summaries[100][-1]
    return Curve(config, last["n_train"], last["n_test"], learners)


def _learner_at(
    k: float, summaries: Sequence[dict[str, Any]], y: tuple[float, ...], names: Iterable[str], config: CurveConfig
) -> LearnerAt:
    """The k%-learner, from one summary for each seed; `names` are those of the memory's settings."""

    def by_seed(*path: str) -> tuple[Any, ...]:
        return tuple(reduce(getitem, path, summary) for summary in summaries)

    point = CurvePoint(k, x=by_seed("accuracy", "learner"), y=y, z=by_seed("accuracy", "agent"))
    y_warm = by_seed("y_warm") if config.warm else None
    return LearnerAt(
        point,
        point.statistics(config.confidence),
        y_warm=y_warm,
        warm_gflop=by_seed("warm_gflop") if config.warm else None,
        warm_statistics=replace(point, y=y_warm).statistics(config.confidence) if y_warm else None,
        w=tuple(summary.get("mixture", {}).get("w") for summary in summaries),
        setting={name: tuple(_setting(summary).get(name) for summary in summaries) for name in names},
        gflop=_gflop(summaries),
        memory_entries=by_seed("memory_entries"),
        memory_nbytes=by_seed("memory_nbytes"),
    )


def _setting(summary: Mapping[str, Any]) -> dict[str, float]:
    """The fitted setting of the memory; empty if the memory was empty."""
    return dict(summary.get("mixture", {}).get("setting") or {})


def _gflop(summaries: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, ...]]:
    by_account = {cost: tuple(summary["work"][cost]["flops"] / 1e9 for summary in summaries) for cost in COSTS}
    total = tuple(summary["spent_gflop"] for summary in summaries)
    return by_account | {
        TOTAL: total,
        UNCALIBRATED: tuple(whole - part for whole, part in zip(total, by_account["calibrate"], strict=True)),
        ANSWERING: tuple((each["recall_flops"] + N_QUERIES * each["answer_flops"]) / 1e9 for each in summaries),
    }


def write_curve(curve: Curve, directory: RunDirectory) -> None:
    """Write the curve, and its policies if there are any, as JSON, CSV, figure and TensorBoard events."""
    config = curve.config
    figure = curve_figure(
        [at.point for at in curve.learners],
        dataset=str(config.dataset),
        learner=config.learner.name,
        confidence=config.confidence,
    )
    with directory.tensorboard() as board:
        for at in curve.learners:
            values, step = at.statistics, round(at.point.k * config.chunks / 100)  # a whole number, unlike k
            found: dict[str, Interval | Ratio] = {"x": values.x, "z": values.z, "y": values.y}
            found |= {"R": values.R, "share": values.share}
            for name, estimated in found.items():
                if estimated.estimate is not None:
                    board.add_scalar(f"curve_by_chunks_learned/{name}", estimated.estimate, step)
        write_results(directory, board, "curve", curve_json(curve), curve_rows(curve), figure)
        if curve.matched:
            _write_matched_shares(curve, curve.matched, directory, board)


def _write_matched_shares(
    curve: Curve, matched: MatchedShares, directory: RunDirectory, board: "SummaryWriter"
) -> None:
    config = curve.config
    figure = matched_share_figure(matched, title=f"{config.dataset}, {config.learner.name}")
    write_results(directory, board, "policies", policies_json(curve, matched), matched_share_rows(matched), figure)
    specs = {str(policy): policy.spec for policy in config.with_policies or ()}
    named = {file_name(specs[each.policy]): each.courses for each in matched.policies}
    paths = {f"by_images_learned/accuracy_{name}": mean_marks(courses) for name, courses in named.items()}
    paths["by_images_learned/accuracy_static"] = tuple(mean_marks(courses)[-1] for courses in matched.statics.values())
    for tag, marks in paths.items():
        # Memorized chunks leave the number of learned images, the step, unchanged: the last point of a step counts.
        for step, agent in {round(curve.n_train * mark.learned): mark.agent for mark in marks}.items():
            board.add_scalar(tag, agent, step)
    named |= {f"static-k{k:g}": courses for k, courses in matched.statics.items()}
    shares = {f"by_chunk/learned_{name}": mean_learned(courses) for name, courses in named.items()}
    for tag, learned in shares.items():
        for chunk, share in enumerate(learned, start=1):
            board.add_scalar(tag, share, chunk)
    charts = {
        "agent's accuracy (0 to 1) over images learned": ["Multiline", list(paths)],
        "share of the stream learned (0 to 1) over chunks": ["Multiline", list(shares)],
    }
    board.add_custom_scalars({"Policies and static k%-learners": charts})


def policies_json(curve: Curve, matched: MatchedShares) -> dict[str, Any]:
    """The policies and the k%-learners as plain values: intervals, and the values that the figure draws by seed."""
    config = curve.config
    return {
        "dataset": str(config.dataset),
        "learner": str(config.learner),
        "seeds": curve.seeds,
        "n_test": curve.n_test,
        "chunks": config.chunks,
        "evaluate_every": config.evaluate_every,
        "confidence": config.confidence,
        **matched_share_json(matched, curve.seeds),
    }


def curve_json(curve: Curve) -> dict[str, Any]:
    """The curve as plain values: the statistics of each k, and the values by seed behind them."""
    config = curve.config
    points = []
    for at in curve.learners:
        point: dict[str, Any] = {"k": at.point.k, **asdict(at.statistics)}
        if warm := at.warm_statistics:
            point["warm"] = {"y": asdict(warm.y), "R": asdict(warm.R), "share": asdict(warm.share)}
        point["by_seed"] = {
            "x": at.point.x,
            "z": at.point.z,
            "y": at.point.y,
            **({"y_warm": at.y_warm, "warm_gflop": at.warm_gflop} if at.y_warm else {}),
            "w": at.w,
            "setting": at.setting,
            "gflop": at.gflop,
            "memory_entries": at.memory_entries,
            "memory_nbytes": at.memory_nbytes,
        }
        points.append(point)
    return {
        "dataset": str(config.dataset),
        "learner": str(config.learner),
        "seeds": curve.seeds,
        "n_train": curve.n_train,
        "n_test": curve.n_test,
        "confidence": config.confidence,
        "notes": curve.notes,
        "points": points,
    }


def curve_rows(curve: Curve) -> list[dict[str, Any]]:
    """A row for each k: means over seeds with the bounds of their intervals."""
    rows = []
    for at in curve.learners:
        values = at.statistics
        row: dict[str, Any] = {"k": at.point.k, "n_seeds": values.seeds, "n_test": curve.n_test}
        columns: dict[str, Any] = {name: getattr(values, name) for name in ("x", "z", "y", "y_minus_x", "z_minus_x")}
        columns |= {"R": values.R, "share": values.share}
        if warm := at.warm_statistics:
            columns |= {"y_warm": warm.y, "R_warm": warm.R, "share_warm": warm.share}
        for name, interval in columns.items():
            row |= interval_columns(name, interval)
            if isinstance(interval, Ratio):
                row[f"{name}_note"] = interval.reason
        row |= {"w": at.mean_w} | {f"setting_{name}": value for name, value in at.typical_setting.items()}
        row |= {f"{cost}_gflop": _mean(amounts) for cost, amounts in at.gflop.items()}
        row |= {"memory_entries": _mean(at.memory_entries), "memory_nbytes": _mean(at.memory_nbytes)}
        rows.append(row)
    return rows


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
