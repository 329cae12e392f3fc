"""The promises of policies."""

import copy
from collections.abc import Callable
from typing import get_args

import torch

from agent.errors import InvalidSetting, PolicyError
from agent.operations import OPERATIONS
from agent.policies import Action, Policy
from agent.policies.observation import Observation, estimated
from agent.policies.protocol import Observes, checked_state
from agent.policies.protocol import check_policy as check_before_lifetime
from agent.policies.signals import LEARNER_SIGNALS, SIGNALS
from agent.testing.promises import BrokenPromise, own_randomness, run_all, through_a_file

N_CHUNKS = 40


def check_policy(make: Callable[[], Policy]) -> None:
    """Check that policies keep the contract `agent.policies.Policy`.

    Args:
        make: returns a new policy, the same each time, with its own seed if it draws random numbers.

    Raises:
        BrokenPromise: naming the first promise that is broken.
    """
    _PolicyCheck(make).run()


class _PolicyCheck:
    """The promises of a policy, one for each method."""

    def __init__(self, make: Callable[[], Policy]) -> None:
        self.make = make

    def run(self) -> None:
        """Check all promises, simple ones first."""
        promises = [
            self.is_a_policy,
            self.decides_on_every_chunk,
            self.is_deterministic,
            self.reads_nothing_that_it_does_not_ask_for,
            self.continues_from_its_state,
            self.forks_are_independent,
        ]
        run_all(self.make, promises)

    def observations(self, policy: Policy, *, seed: int = 0, unasked: float = float("nan")) -> list[Observation]:
        """Observations of a stream, with the signals that the policy asks for; the memory is empty at first.

        Args:
            policy: says what it asks for.
            seed: of the values, 0 to 1.
            unasked: factor on the signals and estimates that it does not ask for.
        """
        generator = torch.Generator().manual_seed(seed)
        found = []
        for step in range(N_CHUNKS):
            names = Observation.names(tuple(OPERATIONS))
            values = dict(zip(names, torch.rand(len(names), generator=generator).tolist(), strict=True))
            n_entries = 7 * step // 3
            for name in SIGNALS:
                asked = policy.observes == "memory" or (policy.observes == "learner" and name in LEARNER_SIGNALS)
                known = name in LEARNER_SIGNALS or n_entries > 0
                for each in (name, f"mean_{name}"):
                    if not asked:
                        values[each] *= unasked
                    elif not known or (each != name and step == 0):
                        values[each] = float("nan")
            if not policy.needs_estimates:
                for each in (each for name in OPERATIONS if OPERATIONS[name].learns for each in estimated(name)):
                    values[each] *= unasked
            whole = {"step": step, "n_chunks": N_CHUNKS, "n_samples": 7, "memory_entries": n_entries}
            values |= {**whole, "memory_nbytes": 100 * n_entries, "seen": step / N_CHUNKS}
            found.append(Observation.of(values))
        return found

    def decisions(self, policy: Policy, observations: list[Observation]) -> list[Action]:
        return [policy.decide(each) for each in observations]

    def is_a_policy(self) -> None:
        policy = self.make()
        if not isinstance(policy, Policy):
            raise BrokenPromise(policy, "a policy is derived from agent.policies.Policy", "it is not")
        if policy.observes not in get_args(Observes):
            found = f"got {policy.observes!r}"
            raise BrokenPromise(policy, f"`observes` is one of {', '.join(get_args(Observes))}", found)
        try:
            check_before_lifetime(policy)
        except (InvalidSetting, PolicyError) as error:
            raise BrokenPromise(policy, "a policy can be saved and restored", str(error)) from error

    def decides_on_every_chunk(self) -> None:
        policy = self.make()
        for each in self.observations(policy):
            try:
                action = policy.decide(each)
            except Exception as error:
                found = f"at chunk {each.step}: {error!r}"
                raise BrokenPromise(policy, "a policy decides on every chunk", found) from error
            if not isinstance(action, Action) or not action.known:
                raise BrokenPromise(policy, "a decision is an agent.policies.Action", f"got {action!r}")
        alone = Observation(step=0, n_chunks=1, left=1.0)
        try:
            self.make().decide(alone)
        except Exception as error:
            found = f"a stream of one chunk: {error!r}"
            raise BrokenPromise(policy, "a policy decides on every chunk", found) from error

    def is_deterministic(self) -> None:
        one, other = self.make(), self.make()
        with own_randomness(one):
            first, second = (self.decisions(each, self.observations(each)) for each in (one, other))
        if first != second:
            found = f"chunk {next(i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a != b)}"
            raise BrokenPromise(one, "the same observations lead to the same decisions", found)

    def reads_nothing_that_it_does_not_ask_for(self) -> None:
        blind = self.make()
        first = self.decisions(blind, self.observations(blind))
        for factor in (0, 1, 3, 30, 1e6):
            seeing = self.make()
            if first != self.decisions(seeing, self.observations(seeing, unasked=factor)):
                asked = f"`observes` is {blind.observes!r}, `needs_estimates` {blind.needs_estimates}"
                found = f"{asked}, and other fields changed a decision"
                raise BrokenPromise(blind, "a policy reads nothing that it does not ask to see", found)

    def continues_from_its_state(self) -> None:
        policy, restored = self.make(), self.make()
        observations = self.observations(policy)
        self.decisions(policy, observations[:13])
        restored.load_state(through_a_file(policy, checked_state(policy)))
        rest = observations[13:]
        if self.decisions(policy, rest) != self.decisions(restored, rest):
            raise BrokenPromise(policy, "a restored policy decides as the one that was saved", "decisions differ")

    def forks_are_independent(self) -> None:
        policy = self.make()
        observations = self.observations(policy)
        self.decisions(policy, observations[:13])
        state = checked_state(policy)
        fork, again = copy.copy(policy), self.make()
        fork.load_state(state)
        again.load_state(checked_state(policy))
        self.decisions(fork, self.observations(policy, seed=1)[15:])
        if self.decisions(policy, observations[13:]) != self.decisions(again, observations[13:]):
            raise BrokenPromise(policy, "a state is a copy: a fork does not change the original", "decisions differ")
