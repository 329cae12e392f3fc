"""The loop: lifetimes on one stream that share work for as long as it is the same."""

import copy
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any, TypeVar

from agent.abilities import Resumable, check_forkable
from agent.accounting.costs import CostModel
from agent.accounting.ledger import Ledger
from agent.accounting.meter import PARTS
from agent.agent import Agent, fork_together, share
from agent.data.chunk import Chunk
from agent.errors import CheckpointError, InvalidSetting, LifetimeError, PolicyError
from agent.evaluation.linear_probe import Probed
from agent.evaluation.plan import EvaluationPlan
from agent.evaluation.scores import Scores
from agent.evaluation.trajectory import Step, Trajectory
from agent.learners.protocol import Answering, Estimating, Representing
from agent.lifetime.acting import perform
from agent.lifetime.branch import BRANCH_SHAPE, Branch, Undertaking
from agent.lifetime.cohort import Cohort
from agent.lifetime.lifetime import NUMBER, Lifetime, n_chunks_taken
from agent.lifetime.measuring import calibrate, evaluate, evaluate_at_initialization, finish
from agent.lifetime.observing import look, look_again, observations, prepare
from agent.memory.mixture import Mixture
from agent.operations import OPERATIONS, Action
from agent.policies import Policy
from agent.policies.observation import Observation
from agent.policies.protocol import check_policy
from agent.storage.checkpoint import check_shape
from agent.version import Version


class Lifetimes:
    """Lifetimes on the same stream under several policies, of one agent or of several that share a learner.

    Lifetimes of one agent share it for as long as their policies decide alike, and fork it where they differ. Several
    agents, with memories and settings of their own, share the learner for as long as they have it do the same: it
    trains once, and passes each chunk and each evaluation set through the network once. On a CPU each trajectory, with
    its costs, equals to the bit that of the lifetime alone. Branches run one after the other, those that memorize
    first, so that few agents exist at a time.

    Args:
        agents: at initialization, one for all lifetimes or one for each by name; the lifetimes change them and do not
            copy them. All have the same learner (the same object).
        stream: chunks by position; several branches may read the same chunk.
        policies: by name of the lifetime, each an object of its own.
        plan: what to measure, and when.
        costs: prices; by default of FLOPs alone.
        budget: what a lifetime may spend, in the unit of `costs`, for all or for each by name; policies see it and may
            overdraw it without `enforce`.
        enforce: hold lifetimes to their budgets, those that are finite. No action begins unless the budget lasts for
            all that the agent will then have paid and ordered, as estimated, and for holding until the end what it
            will then hold. Instead of BOTH the agent then learns the chunk, and instead of LEARN or CONSOLIDATE it
            memorizes it; if the budget does not last for that either, it passes (PASS), which costs nothing. What no
            action decides is billed whatever is left: preparing the network, queries, what policies look at,
            calibration, re-keying every n chunks, and holding inputs until their labels come. So a lifetime spends at
            most its budget and these.
        speed: FLOPs that an agent computes while a chunk arrives; by default the stream waits. An action whose FLOPs
            take longer, as estimated, is finished after the last chunk that it takes, or at the end of the stream;
            until then the agent is as it was before, and holds the chunk, which is billed as storage. Chunks that
            arrive meanwhile are missed: queries about them are answered, and nothing is done with them (PASS). Lazy
            learners train at once. What no action decides takes no time. A learner that is `Answering` learns when the
            action begins and answers as before until it is finished; what its memory is given is there at once. It
            lives alone, and cannot be saved.

    Attributes:
        meter: that of the first agent.

    Raises:
        InvalidSetting: an empty stream, no policies, a policy that cannot be checkpointed or needs estimates that the
            learner cannot give, agents of different learners, a memory that cannot store its keys, a learner that
            cannot be forked where that is needed, a budget to enforce on a learner that cannot estimate, a speed of one
            that is not `Answering` either, or a linear probe of a learner that has no representation.
    """

    def __init__(
        self,
        agents: Agent | Mapping[str, Agent],
        stream: Sequence[Chunk],
        policies: Mapping[str, Policy],
        plan: EvaluationPlan,
        *,
        costs: CostModel | None = None,
        budget: float | Mapping[str, float] = inf,
        enforce: bool = False,
        speed: float = inf,
    ) -> None:
        if not speed > 0:
            raise InvalidSetting(f"expected a speed above 0 FLOPs for each chunk, got {speed}")
        if not len(stream):
            raise InvalidSetting("expected a stream of at least 1 chunk, got an empty one")
        if not policies:
            raise InvalidSetting("expected at least 1 policy, got none")
        agent_of, budget_of = _by_name(agents, policies, "agent"), _by_name(budget, policies, "budget")
        cohorts: dict[Agent, Cohort] = {}
        for name, policy in policies.items():
            enforced = enforce and budget_of[name] < inf
            _check(policy, agent_of[name], budget_of[name], enforced=enforced, waits=speed == inf)
            cohort = cohorts.setdefault(agent_of[name], Cohort([], agent_of[name]))
            cohort.lifetimes.append(Lifetime(name, policy, Ledger(costs), budget_of[name], enforced, speed))
        share(list(cohorts))
        for agent in cohorts:
            agent.check_stores(stream[0])
        self.meter = next(iter(cohorts)).meter
        learner = next(iter(cohorts)).learner
        if plan.probed is not None and not isinstance(learner, Representing):
            raise InvalidSetting(
                "expected a learner with a representation (agent.learners.protocol.Representing) for a linear probe, "
                f"got {type(learner).__name__}; another learner, or no --evaluate linear-probe"
            )
        if len(policies) > 1 or (learner.lazy and (plan.every or plan.after or plan.prequential)):
            check_forkable(learner)  # now, and not at the first fork
        self.stream, self.plan, self.speed = stream, plan, speed
        self._learns_ahead = speed < inf and isinstance(learner, Answering) and not isinstance(learner, Estimating)
        if self._learns_ahead and len(policies) > 1:
            raise InvalidSetting(
                f"expected one lifetime of a {type(learner).__name__} on a stream that does not wait, got "
                f"{len(policies)}; live them one by one"
            )
        self._branches = [Branch(list(cohorts.values()))]
        self._ended: list[tuple[str, Trajectory, Agent]] = []
        self._observed: dict[str, Observation] | None = None
        self._probes: dict[Version, Probed] = {}  # of learners at their end; forks share it

    def __bool__(self) -> bool:
        """Whether any lifetime has chunks left."""
        return bool(self._branches)

    @property
    def resumable(self) -> bool:
        """Whether every learner can be saved, with what it answers with."""
        return not self._learns_ahead and all(isinstance(branch.shared.learner, Resumable) for branch in self._branches)

    def advance(self) -> dict[str, Step]:
        """Process one chunk on one branch as its policies decide; returns the step of each lifetime on it.

        Raises:
            PolicyError: a policy failed.
            TrainingDiverged: from the learner.
        """
        policies = {lifetime.name: lifetime.policy for lifetime in self._branches[-1].lifetimes}
        return self.act({name: ask(policies[name], each) for name, each in self.observe().items()})

    def observe(self) -> dict[str, Observation]:
        """Observations of the next chunk for the lifetimes on the current branch; a second call returns the same.

        Empty if these lifetimes decided before they were split off from others, and if they miss the chunk.
        """
        if self._observed is None:
            self._observed = self._observe()
        return self._observed

    def _observe(self) -> dict[str, Observation]:
        branch = self._branches[-1]
        if branch.decided is not None and not branch.busy:
            if not self._goes_on(branch, branch.decided):
                self._look_again(branch, branch.decided)
            return {}
        chunk = self.stream[branch.step]
        if self.plan.groups is not None and branch.lifetimes[0].initial_scores is None:
            evaluate_at_initialization(branch, self.plan, chunk.price)
        prepare(branch, chunk)
        observers = [] if branch.busy else [lifetime for lifetime in branch.lifetimes if lifetime.observes]
        if branch.pending and 0 < len(observers) < len(branch.lifetimes):
            self._branches.insert(-1, branch.part(observers))  # only observers must train before they decide
            observers = []
        if observers:
            branch.flush()
        if observers or (self.plan.prequential and len(chunk.asked)):
            look(branch, chunk, self.plan)
        return {} if branch.busy else observations(branch, chunk, len(self.stream))

    def _look_again(self, branch: Branch, doing: Undertaking) -> None:
        """Compute the outputs that policies observed before they decided, if the action uses them."""
        if doing.action.operation.outputs_account and any(each.observes for each in branch.lifetimes):
            look_again(branch, self.stream[doing.step])

    def act(self, actions: Mapping[str, Action]) -> dict[str, Step]:
        """Perform the actions on the observed chunk; returns the step of each lifetime on the branch.

        Where an enforced budget does not last for an action, a fallback is performed. Lifetimes that perform the first
        action, in the order of OPERATIONS, and take the least time for it, stay on the branch; others go to new
        branches.

        Args:
            actions: for each lifetime in `observe`.
        """
        self.observe()
        self._observed = None
        branch = self._branches.pop()
        doing = branch.decided or self._decide(branch, actions)
        if self._learns_ahead:
            doing, acting = self._perform_ahead(branch, doing), [branch]
        else:
            acting = self._perform(branch, doing)
        ended = []
        for each in acting:
            ended += self._after(each, doing, self.stream[branch.step])
        self._branches += [each for each in reversed(ended) if each.step < len(self.stream)]
        return {lifetime.name: lifetime.steps[-1] for each in ended for lifetime in each.lifetimes}

    def _decide(self, branch: Branch, actions: Mapping[str, Action]) -> Undertaking:
        """What the lifetimes that stay on the branch do; the others go to new branches."""
        undertaken = self._within_budgets(branch, actions)
        first, *others = sorted(set(undertaken.values()), key=lambda each: (each.action.place, each.takes))
        for other in reversed(others):
            parting = [lifetime for lifetime in branch.lifetimes if undertaken[lifetime.name] == other]
            self._branches.append(branch.part(parting, other))
        return first

    def _goes_on(self, branch: Branch, doing: Undertaking) -> bool:
        """Whether an action takes the time of the chunk after the next one, too."""
        return branch.step < min(doing.last, len(self.stream) - 1)

    def _perform(self, branch: Branch, doing: Undertaking) -> list[Branch]:
        """Perform an action after the last chunk that it takes, and else pass; returns the branches that remain."""
        if self._goes_on(branch, doing):
            branch.decided = doing
            perform(branch, Action.PASS, self.stream[branch.step])
            return [branch]
        if branch.step > doing.step:
            for cohort in branch.cohorts:
                cohort.look = None  # which is of the chunk that is missed
            self._look_again(branch, doing)
        branch.decided = None
        branches = [branch] if doing.action.operation.shares else branch.apart()
        for each in branches:
            perform(each, doing.action, self.stream[doing.step])
            if self.speed < inf:
                each.flush()
        return branches

    def _perform_ahead(self, branch: Branch, doing: Undertaking) -> Undertaking:
        """The same with a learner whose work is known only afterwards: it learns at once, and answers as before.

        Returns what is done, with the chunks that it takes.
        """
        chunk, learner = self.stream[branch.step], branch.shared.learner
        assert isinstance(learner, Answering)
        if branch.busy:
            perform(branch, Action.PASS, chunk)
        else:
            ledger, before = branch.lifetimes[0].ledger, learner.answers()
            flops = ledger.flops()
            perform(branch, doing.action, chunk)
            branch.flush()
            branch.trained = learner.answer_with(before)
            doing = doing._replace(takes=n_chunks_taken(ledger.flops() - flops, self.speed))
        if self._goes_on(branch, doing):
            branch.decided = doing
        else:
            learner.answer_with(branch.trained)
            branch.decided = branch.trained = None
        return doing

    def _within_budgets(self, branch: Branch, actions: Mapping[str, Action]) -> dict[str, Undertaking]:
        """What each lifetime performs: the action that it wants, or the first of its fallbacks that it affords."""
        chunk, n_left = self.stream[branch.step], len(self.stream) - branch.step
        performed = {}
        for cohort in branch.cohorts:
            for lifetime in cohort.lifetimes:
                action = wanted = actions[lifetime.name]
                while not lifetime.affords(action, cohort.agent, chunk, n_left):
                    action = action.fallback
                lifetime.wanted = wanted if action != wanted else None
                takes = lifetime.takes(action, cohort.agent, chunk)
                performed[lifetime.name] = Undertaking(action, branch.step, takes)
        return performed

    def _after(self, branch: Branch, doing: Undertaking, chunk: Chunk) -> list[Branch]:
        """What follows an action: re-keying, calibration, an evaluation, the records; returns the branches that remain.

        If only some agents need the learner's pending work now, they go on with a fork of it.
        """
        last = branch.step + 1 == len(self.stream)
        flushing = [each for each in branch.cohorts if last or each.agent.rekeying_due or each.agent.calibration_due]
        branches = branch.part_cohorts(flushing) if branch.pending else [branch]
        for each in branches:
            if any(cohort in flushing for cohort in each.cohorts):
                each.flush()
                for cohort in each.in_turn():
                    cohort.pay(cohort.agent.rekey_if_due(chunk.price))
            self._measure(each, doing, chunk, last=last)
        return branches

    def _measure(self, branch: Branch, doing: Undertaking, chunk: Chunk, *, last: bool) -> None:
        """Calibrate and evaluate, if it is time, and write the step down."""
        measured: Sequence[tuple[Scores | None, Mixture | None]] = [(None, None)] * len(branch.cohorts)
        if not last:
            calibrate(branch, self.plan, chunk.price)
        step, n = branch.step, len(self.stream)
        due = [
            cohort
            for cohort in branch.cohorts
            if self.plan.evaluates_after(step, n, cohort.names, recalling=branch.recalling)
        ]
        if due:
            price, probes = chunk.price, self._probes
            measured = finish(branch, self.plan, probes) if last else evaluate(branch, due, self.plan, price)
        action, takes = (doing.action, doing.takes) if doing.step == step else (Action.PASS, None)
        unfinished = (doing.action, self.stream[doing.step]) if branch.decided else None
        for cohort, (scores, mixture) in zip(branch.cohorts, measured, strict=True):
            cohort.end_step(chunk, action, scores, mixture, takes=takes, unfinished=unfinished)
            if last:
                self._ended += cohort.ended()
        branch.step += 1

    def fork(self) -> "Lifetimes":
        """An independent copy."""
        fork = copy.copy(self)
        fork._branches = [branch.fork() for branch in self._branches]
        fork._ended = list(self._ended)
        return fork

    def ended(self) -> list[tuple[str, Trajectory, Agent]]:
        """Name, trajectory and agent of the lifetimes that ended since the last call.

        Lifetimes that never parted share the agent.
        """
        ended, self._ended = self._ended, []
        return ended

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `load_state` continues to the bit, without the past steps.

        Only between two chunks: an observed chunk would be charged twice.
        """
        assert self._observed is None, "a chunk has been observed and not acted on"
        return {"branches": [branch.state() for branch in self._branches], "meter": self.meter.state()}

    @staticmethod
    def check_state(state: dict[str, Any], path: Path) -> None:
        """Check a state before anything is built from it.

        Args:
            state: as read from a file.
            path: of that file, for the message.

        Raises:
            CheckpointError: a part that is missing or of another type, or no lifetime.
        """
        shape = {
            "branches": [BRANCH_SHAPE],
            "meter": {part: {"flops": NUMBER, "samples": NUMBER, "seconds": NUMBER} for part in PARTS},
        }
        check_shape(state, shape, f"the checkpoint {path}")
        if any(n < 0 for n in Lifetimes.n_steps_in(state).values()):
            raise CheckpointError(f"expected 0 or more steps in the checkpoint {path}, got fewer")
        cohorts = [branch["cohorts"] for branch in state["branches"]]
        if not cohorts or not all(each and all(cohort["lifetimes"] for cohort in each) for each in cohorts):
            raise CheckpointError(f"expected a checkpoint of lifetimes at {path}, got one of none")

    @staticmethod
    def n_steps_in(state: dict[str, Any]) -> dict[str, int]:
        """The number of past steps of each lifetime in a state; lifetimes that had ended are not in it."""
        return {
            name: branch["step"]
            for branch in state["branches"]
            for cohort in branch["cohorts"]
            for name in cohort["lifetimes"]
        }

    def load_state(self, state: dict[str, Any], steps: Mapping[str, Sequence[Step]]) -> None:
        """Restore what `state` returned, and the past steps of each lifetime; only before the first chunk."""
        [initial] = self._branches
        lifetimes = {lifetime.name: lifetime for lifetime in initial.lifetimes}
        agent_of = {each.name: cohort.agent for cohort in initial.cohorts for each in cohort.lifetimes}
        agents = [
            [agent_of[next(iter(cohort["lifetimes"]))] for cohort in saved["cohorts"]] for saved in state["branches"]
        ]
        agents = [agents[0], *map(fork_together, agents[1:])]
        self._branches = [
            Branch.from_state(saved, own, lifetimes, steps, self.plan)
            for saved, own in zip(state["branches"], agents, strict=True)
        ]
        self.meter.load_state(state["meter"])  # last: outputs that were cached have been computed again


def run_lifetimes(
    agents: Agent | Mapping[str, Agent],
    stream: Sequence[Chunk],
    policies: Mapping[str, Policy],
    plan: EvaluationPlan,
    *,
    costs: CostModel | None = None,
    budget: float | Mapping[str, float] = inf,
    enforce: bool = False,
    speed: float = inf,
    on_step: Callable[[str, Step], Any] | None = None,
) -> Iterator[tuple[str, Trajectory, Agent]]:
    """Run a lifetime under each policy; the arguments are those of `Lifetimes`.

    Args:
        on_step: called with the name of the lifetime and each of its steps.

    Yields:
        Name, trajectory and final agent of each lifetime, as it ends.

    Raises:
        InvalidSetting: an empty stream, or no policies.
        TrainingDiverged: from the learner.
    """
    lifetimes = Lifetimes(agents, stream, policies, plan, costs=costs, budget=budget, enforce=enforce, speed=speed)
    while lifetimes:
        for name, step in lifetimes.advance().items():
            if on_step:
                on_step(name, step)
        yield from lifetimes.ended()


def run_lifetime(
    agent: Agent,
    stream: Sequence[Chunk],
    policy: Policy,
    plan: EvaluationPlan,
    *,
    costs: CostModel | None = None,
    budget: float = inf,
    enforce: bool = False,
    speed: float = inf,
    on_step: Callable[[Step], Any] | None = None,
) -> Trajectory:
    """Run one lifetime; see `Lifetimes`."""
    named = (lambda _, step: on_step(step)) if on_step else None
    how: dict[str, Any] = {"costs": costs, "budget": budget, "enforce": enforce, "speed": speed}
    ended = run_lifetimes(agent, stream, {"": policy}, plan, on_step=named, **how)
    [(_, trajectory, _)] = ended
    return trajectory


def ask(policy: Policy, observation: Observation) -> Action:
    """The action of a policy, which may be user code.

    Raises:
        PolicyError: it raised an error, or returned something else.
    """
    name = f"{type(policy).__name__}.decide"
    try:
        action = policy.decide(observation)
    except LifetimeError:
        raise
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
        raise PolicyError(
            f"expected {name} to give an Action, but at chunk {observation.step} it raised {reason}"
        ) from error
    if not isinstance(action, Action) or action.name not in observation.actions:
        known, advice = ", ".join(observation.actions), ""
        if isinstance(action, Action) and action.known and action.operation.option:
            advice = f"; {action.operation.option} offers it"
        raise PolicyError(f"expected {name} to give an Action out of {known}, got {reprlib.repr(action)}{advice}")
    return action


Value = TypeVar("Value")


def _by_name(given: Value | Mapping[str, Value], names: Iterable[str], what: str) -> Mapping[str, Value]:
    """A value for each name, from one for all or from a mapping."""
    if not isinstance(given, Mapping):
        return dict.fromkeys(names, given)
    if missing := [name for name in names if name not in given]:
        raise InvalidSetting(f"expected {what}s for all lifetimes, got none for {', '.join(missing)}")
    return given


def _check(policy: Policy, agent: Agent, budget: float, *, enforced: bool, waits: bool) -> None:
    """Refuse a lifetime that cannot begin."""
    if not budget >= 0:
        raise InvalidSetting(f"expected a budget of at least 0, got {budget}")
    check_policy(policy)
    if lacks := [name for name in policy.needs_actions if name not in agent.operations]:
        raise InvalidSetting(
            f"expected an agent that offers {', '.join(lacks)} for {type(policy).__name__}, got one of "
            f"{', '.join(agent.operations)}; {' '.join(OPERATIONS[name].option for name in lacks)}, or another policy"
        )
    if isinstance(agent.learner, Estimating):
        return
    unmet = "expected a learner that can estimate (agent.learners.protocol.Estimating)"
    if policy.needs_estimates:
        raise InvalidSetting(
            f"{unmet} for {type(policy).__name__}, got {type(agent.learner).__name__}; another policy, or another "
            "learner"
        )
    if enforced:
        raise InvalidSetting(
            f"{unmet} for an enforced budget, got {type(agent.learner).__name__}; another learner, or no --enforce"
        )
    if not (waits or isinstance(agent.learner, Answering)):
        raise InvalidSetting(
            f"{unmet} for a stream that does not wait, got {type(agent.learner).__name__}; another learner, or no "
            "--speed"
        )
