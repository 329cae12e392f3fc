"""The figure of policies among k%-learners in every odd case: what it shows, and that no text covers another."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

from scenarios.analysis.matched_share import Course, Mark, mean_marks, place
from scenarios.figures.matched_share import matched_share_figure
from scenarios.figures.style import figure_png
from tests.scenarios.figures.legible import assert_legible, each_of
from tests.scenarios.figures.test_pareto import NAMES


def lived(share, seeds, *, n_chunks=20, every=5, spread=0.1):
    """Courses that learn about a share of the chunks by lot, and are the better for it."""
    generator = np.random.default_rng(round(1000 * share) + seeds)
    courses = []
    for _ in range(seeds):
        rate = np.clip(share + spread * generator.standard_normal(), 0, 1)
        learned = np.cumsum(generator.random(n_chunks) < rate) / n_chunks
        chunks = [*range(every, n_chunks, every), n_chunks] if every else [n_chunks]
        accuracy = 0.1 + 0.6 * learned**0.5
        marks = [Mark(n, float(learned[n - 1]), float(accuracy[n - 1]), 0.9 * float(accuracy[n - 1])) for n in chunks]
        courses.append(Course(tuple(map(float, learned)), tuple(marks), 10.0))
    return courses


def made_up(n, seeds=5, ks=(20, 40, 60, 80, 100), **how):
    def static(k):
        n_chunks = how.get("n_chunks", 20)
        learned = tuple(min(i + 1, k / 100 * n_chunks) / n_chunks for i in range(n_chunks))
        accuracy = 0.15 + 0.6 * (k / 100) ** 0.5
        return [Course(learned, (Mark(n_chunks, k / 100, accuracy, accuracy - 0.05 * (k < 100)),), 10.0)] * seeds

    policies = {NAMES[-i - 1]: lived((i + 0.5) / n, seeds, **how) for i in range(n)}
    return place({k: static(k) for k in ks}, policies, 0.95)


CASES = {
    "usual": made_up(4),
    "one policy": made_up(1),
    "one seed": made_up(3, seeds=1),
    "fifteen": made_up(15),
    "only ends": made_up(4, every=0),
    "only ends, one seed": made_up(2, seeds=1, every=0),
    "one k": made_up(2, ks=(100,)),
    "twenty-one k's": made_up(3, ks=tuple(range(0, 101, 5))),
    "one chunk": made_up(2, n_chunks=1, ks=(0, 100)),
    "many chunks": made_up(3, n_chunks=1000, every=50),
}


def draw(case, **settings):
    return matched_share_figure(case, **({"title": "CIFAR-10, online"} | settings))


def drawn(axes):
    """What every line of a panel goes through."""
    return [np.array(line.get_xydata(), dtype=float) for line in axes.lines]


def shows(axes, points):
    return any(line.shape == np.shape(points) and np.allclose(line, points) for line in drawn(axes))


@pytest.mark.parametrize("case", each_of(CASES))
def test_no_text_covers_another_or_leaves_the_figure(case):
    figure = draw(case)
    assert_legible(figure)
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    for text, axes in itertools.product([text for legend in legends for text in legend.get_texts()], figure.axes):
        assert not text.get_window_extent().overlaps(axes.get_window_extent()), "the legend covers data"
    assert all(axes.get_window_extent().width > 0.25 * figure.bbox.width for axes in figure.axes)


@pytest.mark.parametrize("case", each_of(CASES))
def test_every_policy_is_drawn_within_the_panels(case):
    left, right = draw(case).axes
    for placed in case.policies:
        learned = np.mean([course.learned for course in placed.courses], axis=0)
        assert shows(left, np.column_stack([range(len(learned) + 1), [0, *(100 * learned)]]))
        path = [(100 * mark.learned, 100 * mark.agent) for mark in mean_marks(placed.courses)]
        assert shows(right, path)
        assert shows(right, path[-1:])
        if len(placed.courses) > 1:
            assert shows(right, [(100 * course.end.learned, 100 * course.end.agent) for course in placed.courses])
    for axes in (left, right):
        for x, y in np.concatenate(drawn(axes)):
            assert axes.get_xlim()[0] < x < axes.get_xlim()[1]
            assert axes.get_ylim()[0] < y < axes.get_ylim()[1]


def test_the_static_frontier_is_behind_with_and_without_memory():
    _, right = draw(CASES["usual"]).axes
    ks = [20, 40, 60, 80, 100]
    ends = [CASES["usual"].statics[k][0].end for k in ks]
    for name, label in (("agent", "z: "), ("learner", "x: ")):
        [line] = [line for line in right.lines if str(line.get_label()).startswith(label)]
        assert line.get_xdata() == pytest.approx(ks)
        assert line.get_ydata() == pytest.approx([100 * getattr(end, name) for end in ends])
        assert line.get_zorder() == 1


@pytest.mark.parametrize("case", each_of(CASES))
def test_axes_have_units(case):
    left, right = draw(case).axes
    assert left.get_xlabel() == "chunks seen"
    assert left.get_ylabel() == right.get_xlabel() == "share of the stream learned so far (%)"
    assert right.get_ylabel() == "accuracy on the test set (%)"
    assert all(float(tick).is_integer() for tick in left.get_xticks())


def test_the_legend_names_the_policies_and_says_what_is_not_drawn():
    figure = draw(CASES["usual"])
    names = [text.get_text().replace("\n", " ") for text in figure.legends[0].get_texts()]
    assert names == [placed.policy for placed in CASES["usual"].policies]

    def told(name):
        return " ".join(t.get_text() for axes in draw(CASES[name]).axes for t in axes.get_legend().get_texts())

    assert "small marks on the way" in told("usual")
    assert "only at the end of the lifetime" in told("only ends")
    assert "single seeds" in told("usual")
    assert "single seeds" not in told("one seed")


def test_the_title_counts_seeds_and_takes_dollars():
    assert draw(CASES["one seed"], title="my $images_1$").get_suptitle() == "my $images_1$ (1 seed)"
    assert draw(CASES["usual"]).get_suptitle() == "CIFAR-10, online (5 seeds)"


def test_bytes_repeat():
    assert figure_png(draw(CASES["usual"])) == figure_png(draw(CASES["usual"]))
    assert tuple(draw(CASES["usual"]).bbox.size) == (1875, 750)


def test_no_policies_are_an_error():
    with pytest.raises(ValueError, match="expected at least one policy, got none"):
        draw(place(CASES["usual"].statics, {}, 0.95))


@pytest.mark.slow
def test_pyplot_and_its_global_state_stay_out():
    code = "import sys, scenarios.figures.matched_share; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
