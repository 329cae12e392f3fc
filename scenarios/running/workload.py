"""How much there is to do, for the time that remains to be told."""

from collections.abc import Sequence

from scenarios.config.settings import CurveConfig
from scenarios.datasets.load import Dataset


def workload(config: CurveConfig, dataset: Dataset, ks: Sequence[float], n_policies: int = 0) -> float:
    """Forward passes of one sample that a seed's lifetimes need (a training step counts as three).

    Args:
        config: all settings.
        dataset: of the seed.
        ks: of the static k%-learners.
        n_policies: lived beside them.
    """
    return _of_statics(config, dataset, ks) + n_policies * _of_policy(config, dataset)


def _of_policy(config: CurveConfig, dataset: Dataset) -> float:
    """Nobody knows what a policy will do: taken for one that learns every other chunk and looks at all of them."""
    n, n_test, n_validation = len(dataset.train), len(dataset.test), len(dataset.validation)
    n_evaluations = config.chunks // config.evaluate_every if config.evaluate_every else 1
    looking = 1.5 * n + n_evaluations * (n_test + n_validation)
    # If not online, each of these chunks is followed by a training, long or short, on all that was learned so far.
    lazily = {"online": 0.0, "cooldown": config.cooldown, "original": 1.0}[config.protocol]
    n_trainings = lazily * (config.chunks // 2 + 1) / 2 + (config.protocol != "original")
    return 3 * config.epochs * n / 2 * n_trainings + looking


def _of_statics(config: CurveConfig, dataset: Dataset, ks: Sequence[float]) -> float:
    if not ks:
        return 0
    n, n_test, n_validation = len(dataset.train), len(dataset.test), len(dataset.validation)
    looking = sum(n * (1 - k / 100) + n_test + (n_validation if k < 100 else 0) for k in ks)
    plans: list[float] = []
    if config.evaluate_every:
        parts = range(config.evaluate_every, config.chunks, config.evaluate_every)
        plans = [share for part in parts if (share := 100 * part / config.chunks) < max(ks)]
    looking += len(plans) * n_test
    trained_at = {*plans, *ks} if config.protocol == "cooldown" else [*plans, *ks]
    on_the_way = {"online": 0.0, "cooldown": config.cooldown, "original": 1.0}[config.protocol]
    percents = on_the_way * sum(trained_at) + (max(ks) if config.protocol != "original" else 0)
    warm = sum(n_test + (3 * config.epochs * n if k < 100 else 0) for k in ks) if config.warm else 0
    return 3 * config.epochs * n * percents / 100 + looking + warm
