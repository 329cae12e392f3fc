"""The files of a finished curve: JSON, CSV, figures and TensorBoard events."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from agent.storage.record import RunDirectory
from scenarios.analysis.csv_table import interval_columns
from scenarios.analysis.matched_share import (
    MatchedShares,
    matched_share_json,
    matched_share_rows,
    mean_learned,
    mean_marks,
)
from scenarios.analysis.statistics import Interval, Ratio, RelativeValue
from scenarios.config.specs import file_name
from scenarios.experiments.relative_value_reading import Curve, LearnerAt, SurfacePoint, mean
from scenarios.figures.curve import curve_figure, memories_figure
from scenarios.figures.matched_share import matched_share_figure
from scenarios.figures.surface import surface_figure
from scenarios.running.results import write_results

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


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
        if curve.memories:
            figure = memories_figure(
                {label: [at.point for at in learners] for label, learners in by_memory(curve).items()},
                dataset=str(config.dataset),
                learner=config.learner.name,
                confidence=config.confidence,
            )
            write_results(directory, board, "memories", memories_json(curve), memories_rows(curve), figure)
        if curve.has_surface:
            sizes = {(at.n_learned, at.n_passed): at.statistics for at in curve.surface}
            figure = surface_figure(sizes, dataset=str(config.dataset), learner=config.learner.name)
            write_results(directory, board, "surface", surface_json(curve), surface_rows(curve), figure)
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
        "seeds": list(curve.seeds),
        "n_test": curve.n_test,
        "chunks": config.chunks,
        "evaluate_every": config.evaluate_every,
        "confidence": config.confidence,
        **matched_share_json(matched, list(curve.seeds)),
    }


def curve_json(curve: Curve) -> dict[str, Any]:
    """The curve as plain values: the statistics of each k, and the values by seed behind them."""
    return {**_facts(curve), "notes": curve.notes, "points": [_point_json(at) for at in curve.learners]}


def memories_json(curve: Curve) -> dict[str, Any]:
    """The same for each memory, by label; that of the curve itself is the first."""
    points = {label: [_point_json(at) for at in learners] for label, learners in by_memory(curve).items()}
    return {**_facts(curve), "memories": points}


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
    return {**_facts(curve), "points": points}


def by_memory(curve: Curve) -> dict[str, tuple[LearnerAt, ...]]:
    """The k%-learners with each rule for the mixture and memory, by label; those of the settings are the first."""
    own = curve.config.mixture if curve.config.with_mixtures else str(curve.config.memory)
    return {own: curve.learners, **curve.memories}


def _facts(curve: Curve) -> dict[str, Any]:
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


def _point_json(at: LearnerAt) -> dict[str, Any]:
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
    return [_row(at, curve.n_test) for at in curve.learners]


def memories_rows(curve: Curve) -> list[dict[str, Any]]:
    """A row for each memory and k, with the same columns."""
    rows = [(label, _row(at, curve.n_test)) for label, learners in by_memory(curve).items() for at in learners]
    names = dict.fromkeys(name for _, row in rows for name in row)
    return [{"memory": label, **{name: row.get(name) for name in names}} for label, row in rows]


def surface_rows(curve: Curve) -> list[dict[str, Any]]:
    """A row for each number of images learned and in all."""
    return [
        {**_sizes(at), "n_seeds": at.statistics.seeds, "n_test": curve.n_test, **_columns(at.statistics)}
        for at in curve.surface
    ]


def _row(at: LearnerAt, n_test: int) -> dict[str, Any]:
    row: dict[str, Any] = {"k": at.point.k, "n_seeds": at.statistics.seeds, "n_test": n_test, **_columns(at.statistics)}
    if warm := at.warm_statistics:
        row |= _interval("y_warm", warm.y) | _interval("R_warm", warm.R) | _interval("share_warm", warm.share)
    row |= {"w": at.mean_w} | {f"setting_{name}": value for name, value in at.typical_setting.items()}
    row |= {f"{cost}_gflop": mean(amounts) for cost, amounts in at.gflop.items()}
    return row | {"memory_entries": mean(at.memory_entries), "memory_nbytes": mean(at.memory_nbytes)}


def _columns(values: RelativeValue) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for name in ("x", "z", "y", "y_minus_x", "z_minus_x", "R", "share"):
        columns |= _interval(name, getattr(values, name))
    return columns


def _interval(name: str, interval: Interval | Ratio) -> dict[str, Any]:
    note = {f"{name}_note": interval.reason} if isinstance(interval, Ratio) else {}
    return interval_columns(name, interval) | note
