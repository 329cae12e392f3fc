"""Worlds without a data set, and runs without figures."""

import pytest
from matplotlib.figure import Figure

from scenarios.figures.style import figure_png
from scenarios.running import results
from tests.scenarios.tables import planted, synthetic


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """Four schedule tables of three chunks."""
    return planted(tmp_path_factory.mktemp("trees"), [synthetic(seed, 3, cost_weight=0.01) for seed in range(4)])


def draw_nothing(patch):
    empty = figure_png(Figure(figsize=(1, 1)))
    patch.setattr(results, "figure_png", lambda figure: empty)


@pytest.fixture
def undrawn(monkeypatch):
    """Every figure of a run in this process is a small empty one: drawing takes longer than a short life."""
    draw_nothing(monkeypatch)


@pytest.fixture(scope="module")
def undrawn_module():
    """The same for the rest of a module."""
    with pytest.MonkeyPatch.context() as patch:
        draw_nothing(patch)
        yield
