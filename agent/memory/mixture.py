"""The mixed prediction, w × learner + (1 - w) × memory, and the fit of w and the memory's setting."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from agent.errors import ContractError

Setting = dict[str, float]
"""Parameters of a recall, by names that the memory defines."""

W_GRID = tuple(i / 40 for i in range(41))
"""Weights of the learner that the fit tries, 0 and 1 included."""

TILE = 1 << 20
"""Probabilities mixed at once (4 MiB), which bounds the memory that many classes need."""


@dataclass(frozen=True)
class Mixture:
    """How learner and memory are combined.

    Attributes:
        w: weight of the learner, 0 to 1; 1 before the first fit.
        setting: of the memory's recall; None before the first fit, which needs a memory with entries.

    Raises:
        ContractError: a weight that is not finite.
    """

    w: float = 1.0
    setting: Setting | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.w):
            raise ContractError(f"expected a finite weight of the learner, got {self.w}; correct `fit` of the memory")

    @property
    def fitted(self) -> bool:
        """Whether `w` and `setting` come from a fit."""
        return self.setting is not None

    def as_json(self) -> dict[str, Any]:
        """Plain values for `from_json`."""
        return {"w": self.w, "setting": self.setting}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Mixture":
        """The mixture that `as_json` wrote; raises KeyError for anything else."""
        return cls(values["w"], values["setting"])


class LinearMixing:
    """`combine` and `fit` of a memory whose probabilities are averaged with the learner's."""

    settings: tuple[Setting, ...]

    def combine(
        self, learner: Float[Tensor, "n classes"], memory: Float[Tensor, "n classes"], fitted: Mixture
    ) -> Float[Tensor, "n classes"]:
        """w × learner + (1 - w) × memory."""
        return fitted.w * learner + (1 - fitted.w) * memory

    def fit(
        self,
        learner: Float[Tensor, "n classes"],
        memory: Float[Tensor, "n_settings n classes"],
        labels: Int64[Tensor, " n"],
    ) -> Mixture:
        """w and the setting; see `fit_mixture`."""
        return fit_mixture(learner, memory, labels, self.settings)


def fit_mixture(
    learner: Float[Tensor, "n classes"],
    memory: Float[Tensor, "n_settings n classes"],
    labels: Int64[Tensor, " n"],
    settings: Sequence[Setting],
) -> Mixture:
    """The w and setting with the highest accuracy on validation data; the higher likelihood decides between equals.

    Accuracy is what experiments measure, but many pairs classify a finite validation set equally well. With w = 1 all
    settings give the same prediction; the fit then returns the setting at which the memory alone has the highest
    likelihood, for policies that read the memory.

    Args:
        learner: the learner's probabilities of data that neither trained it nor entered the memory.
        memory: the memory's probabilities of the same data, at each setting.
        labels: classes of the data.
        settings: those of `memory`, in the same order.
    """
    learner, memory, labels = learner.cpu(), memory.cpu(), labels.cpu()
    w = torch.tensor(W_GRID)[:, None, None]
    rows = max(1, TILE // (len(W_GRID) * learner.shape[1]))
    best, fitted = (-1, -math.inf), Mixture()
    best_alone, setting_alone = -math.inf, settings[0]
    for setting, recalled in zip(settings, memory, strict=True):
        n_right, likelihood = torch.zeros(len(W_GRID), dtype=torch.int64), torch.zeros(len(W_GRID), dtype=torch.float64)
        for of_learner, of_memory, classes in zip(
            learner.split(rows), recalled.split(rows), labels.split(rows), strict=True
        ):
            mixed = w * of_learner + (1 - w) * of_memory
            n_right += (mixed.argmax(dim=2) == classes).sum(dim=1)
            chosen = mixed.gather(2, classes.expand(len(W_GRID), -1)[:, :, None])
            likelihood += chosen.double().clamp_min(1e-12).log().sum(dim=(1, 2))
        for score, weight in zip(zip(n_right.tolist(), likelihood.tolist(), strict=True), W_GRID, strict=True):
            if score > best:
                best, fitted = score, Mixture(weight, setting)
        alone = float(likelihood[0])  # at w = 0
        if alone > best_alone:
            best_alone, setting_alone = alone, setting
    return Mixture(1.0, setting_alone) if fitted.w == 1 else fitted
