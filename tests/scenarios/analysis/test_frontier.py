"""The best options as prices move, against slow and obvious code."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.accounting.costs import CostModel
from scenarios.analysis.frontier import StoragePrice, breakeven_queries, breakeven_storage, envelope, frontier
from scenarios.analysis.options import Options, joined
from scenarios.analysis.price_map import price_map, price_ranges
from scenarios.analysis.statistics import mean_interval, ratio_of_means


def options_of(accuracy, flops, held=None, per_query=None, recall=None, written=None, memory="cache"):
    """Options with these amounts by seed and option."""
    accuracy, flops = np.array(accuracy, dtype=float), np.array(flops, dtype=float)
    others = [np.zeros_like(flops) if each is None else np.array(each, float) for each in (per_query, recall, written)]
    n = accuracy.shape[1]
    names = tuple(f"{i}%" for i in range(n))
    held = np.zeros_like(flops) if held is None else np.array(held, dtype=float)
    return Options(names, (memory,) * n, np.linspace(0, 1, n), accuracy, flops, *others, held)


def random_options(seed, n_seeds=3, n=6):
    draw = np.random.default_rng(seed)
    accuracy = 0.3 + 0.5 * draw.random((n_seeds, n))
    return options_of(accuracy, 1e9 * draw.random((n_seeds, n)), 1e6 * draw.random((n_seeds, n)), 1e3 * accuracy)


points = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=9)


@given(points)
@settings(max_examples=200, deadline=None)
def test_the_envelope_has_the_best_option_of_every_price(found):
    costs, values = np.array(found, dtype=float).T
    chosen = envelope(costs, values).tolist()
    slopes = [Fraction(found[a][1] - found[b][1], found[a][0] - found[b][0]) for a, b in pairwise(chosen)]
    assert slopes == sorted(set(slopes))
    assert all(slope > 0 for slope in slopes)
    prices = {Fraction(i, 7) for i in range(100)} | set(slopes) | {slope + Fraction(1, 10**6) for slope in slopes}
    for price in prices | {Fraction(10**9)}:
        utilities = [value - price * cost for cost, value in found]
        before = sum(slope < price for slope in slopes)
        assert utilities[chosen[before]] == max(utilities)
    for i in chosen:  # the first of equal ones
        assert found.index(found[i]) == i


def test_a_line_of_options_has_its_ends_alone_on_the_envelope():
    assert envelope(np.array([2.0, 1.0, 3.0]), np.array([2.0, 1.0, 3.0])).tolist() == [2, 1]
    assert envelope(np.array([1.0, 2.0]), np.array([5.0, 5.0])).tolist() == [0]


@given(st.integers(0, 500))
@settings(max_examples=40, deadline=None)
def test_prices_between_the_best_are_ratios_of_means(seed):
    options = random_options(seed)
    model = CostModel("cost", "unit", per_flop=1e-9, per_byte_chunk=1e-6)
    costs = options.cost(model, 100)
    np.testing.assert_allclose(costs, 1e-9 * (options.flops + 100 * options.query_flops) + 1e-6 * options.byte_chunks)
    best = frontier(options, costs, 0.9)
    assert [each.option for each in best] == envelope(costs.mean(0), options.accuracy.mean(0)).tolist()
    assert best[-1].price is None
    for one, other in pairwise(best):
        a, b = one.option, other.option
        gained = 100 * (options.accuracy[:, a] - options.accuracy[:, b])
        wanted = ratio_of_means(gained, costs[:, a] - costs[:, b], 0.9)
        assert one.accuracy == mean_interval(options.accuracy[:, a], 0.9)
        if wanted.estimate is None:
            assert one.price.reason.startswith("the difference of their costs cannot be told from 0")
            assert one.price.low is None
        else:
            assert (one.price.low, one.price.high) == (wanted.low, wanted.high)
        # there both have the same utility
        utilities = 100 * options.accuracy.mean(0) - one.price.estimate * costs.mean(0)
        assert utilities[a] == pytest.approx(utilities[b])


def test_a_single_seed_has_no_interval():
    options = options_of([[0.5, 0.9]], [[1.0, 2.0]])
    dear, cheap = frontier(options, options.flops)
    assert (dear.option, cheap.option) == (1, 0)
    assert dear.price.reason == "an interval needs at least two seeds"
    assert dear.price.estimate == pytest.approx(40)


def test_no_share_between_measured_ones_is_better_than_both():
    options = random_options(0, n_seeds=1, n=2)
    mix = 0.3 * options.accuracy[:, :1] + 0.7 * options.accuracy[:, 1:]
    cost = 0.3 * options.flops[:, :1] + 0.7 * options.flops[:, 1:]
    with_mix = joined([options, options_of(mix, cost)])
    costs = with_mix.flops.mean(0)
    assert 2 not in envelope(costs, with_mix.accuracy.mean(0))


@given(st.integers(-20, 60), st.integers(0, 30), st.integers(-3, 6))
def test_the_queries_at_break_even_are_the_first_with_the_same_cost(saved, recall, per_query):
    def memorizing_costs_as_much(n):
        return (recall if n else 0) + n * per_query >= saved

    first = next((n for n in range(100) if memorizing_costs_as_much(n)), None)
    found = breakeven_queries(*(np.array([float(each)]) for each in (saved, recall, per_query)))
    assert (None if found.estimate is None else math.ceil(found.estimate)) == first
    assert found.never == (first is None)
    assert found.low is None
    assert found.note


@given(st.integers(-5, 5), st.integers(-5, 5))
def test_the_price_of_storage_at_break_even(saved, more):
    found = breakeven_storage(np.array([float(saved)]), np.array([float(more)]))
    prices = [Fraction(i, 60) for i in range(1, 400)]
    cheaper = [price for price in prices if price * more < saved]
    wanted = {"below": saved > 0 and more > 0, "above": saved <= 0 and more < 0}
    if found.cheaper in wanted:
        assert wanted[found.cheaper]
        assert found.flops_per_byte_chunk == pytest.approx(saved / more)
        limit = Fraction(saved, more)
        side = [price for price in prices if (price < limit) == (found.cheaper == "below") and price != limit]
        assert cheaper == side
    else:
        assert found == StoragePrice(None, "always" if saved > 0 else "never")
        assert cheaper == (prices if saved > 0 else [])


@given(st.integers(0, 200), st.integers(2, 5), st.sampled_from([0.0, 0.2, 1.5]))
@settings(max_examples=60, deadline=None)
def test_intervals_of_break_even_points_are_those_of_paired_ratios(seed, n, spread):
    draw = np.random.default_rng(seed)
    saved, recall, per_query = (mean + spread * draw.standard_normal(n) for mean in (50.0, 3.0, 0.7))
    found = breakeven_queries(saved, recall, per_query, 0.9)
    wanted = ratio_of_means(saved - recall, per_query, 0.9)
    if found.estimate and found.estimate > 1:
        assert found.estimate == pytest.approx((saved - recall).mean() / per_query.mean())
        if wanted.estimate is None:
            assert found.low is None
            assert found.high is None
            assert found.note == "what an answer costs more cannot be told from 0 at 90% confidence"
        else:
            assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))
            assert found.note is None
    price = breakeven_storage(saved, per_query, 0.9)
    if price.cheaper == "below" and wanted.estimate is not None:
        wanted = ratio_of_means(saved, per_query, 0.9)
        assert (price.flops_per_byte_chunk, price.low, price.high) == pytest.approx(
            (wanted.estimate, wanted.low, wanted.high)
        )


def test_what_does_not_vary_between_seeds_is_its_own_interval():
    saved, recall, per_query = (np.full(3, each) for each in (0.7, 0.1, 0.01))
    found = breakeven_queries(saved, recall, per_query)
    assert found.low == found.estimate == found.high == pytest.approx(60)
    price = breakeven_storage(-saved, -per_query)
    assert price.low == price.flops_per_byte_chunk == price.high == pytest.approx(70)
    assert price.cheaper == "above"


@given(st.integers(0, 300), st.integers(1, 4), st.integers(1, 7), st.sampled_from([0, 1000]))
@settings(max_examples=30, deadline=None)
def test_a_map_is_that_of_a_loop_over_cells(seed, n_seeds, n, queries):
    options = random_options(seed, n_seeds, n)
    compute, storage = np.logspace(-10, -6, 5), np.logspace(-7, -4, 4)
    found = price_map(options, queries, compute, storage, 0.9)
    for row, of_storage in enumerate(storage):
        for column, of_compute in enumerate(compute):
            flops = options.flops + queries * options.query_flops
            utilities = 100 * options.accuracy - of_compute * flops - of_storage * options.byte_chunks
            order = np.argsort(-utilities.mean(0), kind="stable")
            assert found.best[row, column] == order[0]
            assert found.runner_up[row, column] == order[min(1, n - 1)]
            if n == 1 or n_seeds == 1:
                assert not found.undecided[row, column]
                continue
            interval = mean_interval(utilities[:, order[0]] - utilities[:, order[1]], 0.9)
            assert found.undecided[row, column] == (interval.low <= 0)
    shares = found.shares()
    assert sum(share for share, _ in shares.values()) == pytest.approx(1)
    assert sum(part for _, part in shares.values()) == pytest.approx(found.undecided.mean())


@given(st.integers(0, 500))
@settings(max_examples=40, deadline=None)
def test_ranges_show_every_transition_along_the_axes(seed):
    options = random_options(seed)
    compute, storage = price_ranges([(options, 0), (options, 1000)])
    assert len(compute) == len(storage) == 61
    values = 100 * options.accuracy.mean(0)
    for amounts, prices in (
        (options.flops, compute),
        (options.computing(1000), compute),
        (options.byte_chunks, storage),
    ):
        chosen = envelope(amounts.mean(0), values)
        between = np.diff(values[chosen]) / np.diff(amounts.mean(0)[chosen])
        assert (between > 2 * prices[0]).all()
        assert (between < prices[-1] / 2).all()
    edge = price_map(options, 0, compute, storage)
    least = compute[0] * np.ptp(options.flops.mean(0))  # what compute costs at most in the first column
    for price, best in zip(storage, edge.best[:, 0], strict=True):
        utilities = values - price * options.byte_chunks.mean(0)
        second, first = np.sort(utilities)[-2:]
        assert best == utilities.argmax() or first - second <= least


def test_ranges_without_a_transition_are_some_decades():
    compute, storage = price_ranges([(options_of([[0.5]], [[1.0]]), 0)])
    assert compute[0] < 1 < compute[-1]
    assert storage[-1] / storage[0] >= 10


def test_equal_options_count_once():
    one, other = random_options(1, n=2), random_options(2, n=1)
    every = joined([one, other, one])
    assert every.without_repeats().names == (*one.names, *other.names)
    assert every.at(np.array([2])).accuracy.tolist() == other.accuracy.tolist()
