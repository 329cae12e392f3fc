"""The operations on chunks: one table for the loop, observations, policies, schedule tables and environments."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float, Int64

from agent.accounting.work import Account, Bill, Charge
from agent.data.chunk import Chunk
from agent.memory.consolidation import Consolidation
from agent.networks.outputs import Outputs


class Estimate(NamedTuple):
    """The estimated work of an operation, without doing it."""

    bill: Bill
    """For the operation alone."""
    shared: tuple[Charge, ...] = ()
    """For the training right after it, which trains on other pending chunks too."""
    share: float = 1.0
    """The chunk's part of `shared`, by samples, 0 to 1."""
    held_nbytes: int = 0
    """Bytes that storage holds in addition, without the learner's samples."""
    shared_price: float | None = None
    """Price of compute for all of `shared`, the mean over the samples; None for the chunk's own."""
    samples_nbytes: int = 0
    """Bytes of samples that the learner stores in addition, at most."""

    @property
    def whole(self) -> Bill:
        """All that the agent is then billed, or has ordered: the training with all that is pending."""
        if self.shared_price is None:
            return [*self.bill, *self.shared]
        return [*self.bill, *(charge._replace(price=self.shared_price) for charge in self.shared)]

    @property
    def flops(self) -> float:
        """FLOPs charged for the chunk."""
        alone, shared = (sum(charge.work.flops for charge in bill) for bill in (self.bill, self.shared))
        return alone + self.share * shared


PASS = "pass"
"""Name of what an agent does with a chunk where an enforced budget lasts for nothing else; no policy may choose it."""


@dataclass(frozen=True)
class Operation:
    """An operation on a chunk; each chunk gets exactly one."""

    letter: str
    """A capital, for schedules in tables and figures."""
    learns: bool
    """Whether the learner is given samples: the chunk, or what the operation chooses."""
    memorizes: bool
    """Whether the memory is given the chunk."""
    outputs_account: Account | None
    """Account of its forward pass on the chunk, which it leaves out if the outputs are known; None if it has none."""
    accounts: tuple[Account, ...]
    """Accounts of its estimate; `rekey` counts only where keys are renewed on learning."""
    perform: Callable[[Any, Chunk, Outputs | None], Bill]
    """Performs it, given the `agent.agent.Agent`, the chunk, and the outputs on it; None if they are not known."""
    estimate: Callable[..., Estimate]
    """Estimates it, given agent and chunk; the keyword `looked` says whether the outputs are known and paid for."""
    shares: bool = False
    """Whether agents that share a learner may perform it and go on sharing; else each takes a fork of its own first.

    They may if `perform` changes the learner only by `prepare`, `learn`, `flush` and `memorize` of the agent, in an
    order that does not depend on the agent, and uses its outputs only after the last change, for re-keying too."""
    consolidates: bool = False
    """Whether it learns from images in memory."""
    option: str = ""
    """The option of the command line with which agents offer it; empty if all do."""
    fallback: str = PASS
    """What is tried instead if an enforced budget does not last for it."""


OPERATIONS: dict[str, Operation] = {
    "memorize": Operation(
        letter="M",
        learns=False,
        memorizes=True,
        outputs_account="memorize",
        accounts=("memorize",),
        perform=lambda agent, chunk, outputs: agent.memorize(chunk, outputs),
        estimate=lambda agent, chunk, looked: agent.estimate_memorizing(chunk, looked=looked),
        shares=True,
    ),
    "learn": Operation(
        letter="L",
        learns=True,
        memorizes=False,
        outputs_account=None,
        accounts=("learn", "rekey"),
        perform=lambda agent, chunk, outputs: agent.learn(chunk),
        estimate=lambda agent, chunk, looked: agent.estimate_learning(chunk),
        shares=True,
        fallback="memorize",
    ),
    "consolidate": Operation(
        letter="C",
        learns=True,
        memorizes=True,
        outputs_account="memorize",
        accounts=("memorize", "learn", "rekey"),
        perform=lambda agent, chunk, outputs: agent.consolidate(chunk, outputs),
        estimate=lambda agent, chunk, looked: agent.estimate_consolidating(chunk, looked=looked),
        consolidates=True,
        option="--consolidate 500",
        fallback="memorize",
    ),
    "both": Operation(
        letter="B",
        learns=True,
        memorizes=True,
        outputs_account=None,  # those of the network before it has learned are of no use
        accounts=("learn", "rekey", "memorize"),
        perform=lambda agent, chunk, outputs: agent.learn_and_memorize(chunk),
        estimate=lambda agent, chunk, looked: agent.estimate_learning_and_memorizing(chunk),
        shares=True,
        option="--both",
        fallback="learn",
    ),
}
"""Operations by name, an identifier. Agents offer some of them (`offered`), whose order here is that of their numbers
in schedule tables and environments.

Add new ones at the end: between equal schedules or actions, searches of tables take the one of the lower number, and
policies that score actions take the one of the higher number.
"""


_PASSING = Operation(
    letter="P",
    learns=False,
    memorizes=False,
    outputs_account=None,
    accounts=(),
    perform=lambda agent, chunk, outputs: [],
    estimate=lambda agent, chunk, looked: Estimate([]),
    shares=True,
)


def operation_of(name: str) -> Operation:
    """The operation of this name, out of `OPERATIONS` or PASS, which does nothing."""
    return _PASSING if name == PASS else OPERATIONS[name]


def offered(consolidation: Consolidation, *, both: bool = False) -> tuple[str, ...]:
    """The names of the operations that an agent offers, in the order of `OPERATIONS`.

    Args:
        consolidation: that of the agent; without one it does not offer CONSOLIDATE.
        both: whether it offers BOTH.
    """
    wanted = {"consolidate": consolidation.images > 0, "both": both}
    return tuple(name for name, each in OPERATIONS.items() if not each.option or wanted.get(name, False))


@dataclass(frozen=True)
class Action:
    """What is done with a chunk: the name of an operation in `OPERATIONS`, which a policy may choose, or PASS."""

    name: str
    LEARN: ClassVar["Action"]
    MEMORIZE: ClassVar["Action"]
    CONSOLIDATE: ClassVar["Action"]
    BOTH: ClassVar["Action"]
    PASS: ClassVar["Action"]

    @property
    def known(self) -> bool:
        """Whether `OPERATIONS` has it, so that a policy may choose it."""
        return self.name in OPERATIONS

    @property
    def operation(self) -> Operation:
        """The operation of this name."""
        return operation_of(self.name)

    @property
    def fallback(self) -> "Action":
        """What is tried instead if an enforced budget does not last for it."""
        return Action(self.operation.fallback)

    @property
    def place(self) -> int:
        """Position in `OPERATIONS`; PASS comes after them."""
        return [*OPERATIONS, PASS].index(self.name)


Action.LEARN, Action.MEMORIZE, Action.CONSOLIDATE = map(Action, ("learn", "memorize", "consolidate"))
Action.BOTH, Action.PASS = Action("both"), Action(PASS)


def best(scores: Float[np.ndarray, "n actions"]) -> Int64[np.ndarray, " n"]:
    """The number of the action with the highest score in each row; the highest number if several are equal."""
    return scores.shape[1] - 1 - np.argmax(scores[:, ::-1], axis=1)
