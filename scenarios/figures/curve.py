"""The figure of the curve experiment: R against k with the accuracies behind it."""

import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from scenarios.analysis.statistics import CurvePoint, Ratio, RelativeValue
from scenarios.figures.ratio_axis import AXIS_LABELS, Span, linear_axis, ratio_axis, span_of
from scenarios.figures.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    PERCENT_LIMITS,
    VERMILION,
    legend_above,
    new_figure,
    percent_span,
    seed_count,
    style_axes,
)

STRIP = 0.14  # height of the strip for each k with an undetermined R, as a share of the panel
LEGEND_WIDTH = 52  # characters of an entry in the legend of one of three panels
SHIFT = 0.5  # x and z are drawn at this distance from their k so that their error bars do not coincide


def curve_figure(points: Sequence[CurvePoint], *, dataset: str, learner: str, confidence: float = 0.95) -> Figure:
    """R = (y - x) / (z - x), 1/R, and the accuracies x, y, z, against k.

    The left panel shows R with its Fieller interval on an asinh scale, which is linear around 0 and logarithmic far
    from 0, so that 0.5, -3 and 400 fit in one panel. A k with an undetermined R has a hollow marker in a strip at the
    bottom; an arrow marks an interval that extends beyond the panel. The middle panel shows 1/R with its interval,
    which is bounded also where memorizing gains nothing. The right panel shows means in percent with t intervals,
    clipped to 0..100%, and single seeds as faint points.

    Args:
        points: the measurements, one for each k, in any order.
        dataset: name of the data set, for the title.
        learner: how the learners were trained (anew, cooled down, online), for the title.
        confidence: level of every interval, in (0, 1).

    Returns:
        A figure of 14 x 4.5 inches with an Agg canvas; `figure_png` makes the file.

    Raises:
        ValueError: no points, two points with the same k, or an error of `relative_value`.
    """
    if not points:
        raise ValueError("expected at least one point, got none")
    points = sorted(points, key=lambda point: point.k)
    ks = [point.k for point in points]
    if len(set(ks)) < len(ks):
        raise ValueError(f"expected each k once, got {', '.join(f'{k:g}' for k in ks)}")
    statistics = [point.statistics(confidence) for point in points]

    figure = new_figure(14, 4.5, textwrap.fill(f"{dataset}, {learner} ({_seeds_text(statistics)})", 140))
    left, middle, right = figure.subplots(1, 3)
    level = f"{100 * confidence:g}%"
    _draw_ratios(left, ks, [each.R for each in statistics], level)
    _draw_shares(middle, ks, [each.share for each in statistics], level)
    _draw_accuracies(right, points, statistics, level)
    for axes in (left, middle, right):
        axes.set_xlim(*PERCENT_LIMITS)
        axes.set_xticks(range(0, 101, 20))
        axes.set_xlabel("data used for learning, k (%)")
        style_axes(axes, grid="y")
        legend_above(axes)
    return figure


def _draw_ratios(axes: Axes, ks: Sequence[float], ratios: Sequence[Ratio], level: str) -> None:
    axes.set_ylabel(AXIS_LABELS["R"])
    spans = {k: span for k, ratio in zip(ks, ratios, strict=True) if (span := span_of(ratio))}
    low, high = ratio_axis(axes, list(spans.values()), below=STRIP if len(spans) < len(ks) else 0.0)
    _draw_spans(axes, ks, spans, low, high, f"R, with its {level} Fieller interval")
    axes.axhline(1, color=GREY, linestyle="--", linewidth=1, label="R = 1: memorizing as good as learning", zorder=1)
    _mark_undetermined(axes, {k: ratio.reason for k, ratio in zip(ks, ratios, strict=True) if ratio.reason is not None})


def _draw_shares(axes: Axes, ks: Sequence[float], shares: Sequence[Ratio], level: str) -> None:
    axes.set_ylabel(AXIS_LABELS["share"])
    spans = {k: span for k, share in zip(ks, shares, strict=True) if (span := span_of(share))}
    low, high = linear_axis(axes, list(spans.values()))
    _draw_spans(axes, ks, spans, low, high, f"1/R, with its {level} Fieller interval")
    axes.axhline(0, color=GREY, linewidth=1, label="1/R = 0: memorizing gains nothing", zorder=1)
    for reason in dict.fromkeys(share.reason for share in shares if share.reason):
        axes.plot([], [], " ", label=textwrap.fill(f"gap: 1/R undetermined: {reason}", LEGEND_WIDTH))


def _draw_spans(
    axes: Axes, ks: Sequence[float], spans: Mapping[float, Span], low: float, high: float, label: str
) -> None:
    """Draw ratios with their intervals, which end in an arrow where they go on beyond low or high."""
    if spans:
        # NaN interrupts the line at each k with an undetermined ratio.
        axes.plot(ks, [spans.get(k, (math.nan,))[0] for k in ks], color=INK, linewidth=0.8, alpha=0.5)
        cut = [(mean, max(least, low), min(most, high)) for mean, least, most in spans.values()]
        _draw_bars(axes, list(spans), cut, INK, "o", label)
    beyond = [(k, high, "^") for k, (_, _, most) in spans.items() if most > high]
    beyond += [(k, low, "v") for k, (_, least, _) in spans.items() if least < low]
    for i, (k, edge, marker) in enumerate(beyond):
        named = None if i else "interval goes on beyond the panel"
        axes.plot([k], [edge], marker, color=INK, markersize=5, label=named)


def _mark_undetermined(axes: Axes, reasons: Mapping[float, str]) -> None:
    """Draw hollow markers in a grey strip at the bottom of the panel, one shape for each reason."""
    if not reasons:
        return
    strip = Rectangle((0, 0), 1, STRIP * 0.8, transform=axes.transAxes, facecolor="#F4F4F4", zorder=0.5)
    axes.add_patch(strip)
    for marker, reason in zip("osD", dict.fromkeys(reasons.values()), strict=False):
        ks = [k for k, other in reasons.items() if other == reason]
        axes.plot(
            ks,
            [STRIP * 0.4] * len(ks),
            marker,
            transform=axes.get_xaxis_transform(),
            color=GREY,
            markerfacecolor="white",
            markersize=5,
            label=textwrap.fill(f"R undetermined: {reason}", LEGEND_WIDTH),
        )


def _draw_accuracies(axes: Axes, points: Sequence[CurvePoint], statistics: Sequence[RelativeValue], level: str) -> None:
    axes.set_ylabel("accuracy (%)")
    ks = [point.k for point in points]
    y_spans = [percent_span(each.y) for each in statistics]
    if len(set(y_spans)) == 1:
        # All k share one y, a level across the panel. The y of a warm start depends on k.
        ks_of_y, y_spans = list(PERCENT_LIMITS), [y_spans[0], y_spans[0]]
    else:
        ks_of_y = ks
    means, lows, highs = zip(*y_spans, strict=True)
    axes.fill_between(ks_of_y, lows, highs, color=GREEN, alpha=0.15, linewidth=0)
    axes.plot(ks_of_y, means, color=GREEN, linewidth=1.2, label="y: learner after 100% of the data")

    z, x = [percent_span(each.z) for each in statistics], [percent_span(each.x) for each in statistics]
    _draw_series(axes, ks, z, SHIFT, VERMILION, "s", "z: learner after k%, with its memory of the rest")
    _draw_series(axes, ks, x, -SHIFT, BLUE, "o", "x: learner alone after k%")
    if any(each.seeds > 1 for each in statistics):
        for point in points:
            _draw_seeds(axes, point.k + 4 * SHIFT, point.z, VERMILION)
            _draw_seeds(axes, point.k - 4 * SHIFT, point.x, BLUE)
        axes.plot([], [], ".", color=GREY, alpha=0.6, label=f"small: single seeds; bars and band: {level} t interval")
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, -0.6), min(top, 100.6))


def _draw_series(
    axes: Axes,
    ks: Sequence[float],
    spans: Sequence[Span],
    shift: float,
    color: str,
    marker: str,
    label: str,
) -> None:
    shifted = [k + shift for k in ks]
    axes.plot(shifted, [mean for mean, _, _ in spans], color=color, linewidth=0.8, alpha=0.5)
    _draw_bars(axes, shifted, spans, color, marker, label)


def _draw_seeds(axes: Axes, k: float, accuracies: Sequence[float], color: str) -> None:
    percents = [100 * each for each in accuracies]
    axes.plot([k] * len(percents), percents, ".", color=color, alpha=0.4, markersize=4.5, markeredgewidth=0)


def _draw_bars(axes: Axes, ks: Sequence[float], spans: Sequence[Span], color: str, marker: str, label: str) -> None:
    """Draw markers at the means and bars from low to high."""
    means = [mean for mean, _, _ in spans]
    reach = [[mean - low for mean, low, _ in spans], [high - mean for mean, _, high in spans]]
    if np.any(reach):
        axes.errorbar(ks, means, reach, fmt="none", ecolor=color, elinewidth=1.2, capsize=2)
    axes.plot(ks, means, marker, color=color, markersize=4.5, label=label)


def _seeds_text(statistics: Sequence[RelativeValue]) -> str:
    fewest, most = min(each.seeds for each in statistics), max(each.seeds for each in statistics)
    return seed_count(most) if fewest == most else f"{fewest} to {most} seeds"
