"""ResNet-(6n+2) for small images (He et al. 2016, arXiv:1512.03385, section 4.2)."""

from collections.abc import Collection
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from agent.errors import InvalidSetting
from agent.networks.protocol import MAX_WIDTH, Network, initialize

MAX_DEPTH = 1202
"""The deepest network of the paper."""


class BasicBlock(nn.Module):
    """Two 3 × 3 convolutions and a parameter-free shortcut (option A: subsampled, padded with zero channels)."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.stride = stride
        self.extra_channels = n_out - n_in

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The activations inside the block (after the first ReLU) and its output."""
        inner = F.relu(self.bn1(self.conv1(x)))
        shortcut = x
        if self.stride > 1 or self.extra_channels:
            before = self.extra_channels // 2
            shortcut = x[:, :, :: self.stride, :: self.stride]
            shortcut = F.pad(shortcut, (0, 0, 0, 0, before, self.extra_channels - before))
        return inner, F.relu(self.bn2(self.conv2(inner)) + shortcut)


class ResNet(Network):
    """The CIFAR ResNet: a 3 × 3 stem, three stages of n blocks with width, 2 width and 4 width channels, a linear head.

    Parameters have the names of akamaster/pytorch_resnet_cifar10, so that its published weights can be loaded.
    Places, with stages and blocks counted from 0: `stem`, `stage1.block0.relu` (inside the block, after its first
    convolution), `stage1.block0` (its output), and `features` (the head's input: the last block's output averaged over
    space). `cache3` stands for the places of Orhan 2018 (arXiv:1805.08709, "Cache3" for ResNet-32), all in the last
    stage; a network of 26 layers or more has them.

    Args:
        depth: 6n + 2 layers with weights: 8, 14, 20, 26, 32, ...
        width: channels of the first stage; 16 in the paper.
        n_classes: outputs.
        generator: draws the initial weights (He normal).

    References:
        He et al. 2016, arXiv:1512.03385

    Raises:
        InvalidSetting: a depth that is not 6n + 2, or a width or number of classes below 1.
    """

    key_places = ("stage2.block0",)
    aliases = {"cache3": ("stage2.block0", "stage2.block2.relu", "stage2.block3")}  # noqa: RUF012 (never written to)

    def __init__(self, depth: int = 8, width: int = 8, *, n_classes: int, generator: torch.Generator) -> None:
        super().__init__()
        if not 8 <= depth <= MAX_DEPTH or (depth - 2) % 6:
            raise InvalidSetting(f"expected depth = 6n + 2 (8, 14, 20, 26, 32, ... up to {MAX_DEPTH}), got {depth}")
        if not 1 <= width <= MAX_WIDTH or n_classes < 1:
            raise InvalidSetting(
                f"expected a width of 1 to {MAX_WIDTH} and classes of at least 1, got width {width}, {n_classes} "
                "classes"
            )
        self.depth, self.width, self.n_classes = depth, width, n_classes
        with torch.device("meta"):
            self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            self.layer1 = self._stage(width, width, stride=1)
            self.layer2 = self._stage(width, 2 * width, stride=2)
            self.layer3 = self._stage(2 * width, 4 * width, stride=2)
            self.linear = nn.Linear(4 * width, n_classes)
        self.to_empty(device="cpu")
        initialize(self, generator)
        self.to(memory_format=torch.channels_last)

    def _stage(self, n_in: int, n_out: int, stride: int) -> nn.ModuleList:
        rest = (self.depth - 2) // 6 - 1
        return nn.ModuleList([BasicBlock(n_in, n_out, stride), *(BasicBlock(n_out, n_out, 1) for _ in range(rest))])

    @property
    def spec(self) -> dict[str, Any]:
        """Depth, width and number of classes."""
        return {"depth": self.depth, "width": self.width, "n_classes": self.n_classes}

    @property
    def places(self) -> tuple[str, ...]:
        """Stem, the inside and the output of each block, and the head's input."""
        blocks = [
            f"stage{stage}.block{block}{inside}"
            for stage in range(3)
            for block in range((self.depth - 2) // 6)
            for inside in (".relu", "")
        ]
        return ("stem", *blocks, "features")

    def tapped(
        self, inputs: Float[Tensor, "n 3 height width"], places: Collection[str]
    ) -> tuple[Float[Tensor, "n classes"], dict[str, Tensor]]:
        """Logits, and the activations at `places`, from one forward pass."""
        x = F.relu(self.bn1(self.conv1(inputs)))
        found = {"stem": x} if "stem" in places else {}
        for stage, blocks in enumerate((self.layer1, self.layer2, self.layer3)):
            for number, block in enumerate(blocks):
                inner, x = block(x)
                for place, activations in (
                    (f"stage{stage}.block{number}.relu", inner),
                    (f"stage{stage}.block{number}", x),
                ):
                    if place in places:
                        found[place] = activations
        features = x.mean(dim=(2, 3))
        if "features" in places:
            found["features"] = features
        return self.linear(features), found
