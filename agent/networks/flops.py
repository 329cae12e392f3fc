"""Floating-point operations of a network for one sample: counted once, then multiplied."""

from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from agent.networks.protocol import Network, Shape, identity_of, on_meta


class SampleFlops(NamedTuple):
    """FLOPs for one sample; a multiply-add counts as 2."""

    forward: int
    """A forward pass."""
    training: int
    """A forward and a backward pass; the optimizer's few operations for each parameter are not counted."""


_COUNTED: dict[tuple[type[Network], str, Shape, tuple[bool, ...]], SampleFlops] = {}


def flops_per_sample(network: Network, shape: Shape) -> SampleFlops:
    """Convolutions and matrix products for one input of `shape`, by PyTorch's FLOP counter.

    Counted once for each class, spec, shape and set of trained parameters.
    """
    key = *identity_of(network), shape, tuple(parameter.requires_grad for parameter in network.parameters())
    if key not in _COUNTED:
        _COUNTED[key] = _count(network, shape)
    return _COUNTED[key]


def _count(network: Network, shape: Shape) -> SampleFlops:
    # The first caller may be predicting, with gradients off.
    with torch.inference_mode(False), torch.enable_grad(), FlopCounterMode(display=False) as counter:
        twin, one = on_meta(network, shape)
        logits = twin(one)
        forward = counter.get_total_flops()
        if logits.requires_grad:
            logits.sum().backward()
    return SampleFlops(forward, counter.get_total_flops())
