"""The figure of curves of different learners: R against k, and against the accuracy of the learner."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from scenarios.analysis.statistics import CurvePoint, Ratio, RelativeValue
from scenarios.figures.curve import STRIP
from scenarios.figures.ratio_axis import AXIS_LABELS, ratio_axis, span_of
from scenarios.figures.style import (
    GREY,
    INK,
    PERCENT_LIMITS,
    legend_beside,
    marker_style,
    new_figure,
    seed_count,
    style_axes,
)

LABEL_WIDTH = 60  # characters of an entry in the legend
_ROWS = 8
"""Learners in a column of the legend; more take two columns."""
_SPREAD = 0.8  # distance in k between the intervals of neighbouring curves, which would else coincide
_LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (7, 2, 1, 2)))
"""The style of the line of each k."""


def beside_figure(
    curves: Mapping[str, Sequence[CurvePoint]], ks: Sequence[float], *, dataset: str, confidence: float = 0.95
) -> Figure:
    """R against k for each learner, and R against y, the accuracy of the 100%-learner, at some k's.

    The panels share an asinh scale of R, and a learner has one colour and one marker in both. An undetermined R has a
    hollow marker in a strip at the bottom, and leaves a gap in its line; an arrow marks an interval that extends beyond
    the panel.

    Args:
        curves: the measurements of each learner, by label; the legend keeps their order.
        ks: up to four k's that all curves have, for R against y.
        dataset: name of the data set, for the title.
        confidence: level of every interval, in (0, 1).

    Returns:
        A figure of 12 inches with an Agg canvas, higher for many curves; `figure_png` makes the file.

    Raises:
        ValueError: more than four k's, or an error of `relative_value`.
    """
    if len(ks) > len(_LINES):
        raise ValueError(f"expected up to {len(_LINES)} k's, got {len(ks)}")
    statistics = {
        label: {point.k: point.statistics(confidence) for point in sorted(points, key=lambda point: point.k)}
        for label, points in curves.items()
    }
    styles = [marker_style(i, edge_width=0.8) for i in range(len(curves))]
    ratios = [values.R for of_curve in statistics.values() for values in of_curve.values()]
    spans = [span for ratio in ratios if (span := span_of(ratio))]
    columns = _columns(curves, styles, [_k_handles(ks), _mark_handles(ratios, confidence)])
    lines = max(sum(1 + str(handle.get_label()).count("\n") for handle in column) for column in columns)
    title = textwrap.fill(f"{dataset} ({_seeds_text(statistics)}): R of {len(curves)} learners", 120)
    figure = new_figure(12, 4.7 + 0.16 * lines, title)
    left, right = figure.subplots(1, 2, sharey=True)
    limits = ratio_axis(left, spans, below=STRIP if len(spans) < len(ratios) else 0.0)
    _against_k(left, list(statistics.values()), styles, limits)
    _against_y(right, list(statistics.values()), ks, styles, limits)
    for axes in (left, right):
        axes.axhline(1, color=GREY, linewidth=0.8, zorder=1)
        style_axes(axes, grid="y")
        if len(spans) < len(ratios):
            strip = Rectangle((0, 0), 1, STRIP * 0.8, transform=axes.transAxes, facecolor="#F4F4F4", zorder=0.5)
            axes.add_patch(strip)
    left.set_ylabel(AXIS_LABELS["R"])
    right.tick_params(labelleft=True)
    handles = [handle for column in columns for handle in column]
    legend_beside(figure, handles, title="", rows=len(columns[0]), loc="outside lower center")
    return figure


def _against_k(
    axes: Axes,
    curves: Sequence[Mapping[float, RelativeValue]],
    styles: Sequence[Mapping[str, Any]],
    limits: tuple[float, float],
) -> None:
    """Draw a line for each learner."""
    spread = min(_SPREAD, 5 / len(curves))
    for i, (of_curve, style) in enumerate(zip(curves, styles, strict=True)):
        shift = (i - (len(curves) - 1) / 2) * spread
        places = [(k + shift, values.R) for k, values in of_curve.items()]
        _draw_line(axes, places, color=style["color"], linewidth=1)
        for place, ratio in places:
            _draw_point(axes, place, ratio, style, limits)
    axes.set_xlim(*PERCENT_LIMITS)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel("data used for learning, k (%)")


def _against_y(
    axes: Axes,
    curves: Sequence[Mapping[float, RelativeValue]],
    ks: Sequence[float],
    styles: Sequence[Mapping[str, Any]],
    limits: tuple[float, float],
) -> None:
    """Draw a line for each k, through the learners in the order of y."""
    axes.set_xlabel("accuracy of the 100%-learner, y (%)")
    strengths = [100 * next(iter(of_curve.values())).y.estimate for of_curve in curves]
    width = max(max(strengths) - min(strengths), 1.0)
    axes.set_xlim(min(strengths) - 0.08 * width, max(strengths) + 0.08 * width)
    order = sorted(range(len(curves)), key=lambda i: strengths[i])
    for number, k in enumerate(ks):
        shift = (number - (len(ks) - 1) / 2) * 0.012 * width
        places = [(strengths[i] + shift, curves[i][k].R) for i in order]
        _draw_line(axes, places, color=INK, alpha=0.6, linewidth=1, linestyle=_LINES[number])
        for i, (place, ratio) in zip(order, places, strict=True):
            _draw_point(axes, place, ratio, styles[i], limits)
    if not ks:
        axes.text(0.5, 0.5, "no k is in all curves", transform=axes.transAxes, ha="center", color=GREY, fontsize=9)


def _draw_line(axes: Axes, places: Sequence[tuple[float, Ratio]], **style: Any) -> None:
    """Draw a line through ratios, with a gap at each that is undetermined."""
    heights = [span[0] if (span := span_of(ratio)) else math.nan for _, ratio in places]
    axes.plot([place for place, _ in places], heights, zorder=2, **style)


def _draw_point(axes: Axes, place: float, ratio: Ratio, style: Mapping[str, Any], limits: tuple[float, float]) -> None:
    """Draw a ratio with its interval, cut off at the limits; an undetermined one in the strip at the bottom."""
    alone = {**style, "linestyle": "", "markersize": 5.0}
    span = span_of(ratio)
    if span is None:
        hollow = {**alone, "markerfacecolor": "white"}
        axes.plot([place], [STRIP * 0.4], transform=axes.get_xaxis_transform(), **hollow)
        return
    low, high = limits
    axes.plot([place] * 2, [max(span[1], low), min(span[2], high)], color=style["color"], linewidth=1.2, alpha=0.6)
    axes.plot([place], [span[0]], zorder=3, **alone)
    for edge, marker, is_beyond in ((high, "^", span[2] > high), (low, "v", span[1] < low)):
        if is_beyond:
            axes.plot([place], [edge], marker, color=style["color"], markersize=5)


def _columns(
    curves: Mapping[str, Any], styles: Sequence[Mapping[str, Any]], others: Sequence[list[Line2D]]
) -> list[list[Line2D]]:
    """The columns of the legend, filled up to one length: learners, and what else there is to explain."""
    n_columns = 1 if len(curves) <= _ROWS else 2
    named = [
        Line2D([], [], label=textwrap.fill(label, LABEL_WIDTH // n_columns), linewidth=1, **style)
        for label, style in zip(curves, styles, strict=True)
    ]
    n_rows = -(-len(named) // n_columns)
    columns = [named[i : i + n_rows] for i in range(0, len(named), n_rows)] + [each for each in others if each]
    n_rows = max(map(len, columns))
    return [[*each, *(Line2D([], [], linestyle="", label=" ") for _ in range(n_rows - len(each)))] for each in columns]


def _k_handles(ks: Sequence[float]) -> list[Line2D]:
    """What the legend says of the lines against y."""
    return [
        Line2D([], [], color=INK, alpha=0.6, linewidth=1, linestyle=style, label=f"right: k = {k:g}%")
        for k, style in zip(ks, _LINES, strict=False)
    ]


def _mark_handles(ratios: Sequence[Ratio], confidence: float) -> list[Line2D]:
    """What the legend says of the marks in both panels."""
    interval = f"{100 * confidence:g}% Fieller interval; arrow: it goes on beyond the panel"
    handles = [
        Line2D([], [], color=GREY, linewidth=0.8, label="R = 1: memorizing as good as learning"),
        Line2D([], [], color=GREY, linestyle="", marker="|", markersize=9, label=interval),
    ]
    for reason in dict.fromkeys(ratio.reason for ratio in ratios if ratio.reason):
        hollow: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 5, "markerfacecolor": "white"}
        text = textwrap.fill(f"hollow: R undetermined: {reason}", LABEL_WIDTH)
        handles.append(Line2D([], [], color=GREY, label=text, **hollow))
    return handles


def _seeds_text(statistics: Mapping[str, Mapping[float, RelativeValue]]) -> str:
    seeds = [values.seeds for of_curve in statistics.values() for values in of_curve.values()]
    fewest, most = min(seeds), max(seeds)
    return seed_count(most) if fewest == most else f"{fewest} to {most} seeds"
