"""The state of one lifetime, and of lifetimes that share an agent because their policies have decided alike so far."""

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
from agent.agent import Agent, CachedOutputs
from agent.data.chunk import Chunk
from agent.evaluation.plan import EvaluationPlan
from agent.evaluation.scores import Accuracy, Scores
from agent.evaluation.trajectory import Step
from agent.learners.protocol import Estimating
from agent.memory.mixture import Mixture
from agent.operations import OPERATIONS, Action, Estimate
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
"""Shape of a branch's state (`agent.storage.checkpoint.check_shape`); those of learner, memory and policy are open."""


@dataclass(eq=False)
class Lifetime:
    """The state that belongs to one lifetime alone, even while it shares its agent with others."""

    name: str
    policy: Policy
    ledger: Ledger
    averages: RunningAverages = field(default_factory=RunningAverages)
    steps: list[Step] = field(default_factory=list)
    observed: dict[str, float] | None = None
    """Signals of the current chunk that the policy asked for."""

    def fork(self) -> "Lifetime":
        """An independent copy."""
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
        """What the policy may know about a chunk.

        Args:
            agent: in its state before the chunk.
            chunk: the current one.
            n_chunks: length of the stream.
            budget: what the lifetime may spend.
            estimates: of each operation, by its name, given what this policy observes.
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
        """Cost of an action, with that of storing for one chunk the bytes that it adds."""
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
        """Append the step that has just ended."""
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
        """Tensors and plain values, without the steps."""
        return {
            "policy": checked_state(self.policy),
            "ledger": self.ledger.state(),
            "averages": self.averages.state(),
            "observed": self.observed,
        }

    def load_state(self, state: dict[str, Any], steps: Sequence[Step]) -> None:
        """Restore what `state` returned, after `steps`."""
        self.policy.load_state(state["policy"])
        self.ledger.load_state(state["ledger"])
        self.averages.load_state(state["averages"])
        self.observed = state["observed"]
        self.steps = list(steps)


@dataclass(eq=False)
class Branch:
    """Lifetimes whose policies have decided alike so far, and the agent that they share."""

    lifetimes: list[Lifetime]
    agent: Agent
    step: int = 0
    """Position of the next chunk."""
    validation: CachedOutputs | None = None
    test: CachedOutputs | None = None
    decided: Action | None = None
    """The action on the next chunk, where it was decided before the branch was forked."""
    prequential: Accuracy | None = None
    """Accuracy on the next chunk, where it was measured before the branch was forked."""

    def part(self, lifetimes: list[Lifetime], decided: Action | None = None) -> "Branch":
        """Split `lifetimes` off into a branch with a forked agent."""
        self.lifetimes = [lifetime for lifetime in self.lifetimes if lifetime not in lifetimes]
        fork = self.agent.fork()
        return Branch(lifetimes, fork, self.step, self.validation, self.test, decided, self.prequential)

    def fork(self) -> "Branch":
        """An independent copy."""
        return replace(self, lifetimes=[lifetime.fork() for lifetime in self.lifetimes], agent=self.agent.fork())

    def pay(self, bill: Bill) -> None:
        """Charge a bill to each lifetime."""
        for lifetime in self.lifetimes:
            lifetime.pay(bill)

    def flush(self) -> None:
        """Let the learner train what is pending, and charge each lifetime."""
        self.pay(self.agent.flush())
        self.expect([])

    def expect(self, bill: Bill) -> None:
        """Note the work that the learner has deferred in each ledger."""
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
        """The branch that `state` was saved from.

        Args:
            state: as saved.
            fresh: a new agent of the same settings; the branch owns it from now on.
            lifetimes: new ones of the same policies by name; those on this branch are removed.
            steps: past steps by name of the lifetime.
            plan: gives the images of the cached outputs.

        Raises:
            ValueError: an agent that has seen another number of chunks.
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
    """The part that a forward pass cannot restore; None if the learner has changed, or has work pending."""
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
