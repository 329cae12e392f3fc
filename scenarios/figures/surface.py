"""The figure of R by the number of images learned and in all."""

import textwrap
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import StrMethodFormatter

from scenarios.analysis.statistics import Ratio, RelativeValue
from scenarios.figures.ratio_axis import AXIS_LABELS, CAPTION, ratio_lines
from scenarios.figures.style import PERCENT_LIMITS, legend_beside, new_figure, seed_count, shades, style_axes

Surface = Mapping[tuple[int, int], RelativeValue]
"""By number of images learned, n, and number in all, N."""


def surface_figure(surface: Surface, *, dataset: str, learner: str) -> Figure:
    """R and 1/R against k = n/N for each N, and against N for each k that occurs at several N.

    Args:
        surface: the statistics, at least one.
        dataset: name of the data set, for the title.
        learner: how the learners were trained, for the title.

    Returns:
        A figure of 11 x 7 inches with an Agg canvas; `figure_png` makes the file.
    """
    seeds = max(values.seeds for values in surface.values())
    title = textwrap.fill(f"{dataset}, {learner} ({seed_count(seeds)}): R of shorter streams", 100)
    figure = new_figure(11, 7, f"{title}\n{CAPTION}")
    panels = figure.subplots(2, 2, sharex="col")
    for row, (name, label) in enumerate(AXIS_LABELS.items()):
        of_total: dict[int, dict[float, Ratio]] = {}
        of_k: dict[float, dict[float, Ratio]] = {}
        for (learned, total), values in sorted(surface.items()):
            ratio = getattr(values, name)
            of_total.setdefault(total, {})[100 * learned / total] = ratio
            of_k.setdefault(round(100 * learned / total, 1), {})[total] = ratio
        of_k = {k: ratios for k, ratios in of_k.items() if len(ratios) > 1} or of_k
        by_total = {f"{total:,}": ratios for total, ratios in sorted(of_total.items())}
        by_k = {f"{k:g}": of_k[k] for k in sorted(of_k)}
        _draw(panels[row][0], by_total, 0.3, stretched=name == "R")
        _draw(panels[row][1], by_k, max(of_total) / 400, stretched=name == "R")
        panels[row][0].set_ylabel(label)
    for column, title in enumerate(("N, images in all", "k (%)")):
        _, beside = panels[0][column], panels[1][column]
        handles = [line for line in beside.get_lines() if not line.get_label().startswith("_")]
        _explain(panels[0][column], handles, title)
    panels[1][0].set_xlim(*PERCENT_LIMITS)
    panels[1][0].set_xlabel("share of the images learned, k = n / N (%)")
    panels[1][1].set_xlabel("images in all, N")
    panels[1][1].xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    return figure


def _draw(axes: Axes, series: Mapping[str, Mapping[float, Ratio]], spread: float, *, stretched: bool) -> None:
    ratio_lines(axes, series, shades(len(series)), spread=spread, stretched=stretched)
    style_axes(axes, grid="y")


def _explain(axes: Axes, handles: Sequence[Line2D], title: str) -> None:
    legend_beside(axes, handles, title=title, rows=2, loc="lower left", bbox_to_anchor=(-0.02, 1.0))
