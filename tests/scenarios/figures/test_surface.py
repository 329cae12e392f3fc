"""The figure of the surface, in odd cases, without text that covers another."""

import numpy as np
import pytest

from scenarios.analysis.statistics import relative_value
from scenarios.figures.style import figure_png
from scenarios.figures.surface import surface_figure
from tests.scenarios.figures.legible import assert_legible, each_of


def surface(shares, n_train, n_seeds, gain=0.1, noise=0.002):
    generator = np.random.default_rng(n_seeds)
    x = {share: np.clip(0.4 + 0.5 * share / 100 + noise * generator.standard_normal(n_seeds), 0, 1) for share in shares}
    return {
        (n_train * learned // 100, n_train * passed // 100): relative_value(
            x[learned],
            x[passed],
            np.clip(x[learned] + gain * (x[passed] - x[learned]) + noise * generator.standard_normal(n_seeds), 0, 1),
        )
        for passed in shares
        for learned in shares
        if learned < passed
    }


CASES = {
    "usual": surface(range(10, 101, 10), 45_000, 3),
    "few": surface([50, 100], 1000, 5),
    "one seed": surface([20, 40, 100], 1000, 1),
    "memory of no use": surface([20, 40, 60, 100], 1000, 4, gain=0.0),
    "memory that harms": surface([20, 40, 60, 100], 1000, 4, gain=-0.5, noise=0.0),
    "with 0": surface([0, 50, 100], 200_000, 4),
}


@pytest.mark.parametrize("case", each_of(CASES))
def test_the_surface_is_legible(case):
    figure = surface_figure(case, dataset="CIFAR-10", learner="cooldown")
    assert_legible(figure)
    assert figure_png(figure).startswith(b"\x89PNG")


def test_lines_of_the_surface_are_the_ratios():
    case = CASES["usual"]
    figure = surface_figure(case, dataset="CIFAR-10", learner="cooldown")
    upper, lower = figure.axes[0], figure.axes[2]
    for axes, name in ((upper, "R"), (lower, "share")):
        lines = {line.get_label(): line for line in axes.get_lines()}
        drawn = lines["45,000"].get_ydata()
        wanted = [getattr(case[(4500 * i, 45_000)], name).estimate for i in range(1, 10)]
        np.testing.assert_allclose(drawn, [np.nan if each is None else each for each in wanted])
    by_k = {line.get_label(): line for line in figure.axes[1].get_lines()}
    assert len(by_k["50"].get_xdata()) == 5  # halves of 20, 40, 60, 80 and 100% of the images
