"""The figure of what memories rescue, by class and by the learner's margin."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from scenarios.analysis.rescues import N_BINS, GroupRescues, Rescues, RescueSeries
from scenarios.analysis.statistics import Interval
from scenarios.figures.style import (
    BLUE,
    GREY,
    INK,
    VERMILION,
    ends_of,
    legend_beside,
    marker_style,
    new_figure,
    seed_count,
    style_axes,
)

MOST_ROWS, MOST_SERIES, MOST_CLASSES = 5, 10, 20
_LONGEST = 16  # letters of a class
_FEWEST = 10.0  # images, in the mean over seeds, of a bin of margins that is drawn; or 1% of all, if that is fewer
_ALONE: dict[str, Any] = {"color": INK, "marker": "o"}  # of the net of a single series

Styles = Mapping[str, Mapping[str, Any]]
"""Of the net, by the name of its series."""


def rescues_figure(rescues: Rescues) -> Figure:
    """Net, rescued and lost test images by class, and by the learner's margin with the share of images at each margin.

    A single k, schedule or policy has bars for what is rescued, upwards, and lost, downwards. Of several, these bars
    are pale, a marker shows the net of each, and intervals of classes are left to the table. k%-learners have a row of
    panels for each memory, and colours from dark to light by k. Of many classes, the ten with the highest and the ten
    with the lowest net are drawn; of many memories, k's or schedules some; the titles say so. Bins of margins with very
    few images are left out, but for their share.

    Args:
        rescues: of a run.

    Returns:
        A figure with an Agg canvas, 13 inches wide and 4.6 high for each row of panels; `figure_png` makes the file.
    """
    rows: dict[str, dict[str, RescueSeries]] = {}
    for series in rescues.series:
        rows.setdefault(series.label if rescues.by == "memory" else "", {})[_name(series)] = series
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    shown, drawn = _some(names), list(rows.items())[:MOST_ROWS]
    cut = [f"the first {len(drawn)} of {len(rows)} memories"] if len(rows) > len(drawn) else []
    if len(names) > len(shown):
        what = "k's" if rescues.by == "memory" else "schedules"
        cut.append(f"{len(shown)} of {len(names)} {what}")
    title = "; ".join([f"{rescues.title} ({seed_count(len(rescues.seeds))}): what memory rescues", *cut])
    figure = new_figure(13, 0.5 + 4.6 * len(drawn), textwrap.fill(title, 120))
    grid = figure.add_gridspec(2 * len(drawn), 2, height_ratios=[3, 1] * len(drawn))
    styles = _styles(shown, by_quantity=rescues.by == "memory")
    for i, (label, row) in enumerate(drawn):
        left = figure.add_subplot(grid[2 * i : 2 * i + 2, 0])
        right = figure.add_subplot(grid[2 * i, 1])
        below = figure.add_subplot(grid[2 * i + 1, 1], sharex=right)
        found = {name: row[name] for name in shown if name in row}
        _draw_classes(left, found, styles, label if len(rows) > 1 else "")
        _draw_margins(right, below, found, styles)
    _explain(figure, rescues, styles)
    return figure


def _name(series: RescueSeries) -> str:
    return series.label if series.k is None else f"k = {series.k:g}%"


def _some(names: Sequence[str]) -> list[str]:
    """At most `MOST_SERIES` names, evenly spaced, with the first and the last."""
    if len(names) <= MOST_SERIES:
        return list(names)
    return [names[i] for i in np.linspace(0, len(names) - 1, MOST_SERIES).round().astype(int)]


def _styles(names: Sequence[str], *, by_quantity: bool) -> Styles:
    """From dark to light in the order of a quantity, or else of distinct colours."""
    if len(names) == 1:
        return {names[0]: _ALONE}
    if not by_quantity:
        return {name: marker_style(i, edge_width=0.6) for i, name in enumerate(names)}
    shades = matplotlib.colormaps["viridis"]
    colors = [to_hex(shades(0.9 * i / (len(names) - 1))) for i in range(len(names))]
    return {name: {"color": colors[i], "marker": "osD^v"[i % 5]} for i, name in enumerate(names)}


def _draw_classes(axes: Axes, row: Mapping[str, RescueSeries], styles: Styles, label: str) -> None:
    groups = {name: series.of("class") for name, series in row.items()}
    net: dict[int, float] = {}
    for i, of_class in enumerate(zip(*groups.values(), strict=True)):
        if found := [each.net.estimate for each in of_class if each.net]:
            net[i] = sum(found) / len(found)
    chosen, title = list(net), [textwrap.fill(label, 70)] if label else []
    if len(chosen) > MOST_CLASSES:
        ranked, half = sorted(chosen, key=lambda i: -net[i]), MOST_CLASSES // 2
        chosen = [*ranked[:half], *ranked[-half:]]
        title.append(f"the {half} classes of highest and the {half} of lowest net, of {len(net)}")
        axes.axvline(half - 0.5, color=GREY, linewidth=0.8, linestyle=":")
    _draw(axes, {name: [of[i] for i in chosen] for name, of in groups.items()}, styles, by_margin=False)
    names = [_short(next(iter(groups.values()))[i].group.name) for i in chosen]
    upright = len(names) > 10 or sum(map(len, names)) > 40
    axes.set_xticks(range(len(names)))
    axes.set_xticklabels(names, rotation=90 if upright else 0, fontsize=8, parse_math=False)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_ylabel("points of all test images of the class")
    if title:
        axes.set_title("\n".join(title), fontsize=9, loc="left", parse_math=False)


def _short(name: str) -> str:
    """The name of a class; of a long one its beginning and its end, which may tell it from others."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 6]}…{name[-5:]}"


def _draw_margins(axes: Axes, below: Axes, row: Mapping[str, RescueSeries], styles: Styles) -> None:
    """Draw the rescues by margin, and below them the share of images."""
    groups = {name: series.of("margin") for name, series in row.items()}
    fewest = _fewest(next(iter(row.values())))
    drawn = {name: [each if each.n >= fewest else _empty(each) for each in of] for name, of in groups.items()}
    _draw(axes, drawn, styles, by_margin=True)
    axes.set_ylabel("points of the images of that margin")
    axes.tick_params(labelbottom=False)
    for i, (name, of_series) in enumerate(groups.items()):
        at, means = _places(i, len(groups), N_BINS), [100 * each.share.estimate for each in of_series]
        if len(groups) == 1:
            below.bar(at, means, 0.7, color=GREY, alpha=0.6)
        else:
            below.plot(at, means, linewidth=1, markersize=2.5, **styles[name])
        _draw_intervals(below, at, [each.share for each in of_series], styles[name]["color"], (0.0, 100.0))
    below.set_ylim(bottom=0)
    below.set_ylabel("% of all\nimages")
    below.set_xticks(np.arange(0, N_BINS + 1, 2) - 0.5, [f"{2 * i / N_BINS:g}" for i in range(N_BINS // 2 + 1)])
    below.set_xlim(-0.6, N_BINS - 0.4)
    below.set_xlabel("learner's margin: probability of its first class minus that of its second")
    style_axes(below, grid="y")


def _fewest(series: RescueSeries) -> float:
    [whole] = series.of("all")
    return min(_FEWEST, whole.n / 100)


def _empty(group: GroupRescues) -> GroupRescues:
    return replace(group, rescued=None, lost=None, net=None)


def _draw(axes: Axes, groups: Mapping[str, Sequence[GroupRescues]], styles: Styles, *, by_margin: bool) -> None:
    """Draw what is rescued (up), lost (down) and net of each series in each group, as wide as means need."""
    measures = {
        name: {
            "rescued": _points([each.rescued for each in of_series]),
            "lost": -_points([each.lost for each in of_series]),
            "net": _points([each.net for each in of_series]),
        }
        for name, of_series in groups.items()
    }
    every = np.array([0.0, *(value for of in measures.values() for values in of.values() for value in values)])
    single = len(groups) == 1
    has_intervals = single or by_margin
    room = (0.25 if has_intervals else 0.06) * (np.nanmax(every) - np.nanmin(every)) or 1.0
    limits = float(np.nanmin(every)) - room, float(np.nanmax(every)) + room
    axes.set_ylim(*limits)
    axes.axhline(0, color=GREY, linewidth=1, zorder=1)
    for i, (name, of_series) in enumerate(groups.items()):
        at, style = _places(i, len(groups), len(of_series)), dict(styles[name])
        for measure, color in (("rescued", BLUE), ("lost", VERMILION)):
            shade = {"color": color, "alpha": 0.6} if single else {"color": style["color"], "alpha": 0.25}
            axes.bar(at, measures[name][measure], 0.7 if single else 0.8 / len(groups), **shade)
        if has_intervals:
            _draw_intervals(axes, at, [each.net for each in of_series], style["color"], limits)
        line = {"linewidth": 1} if by_margin and not single else {"linestyle": "none"}
        axes.plot(at, measures[name]["net"], markersize=5 if single else 4, zorder=3, **style, **line)
    style_axes(axes, grid="y")


def _places(i: int, n_series: int, n: int) -> Float[np.ndarray, " n"]:
    """The positions of a series beside the others at 0 to n - 1."""
    return np.arange(n) + 0.8 * (i - (n_series - 1) / 2) / n_series


def _points(values: Sequence[Interval | None]) -> Float[np.ndarray, " n"]:
    return np.array([math.nan if value is None else 100 * value.estimate for value in values])


def _draw_intervals(
    axes: Axes,
    at: Float[np.ndarray, " n"],
    values: Sequence[Interval | None],
    color: str,
    limits: tuple[float, float],
) -> None:
    """Draw the intervals within limits; a single seed has none."""
    ends = [
        (place, *ends_of(value, lowest=limits[0] / 100, highest=limits[1] / 100))
        for place, value in zip(at, values, strict=True)
        if value is not None and value.low is not None
    ]
    if ends:
        places, lows, highs = np.array(ends).T
        axes.vlines(places, 100 * lows, 100 * highs, color=color, linewidth=1, alpha=0.5, zorder=2)


def _explain(figure: Figure, rescues: Rescues, styles: Styles) -> None:
    """Say what is drawn, beside the panels."""
    single = len(styles) == 1
    shades = (BLUE, VERMILION) if single else (GREY, GREY)
    texts = ("up: rescued, learner\nwrong and agent right", "down: lost, learner\nright and agent wrong")
    handles = [
        Line2D([], [], color=shade, alpha=0.6 if single else 0.3, linewidth=7, solid_capstyle="butt", label=text)
        for shade, text in zip(shades, texts, strict=True)
    ]
    handles.append(Line2D([], [], linestyle="none", markersize=5, label="net: rescued − lost", **_ALONE))
    if len(rescues.seeds) > 1:
        text = f"{100 * rescues.confidence:g}% t intervals, cut off at the panel's edge"
        text += "" if single else "; those of classes: in rescues.csv"
        handles.append(Line2D([], [], color=INK, linewidth=1, alpha=0.5, label=textwrap.fill(text, 26)))
    fewest = f"{_fewest(rescues.series[0]):g}"
    handles.append(Line2D([], [], linestyle="none", label=f"margins of fewer than\n{fewest} images: not drawn"))
    if not single:
        handles += [
            Line2D([], [], linestyle="none", markersize=5, label=textwrap.fill(name, 26), **style)
            for name, style in styles.items()
        ]
    legend_beside(figure, handles, title=next(iter(styles)) if single else "", rows=40, loc="outside right upper")
