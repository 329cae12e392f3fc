"""ResNet-18 for small images, and the slim one that continual learning compares methods on."""

from collections.abc import Collection
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from agent.errors import InvalidSetting
from agent.networks.protocol import MAX_WIDTH, Network, initialize

N_STAGES, N_BLOCKS = 4, 2


class ProjectedBlock(nn.Module):
    """Two 3 × 3 convolutions and a shortcut, which is a 1 × 1 convolution where the shape changes (option B)."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.stride = stride
        self.shortcut = nn.Sequential()
        if stride > 1 or n_in != n_out:
            self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """The output of the block."""
        inner = F.relu(self.bn1(self.conv1(x)))
        # Pixels are left out here, not by the 1 x 1 convolution: a strided one with fewer than 16 channels (8 on AVX2),
        # channels last, writes past its memory in the backward pass (github.com/uxlfoundation/oneDNN/issues/6035).
        read = x[:, :, :: self.stride, :: self.stride]
        return F.relu(self.bn2(self.conv2(inner)) + self.shortcut(read))


class ResNet18(Network):
    """ResNet-18 with a 3 × 3 stem and no pooling after it, for images of about 32 × 32 pixels, and a linear head.

    Four stages of two blocks have width, 2 width, 4 width and 8 width channels; each but the first halves the image.
    Parameters have the names of kuangliu/pytorch-cifar and of Lopez-Paz & Ranzato's GEM.
    Places, with stages and blocks counted from 0: `stem`, `stage1.block0` (the output of a block), and `features` (the
    head's input: the last block's output averaged over space).

    Args:
        width: channels of the first stage; 64 in the paper.
        n_classes: outputs.
        generator: draws the initial weights (He normal).

    References:
        He et al. 2016, arXiv:1512.03385

    Raises:
        InvalidSetting: a width or number of classes below 1.
    """

    key_places = ("features",)

    def __init__(self, width: int = 64, *, n_classes: int, generator: torch.Generator) -> None:
        super().__init__()
        if not 1 <= width <= MAX_WIDTH // 2 ** (N_STAGES - 1) or n_classes < 1:
            raise InvalidSetting(
                f"expected a width of 1 to {MAX_WIDTH // 2 ** (N_STAGES - 1)} and classes of at least 1, got width "
                f"{width}, {n_classes} classes"
            )
        self.width, self.n_classes = width, n_classes
        with torch.device("meta"):
            self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            self.layer1 = _stage(width, width, stride=1)
            self.layer2 = _stage(width, 2 * width, stride=2)
            self.layer3 = _stage(2 * width, 4 * width, stride=2)
            self.layer4 = _stage(4 * width, 8 * width, stride=2)
            self.linear = nn.Linear(8 * width, n_classes)
        self.to_empty(device="cpu")
        initialize(self, generator)
        self.to(memory_format=torch.channels_last)

    @property
    def spec(self) -> dict[str, Any]:
        """Width and number of classes."""
        return {"width": self.width, "n_classes": self.n_classes}

    @property
    def places(self) -> tuple[str, ...]:
        """Stem, the output of each block, and the head's input."""
        blocks = [f"stage{stage}.block{block}" for stage in range(N_STAGES) for block in range(N_BLOCKS)]
        return ("stem", *blocks, "features")

    def tapped(
        self, inputs: Float[Tensor, "n 3 height width"], places: Collection[str]
    ) -> tuple[Float[Tensor, "n classes"], dict[str, Tensor]]:
        """Logits, and the activations at `places`, from one forward pass."""
        x = F.relu(self.bn1(self.conv1(inputs)))
        found = {"stem": x} if "stem" in places else {}
        for stage, blocks in enumerate((self.layer1, self.layer2, self.layer3, self.layer4)):
            for number, block in enumerate(blocks):
                x = block(x)
                place = f"stage{stage}.block{number}"
                if place in places:
                    found[place] = x
        features = x.mean(dim=(2, 3))
        if "features" in places:
            found["features"] = features
        return self.linear(features), found


class SlimResNet18(ResNet18):
    """ResNet-18 with 20 channels in its first stage: the network of most published online continual learning.

    Everything else is as in resnet18: 1.1 million parameters for 10 classes, and 0.11 GFLOP for a 32 × 32 image.

    Args:
        width: channels of the first stage; 20 in the paper.
        n_classes: outputs.
        generator: draws the initial weights (He normal).

    References:
        Lopez-Paz and Ranzato 2017, arXiv:1706.08840, section 5.1

    Raises:
        InvalidSetting: a width or number of classes below 1.
    """

    def __init__(self, width: int = 20, *, n_classes: int, generator: torch.Generator) -> None:
        super().__init__(width, n_classes=n_classes, generator=generator)


def _stage(n_in: int, n_out: int, stride: int) -> nn.Sequential:
    rest = (ProjectedBlock(n_out, n_out, 1) for _ in range(N_BLOCKS - 1))
    return nn.Sequential(ProjectedBlock(n_in, n_out, stride), *rest)
