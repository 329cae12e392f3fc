"""The mixed prediction, w × learner + (1 - w) × memory, and how w and the memory's setting are fitted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

Setting = dict[str, float]
"""What a memory is read with: plain numbers by name, whose meaning the memory knows, as in {"theta": 64.0}."""

W_GRID = tuple(i / 40 for i in range(41))
"""Weights of the learner that are tried; both ends belong to it."""

TILE = 1 << 20
"""Probabilities mixed at once (4 MiB), so that many classes do not need much memory."""


@dataclass(frozen=True)
class Mixture:
    """How learner and memory are combined.

    Attributes:
        w: weight of the learner, 0 to 1; 1 until it is fitted.
        setting: what the memory is read with; None until it is fitted, which takes a memory that holds something.
    """

    w: float = 1.0
    setting: Setting | None = None

    @property
    def fitted(self) -> bool:
        """Whether these are fitted values, and not those of an agent that has fitted none yet."""
        return self.setting is not None

    def as_json(self) -> dict[str, Any]:
        """Plain values, which `from_json` reads."""
        return {"w": self.w, "setting": self.setting}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Mixture":
        """The mixture that `as_json` wrote; raises KeyError for anything else."""
        return cls(values["w"], values["setting"])

    def mix(
        self, learner: Float[Tensor, "n classes"], memory: Float[Tensor, "n classes"]
    ) -> Float[Tensor, "n classes"]:
        """The agent's probabilities from those of its two parts."""
        return self.w * learner + (1 - self.w) * memory


def fit_mixture(
    learner: Float[Tensor, "n classes"],
    memory: Float[Tensor, "n_settings n classes"],
    labels: Int64[Tensor, " n"],
    settings: Sequence[Setting],
) -> Mixture:
    """The w and setting of highest accuracy on validation data; among equals, those of highest likelihood.

    Accuracy is what the experiment measures; the likelihood decides between the many pairs that classify a finite
    validation set equally well. Where w = 1 is best the memory has no say, and all settings tie: the setting is then
    the one of highest likelihood of the memory alone, so that whoever reads the memory reads it at its best.

    Args:
        learner: probabilities of validation data that neither trained the learner nor entered the memory.
        memory: the memory's for the same data, at each setting.
        labels: their classes.
        settings: what `memory` was read with.
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
