"""The samples of a data set before they are split into parts."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch

from agent.data.augmentation import Augmentation
from agent.data.chunk import LabelledInputs
from agent.errors import DatasetError
from scenarios.datasets.image_decoding import IMAGE_SIZE

Progress = Callable[[int, int], None]
"""Called with the number of images decoded so far and the number of all images."""

PHOTOGRAPHS = Augmentation(shift=4, mirror=True)
"""The augmentation for photographs of 32 x 32 pixels; see `scaled` for other sizes."""


def scaled(augmentation: Augmentation, size: int, of: int = IMAGE_SIZE) -> Augmentation:
    """The augmentation of images of side `of` for the same images at side `size`: the shift is the same share of it."""
    return replace(augmentation, shift=round(augmentation.shift * size / of))


@dataclass(frozen=True)
class Access:
    """Where data sets and caches are, and whether missing ones may be downloaded."""

    data_dir: Path | None = None
    """None for the user's cache folder."""
    download: bool = False
    content: str | None = None
    """Fingerprint of the files when the run began; None for any content."""


class Loading(NamedTuple):
    """How a data set is loaded, besides its own settings."""

    seed: int
    n_samples: int
    """How many samples a generated data set must have."""
    data_dir: Path
    """Where archives and decoded images are stored."""
    download: bool = False
    """Whether a missing archive may be downloaded."""
    progress: Progress | None = None
    """Called while images are decoded for the first time."""
    max_megapixels: float = math.inf
    """The most pixels, in millions, to decode for one image."""
    image_size: int | None = None
    """The side of square images, in pixels, that the user asks for; None for the default of the data set."""

    @property
    def side(self) -> int:
        """The side of square images, in pixels, for a data set whose default is 32."""
        return IMAGE_SIZE if self.image_size is None else self.image_size


@dataclass(frozen=True)
class Source:
    """A data set before the split; a label is a position in `class_names`.

    Images are n × channels × height × width, uint8; other samples are float32 of any one shape.

    Raises:
        DatasetError: samples of several shapes or types, labels that name no class, or values that are not finite.
    """

    class_names: tuple[str, ...]
    train: LabelledInputs
    """The train part, and all parts that the data set does not have."""
    augmentation: Augmentation
    validation: LabelledInputs | None = None
    test: LabelledInputs | None = None
    notes: tuple[str, ...] = ()
    """One line for each kind of skipped files."""

    def __post_init__(self) -> None:
        for part in (self.train, self.validation, self.test):
            if part is None:
                continue
            inputs, labels = part.inputs, part.labels
            if inputs.shape[1:] != self.train.inputs.shape[1:] or inputs.dtype != self.train.inputs.dtype:
                raise DatasetError(
                    f"expected samples of one shape and type in all parts, got {tuple(self.train.inputs.shape[1:])} "
                    f"{self.train.inputs.dtype} and {tuple(inputs.shape[1:])} {inputs.dtype}"
                )
            if labels.dtype != torch.int64 or labels.shape != inputs.shape[:1]:
                raise DatasetError(
                    f"expected one int64 label for each of {len(inputs)} samples, got {tuple(labels.shape)} of "
                    f"{labels.dtype}"
                )
            if len(labels) and not (int(labels.min()) >= 0 and int(labels.max()) < len(self.class_names)):
                raise DatasetError(
                    f"expected labels from 0 to {len(self.class_names) - 1}, as many as class names, got "
                    f"{int(labels.min())} to {int(labels.max())}"
                )
            if inputs.is_floating_point() and not bool(inputs.isfinite().all()):
                raise DatasetError("expected finite samples, got NaN or infinity")
