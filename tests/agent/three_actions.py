"""A third action, LEARN AND MEMORIZE, which the program itself does not have."""

import pytest

from agent.operations import OPERATIONS, Action, Estimate, Operation

BOTH = Action("both")


def estimate(agent, chunk, *, looked):
    stored = agent.estimate_memorizing(chunk, looked=looked)
    learned = agent.estimate_learning(chunk)
    return Estimate([*learned.bill, *stored.bill], learned.shared, learned.share, stored.held_nbytes)


@pytest.fixture
def both(monkeypatch):
    """The action, for the duration of a test: it stores the chunk under its current keys and then learns from it."""
    operation = Operation(
        letter="B",
        learns=True,
        memorizes=True,
        outputs_account="memorize",
        accounts=("learn", "rekey", "memorize"),
        perform=lambda agent, chunk, outputs: agent.memorize(chunk, outputs) + agent.learn(chunk),
        estimate=estimate,
    )
    monkeypatch.delitem(OPERATIONS, "consolidate")  # so that it is the third
    monkeypatch.setitem(OPERATIONS, "both", operation)
    return BOTH
