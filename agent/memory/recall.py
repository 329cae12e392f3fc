"""What a set of queries has recalled so far."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Recall:
    """Running sums over the entries seen so far, from which class probabilities follow.

    For each query q, class c and θ: mass = Σ exp(θ (cos(q, key) - peak)) over the entries of class c, where peak is
    the largest cosine of the query. Of the nearest entry's class the mass is at least 1, whatever θ: nothing
    overflows and nothing is divided by zero.
    """

    n_entries: int
    peak: Float[Tensor, " n"]
    mass: Float[Tensor, "n_thetas n classes"]

    @property
    def probabilities(self) -> Float[Tensor, "n_thetas n classes"]:
        """Class probabilities, uniform as long as nothing is stored."""
        if not self.n_entries:
            return torch.full_like(self.mass, 1 / self.mass.shape[2])
        return self.mass / self.mass.sum(dim=2, keepdim=True)
