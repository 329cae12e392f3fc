"""A finished curve: read from the summaries of its lifetimes, and written as JSON, CSV, figure and events."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from agent.storage.record import LifetimeRecord, RunDirectory
from scenarios.analysis.matched_share import (
    MatchedShares,
    matched_share_csv,
    matched_share_json,
    mean_learned,
    mean_marks,
)
from scenarios.analysis.statistics import CurvePoint, Interval, Ratio, RelativeValue
from scenarios.config.settings import CurveConfig
from scenarios.config.specs import file_name
from scenarios.figures.curve import curve_figure
from scenarios.figures.matched_share import matched_share_figure
from scenarios.figures.style import figure_png
from scenarios.running.interval_notes import notes_on_intervals
from scenarios.running.summary import N_QUERIES

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

COSTS = ("learn", "memorize", "calibrate")
TOTAL, UNCALIBRATED, ANSWERING = "total", "total_without_calibration", "answer_10000"
"""Beside the costs by account: their sum, the sum without calibration, and what answering `N_QUERIES` would cost."""


@dataclass(frozen=True)
class LearnerAt:
    """The k%-learner at one k: its accuracies, and what it was and cost, one value a seed."""

    point: CurvePoint
    y_warm: tuple[float, ...] | None
    warm_gflop: tuple[float, ...] | None
    """GFLOPs of the training that leads from the k%-learner to y_warm; no lifetime pays them."""
    w: tuple[float | None, ...]
    setting: dict[str, tuple[float | None, ...]]
    """What the memory is read with, by name; like w, None for a seed whose memory was empty, with nothing to fit."""
    gflop: dict[str, tuple[float, ...]]
    """`COSTS`, `TOTAL`, `UNCALIBRATED` and `ANSWERING`."""
    memory_entries: tuple[int, ...]
    memory_nbytes: tuple[int, ...]

    @property
    def mean_w(self) -> float | None:
        """Over the seeds for which it was fitted."""
        fitted = [w for w in self.w if w is not None]
        return _mean(fitted) if fitted else None

    @property
    def typical_setting(self) -> dict[str, float | None]:
        """Geometric means over the seeds for which it was fitted, as settings are searched on logarithmic grids.

        Plain means where one is 0 or below.
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
    """Images, the same number for every seed."""
    learners: tuple[LearnerAt, ...]
    statistics: tuple[RelativeValue, ...]
    """By k, in the order of `learners`."""
    warm_statistics: tuple[RelativeValue, ...] | None
    """The same with y from a warm start."""
    matched: MatchedShares | None = None
    """The policies that lived the same streams; None without any."""

    @property
    def notes(self) -> list[str]:
        """What a careful reader of the intervals should know."""
        return notes_on_intervals(self.config, n_together=len(self.learners), of="k's")

    @property
    def seeds(self) -> list[int]:
        """In the order of every value a seed."""
        return list(range(self.config.first_seed, self.config.first_seed + self.config.seeds))


def read_curve(config: CurveConfig, records: Mapping[float, Sequence[LifetimeRecord]]) -> Curve:
    """The curve that finished lifetimes make, by k; those of 100 among them.

    Raises:
        KeyError, TypeError, ValueError: a summary without, or with odd, values.
    """
    summaries: dict[float, list[dict[str, Any]]] = {
        k: [summary for record in lived if (summary := record.summary())] for k, lived in records.items()
    }
    y = tuple(summary["accuracy"]["learner"] for summary in summaries[100])
    names = dict.fromkeys(name for k in config.k for summary in summaries[k] for name in _setting(summary))
    learners = []
    for k in sorted(config.k):
        lived = summaries[k]
        point = CurvePoint(
            k,
            x=tuple(summary["accuracy"]["learner"] for summary in lived),
            y=y,
            z=tuple(summary["accuracy"]["agent"] for summary in lived),
        )
        learners.append(
            LearnerAt(
                point,
                y_warm=tuple(summary["y_warm"] for summary in lived) if config.warm else None,
                warm_gflop=tuple(summary["warm_gflop"] for summary in lived) if config.warm else None,
                w=tuple(summary.get("mixture", {}).get("w") for summary in lived),
                setting={name: tuple(_setting(summary).get(name) for summary in lived) for name in names},
                gflop=_gflop(lived),
                memory_entries=tuple(summary["memory_entries"] for summary in lived),
                memory_nbytes=tuple(summary["memory_nbytes"] for summary in lived),
            )
        )
    warm = None
    if config.warm:
        warm = tuple(
            CurvePoint(at.point.k, at.point.x, at.y_warm or (), at.point.z).statistics(config.confidence)
            for at in learners
        )
    statistics = tuple(at.point.statistics(config.confidence) for at in learners)
    last = summaries[100][-1]
    return Curve(config, last["n_train"], last["n_test"], tuple(learners), statistics, warm)


def _setting(summary: Mapping[str, Any]) -> dict[str, float]:
    """What the memory of a finished lifetime is read with; nothing where it was empty."""
    return dict(summary.get("mixture", {}).get("setting") or {})


def _gflop(summaries: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, ...]]:
    of = {cost: tuple(summary["work"][cost]["flops"] / 1e9 for summary in summaries) for cost in COSTS}
    total = tuple(summary["spent_gflop"] for summary in summaries)
    return of | {
        TOTAL: total,
        UNCALIBRATED: tuple(whole - part for whole, part in zip(total, of["calibrate"], strict=True)),
        ANSWERING: tuple((each["recall_flops"] + N_QUERIES * each["answer_flops"]) / 1e9 for each in summaries),
    }


def write_curve(curve: Curve, run: RunDirectory) -> None:
    """Into the run directory: JSON, CSV, figure and TensorBoard, and the same of policies beside it."""
    run.write("curve.json", json.dumps(curve_json(curve), indent=2) + "\n")
    run.write("curve.csv", curve_csv(curve))
    config = curve.config
    points = [at.point for at in curve.learners]
    png = figure_png(
        curve_figure(points, dataset=config.dataset, learner=config.learner_name, confidence=config.confidence)
    )
    run.write("curve.png", png)
    with run.tensorboard() as board:
        for at, values in zip(curve.learners, curve.statistics, strict=True):
            step = round(at.point.k * config.chunks / 100)  # whole, where k need not be
            found: dict[str, Interval | Ratio] = {"x": values.x, "z": values.z, "y": values.y}
            found |= {"R": values.R, "share": values.share}
            for name, estimated in found.items():
                if estimated.estimate is not None:
                    board.add_scalar(f"curve_by_chunks_learned/{name}", estimated.estimate, step)
        board.add_image("curve", _pixels(png), dataformats="HWC")
        if curve.matched:
            _write_matched_shares(curve, curve.matched, run, board)


def _write_matched_shares(curve: Curve, matched: MatchedShares, run: RunDirectory, board: "SummaryWriter") -> None:
    run.write("policies.json", json.dumps(policies_json(curve, matched), indent=2) + "\n")
    run.write("policies.csv", matched_share_csv(matched))
    png = figure_png(matched_share_figure(matched, title=f"{curve.config.dataset}, {curve.config.learner_name}"))
    run.write("policies.png", png)
    board.add_image("policies", _pixels(png), dataformats="HWC")
    named = {file_name(each.policy): each.courses for each in matched.policies}
    paths = {f"by_images_learned/accuracy_{name}": mean_marks(courses) for name, courses in named.items()}
    paths["by_images_learned/accuracy_static"] = tuple(mean_marks(lived)[-1] for lived in matched.statics.values())
    for tag, marks in paths.items():
        # While chunks are memorized no image is learned: of those points the last one stands, and none share a step.
        for step, agent in {round(curve.n_train * mark.learned): mark.agent for mark in marks}.items():
            board.add_scalar(tag, agent, step)
    named |= {f"static-k{k:g}": lived for k, lived in matched.statics.items()}
    shares = {f"by_chunk/learned_{name}": mean_learned(courses) for name, courses in named.items()}
    for tag, learned in shares.items():
        for chunk, share in enumerate(learned, start=1):
            board.add_scalar(tag, share, chunk)
    charts = {
        "agent's accuracy (0 to 1) over images learned": ["Multiline", list(paths)],
        "share of the stream learned (0 to 1) over chunks": ["Multiline", list(shares)],
    }
    board.add_custom_scalars({"Policies and static k%-learners": charts})


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def policies_json(curve: Curve, matched: MatchedShares) -> dict[str, Any]:
    """The policies beside the k%-learners as plain values: with intervals, and what is drawn of every seed."""
    config = curve.config
    about = {"dataset": config.dataset, "learner": config.learner, "seeds": curve.seeds, "n_test": curve.n_test}
    return {
        **about,
        "chunks": config.chunks,
        "evaluate_every": config.evaluate_every,
        "confidence": config.confidence,
        **matched_share_json(matched, curve.seeds),
    }


def curve_json(curve: Curve) -> dict[str, Any]:
    """The curve as plain values: for each k the statistics, and the values of every seed behind them."""
    config = curve.config
    points = []
    for i, (at, values) in enumerate(zip(curve.learners, curve.statistics, strict=True)):
        point: dict[str, Any] = {"k": at.point.k, **values.as_json()}
        if curve.warm_statistics:
            warm = curve.warm_statistics[i]
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
        "dataset": config.dataset,
        "learner": config.learner,
        "seeds": curve.seeds,
        "n_train": curve.n_train,
        "n_test": curve.n_test,
        "confidence": config.confidence,
        "notes": curve.notes,
        "points": points,
    }


def curve_csv(curve: Curve) -> str:
    """One line for each k: means over seeds, and the ends of their intervals."""
    rows = []
    for i, (at, values) in enumerate(zip(curve.learners, curve.statistics, strict=True)):
        row: dict[str, Any] = {"k": at.point.k, "n_seeds": values.seeds, "n_test": curve.n_test}
        columns: dict[str, Any] = {name: getattr(values, name) for name in ("x", "z", "y", "y_minus_x", "z_minus_x")}
        columns |= {"R": values.R, "share": values.share}
        if curve.warm_statistics:
            warm = curve.warm_statistics[i]
            columns |= {"y_warm": warm.y, "R_warm": warm.R, "share_warm": warm.share}
        for name, interval in columns.items():
            row |= {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
            if isinstance(interval, Ratio):
                row[f"{name}_note"] = interval.reason
        row |= {"w": at.mean_w} | {f"setting_{name}": value for name, value in at.typical_setting.items()}
        row |= {f"{cost}_gflop": _mean(amounts) for cost, amounts in at.gflop.items()}
        row |= {"memory_entries": _mean(at.memory_entries), "memory_nbytes": _mean(at.memory_nbytes)}
        rows.append(row)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
