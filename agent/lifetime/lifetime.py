"""One lifetime: a policy, its ledger, and the steps so far."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, inf, nan
from types import NoneType
from typing import Any

from agent.accounting.ledger import STORAGE, Ledger
from agent.accounting.work import ACCOUNTS, Account, Bill
from agent.agent import Agent
from agent.data.chunk import Chunk
from agent.data.sample_store import LABEL_NBYTES
from agent.evaluation.scores import Accuracy, Scores
from agent.evaluation.trajectory import Step, scores_as_json, scores_from_json
from agent.learners.protocol import Estimating
from agent.memory.mixture import Mixture
from agent.operations import OPERATIONS, Action, Estimate
from agent.policies import Policy
from agent.policies.budget import ROUNDING
from agent.policies.observation import Observation, estimated
from agent.policies.protocol import checked_state
from agent.policies.signals import RunningAverages
from agent.storage.checkpoint import ANY

NUMBER = (int, float)
MOST_CHUNKS = 1e15
"""That an action can take: more than any stream has, and exact as a float."""
LIFETIME_SHAPE: dict[str, Any] = {
    "policy": dict,
    "ledger": {
        "accounts": {account: [NUMBER] for account in ACCOUNTS},
        "costs": dict.fromkeys((*ACCOUNTS, STORAGE), NUMBER),
        "byte_chunks": int,
        "pending": list,
    },
    "averages": {"sums": {ANY: NUMBER}, "n": {ANY: int}},
    "observed": (dict, NoneType),
    "wanted": (str, NoneType),
    "initial_scores": (dict, NoneType),
}
"""Shape of a lifetime's state (`agent.storage.checkpoint.check_shape`); that of the policy is open."""


@dataclass(eq=False)
class Lifetime:
    """The state that belongs to one lifetime alone, even while it shares its agent with others."""

    name: str
    policy: Policy
    ledger: Ledger
    budget: float = inf
    """What it may spend, in the unit of the ledger's costs; the policy sees it."""
    enforced: bool = False
    """Whether no action may begin for which the budget does not last; else the policy may overdraw it."""
    speed: float = inf
    """FLOPs that the agent computes while a chunk arrives; infinite if the stream waits for it."""
    averages: RunningAverages = field(default_factory=RunningAverages)
    steps: list[Step] = field(default_factory=list)
    observed: dict[str, float] | None = None
    """Signals of the current chunk that the policy asked for."""
    wanted: Action | None = None
    """The policy's action on the current chunk, if it was refused."""
    n_refused: int = 0
    """Past steps whose action was refused."""
    n_missed: int = 0
    """Past steps whose chunk was missed, as an earlier action still took the agent's time."""
    initial_scores: Scores | None = None
    """Before the first chunk, if the plan has `groups`."""

    @property
    def observes(self) -> bool:
        """Whether its policy observes signals of the chunk, for which the learner must be flushed."""
        return self.policy.observes != "nothing"

    def fork(self) -> "Lifetime":
        """An independent copy."""
        policy = copy.copy(self.policy)
        fork = Lifetime(self.name, policy, Ledger(self.ledger.model), self.budget, self.enforced, self.speed)
        fork.load_state(self.state(), self.steps)
        return fork

    def pay(self, bill: Bill) -> None:
        """Charge a bill."""
        for charge in bill:
            self.ledger.charge(*charge)

    def observation(self, agent: Agent, chunk: Chunk, n_chunks: int, estimates: Mapping[str, Estimate]) -> Observation:
        """What the policy may know about a chunk.

        Args:
            agent: in its state before the chunk.
            chunk: the current one.
            n_chunks: length of the stream.
            estimates: of each operation, by its name, given what this policy observes.
        """
        ledger = self.ledger
        before = self.steps[-1] if self.steps else None
        samples = max(before.samples, 1) if before else 1
        spent = ledger.spent()
        learning_accounts: tuple[Account, ...] = ("learn", "rekey") if agent.rekeying.on_learn else ("learn",)
        values = {
            "actions": agent.operations,
            "step": chunk.step,
            "n_chunks": n_chunks,
            "n_samples": len(chunk),
            "seen": chunk.step / n_chunks,
            "learned": (before.learned if before else 0) / samples,
            "memorized": agent.n_memorized / samples,
            "memory_entries": agent.memory.n_entries,
            "memory_nbytes": agent.memory_nbytes,
            "price": chunk.price,
            "spent": spent,
            "left": max(0.0, self.budget - spent),
            "refused": self.n_refused / max(chunk.step, 1),
            "speed_gflop": self.speed / 1e9,
            "missed": self.n_missed / max(chunk.step, 1),
            "performed": before.action if before and before.wanted else None,
            "spent_gflop": ledger.flops() / 1e9,
            "learning_spent": ledger.spent(learning_accounts),
            "learning_spent_gflop": ledger.flops(learning_accounts) / 1e9,
            **(self.observed or {}),
        }
        for name, estimate in estimates.items():
            unknown = OPERATIONS[name].learns and not isinstance(agent.learner, Estimating)
            found = (nan, nan) if unknown else (estimate.flops / 1e9, self.cost_of(estimate))
            values |= dict(zip(estimated(name), found, strict=True))
        return Observation.of(values)

    def cost_of(self, estimate: Estimate) -> float:
        """Cost of an action, with that of storing for one chunk the bytes that it adds."""
        shared = estimate.share * self.ledger.cost_of(estimate.shared)
        return self.ledger.cost_of(estimate.bill) + shared + self.ledger.model.of_holding(estimate.held_nbytes)

    def affords(self, action: Action, agent: Agent, chunk: Chunk, n_left: int) -> bool:
        """Whether an action may begin: always if the budget is not enforced, or for PASS.

        Else the budget must last for all that the agent will then have paid and ordered, and for holding until the end
        what it will then hold.

        Args:
            action: on the chunk.
            agent: in its state before the chunk.
            chunk: the current one.
            n_left: chunks until the end, this one included.
        """
        if not self.enforced or action == Action.PASS:
            return True
        estimate = self._estimate(action, agent, chunk)
        held = (agent.nbytes + estimate.held_nbytes + estimate.samples_nbytes) * n_left
        waiting = chunk_nbytes(chunk) * (min(self.takes(action, agent, chunk), n_left) - 1)
        holding = self.ledger.model.of_holding(held + waiting)
        return self.ledger.paid() + self.ledger.cost_of(estimate.whole) + holding <= self.budget * (1 + ROUNDING)

    def takes(self, action: Action, agent: Agent, chunk: Chunk) -> int:
        """How many chunks arrive until an action that begins now is finished, 1 or more; the arguments are those above.

        One on a stream that waits. Else the estimated FLOPs decide: of all that the agent will then have done.
        """
        if self.speed == inf:
            return 1
        flops = sum(charge.work.flops for charge in self._estimate(action, agent, chunk).whole)
        return n_chunks_taken(flops, self.speed)

    def ordered(self, action: Action, agent: Agent, chunk: Chunk) -> Bill:
        """The bill of an action that is not finished, as estimated; the arguments are those above."""
        return self._estimate(action, agent, chunk).whole

    def _estimate(self, action: Action, agent: Agent, chunk: Chunk) -> Estimate:
        return action.operation.estimate(agent, chunk, looked=self.observes)

    def write_down(
        self,
        agent: Agent,
        chunk: Chunk,
        action: Action,
        prequential: Accuracy | None,
        scores: Scores | None,
        mixture: Mixture | None,
        takes: int | None,
        waiting: int,
    ) -> None:
        """Append the step that has just ended.

        Args:
            agent: after it.
            chunk: that arrived.
            action: that was performed, or has begun.
            prequential: accuracy on the chunk.
            scores: of the evaluation that followed.
            mixture: in it.
            takes: chunks that the action takes; None for a chunk that was missed.
            waiting: bytes of inputs whose labels have not come, and of the chunk that an unfinished action is on.
        """
        before = self.steps[-1] if self.steps else None
        once = agent.memory.recall_flops(0)
        step = Step(
            step=chunk.step,
            action=action.name,
            wanted=self.wanted.name if self.wanted else None,
            takes=takes if takes != 1 else None,
            missed=takes is None,
            samples=(before.samples if before else 0) + len(chunk),
            learned=agent.n_learned,
            price=chunk.price,
            memory_entries=agent.memory.n_entries,
            memory_nbytes=agent.memory_nbytes,
            held_nbytes=agent.nbytes + waiting,
            query_flops=agent.memory.recall_flops(1) - once,
            answer_flops=agent.answering(1, chunk.inputs.shape[1:]).flops - once,
            recall_flops=once,
            work=dict(self.ledger.accounts),
            costs=dict(self.ledger.costs),
            byte_chunks=self.ledger.byte_chunks,
            pending_cost=self.ledger.cost_of(self.ledger.pending),
            pending_flops=sum(charge.work.flops for charge in self.ledger.pending),
            spent=self.ledger.spent(),
            spent_gflop=self.ledger.flops() / 1e9,
            observed=self.observed,
            prequential=prequential,
            scores=scores,
            mixture=mixture if mixture and mixture.fitted else None,
            newest=None if chunk.newest is None else len(chunk.newest),
        )
        self.steps.append(step)
        self.n_refused += self.wanted is not None
        self.n_missed += step.missed
        self.wanted = self.observed = None

    def state(self) -> dict[str, Any]:
        """Tensors and plain values, without the steps."""
        return {
            "policy": checked_state(self.policy),
            "ledger": self.ledger.state(),
            "averages": self.averages.state(),
            "observed": self.observed,
            "wanted": self.wanted.name if self.wanted else None,
            "initial_scores": scores_as_json(self.initial_scores) if self.initial_scores else None,
        }

    def load_state(self, state: dict[str, Any], steps: Sequence[Step]) -> None:
        """Restore what `state` returned, after `steps`."""
        self.policy.load_state(state["policy"])
        self.ledger.load_state(state["ledger"])
        self.averages.load_state(state["averages"])
        self.observed = state["observed"]
        self.wanted = Action(state["wanted"]) if state["wanted"] else None
        scores = state["initial_scores"]
        self.initial_scores = scores_from_json(scores) if scores else None
        self.steps = list(steps)
        self.n_refused = sum(step.wanted is not None for step in steps)
        self.n_missed = sum(step.missed for step in steps)


def n_chunks_taken(flops: int, speed: float) -> int:
    """How many chunks arrive while an agent of this speed, in FLOPs for each chunk, computes: 1 or more."""
    return max(1, ceil(min(flops / speed, MOST_CHUNKS)))


def chunk_nbytes(chunk: Chunk) -> int:
    """Bytes of a chunk that the agent holds until an action on it is finished."""
    return chunk.inputs.nbytes + len(chunk) * LABEL_NBYTES
