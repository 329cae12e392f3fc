"""Named random streams: each component draws from its own generator, and all derive from one seed."""

import zlib

import numpy as np
import torch
from jaxtyping import Int64, UInt64
from torch import Tensor

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


def priorities(ids: Int64[Tensor, " n"], seed: int) -> UInt64[np.ndarray, " n"]:
    """Pseudo-random numbers of samples, all different: splitmix64 of the seed and the id.

    References:
        Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, figure 17.
    """
    z = ids.numpy().view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z += np.random.SeedSequence(seed).generate_state(1, np.uint64)  # so that seeds in sequence are independent
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


def bottom(ids: Int64[Tensor, " n"], k: int, seed: int) -> Int64[Tensor, " k"]:
    """The positions of the k samples of lowest priority, in ascending order: a uniform sample, whatever the chunks.

    Args:
        ids: of the samples, k or more, all different.
        k: 1 or more.
        seed: of the priorities.

    References:
        Cohen and Kaplan, "Summarizing data using bottom-k sketches", PODC 2007.
    """
    return torch.from_numpy(np.sort(np.argpartition(priorities(ids, seed), k - 1)[:k]))
