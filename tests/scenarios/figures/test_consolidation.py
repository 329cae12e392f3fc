"""The figure of what consolidating is worth, in odd cases, without text that covers another."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from scenarios.analysis.statistics import Interval
from scenarios.figures.consolidation import WorthPanel, consolidation_figure
from scenarios.figures.style import figure_png
from tests.scenarios.figures.legible import assert_legible, each_of

PRICES = np.geomspace(0.2, 40, 61)


def worth(seed=0, *, intervals=True):
    draw = np.random.default_rng(seed)
    means = 2 * np.exp(-np.linspace(0, 3, 61)) + 0.2 * draw.standard_normal(61)
    return [Interval(each, each - 1, each + 1) if intervals else Interval(each, None, None) for each in means.tolist()]


def panel(memory="cache", *, n=6, flat=True, intervals=True, prices=PRICES, letters="CLM"):
    """Schedules that change one chunk after another."""
    best = [
        "".join(letters[min(2, max(0, (3 * i + 5 * chunk) // 61 - chunk % 2))] for chunk in range(n)) for i in range(61)
    ]
    return WorthPanel(memory, prices, worth(intervals=intervals), worth(1, intervals=intervals) if flat else None, best)


LONG = "a memory with a long label, of three places of the network, number"
CASES = {
    "one memory": ([panel()], {}),
    "three memories": ([panel(f"{LONG} {i}") for i in range(3)], {}),
    "one seed": ([panel(intervals=False, flat=False)], {"n_seeds": 1}),
    "euro": ([panel(prices=1e9 * PRICES), panel("ridge", prices=3e9 * PRICES)], {"unit": "EUR", "cost": "cloud"}),
    "eight chunks": ([panel(n=8), panel("ridge", n=8)], {}),
    "one chunk": ([panel(n=1)], {}),
    "a wide range": ([panel(prices=np.geomspace(1e-7, 1e5, 61))], {}),
    "a narrow range": ([panel(prices=np.geomspace(1.1, 9.9, 61), letters="CCC")], {}),
}


def drawn(panels, *, cost="flops", unit="GFLOP", n_seeds=3):
    chunk_prices = np.array([2.0, 0.5] * 4)[: len(panels[0].best[0])]
    title = "CIFAR-10, iid, day-night:period=6,day=2,night=0.5 tariff"
    return consolidation_figure(panels, chunk_prices, cost=cost, unit=unit, title=title, n_seeds=n_seeds)


@pytest.mark.parametrize("case", each_of(CASES))
def test_it_is_legible(case):
    panels, given = case
    figure = drawn(panels, **given)
    assert_legible(figure)
    assert figure_png(figure).startswith(b"\x89PNG")


def test_lines_and_rows_are_those_of_the_findings():
    shown = panel(n=2)
    before = shown.prices.copy()
    figure = drawn([shown] * 5)
    assert len(figure.axes) == 6
    np.testing.assert_array_equal(shown.prices, before)
    upper, lower = figure.axes[0], figure.axes[3]
    lines = [line for line in upper.get_lines() if len(line.get_xdata()) == 61]
    assert [line.get_ydata().tolist() for line in lines] == [
        [each.estimate for each in of] for of in (shown.flat, shown.given)
    ]
    np.testing.assert_allclose(lines[0].get_xdata(), PRICES)  # a GFLOP is the unit nearest to 1
    np.testing.assert_allclose(lower.get_xlim(), upper.get_xlim())
    np.testing.assert_allclose(lower.get_xlim(), PRICES[[0, -1]])
    assert [text.get_text() for text in lower.get_yticklabels()] == ["1  ×2", "2  ×0.5"]
    assert lower.yaxis_inverted()
    tints = {text.get_text()[0]: patch.get_facecolor()[:3] for text, patch in legend_patches(figure)}
    assert len(set(tints.values())) == 3
    bars = list(lower.patches)
    for row in (0, 1):
        ends = sorted(
            (bar.get_x(), bar.get_x() + bar.get_width(), to_rgb(bar.get_facecolor()))
            for bar in bars
            if round(bar.get_y() + bar.get_height() / 2) == row
        )
        for price, schedule in zip(PRICES[1:-1], shown.best[1:-1], strict=True):
            [tint] = [color for start, end, color in ends if start <= price < end]
            assert tint == tints[schedule[row]]


def legend_patches(figure):
    legend = figure.legends[0]
    patches = legend.get_patches()
    return list(zip(legend.get_texts()[-len(patches) :], patches, strict=True))


def test_the_unit_has_the_prefix_of_the_prices():
    [*_, lower] = drawn([panel(prices=1e-3 * PRICES)]).axes
    assert lower.get_xlabel() == "price by flops (points of accuracy per TFLOP)"
    np.testing.assert_allclose(lower.get_xlim(), PRICES[[0, -1]])
