"""What some options add to others as the price of cost moves, chosen and measured under different seeds."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64

from scenarios.analysis.frontier import envelope

N_PRICES = 61
_BEYOND = 3.0
"""A grid of prices reaches this factor below the lowest and above the highest break-even price."""
_ROUNDING = 1e-12
"""Amounts that differ by less than this share of the largest are equal: the difference is a rounding error."""


@dataclass(frozen=True)
class HeldOut:
    """What the added options are worth at each price.

    Attributes:
        gains: utility of the best option of all minus that of the best without the added ones, in points of accuracy;
            both are chosen under the other seeds.
        best: index of the option of highest mean utility over all seeds.
        best_without: the same without the added options.
    """

    gains: Float[np.ndarray, "prices seeds"]
    best: Int64[np.ndarray, " prices"]
    best_without: Int64[np.ndarray, " prices"]


def held_out(
    accuracy: Float[np.ndarray, "seeds options"],
    costs: Float[np.ndarray, "seeds options"],
    added: Bool[np.ndarray, " options"],
    prices: Float[np.ndarray, " prices"],
) -> HeldOut:
    """What the added options are worth to one who chooses by the mean utility, 100 × accuracy - price × cost.

    For each seed, the best option is chosen by the mean over the other seeds, among all and without the added ones; the
    difference is measured under the seed that was left out. The larger choice has then no advantage from noise. A
    single seed both chooses and measures, so that its gain is never negative. Of equal options the first one not added
    counts, then the first added one.

    Args:
        accuracy: from 0 to 1.
        costs: cost of each option, in one unit.
        added: which options are the added ones; some are, and some are not.
        prices: points of accuracy per unit of cost, of 0 or more.

    References:
        Stone, "Cross-validatory choice and assessment of statistical predictions", Journal of the Royal Statistical
        Society B 36(2), 1974.
    """
    n_seeds = len(accuracy)
    seeds = np.arange(n_seeds)
    gains, best, best_without = [], [], []
    for price in prices:
        paid = price * costs
        utilities = 100 * accuracy - paid
        near = _ROUNDING * (100 + float(paid.max()))
        of_others = _sums_of_others(utilities) if n_seeds > 1 else utilities
        chosen, without = _choose(of_others, added, near * n_seeds)
        gain = utilities[seeds, chosen] - utilities[seeds, without]
        gains.append(np.where(np.abs(gain) < near, 0.0, gain))
        chosen, without = _choose(utilities.sum(axis=0, keepdims=True), added, near * n_seeds)
        best.append(chosen[0])
        best_without.append(without[0])
    return HeldOut(np.array(gains), np.array(best), np.array(best_without))


def _sums_of_others(values: Float[np.ndarray, "seeds options"]) -> Float[np.ndarray, "seeds options"]:
    """For each seed, the sums over all other seeds, without a trace of its own values in the rounding."""
    sums = np.zeros_like(values)
    sums[1:] += np.cumsum(values[:-1], axis=0)
    sums[:-1] += np.cumsum(values[:0:-1], axis=0)[::-1]
    return sums


def _choose(
    utilities: Float[np.ndarray, "rows options"], added: Bool[np.ndarray, " options"], near: float
) -> tuple[Int64[np.ndarray, " rows"], Int64[np.ndarray, " rows"]]:
    """The best option in each row, and the best one that is not added; those nearer than `near` are equal."""
    (plain, plain_best), (other, other_best) = (_first_best(utilities, where, near) for where in (~added, added))
    return np.where(other_best > plain_best + near, other, plain), plain


def _first_best(
    utilities: Float[np.ndarray, "rows options"], where: Bool[np.ndarray, " options"], near: float
) -> tuple[Int64[np.ndarray, " rows"], Float[np.ndarray, " rows"]]:
    """The first of the best options in each row, and the highest utility."""
    shown = np.where(where, utilities, -np.inf)
    highest = shown.max(axis=1)
    return np.argmax(shown >= highest[:, None] - near, axis=1), highest


def price_grid(
    sets: Iterable[tuple[Float[np.ndarray, "seeds _"], Float[np.ndarray, "seeds _"]]],
) -> Float[np.ndarray, " prices"]:
    """Prices from a third of the lowest break-even price between best options to three times the highest.

    Where one option of each set is best at every price, the prices are around that at which the mean cost is worth the
    mean accuracy.

    Args:
        sets: accuracies and costs of several sets of options, at least one; not all costs are 0.

    Returns:
        61 prices in points of accuracy per unit of cost, with equal ratios.
    """
    sets = list(sets)
    found = np.concatenate([_breakeven_prices(accuracy.mean(axis=0), costs.mean(axis=0)) for accuracy, costs in sets])
    if not len(found):
        points, cost = (float(np.mean([each[i].mean() for each in sets])) for i in (0, 1))
        found = np.array([100 * (points or 1.0) / cost])
    return np.geomspace(found.min() / _BEYOND, found.max() * _BEYOND, N_PRICES)


def _breakeven_prices(
    accuracy: Float[np.ndarray, " options"], costs: Float[np.ndarray, " options"]
) -> Float[np.ndarray, " n"]:
    """The prices, in points per unit of cost, at which one best option gives way to the next cheaper one."""
    step = _ROUNDING * float(costs.max()) or 1.0
    rounded = np.round(costs / step) * step  # equal sums in another order differ by a rounding error
    best = envelope(rounded, accuracy)
    return 100 * np.diff(accuracy[best]) / np.diff(rounded[best])
