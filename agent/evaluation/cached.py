"""Outputs on fixed inputs, kept for the next evaluation on them."""

from dataclasses import dataclass
from typing import Any

from agent.accounting.work import Work
from agent.memory.settings import Setting
from agent.networks.outputs import Outputs
from agent.version import Version


@dataclass(frozen=True)
class CachedOutputs:
    """An agent's outputs on fixed inputs, for the next `look` at them by this agent or a fork."""

    learner: Version
    """Version of the learner that computed them."""
    memory: Version
    """Version of the memory at the recall."""
    outputs: Outputs
    looked: Work
    """Work of the forward pass."""
    settings: tuple[Setting, ...]
    """Settings of the recall."""
    recall: Any
    """The memory's own cache of the recall."""
    recalled: Work
    """Total work of the recall, equal to that of one from scratch."""
