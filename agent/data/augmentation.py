"""Turning uint8 images into a network's input: normalization always, random shifts and mirroring while training."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Int32, Shaped
from torch import Tensor

from agent.errors import InvalidSetting


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

    def __call__(self, inputs: Shaped[Tensor, "n ..."], moves: Int32[Tensor, "3 n"]) -> Shaped[Tensor, "n ..."]:
        """Augmented copies, each moved as was drawn for it, in channels_last layout.

        Raises:
            InvalidSetting: inputs that are no images, and an augmentation that does something.
        """
        return _moved(inputs, moves) if self.shift or self.mirror else inputs


@dataclass(frozen=True)
class View:
    """One way to look at an image."""

    down: int = 0
    """Pixels."""
    right: int = 0
    mirrored: bool = False


def moved(images: Shaped[Tensor, "n ..."], view: View) -> Shaped[Tensor, "n ..."]:
    """Copies of images, all as one view has them.

    Raises:
        InvalidSetting: inputs that are no images.
    """
    moves = torch.tensor([view.down, view.right, view.mirrored], dtype=torch.int32, device=images.device)
    return _moved(images, moves[:, None].expand(3, len(images)))


def _moved(images: Shaped[Tensor, "n ..."], moves: Int32[Tensor, "3 n"]) -> Shaped[Tensor, "n ..."]:
    """One gather for the whole batch."""
    if images.ndim != 4:
        raise InvalidSetting(
            f"expected images (channels × height × width) to shift or mirror, got inputs of shape "
            f"{tuple(images.shape[1:])}"
        )
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
    """Standardization with the mean and standard deviation of each channel of images, or of each feature.

    Images come as uint8 and are seen on the scale 0..1; other inputs come as floats and are taken as they are.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, inputs: Shaped[Tensor, "n ..."]) -> "Normalization":
        """The statistics of `inputs`, which should be training data alone; what is constant gets std 1.

        Args:
            inputs: images (n × channels × height × width, uint8), or floats (n × features, or n × channels × ...).
        """
        if inputs.dtype != torch.uint8:
            rows = inputs.double().movedim(1, 0).flatten(1)
            means, spreads = rows.mean(dim=1), rows.std(dim=1, correction=0)
            return cls(tuple(means.tolist()), tuple(value if value > 0 else 1.0 for value in spreads.tolist()))
        # The histogram of 256 values holds all there is to know, without a float copy of the data set.
        values = torch.arange(256, dtype=torch.float64) / 255
        mean, std = [], []
        for channel in range(inputs.shape[1]):
            share = torch.bincount(inputs[:, channel].flatten(), minlength=256).double()
            share /= share.sum()
            center = float(share @ values)
            spread = float((share @ (values - center) ** 2).sqrt())
            mean.append(center)
            std.append(spread if spread > 0 else 1.0)
        return cls(tuple(mean), tuple(std))

    def __call__(self, inputs: Shaped[Tensor, "n channels ..."]) -> Float[Tensor, "n channels ..."]:
        """Float32 inputs; images in channels_last layout."""
        offset, scale = _offset_and_scale(self, inputs.device, inputs.ndim, inputs.dtype == torch.uint8)
        floats = inputs.float()
        if inputs.ndim == 4:
            floats = floats.contiguous(memory_format=torch.channels_last)
        return torch.addcmul(offset, floats, scale)


@lru_cache
def _offset_and_scale(
    normalization: Normalization, device: torch.device, ndim: int, whole: bool
) -> tuple[Tensor, Tensor]:
    """What inputs are multiplied with, and what is added then: on the device once, not at every step.

    Args:
        normalization: its mean and std have an entry for each place of dimension 1.
        device: of the inputs.
        ndim: of the inputs.
        whole: whether they are whole numbers from 0 to 255.
    """
    offset = [-mean / std for mean, std in zip(normalization.mean, normalization.std, strict=True)]
    scale = [1 / ((255 if whole else 1) * std) for std in normalization.std]
    shape = (1, -1, *[1] * (ndim - 2))
    return torch.tensor(offset, device=device).view(shape), torch.tensor(scale, device=device).view(shape)
