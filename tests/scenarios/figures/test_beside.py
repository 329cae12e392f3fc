"""The figure of different learners beside each other."""

import numpy as np
import pytest

from scenarios.analysis.statistics import CurvePoint
from scenarios.figures.beside import beside_figure
from scenarios.figures.style import marker_style
from tests.scenarios.figures.legible import assert_legible

KS = (10, 40, 60, 90)


def curves(n, *, ks=range(10, 100, 10), n_seeds=4, gains=(), label="network {}"):
    """Curves of n learners, the weakest first; `gains` are what memorizing gains of what learning does, by learner."""
    generator = np.random.default_rng(0)
    found = {}
    for i in range(n):
        level = 0.4 + 0.5 * i / max(n - 1, 1)
        gain = dict(enumerate(gains)).get(i, 0.5)
        y = level + 0.002 * generator.standard_normal(n_seeds)
        points = []
        for k in ks:
            x = y * (0.5 + 0.005 * k) + 0.001 * generator.standard_normal(n_seeds)
            z = x + gain * (y - x) * (1 + 0.1 * generator.standard_normal(n_seeds))
            points.append(CurvePoint(k, tuple(x), tuple(y), tuple(z)))
        found[label.format(i)] = points
    return found


def draw(measured, ks=KS):
    return beside_figure(measured, ks, dataset="CIFAR-10")


def through(axes, n):
    """The lines through n ratios, without markers: heights by line."""
    found = [line for line in axes.get_lines() if line.get_linestyle() != "None" and line.get_marker() == "None"]
    return [line for line in found if len(line.get_xdata()) == n and line.get_zorder() == 2]


def test_both_panels_show_R_of_each_learner():
    measured = curves(3)
    left, right = draw(measured).axes
    ratios = {label: {at.k: at.statistics().R.estimate for at in points} for label, points in measured.items()}
    assert [list(line.get_ydata()) for line in through(left, 9)] == [list(of.values()) for of in ratios.values()]
    against_y = through(right, 3)
    assert [list(line.get_ydata()) for line in against_y] == [[of[k] for of in ratios.values()] for k in KS]
    strengths = [100 * np.mean(points[0].y) for points in measured.values()]
    for line in against_y:
        np.testing.assert_allclose(line.get_xdata(), strengths, atol=0.03 * (strengths[-1] - strengths[0]))
    assert len({line.get_linestyle() for line in against_y}) > 1
    assert left.get_ylim() == right.get_ylim()
    assert right.get_xlabel() == "accuracy of the 100%-learner, y (%)"


def test_lines_against_y_go_from_the_weakest_learner_to_the_strongest():
    measured = dict(reversed(curves(4).items()))
    for line in through(draw(measured).axes[1], 4):
        assert list(line.get_xdata()) == sorted(line.get_xdata())


def test_a_learner_has_its_colour_and_marker_in_both_panels():
    for axes, n in zip(draw(curves(3)).axes, (9, 4), strict=True):
        for i in range(3):
            style = marker_style(i, edge_width=0.8)
            marked = [line for line in axes.get_lines() if line.get_marker() == style["marker"]]
            assert len(marked) == n
            assert {line.get_color() for line in marked} == {style["color"]}


def test_bars_are_the_intervals():
    measured = curves(2)
    left = draw(measured).axes[0]
    ratio = measured["network 1"][0].statistics().R
    bars = [list(line.get_ydata()) for line in left.get_lines() if len(line.get_xdata()) == 2]
    assert [ratio.low, ratio.high] in bars


@pytest.mark.parametrize(
    ("measured", "n_left", "n_right"), [(curves(3, gains=(0.5, 0.0)), 9, 4), (curves(2, n_seeds=1), 18, 8)]
)
def test_undetermined_ratios_are_hollow_in_a_strip(measured, n_left, n_right):
    figure = draw(measured)
    for axes, n in zip(figure.axes, (n_left, n_right), strict=True):
        hollow = [line for line in axes.get_lines() if line.get_markerfacecolor() == "white"]
        assert len(hollow) == n
        assert all(line.get_transform() == axes.get_xaxis_transform() for line in hollow)
        assert len(axes.patches) == 1
    [legend] = figure.legends
    assert any("R undetermined" in text.get_text() for text in legend.get_texts())
    assert_legible(figure)


def test_no_strip_where_all_is_determined():
    figure = draw(curves(3))
    assert not any(axes.patches for axes in figure.axes)
    assert not any("undetermined" in text.get_text() for text in figure.legends[0].get_texts())


def test_no_common_k_is_said():
    right = draw(curves(2), ()).axes[1]
    assert [text.get_text() for text in right.texts] == ["no k is in all curves"]
    with pytest.raises(ValueError, match="expected up to 4 k's, got 5"):
        draw(curves(2), (10, 20, 30, 40, 50))


@pytest.mark.parametrize(
    "measured",
    [
        curves(2),
        curves(5, gains=(0.5, 0.01)),
        curves(12, label="efficientnet-lite0:side={} sgd:lr=0.05,momentum=0.9 keys=features"),
        curves(2, label="a network of {} places " + "with settings " * 9),
        curves(2, ks=(40, 90, 100)),
    ],
)
def test_beside_is_legible(measured):
    ks = tuple(k for k in KS if k in {at.k for points in measured.values() for at in points})
    figure = draw(measured, ks)
    assert_legible(figure)
    [legend] = figure.legends
    named = " ".join(" ".join(text.get_text() for text in legend.get_texts()).split())
    assert all(" ".join(label.split()) in named for label in measured)
    panels = [axes.get_window_extent() for axes in figure.axes]
    assert min(panel.width for panel in panels) > 0.35 * figure.bbox.width
    assert all(not legend.get_window_extent().overlaps(panel) for panel in panels)
