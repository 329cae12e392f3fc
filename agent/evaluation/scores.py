"""Accuracies of the agent, its learner and its memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from agent.errors import ContractError
from agent.evaluation.plan import EvaluationPlan
from agent.memory.mixture import Mixture, Rule


@dataclass(frozen=True)
class Prediction:
    """Class probabilities of agent, learner and memory for the same images.

    Raises:
        ContractError: probabilities of one of them are not finite.
    """

    agent: Float[Tensor, "n classes"]
    learner: Float[Tensor, "n classes"]
    memory: Float[Tensor, "n classes"] | None
    """None while the memory is empty."""

    def __post_init__(self) -> None:
        for name in ("learner", "memory", "agent"):
            probabilities = getattr(self, name)
            if probabilities is not None and not bool(probabilities.isfinite().all()):
                raise ContractError(
                    f"expected finite class probabilities of the {name}, got NaN or infinity; if a training diverged, "
                    "lower lr of --recipe; agent.testing checks learners and memories of your own"
                )


@dataclass(frozen=True)
class Accuracy:
    """Shares of images classified correctly, 0 to 1.

    Raises:
        ValueError: a share outside this range, or none.
    """

    agent: float
    learner: float
    memory: float | None
    """None while the memory is empty."""

    def __post_init__(self) -> None:
        for share in (self.agent, self.learner, 0.0 if self.memory is None else self.memory):
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
                raise ValueError(f"expected accuracies from 0 to 1 (not percent), got {share!r}")


@dataclass(frozen=True)
class RuleScore:
    """The agent under a mixture that was fitted by another rule than its own."""

    accuracy: float
    """On the test set, 0 to 1."""
    mixture: Mixture


@dataclass(frozen=True)
class Scores:
    """The results of an evaluation on the test set."""

    accuracy: Accuracy
    per_class: tuple[float | None, ...]
    """Accuracy of the agent by label; None for a class without test images."""
    per_experience: tuple[Accuracy | None, ...] | None
    """By experience, if the plan has `groups`; None for an experience without test images."""
    by_rule: Mapping[Rule, RuleScore] = field(default_factory=dict)
    """By the further rules of the plan."""
    linear_probe: float | None = None
    """Accuracy of a linear classifier of the learner's features, 0 to 1; None if the plan has no `probed` images."""


def accuracy_of(probabilities: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]) -> float:
    """Share of rows whose most probable class is the label."""
    return float((probabilities.argmax(dim=1).cpu() == labels.cpu()).double().mean())


def accuracies(prediction: Prediction, labels: Int64[Tensor, " n"]) -> Accuracy:
    """Accuracies on images with these labels."""
    memory = None if prediction.memory is None else accuracy_of(prediction.memory, labels)
    return Accuracy(accuracy_of(prediction.agent, labels), accuracy_of(prediction.learner, labels), memory)


def score(prediction: Prediction, plan: EvaluationPlan) -> Scores:
    """Score predictions of the plan's test set."""
    labels = plan.test.labels.cpu()
    parts = [part for part in (prediction.agent, prediction.learner, prediction.memory) if part is not None]
    correct = torch.stack([part.argmax(dim=1).cpu() == labels for part in parts])
    per_class = _shares(correct[:1], labels, prediction.agent.shape[1])
    per_experience = None
    if plan.groups is not None:
        per_group = _shares(correct, plan.groups.cpu(), int(plan.groups.max()) + 1)
        absent = [None] * (3 - len(parts))
        per_experience = tuple(Accuracy(*shares, *absent) if shares else None for shares in per_group)
    return Scores(
        accuracies(prediction, labels),
        tuple(shares[0] if shares else None for shares in per_class),
        per_experience,
    )


def _shares(correct: Bool[Tensor, "parts n"], groups: Int64[Tensor, " n"], n_groups: int) -> list[list[float] | None]:
    """For each group the share of correct images in it, one for each part; None for an empty group."""
    n = torch.bincount(groups, minlength=n_groups).double()
    sums = torch.zeros(n_groups, len(correct), dtype=torch.float64).index_add_(0, groups, correct.T.double())
    return [row if size else None for row, size in zip((sums / n[:, None]).tolist(), n.tolist(), strict=True)]
