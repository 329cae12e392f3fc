"""Fieller's interval against tests inverted on a grid, its coverage, and what cannot be determined."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from agent.errors import InvalidSetting
from scenarios.analysis.statistics import CurvePoint, Interval, Ratio, mean_interval, ratio_of_means, relative_value

THOUSANDTHS = st.integers(-1000, 1000).map(lambda value: value / 1000)
PAIRS = st.lists(st.tuples(THOUSANDTHS, THOUSANDTHS), min_size=2, max_size=9)
FAR_FROM_ZERO = st.integers(800, 1200).map(lambda value: value / 1000)
DETERMINED_PAIRS = st.lists(st.tuples(FAR_FROM_ZERO, FAR_FROM_ZERO), min_size=5, max_size=9)


def rejection(r, a, b, confidence):
    """Positive where a t test rejects mean(a - r b) = 0, negative where it does not; the obvious way."""
    difference = a - r * b
    t = stats.t.ppf((1 + confidence) / 2, len(a) - 1)
    return abs(difference.mean()) - t * stats.sem(difference)


def inverted_test(a, b, confidence):
    """Ends of the set of r that the t test does not reject, sought outwards from the estimate; None if endless."""
    estimate = a.mean() / b.mean()
    ends = []
    for sign in (-1, 1):
        step = 1e-6
        while rejection(estimate + sign * step, a, b, confidence) <= 0:
            step *= 2
            if step > 1e9:
                return None
        ends.append(optimize.brentq(rejection, estimate, estimate + sign * step, (a, b, confidence), xtol=1e-13))
    return ends


@settings(max_examples=200, deadline=None)
@given(pairs=PAIRS, confidence=st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_fieller_is_the_set_of_ratios_that_a_t_test_does_not_reject(pairs, confidence):
    a, b = np.array(pairs).T
    assume(stats.sem(b) > 1e-3)
    margin = abs(b.mean()) / stats.sem(b) / stats.t.ppf((1 + confidence) / 2, len(b) - 1)
    assume(abs(margin - 1) > 1e-3)  # on the very border either answer is right
    ratio = ratio_of_means(a, b, confidence)
    if margin < 1:
        assert ratio.estimate is None
        return
    assert ratio.low <= ratio.estimate <= ratio.high
    assume(stats.sem(a - ratio.estimate * b) > 1e-6)
    low, high = inverted_test(a, b, confidence)
    assert (ratio.low, ratio.high) == pytest.approx((low, high), rel=1e-6, abs=1e-8)


def test_fieller_reproduces_the_textbook_formula():
    a, b = np.array([0.50, 0.46, 0.55, 0.48]), np.array([0.10, 0.08, 0.12, 0.09])
    t, n = stats.t.ppf(0.975, 3), 4
    s_aa, s_bb, s_ab = a.var(ddof=1) / n, b.var(ddof=1) / n, np.cov(a, b)[0, 1] / n
    coefficients = [
        b.mean() ** 2 - t**2 * s_bb,
        -2 * (a.mean() * b.mean() - t**2 * s_ab),
        a.mean() ** 2 - t**2 * s_aa,
    ]
    low, high = sorted(np.roots(coefficients))
    ratio = ratio_of_means(a, b)
    assert ratio.estimate == pytest.approx(a.mean() / b.mean())
    assert (ratio.low, ratio.high) == pytest.approx((low, high))


@pytest.mark.parametrize("n", [3, 5, 8])
def test_coverage_is_nominal(n):
    """4,000 experiments: the standard error of the coverage is 0.0034."""
    generator = np.random.default_rng(n)
    x = 0.40 + 0.01 * generator.standard_normal((4000, n))
    z = x + 0.08 + 0.004 * generator.standard_normal((4000, n))
    y = 0.64 + 0.01 * generator.standard_normal((4000, n))
    ratios = [ratio_of_means(a, b) for a, b in zip(y - x, z - x, strict=True)]
    bounded = [ratio for ratio in ratios if ratio.estimate is not None]
    assert len(bounded) > 0.99 * len(ratios)
    assert np.mean([ratio.low <= 0.24 / 0.08 <= ratio.high for ratio in bounded]) == pytest.approx(0.95, abs=0.012)


@pytest.mark.parametrize("n", [3, 5])
def test_no_gain_from_memory_is_undetermined_as_often_as_the_level_says(n):
    generator = np.random.default_rng(10 + n)
    ratios = [ratio_of_means(0.2 + generator.normal(0, 0.01, n), generator.normal(0, 0.01, n)) for _ in range(4000)]
    assert np.mean([ratio.estimate is None for ratio in ratios]) == pytest.approx(0.95, abs=0.012)


@settings(max_examples=100, deadline=None)
@given(pairs=DETERMINED_PAIRS, numerator_factor=st.floats(0.01, 100), denominator_factor=st.floats(0.01, 100))
def test_scaling_numerators_and_denominators_scales_the_ratio(pairs, numerator_factor, denominator_factor):
    a, b = np.array(pairs).T
    ratio = ratio_of_means(a, b)
    for sign in (1, -1):
        factor = sign * numerator_factor / denominator_factor
        scaled = ratio_of_means(sign * numerator_factor * a, denominator_factor * b)
        assert scaled.estimate == pytest.approx(factor * ratio.estimate)
        assert [scaled.low, scaled.high] == pytest.approx(sorted([factor * ratio.low, factor * ratio.high]))


@settings(max_examples=100, deadline=None)
@given(pairs=DETERMINED_PAIRS, sign=st.sampled_from([1, -1]))
def test_swapping_gives_the_reciprocal_interval(pairs, sign):
    a, b = np.array(pairs).T
    ratio, swapped = ratio_of_means(sign * a, b), ratio_of_means(b, sign * a)
    assert ratio.low * ratio.high > 0
    assert swapped.estimate == pytest.approx(1 / ratio.estimate)
    assert (swapped.low, swapped.high) == pytest.approx((1 / ratio.high, 1 / ratio.low))


def test_order_of_the_pairs_does_not_matter_but_the_pairing_does():
    a, b = np.array([0.50, 0.46, 0.55, 0.48]), np.array([0.10, 0.08, 0.12, 0.09])
    ratio, same, other = ratio_of_means(a, b), ratio_of_means(a[::-1], b[::-1]), ratio_of_means(a[::-1], b)
    assert (same.low, same.high) == pytest.approx((ratio.low, ratio.high))
    assert other.estimate == pytest.approx(ratio.estimate)
    assert other.high - other.low > ratio.high - ratio.low


@settings(max_examples=100, deadline=None)
@given(
    b=st.lists(st.floats(0.9, 1.1), min_size=6, max_size=12),
    factor=st.floats(-1e3, 1e3).filter(lambda c: abs(c) > 1e-3),
)
def test_collinear_pairs_give_an_interval_without_width(b, factor):
    ratio = ratio_of_means(factor * np.array(b), b)
    assert [ratio.low, ratio.estimate, ratio.high] == pytest.approx([factor] * 3, rel=1e-12)
    assert ratio.low <= ratio.estimate <= ratio.high


def test_zero_variance():
    assert ratio_of_means([0.5] * 4, [0.25] * 4) == Ratio(2.0, 2.0, 2.0)
    assert ratio_of_means([0.0] * 4, [0.25] * 4) == Ratio(0.0, 0.0, 0.0)
    certain_denominator = ratio_of_means([0.4, 0.6], [0.25, 0.25])
    half = mean_interval([0.4, 0.6])
    assert (certain_denominator.low, certain_denominator.high) == pytest.approx((half.low / 0.25, half.high / 0.25))
    assert mean_interval([0.5] * 3) == Interval(0.5, 0.5, 0.5)


@pytest.mark.parametrize("denominators", [[0.0, 0.0, 0.0], [-0.1, 0.1, 0.02], [0.01, 0.2, 0.05]])
def test_a_denominator_that_may_be_zero_gives_no_number_but_a_reason(denominators):
    ratio = ratio_of_means([0.3, 0.31, 0.32], denominators, 0.9)
    assert ratio == Ratio(None, None, None, "the mean of the denominators cannot be told from 0 at 90% confidence")


def test_one_seed_gives_means_but_no_interval_and_no_ratio():
    assert mean_interval([0.5]) == Interval(0.5, None, None)
    value = relative_value([0.4], [0.7], [0.5])
    assert value.y_minus_x.estimate == pytest.approx(0.3)
    assert value.R == value.share == Ratio(None, None, None, "an interval needs at least two seeds")


def test_mean_interval_is_scipys():
    values = [0.61, 0.64, 0.60, 0.66]
    expected = stats.t.interval(0.9, 3, loc=np.mean(values), scale=stats.sem(values))
    interval = mean_interval(values, 0.9)
    assert (interval.low, interval.high) == pytest.approx(expected)


X, Y, Z = (0.40, 0.42, 0.41), (0.70, 0.71, 0.73), (0.50, 0.51, 0.52)


def test_relative_value_and_its_reciprocal():
    value = relative_value(X, Y, Z)
    assert value.R.estimate == pytest.approx((np.mean(Y) - np.mean(X)) / (np.mean(Z) - np.mean(X)))
    assert value.share.estimate == pytest.approx(1 / value.R.estimate)
    assert (value.share.low, value.share.high) == pytest.approx((1 / value.R.high, 1 / value.R.low))
    assert value.z_minus_x == mean_interval(np.subtract(Z, X))
    assert (value.x, value.y, value.z) == (mean_interval(X), mean_interval(Y), mean_interval(Z))
    assert CurvePoint(20, X, Y, Z).statistics() == value


def test_what_cannot_be_told_from_zero_is_named():
    no_use_of_memory = relative_value(X, Y, X)
    assert no_use_of_memory.R.reason == "z − x cannot be told from 0 at 95% confidence"
    assert no_use_of_memory.share == Ratio(0.0, 0.0, 0.0)
    no_use_of_learning = relative_value(X, X, Z, 0.9)
    assert no_use_of_learning.R.estimate == 0
    assert no_use_of_learning.share.reason == "y − x cannot be told from 0 at 90% confidence"


def test_rounding_errors_are_no_gain():
    assert 0.1 + 0.2 != 0.3
    value = relative_value([0.3] * 3, [0.7] * 3, [0.1 + 0.2] * 3)
    assert value.z_minus_x == Interval(0.0, 0.0, 0.0)
    assert value.R.estimate is None


def test_a_memory_that_harms_has_a_negative_relative_value():
    assert relative_value(X, Y, np.subtract(X, 0.1)).R.high < 0


def test_json_keeps_every_digit_and_the_order_of_keys():
    plain = asdict(relative_value(X, Y, X))
    assert list(plain) == ["seeds", "confidence", "x", "z", "y", "y_minus_x", "z_minus_x", "R", "share"]
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["x"]["estimate"] == relative_value(X, Y, X).x.estimate
    assert plain["R"] == {
        "estimate": None,
        "low": None,
        "high": None,
        "reason": "z − x cannot be told from 0 at 95% confidence",
    }


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_interval([]), "expected at least one seed in values, got none"),
        (
            lambda: mean_interval(np.array([[0.1]])),
            r"expected one number for each seed in values, got an array of shape \(1, 1\)",
        ),
        (lambda: mean_interval([0.1, math.nan]), "expected finite numbers in values, got nan"),
        (lambda: ratio_of_means([1.0, 2.0], [1.0, -math.inf]), "expected finite numbers in denominators, got -inf"),
        (lambda: ratio_of_means([1.0, 2.0], [1.0]), "one denominator for each numerator, got 2 numerators, 1 denom"),
        (lambda: ratio_of_means([], []), "expected at least one seed in numerators, got none"),
        (lambda: relative_value(X, Y[:2], Z), "expected x, y and z of the same seeds, got 3 of x, 2 of y, 3 of z"),
        (lambda: relative_value(X, (70.0, 71.0, 72.0), Z), r"in \[0, 1\] \(not percent\), got 70 in y"),
        (lambda: relative_value(X, Y, (0.1, -0.2, 0.1)), r"in \[0, 1\] \(not percent\), got -0.2 in z"),
    ],
)
def test_data_errors_say_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.5, 95.0, math.nan])
@pytest.mark.parametrize(
    "call",
    [
        lambda confidence: mean_interval([0.1, 0.2], confidence),
        lambda confidence: ratio_of_means([0.1, 0.2], [0.1, 0.3], confidence),
        lambda confidence: relative_value(X, Y, Z, confidence),
        lambda confidence: relative_value(X[:1], Y[:1], Z[:1], confidence),
    ],
)
def test_confidence_lies_between_0_and_1(call, confidence):
    with pytest.raises(InvalidSetting, match=f"expected a confidence above 0 and up to 0.999999, got {confidence:g}"):
        call(confidence)


@pytest.mark.parametrize("k", [-1, 140, math.nan])
def test_k_lies_in_0_to_100(k):
    with pytest.raises(InvalidSetting, match=f"expected k in 0..100, got {k:g}"):
        CurvePoint(k, X, Y, Z)
