"""The figure of policies among static k%-learners: the share that they learn, and their accuracy at that share."""

import textwrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from scenarios.analysis.matched_share import MatchedShares, mean_learned, mean_marks
from scenarios.figures.style import (
    GREY,
    INK,
    PERCENT_LIMITS,
    legend_above,
    legend_beside,
    marker_style,
    new_figure,
    seed_count,
    style_axes,
)

PALE = "#AAAAAA"  # the k%-learners in the background
ROWS = 12  # most rows in a column of the legend beside the panels


def matched_share_figure(matched: MatchedShares, *, title: str) -> Figure:
    """Policies compared with static k%-learners at equal shares learned.

    The left panel shows the share of the stream learned so far against the chunks seen: thin lines are single seeds,
    thick lines are means, pale lines are k%-learners. The right panel shows accuracy against that share at each
    evaluation of a policy, both as means over seeds. A larger marker is the end of the lifetime, and faint points are
    single seeds. Behind them are z (agent) and x (learner alone) of the k%-learners at the end of the lifetime.

    Args:
        matched: the policies and the k%-learners.
        title: title of the figure; the number of seeds is added.

    Returns:
        A figure of 12.5 x 5 inches with an Agg canvas; `figure_png` makes the file.

    Raises:
        ValueError: there are no policies.
    """
    if not matched.policies:
        raise ValueError("expected at least one policy, got none")
    n_seeds = len(matched.policies[0].courses)
    styles = {placed.policy: marker_style(i, edge_width=0.6) for i, placed in enumerate(matched.policies)}
    figure = new_figure(12.5, 5, textwrap.fill(f"{title} ({seed_count(n_seeds)})", 120))
    left, right = figure.subplots(1, 2)
    for axes, draw in ((left, _draw_learning), (right, _draw_accuracies)):
        keys = draw(axes, matched, styles)
        style_axes(axes)
        legend_above(axes, keys)
    policies = [
        Line2D([], [], markersize=6.5, label=textwrap.fill(policy, 36), **style) for policy, style in styles.items()
    ]
    legend_beside(figure, policies, title="policies", rows=ROWS, loc="outside right upper")
    return figure


def _draw_learning(axes: Axes, matched: MatchedShares, styles: dict[str, dict[str, Any]]) -> list[Line2D]:
    """Draw the share learned against the chunks seen; returns the legend entries."""
    axes.set_xlabel("chunks seen")
    axes.set_ylabel("share of the stream learned so far (%)")
    for courses in matched.statics.values():
        _draw_share(axes, mean_learned(courses), color=PALE, linewidth=0.8, zorder=1)
    n_seeds, n_chunks = len(matched.policies[0].courses), len(matched.policies[0].courses[0].learned)
    for placed in matched.policies:
        style, mean = styles[placed.policy], mean_learned(placed.courses)
        for course in placed.courses if n_seeds > 1 else ():
            _draw_share(axes, course.learned, color=style["color"], linewidth=0.7, alpha=0.3, zorder=2)
        _draw_share(axes, mean, color=style["color"], linewidth=1.6, zorder=3)
        axes.plot([n_chunks], [100 * mean[-1]], markersize=6.5, zorder=4, **style)
    axes.set_xlim(-0.03 * n_chunks, 1.03 * n_chunks)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_ylim(*PERCENT_LIMITS)
    axes.set_yticks(range(0, 101, 20))
    ks = ", ".join(f"{k:g}" for k in matched.statics)
    keys = [Line2D([], [], color=PALE, linewidth=0.8, label=textwrap.fill(f"static k%-learners, k = {ks}", 64))]
    if n_seeds > 1:
        label = "policies: means over seeds; thin and faint: single seeds"
        keys.append(Line2D([], [], color=INK, linewidth=1.6, label=label))
    return keys


def _draw_share(axes: Axes, learned: tuple[float, ...], **line: Any) -> None:
    """Draw the share learned in percent, from 0 at initialization on."""
    axes.plot(range(len(learned) + 1), [0.0, *(100 * share for share in learned)], **line)


def _draw_accuracies(axes: Axes, matched: MatchedShares, styles: dict[str, dict[str, Any]]) -> list[Line2D]:
    """Draw accuracy against the share learned; returns the legend entries."""
    axes.set_xlabel("share of the stream learned so far (%)")
    axes.set_ylabel("accuracy on the test set (%)")
    ends = [mean_marks(courses)[-1] for courses in matched.statics.values()]
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
            label="z: static k%-learners with their memory, at the end of the lifetime",
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
        learned, accuracy = [100 * mark.learned for mark in marks], [100 * mark.agent for mark in marks]
        axes.plot(learned, accuracy, linewidth=1.2, alpha=0.8, markersize=3, zorder=3, **style)
        axes.plot(learned[-1:], accuracy[-1:], markersize=8, zorder=4, **style)
        if len(placed.courses) > 1:
            ends = [course.end for course in placed.courses]
            learned, accuracy = [100 * end.learned for end in ends], [100 * end.agent for end in ends]
            faint = {"color": style["color"], "alpha": 0.4, "zorder": 2}
            axes.plot(learned, accuracy, ".", markersize=6, markeredgewidth=0, **faint)
    several = any(len(course.marks) > 1 for placed in matched.policies for course in placed.courses)
    label = "small marks on the way, large at the end" if several else "only at the end of the lifetime"
    label += "; faint: single seeds" if len(matched.policies[0].courses) > 1 else ""
    keys.append(Line2D([], [], color=GREY, linestyle="none", marker="o", markersize=6.5, label=f"policies: {label}"))
    axes.set_xlim(*PERCENT_LIMITS)
    axes.set_xticks(range(0, 101, 20))
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, -1.5), min(top, 101.5))
    return keys
