"""What options add to others, against slow and obvious code in exact numbers."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.analysis.frontier import frontier
from scenarios.analysis.held_out import N_PRICES, held_out, price_grid
from scenarios.analysis.options import Options


def first_best(utilities, order):
    """The first of the best options, in an order."""
    return max(order, key=lambda i: (utilities[i], -order.index(i)))


def slowly(accuracy, costs, added, price):
    """Gains by seed and the two best schedules, from lists of fractions."""
    n_seeds, n = len(accuracy), len(added)
    utilities = [[100 * accuracy[s][i] - price * costs[s][i] for i in range(n)] for s in range(n_seeds)]
    without = [i for i in range(n) if not added[i]]
    order = without + [i for i in range(n) if added[i]]
    gains = []
    for left_out in range(n_seeds):
        others = [s for s in range(n_seeds) if s != left_out] or [left_out]
        means = [sum(utilities[s][i] for s in others) for i in range(n)]
        chosen, plain = first_best(means, order), first_best(means, without)
        gains.append(utilities[left_out][chosen] - utilities[left_out][plain])
    means = [sum(utilities[s][i] for s in range(n_seeds)) for i in range(n)]
    return gains, first_best(means, order), first_best(means, without)


@st.composite
def measured(draw, most_seeds=4):
    n_seeds, n = draw(st.integers(1, most_seeds)), draw(st.integers(2, 6))
    table = st.lists(st.lists(st.integers(0, 6), min_size=n, max_size=n), min_size=n_seeds, max_size=n_seeds)
    added = draw(st.lists(st.booleans(), min_size=n, max_size=n).filter(lambda each: 0 < sum(each) < n))
    return draw(table), draw(table), added


@given(measured())
@settings(max_examples=80, deadline=None)
def test_gains_are_those_of_loops_over_seeds_and_options(given_):
    tenths, costs, added = given_
    accuracy = [
        [Fraction(each, 10) for each in row] for row in tenths
    ]  # a tenth is no binary fraction: sums are rounded
    prices = [Fraction(0), Fraction(10, 3), Fraction(10), Fraction(25, 2)]
    arrays = np.array(tenths) / 10, np.array(costs, dtype=float), np.array(added)
    found = held_out(*arrays, np.array([float(price) for price in prices]))
    for row, price in enumerate(prices):
        gains, best, without = slowly(accuracy, costs, added, price)
        np.testing.assert_allclose(found.gains[row], [float(gain) for gain in gains], atol=1e-9)
        assert (found.gains[row] == 0).tolist() == [gain == 0 for gain in gains]
        assert (found.best[row], found.best_without[row]) == (best, without)
    if len(costs) == 1:
        assert (found.gains >= 0).all()


def test_equal_options_are_worth_nothing():
    values = np.array([[0.1, 0.3, 0.3], [0.7, 0.5, 0.5]])
    found = held_out(values, np.ones((2, 3)), np.array([False, True, False]), np.array([0.0, 1.0]))
    assert (found.gains == 0).all()
    assert found.best.tolist() == found.best_without.tolist() == [0, 0]


def test_the_choice_does_not_see_the_seed_that_measures():
    # Under its own seed each added option is best; under the others it is worst.
    accuracy = np.array([[0.5, 0.9, 0.1], [0.5, 0.1, 0.9]])
    found = held_out(accuracy, np.zeros((2, 3)), np.array([False, True, True]), np.array([1.0]))
    np.testing.assert_allclose(found.gains, [[-40, -40]])
    alone = held_out(accuracy[:1], np.zeros((1, 3)), np.array([False, True, True]), np.array([1.0]))
    np.testing.assert_allclose(alone.gains, [[40]])


def test_more_noise_is_no_gain():
    draw = np.random.default_rng(0)
    accuracy = 0.5 + 0.02 * draw.standard_normal((200, 40))
    added = np.arange(40) >= 4
    costs = np.ones_like(accuracy)
    gains = [held_out(accuracy[i : i + 4], costs[i : i + 4], added, np.array([1.0])).gains for i in range(0, 200, 4)]
    assert abs(np.mean(gains)) < 4 * np.std(gains) / np.sqrt(200)
    alone = [held_out(each[None], costs[:1], added, np.array([1.0])).gains for each in accuracy]
    assert np.mean(alone) > 1


def test_arrays_stay_as_they_are():
    draw = np.random.default_rng(1)
    arrays = draw.random((3, 9)), draw.random((3, 9)), np.arange(9) > 5, np.array([0.5, 2.0])
    before = [each.copy() for each in arrays]
    held_out(*arrays)
    price_grid([arrays[:2]])
    for array, old in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, old)


@given(st.integers(0, 300), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_the_grid_spans_the_break_even_prices_of_the_frontiers(seed, n_sets):
    draw = np.random.default_rng(seed)
    sets = [(draw.random((2, 8)), draw.random((2, 8))) for _ in range(n_sets)]
    nothing = np.zeros((2, 8))
    prices = [
        best.price.estimate
        for accuracy, costs in sets
        for best in frontier(
            Options(("",) * 8, ("",) * 8, nothing[0], accuracy, costs, nothing, nothing, nothing, nothing), costs
        )
        if best.price is not None
    ]
    grid = price_grid(sets)
    assert len(grid) == N_PRICES
    np.testing.assert_allclose(np.diff(np.log(grid)), np.log(grid[-1] / grid[0]) / 60, atol=1e-9)
    if prices:
        np.testing.assert_allclose(grid[[0, -1]], [min(prices) / 3, 3 * max(prices)])


def test_a_rounding_error_is_no_difference_of_costs():
    costs = np.array([[0.1 + 0.2 + 0.3, 0.3 + 0.2 + 0.1, 0.1]])
    assert costs[0, 0] != costs[0, 1]
    grid = price_grid([(np.array([[0.9, 0.8, 0.5]]), costs)])
    np.testing.assert_allclose(grid[[0, -1]], [80 / 3, 240])


@pytest.mark.parametrize("accuracy", [0.0, 0.5])
def test_without_a_break_even_price_the_grid_is_around_that_of_the_mean(accuracy):
    grid = price_grid([(np.full((2, 3), accuracy), np.full((2, 3), 4.0))])
    np.testing.assert_allclose(grid[[0, 30, -1]], [100 * (accuracy or 1) / 4 * each for each in (1 / 3, 1, 3)])
