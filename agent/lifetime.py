"""The loop: lifetimes on one stream, sharing what they have in common."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jaxtyping import Float, Int64
from torch import Tensor

from agent.agent import Agent, Bill, Glance
from agent.chunk import Chunk, LabelledImages
from agent.errors import InvalidSetting
from agent.ledger import Ledger
from agent.mixture import Mixture
from agent.policies import Action, Observation, Policy


@dataclass(frozen=True)
class Exam:
    """What lifetimes are measured on.

    Args:
        validation: fits the mixture; disjoint from the stream.
        test: is only ever predicted; disjoint from both.
        every: chunks between examinations; 0 for one at the end alone. There is always one at the end.
    """

    validation: LabelledImages
    test: LabelledImages
    every: int = 0

    def __post_init__(self) -> None:
        for part, data in (("validation", self.validation), ("test", self.test)):
            if not len(data):
                raise InvalidSetting(f"expected at least 1 {part} image, got none")
        if self.every < 0:
            raise InvalidSetting(f"expected 0 or more chunks between examinations, got {self.every}")


@dataclass(frozen=True)
class Accuracy:
    """Shares of the test set classified rightly, 0 to 1."""

    agent: float
    learner: float
    memory: float


@dataclass(frozen=True)
class Step:
    """The record of one chunk: what was decided, what it led to, what it cost up to here."""

    step: int
    action: str
    samples: int
    """Samples met up to and with this chunk."""
    learned: int
    """Samples learned from."""
    memory_entries: int
    memory_nbytes: int
    work: dict[str, dict[str, int]]
    """FLOPs, bytes and samples of each account since birth."""
    accuracy: Accuracy | None = None
    """On the test set, where this chunk was followed by an examination."""
    mixture: Mixture | None = None
    """As fitted for that examination."""


@dataclass(frozen=True)
class Trajectory:
    """A finished lifetime."""

    steps: tuple[Step, ...]
    seconds: dict[str, float]
    """Wall-clock time by account; the shared past counts in full."""

    @property
    def accuracy(self) -> Accuracy:
        """At the end of life."""
        assert self.steps[-1].accuracy is not None
        return self.steps[-1].accuracy


@dataclass
class _Branch:
    """Lifetimes that have been one so far."""

    names: list[str]
    agent: Agent
    validation: Glance | None = None
    test: Glance | None = None
    ledger: Ledger = field(default_factory=Ledger)
    steps: list[Step] = field(default_factory=list)
    decided: Action | None = None
    """The action at the fork, already decided upon."""

    def fork(self, names: list[str], decided: Action) -> "_Branch":
        return replace(
            self,
            names=names,
            agent=self.agent.fork(),
            ledger=self.ledger.fork(),
            steps=list(self.steps),
            decided=decided,
        )

    def pay(self, bill: Bill) -> None:
        for account, work in bill:
            self.ledger.charge(account, work)


def live_many(
    agent: Agent,
    stream: Sequence[Chunk],
    policies: Mapping[str, Policy],
    exam: Exam,
    *,
    on_step: Callable[[Sequence[str], Step], Any] | None = None,
) -> Iterator[tuple[str, Trajectory, Agent]]:
    """Live a lifetime under each policy, all from the same birth and through the same stream.

    The lifetimes share one agent for as long as their policies decide alike, and fork it where they part; each
    trajectory is to the bit the one that its policy would live alone (on a CPU). Branches are lived one after the
    other, memorizing ones first, so that few agents exist at a time.

    Args:
        agent: at birth; it is lived, not copied.
        stream: chunks by position; a branch may read chunks again that another has read.
        policies: by name, each an object of its own.
        exam: what to measure, and when.
        on_step: told of each step, with the names of the lifetimes that it belongs to.

    Yields:
        Name, trajectory and agent at the end of life, as each lifetime ends; lifetimes that never parted are yielded
        one after the other with the same agent.

    Raises:
        InvalidSetting: an empty stream, or no policies.
        TrainingDiverged: from the learner.
    """
    if not len(stream):
        raise InvalidSetting("expected a stream of at least 1 chunk, got an empty one")
    if not policies:
        raise InvalidSetting("expected at least 1 policy, got none")
    branches = [_Branch(list(policies), agent)]
    while branches:
        branch = branches.pop()
        while len(branch.steps) < len(stream):
            step = len(branch.steps)
            if branch.decided is None:
                observation = Observation(step, len(stream))
                actions = {name: policies[name].decide(observation) for name in branch.names}
                branch.names = [name for name, action in actions.items() if action is Action.MEMORIZE]
                learners = [name for name, action in actions.items() if action is Action.LEARN]
                if branch.names and learners:
                    branches.append(branch.fork(learners, Action.LEARN))
                branch.decided = Action.MEMORIZE if branch.names else Action.LEARN
                branch.names = branch.names or learners
            chunk, action, branch.decided = stream[step], branch.decided, None
            branch.pay(branch.agent.learn(chunk) if action is Action.LEARN else branch.agent.memorize(chunk))
            last = step + 1 == len(stream)
            examined = last or (exam.every > 0 and (step + 1) % exam.every == 0)
            accuracy, mixture = _examine(branch, exam, final=last) if examined else (None, None)
            branch.steps.append(_step(branch, chunk, action, accuracy, mixture))
            if on_step:
                on_step(branch.names, branch.steps[-1])
        trajectory = Trajectory(tuple(branch.steps), branch.ledger.seconds())
        for name in branch.names:
            yield name, trajectory, branch.agent


def live(
    agent: Agent, stream: Sequence[Chunk], policy: Policy, exam: Exam, *, on_step: Callable[[Step], Any] | None = None
) -> Trajectory:
    """Live one lifetime; see `live_many`."""
    told = (lambda _, step: on_step(step)) if on_step else None
    [(_, trajectory, _)] = live_many(agent, stream, {"": policy}, exam, on_step=told)
    return trajectory


def accuracy_of(probabilities: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]) -> float:
    """Share of rows whose most probable class is the label."""
    return float((probabilities.argmax(dim=1).cpu() == labels.cpu()).double().mean())


def _examine(branch: _Branch, exam: Exam, *, final: bool) -> tuple[Accuracy, Mixture]:
    """Fit the mixture and predict the test set.

    On the way it is the experimenter who looks: a fork is examined and everything charged to `observe`, so that
    whether and how often one looks changes neither the agent nor what it pays. At the end of life calibration and
    recall are the agent's own. The FLOPs of this last look are charged in full, whatever an earlier one found already.
    """
    agent = branch.agent if final else branch.agent.fork()
    settled = agent.learner.settle()
    branch.validation, calibrated = agent.calibrate(exam.validation, branch.validation)
    prediction, branch.test, answered = agent.answer(exam.test.images, branch.test)
    if final:
        branch.pay([("learn", settled), ("observe", branch.test.sight.work), ("recall", branch.test.recalled)])
        if branch.validation:
            in_full = branch.validation.sight.work + branch.validation.recalled
            branch.pay([("calibrate", replace(in_full, seconds=calibrated.seconds))])
    else:
        branch.pay([("observe", settled + calibrated + answered)])
    labels = exam.test.labels
    accuracy = Accuracy(
        accuracy_of(prediction.agent, labels),
        accuracy_of(prediction.learner, labels),
        accuracy_of(prediction.memory, labels),
    )
    return accuracy, agent.mixture


def _step(branch: _Branch, chunk: Chunk, action: Action, accuracy: Accuracy | None, mixture: Mixture | None) -> Step:
    before = branch.steps[-1] if branch.steps else None
    return Step(
        step=len(branch.steps),
        action=action.value,
        samples=(before.samples if before else 0) + len(chunk),
        learned=(before.learned if before else 0) + (len(chunk) if action is Action.LEARN else 0),
        memory_entries=branch.agent.memory.n_entries,
        memory_nbytes=branch.agent.memory.nbytes,
        work=branch.ledger.amounts(),
        accuracy=accuracy,
        mixture=mixture,
    )
