"""The figure of a comparison: mean accuracy against mean cost, with the Pareto front."""

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from scenarios.analysis.comparison import Comparison, pareto_front
from scenarios.analysis.statistics import Interval
from scenarios.figures.style import (
    GREY,
    ends_of,
    legend_above,
    legend_beside,
    marker_style,
    new_figure,
    percent_span,
    seed_count,
    style_axes,
)

LOG_FROM = 30.0  # the cost axis is logarithmic if the costs span more than this factor
ROWS = 24  # most rows in a column of the legend beside the panel


def pareto_figure(
    comparison: Comparison, *, cost: str, accuracy: str, unit: str, title: str, cost_weight: float = 0.0
) -> Figure:
    """Mean accuracy against mean cost of each schedule, with t intervals, and the Pareto front as a step line.

    The step line is the best mean accuracy within each budget. Accuracies are in percent; their intervals are clipped
    to 0..100%, and those of costs at 0. A single seed has no intervals. The cost axis is logarithmic if all mean costs
    are positive and span more than a factor of 30. The legend lists the schedules in ascending order of cost; at its
    end are the schedules with an undefined cost or accuracy, which are not drawn.

    Args:
        comparison: the schedules.
        cost: name of the cost metric, such as `total_gflop`.
        accuracy: name of a metric in [0, 1], such as `final_accuracy`.
        unit: unit of the cost, such as `GFLOP`.
        title: title of the figure; the number of seeds is added.
        cost_weight: accuracy that one unit of cost is worth; above 0, dotted lines join points of equal utility.

    Returns:
        A figure of 10 x 5 inches with an Agg canvas; `figure_png` makes the file.

    Raises:
        InvalidSetting: an unknown metric.
        ValueError: no schedule has both a defined cost and a defined accuracy.
    """
    on_pareto_front = [
        (schedule.means[cost], schedule.means[accuracy]) for schedule in pareto_front(comparison, cost, accuracy)
    ]
    steps = [(paid.estimate, 100 * reached.estimate) for paid, reached in on_pareto_front if paid and reached]
    means = [(each.label, each.means[cost], each.means[accuracy]) for each in comparison.schedules]
    points = [(label, paid, reached) for label, paid, reached in means if paid and reached]
    if not points:
        raise ValueError(f"expected a schedule with a defined {cost} and {accuracy}, got none")
    points.sort(key=lambda point: point[1].estimate)
    undefined = [label for label, paid, reached in means if not (paid and reached)]

    figure = new_figure(10, 5, textwrap.fill(f"{title} ({seed_count(len(comparison.seeds))})", 100))
    axes = figure.subplots()
    style_axes(axes)
    axes.set_xlabel(f"{_cost_name(cost, unit)} ({unit})", parse_math=False)
    axes.set_ylabel(f"{accuracy.replace('_', ' ')} (%)", parse_math=False)
    scale_costs(axes, [paid for _, paid, _ in points])
    limit_accuracies(axes, [reached for _, _, reached in points])
    # A larger budget still allows the last step, so the line continues to the edge.
    ends = [*steps, (axes.get_xlim()[1], steps[-1][1])]
    keys = axes.step(*zip(*ends, strict=True), where="post", color="#BBBBBB", linewidth=2.5, zorder=1)
    keys[0].set_label("Pareto front: best mean accuracy at each cost")
    if len(comparison.seeds) > 1:
        label = f"bars: {100 * comparison.confidence:g}% t intervals over seeds"
        keys.append(Line2D([], [], color=GREY, linestyle="none", marker="|", markersize=9, label=label))
    keys += _draw_equal_utilities(axes, cost_weight) if cost_weight else []
    schedules = [draw_point(axes, i, *point) for i, point in enumerate(points)]
    schedules += [Line2D([], [], linestyle="none", label=_wrapped(f"{label} (undefined)")) for label in undefined]
    # Both legends are outside the axes, where they cover no data.
    beside = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.02)}
    legend = legend_beside(axes, schedules, title="schedules by ascending cost", rows=ROWS, **beside)
    axes.add_artist(legend).set_clip_on(False)  # the layout reserves room only for artists that are not clipped
    legend_above(axes, keys, left=-0.01, ncols=3)
    return figure


def draw_point(axes: Axes, i: int, label: str, paid: Interval, reached: Interval) -> Line2D:
    """Draw the i-th schedule's marker and intervals; returns its entry in the legend."""
    style = marker_style(i, edge_width=0.8)
    x, (y, bottom, top) = paid.estimate, percent_span(reached)
    if paid.low is not None and reached.low is not None:
        left, right = ends_of(paid, lowest=axes.get_xlim()[0] if axes.get_xscale() == "log" else 0.0)
        axes.errorbar(
            x,
            y,
            yerr=[[y - bottom], [top - y]],
            xerr=[[x - left], [right - x]],
            fmt="none",
            ecolor=style["color"],
            elinewidth=1,
            capsize=2,
            alpha=0.7,
        )
    size = 9 if style["marker"] == "*" else 6.5
    (line,) = axes.plot([x], [y], linestyle="none", markersize=size, label=_wrapped(label), zorder=3, **style)
    return line


def scale_costs(axes: Axes, costs: list[Interval], *, ticks: int = 6) -> None:
    """Set scale, limits and ticks of the cost axis, with room for every mean and every interval of moderate length.

    Args:
        axes: the panel.
        costs: to be drawn in it.
        ticks: how many its width has room for.
    """
    least, most = min(each.estimate for each in costs), max(each.estimate for each in costs)
    lows, highs = zip(*(ends_of(each, lowest=0.0) for each in costs), strict=True)
    if least > 0 and most / least > LOG_FROM:
        axes.set_xscale("log")
        left, right = max(min(lows), least / 2), min(max(highs), 2 * most)
        margin = (right / left) ** 0.04
        axes.set_xlim(left / margin, right * margin)
        axes.xaxis.set_minor_locator(NullLocator())
        if right / left < 1e3:  # otherwise matplotlib's default, powers of ten
            axes.xaxis.set_major_locator(
                LogLocator(subs=(1, 2, 5) if ticks > 4 or right / left < 20 else (1,), numticks=2 * ticks)
            )
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _number(value)))
    else:
        left, right = min(lows), max(highs)
        margin = 0.04 * (right - left) or 0.1 * right or 0.5
        values = MaxNLocator(ticks).tick_values(max(left - margin, 0), right + margin)
        axes.set_xticks([value for value in values if value >= 0])  # there are no costs in the margin left of 0
        axes.set_xlim(left - margin if left > 0 else -0.04 * (right + margin), right + margin)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _number(value)))


def _draw_equal_utilities(axes: Axes, cost_weight: float) -> list[Line2D]:
    """Draw lines of equal utility, accuracy - cost weight × cost, in percentage points; returns their legend entry."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    on_log = axes.get_xscale() == "log"
    costs = np.geomspace(left, right, 200) if on_log else np.linspace(max(left, 0.0), right, 2)
    rise = 100 * cost_weight * costs
    levels = MaxNLocator(8).tick_values(bottom - rise[-1], top - rise[0])
    for level in levels:
        axes.plot(costs, level + rise, color="#C8C8C8", linewidth=0.9, linestyle=(0, (1, 2.5)), zorder=0.5)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    label = f"equal utility, {levels[1] - levels[0]:g} points apart"
    return [Line2D([], [], color="#A0A0A0", linewidth=1.2, linestyle=(0, (1, 2)), label=label)]


def limit_accuracies(axes: Axes, accuracies: list[Interval]) -> None:
    """Set the limits of the accuracy axis, with room for every interval."""
    _, lows, highs = zip(*map(percent_span, accuracies), strict=True)
    margin = max(0.05 * (max(highs) - min(lows)), 0.5)
    axes.set_ylim(max(min(lows) - margin, -1.5), min(max(highs) + margin, 101.5))


def _cost_name(cost: str, unit: str) -> str:
    """The cost without its unit, which the axis label adds: `total_gflop` becomes "total cost"."""
    name = cost.removesuffix(f"_{unit.lower()}").removesuffix("_cost").replace("_", " ")
    return f"{name} cost"


def _number(value: float) -> str:
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return f"{value:,.10g}"
    digits, exponent = f"{value:.3e}".split("e")
    power = f"10^{{{int(exponent)}}}"
    return f"${power}$" if float(digits) == 1 else f"${float(digits):g} \\times {power}$"


def _wrapped(label: str) -> str:
    return textwrap.fill(label, 40)
