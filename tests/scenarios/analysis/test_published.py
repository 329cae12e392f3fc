"""Welch's interval against scipy, and what cannot be determined."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from agent.errors import InvalidSetting
from scenarios.analysis.published import Runs, beside_published, welch_difference

MEANS = st.integers(-1000, 1000).map(lambda value: value / 1000)
DEVIATIONS = st.integers(1, 1000).map(lambda value: value / 1000)
KNOWN = st.builds(Runs, MEANS, DEVIATIONS, st.integers(2, 9))


@settings(max_examples=200, deadline=None)
@given(one=KNOWN, other=KNOWN, confidence=st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_the_interval_is_that_of_welch_s_test(one, other, confidence):
    found = welch_difference(one, other, confidence)
    test = stats.ttest_ind_from_stats(
        one.mean, one.deviation, one.n, other.mean, other.deviation, other.n, equal_var=False
    )
    assert found.estimate == pytest.approx(one.mean - other.mean)
    # The interval holds 0 exactly where the test does not reject at its level.
    if abs(test.pvalue - (1 - confidence)) > 1e-9:
        assert (found.low <= 0 <= found.high) == (test.pvalue > 1 - confidence)
    error = math.sqrt(one.deviation**2 / one.n + other.deviation**2 / other.n)
    reached = 2 * stats.t.sf((found.high - found.estimate) / error, test.df) if hasattr(test, "df") else None
    if reached is not None:
        assert reached == pytest.approx(1 - confidence, rel=1e-6)


def test_with_equal_deviations_and_numbers_it_is_student_s():
    one, other = Runs(0.5, 0.02, 4), Runs(0.4, 0.02, 4)
    half = stats.t.ppf(0.975, 6) * math.sqrt(2 * 0.02**2 / 4)
    found = welch_difference(one, other)
    assert (found.low, found.high) == pytest.approx((0.1 - half, 0.1 + half))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Runs(0.5, 0.02, 3), Runs(0.4, None, 3)),
        (Runs(0.5, 0.02, 3), Runs(0.4, None, 1)),
        (Runs.of([0.5]), Runs(0.4, 0.01, 5)),
        (Runs(0.5, 0.02, 3), Runs(0.4, 0.01, 1)),
    ],
)
def test_without_both_spreads_there_is_no_interval(one, other):
    found = welch_difference(one, other)
    assert (found.estimate, found.low, found.high) == (pytest.approx(0.1), None, None)


def test_runs_that_are_all_alike_have_an_interval_of_one_point():
    found = welch_difference(Runs.of([0.5, 0.5]), Runs.of([0.25, 0.25, 0.25]))
    assert (found.low, found.estimate, found.high) == (0.25, 0.25, 0.25)


def test_tiny_deviations_have_an_interval():
    found = welch_difference(Runs(0.5, 1e-120, 3), Runs(0.4, 1e-120, 3))
    assert found.low == pytest.approx(0.1)


def test_runs_have_mean_and_sample_deviation():
    runs = Runs.of([0.2302, 0.2382, 0.2688])
    assert (runs.mean, runs.deviation, runs.n) == (
        pytest.approx(0.24573, abs=1e-5),
        pytest.approx(0.02037, abs=1e-5),
        3,
    )
    assert runs.values == (0.2302, 0.2382, 0.2688)


def test_what_is_not_comparable_has_no_difference():
    published = Runs(0.4, 0.01, 3)
    assert beside_published("er", [0.5, 0.6], published, comparable=False).difference is None
    assert beside_published("er", [0.5, 0.6], None, comparable=True).difference is None
    found = beside_published("er", [0.5, 0.6], published, comparable=True)
    assert found.difference == welch_difference(Runs.of([0.5, 0.6]), published)
    assert found.interval.low < 0.55 < found.interval.high


@pytest.mark.parametrize("confidence", [0, 1, -1])
def test_confidence_is_checked(confidence):
    with pytest.raises(InvalidSetting, match="expected a confidence above 0"):
        welch_difference(Runs(0.5, 0.1, 3), Runs(0.5, 0.1, 3), confidence)
