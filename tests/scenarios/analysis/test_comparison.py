"""Schedules side by side: the front and the best at each budget against slow obvious code, tables read back."""

import csv
import io
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import InvalidSetting
from scenarios.analysis.comparison import (
    Best,
    ScheduleLifetimes,
    best_at_each_budget,
    compare,
    comparison_json,
    comparison_rows,
    pareto_front,
)
from scenarios.analysis.csv_table import csv_table
from scenarios.analysis.statistics import Interval, mean_interval


def lived(label, costs, accuracies):
    pairs = enumerate(zip(costs, accuracies, strict=True))
    return ScheduleLifetimes(label, {seed: {"cost": cost, "accuracy": accuracy} for seed, (cost, accuracy) in pairs})


# Few values, so that equals are common; exact in floating point, so that equals are equal.
values = st.integers(0, 4).map(float)
points = st.lists(st.tuples(values, st.none() | values), min_size=1, max_size=8)


def of_points(pairs):
    return compare([lived(f"s{i}", [cost], [accuracy]) for i, (cost, accuracy) in enumerate(pairs)])


def defined(comparison):
    """Label to (cost, accuracy) in the order given."""
    return {
        each.label: (each.means["cost"].estimate, each.means["accuracy"].estimate)
        for each in comparison.schedules
        if each.means["accuracy"] is not None
    }


def beats(one, other):
    return one[0] <= other[0] and one[1] >= other[1] and one != other


@settings(max_examples=300, deadline=None)
@given(pairs=points)
def test_the_front_holds_those_that_nobody_beats(pairs):
    comparison = of_points(pairs)
    means = defined(comparison)
    unbeaten = [label for label, point in means.items() if not any(beats(other, point) for other in means.values())]
    found = [schedule.label for schedule in pareto_front(comparison, "cost", "accuracy")]
    assert found == sorted(unbeaten, key=lambda label: means[label][0])


@settings(max_examples=300, deadline=None)
@given(pairs=points)
def test_the_best_at_each_budget_is_found_by_looking_at_all(pairs):
    comparison = of_points(pairs)
    means = defined(comparison)
    found = best_at_each_budget(comparison, "cost", "accuracy")
    assert [best.budget for best in found] == sorted(
        {means[schedule.label][0] for schedule in pareto_front(comparison, "cost", "accuracy")}
    )
    for best in found:
        affordable = [label for label, (cost, _) in means.items() if cost <= best.budget]
        order = sorted(affordable, key=lambda label: (-means[label][1], means[label][0], int(label[1:])))
        assert best.label == order[0]
        assert best.runner_up == (order[1] if len(order) > 1 else None)
        difference = best.difference and best.difference.estimate
        assert difference == (means[order[0]][1] - means[order[1]][1] if len(order) > 1 else None)


CHEAP = lived("static:k=0", [1.0, 1.0, 1.0], [0.30, 0.32, 0.31])
MIDDLE = lived("static:k=50", [5.0, 6.0, 7.0], [0.50, 0.56, 0.53])
WASTEFUL = lived("random:p=0.5", [8.0, 6.0, 7.0], [0.48, 0.55, 0.53])
DEAR = lived("static:k=100", [10.0, 10.0, 10.0], [0.70, 0.71, 0.72])


def test_by_hand():
    comparison = compare([DEAR, WASTEFUL, CHEAP, MIDDLE])
    assert comparison.seeds == (0, 1, 2)
    assert comparison.metrics == ("cost", "accuracy")
    assert comparison.schedules[3].means["accuracy"] == mean_interval([0.50, 0.56, 0.53])
    assert [each.label for each in pareto_front(comparison, "cost", "accuracy")] == [
        "static:k=0",
        "static:k=50",
        "static:k=100",
    ]
    cheap, middle, dear = best_at_each_budget(comparison, "cost", "accuracy")
    assert cheap == Best(1.0, "static:k=0", mean_interval([0.30, 0.32, 0.31]), None, None)
    assert (middle.budget, middle.label, middle.runner_up) == (6.0, "static:k=50", "static:k=0")
    assert (dear.budget, dear.label, dear.runner_up) == (10.0, "static:k=100", "static:k=50")
    expected = mean_interval([0.20, 0.15, 0.19])
    assert [dear.difference.estimate, dear.difference.low, dear.difference.high] == pytest.approx(
        [expected.estimate, expected.low, expected.high]
    )


def test_the_lead_is_paired_by_seed():
    """Two schedules that rise and fall together differ by more than their own intervals show."""
    one, other = lived("one", [1, 1], [0.5, 0.7]), lived("other", [1, 1], [0.4, 0.6])
    (best,) = best_at_each_budget(compare([other, one]), "cost", "accuracy")
    assert (best.label, best.runner_up) == ("one", "other")
    assert best.difference.low == pytest.approx(0.1)
    assert best.accuracy.high - best.accuracy.low > 1
    shuffled = ScheduleLifetimes("other", dict(reversed(other.by_seed.items())))
    assert best_at_each_budget(compare([shuffled, one]), "cost", "accuracy") == [best]


def test_rounding_errors_are_no_lead():
    (best,) = best_at_each_budget(
        compare([lived("a", [1, 1], [0.1 + 0.2] * 2), lived("b", [1, 1], [0.3] * 2)]), "cost", "accuracy"
    )
    assert best.difference == Interval(0.0, 0.0, 0.0)


def test_one_seed_has_no_intervals():
    comparison = compare([lived("a", [1], [0.5]), lived("b", [1], [0.25])], 0.9)
    assert comparison.schedules[0].means == {"cost": Interval(1, None, None), "accuracy": Interval(0.5, None, None)}
    (best,) = best_at_each_budget(comparison, "cost", "accuracy")
    assert best.difference == Interval(0.25, None, None)


def test_confidence_is_the_one_asked_for():
    narrow, wide = (compare([MIDDLE, CHEAP], confidence) for confidence in (0.5, 0.99))
    for width in (
        lambda comparison: comparison.schedules[0].means["cost"],
        lambda comparison: best_at_each_budget(comparison, "cost", "accuracy")[1].difference,
    ):
        assert width(narrow).high < width(wide).high
    assert wide.confidence == 0.99


def test_a_mean_is_over_the_seeds_that_have_the_metric():
    partly = lived("partly", [1, 1], [0.9, None])
    comparison = compare([partly, lived("all", [2, 2], [0.5, 0.6])])
    assert comparison.schedules[0].means["accuracy"] == mean_interval([0.9])
    assert comparison.schedules[0].means["cost"] == Interval(1, 1, 1)
    assert comparison.schedules[0].counts == {"cost": 2, "accuracy": 1}
    assert compare([lived("none", [1, 1], [None, None])]).schedules[0].means["accuracy"] is None
    assert [each.label for each in pareto_front(comparison, "cost", "accuracy")] == ["all"]
    nowhere = compare([partly])
    assert pareto_front(nowhere, "cost", "accuracy") == best_at_each_budget(nowhere, "cost", "accuracy") == []


def test_csv_has_a_line_a_schedule_and_every_digit():
    text = csv_table(comparison_rows(compare([CHEAP, lived('odd, "name"', [1, 1, 3], [0.1, None, 0.2])])))
    assert text.endswith("\n")
    assert "\r" not in text
    cheap, odd = csv.DictReader(io.StringIO(text))
    assert list(cheap) == [
        *["schedule", "seeds", "cost", "cost_low", "cost_high", "cost_seeds"],
        *["accuracy", "accuracy_low", "accuracy_high", "accuracy_seeds"],
    ]
    assert (cheap["schedule"], cheap["seeds"], odd["schedule"]) == ("static:k=0", "3", 'odd, "name"')
    expected = mean_interval([0.30, 0.32, 0.31])
    assert [float(cheap[name]) for name in ("accuracy", "accuracy_low", "accuracy_high")] == [
        expected.estimate,
        expected.low,
        expected.high,
    ]
    assert (float(odd["accuracy"]), odd["accuracy_seeds"]) == (pytest.approx(0.15), "2")
    nothing = next(csv.DictReader(io.StringIO(csv_table(comparison_rows(compare([lived("a", [1], [None])]))))))
    assert (nothing["accuracy"], nothing["accuracy_low"], nothing["accuracy_seeds"]) == ("", "", "0")
    assert float(odd["cost"]) == pytest.approx(5 / 3)
    (single,) = csv.DictReader(io.StringIO(csv_table(comparison_rows(compare([lived("a", [1], [0.5])])))))
    assert (single["accuracy"], single["accuracy_low"]) == ("0.5", "")


def test_json_is_strict_and_keeps_the_seeds():
    comparison = compare([CHEAP, lived("b", [1, 1, 3], [0.1, None, 0.2])], 0.9)
    plain = comparison_json(comparison)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert list(plain) == ["confidence", "seeds", "schedules"]
    assert (plain["confidence"], plain["seeds"]) == (0.9, [0, 1, 2])
    first, second = plain["schedules"]
    assert first["by_seed"]["1"] == {"cost": 1.0, "accuracy": 0.32}
    assert first["means"]["accuracy"]["low"] == comparison.schedules[0].means["accuracy"].low
    assert first["means"]["accuracy"]["seeds"] == 3
    assert second["means"]["accuracy"]["seeds"] == 2
    assert second["by_seed"]["1"]["accuracy"] is None


def test_numbers_of_numpy_come_out_as_numbers():
    plain = comparison_json(compare([lived("a", [np.float64(1.5)], [np.float64(0.5)])]))
    assert json.loads(json.dumps(plain))["schedules"][0]["means"]["cost"]["estimate"] == 1.5


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ([], "expected at least one schedule, got none"),
        ([CHEAP, MIDDLE, CHEAP], "expected each schedule once, got static:k=0 2 times"),
        ([ScheduleLifetimes("a", {})], "expected at least one seed, got none for a"),
        (
            [CHEAP, lived("b", [1], [0.5])],
            "expected the same seeds for every schedule, got 0, 1, 2 for static:k=0 and 0 for b; run the missing ones",
        ),
        (
            [CHEAP, ScheduleLifetimes("b", {})],
            "expected the same seeds for every schedule, got 0, 1, 2 for static:k=0 and none for b",
        ),
        (
            [lived("a", [1], [0.5]), ScheduleLifetimes("b", {0: {"cost": 1.0}})],
            "expected the same metrics for every schedule and seed, got cost for b, seed 0, and accuracy, cost for a",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(case, message):
    with pytest.raises(InvalidSetting, match=message):
        compare(case)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_undefined_is_none_and_never_nan(value):
    with pytest.raises(ValueError, match=f"expected a finite number or None in accuracy of a, seed 0, got {value}"):
        compare([lived("a", [1], [value])])


def test_an_unknown_metric_is_refused():
    for read in (pareto_front, best_at_each_budget):
        with pytest.raises(InvalidSetting, match="expected one of the metrics cost, accuracy, got price"):
            read(compare([CHEAP]), "price", "accuracy")


def test_confidence_lies_between_0_and_1():
    with pytest.raises(InvalidSetting, match=r"expected a confidence above 0 and up to 0\.999999, got 95"):
        compare([CHEAP], 95)
