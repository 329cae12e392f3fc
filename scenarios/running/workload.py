"""The amount of work of the lifetimes of a seed, for the estimate of the remaining time."""

from collections.abc import Sequence

from agent.learners import Learner
from agent.learners.protocol import Estimating
from scenarios.config.settings import CurveConfig
from scenarios.datasets.load import Dataset


def workload(
    config: CurveConfig, learner: Learner, dataset: Dataset, ks: Sequence[float], n_policies: int = 0
) -> float:
    """The number of forward passes of one sample in the lifetimes of a seed; a training step counts as three.

    Args:
        config: resolved settings.
        learner: at initialization; if it cannot estimate its training, the training counts as 0.
        dataset: of the seed.
        ks: percentages of the static k%-learners.
        n_policies: number of other lifetimes.
    """
    n = len(dataset.train)
    at_once, later = 0.0, 0.0
    if isinstance(learner, Estimating):
        estimate = learner.estimate(dataset.train.inputs)
        at_once, later = (3 * work.samples / n for work in (estimate.at_once, estimate.later))
    return _of_statics(config, dataset, ks, at_once, later) + n_policies * _of_policy(config, dataset, at_once, later)


def _of_policy(config: CurveConfig, dataset: Dataset, at_once: float, later: float) -> float:
    """The work of a policy, whose decisions are unknown: as if it observed every chunk and learned every other one."""
    n, n_test, n_validation = len(dataset.train), len(dataset.test), len(dataset.validation)
    n_evaluations = config.chunks // config.evaluate_every if config.evaluate_every else 1
    forward = 1.5 * n + n_evaluations * (n_test + n_validation)
    # A learner that trains later trains after each of these chunks, on all samples so far: on half of them on average.
    n_trainings = (config.chunks // 2 + 1) / 2
    return n / 2 * (at_once + later * n_trainings) + forward


def _of_statics(config: CurveConfig, dataset: Dataset, ks: Sequence[float], at_once: float, later: float) -> float:
    if not ks:
        return 0
    n, n_test, n_validation = len(dataset.train), len(dataset.test), len(dataset.validation)
    forward = sum(n * (1 - k / 100) + n_test + (n_validation if k < 100 else 0) for k in ks)
    evaluated: list[float] = []
    if config.evaluate_every:
        parts = range(config.evaluate_every, config.chunks, config.evaluate_every)
        evaluated = [share for part in parts if (share := 100 * part / config.chunks) < max(ks)]
    forward += len(evaluated) * n_test
    # Lifetimes share a cool-down at the same chunk, but not a training from scratch.
    trained_at = {*evaluated, *ks} if at_once else [*evaluated, *ks]
    training = n / 100 * (at_once * max(ks) + later * sum(trained_at))
    warm = sum(n_test + (later * n if k < 100 else 0) for k in ks) if config.warm else 0
    return training + forward + warm
