"""The figure of a reproduction: our accuracy and the published one side by side, with both spreads."""

import textwrap
from collections.abc import Sequence
from math import inf

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from scenarios.analysis.published import BesidePublished, Runs
from scenarios.figures.style import BLUE, GREY, VERMILION, legend_above, new_figure, style_axes

_APART = 0.16
"""Half the distance between the two lines of a method."""


def reproduction_figure(
    methods: Sequence[BesidePublished],
    *,
    gains: Sequence[BesidePublished] = (),
    title: str,
    short: bool = False,
) -> Figure:
    """Our mean and the published one of each method, a line of its own for each, with the deviation between runs.

    Small dots are single seeds and runs, where they are known; a thin grey line is the t interval of our mean. Both
    lines are clipped to 0..100%. Gains of one method over another stand below, in percentage points.

    Args:
        methods: shares from 0 to 1; one or more, a method once for each of its figures.
        gains: differences of shares; each named by its label.
        title: of the figure.
        short: whether ours is shortened, so that the two are not results of the same.

    Returns:
        A figure with an Agg canvas; `figure_png` makes the file.
    """
    heights = [0.75 * len(methods), *([0.75 * len(gains)] if gains else [])]
    figure = new_figure(8, 1.7 + sum(heights) + 0.6 * bool(gains), textwrap.fill(title, 90))
    panels = figure.subplots(len(heights), height_ratios=heights, squeeze=False)[:, 0]
    axes = panels[0]
    _draw_panel(axes, methods, "accuracy (%)", lowest=0.0, highest=1.0)
    if gains:
        _draw_panel(panels[1], gains, "gain (percentage points)")
        panels[1].axvline(0, color=GREY, linewidth=0.8, linestyle=":", zorder=0)
    keys = [
        _key(BLUE, "o", "ours, shortened" if short else "ours"),
        *([_key(VERMILION, "s", "published")] if any(each.published for each in [*methods, *gains]) else []),
        Line2D([], [], color=GREY, linewidth=2.5, label="± deviation between runs"),
        Line2D([], [], color=GREY, linewidth=1, label="t interval of our mean"),
    ]
    legend_above(axes, keys, left=-0.01, ncols=4)
    return figure


def _draw_panel(
    axes: Axes, found: Sequence[BesidePublished], xlabel: str, *, lowest: float = -inf, highest: float = inf
) -> None:
    """Ours and the published figure of each; lines are clipped to [lowest, highest]."""
    style_axes(axes)
    axes.set_xlabel(xlabel)
    names = [textwrap.fill(each.name, 24) for each in found]
    axes.set_yticks(range(len(found)), names, parse_math=False)
    axes.set_ylim(len(found) - 0.5, -0.5)
    for place, each in enumerate(found):
        if each.interval.low is not None and each.interval.high is not None:
            ends = [100 * max(each.interval.low, lowest), 100 * min(each.interval.high, highest)]
            axes.plot(ends, [place - _APART] * 2, color=GREY, linewidth=1, zorder=1)
        _draw(axes, each.ours, place - _APART, BLUE, "o", lowest, highest)
        if each.published is not None:
            _draw(axes, each.published, place + _APART, VERMILION, "s", lowest, highest)


def _draw(axes: Axes, runs: Runs, height: float, color: str, marker: str, lowest: float, highest: float) -> None:
    """The mean with its deviation, and each run."""
    axes.plot([100 * runs.mean], [height], color=color, marker=marker, markersize=7, zorder=3)
    if runs.deviation is not None:
        ends = [100 * max(runs.mean - runs.deviation, lowest), 100 * min(runs.mean + runs.deviation, highest)]
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
