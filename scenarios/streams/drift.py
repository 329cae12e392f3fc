"""Images that drift: less contrast, other hues, more noise."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

DriftKind = Literal["contrast", "hue", "corruption"]

_BLOCK = 1024  # images changed at once, to limit the memory of their float copies


def drifted(
    images: UInt8[Tensor, "n 3 height width"], amounts: Float[Tensor, " n"], kind: DriftKind, generator: torch.Generator
) -> UInt8[Tensor, "n 3 height width"]:
    """Copies of the images, each changed by its own amount, 0 or more; amount 0 changes nothing.

    | kind | amount 1 |
    |---|---|
    | `contrast` | a tenth of each pixel's distance to its channel's mean; amount a multiplies it by 10^-a |
    | `hue` | half a turn of the colour circle; amount 2 is a full turn |
    | `corruption` | additive Gaussian noise, standard deviation 0.1 of the full range: the strongest in CIFAR-10-C |

    Contrast and noise are those of Hendrycks & Dietterich 2019 (arXiv:1903.12261), with any strength. Only `corruption`
    draws from `generator`, one number for each pixel, in the order of the images.
    """
    change = _CHANGES[kind]
    blocks = zip(images.split(_BLOCK), amounts.float().view(-1, 1, 1, 1).split(_BLOCK), strict=True)
    changed = [change(some.float(), amount, generator).round_().clamp_(0, 255).byte() for some, amount in blocks]
    return torch.cat(changed)


def _contrast(images: Tensor, amounts: Tensor, _: torch.Generator) -> Tensor:
    mean = images.mean(dim=(2, 3), keepdim=True)
    return mean + (images - mean) * torch.exp(-math.log(10) * amounts)


def _hue(images: Tensor, amounts: Tensor, _: torch.Generator) -> Tensor:
    red, green, blue = images.unbind(1)
    value = images.amax(dim=1)
    chroma = value - images.amin(dim=1)
    divisor = chroma.clamp(min=1)  # a grey pixel has no hue, so any value is correct
    hue = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    # The unit is a sixth of a turn. Conversion back to RGB: https://en.wikipedia.org/wiki/HSL_and_HSV#HSV_to_RGB_alternative
    hue = hue + 3 * amounts[:, 0]
    sectors = [(hue + first).remainder(6) for first in (5, 3, 1)]
    return torch.stack([value - chroma * torch.minimum(k, 4 - k).clamp(0, 1) for k in sectors], dim=1)


def _corruption(images: Tensor, amounts: Tensor, generator: torch.Generator) -> Tensor:
    return images + 25.5 * amounts * torch.randn(images.shape, generator=generator)


_CHANGES: dict[str, Callable[[Tensor, Tensor, torch.Generator], Tensor]] = {
    "contrast": _contrast,
    "hue": _hue,
    "corruption": _corruption,
}
