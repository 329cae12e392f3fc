"""The kit for policies: for every promise a broken one is named."""

import itertools

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
    (Forgetful, "a restored policy decides as"),
    (Aliasing, "a fork does not change the original"),
]


def test_the_policy_that_others_break_keeps_its_promises():
    check_policy(Whole)


@pytest.mark.parametrize(("broken", "promise"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_policy_is_named(broken, promise):
    with pytest.raises(BrokenPromise, match=promise):
        check_policy(broken)
