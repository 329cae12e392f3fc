"""The evaluation plan: the data and the times of evaluations."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from agent.data.chunk import LabelledInputs
from agent.errors import InvalidSetting
from agent.memory.mixture import Rule


@dataclass(frozen=True)
class EvaluationPlan:
    """The data on which lifetimes are evaluated, and when.

    Args:
        validation: fits the mixture; disjoint from the stream.
        test: is only predicted; disjoint from stream and validation.
        every: chunks between evaluations; 0 for none before the end. There is always one at the end.
        after: further steps that an evaluation follows.
        recalling_after: further steps that an evaluation follows if the memory has entries and the learner has no work
            pending, so that it takes recall alone once the learner's outputs are cached.
        rules: further rules by which the mixture is fitted and scored at the end, too, for the experimenter.
        detailed: the names of the lifetimes that `recalling_after` and `rules` are for; None for all.
        groups: for each test image its experience, from 0. If given, evaluations report the accuracy on each
            experience, and there is one at initialization.
        prequential: predict each chunk before it is used, and score the prediction. A learner with pending work is
            trained on a fork for it.
        shown: for each validation image the step of the first chunk with similar images; it fits no mixture before
            that chunk has been used. None if only classes distinguish images. Images of classes that the agent has
            not seen are never used.
        keeps_predictions: let trajectories have the prediction of the test set after the last chunk.
        probed: labelled images on whose features a linear probe is trained after the last chunk (`linear_probe`), such
            as all those of the stream; None for no probe.
    """

    validation: LabelledInputs
    test: LabelledInputs
    every: int = 0
    after: frozenset[int] = frozenset()
    recalling_after: frozenset[int] = frozenset()
    rules: tuple[Rule, ...] = ()
    detailed: frozenset[str] | None = None
    groups: Int64[Tensor, " n_test"] | None = None
    prequential: bool = False
    shown: Int64[Tensor, " n_validation"] | None = None
    keeps_predictions: bool = False
    probed: LabelledInputs | None = None

    def __post_init__(self) -> None:
        for part, data in (("validation", self.validation), ("test", self.test), ("probed", self.probed)):
            if data is not None and not len(data):
                raise InvalidSetting(f"expected at least 1 {part} image, got none")
        if self.every < 0:
            raise InvalidSetting(f"expected 0 or more chunks between evaluations, got {self.every}")
        if self.groups is not None and len(self.groups) != len(self.test):
            raise InvalidSetting(f"expected a group for each test image, got {len(self.groups)} for {len(self.test)}")
        if self.shown is not None and len(self.shown) != len(self.validation):
            n = len(self.validation)
            raise InvalidSetting(f"expected a step for each validation image, got {len(self.shown)} for {n}")

    def usable(self, step: int) -> Bool[Tensor, " n_validation"]:
        """Which validation images may fit the mixture at the end of a step, by `shown`."""
        if self.shown is None:
            return torch.ones(len(self.validation), dtype=torch.bool)
        return self.shown <= step

    def details(self, names: Iterable[str]) -> bool:
        """Whether `recalling_after` and `rules` are for one of these lifetimes."""
        return self.detailed is None or not self.detailed.isdisjoint(names)

    def evaluates_after(self, step: int, n_chunks: int, names: Iterable[str], *, recalling: bool) -> bool:
        """Whether an evaluation follows the chunk at `step`.

        Args:
            step: position of the chunk.
            n_chunks: length of the stream.
            names: of lifetimes of one agent.
            recalling: whether the memory has entries and the learner has no work pending.
        """
        regular = step + 1 == n_chunks or step in self.after or (self.every > 0 and (step + 1) % self.every == 0)
        return regular or (recalling and step in self.recalling_after and self.details(names))
