"""A third action, to memorize a chunk and then learn it, which the program itself does not have."""

import pytest

from agent.operations import OPERATIONS, Action, Estimate, Operation

REHEARSE = Action("rehearse")


def estimate(agent, chunk, *, looked):
    stored = agent.estimate_memorizing(chunk, looked=looked)
    learned = agent.estimate_learning(chunk)
    return Estimate([*learned.bill, *stored.bill], learned.shared, learned.share, stored.held_nbytes)


@pytest.fixture
def rehearse(monkeypatch):
    """The action, for the duration of a test: it stores the chunk under its current keys and then learns from it."""
    operation = Operation(
        letter="R",
        learns=True,
        memorizes=True,
        outputs_account="memorize",
        accounts=("learn", "rekey", "memorize"),
        perform=lambda agent, chunk, outputs: agent.memorize(chunk, outputs) + agent.learn(chunk),
        estimate=estimate,
    )
    for name in ("both", "consolidate"):  # from the end, so that they come back in their order
        monkeypatch.delitem(OPERATIONS, name)  # so that it is the third
    monkeypatch.setitem(OPERATIONS, "rehearse", operation)
    return REHEARSE
