"""Examinations: what lifetimes are measured on, and the scores."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from agent.data.chunk import LabelledInputs
from agent.errors import InvalidSetting


@dataclass(frozen=True)
class EvaluationPlan:
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

    validation: LabelledInputs
    test: LabelledInputs
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

    def evaluates_after(self, step: int, n_chunks: int) -> bool:
        """Whether the chunk at `step` is followed by an examination."""
        return step + 1 == n_chunks or step in self.after or (self.every > 0 and (step + 1) % self.every == 0)
