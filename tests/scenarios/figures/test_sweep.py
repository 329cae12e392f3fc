"""The figure of a sweep: a panel for each world, and one marker for a method in all of them."""

import numpy as np
import pytest

from scenarios.analysis.comparison import compare
from scenarios.figures.pareto import pareto_figure
from scenarios.figures.style import figure_png
from scenarios.figures.sweep import MOST_PANELS, sweep_figure
from tests.scenarios.figures.legible import assert_legible, each_of
from tests.scenarios.figures.test_pareto import made_up, undefined

USUAL = {"cost": "total_gflop", "accuracy": "final_accuracy", "unit": "GFLOP", "title": "CIFAR-10 (JPEG)"}
LONG = "scenario recurring:experiences=5,visits=2, tariff random-walk:volatility=0.3"


def panels(n, methods=5, **made):
    return [(f"scenario drift:strength=0.{i}", compare(made_up(methods, spread=10 + i, **made))) for i in range(n)]


CASES = {
    "two": panels(2),
    "three": panels(3),
    "four": panels(4),
    "nine": panels(9, methods=12),
    "many": panels(MOST_PANELS + 3),
    "one seed": panels(2, seeds=1),
    "long titles": [(LONG, compare(made_up(4))), (f"{LONG}, chunks 100", compare(made_up(4, noise=0.1)))],
    "undefined": [("a", compare([*made_up(2), undefined("never:defined")])), ("b", compare(made_up(2)))],
}


@pytest.mark.parametrize("case", each_of(CASES))
def test_no_text_covers_another_or_leaves_the_figure(case):
    assert_legible(sweep_figure(case, **USUAL))


def test_each_world_has_a_panel_and_each_method_one_marker():
    figure = sweep_figure(CASES["three"], **USUAL)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title().replace("\n", " ") for axes in shown] == [
        f"{name} (5 seeds)" for name, _ in CASES["three"]
    ]
    looks = {}
    for axes, (_, comparison) in zip(shown, CASES["three"], strict=True):
        labels = {each.label: each.means for each in comparison.schedules}
        lines = {line.get_label(): line for line in axes.lines if line.get_label() in labels}
        assert lines.keys() == labels.keys()
        for label, line in lines.items():
            x, y = labels[label]["total_gflop"].estimate, 100 * labels[label]["final_accuracy"].estimate
            np.testing.assert_allclose(line.get_xydata(), [[x, y]])
            looks.setdefault(label, set()).add((line.get_color(), line.get_marker()))
    assert all(len(found) == 1 for found in looks.values())
    assert len({look for found in looks.values() for look in found}) == len(looks)


def test_of_many_worlds_the_first_are_drawn_and_the_title_says_so():
    figure = sweep_figure(CASES["many"], **USUAL)
    assert sum(axes.get_visible() for axes in figure.axes) == MOST_PANELS
    assert f"the first {MOST_PANELS} of {MOST_PANELS + 3} worlds" in figure.get_suptitle()


def test_one_world_is_drawn_as_a_comparison():
    comparison = compare(made_up(4))
    alone = pareto_figure(comparison, **{**USUAL, "title": "CIFAR-10 (JPEG), scenario iid"})
    assert figure_png(sweep_figure([("scenario iid", comparison)], **USUAL)) == figure_png(alone)
