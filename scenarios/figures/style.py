"""The style of all figures: colours, markers, axes, legends, and the PNG file."""

import io
import math
from collections.abc import Sequence
from math import inf
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from PIL import Image

from scenarios.analysis.statistics import Interval

# Okabe & Ito's palette without its pale yellow; colour-blind readers can distinguish its colours:
# https://jfly.uni-koeln.de/color/
INK, GREY, BLUE, VERMILION, GREEN = "#222222", "#777777", "#0072B2", "#D55E00", "#009E73"
ORANGE, SKY, PURPLE = "#E69F00", "#56B4E9", "#CC79A7"
COLORS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, INK)
MARKERS = "osD^vPX*"
PERCENT_LIMITS = (-3.0, 103.0)


def new_figure(width: float, height: float, title: str) -> Figure:
    """A figure of width x height inches with an Agg canvas."""
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11, parse_math=False)  # a dollar sign in a name is not mathematics
    return figure


def style_axes(axes: Axes, *, grid: Literal["both", "y"] = "both") -> None:
    """Hide the frame at the top and right, and draw pale grid lines behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="#EEEEEE", linewidth=0.8)
    axes.set_axisbelow(True)


def log_axis(axis: Axis) -> None:
    """Give an axis of positive values, if it has any, a logarithmic scale with plain numbers."""
    low, high = axis.get_data_interval()
    if not 0 < low <= high < math.inf:
        return
    (axis.axes.set_xscale if isinstance(axis, XAxis) else axis.axes.set_yscale)("log")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 100 else (1,)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def legend_above(axes: Axes, handles: Sequence[Line2D] | None = None, *, left: float = -0.02, ncols: int = 1) -> None:
    """Explain lines above the axes, where it covers no data; None for the handles means every labelled line."""
    axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(left, 1.0),
        frameon=False,
        fontsize=8,
        ncols=ncols,
        labelspacing=0.35,
        borderaxespad=0.2,
    )


def legend_beside(parent: Axes | Figure, handles: Sequence[Line2D], *, title: str, rows: int, **where: Any) -> Legend:
    """List named items at the place that `where` gives to matplotlib, with at most `rows` items in a column."""
    legend = parent.legend(
        handles=handles,
        frameon=False,
        fontsize=8,
        ncols=-(-len(handles) // rows),
        title=title,
        title_fontsize=8,
        alignment="left",
        **where,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return legend


def marker_style(i: int, *, edge_width: float) -> dict[str, Any]:
    """The i-th item's line style: markers of eight shapes, first filled, then hollow, so that colour is not needed."""
    color, hollow = COLORS[i % len(COLORS)], i // len(MARKERS) % 2 == 1
    return {
        "color": color,
        "marker": MARKERS[i % len(MARKERS)],
        "markerfacecolor": "white" if hollow else color,
        "markeredgewidth": edge_width + 0.6 * hollow,
    }


def item_colors(items: Sequence[str]) -> dict[str, str]:
    """A colour for each item, as `marker_style` has them, then lighter tints of those: different ones for 21 items."""
    tints = (0.0, 0.42, 0.7)
    colors = {}
    for i, item in enumerate(items):
        tint = tints[i // len(COLORS) % len(tints)]
        colors[item] = to_hex([part + tint * (1 - part) for part in to_rgb(COLORS[i % len(COLORS)])])
    return colors


def shades(n: int) -> list[dict[str, Any]]:
    """Styles from dark to light, in the order of a quantity."""
    colors = matplotlib.colormaps["viridis"]
    return [
        {"color": to_hex(colors(0.9 * i / max(n - 1, 1))), "marker": "osD^v"[i % 5], "markersize": 4} for i in range(n)
    ]


def ends_of(interval: Interval, *, lowest: float = -inf, highest: float = inf) -> tuple[float, float]:
    """Low and high, clipped to [lowest, highest] as far as the mean allows; the mean itself if there is no interval."""
    low = interval.estimate if interval.low is None else interval.low
    high = interval.estimate if interval.high is None else interval.high
    return min(max(low, lowest), interval.estimate), max(min(high, highest), interval.estimate)


def percent_span(accuracy: Interval) -> tuple[float, float, float]:
    """Mean, low and high in percent, the ends clipped to 0..100."""
    low, high = ends_of(accuracy, lowest=0.0, highest=1.0)
    return 100 * accuracy.estimate, 100 * low, 100 * high


def seed_count(n: int) -> str:
    """The number of seeds, for a title."""
    return "1 seed" if n == 1 else f"{n} seeds"


def figure_png(figure: Figure) -> bytes:
    """The figure as a PNG file; the same figure, versions and fonts give the same bytes (no date or software name)."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def png_pixels(png: bytes) -> np.ndarray:
    """The RGB pixels of a PNG file, height x width x 3, for TensorBoard (`dataformats="HWC"`)."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
