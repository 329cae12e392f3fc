"""Recipes: how a network is trained, as data."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from agent.data.augmentation import Augmentation, View
from agent.errors import InvalidSetting
from agent.learners.muon import N_STEPS, Muon
from agent.learners.precision import Precision
from agent.networks.airbench import Airbench
from agent.networks.protocol import Network

Views = Literal["plain", "mirror", "shifts"]
_SHIFTED = tuple(View(down, down, mirrored) for down in (-1, 1) for mirrored in (False, True))
VIEWS: dict[Views, tuple[View, ...]] = {
    "plain": (),
    "mirror": (View(mirrored=True),),
    "shifts": (View(mirrored=True), *_SHIFTED),
}
"""Further views of an image by their names: its mirror image; both shifted along the diagonal as well."""


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
        matrices: whether it has filters and matrices alone, parameters of two or more dimensions.
    """

    optimizer: type[torch.optim.Optimizer]
    settings: Mapping[str, Any]
    names: str = ".*"
    matrices: bool = False

    def has(self, name: str, parameter: Tensor) -> bool:
        """Whether a parameter matches."""
        return re.fullmatch(self.names, name) is not None and (parameter.ndim > 1 or not self.matrices)

    def flops_of_step(self, parameter: Tensor) -> int:
        """FLOPs of the optimizer's matrix products for a parameter; 0 for optimizers that work number by number."""
        if not issubclass(self.optimizer, Muon):
            return 0
        return self.optimizer.flops_of_step(parameter.shape, self.settings.get("n_steps", N_STEPS))


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: plain data that works with any learner.

    Args:
        groups: the optimizer of each parameter; each parameter that requires a gradient must belong to a group.
        batch_size: samples in a gradient step.
        loss: maps logits (n × classes) and labels (n) to one number; learning rates depend on whether it is a mean or
            a sum over the batch.
        augmentation: applied to batches, or a function that makes it from that of the data set; None uses that of the
            data set.
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
    augmentation: Augmentation | Callable[[Augmentation], Augmentation] | None = None
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

    def augmentation_on(self, suited: Augmentation) -> Augmentation:
        """The augmentation of batches of a data set, given the one that suits it."""
        if self.augmentation is None:
            return suited
        return self.augmentation if isinstance(self.augmentation, Augmentation) else self.augmentation(suited)

    def flops_of_step(self, network: Network) -> int:
        """FLOPs of the optimizers' matrix products in a gradient step, whatever the batch."""
        trained = [(name, each) for name, each in network.named_parameters() if each.requires_grad]
        owners = [
            (next((group for group in self.groups if group.has(name, each)), None), each) for name, each in trained
        ]
        return sum(group.flops_of_step(each) for group, each in owners if group is not None)

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
            names = [name for name in left if group.has(name, left[name])]
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


_HEAD = r"(.*\.)?(head|linear)\.weight"


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
        views: mirror averages probabilities over each image and its mirror image, at twice the FLOPs, shifts over six
            views.
        precision: of matrix products and convolutions. auto is bfloat16 on CUDA, and on a CPU that multiplies in it
            (AVX512-BF16, AMX) for networks with a convolution of 128 channels or more; else float32.

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
        views: mirror averages probabilities over each image and its mirror image, at twice the FLOPs, shifts over six
            views.
        precision: of matrix products and convolutions. auto is bfloat16 on CUDA, and on a CPU that multiplies in it
            (AVX512-BF16, AMX) for networks with a convolution of 128 channels or more; else float32.

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


def muon(
    lr: float = 0.08,
    momentum: float = 0.6,
    rest_momentum: float = 0.85,
    weight_decay: float = 2e-6,
    label_smoothing: float = 0.2,
    batch: int = 500,
    views: Views = "plain",
    precision: Precision = "auto",
) -> Recipe:
    """The recipe of airbench: Muon for filters, SGD with Nesterov momentum for biases and the head, a summed loss.

    Weights of a layer named head or linear are the head's; other filters and matrices are Muon's, and all that has one
    dimension is trained as biases are. Images are shifted by up to 2 pixels with reflection at the edge, and mirrored
    each second time that they are drawn, as far as that suits the data set; a network that can be whitened (`airbench`)
    is, from the first chunk. The rates of biases and head are the parts of `lr` that they are in airbench, where `lr`
    falls from 0.24 to 0; they are meant for the sum of the loss over a batch. Unlike there, the whitening bias is
    trained throughout, the products of Muon are in float32, and views count alike.

    Args:
        lr: learning rate of filters and matrices; with a schedule, its peak.
        momentum: of filters; 0 to below 1.
        rest_momentum: of biases and head; 0 to below 1.
        weight_decay: of biases and head, for each sample of a batch; filters keep their norm instead.
        label_smoothing: share of the target that is spread over all classes; 0 to 1.
        batch: samples in a gradient step.
        views: mirror averages probabilities over each image and its mirror image, at twice the FLOPs, shifts over six
            views.
        precision: of matrix products and convolutions. auto is bfloat16 on CUDA, and on a CPU that multiplies in it
            (AVX512-BF16, AMX) for networks with a convolution of 128 channels or more; else float32.

    Raises:
        InvalidSetting: a setting outside its range.

    References:
        Jordan 2024, arXiv:2404.00498, and KellerJordan/cifar10-airbench (airbench94_muon.py)
    """
    _check_rate(lr, weight_decay)
    if not (0 <= momentum < 1 and 0 <= rest_momentum < 1):
        raise InvalidSetting(f"expected momenta from 0 to below 1, got {momentum} and {rest_momentum}")
    if not 0 <= label_smoothing <= 1:
        raise InvalidSetting(f"expected a label smoothing from 0 to 1, got {label_smoothing}")

    rest = partial(_rest, lr, rest_momentum, weight_decay * batch)
    groups = (
        ParameterGroup(Muon, {"lr": lr, "momentum": momentum}, names=rf"(?!{_HEAD}$).*", matrices=True),
        rest(_HEAD_SHARE, _HEAD),
        rest(_BIAS_SHARE, ".*"),
    )
    return Recipe(
        groups,
        batch_size=batch,
        loss=partial(F.cross_entropy, label_smoothing=label_smoothing, reduction="sum"),
        augmentation=_reflected,
        prepare=_whiten,
        views=VIEWS[views],
        precision=precision,
    )


_HEAD_SHARE, _BIAS_SHARE = 0.67 / 0.24, 0.053 / 0.24
"""The rates of airbench's head and biases, over that of its filters."""


def _rest(lr: float, momentum: float, decay: float, share: float, names: str) -> ParameterGroup:
    """Parameters with a share of the rate, whose decay does not depend on the rate."""
    settings = {"momentum": momentum, "nesterov": momentum > 0, "lr": share * lr, "weight_decay": decay / (share * lr)}
    return ParameterGroup(torch.optim.SGD, settings, names)


def _reflected(suited: Augmentation) -> Augmentation:
    return replace(suited, shift=min(suited.shift, 2), padding="reflect", alternating=True)


def _whiten(network: Network, inputs: Tensor) -> None:
    if isinstance(network, Airbench):
        network.whiten(inputs)


def _check_rate(lr: float, weight_decay: float) -> None:
    if not 0 < lr <= MAX_RATE:
        raise InvalidSetting(f"expected a finite learning rate above 0, at most {MAX_RATE:g}, got {lr}")
    if not 0 <= weight_decay <= MAX_RATE:
        raise InvalidSetting(f"expected a finite weight decay from 0 to {MAX_RATE:g}, got {weight_decay}")


RECIPES: dict[str, Callable[..., Recipe]] = {"sgd": sgd, "adamw": adamw, "muon": muon}
"""Recipes by their names on the command line."""
