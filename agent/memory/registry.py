"""Memories by name."""

from typing import Any

from agent.memory.ann import AnnMemory
from agent.memory.cache import CacheMemory
from agent.memory.knn import KnnMemory
from agent.memory.logistic import LogisticMemory
from agent.memory.ncm import NcmMemory
from agent.memory.protocol import Memory
from agent.memory.residual import ResidualMemory
from agent.memory.ridge import RidgeMemory
from agent.memory.slda import SldaMemory

MEMORIES: dict[str, type[Memory[Any]]] = {
    "cache": CacheMemory,
    "knn": KnnMemory,
    "ann": AnnMemory,
    "residual": ResidualMemory,
    "logistic": LogisticMemory,
    "ridge": RidgeMemory,
    "slda": SldaMemory,
    "ncm": NcmMemory,
}
"""Memories by their name on the command line; the program gives each the number of classes and the device."""
