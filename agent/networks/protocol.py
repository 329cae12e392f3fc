"""The contract of networks, and what can be computed about one on the meta device."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from agent.data.augmentation import Normalization

MAX_WIDTH = 10**5
"""Channels or units of a layer; more are taken for a typing error."""

Shape = tuple[int, ...]
"""Shape of one input, without the batch dimension: (3, 32, 32) for images, (64,) for feature vectors."""


class Network(nn.Module, ABC):
    """A module that gives logits, and its activations at named places.

    A member draws its initial weights from the generator that it is given and does not touch global random state.
    Parameters that do not require gradients may change only while a recipe prepares the network: forks share them,
    and checkpoints store them once.
    """

    key_places: tuple[str, ...]
    """Where keys are read by default."""
    aliases: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Names that stand for several places."""
    normalization: ClassVar[Normalization | None] = None
    """Of its inputs, if it was pretrained with one; None for that of the data set."""
    pretrained: ClassVar[str] = ""
    """What its initial weights were trained on; empty for nothing."""

    @property
    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """Plain values; two networks of one class with equal specs differ only in their weights."""

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
    """A network as text for people: ResNet(depth=8, width=8, n_classes=10)."""
    return f"{type(network).__name__}({', '.join(f'{name}={value}' for name, value in network.spec.items())})"


def identity_of(network: Network) -> tuple[type[Network], str]:
    """Equal for networks that differ only in their weights."""
    return type(network), repr(network.spec)


def on_meta(network: Network, shape: Shape) -> tuple[Network, Tensor]:
    """A copy of a network, and one input, on the meta device: shapes without data, so that a pass takes milliseconds.

    The copy is in evaluation mode: in training mode batch normalization refuses a single value for each channel.
    """
    return copy.deepcopy(network).to("meta").eval(), torch.empty(1, *shape, device="meta")


@torch.no_grad()
def n_outputs(network: Network, shape: Shape) -> int:
    """The number of logits that a network gives for an input of `shape`."""
    twin, one = on_meta(network, shape)
    return twin(one).shape[1]


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
