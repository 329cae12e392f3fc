"""The options that are best at some price of their cost, and the prices between them."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Float, Int64

from scenarios.analysis.options import Options
from scenarios.analysis.statistics import Interval, Ratio, mean_interval, paired_differences, ratio_of_means

UNDETERMINED_COST = "the difference of their costs"


@dataclass(frozen=True)
class Best:
    """An option that is best at some price.

    Attributes:
        option: its index.
        accuracy: from 0 to 1.
        cost: in the unit of the cost model.
        price: points of accuracy per unit of cost at which the next cheaper option becomes as good, always with an
            estimate; None for the cheapest option.
    """

    option: int
    accuracy: Interval
    cost: Interval
    price: Ratio | None


def frontier(options: Options, costs: Float[np.ndarray, "seeds options"], confidence: float = 0.95) -> tuple[Best, ...]:
    """The options that maximize accuracy - price × cost at some price, from a price of 0 to an infinite one.

    A mix of two options is never better than both: its utility lies between theirs. So interpolation between measured
    options adds nothing to the frontier.

    Args:
        options: measured under the same seeds.
        costs: cost of each, in the unit of one cost model.
        confidence: level of the intervals, in (0, 1). They do not cover the choice of these options among all.

    Raises:
        InvalidSetting: confidence outside (0, 1).
    """
    chosen = envelope(costs.mean(axis=0), options.accuracy.mean(axis=0))
    prices: list[Ratio | None] = [
        _price(options, costs, dear, cheap, confidence) for dear, cheap in pairwise(chosen.tolist())
    ]
    return tuple(
        Best(int(i), mean_interval(options.accuracy[:, i], confidence), mean_interval(costs[:, i], confidence), price)
        for i, price in zip(chosen, [*prices, None], strict=True)
    )


def _price(options: Options, costs: np.ndarray, dear: int, cheap: int, confidence: float) -> Ratio:
    gained = 100 * paired_differences(options.accuracy[:, dear], options.accuracy[:, cheap])
    paid = costs[:, dear] - costs[:, cheap]
    return _paired_ratio(gained, paid, confidence, UNDETERMINED_COST)


def envelope(costs: Float[np.ndarray, " options"], values: Float[np.ndarray, " options"]) -> Int64[np.ndarray, " best"]:
    """The indices of the upper concave envelope of values over costs, where it rises, from the dearest to the cheapest.

    These are the options that maximize value - price × cost at some price of 0 or more, each at more than one price.
    The first is the cheapest of those with the highest value; the last is the best of the cheapest. Of equal options
    the first counts.

    References:
        Andrew, "Another efficient algorithm for convex hulls in two dimensions", Information Processing Letters 9, 1979
        (the monotone chain).
    """
    order = np.lexsort((-values, costs))
    ordered = values[order]
    best_before = np.concatenate([[-np.inf], np.maximum.accumulate(ordered)[:-1]])
    chain: list[int] = []
    for i in order[ordered > best_before].tolist():
        while len(chain) > 1 and _is_below(costs, values, chain[-2], chain[-1], i):
            chain.pop()
        chain.append(i)
    return np.array(chain[::-1], dtype=np.int64)


def _is_below(costs: np.ndarray, values: np.ndarray, left: int, middle: int, right: int) -> bool:
    """Whether the middle point lies on or below the line from the left to the right one."""
    rise, run = values[right] - values[left], costs[right] - costs[left]
    return bool((values[middle] - values[left]) * run <= rise * (costs[middle] - costs[left]))


@dataclass(frozen=True)
class QueryCount:
    """The number of queries with which memorizing the rest has cost as much as learning it, and its interval.

    Attributes:
        estimate: 0 if memorizing saves nothing before any query, otherwise 1 or more; None if there is no such number.
        low: lower end of the Fieller interval; None for 0 and 1, and if the seeds determine none.
        high: upper end of the interval.
        note: why there is no number or no interval; None if there are both.
        never: whether memorizing stays cheaper with any number of queries.
    """

    estimate: float | None
    low: float | None = None
    high: float | None = None
    note: str | None = None
    never: bool = False


NO_COST = QueryCount(None, note="both cost nothing at these prices")


def breakeven_queries(
    saved: Float[np.ndarray, " seeds"],
    recall: Float[np.ndarray, " seeds"],
    per_query: Float[np.ndarray, " seeds"],
    confidence: float = 0.95,
) -> QueryCount:
    """The smallest number of queries with which memorizing the rest has cost as much as learning it, in the mean.

    Args:
        saved: cost that memorizing saves until the end of the stream, by seed.
        recall: what memorizing costs more with the first query, once.
        per_query: what it costs more with each query.
        confidence: level of the interval, in (0, 1).
    """
    mean_saved, once, each = (float(values.mean()) for values in (saved, recall, per_query))
    if mean_saved <= 0:
        return QueryCount(0.0, note="it costs as much or more before any query")
    if once + each >= mean_saved:
        return QueryCount(1.0, note="the first query costs more than was saved")
    if each <= 0:
        return QueryCount(None, note="its answers cost no more", never=True)
    found = _paired_ratio(saved - recall, per_query, confidence, "what an answer costs more")
    return QueryCount(found.estimate, found.low, found.high, found.reason)


def _paired_ratio(numerators: np.ndarray, denominators: np.ndarray, confidence: float, name: str) -> Ratio:
    """The ratio of means, also without an interval; the interval is the ratio if no seed differs from another."""
    ratio = float(numerators.mean()) / float(denominators.mean())
    if len(numerators) > 1 and np.ptp(numerators) == np.ptp(denominators) == 0:
        return Ratio(ratio, ratio, ratio)
    found = ratio_of_means(numerators, denominators, confidence, denominator_name=name)
    return Ratio(ratio, found.low, found.high, found.reason)


@dataclass(frozen=True)
class StoragePrice:
    """The price of storage at which memorizing the rest costs as much as learning it.

    Attributes:
        flops_per_byte_chunk: price of holding a byte for a chunk, in FLOPs at the price of compute; None if there is no
            such price.
        cheaper: at which prices of storage memorizing is cheaper: below this price, above it, always or never.
        low: lower end of the Fieller interval of the price; None without a price, and if the seeds determine none.
        high: upper end of the interval.
        note: why a price has no interval.
    """

    flops_per_byte_chunk: float | None
    cheaper: Literal["below", "above", "always", "never"]
    low: float | None = None
    high: float | None = None
    note: str | None = None


def breakeven_storage(
    saved_flops: Float[np.ndarray, " seeds"],
    more_byte_chunks: Float[np.ndarray, " seeds"],
    confidence: float = 0.95,
) -> StoragePrice:
    """The price of storage at which memorizing costs as much as learning in the mean, whatever the price of compute.

    Bytes written are left out.

    Args:
        saved_flops: FLOPs that memorizing saves, queries included, by seed; below 0 if it takes more.
        more_byte_chunks: byte-chunks that it holds more; below 0 if it holds less.
        confidence: level of the interval, in (0, 1).
    """
    saved, more = float(saved_flops.mean()), float(more_byte_chunks.mean())
    if saved > 0 and more <= 0:
        return StoragePrice(None, "always")
    if saved <= 0 and more >= 0:
        return StoragePrice(None, "never")
    found = _paired_ratio(saved_flops, more_byte_chunks, confidence, "the difference of the bytes held")
    return StoragePrice(found.estimate, "below" if saved > 0 else "above", found.low, found.high, found.reason)
