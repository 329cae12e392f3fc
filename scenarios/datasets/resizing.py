"""Images of any size as squares of the size that the user asks for."""

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from agent.data.chunk import LabelledInputs
from agent.errors import InvalidSetting
from scenarios.datasets.content import in_threads
from scenarios.datasets.image_decoding import fitted
from scenarios.datasets.source import Progress, Source, scaled

_LEAST, _MOST = 8, 512  # pixels, as in the settings


def check_image_size(size: int | None) -> None:
    """Raise InvalidSetting for an image size out of range."""
    if size is not None and not _LEAST <= size <= _MOST:
        raise InvalidSetting(f"expected --image-size from {_LEAST} to {_MOST} pixels, got {size}; change it")


def with_image_size(source: Source, size: int, name: str, progress: Progress | None = None) -> Source:
    """The data set with images of `size` x `size` pixels, and the shift of its augmentation in proportion.

    A data set that already has them is returned as it is.

    Args:
        source: the data set.
        size: side of the images, in pixels.
        name: of the data set, for errors.
        progress: called while the train part is resized.

    Raises:
        InvalidSetting: its samples are no images of 8 bits.
    """
    inputs = source.train.inputs
    if inputs.ndim != 4 or inputs.dtype != torch.uint8:
        shape = " x ".join(map(str, inputs.shape[1:]))
        raise InvalidSetting(
            f"expected a data set of images with --image-size, got {name} with samples of {shape} "
            f"{'numbers' if inputs.is_floating_point() else 'integers'}; leave --image-size out"
        )
    height, width = inputs.shape[2:]
    if height == width == size:
        return source
    parts = (
        None if part is None else LabelledInputs(resized(part.inputs, size, progress), part.labels)
        for part in (source.train, source.validation, source.test)
    )
    train, validation, test = parts
    assert train is not None
    augmentation = scaled(source.augmentation, size, min(height, width))
    return Source(source.class_names, train, augmentation, validation, test, source.notes)


def resized(
    images: UInt8[Tensor, "n channels height width"], size: int, progress: Progress | None = None
) -> UInt8[Tensor, "n channels {size} {size}"]:
    """The square in the middle of each image, resized as the images of a folder are (`image_decoding.fitted`)."""
    n, channels = images.shape[:2]
    result = np.empty((n, channels, size, size), np.uint8)
    pixels = images.numpy()

    def resize(row: int) -> None:
        if channels == 3:
            square = fitted(Image.fromarray(pixels[row].transpose(1, 2, 0)), size)
            result[row] = np.asarray(square).transpose(2, 0, 1)
        else:
            for channel in range(channels):
                result[row, channel] = np.asarray(fitted(Image.fromarray(pixels[row, channel]), size))

    in_threads(n, resize, progress)
    return torch.from_numpy(result)
