"""The figure of the best option at every price of compute and of storage."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, NullLocator
from scipy.ndimage import minimum_filter

from scenarios.analysis.options import Options
from scenarios.analysis.price_map import PriceMap
from scenarios.figures.price_lines import EQUAL, dashes_of, draw_lines
from scenarios.figures.price_units import counted, prefixed
from scenarios.figures.style import INK, item_colors, new_figure, seed_count

SIDE = 2.75  # inches of a panel
_SHARES = ListedColormap(matplotlib.colormaps["YlGnBu"](np.linspace(0.08, 0.9, 256)), "shares")
_NO_MEMORY = "#555555"
_POINTS = 7.0  # of the names in regions


@dataclass(frozen=True)
class MapPanel:
    """One map.

    Attributes:
        among: what the options are, for the title.
        queries: number of queries after the stream.
        options: to choose from.
        prices: the best of them in every cell.
        equal_cost: for lines at which memorizing the rest costs as much as learning it, by name: the price of storage
            over that of compute, in FLOPs per byte-chunk.
        by_memory: whether colours tell memories apart; otherwise they tell the share that is learned.
    """

    among: str
    queries: int
    options: Options
    prices: PriceMap
    equal_cost: Mapping[str, float]
    by_memory: bool = False


def price_map_figure(
    panels: Sequence[MapPanel],
    models: Mapping[str, float],
    *,
    memories: Sequence[str],
    n_chunks: int,
    title: str,
    confidence: float = 0.95,
) -> Figure:
    """Maps of the best option over the price of compute (x) and the price of storage (y), both logarithmic.

    Names are written into regions that are large enough. Hatched cells are undecided. Dashed lines are where memorizing
    the rest costs as much as learning it; dotted lines have the ratio of prices of a cost model, and as the cost weighs
    more, one moves along them to the upper right.

    Args:
        panels: at least one, row by row; all with the same prices.
        models: by the name of the cost model: its price of storage over that of compute, in FLOPs per byte-chunk.
        memories: the labels of all memories, in the order of their colours, which are those of `frontier_figure`.
        n_chunks: chunks of the stream; storage is priced for all of them.
        title: title of the figure; the number of seeds is added.
        confidence: level of the intervals behind the hatching, in (0, 1).

    Returns:
        A figure with a row for each value of `among` and an Agg canvas; `figure_png` makes the file.
    """
    rows = list(dict.fromkeys(panel.among for panel in panels))
    n_columns = len(panels) // len(rows)
    prices = panels[0].prices
    x_unit, x_size = prefixed(prices.compute[[0, -1]].tolist(), "FLOP")
    y_unit, y_size = prefixed((prices.storage[[0, -1]] * n_chunks).tolist(), "B")
    side = SIDE if n_columns > 1 else 4.6
    width = max((side + 0.5) * n_columns + 1.5, 7.2)
    head = f"{title} ({seed_count(panels[0].options.n_seeds)}): the best option at each price"
    notes = _notes(models, prices)
    text = "\n".join(
        [textwrap.fill(head, round(12 * width)), *(textwrap.fill(each, round(12 * width)) for each in notes)]
    )
    figure = new_figure(width, (side + 0.72) * len(rows) + 1.5, text)
    figure.set_layout_engine("constrained", h_pad=0.1)
    grid = figure.subplots(len(rows), n_columns, squeeze=False, sharex=True, sharey=True)
    tints = {"": _NO_MEMORY, **item_colors(memories)}
    for axes, panel in zip(grid.flat, panels, strict=True):
        x, y = prices.compute * x_size, prices.storage * n_chunks * y_size
        _draw(axes, panel, tints, x, y, side)
        scale = n_chunks * y_size / x_size
        equal = {name: ratio * scale for name, ratio in panel.equal_cost.items()}
        above = draw_lines(axes, {name: ratio * scale for name, ratio in models.items()}, equal)
        title = f"{textwrap.fill(panel.among, 30)}\n{counted(panel.queries)}"
        axes.set_title(title, fontsize=8.5, loc="left", pad=6 + 4.6 * above, parse_math=False)
    _label_axes(figure, grid, x_unit, y_unit)
    _explain(figure, grid, panels, tints, models, confidence)
    return figure


def _label_axes(figure: Figure, grid: np.ndarray, x_unit: str, y_unit: str) -> None:
    for axes in grid[-1]:
        axes.set_xlabel(f"compute (points per {x_unit})", fontsize=8.5)
    for row in grid:
        row[0].set_ylabel(f"storage (points per {y_unit},\nheld during the whole stream)", fontsize=8.5)


def _notes(models: Mapping[str, float], prices: PriceMap) -> list[str]:
    """What the map does not show."""
    low, high = _ratios(prices)
    free = [name for name, ratio in models.items() if ratio == 0]
    below = [name for name, ratio in models.items() if 0 < ratio <= low]
    above = [name for name, ratio in models.items() if ratio >= high]
    parts = [f"{', '.join(free)}: the bottom edge, as storage is free"] * bool(free)
    parts += [f"{', '.join(below)}: below the map"] * bool(below)
    parts += [f"{', '.join(above)}: above the map"] * bool(above)
    return ["; ".join([*parts, "bytes written are in the tables, not in the map"])]


def _ratios(prices: PriceMap) -> tuple[float, float]:
    """The lowest and the highest price of storage over that of compute."""
    return float(prices.storage[0] / prices.compute[-1]), float(prices.storage[-1] / prices.compute[0])


def _draw(
    axes: Axes,
    panel: MapPanel,
    tints: Mapping[str, str],
    x: Float[np.ndarray, " columns"],
    y: Float[np.ndarray, " rows"],
    side: float,
) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_box_aspect(1)
    axes.tick_params(labelsize=7.5)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(numticks=7))
        axis.set_minor_locator(NullLocator())  # they would take half of the time of drawing
    shown = sorted(panel.prices.shares())
    colors = {i: _color(panel, i, tints) for i in shown}
    image = np.array([colors[i] for i in panel.prices.best.ravel().tolist()]).reshape(*panel.prices.best.shape, 3)
    axes.pcolormesh(x, y, image, shading="nearest", rasterized=True)
    axes.set_xlim(x[0], x[-1])
    axes.set_ylim(y[0], y[-1])
    if panel.prices.undecided.any():
        hatched = axes.contourf(
            x, y, panel.prices.undecided.astype(float), levels=[0.5, 1.5], colors="none", hatches=["//////"]
        )
        hatched.set_edgecolor((1, 1, 1, 0.55))
        hatched.set_linewidth(0)
    for i in shown:
        region = (panel.prices.best == i).astype(float)
        if 0.005 < region.mean() < 1:
            axes.contour(x, y, region, levels=[0.5], colors="white", linewidths=0.7, alpha=0.8)
    for i in shown:
        text = panel.options.label(i) if panel.by_memory else panel.options.names[i]
        place = _room(panel.prices.best == i, text, side)
        if place is not None:
            row, column = place
            axes.text(
                x[column],
                y[row],
                text,
                ha="center",
                va="center",
                fontsize=_POINTS,
                color=INK,
                path_effects=[withStroke(linewidth=2.2, foreground="white")],
                parse_math=False,
            )


def _color(panel: MapPanel, i: int, tints: Mapping[str, str]) -> tuple[float, float, float]:
    """The colour of an option: by the share that is learned, or by its memory, the darker the more is learned."""
    learned = float(panel.options.learned[i])
    if not panel.by_memory:
        return to_rgb(_SHARES(learned))
    tint = to_rgb(tints[panel.options.memories[i]])
    depth = 0.3 + 0.6 * learned
    return tuple(1 - depth * (1 - part) for part in tint)  # type: ignore[return-value]


def _room(region: Bool[np.ndarray, "rows columns"], text: str, side: float) -> tuple[int, int] | None:
    """The cell in a region around which a text fits, with the most room; None if it fits nowhere."""
    cells = len(region) / (72 * side)  # per point
    height, width = (round(cells * points) | 1 for points in (1.5 * _POINTS, 0.62 * _POINTS * len(text) + 3))
    inside = minimum_filter(region, size=(height, width), mode="constant", cval=False)
    if not inside.any():
        return None
    # The more often the text still fits when it moves, the more room there is.
    depth = np.zeros(region.shape)
    while inside.any():
        depth += inside
        inside = minimum_filter(inside, size=3, mode="constant", cval=False)
    rows, columns = np.nonzero(depth == depth.max())
    middle = np.hypot(rows - rows.mean(), columns - columns.mean()).argmin()
    return int(rows[middle]), int(columns[middle])


def _explain(
    figure: Figure,
    grid: np.ndarray,
    panels: Sequence[MapPanel],
    tints: Mapping[str, str],
    models: Mapping[str, float],
    confidence: float,
) -> None:
    handles: list[Patch | Line2D] = []
    best = {panel.options.memories[i] for panel in panels if panel.by_memory for i in panel.prices.shares()}
    handles += [
        Patch(facecolor=color, label=textwrap.fill(memory or "all is learned, the memory is empty", 40))
        for memory, color in tints.items()
        if memory in best
    ]
    if any(panel.equal_cost for panel in panels):
        text = "memorizing the rest after k% costs as much as learning it"
        handles.append(Line2D([], [], color=INK, linewidth=1.0, linestyle=EQUAL, label=text))
    dashes = dashes_of(models)
    low, high = _ratios(panels[0].prices)
    for name in (name for name, ratio in models.items() if low < ratio < high):
        text = f"prices of {name}: to the upper right as cost weighs more"
        handles.append(Line2D([], [], color=INK, linewidth=1.0, linestyle=dashes[name], label=text))
    if panels[0].options.n_seeds > 1:
        text = f"best and runner-up not told apart ({100 * confidence:g}% paired t interval)"
        handles.append(Patch(facecolor="#C8C8C8", edgecolor="white", hatch="//////", linewidth=0, label=text))
    if handles:
        wide = figure.get_figwidth() > 9
        figure.legend(handles=handles, loc="outside lower center", ncols=2 if wide else 1, frameon=False, fontsize=8)
    if not all(panel.by_memory for panel in panels):
        bar = figure.colorbar(
            ScalarMappable(matplotlib.colors.Normalize(0, 100), _SHARES),
            ax=grid.ravel().tolist(),
            location="right",
            shrink=min(1.0, 1.4 / len(grid)),
            aspect=22,
            pad=0.02,
        )
        bar.set_label("share of the stream learned (%)", fontsize=8.5)
        bar.ax.tick_params(labelsize=7.5)
