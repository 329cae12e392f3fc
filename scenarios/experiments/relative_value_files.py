"""The files of a finished curve: JSON, CSV, figures and TensorBoard events."""

from typing import TYPE_CHECKING, Any

from agent.storage.record import RunDirectory
from scenarios.analysis.matched_share import (
    MatchedShares,
    matched_share_json,
    matched_share_rows,
    mean_learned,
    mean_marks,
)
from scenarios.analysis.statistics import Interval, Ratio
from scenarios.config.specs import file_name
from scenarios.experiments.relative_value_memories import write_memories
from scenarios.experiments.relative_value_reading import Curve
from scenarios.experiments.relative_value_values import curve_json, curve_rows, surface_json, surface_rows
from scenarios.experiments.rescues import write_rescues
from scenarios.figures.curve import curve_figure
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
            write_memories(curve, directory, board)
        if curve.has_surface:
            sizes = {(at.n_learned, at.n_passed): at.statistics for at in curve.surface}
            figure = surface_figure(sizes, dataset=str(config.dataset), learner=config.learner.name)
            write_results(directory, board, "surface", surface_json(curve), surface_rows(curve), figure)
        if curve.matched:
            _write_matched_shares(curve, curve.matched, directory, board)
        if curve.rescues:
            write_rescues(curve.rescues, directory, board)


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
