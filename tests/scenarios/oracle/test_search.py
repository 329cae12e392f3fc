"""Searches for the best schedule, against slow and obvious ones on the table of all schedules."""

import pytest

from agent.learners.training import Training
from agent.lifetime.episode import Episode, Undecided
from scenarios.oracle.priced_table import PricedTable
from scenarios.oracle.search import Rows, beam_search, grow
from tests.scenarios.oracle.test_table import MODELS, TARIFFS, N, begun, table_of

WEIGHTS = (0.0, 0.3, 3.0, 30.0, 1e6)
"""From one at which compute is free to one at which none should be spent."""
ALL = (1 << N) - 1
"""Chunks learned from in a whole tree."""


def episode():
    return Episode(begun(Undecided(), TARIFFS["changing"], calibrate_every=2))


@pytest.fixture(scope="module")
def priced():
    return PricedTable(table_of("never", 2), TARIFFS["changing"], MODELS["flops"])


@pytest.fixture
def trainings(monkeypatch):
    """Gradient steps taken, by chunk learned from: each of them draws two passes."""
    steps = []
    step = Training.step
    monkeypatch.setattr(Training, "step", lambda *a, **k: steps.append(1) or step(*a, **k))
    return steps


def assert_found(found, priced, cost_weight):
    """What is told of a schedule is what the table holds."""
    assert found.utility == priced.utility(cost_weight)[found.leaf]
    assert found.spent == priced.spent[found.leaf]
    assert found.accuracy == priced.table.accuracy[found.leaf, 0]


@pytest.mark.slow
@pytest.mark.parametrize("cost_weight", WEIGHTS)
def test_a_beam_as_wide_as_the_tree_finds_the_best_of_all(priced, cost_weight):
    found = beam_search(episode(), cost_weight, 1 << (N - 1))
    assert_found(found, priced, cost_weight)
    assert found.leaf == priced.best(cost_weight)
    assert found.trainings == ALL


@pytest.mark.slow
@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("cost_weight", WEIGHTS)
def test_a_beam_keeps_the_best_at_every_chunk(priced, cost_weight, width):
    values, beam, n_trainings = priced.utility(cost_weight), [1], 0
    for _ in range(N):
        n_trainings += len(beam)
        children = [child for node in beam for child in (2 * node, 2 * node + 1)]
        children.sort()
        children.sort(key=lambda node: values[node], reverse=True)
        beam = children[:width]
    found = beam_search(episode(), cost_weight, width)
    assert found.leaf == beam[0]
    assert found.trainings == n_trainings
    assert_found(found, priced, cost_weight)


@pytest.mark.slow
def test_a_tree_takes_one_training_for_every_decision(trainings):
    rows = Rows()
    grow(Episode(begun(Undecided("memory"))), 1, rows)
    # Two passes in batches of eight: two steps for a chunk of 8, 7 or 8 samples, one for the last of 3 and as many
    # rehearsed; two for it where nothing was learned before.
    assert len(trainings) == 2 * (1 + 2 + 4) + 1 * 7 + 2
    assert len(rows.steps) == 2 * ALL
    assert len(rows.observations) == ALL


def test_the_trainings_that_are_counted_are_those_that_were_done(trainings):
    found = beam_search(episode(), 0.3, 1)
    assert found.trainings == N
    assert len(trainings) == 2 + 2 + 2 + 1
