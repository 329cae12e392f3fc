"""What a policy sees, and what it may do."""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol, runtime_checkable


class Action(Enum):
    """What to do with a chunk."""

    LEARN = "learn"
    MEMORIZE = "memorize"


@dataclass(frozen=True)
class Observation:
    """What a policy may know when it decides."""

    step: int
    """Chunks met before this one."""
    n_chunks: int
    """Chunks of the whole stream."""


@runtime_checkable
class Policy(Protocol):
    """Decides, chunk by chunk, between learning and memorizing."""

    def decide(self, observation: Observation) -> Action:
        """The action for the chunk at hand."""
