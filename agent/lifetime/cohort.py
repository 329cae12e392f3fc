"""Lifetimes that share one agent: its learner and its memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import NoneType
from typing import Any, NamedTuple

from jaxtyping import Shaped
from torch import Tensor

from agent.accounting.work import Bill, Work
from agent.agent import Agent
from agent.data.chunk import Chunk
from agent.evaluation.cached import CachedOutputs
from agent.evaluation.plan import EvaluationPlan
from agent.evaluation.scores import Accuracy, Prediction, Scores
from agent.evaluation.trajectory import Step, Trajectory
from agent.lifetime.lifetime import LIFETIME_SHAPE, NUMBER, Lifetime, chunk_nbytes
from agent.memory import ReadOut
from agent.memory.mixture import Mixture
from agent.networks.outputs import Outputs
from agent.operations import Action
from agent.storage.checkpoint import ANY
from agent.version import Version

OUTDATED = Version("", 0)
"""Equals no version of a component."""

COHORT_SHAPE: dict[str, Any] = {
    "agent": {
        "memory": dict,
        "mixture": {"w": NUMBER, "setting": (dict, NoneType), "temperature": NUMBER},
        "raw_images": dict,
        "n_chunks": int,
        "n_learned": int,
        "n_memorized": int,
        "seen_classes": [int],
        "stale": bool,
    },
    "prequential": (list, NoneType),
    "validation": (dict, NoneType),
    "test": (dict, NoneType),
    "lifetimes": {ANY: LIFETIME_SHAPE},
}
"""Shape of a cohort's state (`agent.storage.checkpoint.check_shape`); that of the memory is open."""


class Look(NamedTuple):
    """The agent's outputs on the next chunk, which hold until the learner changes."""

    outputs: Outputs
    looked: Work
    """Work of the forward pass; the lifetimes that observe the outputs have paid for it."""
    reading: Work
    """Work of a forward pass for the keys alone, which may take less."""
    read_out: ReadOut | None = None
    """The memory's, if a policy observes it or prequential accuracy is measured."""


@dataclass(eq=False)
class Cohort:
    """Lifetimes that share an agent, since their policies have decided alike so far."""

    lifetimes: list[Lifetime]
    agent: Agent
    validation: CachedOutputs | None = None
    test: CachedOutputs | None = None
    look: Look | None = None
    """None if it is not known, or would not hold."""
    prequential: Accuracy | None = None
    """Accuracy on what the agent is asked about before the next chunk, if it was measured."""
    prediction: Prediction | None = None
    """Of the test set after the last chunk, if the plan keeps it."""

    @property
    def names(self) -> list[str]:
        """The names of the lifetimes."""
        return [lifetime.name for lifetime in self.lifetimes]

    def part(self, lifetimes: Sequence[Lifetime], agent: Agent) -> "Cohort":
        """Split lifetimes off, with `agent`, a fork."""
        self.lifetimes = [lifetime for lifetime in self.lifetimes if lifetime not in lifetimes]
        return replace(self, lifetimes=list(lifetimes), agent=agent, look=None)

    def fork(self, agent: Agent) -> "Cohort":
        """An independent copy, with `agent`, a fork."""
        return replace(self, lifetimes=[lifetime.fork() for lifetime in self.lifetimes], agent=agent)

    def pay(self, bill: Bill) -> None:
        """Charge a bill to each lifetime."""
        for lifetime in self.lifetimes:
            lifetime.pay(bill)

    def expect(self, bill: Bill) -> None:
        """Note the work that the learner has deferred in each ledger."""
        for lifetime in self.lifetimes:
            lifetime.ledger.expect(bill)

    def end_step(
        self,
        chunk: Chunk,
        action: Action,
        scores: Scores | None,
        mixture: Mixture | None,
        *,
        takes: int | None = 1,
        unfinished: tuple[Action, Chunk] | None = None,
    ) -> None:
        """Charge for what is held, and write the step down; the arguments are those of `Lifetime.write_down`.

        Args:
            chunk: that arrived.
            action: that was performed, or has begun.
            scores: of the evaluation that followed.
            mixture: in it.
            takes: chunks that the action takes; None for a chunk that was missed.
            unfinished: what takes the next chunk, too, and the chunk that it is performed on.
        """
        pending, waiting = self.agent.estimate_flush(chunk.inputs), chunk.waiting_nbytes
        if unfinished:
            waiting += chunk_nbytes(unfinished[1])
        for lifetime in self.lifetimes:
            ordered = lifetime.ordered(unfinished[0], self.agent, unfinished[1]) if unfinished else []
            lifetime.ledger.expect([*pending, *ordered])
            lifetime.ledger.hold(self.agent.nbytes + waiting)
            lifetime.write_down(self.agent, chunk, action, self.prequential, scores, mixture, takes, waiting)
        self.look = self.prequential = None

    def ended(self) -> list[tuple[str, Trajectory, Agent]]:
        """Name, trajectory and agent of each lifetime, after its last step."""
        return [
            (
                each.name,
                Trajectory(tuple(each.steps), each.ledger.seconds(), each.initial_scores, self.prediction),
                self.agent,
            )
            for each in self.lifetimes
        ]

    def state(self) -> dict[str, Any]:
        """Tensors and plain values, without the learner."""
        return {
            "agent": self.agent.own_state(),
            "prequential": list(vars(self.prequential).values()) if self.prequential else None,
            "validation": _cached_state(self.validation, self.agent),
            "test": _cached_state(self.test, self.agent),
            "lifetimes": {lifetime.name: lifetime.state() for lifetime in self.lifetimes},
        }

    @classmethod
    def from_state(
        cls,
        state: dict[str, Any],
        agent: Agent,
        lifetimes: dict[str, Lifetime],
        steps: Mapping[str, Sequence[Step]],
        plan: EvaluationPlan,
    ) -> "Cohort":
        """The cohort that `state` was saved from.

        Args:
            state: as saved.
            agent: a new one of the same settings, whose learner is restored; the cohort owns it from now on.
            lifetimes: new ones of the same policies by name; those of this cohort are removed.
            steps: past steps by name of the lifetime.
            plan: gives the images of the cached outputs.
        """
        agent.load_own_state(state["agent"])
        cohort = cls([], agent)
        cohort.prequential = Accuracy(*state["prequential"]) if state["prequential"] else None
        cohort.validation = _cached_from(state["validation"], agent, plan.validation.inputs)
        cohort.test = _cached_from(state["test"], agent, plan.test.inputs)
        for name, saved in state["lifetimes"].items():
            lifetime = lifetimes.pop(name)
            lifetime.load_state(saved, steps[name])
            cohort.lifetimes.append(lifetime)
        return cohort


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
    outputs, looked = agent.forward(inputs)
    memory = OUTDATED if state["outdated"] else agent.memory.version
    recall, recalled = agent.memory.load_cache(state["recall"]), Work(*state["recalled"])
    settings = tuple(state["settings"])
    return CachedOutputs(agent.learner.version, memory, outputs, looked, settings, recall, recalled)
