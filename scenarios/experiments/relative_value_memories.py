"""The memories and mixtures of one curve beside each other: values, tables and figures."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agent.storage.record import RunDirectory
from scenarios.analysis.csv_table import interval_columns
from scenarios.analysis.formats import gflop, percent, spread
from scenarios.analysis.ranking import Ranking, best_within, rank
from scenarios.analysis.report import Column, Table, numbers
from scenarios.analysis.statistics import Ratio
from scenarios.experiments.relative_value_reading import Curve, LearnerAt, mean
from scenarios.experiments.relative_value_values import columns_of, facts_of, point_json, row
from scenarios.figures.memories import About, MemoryAt, memories_figure, strength_figure
from scenarios.running.results import write_results
from scenarios.running.summary import N_QUERIES

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LIMITS = {"megabytes": "at most MB", "recall_mflop": "at most MFLOP"}
"""The sizes of a memory by which memories are compared at equal size, with the heading of a limit."""


def by_memory(curve: Curve) -> dict[str, tuple[LearnerAt, ...]]:
    """The k%-learners with each rule for the mixture and memory, by label; those of the settings are the first."""
    labels = _rules(curve)
    own = curve.config.mixture if labels and not curve.config.with_memories else str(curve.config.memory)
    return {own: curve.learners, **{labels.get(label, label): of for label, of in curve.memories.items()}}


def _rules(curve: Curve) -> dict[str, str]:
    """The labels of the further rules for the mixture: beside other memories they name the memory, too."""
    config = curve.config
    return {rule: f"{config.memory}, {rule}" if config.with_memories else rule for rule in config.with_mixtures}


def write_memories(curve: Curve, directory: RunDirectory, board: "SummaryWriter") -> None:
    """Write the memories, and R by their strength if there are several, as JSON, CSV and figures."""
    config = curve.config
    about = About(str(config.dataset), config.learner.name, config.confidence)
    lines = {label: _line(learners) for label, learners in by_memory(curve).items()}
    figure = memories_figure(lines, about)
    write_results(directory, board, "memories", memories_json(curve), _memories_rows(curve), figure)
    if config.with_memories:
        figure = strength_figure({label: lines[label] for label in _apart(curve)}, about)
        write_results(directory, board, "strength", strength_json(curve), _strength_rows(curve), figure)


def memories_json(curve: Curve) -> dict[str, Any]:
    """The curve of each memory, by label, that of the settings first; and the best memory at each k."""
    points = {label: [_memory_json(at) for at in learners] for label, learners in by_memory(curve).items()}
    best = [
        {"k": k, "memory": ranking.best, "behind": {label: vars(each) for label, each in ranking.behind.items()}}
        for k, ranking in _rankings(curve).items()
    ]
    return {**facts_of(curve), "memories": points, "best": best}


def strength_json(curve: Curve) -> dict[str, Any]:
    """The best memory within each limit of bytes and of recall FLOPs, at each k."""
    steps = [
        {"k": k, "limit_of": measure, "limit": limit, "memory": label, "R": vars(at.statistics.R)}
        | {name: vars(getattr(at.statistics, name)) for name in ("z", "z_minus_x", "share")}
        for k, measure, limit, label, at in _steps(curve)
    ]
    return {**facts_of(curve), "best_within": steps}


def memories_tables(curve: Curve) -> list[str | Table | list[Table]]:
    """The memories in the report: R of each, and the best at each k."""
    parts: list[str | Table | list[Table]] = ["", [_memories(curve, whole) for whole in (True, False)]]
    parts += ["", _best(curve)]
    if curve.config.with_memories:
        for measure in LIMITS:
            parts += ["", _within(curve, measure)]
        parts.append("Equal sizes at every k are in strength.csv.")
    return parts


def _apart(curve: Curve) -> dict[str, tuple[LearnerAt, ...]]:
    """The memories, without further rules for the mixture of one of them."""
    return {label: of for label, of in by_memory(curve).items() if label not in _rules(curve).values()}


def _line(learners: tuple[LearnerAt, ...]) -> list[MemoryAt]:
    return [
        MemoryAt(at.point, _size(at, "megabytes"), _size(at, "recall_mflop"), _memory_accuracy(at)) for at in learners
    ]


def _memory_accuracy(at: LearnerAt) -> float | None:
    """The mean accuracy of the memory alone; None if no seed has one."""
    known = [accuracy for accuracy in at.memory_accuracy if accuracy is not None]
    return mean(known) if known else None


def _rankings(curve: Curve) -> dict[float, Ranking]:
    """The memories at each k, by z."""
    of_all = _at_each_k(by_memory(curve))
    return {
        k: rank({label: at.point.z for label, at in here.items()}, curve.config.confidence)
        for k, here in of_all.items()
    }


def _at_each_k(memories: Mapping[str, tuple[LearnerAt, ...]]) -> dict[float, dict[str, LearnerAt]]:
    """By k and label; only memories with entries, which those of the learner of all data have not."""
    found: dict[float, dict[str, LearnerAt]] = {}
    for label, learners in memories.items():
        for at in learners:
            if any(at.memory_entries):
                found.setdefault(at.point.k, {})[label] = at
    return found


def _steps(curve: Curve) -> list[tuple[float, str, float, str, LearnerAt]]:
    """At each k: a size, a limit of it, the label of the best memory within the limit, and its learner."""
    found = []
    for k, here in _at_each_k(_apart(curve)).items():
        accuracies = {label: mean(at.point.z) for label, at in here.items()}
        for measure in LIMITS:
            limits = best_within({label: _size(at, measure) for label, at in here.items()}, accuracies)
            found += [(k, measure, limit, label, here[label]) for limit, label in limits]
    return found


def _size(at: LearnerAt, measure: str) -> float:
    return mean(at.memory_nbytes) / 1e6 if measure == "megabytes" else mean(at.recall_mflop)


def _memory_json(at: LearnerAt) -> dict[str, Any]:
    point = point_json(at)
    point["by_seed"] |= {"memory_accuracy": at.memory_accuracy, "recall_mflop": at.recall_mflop}
    return point


def _memories_rows(curve: Curve) -> list[dict[str, Any]]:
    """A row for each memory and k, with the columns of the curve, and what tells memories apart."""
    rankings = _rankings(curve)
    rows = []
    for label, learners in by_memory(curve).items():
        for at in learners:
            behind = rankings[at.point.k].behind.get(label) if at.point.k in rankings else None
            of_memory = {"memory_accuracy": _memory_accuracy(at), "recall_mflop": mean(at.recall_mflop)}
            rows.append((label, row(at, curve.n_test) | of_memory | interval_columns("behind_best", behind)))
    names = dict.fromkeys(name for _, each in rows for name in each)
    return [{"memory": label, **{name: each.get(name) for name in names}} for label, each in rows]


def _strength_rows(curve: Curve) -> list[dict[str, Any]]:
    return [
        {"k": k, "limit_of": measure, "limit": limit, "memory": label, **columns_of(at.statistics)}
        for k, measure, limit, label, at in _steps(curve)
    ]


def _memories(curve: Curve, whole: bool) -> Table:
    """R of each memory at each k; without sizes it fits in 80 columns."""
    headings = ["k %", "z", "z - x", "R", "1/R", *(["w", "alone", "MB", "recall\nMFLOP"] if whole else [])]
    rows = [
        (label if first else "", *_row_of_memory(at, whole))
        for label, learners in by_memory(curve).items()
        for first, at in zip([True] + [False] * len(learners), learners, strict=False)
    ]
    more = (
        f"alone: accuracy of the memory; recall: for each of {N_QUERIES:,} queries asked together, without forward pass"
        if whole
        else "sizes and costs: in a wider window and in memories.csv"
    )
    return Table(
        (Column("memory or rule", is_text=True, folds=True), *numbers(*headings)),
        tuple(rows),
        "memories and mixtures of the same learners",
        f"accuracies in %; intervals as above, none corrected for several being read together; {more}",
    )


def _row_of_memory(at: LearnerAt, whole: bool) -> tuple[str, ...]:
    values = at.statistics
    accuracies = (percent(each.estimate) for each in (values.z, values.z_minus_x))
    cells = f"{at.point.k:g}", *accuracies, ratio_text(values.R), ratio_text(values.share)
    if not whole:
        return cells
    sizes = (f"{_size(at, measure):.3g}" for measure in LIMITS)
    return *cells, fitted_text(at.mean_w), percent(_memory_accuracy(at)), *sizes


def _best(curve: Curve) -> Table:
    """The best memory at each k."""
    own = next(iter(by_memory(curve)))
    rows = tuple(
        (
            f"{k:g}",
            ranking.best,
            spread(ranking.behind.get(own)) if ranking.best != own else "",
            ", ".join(ranking.equals) or "none",
        )
        for k, ranking in _rankings(curve).items()
    )
    best, ahead, equals = Column("best", is_text=True, folds=True), Column(f"ahead of {own}"), "not told from it"
    level = f"{100 * curve.config.confidence:g}%"
    return Table(
        (Column("k %"), best, ahead, Column(equals, is_text=True, folds=True)),
        rows,
        "the best memory at each k",
        f"by z; differences paired by seed, in points, with {level} t intervals; the same seeds choose the best, whose "
        "lead is overestimated",
    )


def _within(curve: Curve, measure: str) -> Table:
    """What memory is best at equal size, at the lowest k, where there is most to remember."""
    k = curve.learners[0].point.k
    rows = tuple(
        (gflop(limit), label, percent(at.statistics.z_minus_x.estimate), ratio_text(at.statistics.R))
        for at_k, of, limit, label, at in _steps(curve)
        if at_k == k and of == measure
    )
    what = "bytes" if measure == "megabytes" else f"work of recall for each of {N_QUERIES:,} queries"
    return Table(
        (Column(LIMITS[measure]), Column("best", is_text=True, folds=True), *numbers("z - x", "R")),
        rows,
        f"the best memory at equal {what}, k = {k:g}",
    )


def fitted_text(value: float | None) -> str:
    """A mixing weight or a setting of the memory."""
    return "-" if value is None else f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def ratio_text(ratio: Ratio) -> str:
    """A ratio with its interval."""
    if ratio.estimate is None:
        return "undetermined"
    return f"{ratio.estimate:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
