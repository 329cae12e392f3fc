"""Policies among static k%-learners as a figure: what they learn when, and what it is worth. No pyplot, no globals."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from scenarios.analysis.matched_share import MatchedShares, mean_marks
from scenarios.figures.style import COLORS, GREY, INK, MARKERS, X_LIMITS

PALE = "#AAAAAA"  # k%-learners, which are the background
ROWS = 12  # of the legend beside the panels, before it gets another column


def matched_share_figure(matched: MatchedShares, *, title: str) -> Figure:
    """Policies on the plane of the static k%-learners.

    Left, the share of the stream learned so far against the chunks met; thin lines are single seeds, thick ones their
    mean, pale ones the k%-learners. Right, accuracy against that share: at each examination of a policy (means over
    seeds of both), the end marked larger, with faint points for single seeds; behind it z (agent) and x (learner alone)
    of the k%-learners at the end of life.

    Args:
        matched: what was lived.
        title: over the figure; the number of seeds is added.

    Returns:
        A figure of 12.5 x 5 inches with an Agg canvas; `figures.figure_png` makes the file.

    Raises:
        ValueError: there are no policies.
    """
    if not matched.policies:
        raise ValueError("expected at least one policy, got none")
    n_seeds = len(matched.policies[0].courses)
    styles = {placed.policy: _style(i) for i, placed in enumerate(matched.policies)}
    figure = Figure(figsize=(12.5, 5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    legends = [_draw_learning(left, matched, styles), _draw_accuracies(right, matched, styles)]
    for axes, keys in zip((left, right), legends, strict=True):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#EEEEEE", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.legend(
            handles=keys,
            loc="lower left",
            bbox_to_anchor=(-0.02, 1.0),
            frameon=False,
            fontsize=8,
            labelspacing=0.35,
            borderaxespad=0.2,
        )
    policies = [
        Line2D([], [], color=style.color, markersize=6.5, label=textwrap.fill(policy, 36), **style.marks)
        for policy, style in styles.items()
    ]
    # Beside and above the axes, where no data can be.
    legend = figure.legend(
        handles=policies,
        loc="outside right upper",
        frameon=False,
        fontsize=8,
        ncols=-(-len(policies) // ROWS),
        title="policies",
        title_fontsize=8,
        alignment="left",
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a dollar sign in a name is a dollar sign
    figure.suptitle(textwrap.fill(f"{title} ({n_seeds} seed{'s' * (n_seeds > 1)})", 120), fontsize=11, parse_math=False)
    return figure


@dataclass(frozen=True)
class _Style:
    color: str
    marker: str
    hollow: bool

    @property
    def marks(self) -> dict[str, Any]:
        return {
            "marker": self.marker,
            "markerfacecolor": "white" if self.hollow else self.color,
            "markeredgewidth": 1.2 if self.hollow else 0.6,
        }


def _style(i: int) -> _Style:
    return _Style(COLORS[i % len(COLORS)], MARKERS[i % len(MARKERS)], i // len(MARKERS) % 2 == 1)


def _draw_learning(axes: Axes, matched: MatchedShares, styles: dict[str, _Style]) -> list[Line2D]:
    """The share learned against chunks met; returns what its legend tells."""
    axes.set_xlabel("chunks met")
    axes.set_ylabel("share of the stream learned so far (%)")
    for courses in matched.statics.values():
        chunks, percents = _learning([np.mean([course.learned for course in courses], axis=0)])[0]
        axes.plot(chunks, percents, color=PALE, linewidth=0.8, zorder=1)
    for placed in matched.policies:
        color, curves = styles[placed.policy].color, [course.learned for course in placed.courses]
        if len(curves) > 1:
            for chunks, percents in _learning(curves):
                axes.plot(chunks, percents, color=color, linewidth=0.7, alpha=0.3, zorder=2)
        [(chunks, percents)] = _learning([np.mean(curves, axis=0)])
        axes.plot(chunks, percents, color=color, linewidth=1.6, zorder=3)
        axes.plot(chunks[-1:], percents[-1:], color=color, markersize=6.5, zorder=4, **styles[placed.policy].marks)
    n_chunks = len(matched.policies[0].courses[0].learned)
    axes.set_xlim(-0.03 * n_chunks, 1.03 * n_chunks)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_ylim(*X_LIMITS)
    axes.set_yticks(range(0, 101, 20))
    ks = ", ".join(f"{k:g}" for k in matched.statics)
    keys = [Line2D([], [], color=PALE, linewidth=0.8, label=textwrap.fill(f"static k%-learners, k = {ks}", 64))]
    if len(matched.policies[0].courses) > 1:
        keys.append(
            Line2D([], [], color=INK, linewidth=1.6, label="policies: means over seeds; thin and faint: single seeds")
        )
    return keys


def _learning(curves: Sequence[Sequence[float] | np.ndarray]) -> list[tuple[list[int], list[float]]]:
    """Chunks met and percent learned, from birth on."""
    return [(list(range(len(curve) + 1)), [0.0, *(100 * share for share in curve)]) for curve in curves]


def _draw_accuracies(axes: Axes, matched: MatchedShares, styles: dict[str, _Style]) -> list[Line2D]:
    """Accuracy against the share learned; returns what its legend tells."""
    axes.set_xlabel("share of the stream learned so far (%)")
    axes.set_ylabel("accuracy on the test set (%)")
    ends = [mean_marks([*courses])[-1] for courses in matched.statics.values()]
    learned = [100 * end.learned for end in ends]
    keys = [
        *axes.plot(
            learned,
            [100 * end.agent for end in ends],
            "s-",
            color=GREY,
            markersize=4,
            linewidth=1.2,
            zorder=1,
            label="z: static k%-learners with their memory, at the end of life",
        ),
        *axes.plot(
            learned,
            [100 * end.learner for end in ends],
            "o--",
            color=PALE,
            markerfacecolor="white",
            markersize=4,
            linewidth=1,
            zorder=1,
            label="x: their learner alone",
        ),
    ]
    for placed in matched.policies:
        style, marks = styles[placed.policy], mean_marks(placed.courses)
        path = [100 * mark.learned for mark in marks], [100 * mark.agent for mark in marks]
        axes.plot(*path, color=style.color, linewidth=1.2, alpha=0.8, markersize=3, zorder=3, **style.marks)
        axes.plot(path[0][-1:], path[1][-1:], color=style.color, markersize=8, zorder=4, **style.marks)
        if len(placed.courses) > 1:
            of_seeds = [(100 * course.end.learned, 100 * course.end.agent) for course in placed.courses]
            axes.plot(
                *zip(*of_seeds, strict=True),
                ".",
                color=style.color,
                alpha=0.4,
                markersize=6,
                markeredgewidth=0,
                zorder=2,
            )
    several = any(len(course.marks) > 1 for placed in matched.policies for course in placed.courses)
    told = "policies: small marks on the way, large at the end" if several else "policies: at the end of life only"
    told += "; faint: single seeds" if len(matched.policies[0].courses) > 1 else ""
    keys.append(Line2D([], [], color=GREY, linestyle="none", marker="o", markersize=6.5, label=told))
    axes.set_xlim(*X_LIMITS)
    axes.set_xticks(range(0, 101, 20))
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, -1.5), min(top, 101.5))
    return keys
