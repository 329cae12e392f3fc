"""Statistics over seeds: means, paired differences, ratios of means, and the relative value of learning."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from agent.errors import InvalidSetting

Values = Sequence[float] | np.ndarray
"""One number for each seed."""

_ROUNDING = 1e-12
"""Differences of accuracies below this are rounding errors: a real difference is at least 1 / (test images)."""


@dataclass(frozen=True)
class Interval:
    """The mean over seeds and its Student t interval.

    Attributes:
        estimate: the mean, in the unit of the values.
        low: lower end of the interval; None for a single seed, which has no spread.
        high: upper end of the interval; None for a single seed.
    """

    estimate: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Ratio:
    """A ratio of two means and its Fieller interval; no numbers if the data do not determine the ratio.

    Attributes:
        estimate: mean of the numerators over mean of the denominators.
        low: lower end of the interval, at most `estimate`.
        high: upper end of the interval, at least `estimate`.
        reason: why the data do not determine the ratio; None if they do.
    """

    estimate: float | None
    low: float | None
    high: float | None
    reason: str | None = None


@dataclass(frozen=True)
class RelativeValue:
    """The accuracies at one k and the relative value of learning. Accuracies and gains are fractions, not percent.

    Attributes:
        seeds: number of seeds, n.
        confidence: level of every interval here, in (0, 1).
        x: accuracy of the learner alone after k% of the data.
        z: accuracy of the k%-learner and its memory, mixed.
        y: accuracy of the 100%-learner.
        y_minus_x: the gain from learning the rest of the data, paired by seed.
        z_minus_x: the gain from memorizing the rest, paired by seed.
        R: relative value of learning, (y - x) / (z - x); 1 where memorizing is as good as learning.
        share: 1 / R = (z - x) / (y - x), the share of the learning gain that memorizing recovers.
    """

    seeds: int
    confidence: float
    x: Interval
    z: Interval
    y: Interval
    y_minus_x: Interval
    z_minus_x: Interval
    R: Ratio
    share: Ratio


@dataclass(frozen=True)
class CurvePoint:
    """The measurements at one k. The i-th entries of `x`, `y` and `z` come from the same seed.

    Attributes:
        k: percent of the data used for learning, in 0..100.
        x: accuracies in [0, 1] of the learner alone after k% of the data, one for each seed.
        y: accuracies of the 100%-learner.
        z: accuracies of the k%-learner and its memory, mixed.

    Raises:
        InvalidSetting: k lies outside 0..100.
    """

    k: float
    x: tuple[float, ...]
    y: tuple[float, ...]
    z: tuple[float, ...]

    def __post_init__(self) -> None:
        if not 0 <= self.k <= 100:
            raise InvalidSetting(f"expected k in 0..100, got {self.k:g}")

    def statistics(self, confidence: float = 0.95) -> RelativeValue:
        """The `relative_value` at this point, with the same errors."""
        return relative_value(self.x, self.y, self.z, confidence)


def mean_interval(values: Values, confidence: float = 0.95) -> Interval:
    """Mean of n independent values with its t interval, mean ± t(n - 1) s / sqrt(n), where s is the sample deviation.

    The interval is not clipped: the interval of an accuracy can pass 0 or 1.

    Raises:
        ValueError: no values, or a value that is NaN or infinite.
        InvalidSetting: confidence outside (0, 1).
    """
    sample = _sample("values", values)
    check_confidence(confidence)
    mean = float(sample.mean())
    if len(sample) == 1:
        return Interval(mean, None, None)
    half = t_quantile(len(sample), confidence) * math.sqrt(sample.var(ddof=1) / len(sample))
    return Interval(mean, mean - half, mean + half)


def paired_differences(minuends: np.ndarray, subtrahends: np.ndarray) -> np.ndarray:
    """The differences of accuracies, one for each seed; a rounding error such as 0.1 + 0.2 - 0.3 becomes 0."""
    differences = minuends - subtrahends
    return np.where(np.abs(differences) < _ROUNDING, 0.0, differences)


def ratio_of_means(
    numerators: Values,
    denominators: Values,
    confidence: float = 0.95,
    *,
    denominator_name: str = "the mean of the denominators",
) -> Ratio:
    """Ratio of the means of n pairs (a_i, b_i), one for each seed, with the Fieller interval.

    The interval holds every r for which a t test with n - 1 degrees of freedom does not reject mean(a - r b) = 0
    (Franz 2007, arXiv:0710.2024, section 3; von Luxburg & Franz, arXiv:0711.0198). It is exact for normal pairs,
    correlated or not. It is bounded only if the same test distinguishes mean(b) from 0; otherwise no number is
    returned.

    With the estimate rho = mean(a) / mean(b) and the residuals e = a - rho b, whose mean is 0, the ends of the interval
    are rho + d for the two roots d of

        (mean(b)^2 - t^2 s_bb) d^2 + 2 t^2 s_eb d - t^2 s_ee = 0

    where the s are variances and the covariance of the means (sample values over n). In this form the roots are always
    real and one lies on each side of 0, also in floating point. The textbook form in a and b does not ensure this for
    nearly collinear pairs.

    Args:
        numerators: a, one for each seed.
        denominators: b, in the same order of seeds.
        confidence: level of the interval, in (0, 1).
        denominator_name: name of the mean of b in `Ratio.reason`.

    Raises:
        ValueError: no pairs, unequal lengths, or a value that is NaN or infinite.
        InvalidSetting: confidence outside (0, 1).
    """
    a, b = _sample("numerators", numerators), _sample("denominators", denominators)
    n = len(a)
    if n != len(b):
        raise ValueError(f"expected one denominator for each numerator, got {n} numerators, {len(b)} denominators")
    check_confidence(confidence)
    if n == 1:
        return Ratio(None, None, None, "an interval needs at least two seeds")
    t_squared = t_quantile(n, confidence) ** 2
    mean_b = float(b.mean())
    leading = mean_b**2 - t_squared * float(b.var(ddof=1)) / n
    if leading <= 0:
        return Ratio(None, None, None, f"{denominator_name} cannot be told from 0 at {100 * confidence:g}% confidence")
    estimate = float(a.mean()) / mean_b
    residuals = a - estimate * b
    s_ee = float(residuals.var(ddof=1)) / n
    s_eb = float(np.dot(residuals - residuals.mean(), b - mean_b)) / (n - 1) / n
    centre = -t_squared * s_eb
    reach = math.hypot(centre, math.sqrt(leading * t_squared * s_ee))
    return Ratio(estimate, estimate + (centre - reach) / leading, estimate + (centre + reach) / leading)


def relative_value(x: Values, y: Values, z: Values, confidence: float = 0.95) -> RelativeValue:
    """Relative value of learning, R = (y - x) / (z - x), of E. Orhan (2019), from paired seeds.

    R and `share` = 1 / R are ratios of means, each with its own Fieller interval (`ratio_of_means`). R is undetermined
    if z - x cannot be distinguished from 0, and `share` if y - x cannot.

    Args:
        x: accuracies in [0, 1] of the learner alone after k% of the data, one for each seed.
        y: accuracies of the 100%-learner, in the same order of seeds.
        z: accuracies of the k%-learner and its memory, mixed.
        confidence: level of every interval, in (0, 1).

    Raises:
        ValueError: no seeds, unequal lengths, or an accuracy that is not a number in [0, 1].
        InvalidSetting: confidence outside (0, 1).
    """
    check_confidence(confidence)
    samples = {name: _sample(name, values) for name, values in (("x", x), ("y", y), ("z", z))}
    if len({len(sample) for sample in samples.values()}) > 1:
        counts = ", ".join(f"{len(sample)} of {name}" for name, sample in samples.items())
        raise ValueError(f"expected x, y and z of the same seeds, got {counts}")
    for name, sample in samples.items():
        outside = sample[(sample < 0) | (sample > 1)]
        if outside.size:
            raise ValueError(f"expected accuracies in [0, 1] (not percent), got {outside[0]:g} in {name}")
    gain, recovered = (paired_differences(samples[name], samples["x"]) for name in ("y", "z"))
    return RelativeValue(
        seeds=len(gain),
        confidence=confidence,
        x=mean_interval(samples["x"], confidence),
        z=mean_interval(samples["z"], confidence),
        y=mean_interval(samples["y"], confidence),
        y_minus_x=mean_interval(gain, confidence),
        z_minus_x=mean_interval(recovered, confidence),
        R=ratio_of_means(gain, recovered, confidence, denominator_name="z − x"),
        share=ratio_of_means(recovered, gain, confidence, denominator_name="y − x"),
    )


def t_quantile(n: int, confidence: float) -> float:
    """Half the width of the t interval of a mean of n values, two or more, in standard errors of the mean."""
    return float(stdtrit(n - 1, (1 + confidence) / 2))


def check_confidence(confidence: float) -> None:
    """Raise InvalidSetting for a confidence outside (0, 1)."""
    if not 0 < confidence <= 0.999999:
        raise InvalidSetting(f"expected a confidence above 0 and up to 0.999999, got {confidence:g}")


def _sample(name: str, values: Values) -> np.ndarray:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1:
        raise ValueError(f"expected one number for each seed in {name}, got an array of shape {sample.shape}")
    if sample.size == 0:
        raise ValueError(f"expected at least one seed in {name}, got none")
    if not np.isfinite(sample).all():
        raise ValueError(f"expected finite numbers in {name}, got {sample[~np.isfinite(sample)][0]:g}")
    return sample
