"""Episodic memories, one model a file."""

from agent.memory.cache import CacheMemory as CacheMemory
from agent.memory.protocol import Memory as Memory
from agent.memory.recall import Recall as Recall
