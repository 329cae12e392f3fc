"""A small plain convolutional network: no normalization, no shortcuts."""

from collections.abc import Collection
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from agent.errors import InvalidSetting
from agent.networks.protocol import MAX_WIDTH, Network, initialize

MAX_BLOCKS = 8
"""The last has 128 times the channels of the first."""


class ConvNet(Network):
    """3 × 3 convolutions with ReLU, each followed by 2 × 2 max-pooling; an average over space and a linear head.

    Channels double from block to block. Places: `block0`, `block1`, ... (before pooling), and `features` (the head's
    input).

    Args:
        width: channels of the first block.
        blocks: number of convolutions; the image is halved after each but the last.
        n_classes: outputs.
        generator: draws the initial weights (He normal).

    Raises:
        InvalidSetting: fewer than 1 channel, block or class.
    """

    key_places = ("features",)

    def __init__(self, width: int = 16, blocks: int = 3, *, n_classes: int, generator: torch.Generator) -> None:
        super().__init__()
        if min(width, blocks, n_classes) < 1 or blocks > MAX_BLOCKS or width > MAX_WIDTH:
            raise InvalidSetting(
                f"expected a width of 1 to {MAX_WIDTH}, 1 to {MAX_BLOCKS} blocks and classes of at least 1, got width "
                f"{width}, blocks {blocks}, {n_classes} classes"
            )
        self.width, self.n_classes = width, n_classes
        channels = [3, *(width * 2**block for block in range(blocks))]
        with torch.device("meta"):
            self.convolutions = nn.ModuleList([nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(channels)])
            self.linear = nn.Linear(channels[-1], n_classes)
        self.to_empty(device="cpu")
        initialize(self, generator)
        self.to(memory_format=torch.channels_last)

    @property
    def spec(self) -> dict[str, Any]:
        """Width, blocks and number of classes."""
        return {"width": self.width, "blocks": len(self.convolutions), "n_classes": self.n_classes}

    @property
    def places(self) -> tuple[str, ...]:
        """The blocks, and the head's input."""
        return *(f"block{block}" for block in range(len(self.convolutions))), "features"

    def tapped(
        self, inputs: Float[Tensor, "n 3 height width"], places: Collection[str]
    ) -> tuple[Float[Tensor, "n classes"], dict[str, Tensor]]:
        """Logits, and the activations at `places`, from one forward pass."""
        x, found = inputs, {}
        for block, convolution in enumerate(self.convolutions):
            x = F.relu(convolution(x if block == 0 else F.max_pool2d(x, 2, ceil_mode=True)))
            if f"block{block}" in places:
                found[f"block{block}"] = x
        features = x.mean(dim=(2, 3))
        if "features" in places:
            found["features"] = features
        return self.linear(features), found
