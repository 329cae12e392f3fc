"""What a policy may know when it decides: one flat vector with named fields."""

from dataclasses import dataclass, fields
from math import inf, nan

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Observation:
    """What is known before the chunk at hand is used, in fixed order; `vector` gives it as numbers.

    Fields about the stream, memory, prices and costs are always there. What learner and memory make of the chunk
    costs compute: it is NaN unless the policy asks for it (`Policy.observes`), and then charged to the account
    `decide`. Labels are used for nothing but scoring: losses and accuracies.
    """

    step: int
    """Chunks met before this one."""
    n_chunks: int
    """Chunks of the whole stream."""
    n_samples: int = 0
    """Samples in the chunk at hand."""
    seen: float = 0.0
    """Share of the stream's chunks that lie behind, 0 to below 1."""
    learned: float = 0.0
    """Share of the samples met so far that were learned from, 0 to 1."""
    memorized: float = 0.0
    """Share of the samples met so far that were memorized, 0 to 1."""
    memory_entries: int = 0
    """Entries in memory."""
    memory_nbytes: int = 0
    """Bytes of the memory, with the raw images kept for re-keying."""

    price: float = 1.0
    """Of compute now, as a multiple of what the cost model says."""
    spent: float = 0.0
    """Paid so far on all of the agent's accounts and on storage, in the unit of the cost model."""
    left: float = inf
    """What remains of the lifetime's budget, in the same unit, 0 at the least; infinite where there is no budget."""
    spent_gflop: float = 0.0
    """Computed so far on all of the agent's accounts, in GFLOP."""
    learning_spent: float = 0.0
    """The part of `spent` that went to gradient updates and re-keying."""
    learning_spent_gflop: float = 0.0
    """The part of `spent_gflop` that went to gradient updates and re-keying."""
    learn_gflop: float = 0.0
    """What LEARN would take now, with the re-keying that it entails, in GFLOP."""
    learn_cost: float = 0.0
    """The same at the price of now, in the unit of the cost model."""
    memorize_gflop: float = 0.0
    """What MEMORIZE would take now, in GFLOP."""
    memorize_cost: float = 0.0
    """The same at the price of now, without the storage that follows, in the unit of the cost model."""

    learner_loss: float = nan
    """Mean cross-entropy of the learner on the chunk, in nats."""
    learner_accuracy: float = nan
    """Share of the chunk that the learner classifies rightly."""
    learner_entropy: float = nan
    """Mean entropy of the learner's predictions, in nats."""
    learner_margin: float = nan
    """Mean difference of the learner's two highest probabilities, 0 to 1."""
    memory_loss: float = nan
    """Mean cross-entropy of the memory on the chunk, in nats; NaN, like all about the memory, while it is empty."""
    memory_accuracy: float = nan
    """Share of the chunk that the memory classifies rightly."""
    memory_entropy: float = nan
    """Mean entropy of the memory's predictions, in nats."""
    memory_margin: float = nan
    """Mean difference of the memory's two highest probabilities, 0 to 1."""
    disagreement: float = nan
    """Share of the chunk on which learner and memory name different classes."""
    novelty: float = nan
    """Mean distance, 1 - cosine, to the nearest stored key, 0 to 2."""

    mean_learner_loss: float = nan
    """Running average of `learner_loss` over the chunks before this one; see `agent.impressions`."""
    mean_learner_accuracy: float = nan
    """Likewise of `learner_accuracy`."""
    mean_learner_entropy: float = nan
    """Likewise of `learner_entropy`."""
    mean_learner_margin: float = nan
    """Likewise of `learner_margin`."""
    mean_memory_loss: float = nan
    """Likewise of `memory_loss`."""
    mean_memory_accuracy: float = nan
    """Likewise of `memory_accuracy`."""
    mean_memory_entropy: float = nan
    """Likewise of `memory_entropy`."""
    mean_memory_margin: float = nan
    """Likewise of `memory_margin`."""
    mean_disagreement: float = nan
    """Likewise of `disagreement`."""
    mean_novelty: float = nan
    """Likewise of `novelty`."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of the fields, in the order of `vector`."""
        return tuple(field.name for field in fields(cls))

    def vector(self) -> Float[np.ndarray, " n_fields"]:
        """All fields as float64, in the order of `names`."""
        return np.array([getattr(self, name) for name in self.names()], dtype=np.float64)
