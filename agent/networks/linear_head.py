"""A linear layer on features, as a network of its own."""

from collections.abc import Collection
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from agent.networks.protocol import Network, initialize


class LinearHead(Network):
    """Logits from features by a linear layer.

    Place: `features`, its input.

    Args:
        n_features: numbers in an input.
        scale: factor on the inputs, which should bring them to a norm of about 10: then the learning rates of small
            networks suit the layer.
        n_classes: outputs.
        generator: draws the initial weights (He normal).
    """

    key_places = ("features",)

    def __init__(self, n_features: int, scale: float, *, n_classes: int, generator: torch.Generator) -> None:
        super().__init__()
        self.scale = scale
        with torch.device("meta"):
            self.linear = nn.Linear(n_features, n_classes)
        self.to_empty(device="cpu")
        initialize(self, generator)

    @property
    def spec(self) -> dict[str, Any]:
        """Numbers of features and classes, and the scale."""
        return {"n_features": self.linear.in_features, "scale": self.scale, "n_classes": self.linear.out_features}

    @property
    def places(self) -> tuple[str, ...]:
        """The features."""
        return ("features",)

    def tapped(
        self, inputs: Float[Tensor, "n features"], places: Collection[str]
    ) -> tuple[Float[Tensor, "n classes"], dict[str, Tensor]]:
        """Logits, and the features if asked for."""
        return self.linear(self.scale * inputs), {"features": inputs} if "features" in places else {}
