"""The best option at every price of compute and of storage."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

import numpy as np
from jaxtyping import Bool, Float, Int64

from scenarios.analysis.frontier import envelope
from scenarios.analysis.options import Options
from scenarios.analysis.statistics import paired_differences, t_quantile

CELLS = 61
"""Cells of a map in each direction."""
_RATIOS = np.geomspace(1e-4, 1e4, 33)
"""Ratios of the two prices at which transitions between best options are looked for, relative to a typical one."""


@dataclass(frozen=True)
class PriceMap:
    """The best option in every cell. Utility is 100 × accuracy - compute price × FLOPs - storage price × byte-chunks.

    Attributes:
        compute: prices of compute, ascending: points of accuracy per FLOP.
        storage: prices of storage, ascending: points of accuracy per byte held for a chunk.
        best: index of the option of highest mean utility; the first of several.
        runner_up: index of the second; that of the best itself if there is no other option.
        undecided: whether the paired t interval of the difference between the two holds 0. False everywhere if there is
            one option or one seed, which has no interval.
    """

    compute: Float[np.ndarray, " columns"]
    storage: Float[np.ndarray, " rows"]
    best: Int64[np.ndarray, "rows columns"]
    runner_up: Int64[np.ndarray, "rows columns"]
    undecided: Bool[np.ndarray, "rows columns"]

    def shares(self) -> dict[int, tuple[float, float]]:
        """For each option that is best somewhere: the share of cells where it is, and that of those undecided."""
        found, counts = np.unique(self.best, return_counts=True)
        open_ = [float(self.undecided[self.best == i].sum()) for i in found]
        return {int(i): (n / self.best.size, u / self.best.size) for i, n, u in zip(found, counts, open_, strict=True)}


def price_map(
    options: Options,
    queries: int,
    compute: Float[np.ndarray, " columns"],
    storage: Float[np.ndarray, " rows"],
    confidence: float = 0.95,
) -> PriceMap:
    """The best option at each pair of prices.

    Rows are computed one at a time, so that thousands of options take a few megabytes.

    Args:
        options: measured under the same seeds; no two of them equal.
        queries: number of queries after the stream.
        compute: prices of compute; see `PriceMap`.
        storage: prices of storage.
        confidence: level of the intervals, in (0, 1).
    """
    flops, held = options.computing(queries), options.byte_chunks
    paid = 100 * options.accuracy.mean(axis=0) - compute[:, None] * flops.mean(axis=0)
    mean_held = held.mean(axis=0)
    rows = [_top_two(paid - price * mean_held) for price in storage]
    best, runner_up = (np.array([row[i] for row in rows]) for i in (0, 1))
    n = options.n_seeds
    if n == 1 or len(options) == 1:
        return PriceMap(compute, storage, best, runner_up, np.zeros(best.shape, dtype=bool))
    differences = 100 * paired_differences(options.accuracy[:, best], options.accuracy[:, runner_up])
    differences = differences - compute * (flops[:, best] - flops[:, runner_up])
    differences = differences - storage[:, None] * (held[:, best] - held[:, runner_up])
    half = t_quantile(n, confidence) * differences.std(axis=0, ddof=1) / sqrt(n)
    return PriceMap(compute, storage, best, runner_up, np.abs(differences.mean(axis=0)) <= half)


def _top_two(utilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The columns of the highest and the second highest value in each row; the highest twice if there is one column."""
    rows = np.arange(len(utilities))
    best = utilities.argmax(axis=1)
    if utilities.shape[1] == 1:
        return best, best
    utilities[rows, best] = -np.inf
    return best, utilities.argmax(axis=1)


def price_ranges(
    maps: Iterable[tuple[Options, int]], *, cells: int = CELLS
) -> tuple[Float[np.ndarray, " columns"], Float[np.ndarray, " rows"]]:
    """Prices of compute and of storage for maps that show every transition, about a decade beyond the outermost ones.

    The line between two options in a map, on logarithmic axes, has straight arms that meet about where the price of
    compute alone, and where that of storage alone, outweighs the difference of their accuracies.

    Args:
        maps: the options and the number of queries of each map.
        cells: in each direction.
    """
    corners = [corner for options, queries in maps for corner in _corners(options, queries)]
    return _range([compute for compute, _ in corners], cells), _range([storage for _, storage in corners], cells)


def _corners(options: Options, queries: int) -> Iterator[tuple[float, float]]:
    """For each transition, the prices of compute and of storage that alone outweigh the difference of accuracies."""
    values = 100 * options.accuracy.mean(axis=0)
    flops, held = options.computing(queries).mean(axis=0), options.byte_chunks.mean(axis=0)
    # Lines of one ratio of the prices: compute alone, storage alone, and between.
    directions = [(1.0, 0.0), (0.0, 1.0)]
    if np.ptp(held) > 0 and np.ptp(flops) > 0:
        typical = np.ptp(flops) / np.ptp(held)
        directions[1:1] = [(1.0, float(ratio * typical)) for ratio in _RATIOS]
    pairs: set[tuple[int, int]] = set()
    cheapest: list[int] = []
    for per_flop, per_byte_chunk in directions:
        chosen = envelope(per_flop * flops + per_byte_chunk * held, values).tolist()
        pairs |= set(pairwise(chosen))
        cheapest.append(chosen[-1])
    pairs |= set(pairwise(cheapest))
    for one, other in sorted(pairs):
        gained = abs(values[one] - values[other])
        more_flops, more_held = abs(flops[one] - flops[other]), abs(held[one] - held[other])
        yield gained / more_flops if more_flops else 0.0, gained / more_held if more_held else 0.0


def _range(prices: list[float], cells: int) -> np.ndarray:
    """Prices around these, with whole decades at both ends; around 1 if there is none above 0."""
    positive = [price for price in prices if price > 0] or [1.0]
    return np.logspace(np.floor(np.log10(min(positive)) - 0.5), np.ceil(np.log10(max(positive)) + 0.5), cells)
