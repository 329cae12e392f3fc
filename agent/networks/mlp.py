"""A multilayer perceptron, for feature vectors or flattened images."""

from collections.abc import Collection
from itertools import pairwise
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from agent.errors import InvalidSetting
from agent.networks.protocol import MAX_WIDTH, Network, Shape, initialize

MAX_LAYERS = 100


class MLP(Network):
    """Linear layers with ReLU between them; inputs of any shape are flattened.

    Places: `hidden0`, `hidden1`, ... are the activations of the hidden layers.

    Args:
        hidden: units of each hidden layer.
        layers: hidden layers; 0 is a linear classifier.
        n_classes: outputs.
        input_shape: of one input.
        generator: draws the initial weights (He normal).

    Raises:
        InvalidSetting: fewer than 1 unit, 1 class or 0 layers.
    """

    def __init__(
        self, hidden: int = 128, layers: int = 2, *, n_classes: int, input_shape: Shape, generator: torch.Generator
    ) -> None:
        super().__init__()
        if not (1 <= hidden <= MAX_WIDTH and 0 <= layers <= MAX_LAYERS and n_classes >= 1):
            raise InvalidSetting(
                f"expected hidden of 1 to {MAX_WIDTH}, layers of 0 to {MAX_LAYERS} and classes of at least 1, got "
                f"hidden {hidden}, layers {layers}, {n_classes} classes"
            )
        self.spec_values = {"hidden": hidden, "layers": layers, "n_classes": n_classes, "input_shape": input_shape}
        widths = [prod(input_shape), *[hidden] * layers]
        with torch.device("meta"):
            self.hidden = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise(widths)])
            self.linear = nn.Linear(widths[-1], n_classes)
        self.to_empty(device="cpu")
        initialize(self, generator)
        self.key_places = self.places[-1:] or ("input",)

    @property
    def spec(self) -> dict[str, Any]:
        """Units, layers, number of classes and the shape of an input."""
        return self.spec_values

    @property
    def places(self) -> tuple[str, ...]:
        """The hidden layers."""
        return tuple(f"hidden{layer}" for layer in range(len(self.hidden)))

    def tapped(
        self, inputs: Float[Tensor, "n ..."], places: Collection[str]
    ) -> tuple[Float[Tensor, "n classes"], dict[str, Tensor]]:
        """Logits, and the activations at `places`, from one forward pass."""
        x, found = inputs.flatten(1), {}
        for layer, linear in enumerate(self.hidden):
            x = F.relu(linear(x))
            if f"hidden{layer}" in places:
                found[f"hidden{layer}"] = x
        return self.linear(x), found
