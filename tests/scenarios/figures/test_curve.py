"""The curve's figure in every odd case: what it shows, what it refuses to show, and that no text covers another."""

import subprocess
import sys

import numpy as np
import pytest

from scenarios.analysis.statistics import CurvePoint
from scenarios.figures.curve import curve_figure
from scenarios.figures.style import figure_png
from tests.scenarios.figures.legible import assert_legible, each_of, texts


def points(ks, n, memory_gain=0.09, noise=0.006, warm_start=False):
    """Made-up seeds: x rises with k towards y = 0.84, z is x and a gain that shrinks with k."""
    generator = np.random.default_rng(len(ks) * 100 + n)
    y = 0.84 + noise * generator.standard_normal(n)
    made = []
    for k in ks:
        x = 0.1 + 0.74 * k / 100 + noise * generator.standard_normal(n)
        z = x + memory_gain * (1 - k / 100) + noise / 2 * generator.standard_normal(n)
        own_y = y - 0.02 + noise * generator.standard_normal(n) if warm_start else y
        made.append(CurvePoint(k, *(tuple(np.clip(values, 0, 1)) for values in (x, own_y, z))))
    return made


# 12.706 is t for two seeds at 95%: z - x of 0.05 and 0.02 are told from 0 by a hair, so that R reaches far.
WIDE = [
    CurvePoint(20, (0.3, 0.3), (0.6, 0.6), (0.45, 0.44)),
    CurvePoint(60, (0.5, 0.5), (0.6, 0.62), (0.55 + 0.05 / 12.8, 0.55 - 0.05 / 12.8)),
    CurvePoint(80, (0.6, 0.6), (0.64, 0.60), (0.62 + 0.02 / 13, 0.62 - 0.02 / 13)),
]
CASES = {
    "usual": points([10, 20, 40, 60, 80], 5),
    "one k": points([40], 5),
    "two k's, two seeds": points([20, 60], 2),
    "twenty k's, ends included": points(list(range(0, 101, 5)), 8),
    "one seed": points([10, 40, 80], 1),
    "memory of no use": points([10, 50, 90], 3, memory_gain=0.0),
    "memory that harms": points([0, 10, 50, 90], 5, memory_gain=-0.03),
    "warm start": points([10, 30, 50], 5, warm_start=True),
    "wide intervals": WIDE,
    "both reasons, unequal seeds": [*WIDE, *points([40], 1), *points([90], 3, memory_gain=0.0)],
    "nothing varies": [CurvePoint(50, (0.5, 0.5), (0.75, 0.75), (0.625, 0.625))],
    "perfect": [CurvePoint(100, (1.0, 1.0), (1.0, 1.0), (1.0, 1.0))],
}


def draw(case, **settings):
    return curve_figure(case, **({"dataset": "CIFAR-10", "learner": "refit"} | settings))


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.mark.parametrize("case", each_of(CASES))
def test_no_text_covers_another_or_leaves_the_figure(case):
    figure = draw(case)
    assert_legible(figure)
    for axes in figure.axes:
        for _, box in ((text, text.get_window_extent()) for text in axes.get_legend().get_texts()):
            assert not box.overlaps(axes.get_window_extent()), "the legend covers data"


@pytest.mark.parametrize("case", each_of(CASES))
def test_axes_have_units_the_line_of_equal_value_and_room_for_every_estimate(case):
    left, _, right = draw(case).axes
    assert left.get_xlabel() == right.get_xlabel() == "data used for learning, k (%)"
    assert "R = (y − x) / (z − x)" in left.get_ylabel()
    assert right.get_ylabel() == "accuracy (%)"
    assert any(line.get_label() == "R = 1: memorizing as good as learning" for line in left.lines)
    low, high = left.get_ylim()
    estimates = [point.statistics().R.estimate for point in case]
    assert all(low < value < high for value in [1, *(each for each in estimates if each is not None)])
    ticks = [tick for tick in left.get_yticks() if low <= tick <= high]
    assert 3 <= len(ticks) <= 16
    assert 1 in ticks


@pytest.mark.parametrize("case", each_of(CASES))
def test_every_k_is_either_a_number_or_marked_as_undetermined(case):
    left, _, _ = draw(case).axes
    ks = {"R, with": [], "R undetermined": []}
    for line in left.lines:
        for start, found in ks.items():
            if str(line.get_label()).startswith(start):
                found += list(line.get_xdata())
    determined = [point.k for point in case if point.statistics().R.estimate is not None]
    assert sorted(ks["R, with"]) == sorted(determined)
    assert sorted(ks["R undetermined"]) == sorted({point.k for point in case} - set(determined))


def test_each_reason_has_its_mark():
    left, _, _ = draw(CASES["both reasons, unequal seeds"]).axes
    undetermined = [line for line in left.lines if str(line.get_label()).startswith("R undetermined")]
    assert [line.get_label() for line in undetermined] == [
        "R undetermined: an interval needs at least two seeds",
        "R undetermined: z − x cannot be told from 0 at 95%\nconfidence",
    ]
    assert len({line.get_marker() for line in undetermined}) == 2


@pytest.mark.parametrize("case", each_of(CASES))
def test_the_middle_panel_holds_each_share_with_its_interval_or_a_gap(case):
    _, middle, _ = draw(case).axes
    assert "1 / R = (z − x) / (y − x)" in middle.get_ylabel()
    shares = {point.k: point.statistics().share for point in case}
    found = {}
    for line in middle.lines:
        if str(line.get_label()).startswith("1/R, with"):
            found |= dict(zip(line.get_xdata(), line.get_ydata(), strict=True))
    assert found == pytest.approx({k: share.estimate for k, share in shares.items() if share.estimate is not None})
    low, high = middle.get_ylim()
    assert all(low < value < high for value in [0, *found.values()])
    entries = " ".join(entry.replace("\n", " ") for entry in legend(middle))
    assert all(f"gap: 1/R undetermined: {share.reason}" in entries for share in shares.values() if share.reason)


def test_an_interval_beyond_the_panel_ends_in_an_arrow():
    figure = draw(WIDE)
    left, _, _ = figure.axes
    assert legend(left).count("interval goes on beyond the panel") == 1
    assert {line.get_marker() for line in left.lines} >= {"^"}
    highest = max(point.statistics().R.high for point in WIDE)
    assert left.get_ylim()[1] < highest
    assert "interval goes on beyond the panel" not in legend(draw(CASES["usual"]).axes[0])


def test_the_right_panel_holds_means_seeds_and_the_level_of_y():
    case = CASES["usual"]
    _, _, right = draw(case).axes
    by_label = {line.get_label(): line for line in right.lines}
    assert by_label["x: learner alone after k%"].get_ydata() == pytest.approx(
        [100 * np.mean(point.x) for point in case]
    )
    level = by_label["y: learner after 100% of the data"]
    assert level.get_ydata() == pytest.approx([100 * np.mean(case[0].y)] * 2)
    assert tuple(level.get_xdata()) == right.get_xlim()
    drawn = np.concatenate([line.get_ydata() for line in right.lines])
    for accuracy in (accuracy for point in case for accuracy in (*point.x, *point.z)):
        assert np.isclose(drawn, 100 * accuracy).any()


def test_y_of_a_warm_start_is_drawn_for_each_k():
    case = CASES["warm start"]
    _, _, right = draw(case).axes
    (y,) = (line for line in right.lines if str(line.get_label()).startswith("y:"))
    assert list(y.get_xdata()) == [10, 30, 50]
    assert y.get_ydata() == pytest.approx([100 * np.mean(point.y) for point in case])


@pytest.mark.parametrize("case", [CASES["perfect"], [CurvePoint(50, (0.0, 0.3), (0.7, 1.0), (0.1, 0.9))]])
def test_accuracies_never_leave_0_to_100(case):
    _, _, right = draw(case).axes
    low, high = right.dataLim.intervaly
    assert low >= 0
    assert high <= 100
    assert right.get_ylim()[0] > -1
    assert right.get_ylim()[1] < 101


def test_one_seed_speaks_of_no_interval():
    _, _, right = draw(CASES["one seed"]).axes
    assert not any("interval" in entry for entry in legend(right))


@pytest.mark.parametrize(
    ("case", "seeds"), [("one seed", "1 seed"), ("usual", "5 seeds"), ("both reasons, unequal seeds", "1 to 3 seeds")]
)
def test_the_title_names_data_set_learner_and_seeds(case, seeds):
    figure = draw(CASES[case], dataset="my $images_1$", learner="online")
    assert figure.get_suptitle() == f"my $images_1$, online ({seeds})"
    figure.canvas.draw()


def test_a_long_title_is_wrapped():
    figure = draw(CASES["one k"], dataset="a folder of images with quite a long name " * 4)
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for _, box in texts(figure))


def test_order_of_the_points_does_not_matter_and_bytes_repeat():
    first, again = figure_png(draw(CASES["usual"])), figure_png(draw(CASES["usual"][::-1]))
    assert first.startswith(b"\x89PNG\r\n\x1a\n")
    assert first == again
    assert b"matplotlib" not in first.lower()


def test_size():
    assert tuple(draw(CASES["one k"]).bbox.size) == (2100, 675)


def test_pyplot_and_its_global_state_stay_out():
    code = "import sys, scenarios.figures; sys.exit('matplotlib.pyplot' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_confidence_is_the_one_asked_for():
    left, _, right = draw(CASES["usual"], confidence=0.8).axes
    assert "R, with its 80% Fieller interval" in legend(left)
    assert any("80% t interval" in entry for entry in legend(right))


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ([], "expected at least one point, got none"),
        (points([10, 20, 10], 2), "expected each k once, got 10, 10, 20"),
    ],
)
def test_errors_say_what_was_expected(case, message):
    with pytest.raises(ValueError, match=message):
        draw(case)
