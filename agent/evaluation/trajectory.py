"""The trajectory of a lifetime, with a step for each chunk."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from agent.accounting.work import Account, Work
from agent.evaluation.scores import Accuracy, Prediction, RuleScore, Scores
from agent.memory.mixture import Mixture


@dataclass(frozen=True, slots=True)
class Step:
    """The record of one chunk; totals count from initialization.

    Attributes:
        step: position in the stream, from 0.
        action: name of the operation that was performed, or of PASS.
        samples: samples in the stream up to this chunk, included.
        learned: samples that the learner has been given.
        price: of compute, as a multiple of the cost model's.
        memory_entries: entries in memory.
        memory_nbytes: of the memory, with the raw images stored beside it.
        held_nbytes: bytes that storage is charged for: `memory_nbytes`, the learner's samples, and inputs that wait for
            their labels.
        query_flops: of a look-up in memory, for each query.
        answer_flops: of a forward pass and a look-up, for each query.
        recall_flops: of a recall, in addition to those for each query; 0 for a memory that reads its entries.
        work: by account.
        costs: of each account and of storage, in the unit of the cost model.
        byte_chunks: sum of the bytes held over all chunks.
        pending_cost: of the learner's pending work as estimated, at the prices when it was ordered.
        pending_flops: of the same work.
        spent: total cost that the agent pays: `costs` without `evaluate`, and `pending_cost`.
        spent_gflop: total work that the agent pays, in GFLOP, with pending work.
        observed: fields of the observation that the policy asks for.
        prequential: accuracy on the chunk before its use, or on the inputs that have just come if labels come later.
        scores: on the test set, if an evaluation followed the chunk.
        mixture: in that evaluation; None if it was not fitted, since the memory was empty.
        wanted: name of the operation that the policy chose, if an enforced budget did not last for it.
        takes: chunks that arrive until the action is finished, from this one on, if the stream does not wait and they
            are more than one.
        missed: whether an action that began with an earlier chunk still took the agent's time; this chunk was only
            answered, by the agent as it was before that action, and PASS is its action.
        newest: number of inputs that have come since the step before, if labels come later; else those of the chunk.
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
    wanted: str | None = None
    takes: int | None = None
    missed: bool = False
    newest: int | None = None

    @property
    def accuracy(self) -> Accuracy | None:
        """Accuracy on the test set, if an evaluation followed the chunk."""
        return self.scores.accuracy if self.scores else None

    def as_json(self) -> dict[str, Any]:
        """Plain values for `from_json`, without None and without wall-clock time."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "scores"}
        mixture = values.pop("mixture")
        values["work"] = {
            account: {"flops": work.flops, "nbytes": work.nbytes, "samples": work.samples}
            for account, work in self.work.items()
        }
        values["prequential"] = asdict(self.prequential) if self.prequential else None
        values |= scores_as_json(self.scores) if self.scores else {}
        values["mixture"] = mixture.as_json() if mixture else None
        values["missed"] = self.missed or None
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Step":
        """Restore what `as_json` returned; raises KeyError, TypeError or ValueError for anything else."""
        values = dict(values)
        of_scores = ("accuracy", "per_class", "per_experience", "by_rule", "linear_probe")
        scores = {name: values.pop(name, None) for name in of_scores}
        prequential, mixture = values.pop("prequential", None), values.pop("mixture", None)
        values["work"] = {account: Work(**work) for account, work in values["work"].items()}
        return cls(
            **values,
            prequential=Accuracy(**prequential) if prequential else None,
            scores=scores_from_json(scores) if scores["accuracy"] else None,
            mixture=Mixture.from_json(mixture) if mixture else None,
        )


@dataclass(frozen=True)
class Trajectory:
    """A finished lifetime.

    Attributes:
        steps: one for each chunk.
        seconds: wall-clock time by account; time shared with other lifetimes counts in full.
        initial_scores: before the first chunk, if the plan has `groups`.
        prediction: of the test set after the last chunk, which gave the last scores, if the plan keeps predictions; no
            part of a comparison.
    """

    steps: tuple[Step, ...]
    seconds: dict[str, float]
    initial_scores: Scores | None = None
    prediction: Prediction | None = field(default=None, compare=False, repr=False)

    @property
    def accuracy(self) -> Accuracy:
        """Accuracy on the test set after the last chunk."""
        assert self.steps[-1].accuracy is not None
        return self.steps[-1].accuracy


def scores_as_json(scores: Scores) -> dict[str, Any]:
    """Plain values for `scores_from_json`."""
    groups = scores.per_experience
    by_rule = {
        rule: {"accuracy": each.accuracy, "mixture": each.mixture.as_json()} for rule, each in scores.by_rule.items()
    }
    return {
        "accuracy": asdict(scores.accuracy),
        "per_class": list(scores.per_class),
        "per_experience": [asdict(each) if each else None for each in groups] if groups else None,
        **({"by_rule": by_rule} if by_rule else {}),
        **({} if scores.linear_probe is None else {"linear_probe": scores.linear_probe}),
    }


def scores_from_json(values: dict[str, Any]) -> Scores:
    """Restore what `scores_as_json` returned; raises KeyError, TypeError or ValueError for anything else."""
    groups = values["per_experience"]
    return Scores(
        Accuracy(**values["accuracy"]),
        tuple(values["per_class"]),
        tuple(Accuracy(**each) if each else None for each in groups) if groups else None,
        {
            rule: RuleScore(each["accuracy"], Mixture.from_json(each["mixture"]))
            for rule, each in (values.get("by_rule") or {}).items()
        },
        values.get("linear_probe"),
    )
