"""Lifetimes whose learner has one past, so that it does everything once for all of them."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, NamedTuple

from agent.accounting.work import Work
from agent.agent import Agent, fork_together
from agent.evaluation.plan import EvaluationPlan
from agent.evaluation.trajectory import Step
from agent.learners.shared import SharedLearner
from agent.lifetime.cohort import COHORT_SHAPE, Cohort
from agent.lifetime.lifetime import NUMBER, Lifetime
from agent.operations import Action

BRANCH_SHAPE: dict[str, Any] = {
    "step": int,
    "decided": (list, NoneType),
    "learner": dict,
    "admitted": [NUMBER],
    "cohorts": [COHORT_SHAPE],
}
"""Shape of a branch's state (`agent.storage.checkpoint.check_shape`); that of the learner is open."""


class Undertaking(NamedTuple):
    """An action that was decided on a chunk, and how long it takes."""

    action: Action
    step: int
    """Position of the chunk that it is performed on."""
    takes: int = 1
    """Chunks, 1 or more. It is finished after the last of them; those after the first are missed."""

    @property
    def last(self) -> int:
        """Position of the last chunk that it takes."""
        return self.step + self.takes - 1


@dataclass(eq=False)
class Branch:
    """Lifetimes that have decided alike so far, in cohorts of one agent each; the agents share their learner.

    Whatever concerns the learner is done in turns (`in_turn`): once, and billed to each cohort.
    """

    cohorts: list[Cohort]
    step: int = 0
    """Position of the next chunk."""
    decided: Undertaking | None = None
    """What is to be done with the next chunk, where it was decided before the branch was split off, or still takes the
    agents' time."""

    trained: Any = None
    """What the learner answers with once it is not busy any more, if it has learned already (`Answering`)."""

    @property
    def lifetimes(self) -> list[Lifetime]:
        """Those of all cohorts."""
        return [lifetime for cohort in self.cohorts for lifetime in cohort.lifetimes]

    @property
    def busy(self) -> bool:
        """Whether what began with an earlier chunk takes the time of the next one too, which is missed."""
        return self.decided is not None and self.decided.step < self.step

    @property
    def shared(self) -> SharedLearner:
        """The learner of all agents."""
        return self.cohorts[0].agent.shared

    @property
    def pending(self) -> bool:
        """Whether the learner has samples to learn from."""
        return self.shared.learner.pending

    @property
    def recalling(self) -> bool:
        """Whether every memory has entries, and the learner has no work pending."""
        return not self.pending and all(cohort.agent.memory.n_entries for cohort in self.cohorts)

    def in_turn(self) -> Iterator[Cohort]:
        """The cohorts, each for its turn with the learner; see `SharedLearner`."""
        for cohort, _ in self._in_turn([cohort.agent for cohort in self.cohorts]):
            yield cohort

    def flushed(self) -> Iterator[tuple[Cohort, Agent, list[Work]]]:
        """Each cohort, its agent with nothing pending, and the work of flushing it.

        If work is pending, the agents are forks, so that the branch does not change.
        """
        agents = [cohort.agent for cohort in self.cohorts]
        for cohort, agent in self._in_turn(fork_together(agents) if self.pending else agents):
            yield cohort, agent, [work for _, work, _ in agent.flush()]

    def _in_turn(self, agents: Sequence[Agent]) -> Iterator[tuple[Cohort, Agent]]:
        for agent, cohort in zip(agents[0].shared.in_turn(agents), self.cohorts, strict=True):
            yield cohort, agent

    def part(self, lifetimes: Collection[Lifetime], decided: Undertaking | None = None) -> "Branch":
        """Split some of the lifetimes off into a branch with a fork of the learner."""
        parting = [
            (cohort, own)
            for cohort in self.cohorts
            if (own := [lifetime for lifetime in cohort.lifetimes if lifetime in lifetimes])
        ]
        forks = fork_together([cohort.agent for cohort, _ in parting])
        cohorts = [cohort.part(own, fork) for (cohort, own), fork in zip(parting, forks, strict=True)]
        self.cohorts = [cohort for cohort in self.cohorts if cohort.lifetimes]
        return Branch(cohorts, self.step, decided)

    def part_cohorts(self, cohorts: Sequence[Cohort]) -> "list[Branch]":
        """Branches of these cohorts and of the others; this branch itself if there are no others."""
        others = [cohort for cohort in self.cohorts if cohort not in cohorts]
        if not cohorts or not others:
            return [self]
        for cohort, fork in zip(others, fork_together([cohort.agent for cohort in others]), strict=True):
            cohort.agent = fork
        return [Branch(list(cohorts), self.step, self.decided), Branch(others, self.step, self.decided)]

    def apart(self) -> "list[Branch]":
        """A branch for each cohort, all but one with forks of the learner."""
        for cohort in self.cohorts[1:]:
            cohort.agent = cohort.agent.fork()
        return [Branch([cohort], self.step, self.decided) for cohort in self.cohorts]

    def fork(self) -> "Branch":
        """An independent copy."""
        forks = fork_together([cohort.agent for cohort in self.cohorts])
        cohorts = [cohort.fork(fork) for cohort, fork in zip(self.cohorts, forks, strict=True)]
        return Branch(cohorts, self.step, self.decided)

    def flush(self) -> None:
        """Let the learner train what is pending, and charge each lifetime."""
        for cohort in self.in_turn():
            cohort.pay(cohort.agent.flush())
            cohort.expect([])

    def state(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return {
            "step": self.step,
            "decided": [self.decided.action.name, *self.decided[1:]] if self.decided else None,
            **self.shared.state(),
            "cohorts": [cohort.state() for cohort in self.cohorts],
        }

    @classmethod
    def from_state(
        cls,
        state: dict[str, Any],
        agents: Sequence[Agent],
        lifetimes: dict[str, Lifetime],
        steps: Mapping[str, Sequence[Step]],
        plan: EvaluationPlan,
    ) -> "Branch":
        """The branch that `state` was saved from.

        Args:
            state: as saved.
            agents: a new one for each cohort, of the same settings, that share a learner; the branch owns them.
            lifetimes: new ones of the same policies by name; those on this branch are removed.
            steps: past steps by name of the lifetime.
            plan: gives the images of the cached outputs.

        Raises:
            ValueError: an agent that has seen another number of chunks.
        """
        shared, cohorts = agents[0].shared, []
        shared.load_state(state)
        for agent, saved in zip(shared.in_turn(agents), state["cohorts"], strict=True):
            cohorts.append(Cohort.from_state(saved, agent, lifetimes, steps, plan))
            if agent.n_chunks != state["step"]:
                raise ValueError(f"expected an agent of {state['step']} chunks, got one of {agent.n_chunks}")
        return cls(cohorts, state["step"], _undertaking(state["decided"]) if state["decided"] else None)


def _undertaking(state: Sequence[Any]) -> Undertaking:
    name, step, takes = state  # neither more nor fewer
    return Undertaking(Action(name), step, takes)
