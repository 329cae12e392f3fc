"""The figure of the front in every odd case: what it shows, and that no text covers another."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

from agent.errors import InvalidSetting
from scenarios.analysis.comparison import ScheduleLifetimes, compare, pareto_front
from scenarios.figures.pareto import pareto_figure
from scenarios.figures.style import figure_png
from tests.scenarios.figures.legible import assert_legible, each_of, texts

NAMES = [
    *(f"static:k={k}" for k in range(0, 90, 10)),
    "budget:gflop=20000",
    "threshold:learner_accuracy=0.5,window=3,minimum=10 chunks",
    "random:p=0.3",
    "periodic:every=5",
    "surprise:quantile=0.9",
    "a $name$ with_dollars",
]


def made_up(n, seeds=5, spread=100.0, cheapest=1e4, noise=0.01):
    """Schedules whose costs rise evenly from `cheapest` to `spread` times that, and accuracies nearly so."""
    generator = np.random.default_rng(100 * n + seeds)
    lived = []
    for i in range(n):
        cost = cheapest * (1 + (spread - 1) * i / max(n - 1, 1))
        accuracy = 0.2 + 0.5 * i / n + 0.05 * generator.standard_normal()
        by_seed = {}
        for seed in range(seeds):
            factor, shift = 1 + noise * generator.standard_normal(), noise * generator.standard_normal()
            by_seed[seed] = {"total_gflop": cost * factor, "final_accuracy": float(np.clip(accuracy + shift, 0, 1))}
        lived.append(ScheduleLifetimes(NAMES[i], by_seed))
    return lived


def undefined(label, seeds=5):
    return ScheduleLifetimes(label, {seed: {"total_gflop": 1.0, "final_accuracy": None} for seed in range(seeds)})


CASES = {
    "three": made_up(3, spread=3),
    "ten": made_up(10),
    "fifteen": made_up(15, spread=2000),
    "one schedule": made_up(1),
    "one seed": made_up(10, seeds=1),
    "one schedule, one seed": made_up(1, seeds=1),
    "two noisy seeds": made_up(6, seeds=2, spread=40, noise=0.1),
    "noisy costs on a linear axis": made_up(3, seeds=2, spread=2, noise=0.3),
    "equal costs": made_up(4, spread=1, noise=0.0),
    "cost 0": made_up(4, cheapest=0.0),
    "cost 0 and more": [*made_up(1, cheapest=0.0), *made_up(5)[1:]],
    "large costs": made_up(5, spread=10, cheapest=3e9),
    "small costs": made_up(5, spread=10, cheapest=2e-5),
    "some undefined": [*made_up(3), undefined("never:defined")],
}


def draw(case, **settings):
    usual = {"cost": "total_gflop", "accuracy": "final_accuracy", "unit": "GFLOP", "title": "CIFAR-10, in order"}
    return pareto_figure(compare(case), **(usual | settings))


def entries(figure):
    """Texts of the legends: what is above the panel, and the schedules beside it."""
    axes = figure.axes[0]
    beside = next(child for child in axes.artists if hasattr(child, "get_texts"))
    keys, schedules = axes.get_legend(), beside
    return [[text.get_text() for text in legend.get_texts()] for legend in (keys, schedules)]


def markers(figure):
    """The drawn schedules by their name in the legend."""
    (axes,) = figure.axes
    _, names = entries(figure)
    return {line.get_label(): line for line in axes.lines if line.get_label() in names}


@pytest.mark.parametrize("case", each_of(CASES))
def test_no_text_covers_another_or_leaves_the_figure(case):
    figure = draw(case)
    assert_legible(figure)
    boxes = texts(figure)
    (axes,) = figure.axes
    listed = {entry for legend in entries(figure) for entry in legend}
    for text, box in boxes:
        assert text not in listed or not box.overlaps(axes.get_window_extent()), "the legend covers data"
    assert axes.get_window_extent().width > 0.4 * figure.bbox.width


@pytest.mark.parametrize("case", each_of(CASES))
def test_every_schedule_has_its_point_inside_the_panel(case):
    figure = draw(case)
    (axes,) = figure.axes
    shown = markers(figure)
    means = {each.label: each.means for each in compare(case).schedules if each.means["final_accuracy"]}
    assert len(shown) == len(means)
    drawn = sorted((float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in shown.values())
    expected = sorted((m["total_gflop"].estimate, 100 * m["final_accuracy"].estimate) for m in means.values())
    assert np.array(drawn) == pytest.approx(np.array(expected))
    for x, y in drawn:
        assert axes.get_xlim()[0] < x < axes.get_xlim()[1]
        assert axes.get_ylim()[0] < y < axes.get_ylim()[1]


@pytest.mark.parametrize("case", each_of(CASES))
def test_axes_have_units_and_a_few_ticks_none_of_them_negative(case):
    (axes,) = draw(case).axes
    assert axes.get_xlabel() == "total cost (GFLOP)"
    assert axes.get_ylabel() == "final accuracy (%)"
    low, high = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert 2 <= len(ticks) <= 10
    assert min(ticks) >= 0


@pytest.mark.parametrize(
    ("cost", "unit", "label"),
    [
        ("total_cost", "cost units", "total cost (cost units)"),
        ("memory_megabytes", "megabytes", "memory cost (megabytes)"),
        ("learn_gflop", "GFLOP", "learn cost (GFLOP)"),
    ],
)
def test_the_cost_axis_names_its_unit_once(cost, unit, label):
    case = [
        ScheduleLifetimes(each.label, {s: {cost: 1.0, "final_accuracy": 0.5} for s in each.by_seed})
        for each in made_up(2)
    ]
    assert draw(case, cost=cost, unit=unit).axes[0].get_xlabel() == label


def test_the_cost_axis_is_logarithmic_from_a_factor_of_30():
    scales = {name: draw(case).axes[0].get_xscale() for name, case in CASES.items()}
    logarithmic = {"ten", "fifteen", "one seed", "two noisy seeds", "some undefined"}
    assert {name for name, scale in scales.items() if scale == "log"} == logarithmic


def test_the_step_line_is_the_front_and_goes_on_to_the_edge():
    comparison = compare(CASES["ten"])
    (axes,) = draw(CASES["ten"]).axes
    (line,) = (line for line in axes.lines if str(line.get_label()).startswith("Pareto front"))
    best = [each.means for each in pareto_front(comparison, "total_gflop", "final_accuracy")]
    assert line.get_drawstyle() == "steps-post"
    assert list(line.get_xdata()) == [*(each["total_gflop"].estimate for each in best), axes.get_xlim()[1]]
    heights = [100 * each["final_accuracy"].estimate for each in best]
    assert line.get_ydata() == pytest.approx([*heights, heights[-1]])


def test_the_legend_lists_the_schedules_by_cost_and_what_is_not_drawn():
    _, schedules = entries(draw(CASES["some undefined"][::-1]))
    assert schedules == ["static:k=0", "static:k=10", "static:k=20", "never:defined (undefined)"]


def test_schedules_can_be_told_apart_without_colour_and_with_it():
    lines = list(markers(draw(CASES["fifteen"])).values())
    assert len(lines) == 15
    assert len({(line.get_marker(), line.get_markerfacecolor() == "white") for line in lines}) == 15
    assert all(one.get_color() != other.get_color() for one, other in itertools.pairwise(lines))


def bars(figure):
    """Ends of all bars, as (x, y)."""
    (axes,) = figure.axes
    return np.concatenate([path.vertices for lines in axes.collections for path in lines.get_paths()])


@pytest.mark.parametrize("name", ["two noisy seeds", "noisy costs on a linear axis", "cost 0", "three"])
def test_bars_never_leave_the_possible(name):
    figure = draw(CASES[name])
    ends = bars(figure)
    assert ends[:, 1].min() >= 0
    assert ends[:, 1].max() <= 100
    left = figure.axes[0].get_xlim()[0] if figure.axes[0].get_xscale() == "log" else 0
    assert ends[:, 0].min() >= left * (1 - 1e-9)


def test_bars_are_the_intervals():
    first = compare(CASES["three"]).schedules[0].means
    ends = bars(draw(CASES["three"]))
    for x in (first["total_gflop"].low, first["total_gflop"].high):
        assert np.isclose(ends, [x, 100 * first["final_accuracy"].estimate]).all(axis=1).any()
    for y in (first["final_accuracy"].low, first["final_accuracy"].high):
        assert np.isclose(ends, [first["total_gflop"].estimate, 100 * y]).all(axis=1).any()


def test_one_seed_speaks_of_no_interval():
    keys, _ = entries(draw(CASES["one seed"]))
    assert keys == ["Pareto front: best mean accuracy at each cost"]
    keys, _ = entries(draw(CASES["ten"]))
    assert keys == ["Pareto front: best mean accuracy at each cost", "bars: 95% t intervals over seeds"]


@pytest.mark.parametrize(("case", "seeds"), [("one seed", "1 seed"), ("ten", "5 seeds")])
def test_the_title_is_the_one_given_with_the_seeds(case, seeds):
    figure = draw(CASES[case], title="my $images_1$")
    assert figure.get_suptitle() == f"my $images_1$ ({seeds})"
    figure.canvas.draw()


def test_bytes_repeat():
    first, again = figure_png(draw(CASES["three"])), figure_png(draw(CASES["three"]))
    assert first.startswith(b"\x89PNG\r\n\x1a\n")
    assert first == again


def test_size():
    assert tuple(draw(CASES["one schedule"]).bbox.size) == (1500, 750)


def test_pyplot_and_its_global_state_stay_out():
    code = (
        "import sys, scenarios.figures.pareto; sys.exit('matplotlib.pyplot' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="expected a schedule with a defined total_gflop and final_accuracy, got none"):
        draw([undefined("a")])
    with pytest.raises(InvalidSetting, match="expected one of the metrics total_gflop, final_accuracy, got price"):
        draw(CASES["three"], cost="price")


@pytest.mark.slow
@pytest.mark.parametrize("case", each_of(CASES))
def test_dotted_lines_join_what_has_the_same_utility(case):
    plain = draw(case)
    most = plain.axes[0].get_xlim()[1]
    for weight in (0.01 / most, 0.3 / most, 20 / most):
        figure = draw(case, cost_weight=weight)
        (axes,) = figure.axes
        assert (axes.get_xlim(), axes.get_ylim()) == (plain.axes[0].get_xlim(), plain.axes[0].get_ylim())
        dotted = [line for line in axes.lines if line.get_zorder() == 0.5]
        levels = [line.get_ydata() - 100 * weight * line.get_xdata() for line in dotted]
        assert all(np.ptp(level) < 1e-6 * max(1, abs(level[0])) for level in levels)
        steps = np.diff([level[0] for level in levels])
        assert 2 <= len(dotted) <= 12
        entry = entries(figure)[0][-1]
        assert entry == f"equal utility, {round(steps[0], 9):g} points apart"
        assert steps == pytest.approx(steps[0])
        boxes = texts(figure)
        for (one, box), (other, other_box) in itertools.combinations(boxes, 2):
            assert not box.padded(-1).overlaps(other_box), f"{one!r} covers {other!r}"
        assert max(box.x1 for _, box in boxes) <= figure.bbox.x1


def test_without_a_cost_weight_there_are_no_dotted_lines():
    assert not any("utility" in entry for entry in entries(draw(made_up(3)))[0])
