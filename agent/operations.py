"""What can be done with a chunk: one table, read by loop, observations, policies, schedule tables and environments."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int64

from agent.accounting.work import Account, Bill
from agent.data.chunk import Chunk
from agent.networks.outputs import Outputs


@runtime_checkable
class Operation(Protocol):
    """One thing that can be done with a chunk; every chunk has one done to it."""

    letter: str
    """A capital, for schedules in tables and figures."""
    learns: bool
    """Whether the learner is given the chunk."""
    memorizes: bool
    """Whether the memory is given the chunk."""
    uses_outputs: bool
    """Whether the learner's outputs of the chunk, where a policy has looked, spare it a forward pass."""
    accounts: tuple[Account, ...]
    """What its estimate is charged to; `rekey` counts where keys are renewed on learning."""

    def perform(self, agent: Any, chunk: Chunk, outputs: Outputs | None) -> Bill:
        """Do it.

        Args:
            agent: an `agent.agent.Agent`.
            chunk: at hand.
            outputs: of the chunk, by the learner as it is; None if nobody has looked.
        """

    def estimate(self, agent: Any, chunk: Chunk, *, looked: bool) -> Any:
        """What it takes, as an `agent.agent.Estimate`; nothing is done.

        Args:
            agent: an `agent.agent.Agent`.
            chunk: at hand.
            looked: whether the learner as it is has looked at the chunk, and been paid for it.
        """


class Memorize:
    """The chunk is stored, under keys of the learner as it is."""

    letter = "M"
    learns = False
    memorizes = True
    uses_outputs = True
    accounts: tuple[Account, ...] = ("memorize",)

    def perform(self, agent: Any, chunk: Chunk, outputs: Outputs | None) -> Bill:
        """See Operation."""
        return agent.memorize(chunk, outputs)

    def estimate(self, agent: Any, chunk: Chunk, *, looked: bool) -> Any:
        """See Operation."""
        return agent.estimate_memorizing(chunk, looked=looked)


class Learn:
    """The learner learns from the chunk, at once or when it is next asked."""

    letter = "L"
    learns = True
    memorizes = False
    uses_outputs = False
    accounts: tuple[Account, ...] = ("learn", "rekey")

    def perform(self, agent: Any, chunk: Chunk, outputs: Outputs | None) -> Bill:
        """See Operation."""
        return agent.learn(chunk)

    def estimate(self, agent: Any, chunk: Chunk, *, looked: bool) -> Any:
        """See Operation."""
        return agent.estimate_learning(chunk)


OPERATIONS: dict[str, Operation] = {"memorize": Memorize(), "learn": Learn()}
"""Every operation by its name, an identifier; its place is the number that tables and environments know it by.

Adding one means adding a line, at the end: of schedules and actions that are worth the same, the tables' searches take
the one of the lower number, and policies that score actions the one of the higher.
"""


@dataclass(frozen=True)
class Action:
    """What to do with a chunk: an operation, by its name in `OPERATIONS`."""

    name: str
    LEARN: ClassVar["Action"]
    MEMORIZE: ClassVar["Action"]

    @property
    def known(self) -> bool:
        """Whether there is such an operation."""
        return self.name in OPERATIONS

    @property
    def operation(self) -> Operation:
        """What is done."""
        return OPERATIONS[self.name]

    @property
    def number(self) -> int:
        """Its place in `OPERATIONS`."""
        return list(OPERATIONS).index(self.name)


Action.LEARN, Action.MEMORIZE = Action("learn"), Action("memorize")


def actions() -> Iterator[Action]:
    """Every action, by number."""
    return map(Action, OPERATIONS)


def letters() -> str:
    """Of every action, by number."""
    return "".join(operation.letter for operation in OPERATIONS.values())


def best(scores: Float[np.ndarray, "n actions"]) -> Int64[np.ndarray, " n"]:
    """The number of the action of the highest score, in each row; of equals the highest number."""
    return scores.shape[1] - 1 - np.argmax(scores[:, ::-1], axis=1)
