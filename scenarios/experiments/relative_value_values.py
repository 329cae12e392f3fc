"""The values of a finished curve, for JSON and CSV."""

from dataclasses import asdict
from typing import Any

from scenarios.analysis.csv_table import interval_columns
from scenarios.analysis.statistics import Interval, Ratio, RelativeValue
from scenarios.experiments.relative_value_reading import Curve, LearnerAt, SurfacePoint, mean


def curve_json(curve: Curve) -> dict[str, Any]:
    """The curve as plain values: the statistics of each k, and the values by seed behind them."""
    return {**facts_of(curve), "notes": curve.notes, "points": [point_json(at) for at in curve.learners]}


def surface_json(curve: Curve) -> dict[str, Any]:
    """R for each number of images learned and in all, as plain values."""
    points = [
        {
            **_sizes(at),
            **asdict(at.statistics),
            "by_seed": {"x": at.point.x, "z": at.point.z, "y": at.point.y},
        }
        for at in curve.surface
    ]
    return {**facts_of(curve), "points": points}


def facts_of(curve: Curve) -> dict[str, Any]:
    """What all results of a curve say of it."""
    return {
        "dataset": str(curve.config.dataset),
        "learner": str(curve.config.learner),
        "seeds": list(curve.seeds),
        "n_train": curve.n_train,
        "n_test": curve.n_test,
        "confidence": curve.config.confidence,
    }


def _sizes(at: SurfacePoint) -> dict[str, Any]:
    return {"n_learned": at.n_learned, "n_passed": at.n_passed, "k": at.point.k}


def point_json(at: LearnerAt) -> dict[str, Any]:
    """The statistics at one k, and the values by seed behind them."""
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
    return point


def curve_rows(curve: Curve) -> list[dict[str, Any]]:
    """A row for each k: means over seeds with the bounds of their intervals."""
    return [row(at, curve.n_test) for at in curve.learners]


def surface_rows(curve: Curve) -> list[dict[str, Any]]:
    """A row for each number of images learned and in all."""
    return [
        {**_sizes(at), "n_seeds": at.statistics.seeds, "n_test": curve.n_test, **columns_of(at.statistics)}
        for at in curve.surface
    ]


def row(at: LearnerAt, n_test: int) -> dict[str, Any]:
    """A row for one k: means over seeds with the bounds of their intervals."""
    row: dict[str, Any] = {
        "k": at.point.k,
        "n_seeds": at.statistics.seeds,
        "n_test": n_test,
        **columns_of(at.statistics),
    }
    if warm := at.warm_statistics:
        row |= _interval("y_warm", warm.y) | _interval("R_warm", warm.R) | _interval("share_warm", warm.share)
    row |= {"w": at.mean_w} | {f"setting_{name}": value for name, value in at.typical_setting.items()}
    row |= {f"{cost}_gflop": mean(amounts) for cost, amounts in at.gflop.items()}
    return row | {"memory_entries": mean(at.memory_entries), "memory_nbytes": mean(at.memory_nbytes)}


def columns_of(values: RelativeValue) -> dict[str, Any]:
    """The columns of a relative value: estimates with the bounds of their intervals."""
    columns: dict[str, Any] = {}
    for name in ("x", "z", "y", "y_minus_x", "z_minus_x", "R", "share"):
        columns |= _interval(name, getattr(values, name))
    return columns


def _interval(name: str, interval: Interval | Ratio) -> dict[str, Any]:
    note = {f"{name}_note": interval.reason} if isinstance(interval, Ratio) else {}
    return interval_columns(name, interval) | note
