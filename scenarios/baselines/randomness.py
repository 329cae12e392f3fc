"""A random stream of its own for code that draws from the global generators."""

import copy
import random
from types import TracebackType
from typing import Any

import numpy as np
import torch


class OwnRandomness:
    """While it is entered, the global generators of Python, NumPy and PyTorch are a stream of its own.

    It goes on where it was left; afterwards the global generators are as they were before.

    Args:
        seed: of the stream, 0 or more.
        device: whose generator is meant, beside that of the CPU.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._device = device
        self._own: list[Any] = [
            random.Random(seed).getstate(),
            np.random.RandomState(seed % 2**32).get_state(),
            torch.Generator().manual_seed(seed).get_state(),
        ]
        if device.type == "cuda":
            self._own.append(torch.Generator(device).manual_seed(seed).get_state())
        self._outer: list[Any] = []

    def __enter__(self) -> "OwnRandomness":
        self._outer = self._swapped(self._own)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._own, self._outer = self._swapped(self._outer), []

    def _swapped(self, states: list[Any]) -> list[Any]:
        """The states of the global generators, which go on from `states` now."""
        before = [random.getstate(), np.random.get_state(), torch.get_rng_state()]  # noqa: NPY002
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])
        if self._device.type == "cuda":
            before.append(torch.cuda.get_rng_state(self._device))
            torch.cuda.set_rng_state(states[3], self._device)
        return before

    def fork(self) -> "OwnRandomness":
        """A stream that draws the same numbers from here on."""
        return copy.copy(self)  # states are replaced, never changed
