"""How many floating-point operations a network needs for one sample: counted once, then multiplied."""

from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from agent.errors import InvalidSetting
from agent.networks.protocol import Network, Shape, identity_of, on_meta, shown


class SampleFlops(NamedTuple):
    """FLOPs for one sample, a multiply-add counting as 2."""

    forward: int
    """A forward pass."""
    training: int
    """A forward and a backward pass; the optimizer's few operations a parameter are not counted."""


_COUNTED: dict[tuple[type[Network], str, Shape], SampleFlops] = {}


def flops_per_sample(network: Network, shape: Shape) -> SampleFlops:
    """Convolutions and matrix products for one input of `shape`, by torch's flop counter; once for each spec."""
    key = *identity_of(network), shape
    if key not in _COUNTED:
        _COUNTED[key] = _count(network, shape)
    return _COUNTED[key]


def check_takes(network: Network, shape: Shape) -> None:
    """Refuse a network that cannot be given inputs of `shape`, before anything is spent on them.

    Raises:
        InvalidSetting: such a network.
    """
    try:
        flops_per_sample(network, shape)
    except Exception as error:  # a network may be a user's own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InvalidSetting(
            f"expected a network that takes inputs of shape {tuple(shape)}, got {shown(network)}: {reason}"
        ) from error


def _count(network: Network, shape: Shape) -> SampleFlops:
    # Whoever asks first may be predicting, with gradients off.
    with torch.inference_mode(False), torch.enable_grad(), FlopCounterMode(display=False) as counter:
        twin, one = on_meta(network, shape)
        logits = twin(one)
        forward = counter.get_total_flops()
        if logits.requires_grad:
            logits.sum().backward()
    return SampleFlops(forward, counter.get_total_flops())
