"""The figure of a reproduction: our accuracy and the published one side by side, with both spreads."""

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from scenarios.analysis.published import BesidePublished, Runs
from scenarios.figures.style import BLUE, GREY, VERMILION, legend_above, new_figure, style_axes

_APART = 0.16
"""Half the distance between the two lines of a method."""


def reproduction_figure(methods: Sequence[BesidePublished], *, title: str, short: bool = False) -> Figure:
    """Our mean and the published one of each method, a line of its own for each, with the deviation between runs.

    Small dots are single seeds and runs, where they are known; a thin grey line is the t interval of our mean. Both
    lines are clipped to 0..100%.

    Args:
        methods: shares from 0 to 1; one or more.
        title: of the figure.
        short: whether ours is shortened, so that the two are not results of the same.

    Returns:
        A figure with an Agg canvas; `figure_png` makes the file.
    """
    figure = new_figure(8, 1.7 + 0.75 * len(methods), textwrap.fill(title, 90))
    axes = figure.subplots()
    style_axes(axes)
    axes.set_xlabel("accuracy (%)")
    names = [textwrap.fill(each.label, 24) for each in methods]
    axes.set_yticks(range(len(methods)), names, parse_math=False)
    axes.set_ylim(len(methods) - 0.5, -0.5)
    for place, each in enumerate(methods):
        if each.interval.low is not None and each.interval.high is not None:
            ends = [100 * max(each.interval.low, 0.0), 100 * min(each.interval.high, 1.0)]
            axes.plot(ends, [place - _APART] * 2, color=GREY, linewidth=1, zorder=1)
        _draw(axes, each.ours, place - _APART, BLUE, "o")
        if each.published is not None:
            _draw(axes, each.published, place + _APART, VERMILION, "s")
    keys = [
        _key(BLUE, "o", "ours, shortened" if short else "ours"),
        _key(VERMILION, "s", "published"),
        Line2D([], [], color=GREY, linewidth=2.5, label="± deviation between runs"),
        Line2D([], [], color=GREY, linewidth=1, label="t interval of our mean"),
    ]
    legend_above(axes, keys, left=-0.01, ncols=4)
    return figure


def _draw(axes: Axes, runs: Runs, height: float, color: str, marker: str) -> None:
    """The mean with its deviation, and each run."""
    axes.plot([100 * runs.mean], [height], color=color, marker=marker, markersize=7, zorder=3)
    if runs.deviation is not None:
        ends = [100 * max(runs.mean - runs.deviation, 0.0), 100 * min(runs.mean + runs.deviation, 1.0)]
        axes.plot(ends, [height] * 2, color=color, linewidth=2.5, alpha=0.6, zorder=2, solid_capstyle="butt")
    axes.plot(
        [100 * value for value in runs.values],
        [height] * len(runs.values),
        linestyle="none",
        color="white",
        marker="o",
        markersize=3,
        markeredgecolor=color,
        markeredgewidth=0.7,
        zorder=4,
    )


def _key(color: str, marker: str, label: str) -> Line2D:
    return Line2D([], [], linestyle="none", color=color, marker=marker, markersize=7, label=label)
