"""The figure of what consolidating is worth over the price, above the schedule that is best there."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import sqrt

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from agent.operations import OPERATIONS
from scenarios.analysis.statistics import Interval
from scenarios.figures.price_units import prefixed
from scenarios.figures.style import (
    BLUE,
    COLORS,
    GREY,
    INK,
    ORANGE,
    SKY,
    VERMILION,
    ends_of,
    log_axis,
    new_figure,
    seed_count,
    style_axes,
)

COLUMNS = 3  # most memories shown
_TINTS = {"M": SKY, "L": ORANGE, "C": BLUE}
_GIVEN, _FLAT = VERMILION, INK
_WIDE = 0.05  # a letter is written into a run of at least this share of the panel


@dataclass(frozen=True)
class WorthPanel:
    """What consolidating is worth with one memory.

    Attributes:
        memory: its label.
        prices: ascending, in points of accuracy per unit of cost.
        given: worth at each price in points of accuracy, under the tariff of the title.
        flat: the same under a flat tariff; None if the tariff is flat.
        best: at each price, the best schedule under the tariff of the title: a letter for each chunk.
    """

    memory: str
    prices: Float[np.ndarray, " prices"]
    given: Sequence[Interval]
    flat: Sequence[Interval] | None
    best: Sequence[str]


def consolidation_figure(
    panels: Sequence[WorthPanel],
    chunk_prices: Float[np.ndarray, " chunks"],
    *,
    cost: str,
    unit: str,
    title: str,
    n_seeds: int,
    confidence: float = 0.95,
) -> Figure:
    """What consolidating is worth over the price, and the best schedule at each price, in a column for each memory.

    Bands are t intervals over seeds. In the strip below, each row is a chunk, the first one at the top, with the
    tariff's price at its left.

    Args:
        panels: at least one; the first three are shown.
        chunk_prices: price of compute at each chunk, under the tariff of the title.
        cost: name of the cost model.
        unit: unit of its cost.
        title: title of the figure; the number of seeds is added.
        n_seeds: number of seeds.
        confidence: level of the intervals, in (0, 1).

    Returns:
        A figure of up to three columns with an Agg canvas; `figure_png` makes the file.
    """
    panels = panels[:COLUMNS]
    width = max(3.9 * len(panels) + 0.9, 6.5)
    heading = textwrap.fill(f"{title} ({seed_count(n_seeds)}): what consolidating is worth", round(13 * width))
    strip = 0.3 + 0.24 * len(chunk_prices)
    figure = new_figure(width, 4.4 + strip, heading)
    grid = figure.subplots(2, len(panels), squeeze=False, sharex="col", sharey="row", height_ratios=[2.6, strip])
    per_unit = 1e-9 if unit == "GFLOP" else 1.0  # the prefix is chosen anew
    ends = [float(price) * per_unit for panel in panels for price in panel.prices[[0, -1]]]
    shown_unit, size = prefixed(ends, "FLOP" if unit == "GFLOP" else unit)
    for column, panel in enumerate(panels):
        upper, lower = grid[:, column]
        prices = panel.prices * per_unit * size
        _draw_worth(upper, panel, prices)
        _draw_schedules(lower, panel.best, prices)
        upper.set_title(textwrap.fill(panel.memory, 36), fontsize=9, loc="left", parse_math=False)
        label = f"price by {cost} (points of accuracy per {shown_unit})"
        lower.set_xlabel(textwrap.fill(label, 48), fontsize=9, parse_math=False)
    grid[0, 0].set_ylabel("worth of consolidating\n(points of accuracy)")
    grid[1, 0].set_ylabel("chunk and\nits price")
    grid[1, 0].set_yticks(range(len(chunk_prices)), [f"{i}  ×{x:.3g}" for i, x in enumerate(chunk_prices, start=1)])
    grid[1, 0].set_ylim(len(chunk_prices) - 0.5, -0.5)
    figure.legend(
        handles=_handles(panels, chunk_prices, n_seeds, confidence),
        loc="outside lower center",
        ncols=2,
        frameon=False,
        fontsize=8,
    )
    return figure


def _draw_worth(axes: Axes, panel: WorthPanel, prices: np.ndarray) -> None:
    style_axes(axes)
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=1.5)
    if panel.flat is not None:
        _line(axes, prices, panel.flat, _FLAT, 1.0, (0, (4, 2)), 0.1)
    _line(axes, prices, panel.given, _GIVEN, 2.0, "-", 0.22)
    log_axis(axes.xaxis)
    axes.set_xlim(prices[0], prices[-1])


def _line(
    axes: Axes, prices: np.ndarray, points: Sequence[Interval], color: str, width: float, style: object, alpha: float
) -> None:
    low, high = np.array([ends_of(each) for each in points]).T
    axes.fill_between(prices, low, high, color=color, alpha=alpha, linewidth=0, zorder=width)
    axes.plot(prices, [each.estimate for each in points], color=color, linewidth=width, linestyle=style, zorder=3)


def _draw_schedules(axes: Axes, best: Sequence[str], prices: np.ndarray) -> None:
    """A row for each chunk, with the action of the best schedule at each price."""
    between = np.sqrt(prices[1:] * prices[:-1])
    edges = [float(prices[0]), *between.tolist(), float(prices[-1])]
    span = np.log(edges[-1] / edges[0])
    for row, letters in enumerate(zip(*best, strict=True)):
        end = 0
        for letter, run in groupby(letters):
            start, end = end, end + len(list(run))
            left, right = edges[start], edges[end]
            axes.barh(row, right - left, left=left, height=0.86, color=_tint(letter), edgecolor="white", linewidth=0.6)
            if np.log(right / left) >= _WIDE * span:
                axes.text(
                    sqrt(left * right),
                    row,
                    letter,
                    ha="center",
                    va="center_baseline",
                    fontsize=8,
                    color=INK,
                    path_effects=[withStroke(linewidth=2.0, foreground="white")],
                )
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0, labelsize=8.5)


def _tint(letter: str) -> str:
    """The colour of an action; of one beside the program's own, one of the others."""
    others = [color for color in COLORS if color not in _TINTS.values()]
    return _TINTS.get(letter, others[ord(letter) % len(others)])


def _handles(
    panels: Sequence[WorthPanel], chunk_prices: np.ndarray, n_seeds: int, confidence: float
) -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = [Line2D([], [], color=_GIVEN, linewidth=2.0, label="under the tariff of the title")]
    if any(panel.flat is not None for panel in panels):
        label = f"flat: each chunk at the mean price, ×{chunk_prices.mean():.3g}"
        handles.append(Line2D([], [], color=_FLAT, linewidth=1.0, linestyle=(0, (4, 2)), label=label))
    bands = f"; bands: {100 * confidence:g}% t intervals" if n_seeds > 1 else "; one seed: biased upward"
    handles.append(Line2D([], [], color=GREY, linewidth=0.8, label=f"0: as good without consolidating{bands}"))
    used = {letter for panel in panels for schedule in panel.best for letter in schedule}
    return handles + [
        Patch(facecolor=_tint(each.letter), label=f"{each.letter}: {name}, in the best schedule")
        for name, each in OPERATIONS.items()
        if each.letter in used
    ]
