"""The figures of several memories of the same learners: R against k, and R against the strength of the memory."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from scenarios.analysis.ranking import best_within
from scenarios.analysis.statistics import CurvePoint, RelativeValue
from scenarios.figures.ratio_axis import AXIS_LABELS, CAPTION, linear_axis, ratio_axis, ratio_lines, span_of
from scenarios.figures.style import (
    GREY,
    PERCENT_LIMITS,
    legend_beside,
    log_axis,
    marker_style,
    new_figure,
    seed_count,
    shades,
    style_axes,
)

LABEL_WIDTH = 34  # characters of a label in a legend
SIZES = {"megabytes": "memory (MB)", "recall_mflop": "recall for each of 10,000 queries (MFLOP)"}


@dataclass(frozen=True)
class MemoryAt:
    """One memory at one k."""

    point: CurvePoint
    megabytes: float
    """Of the memory."""
    recall_mflop: float
    """Work for each of 10,000 queries asked together, without the forward pass, in MFLOP."""
    accuracy: float | None
    """Of the memory alone, 0 to 1; None if it is empty."""


Memories = Mapping[str, Sequence[MemoryAt]]
"""By label; each in ascending order of k."""


@dataclass(frozen=True)
class About:
    """What a title says."""

    dataset: str
    learner: str
    """How the learners were trained."""
    confidence: float = 0.95
    """Level of every interval, in (0, 1)."""


def memories_figure(memories: Memories, about: About) -> Figure:
    """R and 1/R against k for several memories of the same learners with their intervals; their bytes and recall.

    Args:
        memories: one or more.
        about: for the title, and the level of every interval.

    Returns:
        A figure of 15 x 4.8 inches, higher for many memories, with an Agg canvas; `figure_png` makes the file.
    """
    statistics = _statistics(memories, about.confidence)
    labels = _labels(memories)
    lines = sum(1 + label.count("\n") for label in labels)
    title = f"{about.dataset}, {about.learner} ({_seeds_text(statistics)}): memories and mixtures of the same learners"
    figure = new_figure(15, max(4.8, 1.3 + 0.17 * lines), f"{textwrap.fill(title, 140)}\n{CAPTION}")
    left, middle, right = figure.subplots(1, 3)
    styles = [marker_style(i, edge_width=0.8) for i in range(len(memories))]
    for axes, (name, label) in zip((left, middle), AXIS_LABELS.items(), strict=True):
        ratios = [{k: getattr(values, name) for k, values in of_memory.items()} for of_memory in statistics.values()]
        ratio_lines(axes, dict(zip(labels, ratios, strict=True)), styles, spread=0.7, stretched=name == "R")
        axes.set_xlim(*PERCENT_LIMITS)
        axes.set_xticks(range(0, 101, 20))
        axes.set_xlabel("data used for learning, k (%)")
        axes.set_ylabel(label)
        style_axes(axes, grid="y")
    for memory, style in zip(memories.values(), styles, strict=True):
        held = [(each.megabytes, each.recall_mflop) for each in memory if each.megabytes > 0]
        right.plot(*zip(*held, strict=True), **{"linewidth": 1, "markersize": 4.5, **style})
    log_axis(right.xaxis)
    log_axis(right.yaxis)
    right.set_xlabel(f"{SIZES['megabytes']}, less with a higher k")
    right.set_ylabel(SIZES["recall_mflop"])
    style_axes(right)
    handles = [Line2D([], [], label=label, linewidth=1, **style) for label, style in zip(labels, styles, strict=True)]
    legend_beside(figure, handles, title="memory or rule", rows=len(handles), loc="outside right upper")
    return figure


def strength_figure(memories: Memories, about: About) -> Figure:
    """R and 1/R against the memory's accuracy, its bytes and its work of recall, for each k.

    Steps join the memory of highest z within each number of bytes, and of FLOPs: R at equal size.

    Args:
        memories: two or more.
        about: for the title, and the level of every interval.

    Returns:
        A figure of 15 x 8 inches, higher for many memories, with an Agg canvas; `figure_png` makes the file.
    """
    statistics = _statistics(memories, about.confidence)
    labels = _labels(memories)
    ks = sorted({k for of_memory in statistics.values() for k in of_memory})
    lines = sum(1 + label.count("\n") for label in labels) + len(ks)
    title = f"{about.dataset}, {about.learner} ({_seeds_text(statistics)}): R against the strength of the memory"
    caption = f"{CAPTION}; steps: the most accurate mixture within each size"
    figure = new_figure(15, max(8, 1.6 + 0.17 * lines), f"{textwrap.fill(title, 140)}\n{caption}")
    colors = [style["color"] for style in shades(len(ks))]
    panels = figure.subplots(2, 3, sharex="col", sharey="row")
    for row, (name, label) in zip(panels, AXIS_LABELS.items(), strict=True):
        spans = [
            span for of_memory in statistics.values() for each in of_memory.values() if (span := _span(each, name))
        ]
        low, high = (ratio_axis if name == "R" else linear_axis)(row[0], spans)
        for axes, measure in zip(row, ("accuracy", *SIZES), strict=True):
            for k, color in zip(ks, colors, strict=True):
                here = {label: {at.point.k: at for at in memory}.get(k) for label, memory in memories.items()}
                ratios = {label: of.get(k) for label, of in statistics.items()}
                _draw_at(axes, here, ratios, (name, measure), (low, high), color)
            axes.axhline(1, color=GREY, linestyle="--", linewidth=1, zorder=1)
            style_axes(axes, grid="y")
        row[0].set_ylabel(label)
    panels[1][0].set_xlabel("accuracy of the memory alone (%)")
    for axes, label in zip(panels[1][1:], SIZES.values(), strict=True):
        log_axis(axes.xaxis)
        axes.set_xlabel(label)
    named = [
        Line2D([], [], linestyle="", label=label, **{**marker_style(i, edge_width=0.8), **_shape(i, GREY)})
        for i, label in enumerate(labels)
    ]
    named += [
        Line2D([], [], linewidth=2, color=color, label=f"k = {k:g}%") for k, color in zip(ks, colors, strict=True)
    ]
    named.append(Line2D([], [], color=GREY, linestyle="--", linewidth=1, label="R = 1"))
    legend_beside(figure, named, title="memory, and share learned", rows=len(named), loc="outside right upper")
    return figure


def _draw_at(
    axes: Axes,
    memories: Mapping[str, MemoryAt | None],
    statistics: Mapping[str, RelativeValue | None],
    what: tuple[str, str],
    limits: tuple[float, float],
    color: Any,
) -> None:
    """Draw a ratio of each memory at one k against a measure, and the steps of the best within each size."""
    (name, measure), (low, high) = what, limits
    sizes: dict[str, float] = {}
    for number, (label, memory) in enumerate(memories.items()):
        values = statistics[label]
        if memory is None or values is None or memory.accuracy is None:
            continue  # no memory of this k, or an empty one
        sizes[label] = 100 * memory.accuracy if measure == "accuracy" else getattr(memory, measure)
        if span := _span(values, name):
            ends = [max(span[1], low), min(span[2], high)]
            axes.plot([sizes[label]] * 2, ends, color=color, linewidth=0.8, alpha=0.25)
            axes.plot([sizes[label]], [span[0]], linestyle="", markersize=4.5, **_shape(number, color))
    if measure == "accuracy" or not sizes:
        return
    known = {label: values for label, values in statistics.items() if values and label in sizes}
    steps = best_within(sizes, {label: values.z.estimate for label, values in known.items()})
    found = [(limit, _span(known[label], name)) for limit, label in steps]
    xs = [limit for limit, _ in found] + [max(sizes.values())]
    ys = [span[0] if span else math.nan for _, span in found]
    axes.step(xs, [*ys, ys[-1]], where="post", color=color, linewidth=1, alpha=0.7)


def _shape(i: int, color: Any) -> dict[str, Any]:
    """The i-th memory's marker in a colour."""
    style = marker_style(i, edge_width=0.8)
    hollow = style["markerfacecolor"] == "white"
    return {**style, "color": color, "markerfacecolor": "white" if hollow else color}


def _span(values: RelativeValue, name: str) -> tuple[float, float, float] | None:
    return span_of(getattr(values, name))


def _statistics(memories: Memories, confidence: float) -> dict[str, dict[float, RelativeValue]]:
    """By label and k."""
    return {label: {at.point.k: at.point.statistics(confidence) for at in memory} for label, memory in memories.items()}


def _labels(memories: Memories) -> list[str]:
    return [textwrap.fill(label, LABEL_WIDTH) for label in memories]


def _seeds_text(statistics: Mapping[str, Mapping[float, RelativeValue]]) -> str:
    seeds = [values.seeds for of_memory in statistics.values() for values in of_memory.values()]
    fewest, most = min(seeds), max(seeds)
    return seed_count(most) if fewest == most else f"{fewest} to {most} seeds"
