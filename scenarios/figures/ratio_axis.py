"""An axis for ratios such as R, and lines of several ratios on it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from scenarios.analysis.statistics import Ratio
from scenarios.figures.style import GREY

CAPTION = "bars: Fieller intervals, cut off at the panel's edge; gaps: undetermined"
"""Explains `ratio_lines`."""

AXIS_LABELS = {
    "R": "relative value of learning,\nR = (y − x) / (z − x)   (asinh scale)",
    "share": "share recovered by memorizing,\n1 / R = (z − x) / (y − x)",
}
"""Labels of vertical axes, by name of the ratio in `RelativeValue`."""

Span = tuple[float, float, float]
"""Mean, low and high."""


def ratio_axis(axes: Axes, spans: Sequence[Span], *, below: float = 0.0) -> tuple[float, float]:
    """Give an axes an asinh scale, which is linear around 0 and logarithmic far from 0: 0.5, -3 and 400 fit.

    Args:
        axes: its vertical axis is set.
        spans: ratios with their intervals.
        below: share of the panel that stays empty at the bottom.

    Returns:
        The lowest and the highest ratio drawn: all estimates, 1, and intervals up to ten times the largest estimate.
    """
    low, high = _limits(spans)
    margin = 0.06 * (math.asinh(high) - math.asinh(low))
    strip = below * (math.asinh(high) - math.asinh(low) + 2 * margin) / (1 - below)
    axes.set_yscale("function", functions=(np.arcsinh, np.sinh))
    axes.set_ylim(math.sinh(math.asinh(low) - margin - strip), math.sinh(math.asinh(high) + margin))
    axes.yaxis.set_major_locator(FixedLocator(_ticks(low, high)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
    return low, high


def linear_axis(axes: Axes, spans: Sequence[Span]) -> tuple[float, float]:
    """Give an axes limits that include all estimates, 0, and intervals as far as half a unit beyond the estimates.

    Returns:
        The lowest and the highest ratio drawn.
    """
    estimates = [0.0, *(estimate for estimate, _, _ in spans)]
    low = max(min(0.0, *(least for _, least, _ in spans), 0.0), min(estimates) - 0.5)
    high = min(max(0.1, *(most for _, _, most in spans), 0.1), max(estimates) + 0.5)
    margin = 0.04 * (high - low)
    axes.set_ylim(low - margin, high + margin)
    return low, high


def span_of(ratio: Ratio) -> Span | None:
    """Estimate and ends of a ratio; None if it is undetermined."""
    if ratio.estimate is None or ratio.low is None or ratio.high is None:
        return None
    return ratio.estimate, ratio.low, ratio.high


def ratio_lines(
    axes: Axes,
    series: Mapping[str, Mapping[float, Ratio]],
    styles: Sequence[Mapping[str, Any]],
    *,
    spread: float,
    stretched: bool = True,
) -> None:
    """Draw a line with intervals for each series of ratios; undetermined ratios leave gaps.

    Args:
        axes: to draw on.
        series: ratios by their horizontal position, by label.
        styles: of the lines, with their colours.
        spread: distance between the intervals of neighbouring series at one position, which would else coincide.
        stretched: on a `ratio_axis`, or else on a linear one.
    """
    found = {label: {at: span_of(ratio) for at, ratio in sorted(ratios.items())} for label, ratios in series.items()}
    drawn = [span for spans in found.values() for span in spans.values() if span]
    low, high = ratio_axis(axes, drawn) if stretched else linear_axis(axes, drawn)
    for i, ((label, spans), style) in enumerate(zip(found.items(), styles, strict=True)):
        shift = (i - (len(found) - 1) / 2) * spread
        axes.plot(
            [at + shift for at in spans],
            [span[0] if span else math.nan for span in spans.values()],
            label=label,
            **{"linewidth": 1, "markersize": 4.5, **style},
        )
        for at, span in spans.items():
            if span:
                ends = [max(span[1], low), min(span[2], high)]
                axes.plot([at + shift] * 2, ends, color=style["color"], linewidth=1, alpha=0.5)
    axes.axhline(1 if stretched else 0, color=GREY, linestyle="--" if stretched else "-", linewidth=1, zorder=1)


def _limits(spans: Sequence[Span]) -> tuple[float, float]:
    if not spans:
        return 0.0, 3.0
    far = 10 * max(1.0, *(abs(estimate) for estimate, _, _ in spans))
    low = max(min(least for _, least, _ in spans), -far)
    high = min(max(most for _, _, most in spans), far)
    return min(low, 0.5), max(high, 2.0)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers in [low, high], which contains 0.5..2; as many as fit without overlap of their labels."""
    decades = [10.0**n for n in range(math.ceil(math.log10(max(-low, high))) + 1)]
    ticks: list[float] = []
    for small, steps in (((0.25, 0.5, 0.75), (1, 1.5, 2, 3, 4, 5, 7)), ((0.5,), (1, 2, 5)), ((), (1, 3)), ((), (1,))):
        positive = [*small, *(step * decade for decade in decades for step in steps)]
        ticks = [tick for tick in sorted([0.0, *positive, *(-each for each in positive)]) if low <= tick <= high]
        if np.diff(np.arcsinh(ticks)).min() > (math.asinh(high) - math.asinh(low)) / 16:
            break
    return ticks
