"""Evictions by name."""

from agent.memory.eviction import ClassBalanced, Eviction, Fifo, Reservoir
from agent.memory.herding import Herding
from agent.memory.usefulness import LeastUseful

EVICTIONS: dict[str, type[Eviction]] = {
    "reservoir": Reservoir,
    "class-balanced": ClassBalanced,
    "fifo": Fifo,
    "herding": Herding,
    "least-useful": LeastUseful,
}
"""Evictions by their name on the command line; the program gives each the seed."""
