"""The kit for policies: for every promise a broken one is named."""

import itertools
from functools import partial

import pytest
import torch

from agent.policies import Action, Policy
from agent.testing import BrokenPromise, check_policy

COUNT = itertools.count()


class Whole(Policy):
    """The policy that others break: learns every third chunk."""

    def __init__(self):
        self.turn = 0

    def decide(self, observation):
        self.turn += 1
        return Action.LEARN if self.turn % 3 == 0 else Action.MEMORIZE


class Nosy(Whole):
    observes = "everything"


class Unsaved(Whole):
    def __init__(self):
        super().__init__()
        self.now = lambda: 0


class Fragile(Whole):
    def decide(self, observation):
        return [Action.LEARN, Action.MEMORIZE][int(observation.seen * 100) // 90 * 2]


class Wordy(Whole):
    def decide(self, observation):
        return "learn"


class Fickle(Whole):
    def decide(self, observation):
        return Action.LEARN if next(COUNT) % 7 < 3 else Action.MEMORIZE


class Drawing(Whole):
    def decide(self, observation):
        return Action.LEARN if float(torch.rand(1)) < 2 else Action.MEMORIZE


class Peeping(Whole):
    def decide(self, observation):
        return Action.LEARN if observation.learner_loss > 0.1 else Action.MEMORIZE


class Threshold(Whole):
    """Learns if a field of the observation is above a bar."""

    def __init__(self, field, bar, observes="nothing", needs_estimates=False):
        self.field, self.bar, self.observes, self.needs_estimates = field, bar, observes, needs_estimates

    def decide(self, observation):
        return Action.LEARN if getattr(observation, self.field) > self.bar else Action.MEMORIZE


class Surprised(Whole):
    def decide(self, observation):
        return Action.LEARN if observation.learner_loss > observation.mean_learner_loss else Action.MEMORIZE


class Refusing(Whole):
    def __init__(self):
        raise ValueError("no")


class Forgetful(Whole):
    def state(self):
        return {}


class Aliasing(Whole):
    """Shares a list with every fork."""

    def __init__(self):
        self.turns = [0]

    def decide(self, observation):
        self.turns[0] += 1
        return Action.LEARN if self.turns[0] % 3 == 0 else Action.MEMORIZE

    def load_state(self, state):
        self.turns[:] = state["turns"]


BROKEN = [
    (dict, "is derived from agent.policies.Policy"),
    (Nosy, "`observes` is one of nothing, learner, memory; got 'everything'"),
    (Unsaved, "can be saved and restored"),
    (Fragile, "decides on every chunk; at chunk 36: IndexError"),
    (Wordy, "a decision is an agent.policies.Action"),
    (Fickle, "the same observations lead to the same decisions"),
    (Drawing, "global random state"),
    (Peeping, "reads nothing that it does not ask to see"),
    (Surprised, "reads nothing that it does not ask to see"),
    (Refusing, r"^Refusing breaks a promise: a new component can be made; it raised ValueError\('no'\)"),
    (partial(Refusing), "^Refusing breaks a promise: a new component can be made"),
    (Forgetful, "a restored policy decides as"),
    (Aliasing, "a fork does not change the original"),
]


def test_the_policy_that_others_break_keeps_its_promises():
    check_policy(Whole)
    check_policy(partial(Threshold, "memorize_cost", 0.5))  # of which the learner tells nothing
    check_policy(partial(Threshold, "novelty", 0.5, observes="memory"))
    check_policy(partial(Threshold, "learn_cost", 0.5, needs_estimates=True))


@pytest.mark.parametrize(
    "settings",
    [
        ("learner_loss", 1.9),
        ("mean_learner_loss", 1.9),
        ("learner_loss", 1e5),
        ("novelty", 1.0, "learner"),
        ("mean_memory_entropy", 0.5, "learner"),
        ("learn_cost", 1.0),
        ("learn_gflop", 0.5, "memory"),
    ],
    ids=str,
)
def test_a_policy_that_reads_what_it_does_not_ask_for_is_named(settings):
    with pytest.raises(BrokenPromise, match="reads nothing that it does not ask to see"):
        check_policy(partial(Threshold, *settings))


@pytest.mark.parametrize(("broken", "promise"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_policy_is_named(broken, promise):
    with pytest.raises(BrokenPromise, match=promise):
        check_policy(broken)
