"""Memories by name."""

from typing import Any

from agent.memory.cache import CacheMemory
from agent.memory.protocol import Memory
from agent.memory.ridge import RidgeMemory

MEMORIES: dict[str, type[Memory[Any]]] = {"cache": CacheMemory, "ridge": RidgeMemory}
"""Memories by their name on the command line; the program gives each the number of classes and the device."""
