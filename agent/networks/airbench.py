"""The network of airbench (Jordan 2024, arXiv:2404.00498, section 3): wide, shallow and fast on 32 × 32 images."""

import math
from collections.abc import Collection
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from agent.errors import InvalidSetting
from agent.networks.protocol import Network

WIDTHS = {93: (64, 128, 128), 94: (64, 256, 256)}
"""Channels of the three groups, by the percentage of CIFAR-10's test images that the published network gets right."""

WHITENING_EPS = 5e-4
"""Added to the variance of patches, so that directions without any are not blown up."""

N_WHITENING = 5_000
"""Most images whose patches are whitened."""


class Group(nn.Module):
    """Convolution, 2 × 2 max-pooling, batch normalization, GELU; convolution, batch normalization, GELU."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
        self.bn1 = _shifting_norm(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = _shifting_norm(n_out)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The activations after the first convolution's GELU, and the output."""
        inner = F.gelu(self.bn1(F.max_pool2d(self.conv1(x), 2)))
        return inner, F.gelu(self.bn2(self.conv2(inner)))


class Airbench(Network):
    """A whitening convolution, three groups of two 3 × 3 convolutions, max-pooling over space and a scaled linear head.

    A recipe may call `whiten`: the whitening convolution (2 × 2, to 24 channels) then has the eigenvectors of the first
    images' patches as filters, scaled to whiten them, and their negatives, and only its bias is trained. Without it the
    whitening convolution is trained like the others. Batch normalization has no scale. Each 3 × 3 convolution begins as
    the identity as far as its input channels go. Max-pooling goes over all of space, which on 32 × 32 images is the
    3 × 3 that airbench pools. All biases begin at 0.

    Places: `whitened` (after GELU), `group0.inner` (after its first convolution), `group0` (its output) and likewise
    for the others, and `features` (the head's input).

    Args:
        size: 93 or 94, as the published networks are called.
        n_classes: outputs.
        generator: draws the initial weights.

    References:
        Jordan 2024, arXiv:2404.00498, and KellerJordan/cifar10-airbench (airbench94_muon.py)

    Raises:
        InvalidSetting: another size, or fewer than 1 class.
    """

    key_places = ("group2",)

    def __init__(self, size: int = 94, *, n_classes: int, generator: torch.Generator) -> None:
        super().__init__()
        if size not in WIDTHS or n_classes < 1:
            raise InvalidSetting(
                f"expected a size of {' or '.join(map(str, WIDTHS))} and classes of at least 1, got size "
                f"{size}, {n_classes} classes"
            )
        self.size, self.n_classes = size, n_classes
        with torch.device("meta"):
            self.whitening = nn.Conv2d(3, 24, 2)
            self.groups = nn.ModuleList([Group(n_in, n_out) for n_in, n_out in pairwise((24, *WIDTHS[size]))])
            self.head = nn.Linear(WIDTHS[size][-1], n_classes, bias=False)
        self.to_empty(device="cpu")
        _initialize(self, generator)
        self.to(memory_format=torch.channels_last)

    @property
    def spec(self) -> dict[str, Any]:
        """Size and number of classes."""
        return {"size": self.size, "n_classes": self.n_classes}

    @property
    def places(self) -> tuple[str, ...]:
        """The whitened image, the inside and the output of each group, and the head's input."""
        groups = [f"group{group}{inside}" for group in range(len(self.groups)) for inside in (".inner", "")]
        return ("whitened", *groups, "features")

    @torch.no_grad()
    def whiten(self, inputs: Float[Tensor, "n 3 height width"]) -> None:
        """Set the filters of the whitening convolution from normalized images, and train them no more."""
        patches = F.unfold(inputs[:N_WHITENING], 2).movedim(1, 2).reshape(-1, 12)
        variances, directions = torch.linalg.eigh((patches.T @ patches / len(patches)).double().cpu())
        largest = directions.abs().argmax(dim=0, keepdim=True)
        directions = directions * directions.gather(0, largest).sign()  # an eigenvector's sign is the library's choice
        filters = (directions / (variances + WHITENING_EPS).sqrt()).T.flip(0).reshape(12, 3, 2, 2)
        self.whitening.weight.copy_(torch.cat([filters, -filters])).requires_grad_(False)

    def tapped(
        self, inputs: Float[Tensor, "n 3 height width"], places: Collection[str]
    ) -> tuple[Float[Tensor, "n classes"], dict[str, Tensor]]:
        """Logits, and the activations at `places`, from one forward pass."""
        x = F.gelu(self.whitening(inputs))
        found = {"whitened": x} if "whitened" in places else {}
        for number, group in enumerate(self.groups):
            inner, x = group(x)
            for place, activations in ((f"group{number}.inner", inner), (f"group{number}", x)):
                if place in places:
                    found[place] = activations
        features = x.flatten(2).max(dim=2).values  # adaptive_max_pool2d has no deterministic gradient on CUDA
        if "features" in places:
            found["features"] = features
        return self.head(features) / features.shape[1], found


def _shifting_norm(n_channels: int) -> nn.BatchNorm2d:
    """Batch normalization without a scale; its running statistics follow 0.4 of each batch's."""
    norm = nn.BatchNorm2d(n_channels, eps=1e-12, momentum=0.4)
    norm.register_parameter("weight", None)
    return norm


@torch.no_grad()
def _initialize(network: Airbench, generator: torch.Generator) -> None:
    """PyTorch's uniform weights, then identities in the 3 × 3 filters and a head of unit standard deviation."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
        elif isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(module.weight, a=math.sqrt(5), generator=generator)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
    for module in network.groups.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.dirac_(module.weight[: module.in_channels])
    network.head.weight.div_(network.head.weight.std())
