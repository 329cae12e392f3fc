"""The files and the report of finished curves of different learners beside each other."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent.storage.record import RunDirectory
from scenarios.analysis.formats import percent
from scenarios.analysis.report import Column, Report, Table, numbers
from scenarios.experiments.relative_value_memories import by_memory, ratio_text
from scenarios.experiments.relative_value_reading import Curve
from scenarios.experiments.relative_value_values import point_json, row
from scenarios.figures.beside import beside_figure
from scenarios.running.results import write_results

LEARNER = ("network", "recipe", "learner")
"""The parts that learn."""
SETTINGS = (*LEARNER, "memory", "keys", "pool", "transform", "capacity", "eviction", "mixture", "tuned")
"""The parts in which curves beside each other may differ."""
_SHOWN = 4
"""Most k's in the table and against y in the figure."""


@dataclass(frozen=True)
class CurvesBeside:
    """Finished curves of different learners in one world."""

    curves: Mapping[str, Curve]
    """By label, the weakest learner (lowest y) first."""
    confidence: float
    """Level of every interval."""
    notes: tuple[str, ...]

    @property
    def shown_ks(self) -> list[float]:
        """Up to four k's that all curves have, evenly chosen."""
        measured = [{at.point.k for at in curve.learners if at.point.k < 100} for curve in self.curves.values()]
        common = sorted(set.intersection(*measured))
        chosen = np.linspace(0, len(common) - 1, min(_SHOWN, len(common))).round().astype(int).tolist()
        return [common[i] for i in chosen]

    @property
    def facts(self) -> Curve:
        """One of the curves: all agree in the data and the stream."""
        return next(iter(self.curves.values()))


def write_beside(found: CurvesBeside, directory: RunDirectory) -> None:
    """Write the curves beside each other as JSON, CSV and figure, which TensorBoard shows too."""
    figure = beside_figure(
        {label: [at.point for at in curve.learners] for label, curve in found.curves.items()},
        found.shown_ks,
        dataset=str(found.facts.config.dataset),
        confidence=found.confidence,
    )
    with directory.tensorboard() as board:
        write_results(directory, board, "beside", beside_json(found), beside_rows(found), figure)


def beside_json(found: CurvesBeside) -> dict[str, Any]:
    """The curves as plain values: settings of the learners, and the statistics of each memory and k."""
    return {
        "dataset": str(found.facts.config.dataset),
        "n_train": found.facts.n_train,
        "n_test": found.facts.n_test,
        "confidence": found.confidence,
        "notes": list(found.notes),
        "shown_k": found.shown_ks,
        "curves": [_curve_json(label, curve) for label, curve in found.curves.items()],
    }


def _curve_json(label: str, curve: Curve) -> dict[str, Any]:
    plain = curve.config.model_dump(mode="json", include=set(SETTINGS))
    return {
        "curve": label,
        "settings": {name: plain[name] for name in SETTINGS},
        "seeds": list(curve.seeds),
        "precision": curve.precision,
        "y": asdict(curve.learners[0].statistics.y),
        "memories": {memory: [point_json(at) for at in of] for memory, of in by_memory(curve).items()},
    }


def beside_rows(found: CurvesBeside) -> list[dict[str, Any]]:
    """A row for each curve, memory and k: means over seeds with the bounds of their intervals, and costs."""
    rows = [
        {"curve": label, "memory": memory, **row(at, curve.n_test)}
        for label, curve in found.curves.items()
        for memory, learners in by_memory(curve).items()
        for at in learners
    ]
    names = dict.fromkeys(name for each in rows for name in each)  # settings of memories differ
    return [{name: each.get(name) for name in names} for each in rows]


def report(found: CurvesBeside, path: Path) -> Report:
    """The report of curves that were written to a folder."""
    ratios = [at.statistics.R for curve in found.curves.values() for at in curve.learners]
    reasons = dict.fromkeys(ratio.reason for ratio in ratios if ratio.reason)
    parts: list[str | Table | list[Table]] = [[_by_curve(found), _by_k(found)]]
    parts += [f"R undetermined: {reason}." for reason in reasons]
    if not found.shown_ks:
        parts.append("No k is in all curves: R at each k is in beside.csv.")
    facts: list[tuple[str, list[Path | str]]] = [
        ("figure", [path / "beside.png"]),
        ("table", [path / "beside.csv", path / "beside.json"]),
    ]
    return Report(beside_json(found), parts, found.notes, facts, has_trajectories=False)


def _by_curve(found: CurvesBeside) -> Table:
    """A row for each curve, with R at each k that is shown."""
    ks = found.shown_ks
    rows = tuple(
        (label, str(len(curve.seeds)), _y(curve), *(_ratio(curve, k) for k in ks))
        for label, curve in found.curves.items()
    )
    headings = numbers("seeds", "y", *(f"R at\nk = {k:g}%" for k in ks))
    return Table((Column("curve", is_text=True, folds=True), *headings), rows, _title(found), _caption(found), gap=2)


def _by_k(found: CurvesBeside) -> Table:
    """A row for each k that is shown and curve; it fits in 80 columns."""
    rows = tuple(
        (f"{k:g}" if first else "", label, _y(curve), _ratio(curve, k))
        for k in found.shown_ks
        for first, (label, curve) in zip([True] + [False] * len(found.curves), found.curves.items(), strict=False)
    )
    columns = (*numbers("k %"), Column("curve", is_text=True, folds=True), *numbers("y", "R"))
    return Table(columns, rows, _title(found), _caption(found))


def _title(found: CurvesBeside) -> str:
    return f"{found.facts.config.dataset}: {len(found.curves)} learners, the weakest first"


def _caption(found: CurvesBeside) -> str:
    level = f"{100 * found.confidence:g}%"
    return (
        f"y: accuracy of the 100%-learner in %; R = (y - x) / (z - x): ratio of means [{level} Fieller interval], with "
        "each curve's own memory; all k's and memories: beside.csv"
    )


def _y(curve: Curve) -> str:
    return percent(curve.learners[0].statistics.y.estimate)


def _ratio(curve: Curve, k: float) -> str:
    return next(ratio_text(at.statistics.R) for at in curve.learners if at.point.k == k)
