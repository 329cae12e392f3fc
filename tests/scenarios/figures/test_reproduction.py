"""The figure of a reproduction: ours and the published figure, with both spreads."""

import numpy as np
import pytest

from scenarios.analysis.published import Runs, beside_published
from scenarios.figures.reproduction import reproduction_figure
from scenarios.figures.style import BLUE, VERMILION, figure_png
from tests.scenarios.figures.legible import assert_legible, each_of


def beside(label, values, published, comparable=True, **given):
    return beside_published(label, values, published, comparable=comparable, **given)


ER = beside("er", [0.236, 0.251, 0.229], Runs(0.246, 0.02, 3, (0.2302, 0.2382, 0.2688)))
ACE = beside("er-ace", [0.43, 0.45, 0.46], Runs(0.447, 0.015, 3))
CASES = {
    "two": [ER, ACE],
    "one seed": [beside("er", [0.2], Runs(0.3, None, 1)), beside("er-ace", [0.5], None)],
    "many": [beside(f"a method of number {i}", [0.1 * i, 0.1 * i + 0.02], Runs(0.5, 0.01, 3)) for i in range(8)],
    "near the ends": [beside("er", [0.0, 0.02], Runs(0.99, 0.02, 3)), beside("er-ace", [1.0, 0.97], None)],
    "two metrics": [ER, beside("er", [0.44, 0.45], Runs(0.449, 0.009, 5), metric="linear_probe")],
    "long label": [beside("a label that is much longer than any label should be", [0.1, 0.2], None)],
}


GAINS = [
    beside("er-ace over er", [0.19, 0.20, 0.23], Runs(0.2, None, 1)),
    beside("er over a label that is longer than any should be", [-0.01, 0.02], None),
]


@pytest.mark.parametrize("gains", [GAINS[:1], GAINS], ids=["one gain", "two gains"])
@pytest.mark.parametrize("case", each_of({name: CASES[name] for name in ("two", "many")}))
def test_gains_stand_below(case, gains):
    figure = reproduction_figure(case, gains=gains, title="a title", short=True)
    assert_legible(figure)
    of_methods, of_gains = figure.axes
    assert of_methods.get_xlabel() == "accuracy (%)"
    assert of_gains.get_xlabel() == "gain (percentage points)"
    means = [line.get_xdata()[0] for line in of_gains.lines if line.get_markersize() == 7 and line.get_marker() == "o"]
    np.testing.assert_allclose(means, [100 * each.ours.mean for each in gains])
    published = [line.get_xdata()[0] for line in of_gains.lines if line.get_marker() == "s"]
    np.testing.assert_allclose(published, [20.0])
    ends = [100 * gains[-1].interval.low, 100 * gains[-1].interval.high]  # below 0, and not clipped
    assert any(np.allclose(line.get_xdata(), ends) for line in of_gains.lines if len(line.get_xdata()) == 2)


@pytest.mark.parametrize(("gains", "shown"), [(GAINS[1:], False), (GAINS, True)])
def test_the_legend_has_a_published_figure_only_where_there_is_one(gains, shown):
    axes, _ = reproduction_figure(CASES["long label"], gains=gains, title="t").axes
    assert ("published" in [text.get_text() for text in axes.get_legend().get_texts()]) == shown


@pytest.mark.parametrize("case", each_of(CASES))
def test_no_text_covers_another_or_leaves_the_figure(case):
    title = "er-cifar10-20 on folder:/somewhere/cifar10-jpeg, shortened (3 seeds)"
    assert_legible(reproduction_figure(case, title=title, short=True))


def test_each_method_has_both_means_both_deviations_and_every_run():
    [axes] = reproduction_figure([ER, ACE], title="t").axes
    means = {line.get_color(): [] for line in axes.lines}
    for line in axes.lines:
        if line.get_markersize() == 7 and line.get_marker() in "os":
            means[line.get_color()].append(float(line.get_xdata()[0]))
    np.testing.assert_allclose(means[BLUE], [100 * ER.ours.mean, 100 * ACE.ours.mean])
    np.testing.assert_allclose(means[VERMILION], [24.6, 44.7])
    spreads = [line.get_xdata() for line in axes.lines if line.get_color() == VERMILION and len(line.get_xdata()) == 2]
    np.testing.assert_allclose(spreads, [[22.6, 26.6], [43.2, 46.2]])
    dots = [len(line.get_xdata()) for line in axes.lines if line.get_markersize() == 3]
    assert dots == [3, 3, 3, 0]


def test_the_same_results_give_the_same_bytes():
    one, other = (figure_png(reproduction_figure([ER, ACE], title="t")) for _ in range(2))
    assert one == other
