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


PRIOR_THETA = 64.0
"""θ of an agent that has not fitted its mixture yet: in `THETA_GRID`, and near Orhan's optima, 72 to 86."""

TILE = 1 << 20
"""Probabilities mixed at once (4 MiB), so that many classes do not need much memory."""


@dataclass(frozen=True)
class Mixture:
    """How learner and memory are combined.

    Attributes:
        w: weight of the learner, 0 to 1; 1 until it is fitted.
        theta: sharpness θ of the memory's similarity kernel; None until it is fitted, which takes a memory that holds
            something.
    """

    w: float = 1.0
    theta: float | None = None

    @property
    def fitted(self) -> bool:
        """Whether these are fitted values, and not those of an agent that has fitted none yet."""
        return self.theta is not None

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
    validation set equally well. Where w = 1 is best the memory has no say, and all θ tie: θ is then the one of highest
    likelihood of the memory alone, so that whoever reads the memory reads it at its best.

    Args:
        learner: probabilities of validation data that neither trained the learner nor entered the memory.
        memory: the memory's for the same data, at each θ.
        labels: their classes.
        thetas: the θ that `memory` was recalled with.
    """
    learner, memory, labels = learner.cpu(), memory.cpu(), labels.cpu()
    w = torch.tensor(W_GRID)[:, None, None]
    rows = max(1, TILE // (len(W_GRID) * learner.shape[1]))
    best, fitted = (-1, -math.inf), Mixture()
    best_alone, theta_alone = -math.inf, thetas[0]
    for theta, recalled in zip(thetas, memory, strict=True):
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
                best, fitted = score, Mixture(weight, theta)
        alone = float(likelihood[0])  # at w = 0
        if alone > best_alone:
            best_alone, theta_alone = alone, theta
    return Mixture(1.0, theta_alone) if fitted.w == 1 else fitted
