"""A data set from NumPy arrays: images of any layout or feature vectors, and labels of any kind."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float32, Shaped, UInt8

from agent.data.augmentation import Augmentation
from agent.data.chunk import LabelledInputs
from agent.errors import DatasetError
from scenarios.datasets.classes import classes_of
from scenarios.datasets.source import PHOTOGRAPHS, Source, scaled

PARTS = {"train": "train", "test": "test", "validation": "validation", "val": "validation"}
"""The part that the end of an array's name stands for, as in x_train and y_train."""
CLASS_NAMES = "class_names"

_CHANNELS = (1, 3)
_ROWS_AT_ONCE = 4096  # limits the memory of a conversion


def source_of(arrays: Mapping[str, np.ndarray], origin: str) -> Source:
    """The data set in arrays x_train, y_train and, if there are, x_test, y_test, x_val, y_val, class_names.

    Images are uint8 after this, n × 3 × height × width; vectors are float32.

    Args:
        arrays: by name. Images have 3 dimensions (grey) or 4 (1 or 3 channels, first or last); vectors have 2.
        origin: where they are, for errors.

    Raises:
        DatasetError: an array is missing, empty, of another length, shape or type, or holds NaN; there are fewer than
            two classes; or a class has no training sample.
    """
    parts = _parts_of(arrays, origin)
    labels = {part: _labels(arrays[f"y_{end}"], f"y_{end}", origin) for part, end in parts.items()}
    for part, end in parts.items():
        samples = arrays[f"x_{end}"]
        n = len(samples) if samples.ndim else 0
        if not n or n != len(labels[part]):
            raise DatasetError(
                f"expected as many samples as labels in {origin}, one or more, got x_{end} of {n} and y_{end} of "
                f"{len(labels[part])}; correct them, or leave both out"
            )
    named = arrays.get(CLASS_NAMES)
    names = None if named is None else _texts(named, CLASS_NAMES, origin)
    classes = classes_of(labels, origin, None if names is None else names.tolist())
    inputs = {part: torch.from_numpy(_inputs(arrays[f"x_{end}"], f"x_{end}", origin)) for part, end in parts.items()}
    first = inputs["train"]
    for part, end in parts.items():
        if inputs[part].shape[1:] != first.shape[1:]:
            raise DatasetError(
                f"expected samples of one shape in {origin}, got {tuple(first.shape[1:])} in x_train and "
                f"{tuple(inputs[part].shape[1:])} in x_{end}; make them alike"
            )
    labelled = {part: LabelledInputs(each, classes.labels[part]) for part, each in inputs.items()}
    augmentation = scaled(PHOTOGRAPHS, min(first.shape[2:])) if first.ndim == 4 else Augmentation()
    train, validation, test = (labelled.get(part) for part in ("train", "validation", "test"))
    assert train is not None
    return Source(classes.names, train, augmentation, validation, test, classes.notes)


def _parts_of(arrays: Mapping[str, np.ndarray], origin: str) -> dict[str, str]:
    """The end of the names of the arrays of each part, as in x_val."""
    parts: dict[str, str] = {}
    for end, part in PARTS.items():
        there = [f"{kind}_{end}" for kind in "xy" if f"{kind}_{end}" in arrays]
        missing = [f"{kind}_{end}" for kind in "xy" if f"{kind}_{end}" not in arrays]
        if missing and (there or end == "train"):
            got = f"{there[0]} alone" if there else "neither"
            raise DatasetError(
                f"expected arrays x_{end} and y_{end} in {origin}, got {got}; add {' and '.join(missing)}"
            )
        if there and part in parts:
            raise DatasetError(
                f"expected one {part} part in {origin}, got x_{parts[part]} and x_{end}; leave one of them out"
            )
        if there:
            parts[part] = end
    return parts


def _labels(labels: np.ndarray, name: str, origin: str) -> Shaped[np.ndarray, " n"]:
    flat = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if flat.ndim != 1:
        hint = "one label for each sample (of one-hot rows, their argmax)" if labels.ndim == 2 else "shape (n,)"
        raise DatasetError(f"expected {name} of shape (n,) or (n, 1) in {origin}, got {labels.shape}; give {hint}")
    if flat.dtype.kind in "US":
        return _texts(flat, name, origin)
    if flat.dtype.kind == "b":
        return flat.astype(np.int64)
    if flat.dtype.kind not in "iu":
        raise DatasetError(
            f"expected {name} of whole numbers or texts in {origin}, got {labels.dtype}; convert them, as with "
            f"{name}.astype(int)"
        )
    if len(flat) and int(flat.max()) > np.iinfo(np.int64).max:
        raise DatasetError(f"expected {name} below 2^63 in {origin}, got {int(flat.max())}; give smaller labels")
    return flat.astype(np.int64)


def _texts(values: np.ndarray, name: str, origin: str) -> Shaped[np.ndarray, " n"]:
    if values.ndim != 1 or values.dtype.kind not in "US":
        raise DatasetError(
            f"expected {name} of texts, of shape (n,), in {origin}, got {values.dtype} of shape {values.shape}; save "
            "it as numpy.array(names, dtype=str)"
        )
    if values.dtype.kind == "U":
        return values
    try:
        return np.char.decode(values, "utf-8")
    except UnicodeDecodeError as error:
        raise DatasetError(f"expected {name} of UTF-8 texts in {origin}, got other bytes; save texts") from error


def _inputs(samples: np.ndarray, name: str, origin: str) -> np.ndarray:
    """Vectors as float32, or images as n × 3 × height × width of 8 bits."""
    if samples.dtype.kind not in "iuf" or samples.ndim not in (2, 3, 4) or 0 in samples.shape:
        raise DatasetError(
            f"expected {name} of numbers in {origin}, images (3 or 4 dimensions) or vectors (2), got {samples.dtype} "
            f"of shape {samples.shape}; convert it"
        )
    if samples.ndim == 2:
        return _vectors(samples, name, origin)
    channels_first = _channels_first(samples, name, origin)
    images = np.empty((len(samples), 3, *channels_first.shape[2:]), np.uint8)
    for start in range(0, len(samples), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        images[rows] = _as_bytes(channels_first[rows], name, origin)  # grey is repeated
    return images


def _vectors(samples: Shaped[np.ndarray, "n features"], name: str, origin: str) -> Float32[np.ndarray, "n features"]:
    with np.errstate(over="ignore"):
        vectors = np.require(samples, np.float32, ["C", "W"])
    if not np.isfinite(vectors).all():
        raise DatasetError(
            f"expected finite numbers in {name} of {origin}, got NaN or numbers beyond those of float32; remove or "
            "replace them"
        )
    return vectors


def _channels_first(samples: np.ndarray, name: str, origin: str) -> Shaped[np.ndarray, "n channels height width"]:
    """A view with the channels first; decided by the shape alone."""
    if samples.ndim == 3:
        return samples[:, None]
    first, last = (samples.shape[axis] in _CHANNELS for axis in (1, 3))
    if first == last:
        got = "channels first and channels last both fit" if first else "neither is a number of channels"
        raise DatasetError(
            f"expected images of 1 or 3 channels, first or last, in {name} of {origin}, got shape {samples.shape}: "
            f"{got}; save them as n x height x width x 3, of more than 3 rows and columns"
        )
    return samples if first else samples.transpose(0, 3, 1, 2)


def _as_bytes(pixels: Shaped[np.ndarray, "n c h w"], name: str, origin: str) -> UInt8[np.ndarray, "n c h w"]:
    """Pixels of 8 bits: whole numbers from 0 to 255 as they are, floats from 0 to 1 rounded to 256 levels."""
    if pixels.dtype == np.uint8:
        return pixels
    low, high = pixels.min(), pixels.max()
    most = 1 if pixels.dtype.kind == "f" else 255
    if not (low >= 0 and high <= most):  # NaN is in no range
        kind = "floats from 0 to 1" if most == 1 else "whole numbers from 0 to 255"
        raise DatasetError(
            f"expected pixels of images in {name} of {origin} to be {kind}, got {low:g} to {high:g}; scale them, or "
            "save vectors with 2 dimensions"
        )
    full_range = (pixels.astype(np.float32) * np.float32(255)).round() if most == 1 else pixels
    return full_range.astype(np.uint8)
