"""How many seeds an interval of a wanted width needs, from the seeds so far."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import fdtri, stdtrit

from agent.errors import InvalidSetting
from scenarios.analysis.statistics import Values, mean_interval, ratio_of_means

ASSURANCE = 0.9
"""Probability with which the cautious number of seeds reaches the width."""
MOST = 100_000
"""The largest number of seeds that is looked for."""

_Numbers = Float[np.ndarray, " numbers"]
_ONE_SEED = "one seed has no spread: at least two are needed"


@dataclass(frozen=True)
class SampleSize:
    """The seeds that an interval of a wanted width needs. A width is the whole interval, its high end minus its low.

    Attributes:
        seeds: number of seeds so far, n.
        width: of their interval; None if it has no ends.
        expected: the smallest number of seeds, new ones and those so far, whose interval is as narrow as wanted if the
            sample deviation stays as it is; it can be less than n. None if there is no such number up to `MOST`.
        cautious: the smallest number, n or more, that is enough with the probability `ASSURANCE`. None as above.
        reason: why a number is None; None if both are given.
    """

    seeds: int
    width: float | None
    expected: int | None
    cautious: int | None
    reason: str | None = None

    @property
    def more(self) -> int | None:
        """The expected number of seeds to add, 0 or more."""
        return None if self.expected is None else max(0, self.expected - self.seeds)

    @property
    def more_cautious(self) -> int | None:
        """The cautious number of seeds to add, 0 or more."""
        return None if self.cautious is None else self.cautious - self.seeds


def seeds_for_mean(values: Values, width: float, confidence: float = 0.95) -> SampleSize:
    """Seeds for a t interval of the mean (`mean_interval`) of a width.

    Expected: the smallest N with 2 t(N - 1) s / sqrt(N) <= width, where s is the sample deviation of the n values. It
    is about right on average, but s comes from few seeds, and the next seeds vary too: the interval of N seeds is often
    wider. Cautious: the smallest N with

        P(2 t(N - 1) S_N / sqrt(N) <= width) >= ASSURANCE,

    the criterion of Kupper & Hafner 1989 (The American Statistician 43(2), 101-105), but with the true deviation
    unknown. S_N^2 of all N values, of which n are known, is

        S_N^2 = s^2 (n - 1 + m F) / (N - 1),    m = N - n,

    where F has the F distribution with m and n - 1 degrees of freedom: the sum of squares about the mean grows by
    sigma^2 chi^2(m) as m normal values are added, independently of s. Its quantile is a prediction bound for S_N, like
    that of Hahn & Meeker 1991 (Statistical Intervals, chapter 4) for the deviation of a future sample.

    Args:
        values: one for each seed so far.
        width: high end minus low end, in the unit of the values.
        confidence: level of the interval, in (0, 1).

    Raises:
        ValueError: no values, or a value that is NaN or infinite.
        InvalidSetting: a width that is not a number above 0, or a confidence outside (0, 1).
    """
    interval, sample = mean_interval(values, confidence), np.asarray(values, dtype=np.float64)
    if len(sample) == 1 or interval.low is None or interval.high is None:
        _check_width(width)
        return SampleSize(1, None, None, None, _ONE_SEED)
    deviation = float(sample.std(ddof=1))
    present = interval.high - interval.low
    return _sample_size(lambda q: 2 * deviation * np.sqrt(q), len(sample), present, width, confidence)


def seeds_for_ratio(numerators: Values, denominators: Values, width: float, confidence: float = 0.95) -> SampleSize:
    """Seeds for a Fieller interval of a ratio of means (`ratio_of_means`) of a width.

    Expected: the smallest N whose interval is as narrow as wanted if the means, variances and covariance of the N pairs
    are those of the n pairs so far. This holds for an interval that is unbounded now, too. Cautious: the same with the
    variances and the covariance multiplied by the bound for S_N^2 / s^2 of `seeds_for_mean`. It leaves out that the
    means vary too, so its assurance is approximate, and less where the denominator is hard to tell from 0.

    Args:
        numerators: one for each seed so far.
        denominators: in the same order of seeds.
        width: high end minus low end, in the unit of the ratio.
        confidence: level of the interval, in (0, 1).

    Raises:
        ValueError: no pairs, unequal lengths, or a value that is NaN or infinite.
        InvalidSetting: a width that is not a number above 0, or a confidence outside (0, 1).
    """
    ratio = ratio_of_means(numerators, denominators, confidence)
    a, b = (np.asarray(each, dtype=np.float64) for each in (numerators, denominators))
    n, mean_b = len(a), float(b.mean())
    if n == 1:
        _check_width(width)
        return SampleSize(1, None, None, None, _ONE_SEED)
    # The terms of `ratio_of_means`, with values over 1 in place of values over n.
    residuals = a - float(a.mean()) / mean_b * b if mean_b else np.zeros_like(a)
    s_ee, s_bb = float(residuals.var(ddof=1)), float(b.var(ddof=1))
    s_eb = float(np.dot(residuals - residuals.mean(), b - mean_b)) / (n - 1)

    def width_at(q: _Numbers) -> _Numbers:
        leading = mean_b**2 - q * s_bb
        bounded = leading > 0
        leading = np.where(bounded, leading, 1.0)
        return np.where(bounded, 2 * np.hypot(q * s_eb, np.sqrt(leading * q * s_ee)) / leading, np.inf)

    present = None if ratio.high is None or ratio.low is None else ratio.high - ratio.low
    return _sample_size(width_at, n, present, width, confidence)


def _sample_size(
    width_at: Callable[[_Numbers], _Numbers], n: int, present: float | None, width: float, confidence: float
) -> SampleSize:
    """The sample size, given the width as a function of t^2 / N times the growth of the variance."""
    _check_width(width)

    def q(numbers: _Numbers) -> _Numbers:
        squared: _Numbers = stdtrit(numbers - 1, (1 + confidence) / 2) ** 2 / numbers
        return squared

    expected = _smallest(lambda numbers: width_at(q(numbers)) <= width, 2)
    cautious = _smallest(lambda numbers: width_at(q(numbers) * _growth(numbers, n)) <= width, n)
    reason = f"more than {MOST:,} seeds" if expected is None or cautious is None else None
    return SampleSize(n, present, expected, cautious, reason)


def _growth(numbers: _Numbers, n: int) -> _Numbers:
    """The bound for S_N^2 / s^2 at each number of seeds N, which holds with the probability `ASSURANCE`."""
    added = numbers - n
    bound = fdtri(np.maximum(added, 1), n - 1, ASSURANCE)
    return np.where(added > 0, (n - 1 + added * bound) / (numbers - 1), 1.0)


def _smallest(is_enough: Callable[[_Numbers], np.ndarray], first: int) -> int | None:
    """The smallest number from `first` on that is enough, up to `MOST`; the cautious width need not fall with N."""
    while first <= MOST:
        numbers = np.arange(first, min(2 * first, MOST + 1), dtype=np.float64)
        if (found := np.flatnonzero(is_enough(numbers))).size:
            return first + int(found[0])
        first *= 2
    return None


def _check_width(width: float) -> None:
    if not 0 < width < float("inf"):
        raise InvalidSetting(f"expected a width above 0, got {width:g}")
