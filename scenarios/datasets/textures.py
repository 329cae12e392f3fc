"""The embedded data set: ten classes of procedural textures, drawn from a seed.

Only orientation and form distinguish the classes. Frequency, phase, centre, both colours, contrast and noise are drawn
for each image, so that neither its colours nor any single pixel reveals its class.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from agent.data.chunk import LabelledInputs
from agent.errors import InvalidSetting
from agent.randomness import named_generator

_IMAGES_AT_ONCE = 2048  # of 32 x 32 pixels: limits the memory to about 150 MB; another number gives other images

_CYCLES = (2.0, 7.0)  # of a pattern across the image
_JITTER_RADIANS = math.radians(18.0)
_CONTRAST = (0.2, 0.9)
_NOISE_STD = (0.04, 0.22)  # on the scale 0..1
_BLOBS = 7
_SPOKES = (3.0, 9.0)  # rounded down: 3 to 8

_Field = Float[Tensor, "n size size"]
_Scalar = Float[Tensor, "n 1 1"]


class _Draw:
    """Draws one random number for each of `n` images, in a shape that broadcasts over their pixels."""

    def __init__(self, n: int, generator: torch.Generator) -> None:
        self.n = n
        self.generator = generator

    def uniform(self, low: float, high: float) -> _Scalar:
        return torch.rand(self.n, 1, 1, generator=self.generator) * (high - low) + low

    def phase(self) -> _Scalar:
        return self.uniform(0.0, 2 * math.pi)

    def angular_frequency(self) -> _Scalar:
        """Radians per image width."""
        return 2 * math.pi * self.uniform(*_CYCLES)

    def turned(self, x: Tensor, y: Tensor, degrees: float = 0.0) -> tuple[_Field, _Field]:
        """The coordinates `x`, `y` turned by `degrees` plus a small random angle for each image."""
        angle = self.uniform(-_JITTER_RADIANS, _JITTER_RADIANS) + math.radians(degrees)
        return x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()

    def polar(self, x: Tensor, y: Tensor) -> tuple[_Field, _Field]:
        """Radius and angle about a random centre near the middle of the image."""
        x, y = x - self.uniform(-0.2, 0.2), y - self.uniform(-0.2, 0.2)
        return torch.hypot(x, y), torch.atan2(y, x)


def _grating(degrees: float) -> Callable[[Tensor, Tensor, _Draw], _Field]:
    def pattern(x: Tensor, y: Tensor, draw: _Draw) -> _Field:
        across, _ = draw.turned(x, y, degrees)
        return torch.sin(draw.angular_frequency() * across + draw.phase())

    return pattern


def _checks(x: Tensor, y: Tensor, draw: _Draw) -> _Field:
    x, y = draw.turned(x, y)
    frequency = draw.angular_frequency()
    product = torch.sin(frequency * x + draw.phase()) * torch.sin(frequency * y + draw.phase())
    return torch.tanh(4 * product)


def _plaid(x: Tensor, y: Tensor, draw: _Draw) -> _Field:
    x, y = draw.turned(x, y)
    frequency = draw.angular_frequency()
    return (torch.sin(frequency * x + draw.phase()) + torch.sin(frequency * y + draw.phase())) / 2


def _rings(x: Tensor, y: Tensor, draw: _Draw) -> _Field:
    radius, _ = draw.polar(x, y)
    return torch.sin(draw.angular_frequency() * radius + draw.phase())


def _spokes(x: Tensor, y: Tensor, draw: _Draw) -> _Field:
    _, angle = draw.polar(x, y)
    return torch.sin(draw.uniform(*_SPOKES).floor() * angle + draw.phase())


def _blobs(x: Tensor, y: Tensor, draw: _Draw) -> _Field:
    width = 0.35 / draw.uniform(*_CYCLES)
    bumps = torch.zeros(draw.n, *x.shape)
    for _ in range(_BLOBS):
        squared = (x - draw.uniform(-0.5, 0.5)) ** 2 + (y - draw.uniform(-0.5, 0.5)) ** 2
        bumps = torch.maximum(bumps, torch.exp(-squared / (2 * width**2)))
    return 2 * bumps - 1


def _waves(x: Tensor, y: Tensor, draw: _Draw) -> _Field:
    x, y = draw.turned(x, y)
    bend = draw.uniform(0.06, 0.12) * torch.sin(2 * math.pi * draw.uniform(1.5, 2.5) * x + draw.phase())
    return torch.sin(draw.angular_frequency() * (y + bend) + draw.phase())


_PATTERNS: dict[str, Callable[[Tensor, Tensor, _Draw], _Field]] = {
    "grating 0": _grating(0.0),
    "grating 45": _grating(45.0),
    "grating 90": _grating(90.0),
    "grating 135": _grating(135.0),
    "checks": _checks,
    "plaid": _plaid,
    "rings": _rings,
    "spokes": _spokes,
    "blobs": _blobs,
    "waves": _waves,
}

TEXTURE_CLASSES: tuple[str, ...] = tuple(_PATTERNS)
"""Names of the ten classes; a label is a position in this tuple."""


def make_textures(n: int, *, seed: int, size: int = 32) -> LabelledInputs:
    """Draw `n` texture images of `size` x `size` pixels.

    Class counts differ by at most one; the order is random. The same `n`, `seed` and `size` give the same bytes. Do not
    augment with mirroring: it turns one diagonal grating into the other class.

    Args:
        n: number of images, 0 or more.
        seed: of the random stream named "textures".
        size: width and height in pixels, 1 or more; patterns scale with it. Below about 16, fine patterns alias.

    Raises:
        InvalidSetting: `n` is negative, or `size` less than 1.
    """
    if n < 0:
        raise InvalidSetting(f"expected 0 or more texture images, got {n}; ask for a larger number")
    if size < 1:
        raise InvalidSetting(f"expected a texture size of at least 1 pixel, got {size}; ask for a larger size")
    generator = named_generator(seed, "textures")
    labels = (torch.arange(n) % len(TEXTURE_CLASSES))[torch.randperm(n, generator=generator)]
    images = torch.empty(n, 3, size, size, dtype=torch.uint8)
    at_once = max(1, min(_IMAGES_AT_ONCE, _IMAGES_AT_ONCE * 32**2 // size**2))
    for label, pattern in enumerate(_PATTERNS.values()):
        for rows in (labels == label).nonzero().flatten().split(at_once):
            images[rows] = _render(pattern, _Draw(len(rows), generator), size)
    return LabelledInputs(images, labels)


def _render(
    pattern: Callable[[Tensor, Tensor, _Draw], _Field], draw: _Draw, size: int
) -> UInt8[Tensor, "n 3 size size"]:
    """Images of one class: a field in -1..1 blends two random colours, and noise is added."""
    axis = (torch.arange(size) + 0.5) / size - 0.5
    field = pattern(axis[None, :], axis[:, None], draw)
    colours = torch.rand(2, draw.n, 3, 1, 1, generator=draw.generator)
    middle, difference = colours.mean(0), (colours[1] - colours[0]) / 2
    # Two similar colours would give a blank image, so the contrast sets their distance.
    difference = difference / torch.linalg.vector_norm(difference, dim=1, keepdim=True).clamp_min(1e-3)
    blend = difference * (draw.uniform(*_CONTRAST) / 2)[:, None]
    noise = torch.randn(draw.n, 3, size, size, generator=draw.generator) * draw.uniform(*_NOISE_STD)[:, None]
    return ((middle + blend * field[:, None] + noise) * 255).round_().clamp_(0, 255).to(torch.uint8)
