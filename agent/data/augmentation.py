"""Turning uint8 images into a network's input: normalization always, random shifts and mirroring while training."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Int32, UInt8
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """Random translations and mirrorings that leave the class as it is.

    A shift moves the image by up to `shift` pixels in each direction and repeats the edge where it leaves a gap;
    mirroring swaps left and right with probability 1/2.
    """

    shift: int = 0
    mirror: bool = False

    def draw(self, n_steps: int, n: int, generator: torch.Generator) -> Int32[Tensor, "n_steps 3 n"]:
        """Moves for the n images of each of several batches: shift down, shift right (pixels) and mirror (0 or 1).

        Drawn on the CPU, so that they do not depend on the device, and for many steps at once, so that one copy takes
        them there; how many at once does not change them. An augmentation that does nothing draws nothing.
        """
        moves = torch.zeros(n_steps, 3, n, dtype=torch.int32)
        if self.shift or self.mirror:
            for move in moves:
                move[:2] = torch.randint(-self.shift, self.shift + 1, (2, n), generator=generator)
                move[2] = torch.rand(n, generator=generator) < (0.5 if self.mirror else 0.0)
        return moves

    def __call__(
        self, images: UInt8[Tensor, "n channels height width"], moves: Int32[Tensor, "3 n"]
    ) -> UInt8[Tensor, "n channels height width"]:
        """Augmented copies, each moved as was drawn for it, in channels_last layout; one gather for the whole batch."""
        if not self.shift and not self.mirror:
            return images
        n, channels, height, width = images.shape
        device = images.device
        down, right, mirrored = moves[:, :, None]
        rows = (torch.arange(height, device=device) + down).clamp(0, height - 1)
        columns = (torch.arange(width, device=device) + right).clamp(0, width - 1)
        columns = torch.where(mirrored > 0, columns.flip(1), columns)
        first = torch.arange(n, device=device)[:, None, None] * (height * width)
        pixels = first + rows[:, :, None] * width + columns[:, None, :]
        flat = images.permute(0, 2, 3, 1).reshape(n * height * width, channels)
        return flat[pixels].permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Normalization:
    """Standardization with the mean and standard deviation of each channel, on the scale 0..1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, images: UInt8[Tensor, "n channels height width"]) -> "Normalization":
        """The statistics of `images`, which should be training data alone; a constant channel gets std 1."""
        # The histogram of 256 values holds all there is to know, without a float copy of the data set.
        values = torch.arange(256, dtype=torch.float64) / 255
        mean, std = [], []
        for channel in range(images.shape[1]):
            share = torch.bincount(images[:, channel].flatten(), minlength=256).double()
            share /= share.sum()
            center = float(share @ values)
            spread = float((share @ (values - center) ** 2).sqrt())
            mean.append(center)
            std.append(spread if spread > 0 else 1.0)
        return cls(tuple(mean), tuple(std))

    def __call__(self, images: UInt8[Tensor, "n channels height width"]) -> Float[Tensor, "n channels height width"]:
        """Float32 images, in channels_last layout."""
        offset, scale = _offset_and_scale(self, images.device)
        return torch.addcmul(offset, images.float().contiguous(memory_format=torch.channels_last), scale)


@lru_cache
def _offset_and_scale(normalization: Normalization, device: torch.device) -> tuple[Tensor, Tensor]:
    """What images of 0..255 are multiplied with, and what is added then: on the device once, not at every step."""
    offset = [-mean / std for mean, std in zip(normalization.mean, normalization.std, strict=True)]
    scale = [1 / (255 * std) for std in normalization.std]
    shape = (1, -1, 1, 1)
    return torch.tensor(offset, device=device).view(shape), torch.tensor(scale, device=device).view(shape)
