"""A mean over our seeds beside a published one, of which mean, spread and number of runs are known."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtrit

from scenarios.analysis.statistics import Interval, check_confidence, mean_interval
from scenarios.config.reproductions.published import Published, named


@dataclass(frozen=True)
class Runs:
    """What is known of the results of independent runs.

    Attributes:
        mean: their mean.
        deviation: the standard deviation between them; None if it is not known, as that of a single run.
        n: their number, 1 or more.
        values: the result of each, if they are known.
    """

    mean: float
    deviation: float | None
    n: int
    values: tuple[float, ...] = ()

    @classmethod
    def of(cls, values: Sequence[float]) -> "Runs":
        """Of the result of each run; one or more."""
        mean = math.fsum(values) / len(values)
        squares = math.fsum((value - mean) ** 2 for value in values)
        deviation = math.sqrt(squares / (len(values) - 1)) if len(values) > 1 else None
        return cls(mean, deviation, len(values), tuple(values))


@dataclass(frozen=True)
class BesidePublished:
    """A mean of ours beside a published one.

    Attributes:
        label: of the method.
        metric: of which both are results.
        ours: over our seeds.
        interval: of our mean over seeds.
        published: what was published; None for a method without a published figure.
        difference: ours minus the published mean; None if they are not compared.
    """

    label: str
    metric: str
    ours: Runs
    interval: Interval
    published: Runs | None
    difference: Interval | None

    @property
    def name(self) -> str:
        """The label, with the metric unless that is final accuracy."""
        return named(self.label, self.metric)


def beside_published(
    label: str,
    values: Sequence[float],
    published: Runs | None,
    *,
    comparable: bool,
    metric: str = Published.metric,
    confidence: float = 0.95,
) -> BesidePublished:
    """The results of our seeds beside what was published.

    Args:
        label: of the method.
        values: the result of each seed.
        published: what was published, in the same unit.
        comparable: whether both are results of the same; else they are not compared.
        metric: of which they are values.
        confidence: level of the intervals, in (0, 1).

    Raises:
        ValueError: no values, or one that is NaN or infinite.
        InvalidSetting: confidence outside (0, 1).
    """
    interval, ours = mean_interval(values, confidence), Runs.of(values)
    difference = welch_difference(ours, published, confidence) if published and comparable else None
    return BesidePublished(label, metric, ours, interval, published, difference)


def welch_difference(one: Runs, other: Runs, confidence: float = 0.95) -> Interval:
    """The mean of one minus that of the other, with Welch's interval for independent runs of unequal variance.

    The variance of the difference is the sum of the squared standard errors, v = v_1 + v_2 with v_i = s_i^2 / n_i. Its
    degrees of freedom are those of Welch-Satterthwaite, v^2 / (v_1^2 / (n_1 - 1) + v_2^2 / (n_2 - 1)). Without the
    deviation of both there is no interval.

    Args:
        one: two or more runs for an interval.
        other: in the same unit.
        confidence: level of the interval, in (0, 1).

    Raises:
        InvalidSetting: confidence outside (0, 1).

    References:
        Welch 1947, "The generalization of 'Student's' problem when several different population variances are
        involved", Biometrika 34
    """
    check_confidence(confidence)
    difference = one.mean - other.mean
    if one.deviation is None or other.deviation is None or min(one.n, other.n) < 2:
        return Interval(difference, None, None)
    parts = [each**2 / n for each, n in ((one.deviation, one.n), (other.deviation, other.n))]
    variance = sum(parts)
    if variance == 0:
        return Interval(difference, difference, difference)
    # Shares of the variance, as its square may be smaller than any float.
    freedom = 1 / sum((part / variance) ** 2 / (n - 1) for part, n in zip(parts, (one.n, other.n), strict=True))
    half = float(stdtrit(freedom, (1 + confidence) / 2)) * math.sqrt(variance)
    return Interval(difference, difference - half, difference + half)
