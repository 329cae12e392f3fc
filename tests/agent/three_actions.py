"""A third action, LEARN AND MEMORIZE, which the program itself does not have."""

import pytest

from agent.agent import Estimate
from agent.operations import OPERATIONS, Action


class Both:
    """The chunk is stored under the keys that it has, and then learned from."""

    letter = "B"
    learns = memorizes = uses_outputs = True
    accounts = ("learn", "rekey", "memorize")

    def perform(self, agent, chunk, outputs):
        return agent.memorize(chunk, outputs) + agent.learn(chunk)

    def estimate(self, agent, chunk, *, looked):
        stored = agent.estimate_memorizing(chunk, looked=looked)
        learned = agent.estimate_learning(chunk)
        return Estimate([*learned.bill, *stored.bill], learned.shared, learned.share, stored.held_nbytes)


BOTH = Action("both")


@pytest.fixture
def both(monkeypatch):
    """The action, which there is for as long as a test takes."""
    monkeypatch.setitem(OPERATIONS, "both", Both())
    return BOTH
