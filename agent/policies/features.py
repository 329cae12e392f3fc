"""Features of observations for policies with weights: numbers that mean the same in short and long streams."""

import reprlib
from collections.abc import Callable, Iterable
from math import nan
from typing import NamedTuple, get_args

import numpy as np
from jaxtyping import Float

from agent.errors import InvalidSetting
from agent.policies.observation import Observation
from agent.policies.protocol import Observes

LIMIT = 100.0
"""No feature is larger, or below minus that: a price may be any."""

MAX_RISE = 3.0
"""In nats: twenty times the average is as much as any more."""

Field = Callable[[str], Float[np.ndarray, " n"]]
"""A field of n observations, by name."""


class Feature(NamedTuple):
    """How a feature is computed."""

    observes: Observes
    """What must be seen of a chunk for it."""
    of: Callable[[Field], Float[np.ndarray, " n"]]


def _rise(name: str) -> Callable[[Field], Float[np.ndarray, " n"]]:
    def rise(field: Field) -> Float[np.ndarray, " n"]:
        now, before = (np.log(np.maximum(field(which), 1e-12)) for which in (name, f"mean_{name}"))
        return np.clip(now - before, -MAX_RISE, MAX_RISE)

    return rise


def _budget_left(field: Field) -> Float[np.ndarray, " n"]:
    left, budget = field("left"), field("left") + field("spent")
    share = np.divide(left, budget, out=np.zeros_like(left), where=(budget > 0) & np.isfinite(left))
    return np.where(np.isinf(left), 1.0, share)


FEATURES: dict[str, Feature] = {
    "price": Feature("nothing", lambda field: field("price")),
    "seen": Feature("nothing", lambda field: field("seen")),
    "learned": Feature("nothing", lambda field: field("learned")),
    "memory_empty": Feature("nothing", lambda field: (field("memory_entries") == 0).astype(np.float64)),
    "budget_left": Feature("nothing", _budget_left),
    "learner_accuracy": Feature("learner", lambda field: field("learner_accuracy")),
    "learner_margin": Feature("learner", lambda field: field("learner_margin")),
    "loss_rise": Feature("learner", _rise("learner_loss")),
    "memory_accuracy": Feature("memory", lambda field: field("memory_accuracy")),
    "memory_margin": Feature("memory", lambda field: field("memory_margin")),
    "disagreement": Feature("memory", lambda field: field("disagreement")),
    "novelty_rise": Feature("memory", _rise("novelty")),
}
"""Every feature, by what must be seen for it:

- nothing: `price` as a multiple of what the cost model says; `seen` and `learned`, shares of stream and samples;
  `memory_empty`, 1 or 0; `budget_left`, the share of the lifetime's budget that remains, 1 where there is none.
- learner: `learner_accuracy` and `learner_margin` on the chunk; `loss_rise`, log(loss / its running average), -3 to 3.
- memory: `memory_accuracy`, `memory_margin` and `disagreement` on the chunk; `novelty_rise`, as `loss_rise`. All of
  them are 0 while the memory is empty, and the last for a memory that tells no novelty.
"""


def features_at(level: Observes) -> tuple[str, ...]:
    """Names of the features that need no more than `level`, in the order of `FEATURES`."""
    levels = get_args(Observes)
    return tuple(n for n, feature in FEATURES.items() if levels.index(feature.observes) <= levels.index(level))


def observes_of(names: Iterable[str]) -> Observes:
    """The dearest look at a chunk that any of the features needs.

    Raises:
        InvalidSetting: an unknown name.
    """
    return max((_feature(name).observes for name in names), key=get_args(Observes).index, default="nothing")


def features_of(vectors: Float[np.ndarray, "n n_fields"], names: Iterable[str]) -> Float[np.ndarray, "n n_features"]:
    """Features of observations, finite and within ±`LIMIT`; what was not seen is 0.

    Args:
        vectors: an observation a row, as `Observation.vector` gives it.
        names: of the features, a column each.

    Raises:
        InvalidSetting: an unknown name.
    """
    columns = dict(zip(Observation.names(), vectors.T, strict=True))
    with np.errstate(invalid="ignore", over="ignore"):  # infinity less infinity is no number, and 0 below
        found = [_feature(name).of(columns.__getitem__) for name in names]
    features = np.stack(found, axis=1) if found else np.empty((len(vectors), 0))
    return np.clip(np.nan_to_num(features), -LIMIT, LIMIT)


def accuracy_seen(observation: Observation, observes: Observes) -> float:
    """Share of the chunk at hand that the agent gets right before its use, 0 to 1: the better of learner and memory.

    An empty memory does not count, nor does one that the policy does not ask to see. NaN if it sees neither.
    """
    learner = nan if observes == "nothing" else observation.learner_accuracy
    memory = observation.memory_accuracy if observes == "memory" else nan
    return float(np.fmax(learner, memory))


def _feature(name: str) -> Feature:
    if name not in FEATURES:
        raise InvalidSetting(f"expected features out of {', '.join(FEATURES)}, got {reprlib.repr(name)}")
    return FEATURES[name]
