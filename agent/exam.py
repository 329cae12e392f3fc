"""Examinations: what lifetimes are measured on, and the scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from agent.agent import Prediction
from agent.chunk import LabelledImages
from agent.errors import InvalidSetting


@dataclass(frozen=True)
class Exam:
    """What lifetimes are measured on.

    Args:
        validation: fits the mixture; disjoint from the stream.
        shown: for each validation image the step of the first chunk that shows images like it; it fits no mixture
            before that chunk has been used. None where only classes tell images apart: those of a class that the agent
            has not been taught yet are never used.
        test: is only ever predicted; disjoint from both.
        every: chunks between examinations; 0 for one at the end alone. There is always one at the end.
        after: steps whose chunk is followed by an examination, too.
        groups: for each test image the experience that it belongs to, counted from 0. If given, examinations tell the
            accuracy on each, and there is one at birth.
        prequential: predict each chunk before it is used, and score it. A learner that trains lazily is trained on a
            fork for it.
    """

    validation: LabelledImages
    test: LabelledImages
    every: int = 0
    after: frozenset[int] = frozenset()
    groups: Int64[Tensor, " n_test"] | None = None
    prequential: bool = False
    shown: Int64[Tensor, " n_validation"] | None = None

    def __post_init__(self) -> None:
        for part, data in (("validation", self.validation), ("test", self.test)):
            if not len(data):
                raise InvalidSetting(f"expected at least 1 {part} image, got none")
        if self.every < 0:
            raise InvalidSetting(f"expected 0 or more chunks between examinations, got {self.every}")
        if self.groups is not None and len(self.groups) != len(self.test):
            raise InvalidSetting(f"expected a group for each test image, got {len(self.groups)} for {len(self.test)}")
        if self.shown is not None and len(self.shown) != len(self.validation):
            n = len(self.validation)
            raise InvalidSetting(f"expected a step for each validation image, got {len(self.shown)} for {n}")

    def usable(self, step: int) -> Bool[Tensor, " n_validation"]:
        """The validation images whose like has been shown by the end of a step."""
        if self.shown is None:
            return torch.ones(len(self.validation), dtype=torch.bool)
        return self.shown <= step

    def due(self, step: int, n_chunks: int) -> bool:
        """Whether the chunk at `step` is followed by an examination."""
        return step + 1 == n_chunks or step in self.after or (self.every > 0 and (step + 1) % self.every == 0)


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
    """By experience, if the exam tells them apart; None for one without test images."""


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


def score(prediction: Prediction, exam: Exam) -> Scores:
    """Score predictions of the exam's test set."""
    labels = exam.test.labels.cpu()
    parts = [part for part in (prediction.agent, prediction.learner, prediction.memory) if part is not None]
    right = torch.stack([part.argmax(dim=1).cpu() == labels for part in parts])
    per_class = _shares(right[:1], labels, prediction.agent.shape[1])
    per_experience = None
    if exam.groups is not None:
        of_groups = _shares(right, exam.groups.cpu(), int(exam.groups.max()) + 1)
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
