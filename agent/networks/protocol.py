"""What every network offers, and what is found out about one without its data."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

MAX_WIDTH = 10**5
"""Channels or units of a layer: more are a slip of the finger."""

Shape = tuple[int, ...]
"""Of one input, without the dimension of the batch: (3, 32, 32) for images, (64,) for feature vectors."""


class Network(nn.Module, ABC):
    """A module that gives logits, and the activations at named places on the way.

    A member draws its initial weights from a generator that it is given, so that no global random state is touched.
    Parameters that do not require gradients are taken to change only while a recipe prepares the network: forks share
    them, and checkpoints hold them once.
    """

    key_places: tuple[str, ...]
    """Where keys are read if nobody says otherwise."""
    aliases: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Names for several places at once."""

    @property
    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """Plain values; two networks of one class and equal specs differ in their weights alone."""

    @property
    @abstractmethod
    def places(self) -> tuple[str, ...]:
        """Every place where activations can be read, in the order of the forward pass."""

    @abstractmethod
    def tapped(
        self, inputs: Float[Tensor, "n ..."], places: Collection[str]
    ) -> tuple[Float[Tensor, "n classes"], dict[str, Tensor]]:
        """Logits, and the activations at `places` in the order of the forward pass, from one forward pass."""

    def forward(self, inputs: Float[Tensor, "n ..."]) -> Float[Tensor, "n classes"]:
        """Logits."""
        return self.tapped(inputs, ())[0]


def shown(network: Network) -> str:
    """A network for people: ResNet(depth=8, width=8, n_classes=10)."""
    return f"{type(network).__name__}({', '.join(f'{name}={value}' for name, value in network.spec.items())})"


def identity_of(network: Network) -> tuple[type[Network], str]:
    """Equal for networks that differ in their weights alone."""
    return type(network), repr(network.spec)


def on_meta(network: Network, shape: Shape) -> tuple[Network, Tensor]:
    """A copy of a network, and one input, on the meta device: shapes and no data, so that a pass costs milliseconds.

    The copy is in evaluation mode: batch normalization would refuse a single pixel while it is trained.
    """
    return copy.deepcopy(network).to("meta").eval(), torch.empty(1, *shape, device="meta")


@torch.no_grad()
def initialize(network: nn.Module, generator: torch.Generator) -> None:
    """He-normal weights of convolutions and linear layers, biases of 0 (He et al. 2015, arXiv:1502.01852)."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
