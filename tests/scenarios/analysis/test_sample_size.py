"""Numbers of seeds against a plain search, and against seeds that are drawn."""

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from agent.errors import InvalidSetting
from scenarios.analysis.sample_size import ASSURANCE, MOST, SampleSize, seeds_for_mean, seeds_for_ratio
from scenarios.analysis.statistics import mean_interval, ratio_of_means

FAR = 400
"""How far the plain search goes."""
THOUSANDTHS = st.integers(-1000, 1000).map(lambda value: value / 1000)
WIDTHS = st.floats(0.05, 3)
CONFIDENCES = st.sampled_from([0.5, 0.9, 0.95])


@cache
def t(confidence, n):
    return stats.t.ppf((1 + confidence) / 2, n - 1)


@cache
def f(added, n):
    return stats.f.ppf(ASSURANCE, added, n - 1)


def grown(n, number):
    """What the variance of n seeds becomes with so many, at worst."""
    return 1.0 if number == n else (n - 1 + (number - n) * f(number - n, n)) / (number - 1)


def searched(enough, first):
    """The first number that is enough, one by one."""
    return next((number for number in range(first, FAR) if enough(number)), None)


def assert_found(found, expected, cautious, n):
    for ours, plain, first in ((found.expected, expected, 2), (found.cautious, cautious, n)):
        if plain is not None or first >= FAR:
            assert ours == plain
        else:
            assert ours is None or ours >= FAR


def nearly(width, wanted):
    """Whether rounding decides, so that either answer is right."""
    return math.isclose(width, wanted, rel_tol=1e-9)


@settings(max_examples=60, deadline=None)
@given(values=st.lists(THOUSANDTHS, min_size=2, max_size=9), width=WIDTHS, confidence=CONFIDENCES)
def test_the_seeds_for_a_mean_are_those_of_a_plain_search(values, width, confidence):
    n, s = len(values), float(np.std(values, ddof=1))
    found = seeds_for_mean(values, width, confidence)
    expected = searched(lambda number: 2 * t(confidence, number) * s / math.sqrt(number) <= width, 2)
    cautious = searched(lambda number: 2 * t(confidence, number) * s * math.sqrt(grown(n, number) / number) <= width, n)
    assert_found(found, expected, cautious, n)
    assert found.seeds == n
    assert found.width == pytest.approx(2 * t(confidence, n) * s / math.sqrt(n))
    if not nearly(found.width, width):
        assert (found.more == 0) == (found.more_cautious == 0) == (found.width <= width)


PAIRS = st.lists(st.tuples(THOUSANDTHS, THOUSANDTHS), min_size=2, max_size=9)


def fieller_width(a, b, t_squared, variance_over_n):
    """The width from the roots of the textbook quadratic; infinite if the interval is unbounded."""
    s_aa, s_bb, s_ab = (np.cov(a, b, ddof=1)[i, j] * variance_over_n for i, j in ((0, 0), (1, 1), (0, 1)))
    leading = np.mean(b) ** 2 - t_squared * s_bb
    if leading <= 0:
        return math.inf
    half, last = np.mean(a) * np.mean(b) - t_squared * s_ab, np.mean(a) ** 2 - t_squared * s_aa
    return 2 * math.sqrt(max(0.0, half**2 - leading * last)) / leading


@settings(max_examples=15, deadline=None)
@given(pairs=PAIRS, width=WIDTHS, confidence=CONFIDENCES)
def test_the_seeds_for_a_ratio_are_those_of_a_plain_search(pairs, width, confidence):
    a, b = np.array(pairs).T
    n, found = len(a), seeds_for_ratio(a, b, width, confidence)

    def width_of(number, growth=1.0):
        return fieller_width(a, b, t(confidence, number) ** 2, growth / number)

    for ours, plain, first in (
        (found.expected, lambda number: width_of(number), 2),
        (found.cautious, lambda number: width_of(number, grown(n, number)), n),
    ):
        until = FAR if ours is None else min(ours, FAR)
        assert all(plain(number) > width * (1 - 1e-6) - 1e-7 for number in range(first, until))
        if ours is not None and ours < FAR:
            assert plain(ours) <= width * (1 + 1e-6) + 1e-7
    interval = ratio_of_means(a, b, confidence)
    assert found.width == (None if interval.low is None else interval.high - interval.low)


def test_the_width_of_a_ratio_now_is_that_of_its_interval():
    a, b = np.array([0.50, 0.46, 0.55, 0.48]), np.array([0.10, 0.08, 0.12, 0.09])
    interval = ratio_of_means(a, b)
    width = interval.high - interval.low
    for wider, expected in ((1 + 1e-9, 4), (1 - 1e-9, 5)):
        assert seeds_for_ratio(a, b, width * wider).expected == expected
    assert seeds_for_ratio(a, b, 1.5 * width).more == seeds_for_ratio(a, b, 1.5 * width).more_cautious == 0


def test_an_unbounded_ratio_says_when_it_would_be_bounded():
    a, b = [0.30, 0.28, 0.33], [0.01, 0.09, 0.05]
    assert ratio_of_means(a, b).reason
    found = seeds_for_ratio(a, b, 2.0)
    assert (found.width, found.reason) == (None, None)
    assert 3 < found.expected < found.cautious


@pytest.mark.parametrize("of", [seeds_for_mean, lambda values, width: seeds_for_ratio(values, values, width)])
def test_one_seed_needs_another(of):
    assert of([0.5], 0.1) == SampleSize(1, None, None, None, "one seed has no spread: at least two are needed")


def test_seeds_without_spread_are_enough():
    assert seeds_for_mean([0.5, 0.5, 0.5], 0.01) == SampleSize(3, 0.0, 2, 3)
    assert seeds_for_ratio([0.5] * 3, [0.1] * 3, 0.01) == SampleSize(3, 0.0, 2, 3)


def test_what_no_number_of_seeds_can_give():
    out_of_reach = seeds_for_mean([0.0, 1.0], 1e-4)
    assert (out_of_reach.expected, out_of_reach.cautious, out_of_reach.more) == (None, None, None)
    assert out_of_reach.reason == f"more than {MOST:,} seeds"
    assert seeds_for_ratio([0.1, 0.2], [-0.1, 0.1], 1.0).expected is None
    assert seeds_for_ratio([0.1, 0.2], [0.0, 0.0], 1.0).cautious is None


@pytest.mark.parametrize("width", [0.0, -1.0, math.nan, math.inf])
def test_widths_that_are_none(width):
    for of in (lambda: seeds_for_mean([0.1, 0.2], width), lambda: seeds_for_ratio([0.1, 0.2], [0.1, 0.2], width)):
        with pytest.raises(InvalidSetting, match="expected a width above 0, got"):
            of()


@pytest.mark.parametrize(
    ("n", "width"), [(3, 1.5), *(pytest.param(*large, marks=pytest.mark.slow) for large in [(5, 1.0), (8, 0.6)])]
)
def test_the_expected_number_is_right_on_average_and_the_cautious_one_is_assured(n, width):
    """1,500 first samples of a normal distribution; the true number is that of its true deviation, 1."""
    generator = np.random.default_rng(n)
    true = next(number for number in range(2, 1000) if 2 * t(0.95, number) / math.sqrt(number) <= width)
    expected, reached = [], 0
    for _ in range(1500):
        values = generator.standard_normal(n)
        found = seeds_for_mean(values, width)
        expected.append(found.expected)
        every = np.concatenate([values, generator.standard_normal(found.more_cautious)])
        interval = mean_interval(every)
        reached += interval.high - interval.low <= width
    assert np.mean(expected) == pytest.approx(true, rel=0.1)
    assert reached / 1500 >= ASSURANCE - 0.02
