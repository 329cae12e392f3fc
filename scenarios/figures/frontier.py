"""The figure of accuracy against cost, with the options that are best at some price."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from scenarios.analysis.options import Options
from scenarios.analysis.statistics import Interval, mean_interval
from scenarios.figures.pareto import limit_accuracies, scale_costs
from scenarios.figures.price_units import counted
from scenarios.figures.style import (
    GREY,
    INK,
    item_colors,
    marker_style,
    new_figure,
    percent_span,
    seed_count,
    style_axes,
)

COLUMNS = 3  # most panels in a row
FEW = 60  # up to so many options have an interval each; of more, only the best
_NEAR = 0.075  # names are written if they are apart by this share of the panel


@dataclass(frozen=True)
class CostPanel:
    """The options at one number of queries.

    Attributes:
        queries: number of queries after the stream.
        costs: cost of each option.
        best: the indices of the best options, from the dearest to the cheapest.
    """

    queries: int
    costs: Float[np.ndarray, "seeds options"]
    best: tuple[int, ...]


def frontier_figure(
    options: Options,
    panels: Sequence[CostPanel],
    *,
    memories: Sequence[str],
    cost: str,
    unit: str,
    title: str,
    confidence: float = 0.95,
) -> Figure:
    """Mean accuracy against mean cost of every option, in a panel for each number of queries.

    Bars are t intervals of accuracy over seeds, clipped to 0..100%. A thick line joins the options that are best at
    some price of the cost. Thin dashed lines join the measured shares of one memory; they interpolate, and no share
    between is best at any price. Of more than 60 options, only the best have names and intervals. Axes of costs are
    logarithmic if these span more than a factor of 30.

    Args:
        options: the same in all panels, with at least one seed.
        panels: at least one.
        memories: the labels of all memories, in the order of their colours and markers.
        cost: name of the cost model, for the axis.
        unit: unit of the cost.
        title: title of the figure; the number of seeds is added.
        confidence: level of the intervals, in (0, 1).

    Returns:
        A figure of up to three panels in a row with an Agg canvas; `figure_png` makes the file.
    """
    n_columns = min(len(panels), COLUMNS)
    n_rows = -(-len(panels) // n_columns)
    width = max(3.9 * n_columns, 6.5)
    heading = textwrap.fill(f"{title} ({seed_count(options.n_seeds)})", round(14 * width))
    figure = new_figure(width, 3.7 * n_rows + 1.1, heading)
    styles = {memory: _style(i, color) for i, (memory, color) in enumerate(item_colors(memories).items())}
    styles[""] = {"color": INK, "marker": "*", "markerfacecolor": INK, "markeredgewidth": 0.8}
    accuracies = [mean_interval(options.accuracy[:, i], confidence) for i in range(len(options))]
    grid = figure.subplots(n_rows, n_columns, squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        _draw(axes, options, panel, accuracies, styles, f"cost by {cost} ({unit})")
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for row in grid:
        row[0].set_ylabel("accuracy (%)")
    figure.legend(
        handles=_handles(options, styles, confidence),
        loc="outside lower center",
        ncols=2 if width < 9 else 4,
        frameon=False,
        fontsize=8,
    )
    return figure


def _style(i: int, color: str) -> dict[str, Any]:
    """The style of the i-th memory: `marker_style` in the memory's own colour."""
    style = marker_style(i, edge_width=0.8)
    filled = style["markerfacecolor"] == style["color"]
    return {**style, "color": color, "markerfacecolor": color if filled else style["markerfacecolor"]}


def _draw(
    axes: Axes,
    options: Options,
    panel: CostPanel,
    accuracies: Sequence[Interval],
    styles: Mapping[str, Mapping[str, Any]],
    label: str,
) -> None:
    costs, means = panel.costs.mean(axis=0), np.array([100 * each.estimate for each in accuracies])
    style_axes(axes)
    axes.set_title(counted(panel.queries), fontsize=9, loc="left")
    axes.set_xlabel(label, parse_math=False)
    scale_costs(axes, [Interval(float(cost), None, None) for cost in costs], ticks=4)
    few = len(options) <= FEW
    shown = list(range(len(options))) if few else list(panel.best)
    limit_accuracies(axes, list(accuracies) if few else [*(accuracies[i] for i in shown), _span(means)])
    whole = options.memories.index("") if few and "" in options.memories else None
    for memory, style in styles.items():
        own = np.array([i for i, each in enumerate(options.memories) if each == memory], dtype=int)
        line = own if whole is None or not memory else np.append(own, whole)
        if few:
            axes.plot(costs[line], means[line], color=str(style["color"]), linewidth=0.8, linestyle=(0, (4, 3)))
        size = (8 if style["marker"] == "*" else 5) if few else 3 if len(options) <= 1000 else 1.5
        axes.plot(
            costs[own],
            means[own],
            linestyle="none",
            markersize=size,
            **{**style, "alpha": 1 if few else 0.35},
            zorder=3,
        )
    for i in shown:
        _, low, high = percent_span(accuracies[i])
        color = str(styles[options.memories[i]]["color"])
        axes.plot([costs[i]] * 2, [low, high], color=color, linewidth=1.1, alpha=0.7, zorder=2.5)
        if not few:
            axes.plot(costs[i], means[i], linestyle="none", markersize=5, zorder=3, **styles[options.memories[i]])
    best = list(panel.best)
    axes.plot(costs[best], means[best], color=INK, linewidth=2.6, alpha=0.35, zorder=2, solid_capstyle="round")
    _name(axes, options, costs, means, best)


def _span(means: np.ndarray) -> Interval:
    return Interval(float(means.mean()) / 100, float(means.min()) / 100, float(means.max()) / 100)


def _name(axes: Axes, options: Options, costs: np.ndarray, means: np.ndarray, best: Sequence[int]) -> None:
    """Write the names of the best options beside them, the most accurate ones first, where there is room."""
    to_axes = axes.transData + axes.transAxes.inverted()
    taken: list[np.ndarray] = []
    for i in best:
        place = to_axes.transform((costs[i], means[i]))
        length = 0.026 * len(options.names[i])
        left = place[0] > 0.5
        box = np.array([place[0] - length if left else place[0], place[1]])
        if any(abs(box[1] - y) < _NEAR and box[0] < end and start < box[0] + length for start, y, end in taken):
            continue
        taken.append(np.array([box[0], box[1], box[0] + length]))
        axes.annotate(
            options.names[i],
            (costs[i], means[i]),
            (-5 if left else 5, 4),
            textcoords="offset points",
            ha="right" if left else "left",
            va="bottom",
            fontsize=7.5,
            annotation_clip=False,
        )


def _handles(options: Options, styles: Mapping[str, Mapping[str, Any]], confidence: float) -> list[Line2D]:
    handles = [
        Line2D([], [], linestyle="none", markersize=6, label=textwrap.fill(_called(memory, options), 34), **style)
        for memory, style in styles.items()
        if memory in options.memories
    ]
    handles.append(Line2D([], [], color=INK, linewidth=2.6, alpha=0.35, label="best at some price of the cost"))
    if len(options) <= FEW:
        handles.append(Line2D([], [], color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), label="interpolated"))
    if options.n_seeds > 1:
        label = f"bars: {100 * confidence:g}% t intervals of accuracy"
        handles.append(Line2D([], [], color=GREY, linestyle="none", marker="|", markersize=9, label=label))
    return handles


def _called(memory: str, options: Options) -> str:
    return memory or f"{options.names[options.memories.index('')]}: all is learned, the memory is empty"
