"""What a policy knows when it decides: one flat vector with named fields."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from math import inf, nan
from typing import Any

import numpy as np
from jaxtyping import Float

from agent.operations import OPERATIONS


def estimated(operation: str) -> tuple[str, str]:
    """The fields for the estimate of an operation: in GFLOP, and in the unit of the cost model."""
    return f"{operation}_gflop", f"{operation}_cost"


@dataclass(frozen=True)
class Observation:
    """What is known about the current chunk before it is used; `vector` gives the numbers in fixed order.

    Fields about the stream, the memory, prices and costs always have a value. The signals, from `learner_loss` on, cost
    compute: they are NaN unless the policy asks for them (`Policy.observes`), and are charged to the account `decide`.
    Labels serve only the losses and accuracies.

    Attributes:
        step: chunks before this one.
        n_chunks: chunks in the whole stream.
        n_samples: samples in the current chunk.
        seen: share of the chunks of the stream before this one, 0 to below 1.
        learned: share of the samples before this chunk that were learned, 0 to 1.
        memorized: share of the samples before this chunk that were memorized, 0 to 1.
        memory_entries: entries in memory.
        memory_nbytes: bytes of the memory, with the raw images stored beside it.
        price: of compute now, as a multiple of that in the cost model.
        spent: total cost so far, on all accounts of the agent and for storage, in the unit of the cost model. Training
            that is ordered but pending is included as estimated.
        left: what remains of the lifetime's budget, in the same unit, at least 0; infinite without a budget.
        refused: share of the chunks before this one on which an enforced budget did not last for the policy's action, 0
            to 1.
        speed_gflop: what the agent computes while a chunk arrives, in GFLOP; infinite if the stream waits. While an
            action takes longer, the chunks that arrive are missed.
        missed: share of the chunks before this one that were missed so, 0 to 1.
        spent_gflop: total compute so far, on all accounts of the agent, in GFLOP.
        learning_spent: the part of `spent` for gradient updates, and for re-keying on learning.
        learning_spent_gflop: the same part of `spent_gflop`.
        learn_gflop: estimate for LEARN with the re-keying on learning, in GFLOP. If the learner trains later, it is the
            share of this chunk, by samples, in a training right after it. Re-keying every n chunks does not depend on a
            single decision, and is part of no estimate.
        learn_cost: what LEARN will cost on the accounts `learn` and `rekey`, in the unit of the cost model.
        memorize_gflop: estimate for MEMORIZE, in GFLOP: the forward pass that gives the keys, unless the policy has
            paid for it already, and the pending training before it.
        memorize_cost: what MEMORIZE will cost, with writing the bytes and storing them for this chunk, in the unit of
            the cost model. The pending training is in `spent` already, as estimated.
        consolidate_gflop: estimate for CONSOLIDATE, in GFLOP: memorizing, and learning from images in memory. NaN if
            the agent does not offer it.
        consolidate_cost: what CONSOLIDATE will cost, less what it releases for this chunk, in the unit of the cost
            model; NaN likewise.
        learner_loss: mean cross-entropy of the learner on the chunk, in nats.
        learner_accuracy: accuracy of the learner on the chunk, 0 to 1.
        learner_entropy: mean entropy of the learner's predictions, in nats.
        learner_margin: mean difference between the learner's two highest probabilities, 0 to 1.
        memory_loss: mean cross-entropy of the memory on the chunk, in nats. Like `memory_*`, `disagreement` and
            `novelty` it is NaN while the memory is empty. Before the first calibration, the memory uses a prior
            setting.
        memory_accuracy: accuracy of the memory on the chunk, 0 to 1.
        memory_entropy: mean entropy of the memory's predictions, in nats.
        memory_margin: mean difference between the memory's two highest probabilities, 0 to 1.
        disagreement: share of the chunk for which learner and memory predict different classes, 0 to 1.
        novelty: mean distance to the stored entries, as the memory measures it, 0 or more; for the cache 1 - cosine to
            the nearest key, 0 to 2. NaN if the memory does not measure it.
        mean_learner_loss: running average of `learner_loss` over the chunks before this one
            (`agent.policies.signals.RunningAverages`).
        mean_learner_accuracy: the same of `learner_accuracy`.
        mean_learner_entropy: the same of `learner_entropy`.
        mean_learner_margin: the same of `learner_margin`.
        mean_memory_loss: the same of `memory_loss`.
        mean_memory_accuracy: the same of `memory_accuracy`.
        mean_memory_entropy: the same of `memory_entropy`.
        mean_memory_margin: the same of `memory_margin`.
        mean_disagreement: the same of `disagreement`.
        mean_novelty: the same of `novelty`.
        further: estimates of other operations, by name: `NAME_gflop` and `NAME_cost`. Each is also an attribute:
            `both_gflop` and `both_cost` for BOTH, learning and then memorizing. NaN if the agent does not offer it.
        actions: names of the operations that the agent offers; not a number in `vector`.
        performed: name of what was done with the chunk before this one, if the policy's action was refused: an
            operation, or `agent.operations.PASS`. None if it was the policy's action; not a number in `vector`.
    """

    step: int
    n_chunks: int
    n_samples: int = 0
    seen: float = 0.0
    learned: float = 0.0
    memorized: float = 0.0
    memory_entries: int = 0
    memory_nbytes: int = 0
    price: float = 1.0
    spent: float = 0.0
    left: float = inf
    refused: float = 0.0
    speed_gflop: float = inf
    missed: float = 0.0
    spent_gflop: float = 0.0
    learning_spent: float = 0.0
    learning_spent_gflop: float = 0.0
    learn_gflop: float = 0.0
    learn_cost: float = 0.0
    memorize_gflop: float = 0.0
    memorize_cost: float = 0.0
    consolidate_gflop: float = nan
    consolidate_cost: float = nan
    learner_loss: float = nan
    learner_accuracy: float = nan
    learner_entropy: float = nan
    learner_margin: float = nan
    memory_loss: float = nan
    memory_accuracy: float = nan
    memory_entropy: float = nan
    memory_margin: float = nan
    disagreement: float = nan
    novelty: float = nan
    mean_learner_loss: float = nan
    mean_learner_accuracy: float = nan
    mean_learner_entropy: float = nan
    mean_learner_margin: float = nan
    mean_memory_loss: float = nan
    mean_memory_accuracy: float = nan
    mean_memory_entropy: float = nan
    mean_memory_margin: float = nan
    mean_disagreement: float = nan
    mean_novelty: float = nan
    further: Mapping[str, float] = field(default_factory=dict)
    actions: tuple[str, ...] = ("memorize", "learn")
    performed: str | None = None

    def __getattr__(self, name: str) -> float:
        """An estimate of a further operation; if it was not given 0, or NaN if not all agents offer the operation."""
        further: Mapping[str, float] = self.__dict__.get("further", {})
        if name not in further and name not in self.names(tuple(OPERATIONS)):
            raise AttributeError(f"an observation has no {name}")
        return further.get(name, 0.0 if name in self.names() else nan)

    @staticmethod
    def names(actions: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Names of the fields, in the order of `vector`.

        Estimates of BOTH come last, and only if it is among the `actions` that the agent offers.
        """
        return _names(tuple(name for name, each in OPERATIONS.items() if not each.option or name in actions))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Observation":
        """The observation with these values, by name of the field."""
        own = {name: value for name, value in values.items() if name in _OWN or name in _NO_NUMBERS}
        further = {name: value for name, value in values.items() if name not in own}
        return cls(**own, further=further)

    def vector(self) -> Float[np.ndarray, " n_fields"]:
        """All fields as float64, in the order of `names` for the actions that the agent offers."""
        return np.array([getattr(self, name) for name in self.names(self.actions)], dtype=np.float64)


_NO_NUMBERS = ("actions", "performed")
_OWN = tuple(field.name for field in fields(Observation) if field.name not in ("further", *_NO_NUMBERS))


@cache
def _names(operations: tuple[str, ...]) -> tuple[str, ...]:
    return (*_OWN, *(name for each in operations for name in estimated(each) if name not in _OWN))
