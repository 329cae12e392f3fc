"""The record of a lifetime: a step for each chunk, and the whole."""

from dataclasses import dataclass
from typing import Any

from agent.accounting.work import Account, Work
from agent.evaluation.scores import Accuracy, Scores
from agent.memory.mixture import Mixture


@dataclass(frozen=True, slots=True)
class Step:
    """The record of one chunk: what was decided, what it led to, what it cost up to here.

    Attributes:
        step: position in the stream, from 0.
        action: learn or memorize.
        samples: samples met up to and with this chunk.
        learned: samples learned from.
        price: of compute, as a multiple of what the cost model says.
        memory_entries: entries in memory.
        memory_nbytes: of the memory, and of raw images kept for re-keying.
        held_nbytes: all that storage is charged for: the memory, and what the learner rehearses.
        query_flops: what looking up each of several images in memory takes by now.
        answer_flops: what answering each of several queries takes by now: a forward pass and the look-up.
        recall_flops: what any number of look-ups takes once, beside that; 0 for a memory that reads its entries.
        work: of each account since birth.
        costs: of each account and of storage since birth, in the unit of the cost model.
        byte_chunks: bytes held, summed over chunks: what storage was charged for.
        pending_cost: of work that was ordered and has not been done yet, as estimated, at the prices of its orders.
        pending_flops: of the same work.
        spent: what the agent has paid in all: `costs` without `evaluate`, and `pending_cost`.
        spent_gflop: what the agent has computed in all, in GFLOP, likewise.
        observed: what the policy asked to see of the chunk: fields of the observation.
        prequential: on the chunk, before it was used for anything else.
        scores: on the test set, where this chunk was followed by an evaluation.
        mixture: as used in that evaluation; None where none has been fitted, as the memory is empty.
    """

    step: int
    action: str
    samples: int
    learned: int
    price: float
    memory_entries: int
    memory_nbytes: int
    held_nbytes: int
    query_flops: int
    answer_flops: int
    recall_flops: int
    work: dict[Account, Work]
    costs: dict[str, float]
    byte_chunks: int
    pending_cost: float
    pending_flops: int
    spent: float
    spent_gflop: float
    observed: dict[str, float] | None = None
    prequential: Accuracy | None = None
    scores: Scores | None = None
    mixture: Mixture | None = None

    @property
    def accuracy(self) -> Accuracy | None:
        """On the test set, where this chunk was followed by an evaluation."""
        return self.scores.accuracy if self.scores else None

    def as_json(self) -> dict[str, Any]:
        """Plain values, without what is None and without wall-clock time; `from_json` reads them."""
        scores = self.scores
        values = {
            "step": self.step,
            "action": self.action,
            "samples": self.samples,
            "learned": self.learned,
            "price": self.price,
            "memory_entries": self.memory_entries,
            "memory_nbytes": self.memory_nbytes,
            "held_nbytes": self.held_nbytes,
            "query_flops": self.query_flops,
            "answer_flops": self.answer_flops,
            "recall_flops": self.recall_flops,
            "work": {
                account: {"flops": work.flops, "nbytes": work.nbytes, "samples": work.samples}
                for account, work in self.work.items()
            },
            "costs": self.costs,
            "byte_chunks": self.byte_chunks,
            "pending_cost": self.pending_cost,
            "pending_flops": self.pending_flops,
            "spent": self.spent,
            "spent_gflop": self.spent_gflop,
            "observed": self.observed,
            "prequential": _accuracy(self.prequential),
            "accuracy": _accuracy(self.accuracy),
            "per_class": list(scores.per_class) if scores else None,
            "per_experience": [_accuracy(each) for each in scores.per_experience]
            if scores and scores.per_experience
            else None,
            "mixture": self.mixture.as_json() if self.mixture else None,
        }
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Step":
        """The step that `as_json` wrote; raises KeyError, TypeError or ValueError for anything else."""
        values = dict(values)
        accuracy, per_class = values.pop("accuracy", None), values.pop("per_class", None)
        per_experience, mixture = values.pop("per_experience", None), values.pop("mixture", None)
        prequential = values.pop("prequential", None)
        values["work"] = {account: Work(**work) for account, work in values["work"].items()}
        return cls(
            **values,
            prequential=Accuracy(**prequential) if prequential else None,
            scores=scores_from_json({"accuracy": accuracy, "per_class": per_class, "per_experience": per_experience})
            if accuracy
            else None,
            mixture=Mixture.from_json(mixture) if mixture else None,
        )


@dataclass(frozen=True)
class Trajectory:
    """A finished lifetime.

    Attributes:
        steps: one for each chunk.
        seconds: wall-clock time by account; the shared past counts in full.
        initial_scores: before the first chunk, if the plan tells experiences apart.
    """

    steps: tuple[Step, ...]
    seconds: dict[str, float]
    initial_scores: Scores | None = None

    @property
    def accuracy(self) -> Accuracy:
        """At the end of life."""
        assert self.steps[-1].accuracy is not None
        return self.steps[-1].accuracy


def scores_as_json(scores: Scores) -> dict[str, Any]:
    """Plain values, which `scores_from_json` reads."""
    return {
        "accuracy": _accuracy(scores.accuracy),
        "per_class": list(scores.per_class),
        "per_experience": [_accuracy(each) for each in scores.per_experience] if scores.per_experience else None,
    }


def scores_from_json(values: dict[str, Any]) -> Scores:
    """The scores that were written; raises KeyError, TypeError or ValueError for anything else."""
    groups = values["per_experience"]
    return Scores(
        Accuracy(**values["accuracy"]),
        tuple(values["per_class"]),
        tuple(Accuracy(**each) if each else None for each in groups) if groups else None,
    )


def _accuracy(accuracy: Accuracy | None) -> dict[str, float | None] | None:
    if accuracy is None:
        return None
    return {"agent": accuracy.agent, "learner": accuracy.learner, "memory": accuracy.memory}
