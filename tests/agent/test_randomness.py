import subprocess
import sys

import numpy as np
import torch

from agent.randomness import clone_generator, named_generator, named_seed


def draw(generator: torch.Generator, n: int = 1000) -> torch.Tensor:
    return torch.randn(n, generator=generator)


def test_a_stream_is_reproduced_by_its_seed_and_name() -> None:
    assert torch.equal(draw(named_generator(3, "order")), draw(named_generator(3, "order")))
    # And by another process, whose hashes of strings differ.
    code = "from agent.randomness import named_seed; print(named_seed(3, 'order'))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(told) == named_seed(3, "order")


def test_streams_of_other_names_and_seeds_are_independent() -> None:
    streams = [(seed, name) for seed in range(4) for name in ("order", "augmentation", "weights", "policy", "")]
    seeds = [named_seed(*stream) for stream in streams]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    correlation = np.corrcoef(np.stack([draw(named_generator(*stream)).numpy() for stream in streams]))
    assert np.abs(correlation - np.eye(len(streams))).max() < 0.15  # standard deviation 0.03


def test_a_clone_goes_on_with_the_same_numbers_for_itself() -> None:
    generator = named_generator(0, "order")
    draw(generator, 7)  # an odd number: normal deviates come in pairs
    clone = clone_generator(generator)
    ahead = draw(clone)
    assert torch.equal(draw(generator), ahead)
    assert not torch.equal(draw(generator), ahead)


def test_nothing_global_is_seeded() -> None:
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    draw(named_generator(0, "order"))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
