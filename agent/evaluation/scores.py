"""What a prediction is worth: accuracies of the agent and of its two parts."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from agent.evaluation.plan import EvaluationPlan


@dataclass(frozen=True)
class Prediction:
    """Class probabilities of the agent and of its two parts for the same images."""

    agent: Float[Tensor, "n classes"]
    learner: Float[Tensor, "n classes"]
    memory: Float[Tensor, "n classes"] | None
    """None while the memory is empty."""


@dataclass(frozen=True)
class Accuracy:
    """Shares of images classified rightly, 0 to 1."""

    agent: float
    learner: float
    memory: float | None
    """None while the memory is empty, and has no answer."""


@dataclass(frozen=True)
class Scores:
    """What an examination found on the test set."""

    accuracy: Accuracy
    per_class: tuple[float | None, ...]
    """Of the agent, by label; None for a class without test images."""
    per_experience: tuple[Accuracy | None, ...] | None
    """By experience, if the plan tells them apart; None for one without test images."""


def accuracy_of(probabilities: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]) -> float:
    """Share of rows whose most probable class is the label."""
    return float((probabilities.argmax(dim=1).cpu() == labels.cpu()).double().mean())


def accuracies(prediction: Prediction, labels: Int64[Tensor, " n"]) -> Accuracy:
    """How well agent, learner and memory classify images with these labels."""
    return Accuracy(
        accuracy_of(prediction.agent, labels),
        accuracy_of(prediction.learner, labels),
        None if prediction.memory is None else accuracy_of(prediction.memory, labels),
    )


def score(prediction: Prediction, plan: EvaluationPlan) -> Scores:
    """Score predictions of the plan's test set."""
    labels = plan.test.labels.cpu()
    parts = [part for part in (prediction.agent, prediction.learner, prediction.memory) if part is not None]
    right = torch.stack([part.argmax(dim=1).cpu() == labels for part in parts])
    per_class = _shares(right[:1], labels, prediction.agent.shape[1])
    per_experience = None
    if plan.groups is not None:
        of_groups = _shares(right, plan.groups.cpu(), int(plan.groups.max()) + 1)
        per_experience = tuple(
            Accuracy(*shares, *[None] * (3 - len(parts))) if shares else None for shares in of_groups
        )
    return Scores(
        accuracies(prediction, labels),
        tuple(shares[0] if shares else None for shares in per_class),
        per_experience,
    )


def _shares(
    right: Float[Tensor, "parts n"] | Tensor, groups: Int64[Tensor, " n"], n_groups: int
) -> list[Sequence[float] | None]:
    """For each group the share of its columns that is right, in each row; None for an empty group."""
    n = torch.bincount(groups, minlength=n_groups).double()
    sums = torch.zeros(n_groups, len(right), dtype=torch.float64).index_add_(0, groups, right.T.double())
    return [row if size else None for row, size in zip((sums / n[:, None]).tolist(), n.tolist(), strict=True)]
