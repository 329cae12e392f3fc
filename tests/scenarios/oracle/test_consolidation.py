"""Schedule tables of three actions: what a table says of CONSOLIDATE is what lifetimes do."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from agent.evaluation.plan import EvaluationPlan
from agent.lifetime.episode import Episode, Undecided
from agent.lifetime.loop import Lifetimes
from agent.memory.consolidation import Consolidation
from agent.memory.rekeying import Rekeying
from agent.operations import OPERATIONS, Action
from agent.policies import LinearPolicy, Policy
from agent.policies.observation import Observation
from agent.policies.thresholds import SleepPolicy
from scenarios.oracle.priced_table import PricedTable
from scenarios.oracle.search import Rows, assemble, beam_search, grow
from scenarios.oracle.table import n_nodes, read_table, schedule_of
from scenarios.oracle.tables import Pricing, TableSet
from tests.agent.three_actions import rehearse  # noqa: F401 (a fixture)
from tests.agent.toys import toy_agent, toy_images, toy_stream
from tests.scenarios.oracle.test_table import MODELS

N = 3
STREAM = toy_stream([8, 7, 8])
PLAN = EvaluationPlan(toy_images(10, seed=50), toy_images(11, seed=60), every=1)
TARIFF = (2.0, 0.5, 1.0)
SCHEDULES = ["".join(letters) for letters in product("MLC", repeat=N)]
NAMES = {each.letter: name for name, each in OPERATIONS.items()}


class Scheduled(Policy):
    """Decides as it is told."""

    def __init__(self, schedule, observes="nothing"):
        self.schedule, self.observes, self.seen = schedule, observes, []

    def decide(self, observation):
        self.seen.append(observation.vector().tolist())
        return Action(NAMES[self.schedule[observation.step]])


def begun(policy, consolidation, rekey="never", **offered):
    agent = toy_agent(rekeying=Rekeying.parse(rekey), consolidation=Consolidation.parse(consolidation), **offered)
    stream = [replace(chunk, price=price) for chunk, price in zip(STREAM, TARIFF, strict=True)]
    return Lifetimes(agent, stream, {"": policy}, PLAN, costs=MODELS["energy"], budget=1e-3)


def table_of(consolidation="5", rekey="never", seed=0, **offered):
    rows, episode = Rows(), Episode(begun(Undecided("memory"), consolidation, rekey, **offered))
    actions = list(episode.observe().actions)
    grow(episode, 1, rows)
    settings = {"rekey": rekey, "calibrate_every": 0}
    facts = {"seed": seed, "prices": [1.0] * N, "settings": settings, "actions": actions}
    return assemble([rows.as_arrays()], facts, [len(chunk) for chunk in STREAM])


def lived(schedule, consolidation, observes="nothing", rekey="never", **offered):
    policy = Scheduled(schedule, observes)
    lifetimes = begun(policy, consolidation, rekey, **offered)
    while lifetimes:
        lifetimes.advance()
    [(_, trajectory, _)] = lifetimes.ended()
    return trajectory, policy.seen


@pytest.mark.parametrize(
    ("consolidation", "observes", "rekey"),
    [
        ("5", "memory", "never"),
        pytest.param("release:9", "nothing", "never", marks=pytest.mark.slow),
        pytest.param("9", "learner", "on-learn", marks=pytest.mark.slow),
        pytest.param("release:5", "memory", "every:2", marks=pytest.mark.slow),
    ],
)
def test_a_table_tells_what_lifetimes_would(tmp_path, consolidation, observes, rekey):
    table = table_of(consolidation, rekey)
    (tmp_path / "table.npz").write_bytes(table.as_npz())
    assert read_table(tmp_path / "table.npz").as_npz() == table.as_npz()
    table = read_table(tmp_path / "table.npz")
    assert table.actions == ("memorize", "learn", "consolidate")
    assert np.isfinite(table.accuracy[:, 0]).sum() == n_nodes(N, 3)
    assert_tells(table, SCHEDULES[::2], consolidation, observes, rekey)


@pytest.mark.parametrize(
    ("consolidation", "observes", "rekey"),
    [
        ("never", "memory", "on-learn"),
        pytest.param("release:9", "learner", "never", marks=pytest.mark.slow),
        pytest.param("5", "nothing", "on-learn", marks=pytest.mark.slow),
    ],
)
def test_so_does_one_with_both(tmp_path, consolidation, observes, rekey):
    (tmp_path / "table.npz").write_bytes(table_of(consolidation, rekey, both=True).as_npz())
    table, letters = read_table(tmp_path / "table.npz"), "MLB" if consolidation == "never" else "MLCB"
    assert [NAMES[letter] for letter in letters] == list(table.actions)
    schedules = ["".join(each) for each in product(letters, repeat=N) if "B" in each]
    assert_tells(table, schedules[::3], consolidation, observes, rekey, both=True)


def assert_tells(table, schedules, consolidation, observes, rekey, **offered):
    """Lifetimes cost, observe and end as the table says."""
    priced = PricedTable(table, TARIFF, MODELS["energy"], 1e-3, observes)
    for schedule in schedules:
        trajectory, seen = lived(schedule, consolidation, observes, rekey, **offered)
        node = 1
        for step, vector in zip(trajectory.steps, seen, strict=True):
            np.testing.assert_allclose(priced.vectors[node], vector, rtol=1e-12, atol=1e-30)
            node = len(table.actions) * node + table.number_of(Action(step.action))
            assert priced.spent[node] == step.spent
            assert table.learned[node] == step.learned
            assert table.memory_entries[node] == step.memory_entries
            assert table.accuracy[node, 0] == step.accuracy.agent
        assert schedule_of(node, table.actions) == schedule


@pytest.mark.slow
def test_the_search_and_the_table_find_the_same_schedule():
    table, weight = table_of(), 200.0
    priced = PricedTable(table, TARIFF, MODELS["energy"], 1e-3)
    searched = beam_search(Episode(begun(Undecided("nothing"), "5")), weight, 3**N)
    assert searched.leaf == priced.best(weight)
    assert searched.utility == pytest.approx(priced.utility(weight)[searched.leaf])


def test_policies_run_on_tables_as_in_lifetimes():
    table = table_of()
    priced = PricedTable(table, TARIFF, MODELS["energy"], 1e-3)
    assert schedule_of(priced.run(SleepPolicy()), table.actions) == "MCC"
    weights = ((0.0,), (-1.0,))  # CONSOLIDATE below a price of 0.7
    linear = LinearPolicy(("price",), weights, (-1.0, 0.7), ("memorize", "learn", "consolidate"))
    tables = TableSet([table], Pricing.read("day-night:period=2,day=2,night=0.5", "energy", 1.0))
    assert schedule_of(tables.leaf(0, linear), table.actions) == "MCM"
    assert tables.leaf(0, linear) == tables.priced(0, "nothing").run(linear)


def test_samples_learned_are_in_files_only_where_they_must_be(tmp_path):
    for consolidation, there in (("never", False), ("5", True)):
        path = tmp_path / f"{there}.npz"
        table = table_of(consolidation)
        path.write_bytes(table.as_npz())
        with np.load(path) as archive:
            assert ("learned" in archive) == there
        np.testing.assert_array_equal(read_table(path).learned, table.learned)


def test_numbers_of_actions_are_those_of_what_is_offered(rehearse, monkeypatch):  # noqa: F811
    """An action that is not offered, in the middle of all that there are, takes no number."""
    own = OPERATIONS["rehearse"]
    monkeypatch.delitem(OPERATIONS, "rehearse")
    monkeypatch.setitem(OPERATIONS, "consolidate", replace(own, letter="C", consolidates=True, option="--consolidate"))
    monkeypatch.setitem(OPERATIONS, "rehearse", own)
    monkeypatch.setitem(NAMES, "R", "rehearse")
    table = table_of("never")
    assert table.actions == ("memorize", "learn", "rehearse")
    assert table.nodes(N).tolist() == list(range(27, 54))
    priced = PricedTable(table, TARIFF, MODELS["energy"])
    trajectory, _ = lived("RMR", "never")
    leaf = priced.run(Scheduled("RMR"))
    assert priced.spent[leaf] == trajectory.steps[-1].spent
    assert table.learned[leaf] == trajectory.steps[-1].learned == 16
    scores = LinearPolicy(("seen",), ((0.0,), (0.0,)), (-1.0, 1.0), table.actions)
    assert scores.decide(Observation(0, 3)) == Action("rehearse")
    tables = TableSet([table], Pricing.read("constant", "energy", 1.0))
    assert schedule_of(tables.leaf(0, scores), table.actions) == "RRR"
