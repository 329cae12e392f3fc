"""Multinomial logistic regression on all samples at once."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

TILE = 8192
"""Samples passed at once."""

Tiles = Iterable[tuple[Float[Tensor, "n length"], Int64[Tensor, " n"]]]


@dataclass(frozen=True)
class SoftmaxRegression:
    """A classifier p = softmax(xᵀ W), where x are numbers of a sample with a 1 appended.

    It minimizes -(1/N) Σ log p(y | x) + (ridge / 2) ‖W‖² over N samples, from weights of 0. A step multiplies the
    gradient by the inverse of ½ (1/N) Σ x xᵀ + ridge I, which is nowhere below the curvature (Böhning 1992), so that no
    step size is chosen; steps are accelerated (Beck and Teboulle 2009). Where the ridge is small and classes can be
    separated, the minimum is far away, and training stops on its way there.

    With D = length + 1 and C classes, training takes 2 N D² + D³ / 3 FLOPs for that matrix and its factor, and
    4 N D C + 2 D² C for each step.

    Args:
        tiles: gives all samples, some after the others: their numbers without the 1, in float32, and their classes.
        n: number of samples, 1 or more.
        length: numbers of a sample, without the 1.
        n_classes: number of classes.
        steps: of a training.
        device: of the samples; it has float64.

    References:
        Böhning 1992, "Multinomial logistic regression algorithm", Annals of the Institute of Statistical Mathematics
        44(1), for the bound. Beck and Teboulle 2009, "A fast iterative shrinkage-thresholding algorithm", SIAM J.
        Imaging Sci. 2(1), section 4, for the acceleration.
    """

    tiles: Callable[[], Tiles]
    n: int
    length: int
    n_classes: int
    steps: int
    device: torch.device

    def gram(self) -> Float64[Tensor, "d d"]:
        """(1/N) Σ x xᵀ."""
        d = self.length + 1
        gram = torch.zeros(d, d, dtype=torch.float64, device=self.device)
        for rows, _ in self.tiles():
            rows = rows.double()
            sums = rows.sum(dim=0)
            gram[:-1, :-1] += rows.T @ rows
            gram[-1, :-1] += sums
            gram[:-1, -1] += sums
        gram[-1, -1] = self.n
        return gram / self.n

    def weights(self, gram: Float64[Tensor, "d d"], ridge: float | Float64[Tensor, ""]) -> Float[Tensor, "d classes"]:
        """W, by itself for each ridge, so that it does not depend on others to the bit.

        Args:
            gram: from `gram`.
            ridge: above 0.
        """
        factor = torch.linalg.cholesky(gram / 2 + ridge * torch.eye(len(gram), device=self.device))
        weights = torch.zeros(len(gram), self.n_classes, dtype=torch.float64, device=self.device)
        ahead, momentum = weights, 1.0
        for _ in range(self.steps):
            gradient = self._gradient(ahead) + ridge * ahead
            before, weights = weights, ahead - torch.cholesky_solve(gradient, factor)
            last, momentum = momentum, (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            ahead = weights + (last - 1) / momentum * (weights - before)
        return weights.float()

    def _gradient(self, weights: Float64[Tensor, "d classes"]) -> Float64[Tensor, "d classes"]:
        """Of the mean cross-entropy."""
        single, found = weights.float(), torch.zeros_like(weights)
        for rows, labels in self.tiles():
            wrong = torch.addmm(single[-1], rows, single[:-1]).softmax(dim=1)
            wrong[torch.arange(len(labels), device=self.device), labels] -= 1
            found[:-1] += rows.T @ wrong
            found[-1] += wrong.sum(dim=0)
        return found / self.n


def training_flops(n: int, d: int, n_classes: int, steps: int) -> int:
    """FLOPs of the matrix, its factor and the steps."""
    return 2 * n * d * (d + 2 * n_classes * steps) + solving_flops(d, n_classes, steps)


def solving_flops(d: int, n_classes: int, steps: int) -> int:
    """The part of `training_flops` that does not depend on the number of samples."""
    return d**3 // 3 + 2 * d**2 * n_classes * steps
