"""What a policy may know when it decides: one flat vector with named fields."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import inf, nan
from typing import Any

import numpy as np
from jaxtyping import Float

from agent.operations import OPERATIONS


def estimated(operation: str) -> tuple[str, str]:
    """The fields that say what an operation will take: in GFLOP, and in the unit of the cost model."""
    return f"{operation}_gflop", f"{operation}_cost"


@dataclass(frozen=True)
class Observation:
    """What is known before the chunk at hand is used, in fixed order; `vector` gives it as numbers.

    Fields about the stream, memory, prices and costs are always there. What learner and memory make of the chunk
    costs compute: it is NaN unless the policy asks for it (`Policy.observes`), and then charged to the account
    `decide`. Labels are used for nothing but scoring: losses and accuracies.

    Attributes:
        step: chunks met before this one.
        n_chunks: chunks of the whole stream.
        n_samples: samples in the chunk at hand.
        seen: share of the stream's chunks that lie behind, 0 to below 1.
        learned: share of the samples met so far that were learned from, 0 to 1.
        memorized: share of the samples met so far that were memorized, 0 to 1.
        memory_entries: entries in memory.
        memory_nbytes: bytes of the memory, with the raw images kept for re-keying.
        price: of compute now, as a multiple of what the cost model says.
        spent: paid so far on all of the agent's accounts and on storage, in the unit of the cost model; training that
            was ordered and is still to be done is part of it as estimated.
        left: what remains of the lifetime's budget, in the same unit, 0 at the least; infinite where there is
            no budget.
        spent_gflop: computed so far on all of the agent's accounts, in GFLOP.
        learning_spent: the part of `spent` that went to gradient updates, and to re-keying on learning.
        learning_spent_gflop: the part of `spent_gflop` that went there.
        learn_gflop: what LEARN will take, with the re-keying on learning, in GFLOP. Where a learner trains later, it is
            this chunk's part, by samples, of a training right after. Re-keying every n chunks follows from no single
            decision, and is part neither of this nor of what MEMORIZE takes.
        learn_cost: what is charged for that to `learn` and `rekey`, in the unit of the cost model.
        memorize_gflop: what MEMORIZE will take, in GFLOP: the forward pass that gives the keys, unless the policy has
            looked at the chunk and paid for it, and the training that is still to be done before it.
        memorize_cost: what that costs, with the bytes that are written and with holding them for this chunk, in the
            unit of the cost model. The training before it is in `spent` already, as estimated.
        learner_loss: mean cross-entropy of the learner on the chunk, in nats.
        learner_accuracy: share of the chunk that the learner classifies rightly.
        learner_entropy: mean entropy of the learner's predictions, in nats.
        learner_margin: mean difference of the learner's two highest probabilities, 0 to 1.
        memory_loss: mean cross-entropy of the memory on the chunk, in nats. Like `memory_*`, `disagreement` and
            `novelty` it is NaN while the memory is empty. Before the first calibration the memory is read with a
            prior setting.
        memory_accuracy: share of the chunk that the memory classifies rightly.
        memory_entropy: mean entropy of the memory's predictions, in nats.
        memory_margin: mean difference of the memory's two highest probabilities, 0 to 1.
        disagreement: share of the chunk on which learner and memory name different classes.
        novelty: mean distance to what is stored, as the memory measures it, 0 or more; for the cache 1 - cosine to the
            nearest key, 0 to 2. NaN for a memory that cannot tell.
        mean_learner_loss: running average of `learner_loss` over the chunks before this one; see
            `agent.policies.signals.RunningAverages`.
        mean_learner_accuracy: likewise of `learner_accuracy`.
        mean_learner_entropy: likewise of `learner_entropy`.
        mean_learner_margin: likewise of `learner_margin`.
        mean_memory_loss: likewise of `memory_loss`.
        mean_memory_accuracy: likewise of `memory_accuracy`.
        mean_memory_entropy: likewise of `memory_entropy`.
        mean_memory_margin: likewise of `memory_margin`.
        mean_disagreement: likewise of `disagreement`.
        mean_novelty: likewise of `novelty`.
        further: of other operations than these, by name: `NAME_gflop` and `NAME_cost`, what the operation will take.
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
    spent_gflop: float = 0.0
    learning_spent: float = 0.0
    learning_spent_gflop: float = 0.0
    learn_gflop: float = 0.0
    learn_cost: float = 0.0
    memorize_gflop: float = 0.0
    memorize_cost: float = 0.0
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

    def __getattr__(self, name: str) -> float:
        """What actions beyond LEARN and MEMORIZE will take is read by its name, too."""
        further: Mapping[str, float] = self.__dict__.get("further", {})
        if name not in further and name not in type(self).names():
            raise AttributeError(f"an observation has no {name}")
        return further.get(name, 0.0)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of the fields, in the order of `vector`."""
        own = [field.name for field in fields(cls) if field.name != "further"]
        return (*own, *(name for each in OPERATIONS for name in estimated(each) if name not in own))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Observation":
        """An observation of fields by their names."""
        own = {field.name for field in fields(cls)}
        further = {name: value for name, value in values.items() if name not in own}
        return cls(**{name: value for name, value in values.items() if name in own}, further=further)

    def vector(self) -> Float[np.ndarray, " n_fields"]:
        """All fields as float64, in the order of `names`."""
        return np.array([getattr(self, name) for name in self.names()], dtype=np.float64)
