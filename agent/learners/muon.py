"""The Muon optimizer: momentum, whose matrices are orthogonalized before each step (Jordan et al. 2024)."""

from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration; its slope at 0 is as large as it can be (https://kellerjordan.github.io/posts/muon/)."""

N_STEPS = 3
"""Of the iteration, by default."""

EPS = 1e-7


def orthogonalized(matrix: Float[Tensor, "rows columns"], n_steps: int) -> Float[Tensor, "rows columns"]:
    """Approximately U Vᵀ of a matrix U S Vᵀ, by Newton-Schulz steps.

    Its singular values come out between 0.68 and 1.21, if they are at least a 50th of the Frobenius norm with 3 steps,
    or a 500th with 5; smaller ones come out smaller.

    Args:
        matrix: of any scale.
        n_steps: of the iteration.
    """
    a, b, c = COEFFICIENTS
    x = matrix / (matrix.norm() + EPS)
    if tall := matrix.shape[0] > matrix.shape[1]:
        x = x.T
    for _ in range(n_steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum whose updates are orthogonalized, for filters and matrices; weights keep their norm.

    A tensor of filters counts as a matrix with a row for each output. Before each step it is scaled to norm
    √(outputs), as airbench does in place of a weight decay: what follows is normalized, so that only the ratio of
    update to weights counts. The gradient's scale is of no effect.

    Args:
        params: tensors of two or more dimensions, or groups of them.
        lr: learning rate, the size of an update in units of orthogonal matrices; above 0.
        momentum: share of the earlier updates, 0 to below 1.
        n_steps: Newton-Schulz steps, at least 1.

    Raises:
        ValueError: a setting outside its range, or a tensor of fewer than two dimensions.

    References:
        Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/, as in airbench94_muon.py of
        KellerJordan/cifar10-airbench
    """

    def __init__(self, params: Iterable[Any], lr: float = 0.24, momentum: float = 0.6, n_steps: int = N_STEPS) -> None:
        if not lr > 0 or not 0 <= momentum < 1 or n_steps < 1:
            raise ValueError(
                f"expected lr above 0, momentum from 0 to below 1 and n_steps of at least 1, got {lr}, {momentum} and "
                f"{n_steps}"
            )
        super().__init__(params, {"lr": lr, "momentum": momentum, "n_steps": n_steps})
        if any(each.ndim < 2 for group in self.param_groups for each in group["params"]):
            raise ValueError("expected filters and matrices, of two or more dimensions, got fewer")

    @staticmethod
    def flops_of_step(shape: Sequence[int], n_steps: int = N_STEPS) -> int:
        """FLOPs of the matrix products of a step on a tensor of this shape."""
        rows, columns = sorted((shape[0], prod(shape[1:])))
        return n_steps * (4 * rows**2 * columns + 2 * rows**3)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Take one step; a closure computes the loss and its gradients first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weights in group["params"]:
                if weights.grad is not None:
                    self._update(weights, weights.grad, group)
        return loss

    def _update(self, weights: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weights]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        averaged = state["momentum_buffer"]
        averaged.mul_(group["momentum"]).add_(gradient)
        if group["lr"] == 0:  # then not even the norm changes
            return
        update = gradient.add(averaged, alpha=group["momentum"])  # Nesterov's
        weights.mul_(len(weights) ** 0.5 / weights.norm().clamp(min=EPS))  # zeros stay until their first update
        update = orthogonalized(update.reshape(len(update), -1), group["n_steps"])
        weights.add_(update.view(weights.shape), alpha=-group["lr"])
