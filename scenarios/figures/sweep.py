"""The figure of a sweep: accuracy against cost, in a panel for each world."""

import textwrap
from collections.abc import Sequence
from math import ceil

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from scenarios.analysis.comparison import Comparison, pareto_front
from scenarios.figures.pareto import draw_point, limit_accuracies, pareto_figure, scale_costs
from scenarios.figures.style import legend_beside, marker_style, new_figure, seed_count, style_axes

MOST_PANELS = 12
_ROWS = 30  # most rows in a column of the legend


def sweep_figure(
    panels: Sequence[tuple[str, Comparison]], *, cost: str, accuracy: str, unit: str, title: str
) -> Figure:
    """Mean accuracy against mean cost of each method, in a panel for each world, with t intervals and Pareto fronts.

    A method has the same marker in all panels. Of many worlds the first 12 are drawn, and the title says so. One world
    gives the figure of a comparison (`pareto_figure`).

    Args:
        panels: title and comparison of each world, at least one.
        cost: name of the cost metric.
        accuracy: name of a metric in [0, 1].
        unit: unit of the cost.
        title: title of the figure.

    Returns:
        A figure with an Agg canvas; `figure_png` makes the file.
    """
    if len(panels) == 1:
        [(named, comparison)] = panels
        whole = ", ".join(part for part in (title, named) if part)
        return pareto_figure(comparison, cost=cost, accuracy=accuracy, unit=unit, title=whole)
    shown = panels[:MOST_PANELS]
    n_columns = min(len(shown), 2 if len(shown) <= 4 else 3)
    n_rows = ceil(len(shown) / n_columns)
    more = f"; the first {len(shown)} of {len(panels)} worlds" if len(panels) > len(shown) else ""
    figure = new_figure(3.4 * n_columns + 3, 3.2 * n_rows + 0.6, textwrap.fill(f"{title}{more}", 110))
    grid = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True)
    labels = list(dict.fromkeys(each.label for _, comparison in shown for each in comparison.schedules))
    limits = [each.means[accuracy] for _, comparison in shown for each in comparison.schedules]
    limit_accuracies(grid[0, 0], [each for each in limits if each])
    for axes, (named, comparison) in zip(grid.flat, shown, strict=False):
        named = f"{named} ({seed_count(len(comparison.seeds))})"
        axes.set_title(textwrap.fill(named, 44), fontsize=9, parse_math=False)
        _draw(axes, comparison, labels, cost=cost, accuracy=accuracy)
    for axes in list(grid.flat)[len(shown) :]:
        axes.set_visible(False)
    figure.supxlabel(f"total cost ({unit})", fontsize=9)
    figure.supylabel(f"{accuracy.replace('_', ' ')} (%)", fontsize=9)
    level = f"{100 * shown[0][1].confidence:g}%"
    handles = [
        Line2D(
            [], [], linestyle="none", markersize=6, label=textwrap.fill(label, 40), **marker_style(i, edge_width=0.8)
        )
        for i, label in enumerate(labels)
    ]
    handles.append(Line2D([], [], color="#BBBBBB", linewidth=2, label="Pareto front"))
    legend_beside(
        figure, handles, title=f"methods; bars: {level} t intervals over seeds", rows=_ROWS, loc="outside right upper"
    )
    return figure


def _draw(axes: Axes, comparison: Comparison, labels: Sequence[str], *, cost: str, accuracy: str) -> None:
    """Draw the methods of a world, with the marker of their label's position, and their Pareto front."""
    style_axes(axes)
    axes.tick_params(labelsize=8)
    means = [(each.label, each.means[cost], each.means[accuracy]) for each in comparison.schedules]
    points = [(label, paid, reached) for label, paid, reached in means if paid and reached]
    scale_costs(axes, [paid for _, paid, _ in points], ticks=4)
    front = [(each.means[cost], each.means[accuracy]) for each in pareto_front(comparison, cost, accuracy)]
    steps = [(paid.estimate, 100 * reached.estimate) for paid, reached in front if paid and reached]
    ends = [*steps, (axes.get_xlim()[1], steps[-1][1])]
    axes.step(*zip(*ends, strict=True), where="post", color="#BBBBBB", linewidth=2, zorder=1)
    for label, paid, reached in points:
        draw_point(axes, labels.index(label), label, paid, reached)
