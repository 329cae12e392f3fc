"""Images that are corrupted: noise, blur, less contrast, coarse pixels, more light."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from agent.errors import InvalidSetting

_BLOCK = 1024  # images changed at once, to limit the memory of their float copies


MOST_STRENGTH = 1_000_000
"""Beyond it single precision has no room for what is computed."""


def check_strength(strength: float) -> None:
    """Raise InvalidSetting for a strength of changes that is not from 0 to `MOST_STRENGTH`."""
    if not 0 <= strength <= MOST_STRENGTH:
        raise InvalidSetting(
            f"expected a strength from 0 to {MOST_STRENGTH:,}, got {strength:g}; change the scenario's strength"
        )


def corrupted(
    images: UInt8[Tensor, "n channels height width"], kind: str, strength: float, generator: torch.Generator
) -> UInt8[Tensor, "n channels height width"]:
    """Copies of the images under a corruption; strength 0 changes nothing.

    Strength 1 is severity 5, the strongest, of CIFAR-10-C (Hendrycks & Dietterich 2019, arXiv:1903.12261; parameters as
    in its make_cifar_c.py). Other strengths are ours:

    | kind | strength s |
    |---|---|
    | `noise` | additive Gaussian noise, standard deviation 0.1 s of the full range |
    | `blur` | a Gaussian of s pixels at a side of 32 pixels, in proportion at others; edges are reflected |
    | `contrast` | 0.15^s of each pixel's distance to its channel's mean |
    | `pixelation` | both sides in 0.65^s as many pixels (rounded down), by areas, and back by the nearest ones |
    | `brightness` | 0.3 s of the full range more for the largest channel, the others in proportion (HSV's value) |
    | `impulse` | 7 s % of the values are 0 or full, in equal parts |

    Args:
        images: of any size.
        kind: one of `CORRUPTIONS`.
        strength: s, 0 or more.
        generator: draws one number for each value, for noise and impulse alone.
    """
    if not strength or not len(images):
        return images.clone()
    change = CORRUPTIONS[kind]
    blocks = [change(some.float(), strength, generator) for some in images.split(_BLOCK)]
    return torch.cat([some.round_().clamp_(0, 255).byte() for some in blocks])


_Images = Float[Tensor, "n channels height width"]


def _noise(images: _Images, strength: float, generator: torch.Generator) -> _Images:
    return images + 25.5 * strength * torch.randn(images.shape, generator=generator)


def _blur(images: _Images, strength: float, _: torch.Generator) -> _Images:
    from torchvision.transforms.v2.functional import gaussian_blur  # takes a second to import

    height, width = images.shape[2:]
    sigma = strength * min(height, width) / 32
    radii = [math.ceil(min(3 * sigma, side - 1)) for side in (width, height)]  # a reflection is shorter than the side
    return gaussian_blur(images, [2 * radius + 1 for radius in radii], [sigma, sigma])


def _contrast(images: _Images, strength: float, _: torch.Generator) -> _Images:
    mean = images.mean(dim=(2, 3), keepdim=True)
    return mean + (images - mean) * 0.15**strength


def _pixelation(images: _Images, strength: float, _: torch.Generator) -> _Images:
    sides = tuple(images.shape[2:])
    coarse = [max(1, int(side * 0.65**strength)) for side in sides]
    small = torch.nn.functional.interpolate(images, coarse, mode="area")
    return torch.nn.functional.interpolate(small, sides, mode="nearest-exact")


def _brightness(images: _Images, strength: float, _: torch.Generator) -> _Images:
    value = images.amax(dim=1, keepdim=True)
    brighter = (value + 0.3 * 255 * strength).clamp(max=255)
    return torch.where(value > 0, images * (brighter / value.clamp(min=1)), brighter)


def _impulse(images: _Images, strength: float, generator: torch.Generator) -> _Images:
    share = min(1.0, 0.07 * strength)
    drawn = torch.rand(images.shape, generator=generator)
    return torch.where(drawn < share / 2, 0.0, torch.where(drawn < share, 255.0, images))


CORRUPTIONS: dict[str, Callable[[Tensor, float, torch.Generator], Tensor]] = {
    "noise": _noise,
    "blur": _blur,
    "contrast": _contrast,
    "pixelation": _pixelation,
    "brightness": _brightness,
    "impulse": _impulse,
}
"""By name, in the order in which domains have them."""
