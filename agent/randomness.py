"""Named random streams: each component draws from its own generator, and all derive from one seed."""

import zlib

import numpy as np
import torch

from agent.errors import InvalidSetting


def named_seed(seed: int, name: str) -> int:
    """A 63-bit seed for the stream `name` of a run with `seed`, from NumPy's SeedSequence.

    Raises:
        InvalidSetting: a seed below 0.
    """
    if seed < 0:
        raise InvalidSetting(f"expected a seed of at least 0, got {seed}")
    sequence = np.random.SeedSequence(seed, spawn_key=(zlib.crc32(name.encode()),))
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def named_generator(seed: int, name: str) -> torch.Generator:
    """A CPU generator for the stream `name`, independent of all other names and of the device."""
    return torch.Generator().manual_seed(named_seed(seed, name))


def clone_generator(generator: torch.Generator) -> torch.Generator:
    """A generator that draws the same numbers as `generator`."""
    return torch.Generator().set_state(generator.get_state())
