"""The front of a comparison as a figure: mean accuracy against mean cost. No pyplot, no globals."""

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from scenarios.analysis.comparison import Comparison, pareto_front
from scenarios.analysis.statistics import Interval
from scenarios.figures.style import COLORS, GREY, MARKERS

LOG_FROM = 30.0  # costs that span more than this factor stand on a logarithmic axis
ROWS = 24  # of the legend beside the panel, before it gets another column


def pareto_figure(
    comparison: Comparison, *, cost: str, accuracy: str, unit: str, title: str, cost_weight: float = 0.0
) -> Figure:
    """Mean accuracy against mean cost, one point a schedule, with t intervals and the front as a step line.

    The step line is the best mean accuracy that a budget affords. Accuracies are in percent, their bars cut at 0 and
    100%, those of costs at 0; with a single seed there are none. The cost axis is logarithmic where all mean costs are
    positive and span more than a factor of 30. The legend lists the schedules by ascending cost, and those without a
    defined cost or accuracy, which are not drawn, at its end.

    Args:
        comparison: the schedules.
        cost: name of the cost metric, such as `total_gflop`.
        accuracy: name of a metric in [0, 1], such as `final_accuracy`.
        unit: of the cost, such as `GFLOP`.
        title: over the figure; the number of seeds is added.
        cost_weight: accuracy that one unit of cost is worth; above 0, dotted lines join what has the same utility.

    Returns:
        A figure of 10 x 5 inches with an Agg canvas; `figures.figure_png` makes the file.

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

    figure = Figure(figsize=(10, 5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#EEEEEE", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel(f"{_cost_name(cost, unit)} ({unit})", parse_math=False)
    axes.set_ylabel(f"{accuracy.replace('_', ' ')} (%)", parse_math=False)
    _scale_costs(axes, [paid for _, paid, _ in points])
    _limit_accuracies(axes, [reached for _, _, reached in points])
    # A dearer budget still affords the last step: the line goes on to the edge.
    ends = [*steps, (axes.get_xlim()[1], steps[-1][1])]
    keys = axes.step(*zip(*ends, strict=True), where="post", color="#BBBBBB", linewidth=2.5, zorder=1)
    keys[0].set_label("front: best mean accuracy at each cost")
    if len(comparison.seeds) > 1:
        label = f"bars: {100 * comparison.confidence:g}% t intervals over seeds"
        keys.append(Line2D([], [], color=GREY, linestyle="none", marker="|", markersize=9, label=label))
    keys += _draw_equal_utilities(axes, cost_weight) if cost_weight else []
    schedules = [_draw_point(axes, i, *point) for i, point in enumerate(points)]
    schedules += [Line2D([], [], linestyle="none", label=_wrapped(f"{label} (undefined)")) for label in undefined]
    _draw_legends(axes, schedules, keys)
    n_seeds = f"{len(comparison.seeds)} seed{'s' * (len(comparison.seeds) != 1)}"
    figure.suptitle(textwrap.fill(f"{title} ({n_seeds})", 100), fontsize=11, parse_math=False)
    return figure


def _draw_legends(axes: Axes, schedules: list[Line2D], keys: list[Line2D]) -> None:
    """Schedules beside the axes and what lines mean above them, where no data can be."""
    legend = axes.legend(
        handles=schedules,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.02),
        frameon=False,
        fontsize=8,
        ncols=-(-len(schedules) // ROWS),
        title="schedules by ascending cost",
        title_fontsize=8,
        alignment="left",
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a dollar sign in a name is a dollar sign
    axes.add_artist(legend).set_clip_on(False)  # the layout leaves room for what is not clipped
    axes.legend(
        handles=keys,
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        frameon=False,
        fontsize=8,
        ncols=3,
        borderaxespad=0.2,
    )


def _draw_point(axes: Axes, i: int, label: str, paid: Interval, reached: Interval) -> Line2D:
    """The i-th schedule's marker and bars; returns its entry in the legend."""
    color, marker = COLORS[i % len(COLORS)], MARKERS[i % len(MARKERS)]
    hollow = i // len(MARKERS) % 2 == 1
    x, y = paid.estimate, 100 * reached.estimate
    if paid.low is not None and reached.low is not None:
        left, right = _ends(paid, lowest=axes.get_xlim()[0] if axes.get_xscale() == "log" else 0.0)
        bottom, top = _percent_ends(reached)
        axes.errorbar(
            x,
            y,
            yerr=[[y - bottom], [top - y]],
            xerr=[[x - left], [right - x]],
            fmt="none",
            ecolor=color,
            elinewidth=1,
            capsize=2,
            alpha=0.7,
        )
    (line,) = axes.plot(
        [x],
        [y],
        marker,
        color=color,
        markerfacecolor="white" if hollow else color,
        markeredgewidth=1.4 if hollow else 0.8,
        markersize=9 if marker == "*" else 6.5,
        label=_wrapped(label),
        zorder=3,
    )
    return line


def _scale_costs(axes: Axes, costs: list[Interval]) -> None:
    """Scale, limits and ticks of the cost axis, with room for every mean and, within reason, its interval."""
    least, most = min(each.estimate for each in costs), max(each.estimate for each in costs)
    lows, highs = zip(*(_ends(each, lowest=0.0) for each in costs), strict=True)
    if least > 0 and most / least > LOG_FROM:
        axes.set_xscale("log")
        left, right = max(min(lows), least / 2), min(max(highs), 2 * most)
        margin = (right / left) ** 0.04
        axes.set_xlim(left / margin, right * margin)
        axes.xaxis.set_minor_locator(NullLocator())
        if right / left < 1e3:  # else the decades and their powers of ten, matplotlib's default
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _number(value)))
    else:
        left, right = min(lows), max(highs)
        margin = 0.04 * (right - left) or 0.1 * right or 0.5
        # The margin left of 0 has no costs, so no ticks either.
        axes.set_xticks(
            [tick for tick in MaxNLocator(6).tick_values(max(left - margin, 0), right + margin) if tick >= 0]
        )
        axes.set_xlim(left - margin if left > 0 else -0.04 * (right + margin), right + margin)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _number(value)))


def _draw_equal_utilities(axes: Axes, cost_weight: float) -> list[Line2D]:
    """Lines of equal utility, accuracy - cost weight × cost, at round numbers of points; returns their legend entry."""
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


def _limit_accuracies(axes: Axes, accuracies: list[Interval]) -> None:
    lows, highs = zip(*(_percent_ends(each) for each in accuracies), strict=True)
    margin = max(0.05 * (max(highs) - min(lows)), 0.5)
    axes.set_ylim(max(min(lows) - margin, -1.5), min(max(highs) + margin, 101.5))


def _ends(interval: Interval, *, lowest: float) -> tuple[float, float]:
    """Low and high, the mean itself where there is no interval; low no lower than `lowest` unless the mean is."""
    low = interval.estimate if interval.low is None else interval.low
    high = interval.estimate if interval.high is None else interval.high
    return min(max(low, lowest), interval.estimate), high


def _percent_ends(interval: Interval) -> tuple[float, float]:
    low, high = _ends(interval, lowest=0.0)
    return 100 * low, 100 * max(min(high, 1.0), interval.estimate)


def _cost_name(cost: str, unit: str) -> str:
    """`total_gflop` in GFLOP is the total cost: the axis names the unit once."""
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
