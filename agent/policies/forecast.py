"""A small model of accuracy, fitted during the lifetime, and the action with the higher forecast."""

import reprlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from agent.errors import InvalidSetting
from agent.operations import Action
from agent.policies.features import accuracy_seen
from agent.policies.observation import Observation
from agent.policies.protocol import Policy
from agent.policies.ranges import check_at_least, check_numbers, check_one_of

N_TERMS = 4
MEAN = (0.1, 0.2, 0.1, 0.05)
"""Of the generic prior: accuracy 10% at initialization, 58% after learning all, 34% after memorizing all chunks."""
DEVIATION = (0.2, 0.1, 0.1, 0.1)
"""Standard deviations of the generic prior, by weight."""
MIN_NOISE = 1e-3
MIN_PRECISION = 1e-6
"""Least eigenvalue of a prior precision; with `MIN_NOISE`, it keeps the posterior solvable in float64."""


class ForecastPolicy(Policy):
    """Learns if learning has the higher forecast of accuracy, minus its cost; fits the forecast during the lifetime.

    The forecast is φ·β with φ = (1, log(1 + 10 l), log(1 + 10 m), log(1 + 10 q)): l and m are the chunks learned and
    memorized so far, and q is Σ over memorized chunks of the chunks learned before them, because keys of an older
    network are worse; each as a share of the stream (of its square, for q). β has a Gaussian prior. It is updated at
    every chunk with the accuracy before its use, the higher one of learner and memory (Bayesian linear regression).
    LEARN if φ·β after learning - cost_weight × its cost >= the same for memorizing, at the posterior mean.

    Args:
        cost_weight: accuracy that one unit of the cost model is worth, 0 or more.
        noise: standard deviation of the accuracy seen on a chunk about the forecast, 0.001 or more.
        mean: of the prior, 4 numbers; None for a generic one, in which accuracy grows with l, m and q.
        precision: of the prior, the inverse of its covariance, 4 × 4, symmetric and positive definite; None for a
            generic one.
        observes: what to observe and pay for: the learner's signals on a chunk, or also those of the memory.

    Raises:
        InvalidSetting: a number out of its range; a prior of another shape; another value of observes.

    References:
        Bishop, "Pattern recognition and machine learning", 2006, section 3.3, equations 3.50 and 3.51.
    """

    needs_estimates = True

    def __init__(
        self,
        cost_weight: float = 0.004,
        noise: float = 0.05,
        mean: Sequence[float] | None = None,
        precision: tuple[tuple[float, ...], ...] | None = None,
        observes: Literal["learner", "memory"] = "memory",
    ) -> None:
        check_at_least("cost_weight", cost_weight, 0)
        check_at_least("noise", noise, MIN_NOISE)
        check_one_of("observes", observes, "learner", "memory")
        self.cost_weight, self.noise, self.observes = cost_weight, noise, observes
        prior = np.diag(np.array(DEVIATION) ** -2.0) if precision is None else _checked_precision(precision)
        self.precision = prior.tolist()
        """S⁻¹, the inverse of the posterior covariance."""
        self.response = (prior @ _checked_mean(MEAN if mean is None else mean)).tolist()
        """S⁻¹ × the posterior mean."""
        self.counts = [0, 0, 0]
        """Learned, memorized, and Σ over memorized chunks of those learned before them; see `counts_before_each`."""
        self.counts_before = [0, 0, 0]
        """The same before the last chunk."""

    def decide(self, observation: Observation) -> Action:
        """LEARN if its forecast, minus its cost, is at least that of MEMORIZE."""
        if observation.performed is not None:  # not what was chosen
            self.counts = _counts_after(self.counts_before).get(Action(observation.performed), self.counts_before)
        after = _counts_after(self.counts)
        now, learning, memorizing = terms_of(np.array([self.counts, *after.values()]), observation.n_chunks)
        seen = accuracy_seen(observation, self.observes)
        self.precision = (self.precision + np.outer(now, now) / self.noise**2).tolist()
        self.response = (self.response + now * seen / self.noise**2).tolist()
        weights = np.linalg.solve(np.array(self.precision), np.array(self.response))
        worth_learning = learning @ weights - self.cost_weight * observation.learn_cost
        worth_memorizing = memorizing @ weights - self.cost_weight * observation.memorize_cost
        chosen = Action.LEARN if worth_learning >= worth_memorizing else Action.MEMORIZE
        self.counts_before, self.counts = self.counts, after[chosen]
        return chosen


def _counts_after(counts: Sequence[int]) -> dict[Action, list[int]]:
    """The counts after each action."""
    learned, memorized, order = counts
    return {
        Action.LEARN: [learned + 1, memorized, order],
        Action.MEMORIZE: [learned, memorized + 1, order + learned],
    }


def counts_before_each(learns: Bool[np.ndarray, " n_chunks"]) -> Int[np.ndarray, "n_chunks 3"]:
    """Counts before each chunk: learned chunks, memorized ones, and Σ over these of the chunks learned before them.

    Args:
        learns: whether each chunk was learned, in order; it was memorized otherwise.
    """
    learned = np.cumsum(learns) - learns
    stored = np.where(learns, 0, learned)
    return np.stack([learned, np.arange(len(learns)) - learned, np.cumsum(stored) - stored], axis=1)


def terms_of(counts: Int[np.ndarray, "n 3"], n_chunks: int) -> Float[np.ndarray, "n 4"]:
    """The terms φ of the forecast, from counts of `counts_before_each` in a stream of `n_chunks`."""
    shares = counts / np.array([n_chunks, n_chunks, n_chunks**2])
    return np.hstack([np.ones((len(counts), 1)), np.log1p(10 * shares)])


def fit_prior(
    terms: Float[np.ndarray, "n 4"],
    accuracy: Float[np.ndarray, " n"],
    worlds: Int[np.ndarray, " n"],
    *,
    noise: float = 0.05,
    ridge: float = 1.0,
    n_generic: float = 4.0,
) -> tuple[tuple[float, ...], tuple[tuple[float, ...], ...]]:
    """A prior for `ForecastPolicy` from lifetimes in many worlds: the distribution of β among worlds.

    In each world, β is estimated by ridge regression, shrunk towards the β of all rows, which is shrunk towards the
    generic prior. The prior has the mean of β over worlds. Its covariance is that between worlds, shrunk towards the
    diagonal covariance of the generic prior as if `n_generic` more worlds had varied so; it is always invertible.

    Args:
        terms: φ of each chunk, one row per chunk, from `terms_of`; of any number of lifetimes.
        accuracy: on each chunk before its use, 0 to 1.
        worlds: number of the world of each row.
        noise: standard deviation of the accuracy about the forecast, 0.001 or more.
        ridge: precision of the shrinkage of each world's β, above 0.
        n_generic: number of worlds that the generic prior counts as, above 0.

    Returns:
        Mean (4 numbers) and precision (4 × 4), the arguments of `ForecastPolicy`.

    Raises:
        InvalidSetting: no rows; NaN or infinity; a number out of its range.
    """
    check_at_least("noise", noise, MIN_NOISE)
    check_at_least("ridge", ridge, MIN_PRECISION)
    check_at_least("n_generic", n_generic, MIN_PRECISION)
    if not len(terms):
        raise InvalidSetting("expected at least 1 row to fit a prior to, got none")
    if not (np.isfinite(terms).all() and np.isfinite(accuracy).all()):
        raise InvalidSetting("expected finite terms and accuracies, got NaN or infinity; leave those rows out")

    def regression(rows: Bool[np.ndarray, " n"], towards: Float[np.ndarray, "4"]) -> Float[np.ndarray, "4"]:
        phi, a = terms[rows], accuracy[rows]
        return np.linalg.solve(phi.T @ phi / noise**2 + ridge * np.eye(N_TERMS), phi.T @ a / noise**2 + ridge * towards)

    pooled = regression(np.ones(len(terms), dtype=bool), np.array(MEAN))
    found = np.stack([regression(worlds == world, pooled) for world in np.unique(worlds)])
    mean, n_worlds = found.mean(axis=0), len(found)
    generic = np.diag(np.array(DEVIATION) ** 2)
    covariance = ((found - mean).T @ (found - mean) + n_generic * generic) / (n_worlds + n_generic)
    precision = np.linalg.inv(covariance)
    precision = (precision + precision.T) / 2
    return tuple(mean.tolist()), tuple(map(tuple, precision.tolist()))


def _checked_mean(mean: Sequence[float]) -> Float[np.ndarray, "4"]:
    if len(mean) != N_TERMS or not np.isfinite(mean).all():
        raise InvalidSetting(f"expected {N_TERMS} finite numbers for the prior's mean, got {reprlib.repr(mean)}")
    found = np.array(mean, dtype=np.float64)
    check_numbers("the prior's mean", found)
    return found


def _checked_precision(precision: tuple[tuple[float, ...], ...]) -> Float[np.ndarray, "4 4"]:
    got = reprlib.repr(precision)
    if [len(row) for row in precision] != [N_TERMS] * N_TERMS or not np.isfinite(precision).all():
        raise InvalidSetting(f"expected {N_TERMS} × {N_TERMS} finite numbers for the prior's precision, got {got}")
    found = np.array(precision, dtype=np.float64)
    if not np.array_equal(found, found.T) or np.linalg.eigvalsh(found)[0] < MIN_PRECISION:
        raise InvalidSetting(
            f"expected a symmetric precision of the prior with eigenvalues of at least {MIN_PRECISION}, got {got}"
        )
    return found
