"""One lifetime's own, and what lifetimes share that have been one so far."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import nan
from types import NoneType
from typing import Any

from jaxtyping import Shaped
from torch import Tensor

from agent.accounting.ledger import STORAGE, Ledger
from agent.accounting.work import ACCOUNTS, Account, Bill, Work
from agent.agent import Agent, CachedOutputs, Estimate
from agent.data.chunk import Chunk
from agent.evaluation.plan import EvaluationPlan
from agent.evaluation.scores import Accuracy, Scores
from agent.evaluation.trajectory import Step
from agent.learners.protocol import Estimating
from agent.memory.mixture import Mixture
from agent.operations import OPERATIONS, Action
from agent.policies import Policy
from agent.policies.observation import Observation, estimated
from agent.policies.protocol import checked_state
from agent.policies.signals import RunningAverages
from agent.storage.checkpoint import ANY
from agent.version import Version

OUTDATED = Version("", 0)
"""Equals no version of a component."""

_NUMBER = (int, float)
LIFETIME_SHAPE: dict[str, Any] = {
    "policy": dict,
    "ledger": {
        "accounts": {account: [_NUMBER] for account in ACCOUNTS},
        "costs": dict.fromkeys((*ACCOUNTS, STORAGE), _NUMBER),
        "byte_chunks": int,
        "pending": list,
    },
    "averages": {"sums": {ANY: _NUMBER}, "n": {ANY: int}},
    "observed": (dict, NoneType),
}
BRANCH_SHAPE: dict[str, Any] = {
    "step": int,
    "decided": (str, NoneType),
    "prequential": (list, NoneType),
    "agent": {
        "learner": dict,
        "memory": dict,
        "mixture": {"w": _NUMBER, "setting": (dict, NoneType)},
        "raw_images": dict,
        "n_chunks": int,
        "n_memorized": int,
        "seen_classes": [int],
        "admitted": [_NUMBER],
        "stale": bool,
    },
    "validation": (dict, NoneType),
    "test": (dict, NoneType),
    "lifetimes": {ANY: LIFETIME_SHAPE},
}
"""What the state of a branch looks like (`agent.storage.checkpoint.check_shape`); what learner,
memory and policy keep is for them to say."""


@dataclass(eq=False)
class Lifetime:
    """What belongs to one lifetime alone, also while it shares its agent with others."""

    name: str
    policy: Policy
    ledger: Ledger
    averages: RunningAverages = field(default_factory=RunningAverages)
    steps: list[Step] = field(default_factory=list)
    observed: dict[str, float] | None = None
    """What was seen of the chunk at hand."""

    def fork(self) -> "Lifetime":
        """A life with the same past."""
        policy = copy.copy(self.policy)
        fork = Lifetime(self.name, policy, Ledger(self.ledger.model))
        fork.load_state(self.state(), self.steps)
        return fork

    def pay(self, bill: Bill) -> None:
        """Charge a bill."""
        for charge in bill:
            self.ledger.charge(*charge)

    def observation(
        self, agent: Agent, chunk: Chunk, n_chunks: int, budget: float, estimates: Mapping[str, Estimate]
    ) -> Observation:
        """What the policy may know of a chunk.

        Args:
            agent: as it is now.
            chunk: at hand.
            n_chunks: of the stream.
            budget: what the lifetime may spend.
            estimates: what each operation will take, by its name, for who looks at as much as this policy.
        """
        ledger = self.ledger
        before = self.steps[-1] if self.steps else None
        samples = max(before.samples, 1) if before else 1
        spent = ledger.spent()
        learning_accounts: tuple[Account, ...] = ("learn", "rekey") if agent.rekeying.on_learn else ("learn",)
        values = {
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
            "left": max(0.0, budget - spent),
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
        """What an action will cost, with holding for this chunk what it adds."""
        shared = estimate.share * self.ledger.cost_of(estimate.shared)
        return self.ledger.cost_of(estimate.bill) + shared + self.ledger.model.of_holding(estimate.held_nbytes)

    def write_down(
        self,
        agent: Agent,
        chunk: Chunk,
        action: Action,
        prequential: Accuracy | None,
        scores: Scores | None,
        mixture: Mixture | None,
    ) -> None:
        """Add the step that has been lived."""
        before = self.steps[-1] if self.steps else None
        once = agent.memory.recall_flops(0)
        step = Step(
            step=chunk.step,
            action=action.name,
            samples=(before.samples if before else 0) + len(chunk),
            learned=(before.learned if before else 0) + (len(chunk) if action.operation.learns else 0),
            price=chunk.price,
            memory_entries=agent.memory.n_entries,
            memory_nbytes=agent.memory_nbytes,
            held_nbytes=agent.nbytes,
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
        )
        self.steps.append(step)

    def state(self) -> dict[str, Any]:
        """Tensors and plain values; the steps are not among them."""
        return {
            "policy": checked_state(self.policy),
            "ledger": self.ledger.state(),
            "averages": self.averages.state(),
            "observed": self.observed,
        }

    def load_state(self, state: dict[str, Any], steps: Sequence[Step]) -> None:
        """Become the life whose `state` this is, after the steps that it had lived."""
        self.policy.load_state(state["policy"])
        self.ledger.load_state(state["ledger"])
        self.averages.load_state(state["averages"])
        self.observed = state["observed"]
        self.steps = list(steps)


@dataclass(eq=False)
class Branch:
    """Lifetimes that have been one so far, and the agent that lives them."""

    lifetimes: list[Lifetime]
    agent: Agent
    step: int = 0
    """Chunks lived."""
    validation: CachedOutputs | None = None
    test: CachedOutputs | None = None
    decided: Action | None = None
    """The action at the fork, already decided upon."""
    prequential: Accuracy | None = None
    """Of the chunk at the fork."""

    def part(self, lifetimes: list[Lifetime], decided: Action | None = None) -> "Branch":
        """Let some of the lives go their own way."""
        self.lifetimes = [lifetime for lifetime in self.lifetimes if lifetime not in lifetimes]
        fork = self.agent.fork()
        return Branch(lifetimes, fork, self.step, self.validation, self.test, decided, self.prequential)

    def fork(self) -> "Branch":
        """The same lives and agent so far, which go on apart from these."""
        return replace(self, lifetimes=[lifetime.fork() for lifetime in self.lifetimes], agent=self.agent.fork())

    def pay(self, bill: Bill) -> None:
        """Charge a bill to every life."""
        for lifetime in self.lifetimes:
            lifetime.pay(bill)

    def flush(self) -> None:
        """Bring the learner up to date, at every life's expense."""
        self.pay(self.agent.flush())
        self.expect([])

    def expect(self, bill: Bill) -> None:
        """Tell every life what the learner still has to do."""
        for lifetime in self.lifetimes:
            lifetime.ledger.expect(bill)

    def state(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return {
            "step": self.step,
            "decided": self.decided.name if self.decided else None,
            "prequential": list(vars(self.prequential).values()) if self.prequential else None,
            "agent": self.agent.state(),
            "validation": _cached_state(self.validation, self.agent),
            "test": _cached_state(self.test, self.agent),
            "lifetimes": {lifetime.name: lifetime.state() for lifetime in self.lifetimes},
        }

    @classmethod
    def from_state(
        cls,
        state: dict[str, Any],
        fresh: Agent,
        lifetimes: dict[str, Lifetime],
        steps: Mapping[str, Sequence[Step]],
        plan: EvaluationPlan,
    ) -> "Branch":
        """The branch whose `state` this is.

        Args:
            state: as saved.
            fresh: an agent of the same settings, taken over.
            lifetimes: of the same policies; those on this branch are taken out.
            steps: by name, the steps lived.
            plan: gives the images that the agent had looked at.
        """
        fresh.load_state(state["agent"])
        if fresh.n_chunks != state["step"]:
            raise ValueError(f"expected an agent of {state['step']} chunks, got one of {fresh.n_chunks}")
        branch = cls([], fresh, state["step"])
        branch.decided = Action(state["decided"]) if state["decided"] else None
        branch.prequential = Accuracy(*state["prequential"]) if state["prequential"] else None
        branch.validation = _cached_from(state["validation"], fresh, plan.validation.inputs)
        branch.test = _cached_from(state["test"], fresh, plan.test.inputs)
        for name, saved in state["lifetimes"].items():
            lifetime = lifetimes.pop(name)
            lifetime.load_state(saved, steps[name])
            branch.lifetimes.append(lifetime)
        return branch


def _cached_state(cached: CachedOutputs | None, agent: Agent) -> dict[str, Any] | None:
    """What is known beyond what looking again would tell; nothing if the learner has moved on, or will first."""
    if cached is None or cached.learner != agent.learner.version or agent.learner.pending:
        return None
    recalled = cached.recalled
    return {
        "outdated": cached.memory != agent.memory.version,
        "settings": list(cached.settings),
        "recall": agent.memory.save_cache(cached.recall),
        "recalled": [recalled.flops, recalled.nbytes, recalled.seconds, recalled.samples],
    }


def _cached_from(state: dict[str, Any] | None, agent: Agent, inputs: Shaped[Tensor, "n ..."]) -> CachedOutputs | None:
    if state is None:
        return None
    outputs, looked = agent.learner.forward(inputs)
    memory = OUTDATED if state["outdated"] else agent.memory.version
    recall, recalled = agent.memory.load_cache(state["recall"]), Work(*state["recalled"])
    settings = tuple(state["settings"])
    return CachedOutputs(agent.learner.version, memory, outputs, looked, settings, recall, recalled)
