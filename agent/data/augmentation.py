"""Normalization of inputs, and augmentation of images by random shifts and mirroring."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int32, Int64, Shaped
from torch import Tensor

from agent.errors import InvalidSetting

Padding = Literal["edge", "reflect"]
"""What fills the gap that a shift leaves: the nearest pixel of the edge, or the image reflected at it."""


@dataclass(frozen=True)
class Augmentation:
    """Random shifts and mirroring of images.

    A shift moves the image by up to `shift` pixels in each direction. Mirroring swaps left and right: each image with
    probability 1/2, or, if it alternates, every image each second time that it is drawn (Jordan 2024,
    arXiv:2404.00498, section 3.6).
    """

    shift: int = 0
    mirror: bool = False
    padding: Padding = "edge"
    alternating: bool = False

    def draw(self, n_steps: int, n: int, generator: torch.Generator) -> Int32[Tensor, "n_steps 3 n"]:
        """Draw moves for `n_steps` batches of n images: pixels down, pixels right, and mirror (0 or 1).

        The CPU draws them, so that they do not depend on the device, for many steps at once, so that one copy moves
        them to the device. They do not depend on `n_steps`. An augmentation that does nothing draws nothing.
        """
        moves = torch.zeros(n_steps, 3, n, dtype=torch.int32)
        if self.shift or self.mirror:
            for move in moves:
                move[:2] = torch.randint(-self.shift, self.shift + 1, (2, n), generator=generator)
                move[2] = torch.rand(n, generator=generator) < (0.5 if self.mirror else 0.0)
        return moves

    def draw_for(
        self,
        batches: Sequence[Int64[Tensor, " _"]],
        largest: int,
        generator: torch.Generator,
        turns: "Turns",
        device: torch.device,
    ) -> list[Int32[Tensor, "3 _"]]:
        """Draw moves for batches of stored images.

        Args:
            batches: the numbers of the images in each, on the CPU.
            largest: number of images to draw for, of which a smaller batch takes the first.
            generator: draws as `draw` does.
            turns: of the stored images; advanced if mirroring alternates.
            device: of the moves.
        """
        sizes = [len(batch) for batch in batches]
        moves = self.draw(len(sizes), largest, generator)
        if self.mirror and self.alternating:
            for move, mirrored in zip(moves, turns.next(torch.cat(list(batches))).split(sizes), strict=True):
                move[2, : len(mirrored)] = mirrored
        return [move[:, :size] for move, size in zip(moves.to(device), sizes, strict=True)]

    def __call__(self, inputs: Shaped[Tensor, "n ..."], moves: Int32[Tensor, "3 n"]) -> Shaped[Tensor, "n ..."]:
        """Augmented copies by the moves from `draw`, in channels_last layout.

        Raises:
            InvalidSetting: inputs that are no images, unless the augmentation does nothing.
        """
        return _moved(inputs, moves, self.padding) if self.shift or self.mirror else inputs


class Turns:
    """Which of the stored images are mirrored when they are drawn next; each draw turns an image around."""

    def __init__(self, mirrored: Bool[Tensor, " n"] | None = None) -> None:
        self._mirrored = torch.zeros(0, dtype=torch.bool) if mirrored is None else mirrored

    def append(self, n: int, generator: torch.Generator) -> None:
        """Begin with n more images, each mirrored with probability 1/2."""
        self._mirrored = torch.cat([self._mirrored, torch.rand(n, generator=generator) < 0.5])

    def next(self, rows: Int64[Tensor, " m"]) -> Bool[Tensor, " m"]:
        """Whether each of these images is mirrored, which may come several times; turns them around."""
        order = rows.argsort(stable=True)
        ordered = rows[order]
        is_first = torch.ones(len(rows), dtype=torch.bool)
        is_first[1:] = ordered[1:] != ordered[:-1]
        positions = torch.arange(len(rows))
        n_before = torch.empty_like(positions)  # times that the same image came before
        n_before[order] = positions - torch.where(is_first, positions, 0).cummax(dim=0).values
        found = self._mirrored[rows] ^ (n_before % 2).bool()
        self._mirrored = self._mirrored ^ (torch.bincount(rows, minlength=len(self._mirrored)) % 2).bool()
        return found

    def part(self, rows: Int64[Tensor, " m"]) -> "Turns":
        """Those of these images alone; none if images do not alternate."""
        return Turns(self._mirrored[rows]) if len(self._mirrored) else self

    def fork(self) -> "Turns":
        """An independent copy."""
        return Turns(self._mirrored)  # never written to

    def state(self) -> Bool[Tensor, " n"]:
        """A tensor, from which another begins where this one is."""
        return self._mirrored


@dataclass(frozen=True)
class View:
    """A fixed shift of an image, in pixels, and its mirroring."""

    down: int = 0
    right: int = 0
    mirrored: bool = False


def moved(images: Shaped[Tensor, "n ..."], view: View) -> Shaped[Tensor, "n ..."]:
    """Copies of images, shifted and mirrored as in `view`; raises InvalidSetting for inputs that are no images."""
    moves = torch.tensor([view.down, view.right, view.mirrored], dtype=torch.int32, device=images.device)
    return _moved(images, moves[:, None].expand(3, len(images)), "edge")


def _moved(images: Shaped[Tensor, "n ..."], moves: Int32[Tensor, "3 n"], padding: Padding) -> Shaped[Tensor, "n ..."]:
    """Shift and mirror each image with one gather for the whole batch."""
    if images.ndim != 4:
        raise InvalidSetting(
            f"expected images (channels × height × width) to shift or mirror, got inputs of shape "
            f"{tuple(images.shape[1:])}"
        )
    n, channels, height, width = images.shape
    device = images.device
    down, right, mirrored = moves[:, :, None]
    rows = _within(torch.arange(height, device=device) + down, height - 1, padding)
    columns = _within(torch.arange(width, device=device) + right, width - 1, padding)
    columns = torch.where(mirrored > 0, columns.flip(1), columns)
    first = torch.arange(n, device=device)[:, None, None] * (height * width)
    pixels = first + rows[:, :, None] * width + columns[:, None, :]
    flat = images.permute(0, 2, 3, 1).reshape(n * height * width, channels)
    return flat[pixels].permute(0, 3, 1, 2)


def _within(positions: Tensor, last: int, padding: Padding) -> Tensor:
    """Positions from 0 to `last`, for those that lie beyond either."""
    if padding == "reflect":
        positions = last - (last - positions.abs()).abs()
    return positions.clamp(0, last)


@dataclass(frozen=True)
class Normalization:
    """Standardization with the mean and standard deviation of each channel of images, or of each feature.

    Statistics of uint8 images are those of pixels divided by 255.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, inputs: Shaped[Tensor, "n ..."]) -> "Normalization":
        """The statistics of `inputs`, which should be training data; constant channels get std 1.

        Args:
            inputs: images (n × channels × height × width, uint8), or floats (n × features, or n × channels × ...).
        """
        if inputs.dtype != torch.uint8:
            rows = inputs.double().movedim(1, 0).flatten(1)
            means, spreads = rows.mean(dim=1), rows.std(dim=1, correction=0)
            return cls(tuple(means.tolist()), tuple(value if value > 0 else 1.0 for value in spreads.tolist()))
        # Histograms of the 256 values need no float copy of the data set.
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
        """Normalized inputs in float32; images in channels_last layout."""
        offset, scale = _offset_and_scale(self, inputs.device, inputs.ndim, inputs.dtype == torch.uint8)
        floats = inputs.float()
        if inputs.ndim == 4:
            floats = floats.contiguous(memory_format=torch.channels_last)
        return torch.addcmul(offset, floats, scale)


@lru_cache
def _offset_and_scale(
    normalization: Normalization, device: torch.device, ndim: int, is_uint8: bool
) -> tuple[Tensor, Tensor]:
    """The summand and factor of normalization for inputs of `ndim` dimensions; cached to spare copies to the device."""
    offset = [-mean / std for mean, std in zip(normalization.mean, normalization.std, strict=True)]
    scale = [1 / ((255 if is_uint8 else 1) * std) for std in normalization.std]
    shape = (1, -1, *[1] * (ndim - 2))
    return torch.tensor(offset, device=device).view(shape), torch.tensor(scale, device=device).view(shape)
