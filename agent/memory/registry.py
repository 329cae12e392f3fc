"""Memories by name."""

from typing import Any

from agent.memory.cache import CacheMemory
from agent.memory.protocol import Memory
from agent.memory.ridge import RidgeMemory

MEMORIES: dict[str, type[Memory[Any]]] = {"cache": CacheMemory, "ridge": RidgeMemory}
"""Every memory, by the name it has on the command line; made with the number of classes and the device."""
