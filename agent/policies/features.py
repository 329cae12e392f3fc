"""Features of observations for policies with weights; their scale does not depend on the length of the stream."""

import reprlib
from collections.abc import Callable, Iterable, Mapping
from math import nan
from typing import NamedTuple, get_args

import numpy as np
from jaxtyping import Float

from agent.errors import InvalidSetting
from agent.policies.observation import Observation
from agent.policies.protocol import Observes

LIMIT = 100.0
"""Features are clipped to ±`LIMIT`: prices have no upper bound."""

MAX_RISE = 3.0
"""Rises are clipped to ±`MAX_RISE` nats, a factor of twenty."""

Fields = Mapping[str, Float[np.ndarray, " n"]]
"""The fields of n observations, by name."""


class Feature(NamedTuple):
    """How a feature is computed."""

    observes: Observes
    """What the policy has to observe for it."""
    of: Callable[[Fields], Float[np.ndarray, " n"]] | None = None
    """None for the field with the name of the feature."""


def _rise(name: str) -> Callable[[Fields], Float[np.ndarray, " n"]]:
    def rise(fields: Fields) -> Float[np.ndarray, " n"]:
        now, before = (np.log(np.maximum(fields[which], 1e-12)) for which in (name, f"mean_{name}"))
        return np.clip(now - before, -MAX_RISE, MAX_RISE)

    return rise


def _budget_left(fields: Fields) -> Float[np.ndarray, " n"]:
    left, budget = fields["left"], fields["left"] + fields["spent"]
    share = np.divide(left, budget, out=np.zeros_like(left), where=(budget > 0) & np.isfinite(left))
    return np.where(np.isinf(left), 1.0, share)


FEATURES: dict[str, Feature] = {
    "price": Feature("nothing"),
    "seen": Feature("nothing"),
    "learned": Feature("nothing"),
    "memory_empty": Feature("nothing", lambda fields: (fields["memory_entries"] == 0).astype(np.float64)),
    "budget_left": Feature("nothing", _budget_left),
    "learner_accuracy": Feature("learner"),
    "learner_margin": Feature("learner"),
    "loss_rise": Feature("learner", _rise("learner_loss")),
    "memory_accuracy": Feature("memory"),
    "memory_margin": Feature("memory"),
    "disagreement": Feature("memory"),
    "novelty_rise": Feature("memory", _rise("novelty")),
}
"""All features; those without a note are the field of the observation.

- `memory_empty`: 1 or 0.
- `budget_left`: the remaining share of the lifetime's budget, 0 to 1; 1 without a budget.
- `loss_rise`, `novelty_rise`: log(value / its running average), -3 to 3.

Features that need the memory are 0 while it is empty; `novelty_rise` is 0 if the memory does not measure novelty.
"""


def features_at(level: Observes) -> tuple[str, ...]:
    """Names of the features that need no more than `level`, in the order of `FEATURES`."""
    levels = get_args(Observes)
    return tuple(n for n, feature in FEATURES.items() if levels.index(feature.observes) <= levels.index(level))


def observes_of(names: Iterable[str]) -> Observes:
    """What a policy has to observe for these features.

    Raises:
        InvalidSetting: an unknown name.
    """
    return max((_feature(name).observes for name in names), key=get_args(Observes).index, default="nothing")


def features_of(vectors: Float[np.ndarray, "n n_fields"], names: Iterable[str]) -> Float[np.ndarray, "n n_features"]:
    """Features of observations, finite and within ±`LIMIT`; 0 for what was not observed.

    Args:
        vectors: one row per observation, from `Observation.vector`.
        names: of the features, one per column.

    Raises:
        InvalidSetting: an unknown name.
    """
    fields = dict(zip(Observation.names(), vectors.T, strict=False))  # further estimates come last
    with np.errstate(invalid="ignore", over="ignore"):  # infinity - infinity is NaN, and 0 below
        columns = [fields[name] if (of := _feature(name).of) is None else of(fields) for name in names]
    features = np.stack(columns, axis=1) if columns else np.empty((len(vectors), 0))
    return np.clip(np.nan_to_num(features), -LIMIT, LIMIT)


def accuracy_seen(observation: Observation, observes: Observes) -> float:
    """Accuracy on the current chunk before its use, 0 to 1: the higher one of learner and memory.

    The memory counts if it is observed and not empty. NaN if neither is observed.
    """
    learner = nan if observes == "nothing" else observation.learner_accuracy
    memory = observation.memory_accuracy if observes == "memory" else nan
    return float(np.fmax(learner, memory))


def _feature(name: str) -> Feature:
    if name not in FEATURES:
        raise InvalidSetting(f"expected features out of {', '.join(FEATURES)}, got {reprlib.repr(name)}")
    return FEATURES[name]
