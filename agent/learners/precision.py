"""The precision of matrix products and convolutions, by a rule on network and machine."""

from functools import cache
from typing import Any, Literal

import torch
from torch import nn

from agent.networks.protocol import Network

Precision = Literal["auto", "float32", "bfloat16"]
"""Precision of matrix products and convolutions; auto decides by `precision_of`."""

WIDE = 128
"""Channels of a convolution from which bfloat16 is faster than float32 on CPUs that have it.

With 256 channels it is about twice as fast, with 64 no faster."""


def precision_of(wanted: Precision, network: Network, device: torch.device) -> Literal["float32", "bfloat16"]:
    """The precision that a network is computed in.

    `auto` is bfloat16 on CUDA, and on CPUs with instructions for it (AVX512-BF16 or AMX) for networks with a
    convolution of `WIDE` channels or more; else float32. It depends on nothing that is measured, so that the same
    machine always computes the same digits.
    """
    if wanted != "auto":
        return wanted
    if device.type == "cpu":
        return "bfloat16" if has_bfloat16() and _widest(network) >= WIDE else "float32"
    return "bfloat16" if device.type == "cuda" else "float32"


@cache
def has_bfloat16() -> bool:
    """Whether this CPU multiplies in bfloat16 (AVX512-BF16 or AMX); no, where PyTorch is too old to tell."""
    capabilities = getattr(torch.cpu, "get_capabilities", dict[str, Any])()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _widest(network: Network) -> int:
    return max((each.out_channels for each in network.modules() if isinstance(each, nn.Conv2d)), default=0)
