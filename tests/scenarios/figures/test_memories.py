"""The figures of memories, in odd cases, without text that covers another."""

import numpy as np
import pytest

from scenarios.analysis.statistics import CurvePoint
from scenarios.figures.memories import About, MemoryAt, memories_figure, strength_figure
from scenarios.figures.style import figure_png
from tests.scenarios.figures.legible import assert_legible

ABOUT = About("CIFAR-10", "cooldown")


def memories(n_memories, ks=(20, 50, 80), n_seeds=3, gain=0.01):
    generator = np.random.default_rng(0)
    found = {}
    for i in range(n_memories):
        x = {k: 0.4 + 0.005 * k + 0.002 * generator.standard_normal(n_seeds) for k in ks}
        found[f"a memory with a long label, number {i}, of three places"] = [
            MemoryAt(
                CurvePoint(k, tuple(x[k]), (0.95,) * n_seeds, tuple(np.clip(x[k] + gain * (i + 1), 0, 1))),
                megabytes=(i + 1) * (100 - k) / 10,
                recall_mflop=10.0 ** (i % 5) * (100 - k),
                accuracy=None if k == 100 else 0.3 + 0.02 * i,
            )
            for k in ks
        ]
    return found


@pytest.mark.parametrize("draw", [memories_figure, strength_figure])
@pytest.mark.parametrize("n_memories", [1, 8, pytest.param(24, marks=pytest.mark.slow)])
def test_memories_are_legible(draw, n_memories):
    figure = draw(memories(n_memories), ABOUT)
    assert_legible(figure)
    [legend] = figure.legends
    named = [text.get_text() for text in legend.get_texts()]
    assert len([each for each in named if each.startswith("a memory")]) == n_memories
    panels = [axes.get_window_extent() for axes in figure.axes]
    assert min(panel.width for panel in panels) > 0.2 * figure.bbox.width
    assert all(not legend.get_window_extent().overlaps(panel) for panel in panels)


@pytest.mark.parametrize("draw", [memories_figure, strength_figure])
@pytest.mark.parametrize(
    "case", [memories(2, n_seeds=1), memories(2, gain=0.0), memories(2, ks=(50, 100)), memories(2, ks=(100,))]
)
def test_what_is_undetermined_or_empty_is_left_out(draw, case):
    assert figure_png(draw(case, ABOUT)).startswith(b"\x89PNG")


def test_steps_join_the_best_within_each_size():
    case = memories(3, ks=(20,))
    by_bytes = strength_figure(case, ABOUT).axes[4]
    [steps] = [line for line in by_bytes.get_lines() if line.get_drawstyle() == "steps-post"]
    shares = [of[0].point.statistics().share.estimate for of in case.values()]
    assert list(steps.get_xdata()) == pytest.approx([8, 16, 24, 24])
    assert list(steps.get_ydata()) == pytest.approx([*shares, shares[-1]])


def test_bytes_and_recall_are_beside_the_ratios():
    case = memories(2)
    beside = memories_figure(case, ABOUT).axes[2]
    for line, of_memory in zip(beside.get_lines(), case.values(), strict=True):
        assert list(line.get_xdata()) == [at.megabytes for at in of_memory]
        assert list(line.get_ydata()) == [at.recall_mflop for at in of_memory]
    assert beside.get_xlabel().startswith("memory (MB)")
    assert beside.get_ylabel() == "recall for each of 10,000 queries (MFLOP)"
