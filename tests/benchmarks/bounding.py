"""What a capacity of the memory costs. `python -m tests.benchmarks bounding`."""

from collections.abc import Callable

import torch

from agent.memory import CacheMemory, Memory
from agent.memory.bounded import Capacity, bounded
from agent.memory.eviction import ClassBalanced, Eviction, Fifo, Reservoir
from agent.memory.herding import Herding
from agent.memory.usefulness import LeastUseful
from agent.networks.outputs import Outputs
from tests.benchmarks.ratios import Ratio, alternately, ratios
from tests.benchmarks.recalling import N_CLASSES, drawn

N, LENGTH, CHUNK, CAPACITY = 50_000, 64, 500, 1_000

EVICTIONS: dict[str, tuple[type[Eviction], str]] = {
    "fifo": (Fifo, "≤ 2"),
    "reservoir": (Reservoir, "≤ 2"),
    "class-balanced": (ClassBalanced, ""),
    "herding": (Herding, ""),
    "least useful": (LeastUseful, ""),
}
"""Evictions with the target of each."""


def inserting(make: Callable[[], Memory]) -> Callable[[], object]:
    """Inserts of all keys, a chunk at a time, into a new memory."""
    keys, probabilities = drawn(N, LENGTH, seed=0), torch.full((CHUNK, N_CLASSES), 1 / N_CLASSES)
    ids = torch.arange(N)
    labels = torch.randint(N_CLASSES, (N,), generator=torch.Generator().manual_seed(1))
    chunks = [
        (Outputs(probabilities, keys[rows]), labels[rows], ids[rows])
        for rows in (slice(first, first + CHUNK) for first in range(0, N, CHUNK))
    ]

    def inserted() -> None:
        memory = make()
        for chunk in chunks:
            memory.insert(*chunk)

    return inserted


def measure() -> list[Ratio]:
    """Each eviction; about half a minute."""
    found = []
    for name, (eviction, target) in EVICTIONS.items():
        bound, free = alternately(
            inserting(lambda eviction=eviction: bounded(CacheMemory(N_CLASSES), Capacity(CAPACITY), eviction())),
            inserting(lambda: CacheMemory(N_CLASSES)),
        )
        what = f"{N:,} inserts of {LENGTH} numbers by {CHUNK}, capacity {CAPACITY:,}, {name}"
        found.append(Ratio(what, "without a capacity", ratios(bound, free), target))
    return found
