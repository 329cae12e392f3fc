"""The figure of a search: the value of each trial, and the best one so far."""

from collections.abc import Sequence
from itertools import accumulate

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from scenarios.analysis.statistics import Interval
from scenarios.figures.style import BLUE, GREY, VERMILION, ends_of, legend_above, new_figure, percent_span, style_axes


def tuning_figure(values: Sequence[Interval | None], *, label: str, percent: bool, title: str) -> Figure:
    """The value of each trial with its interval over the seeds, the best one so far, and the trials that failed.

    Args:
        values: of each trial, by number; None for one that failed. At least one succeeded.
        label: of the values.
        percent: whether they are shares, which are drawn in percent.
        title: title of the figure.

    Returns:
        A figure with an Agg canvas; `figure_png` makes the file.
    """
    figure = new_figure(7.0, 4.2, title)
    axes = figure.subplots()
    style_axes(axes)
    found = [(number, each) for number, each in enumerate(values) if each is not None]
    numbers = [number for number, _ in found]
    spans = [percent_span(each) if percent else (each.estimate, *ends_of(each)) for _, each in found]
    means = [mean for mean, _, _ in spans]
    axes.errorbar(
        numbers,
        means,
        yerr=[[mean - low for mean, low, _ in spans], [high - mean for mean, _, high in spans]],
        fmt="o",
        markersize=4,
        linewidth=0.8,
        color=BLUE,
        label="a trial, with its t interval",
    )
    axes.step(
        numbers, list(accumulate(means, max)), where="post", color=VERMILION, linewidth=1.6, label="the best so far"
    )
    failed = [number for number, each in enumerate(values) if each is None]
    if failed:
        low = axes.get_ylim()[0]
        axes.plot(failed, [low] * len(failed), "x", color=GREY, clip_on=False, label="failed")
        axes.set_ylim(bottom=low)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial")
    axes.set_ylabel(f"{label}{' (%)' * percent}")
    legend_above(axes, ncols=3)
    return figure
