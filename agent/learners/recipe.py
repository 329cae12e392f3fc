"""Recipes: how a network is trained, as data."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from agent.data.augmentation import Augmentation, View
from agent.errors import InvalidSetting
from agent.networks.protocol import Network

Precision = Literal["auto", "float32", "bfloat16"]
"""Precision of matrix products and convolutions; auto: bfloat16 on CUDA, float32 elsewhere."""

Views = Literal["plain", "mirror"]
VIEWS: dict[Views, tuple[View, ...]] = {"plain": (), "mirror": (View(mirrored=True),)}


MAX_RATE = 1e30
"""Larger values overflow float32."""
MAX_BATCH = 10**6


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters with the same optimizer and settings.

    Args:
        optimizer: a class of `torch.optim`, or one with the same interface.
        settings: keyword arguments of the optimizer, with `lr`, which a schedule multiplies by its factor.
        names: a regular expression for whole parameter names; a parameter belongs to the first group that matches.
    """

    optimizer: type[torch.optim.Optimizer]
    settings: Mapping[str, Any]
    names: str = ".*"

    def has(self, name: str) -> bool:
        """Whether a parameter's name matches."""
        return re.fullmatch(self.names, name) is not None


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: plain data that works with any learner.

    Args:
        groups: the optimizer of each parameter; each parameter that requires a gradient must belong to a group.
        batch_size: samples in a gradient step.
        loss: maps logits (n × classes) and labels (n) to one number; learning rates depend on whether it is a mean or
            a sum over the batch.
        augmentation: applied to batches; None uses that of the data set.
        prepare: sets weights from the first inputs of the stream (normalized, without labels); it may freeze
            parameters. It is given the network in evaluation mode. Convolutions and matrix products are billed.
        precision: of matrix products and convolutions.
        views: further views of each input over which probabilities are averaged; keys come from the plain input alone.

    Raises:
        InvalidSetting: no group, a group without a learning rate or with an invalid regular expression, a batch size
            that is not a positive integer, an unknown precision, or views of another type.
    """

    groups: tuple[ParameterGroup, ...]
    batch_size: int = 64
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy
    augmentation: Augmentation | None = None
    prepare: Callable[[Network, Tensor], None] | None = None
    precision: Precision = "auto"
    views: tuple[View, ...] = ()

    def __post_init__(self) -> None:
        if not self.groups:
            raise InvalidSetting("expected a recipe of at least 1 group of parameters, got none")
        if type(self.batch_size) is not int or not 1 <= self.batch_size <= MAX_BATCH:
            raise InvalidSetting(f"expected a batch of at least 1 sample, at most {MAX_BATCH}, got {self.batch_size}")
        if self.precision not in get_args(Precision):
            expected = ", ".join(get_args(Precision))
            raise InvalidSetting(f"expected a precision out of {expected}, got {self.precision!r}")
        if not all(isinstance(view, View) for view in self.views):
            raise InvalidSetting(f"expected views of type agent.data.augmentation.View, got {self.views}")
        for group in self.groups:
            lr = group.settings.get("lr")
            if not isinstance(lr, int | float) or not math.isfinite(lr) or lr <= 0:
                raise InvalidSetting(f"expected a finite learning rate above 0 for each group of parameters, got {lr}")
            try:
                re.compile(group.names)
            except re.error as error:
                raise InvalidSetting(
                    f"expected a regular expression for the names of parameters, got {group.names!r}: {error}"
                ) from None

    @property
    def lr(self) -> float:
        """The learning rate of the first group."""
        return float(self.groups[0].settings["lr"])

    def optimizers(self, network: Network, *, fused: bool = False) -> list[torch.optim.Optimizer]:
        """New optimizers of the network's parameters, one for each group that matches any.

        Args:
            network: to be trained.
            fused: use kernels that update all parameters at once, where the optimizer has them.

        Raises:
            InvalidSetting: a parameter that no group matches, or settings that the optimizer refuses.
        """
        left = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
        optimizers = []
        for group in self.groups:
            names = [name for name in left if group.has(name)]
            if not names:
                continue
            settings = dict(group.settings)
            if fused and group.optimizer in (torch.optim.SGD, torch.optim.AdamW):
                settings["fused"] = True
            try:
                optimizers.append(group.optimizer([left.pop(name) for name in names], **settings))
            except (TypeError, ValueError) as error:
                kind = group.optimizer.__name__
                raise InvalidSetting(f"expected settings that {kind} takes, got {settings}: {error}") from error
            for each in optimizers[-1].param_groups:
                each["initial_lr"] = each["lr"]  # as PyTorch's own schedulers call it
        if left:
            raise InvalidSetting(
                f"expected a recipe with a group for each parameter of {type(network).__name__}, got none for "
                f"{', '.join(left)}"
            )
        return optimizers


def sgd(
    lr: float = 0.05,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    batch: int = 64,
    views: Views = "plain",
    precision: Precision = "auto",
) -> Recipe:
    """Stochastic gradient descent with Nesterov momentum, the same for all parameters.

    Args:
        lr: learning rate; with a schedule, its peak.
        momentum: Nesterov momentum; 0 to below 1.
        weight_decay: L2 penalty.
        batch: samples in a gradient step.
        views: mirror averages probabilities over each image and its mirror image, at twice the FLOPs.
        precision: of matrix products; auto is bfloat16 on CUDA and float32 elsewhere.

    Raises:
        InvalidSetting: a setting outside its range.

    References:
        Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning"
    """
    _check_rate(lr, weight_decay)
    if not 0 <= momentum < 1:
        raise InvalidSetting(f"expected a momentum from 0 to below 1, got {momentum}")
    settings = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "nesterov": momentum > 0}
    group = ParameterGroup(torch.optim.SGD, settings)
    return Recipe((group,), batch_size=batch, views=VIEWS[views], precision=precision)


def adamw(
    lr: float = 0.002,
    beta1: float = 0.9,
    beta2: float = 0.999,
    weight_decay: float = 0.01,
    batch: int = 64,
    views: Views = "plain",
    precision: Precision = "auto",
) -> Recipe:
    """AdamW; biases and the weights of layers named bn, norm or ln (such as bn1 or layer_norm) do not decay.

    Args:
        lr: learning rate; with a schedule, its peak.
        beta1: decay of the averaged gradient; 0 to below 1.
        beta2: decay of the averaged squared gradient; 0 to below 1.
        weight_decay: decoupled, as a share of lr.
        batch: samples in a gradient step.
        views: mirror averages probabilities over each image and its mirror image, at twice the FLOPs.
        precision: of matrix products; auto is bfloat16 on CUDA and float32 elsewhere.

    Raises:
        InvalidSetting: a setting outside its range.

    References:
        Loshchilov & Hutter 2019, arXiv:1711.05101
    """
    _check_rate(lr, weight_decay)
    if not (0 <= beta1 < 1 and 0 <= beta2 < 1):
        raise InvalidSetting(f"expected betas from 0 to below 1, got {beta1} and {beta2}")
    settings = {"lr": lr, "betas": (beta1, beta2)}
    groups = (
        ParameterGroup(
            torch.optim.AdamW,
            {**settings, "weight_decay": 0.0},
            names=r".*bias|(.*\.)?(\w*_)?(bn|norm|ln)_?\d*\.weight",
        ),
        ParameterGroup(torch.optim.AdamW, {**settings, "weight_decay": weight_decay}),
    )
    return Recipe(groups, batch_size=batch, views=VIEWS[views], precision=precision)


def _check_rate(lr: float, weight_decay: float) -> None:
    if not 0 < lr <= MAX_RATE:
        raise InvalidSetting(f"expected a finite learning rate above 0, at most {MAX_RATE:g}, got {lr}")
    if not 0 <= weight_decay <= MAX_RATE:
        raise InvalidSetting(f"expected a finite weight decay from 0 to {MAX_RATE:g}, got {weight_decay}")


RECIPES: dict[str, Callable[..., Recipe]] = {"sgd": sgd, "adamw": adamw}
"""Recipes by their names on the command line."""
