"""How much there is to do, for the time that remains to be told."""

from collections.abc import Sequence

from agent.learners import Learner
from agent.learners.protocol import Estimating
from scenarios.config.settings import CurveConfig
from scenarios.datasets.load import Dataset


def workload(
    config: CurveConfig, learner: Learner, dataset: Dataset, ks: Sequence[float], n_policies: int = 0
) -> float:
    """Forward passes of one sample that a seed's lifetimes need (a training step counts as three).

    Args:
        config: all settings.
        learner: one that has learned nothing; nothing is told of the training of one that cannot estimate it.
        dataset: of the seed.
        ks: of the static k%-learners.
        n_policies: lived beside them.
    """
    n = len(dataset.train)
    at_once, later = 0.0, 0.0
    if isinstance(learner, Estimating):
        estimate = learner.estimate(dataset.train.inputs)
        at_once, later = (3 * work.samples / n for work in (estimate.at_once, estimate.later))
    return _of_statics(config, dataset, ks, at_once, later) + n_policies * _of_policy(config, dataset, at_once, later)


def _of_policy(config: CurveConfig, dataset: Dataset, at_once: float, later: float) -> float:
    """Nobody knows what a policy will do: taken for one that learns every other chunk and looks at all of them."""
    n, n_test, n_validation = len(dataset.train), len(dataset.test), len(dataset.validation)
    n_evaluations = config.chunks // config.evaluate_every if config.evaluate_every else 1
    looking = 1.5 * n + n_evaluations * (n_test + n_validation)
    # A learner that waits trains after each of these chunks, long or short, on all that was learned so far.
    n_trainings = (config.chunks // 2 + 1) / 2
    return n / 2 * (at_once + later * n_trainings) + looking


def _of_statics(config: CurveConfig, dataset: Dataset, ks: Sequence[float], at_once: float, later: float) -> float:
    if not ks:
        return 0
    n, n_test, n_validation = len(dataset.train), len(dataset.test), len(dataset.validation)
    looking = sum(n * (1 - k / 100) + n_test + (n_validation if k < 100 else 0) for k in ks)
    evaluated: list[float] = []
    if config.evaluate_every:
        parts = range(config.evaluate_every, config.chunks, config.evaluate_every)
        evaluated = [share for part in parts if (share := 100 * part / config.chunks) < max(ks)]
    looking += len(evaluated) * n_test
    # The cool-downs of a trunk are shared, trainings from scratch are not.
    trained_at = {*evaluated, *ks} if at_once else [*evaluated, *ks]
    training = n / 100 * (at_once * max(ks) + later * sum(trained_at))
    warm = sum(n_test + (later * n if k < 100 else 0) for k in ks) if config.warm else 0
    return training + looking + warm
