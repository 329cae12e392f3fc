"""How many floating-point operations a network needs for one sample: counted once, then multiplied."""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from agent.networks.resnet import ResNet


class SampleFlops(NamedTuple):
    """FLOPs for one sample, a multiply-add counting as 2."""

    forward: int
    """A forward pass."""
    training: int
    """A forward and a backward pass; the optimizer's few operations a parameter are not counted."""


def flops_per_sample(network: ResNet, height: int, width: int) -> SampleFlops:
    """Convolutions and matrix products for one image of height × width, by torch's flop counter."""
    return _count(network.depth, network.width, network.n_classes, height, width)


@lru_cache
def _count(depth: int, channels: int, n_classes: int, height: int, width: int) -> SampleFlops:
    # Tensors on the meta device have shapes and no data, so that counting costs milliseconds. Whoever asks first may
    # be predicting, with gradients off. Batch normalization is no product; in training it would refuse a single pixel.
    with torch.inference_mode(False), torch.enable_grad(), FlopCounterMode(display=False) as counter:
        network = ResNet(depth, channels, n_classes, generator=torch.Generator()).to("meta").eval()
        logits = network(torch.empty(1, 3, height, width, device="meta"))
        forward = counter.get_total_flops()
        logits.sum().backward()
    return SampleFlops(forward, counter.get_total_flops())
