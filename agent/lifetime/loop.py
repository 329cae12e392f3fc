"""The loop: lifetimes on one stream that share an agent for as long as their policies decide alike."""

import copy
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from types import NoneType
from typing import Any

from agent.abilities import Resumable, check_forkable
from agent.accounting.costs import CostModel
from agent.accounting.ledger import Ledger
from agent.accounting.work import Bill, Charge, Work
from agent.agent import Agent
from agent.data.chunk import Chunk
from agent.errors import CheckpointError, InvalidSetting, LifetimeError, PolicyError
from agent.evaluation.plan import EvaluationPlan
from agent.evaluation.scores import Scores, accuracies, score
from agent.evaluation.trajectory import Step, Trajectory, scores_as_json, scores_from_json
from agent.learners.protocol import Estimating
from agent.lifetime.branch import BRANCH_SHAPE, Branch, Lifetime
from agent.memory import ReadOut
from agent.memory.mixture import Mixture
from agent.networks.outputs import Outputs
from agent.operations import OPERATIONS, Action
from agent.policies import Policy
from agent.policies.observation import Observation
from agent.policies.protocol import check_policy
from agent.policies.signals import learner_signals, memory_signals
from agent.storage.checkpoint import check_shape


@dataclass(frozen=True)
class _Observed:
    """The current chunk as the lifetimes of a branch observe it."""

    observations: dict[str, Observation]
    """By name of the lifetime."""
    outputs: Outputs | None = None
    """The learner's outputs for the chunk, if they were computed and will still hold when the chunk is memorized."""
    looked: Work = Work()  # noqa: RUF009 (frozen)
    """Work of that forward pass; the lifetimes that observe it have paid for it."""


class Lifetimes:
    """Lifetimes under several policies, all from the same initial agent and on the same stream.

    The lifetimes share one agent for as long as their policies decide alike, and fork it where they differ; on a CPU
    each trajectory, with its costs, equals to the bit that of its policy alone. Branches run one after the other,
    those that memorize first, so that few agents exist at a time.

    Args:
        agent: at initialization; the lifetimes change it and do not copy it.
        stream: chunks by position; several branches may read the same chunk.
        policies: by name, each an object of its own.
        plan: what to measure, and when.
        costs: prices; by default of FLOPs alone.
        budget: what a lifetime may spend, in the unit of `costs`; policies see it and may overdraw it.
        calibrate_every: chunks between fits of the mixture that the agent pays for; it also fits when the memory gets
            its first entries, and at the end. With 0 it fits at the end alone, and evaluations before fit a mixture
            on the account `evaluate`.

    Raises:
        InvalidSetting: an empty stream, no policies, a policy that cannot be checkpointed or needs estimates that the
            learner cannot give, a memory that cannot store the learner's keys, or a learner that cannot be forked
            where that is needed.
    """

    def __init__(
        self,
        agent: Agent,
        stream: Sequence[Chunk],
        policies: Mapping[str, Policy],
        plan: EvaluationPlan,
        *,
        costs: CostModel | None = None,
        budget: float = inf,
        calibrate_every: int = 0,
    ) -> None:
        if not len(stream):
            raise InvalidSetting("expected a stream of at least 1 chunk, got an empty one")
        if not policies:
            raise InvalidSetting("expected at least 1 policy, got none")
        if not budget >= 0:
            raise InvalidSetting(f"expected a budget of at least 0, got {budget}")
        if calibrate_every < 0:
            raise InvalidSetting(f"expected 0 or more chunks between calibrations, got {calibrate_every}")
        for policy in policies.values():
            check_policy(policy)
            if policy.needs_estimates and not isinstance(agent.learner, Estimating):
                raise InvalidSetting(
                    f"expected a learner that can estimate (agent.learners.protocol.Estimating) for "
                    f"{type(policy).__name__}, got {type(agent.learner).__name__}; another policy, or another learner"
                )
        agent.estimate_memorizing(stream[0], looked=False)  # a memory that cannot store such keys refuses them now
        on_the_way = plan.every or plan.after or plan.prequential
        if len(policies) > 1 or (agent.learner.lazy and on_the_way):
            check_forkable(agent.learner)  # now, and not at the first fork
        self.stream, self.plan = stream, plan
        self.budget, self.calibrate_every = budget, calibrate_every
        lifetimes = [Lifetime(name, policy, Ledger(costs)) for name, policy in policies.items()]
        self._branches = [Branch(lifetimes, agent)]
        self._ended: list[tuple[str, Trajectory, Agent]] = []
        self._observed: _Observed | None = None
        self.initial_scores: Scores | None = None

    def __bool__(self) -> bool:
        """Whether any lifetime has chunks left."""
        return bool(self._branches)

    @property
    def resumable(self) -> bool:
        """Whether every learner can be saved."""
        return all(isinstance(branch.agent.learner, Resumable) for branch in self._branches)

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

        Empty if these lifetimes decided before they were forked from others.
        """
        if self._observed is None:
            if self.initial_scores is None and self.plan.groups is not None:
                self._evaluate_at_initialization()
            self._observed = self._observe()
        return self._observed.observations

    def act(self, actions: Mapping[str, Action]) -> dict[str, Step]:
        """Perform the actions on the observed chunk; returns the step of each lifetime on the branch.

        Lifetimes with the first action, in the order of OPERATIONS, stay on the branch; others go to new branches.

        Args:
            actions: for each lifetime in `observe`.
        """
        self.observe()
        observed, self._observed = self._observed, None
        assert observed is not None
        branch = self._branches[-1]
        if branch.decided is None:
            first, *others = sorted({actions[lifetime.name] for lifetime in branch.lifetimes}, key=_number)
            for other in reversed(others):
                parting = [lifetime for lifetime in branch.lifetimes if actions[lifetime.name] == other]
                self._branches.insert(-1, branch.part(parting, other))
            branch.decided = first
        chunk, outputs = self.stream[branch.step], observed.outputs
        action, branch.decided = branch.decided, None
        account = action.operation.outputs_account
        bill = branch.agent.perform(action, chunk, outputs if account else None)
        in_full = bill
        if account and outputs is not None:
            in_full = _with_forward_pass(bill, Charge(account, observed.looked, chunk.price))
        for lifetime in branch.lifetimes:  # those that observe the outputs have paid for them already
            lifetime.pay(in_full if lifetime.policy.observes == "nothing" else bill)
        last = branch.step + 1 == len(self.stream)
        if self._calibrates(branch) and not last:
            branch.flush()
            usable = self.plan.usable(branch.step)
            branch.validation, fitted = branch.agent.calibrate(self.plan.validation, branch.validation, usable)
            branch.pay([Charge("calibrate", fitted, chunk.price)])
        scores, mixture = None, None
        if self.plan.evaluates_after(branch.step, len(self.stream)):
            scores, mixture = self._finish(branch) if last else self._evaluate(branch, chunk.price)
        branch.expect(branch.agent.estimate_flush(chunk.inputs))
        for lifetime in branch.lifetimes:
            lifetime.ledger.hold(branch.agent.nbytes)
            lifetime.write_down(branch.agent, chunk, action, branch.prequential, scores, mixture)
        branch.step, branch.prequential = branch.step + 1, None
        if last:
            self._branches.pop()
            for lifetime in branch.lifetimes:
                trajectory = Trajectory(tuple(lifetime.steps), lifetime.ledger.seconds(), self.initial_scores)
                self._ended.append((lifetime.name, trajectory, branch.agent))
        return {lifetime.name: lifetime.steps[-1] for lifetime in branch.lifetimes}

    def _calibrates(self, branch: Branch) -> bool:
        if not self.calibrate_every:
            return False
        first = branch.agent.memory.n_entries > 0 and not branch.agent.mixture.fitted
        return first or (branch.step + 1) % self.calibrate_every == 0

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

    def _observe(self) -> "_Observed":
        """Answer the queries that come before the next chunk, and compute the signals that policies ask for."""
        branch = self._branches[-1]
        if branch.decided is not None:
            return _Observed({})
        chunk = self.stream[branch.step]
        branch.pay(branch.agent.prepare(chunk))
        observers = [lifetime for lifetime in branch.lifetimes if lifetime.policy.observes != "nothing"]
        if chunk.queries:
            branch.flush()
            branch.pay([Charge("answer", branch.agent.answering(chunk.queries, chunk.inputs.shape[1:]), chunk.price)])
        if branch.agent.learner.pending and 0 < len(observers) < len(branch.lifetimes):
            self._branches.insert(-1, branch.part(observers))  # only observers must train before they decide
            observers = []
        if observers:
            branch.flush()
        looks = bool(observers) or self.plan.prequential
        looker = branch.agent.fork() if looks and branch.agent.learner.pending else branch.agent
        if not looks:
            return _Observed(self._observations(branch, chunk, None, None))
        outputs, looked, read_out = self._look(branch, looker, chunk)
        observations = self._observations(branch, chunk, outputs, read_out)
        return _Observed(observations, outputs, looked) if looker is branch.agent else _Observed(observations)

    def _observations(
        self, branch: Branch, chunk: Chunk, outputs: Outputs | None, read_out: ReadOut | None
    ) -> dict[str, Observation]:
        """The observation of each lifetime, from the outputs for the chunk."""
        looking = {lifetime.policy.observes != "nothing" for lifetime in branch.lifetimes}
        estimates = {
            looked: {name: each.estimate(branch.agent, chunk, looked=looked) for name, each in OPERATIONS.items()}
            for looked in looking
        }
        observations = {}
        for lifetime in branch.lifetimes:
            lifetime.observed = None
            looked = lifetime.policy.observes != "nothing"
            if outputs and looked:
                seen = learner_signals(outputs, chunk.labels)
                if lifetime.policy.observes == "memory":
                    seen |= memory_signals(outputs, read_out, chunk.labels)
                lifetime.observed = seen | lifetime.averages.observe(seen)
            observations[lifetime.name] = lifetime.observation(
                branch.agent, chunk, len(self.stream), self.budget, estimates[looked]
            )
        return observations

    def _look(self, branch: Branch, looker: Agent, chunk: Chunk) -> tuple[Outputs, Work, ReadOut | None]:
        """Compute the outputs for a chunk before it is used, and charge the lifetimes that observe them.

        Prequential accuracy uses answers that are billed already at no further cost; work beyond them, and beyond what
        the policy observes, goes to the account `evaluate`.
        """
        flushed = [work for _, work, _ in looker.flush()]
        read_out, compared = None, Work()
        if self.plan.prequential or any(lifetime.policy.observes == "memory" for lifetime in branch.lifetimes):
            prediction, cached, read_out, _ = looker.answer(chunk.inputs)
            outputs, looked, compared = cached.outputs, cached.looked, cached.recalled
            if self.plan.prequential:
                branch.prequential = accuracies(prediction, chunk.labels)
        else:
            outputs, looked = looker.learner.forward(chunk.inputs)
        by_asking = {"nothing": Work(), "learner": looked, "memory": looked + compared}
        by_measuring = {"nothing": looked + compared, "learner": compared, "memory": Work()}
        unasked = max(0, len(chunk) - chunk.queries)
        for lifetime in branch.lifetimes:
            lifetime.pay([Charge("decide", by_asking[lifetime.policy.observes], chunk.price)])
            if self.plan.prequential:
                measuring = _share(by_measuring[lifetime.policy.observes], unasked, len(chunk))
                lifetime.pay([Charge("evaluate", work, chunk.price) for work in (*flushed, measuring)])
        return outputs, looked, read_out if looker.memory.n_entries else None

    def _evaluate_at_initialization(self) -> None:
        [branch] = self._branches
        prediction, branch.test, _, spent = branch.agent.answer(self.plan.test.inputs, at_every_setting=True)
        branch.pay([Charge("evaluate", spent, self.stream[0].price)])
        self.initial_scores = score(prediction, self.plan)

    def _evaluate(self, branch: Branch, price: float) -> tuple[Scores, Mixture]:
        """Predict the test set before the end, for the experimenter.

        A learner with work pending is evaluated as a fork, and everything goes to the account `evaluate`, so that
        evaluations change neither the agent nor what it pays.
        """
        agent = branch.agent.fork() if branch.agent.learner.pending else branch.agent
        spent = [work for _, work, _ in agent.flush()]
        mixture = agent.mixture
        if not self.calibrate_every:
            usable = self.plan.usable(branch.step)
            mixture, branch.validation, fitted = agent.fit(self.plan.validation, branch.validation, usable)
            spent.append(fitted)
        test = self.plan.test.inputs
        prediction, branch.test, _, answered = agent.answer(test, branch.test, mixture, at_every_setting=True)
        branch.pay([Charge("evaluate", work, price) for work in (*spent, answered)])
        return score(prediction, self.plan), mixture

    def _finish(self, branch: Branch) -> tuple[Scores, Mixture]:
        """Train what is pending, calibrate at a price of 1 (the stream is over), and predict the test set.

        The FLOPs of this last calibration are charged in full even if earlier evaluations, on the account `evaluate`,
        have cached part of it. So are those of predicting the test set, on that account.
        """
        agent = branch.agent
        branch.flush()
        usable = self.plan.usable(branch.step)
        branch.validation, fitted = agent.calibrate(self.plan.validation, branch.validation, usable)
        if branch.validation and not self.calibrate_every:
            in_full = branch.validation.looked + branch.validation.recalled
            fitted = Work(in_full.flops, in_full.nbytes, fitted.seconds, in_full.samples)
        on_the_way = branch.test is not None and len(branch.test.settings) > 1
        test = self.plan.test.inputs
        prediction, branch.test, _, _ = agent.answer(test, branch.test, at_every_setting=on_the_way)
        looked, recalled = branch.test.looked, branch.test.recalled
        measured = Work(
            agent.answering(len(test), test.shape[1:]).flops, 0, looked.seconds + recalled.seconds, len(test)
        )
        branch.pay([Charge("calibrate", fitted), Charge("evaluate", measured)])
        return score(prediction, self.plan), agent.mixture

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `load_state` continues to the bit, without the past steps.

        Only between two chunks: an observed chunk would be charged twice.
        """
        assert self._observed is None, "a chunk has been observed and not acted on"
        return {
            "initial_scores": scores_as_json(self.initial_scores) if self.initial_scores else None,
            "branches": [branch.state() for branch in self._branches],
        }

    @staticmethod
    def check_state(state: dict[str, Any], path: Path) -> None:
        """Check a state before anything is built from it.

        Args:
            state: as read from a file.
            path: of that file, for the message.

        Raises:
            CheckpointError: a part that is missing or of another type, or no lifetime.
        """
        check_shape(state, {"initial_scores": (dict, NoneType), "branches": [BRANCH_SHAPE]}, f"the checkpoint {path}")
        if any(n < 0 for n in Lifetimes.n_steps_in(state).values()):
            raise CheckpointError(f"expected 0 or more steps in the checkpoint {path}, got fewer")
        if not Lifetimes.n_steps_in(state):
            raise CheckpointError(f"expected a checkpoint of lifetimes at {path}, got one of none")

    @staticmethod
    def n_steps_in(state: dict[str, Any]) -> dict[str, int]:
        """The number of past steps of each lifetime in a state; lifetimes that had ended are not in it."""
        return {name: branch["step"] for branch in state["branches"] for name in branch["lifetimes"]}

    def load_state(self, state: dict[str, Any], steps: Mapping[str, Sequence[Step]]) -> None:
        """Restore what `state` returned, and the past steps of each lifetime; only before the first chunk."""
        [initial] = self._branches
        lifetimes = {lifetime.name: lifetime for lifetime in initial.lifetimes}
        agents = [initial.agent, *(initial.agent.fork() for _ in state["branches"][1:])]
        self._branches = [
            Branch.from_state(saved, agents, lifetimes, steps, self.plan)
            for saved, agents in zip(state["branches"], agents, strict=True)
        ]
        self.initial_scores = scores_from_json(state["initial_scores"]) if state["initial_scores"] else None


def run_lifetimes(
    agent: Agent,
    stream: Sequence[Chunk],
    policies: Mapping[str, Policy],
    plan: EvaluationPlan,
    *,
    costs: CostModel | None = None,
    budget: float = inf,
    calibrate_every: int = 0,
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
    lifetimes = Lifetimes(agent, stream, policies, plan, costs=costs, budget=budget, calibrate_every=calibrate_every)
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
    calibrate_every: int = 0,
    on_step: Callable[[Step], Any] | None = None,
) -> Trajectory:
    """Run one lifetime; see `Lifetimes`."""
    named = (lambda _, step: on_step(step)) if on_step else None
    settings: dict[str, Any] = {"costs": costs, "budget": budget, "calibrate_every": calibrate_every, "on_step": named}
    [(_, trajectory, _)] = run_lifetimes(agent, stream, {"": policy}, plan, **settings)
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
    if not isinstance(action, Action) or not action.known:
        known = ", ".join(OPERATIONS)
        raise PolicyError(f"expected {name} to give an Action out of {known}, got {reprlib.repr(action)}")
    return action


def _number(action: Action) -> int:
    return action.number


def _with_forward_pass(bill: Bill, forward: Charge) -> Bill:
    """A bill with the forward pass that its operation was spared.

    It goes into the last charge of its account and price, as if the operation had done it: two charges would round
    differently.
    """
    for i, charge in reversed(list(enumerate(bill))):
        if (charge.account, charge.price) == (forward.account, forward.price):
            return [*bill[:i], charge._replace(work=forward.work + charge.work), *bill[i + 1 :]]
    return [*bill, forward]


def _share(work: Work, n: int, of: int) -> Work:
    """The share of n samples in the work on `of` samples."""
    return Work(work.flops * n // max(of, 1), work.nbytes, work.seconds, work.samples * n // max(of, 1))
