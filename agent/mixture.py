"""The mixed prediction, w × learner + (1 - w) × memory, and how w and θ are fitted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

W_GRID = tuple(i / 40 for i in range(41))
"""Weights of the learner that are tried; both ends belong to it."""

THETA_GRID = tuple(2 ** (i / 2) for i in range(25))
"""Sharpnesses of the memory that are tried: 1 to 4096 in steps of √2.

Orhan's grid ended at 90, near his optima; pooled keys, whose cosines lie close together, need more.
"""


@dataclass(frozen=True)
class Mixture:
    """How learner and memory are combined.

    Attributes:
        w: weight of the learner, 0 to 1; 1 for an empty memory.
        theta: sharpness θ of the memory's similarity kernel; None for an empty memory.
    """

    w: float = 1.0
    theta: float | None = None

    def mix(
        self, learner: Float[Tensor, "n classes"], memory: Float[Tensor, "n classes"]
    ) -> Float[Tensor, "n classes"]:
        """The agent's probabilities from those of its two parts."""
        return self.w * learner + (1 - self.w) * memory


def fit_mixture(
    learner: Float[Tensor, "n classes"],
    memory: Float[Tensor, "n_thetas n classes"],
    labels: Int64[Tensor, " n"],
    thetas: Sequence[float] = THETA_GRID,
) -> Mixture:
    """The w and θ of highest accuracy on validation data; among equals, those of highest likelihood.

    Accuracy is what the experiment measures; the likelihood decides between the many pairs that classify a finite
    validation set equally well.

    Args:
        learner: probabilities of validation data that neither trained the learner nor entered the memory.
        memory: the memory's for the same data, at each θ.
        labels: their classes.
        thetas: the θ that `memory` was recalled with.
    """
    w = torch.tensor(W_GRID, device=learner.device)[:, None, None]
    labels = labels.to(learner.device).expand(len(W_GRID), -1)
    best, fitted = (-1, -math.inf), Mixture()
    for theta, recalled in zip(thetas, memory, strict=True):
        mixed = w * learner + (1 - w) * recalled
        n_right = (mixed.argmax(dim=2) == labels).sum(dim=1)
        likelihood = mixed.gather(2, labels[:, :, None]).double().clamp_min(1e-12).log().mean(dim=(1, 2))
        for score, weight in zip(zip(n_right.tolist(), likelihood.tolist(), strict=True), W_GRID, strict=True):
            if score > best:
                best, fitted = score, Mixture(weight, theta)
    return fitted
