"""Named random streams: one seed, and a generator of its own for every component that draws."""

import zlib

import numpy as np
import torch

from agent.errors import InvalidSetting


def named_seed(seed: int, name: str) -> int:
    """A 63-bit seed for the stream `name` of a run seeded with `seed` (NumPy's SeedSequence spawns it)."""
    if seed < 0:
        raise InvalidSetting(f"expected a seed of at least 0, got {seed}")
    sequence = np.random.SeedSequence(seed, spawn_key=(zlib.crc32(name.encode()),))
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def named_generator(seed: int, name: str) -> torch.Generator:
    """A CPU generator for the stream `name`, independent of every other name and of the device in use."""
    return torch.Generator().manual_seed(named_seed(seed, name))


def clone_generator(generator: torch.Generator) -> torch.Generator:
    """A generator that goes on to draw the very numbers that `generator` would."""
    return torch.Generator().set_state(generator.get_state())
