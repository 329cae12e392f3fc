"""Tables of whole trees: what they tell of any schedule is what a lifetime would, to the bit."""

import io
import json
import os
import pickle
import zipfile
from dataclasses import fields, replace
from functools import lru_cache
from itertools import product
from math import inf

import numpy as np
import pytest
import torch

from agent.accounting.costs import COST_MODELS
from agent.errors import RunError
from agent.evaluation.plan import EvaluationPlan
from agent.lifetime.episode import Episode, Undecided
from agent.lifetime.loop import Lifetimes
from agent.memory.rekeying import Rekeying
from agent.policies import Action, DisagreementPolicy, LossPolicy, RandomPolicy, StaticPolicy
from scenarios.oracle.priced_table import PricedTable
from scenarios.oracle.search import Rows, assemble, expand, grow
from scenarios.oracle.table import ScheduleTable, read_table, schedule_of
from tests.agent.lifetime.test_episode import Scripted
from tests.agent.storage.test_checkpoint import Trap
from tests.agent.toys import toy_agent, toy_images, toy_stream
from tests.scenarios.tables import synthetic

N = 4
STREAM = toy_stream([8, 7, 8, 3])
PLAN = EvaluationPlan(toy_images(10, seed=50), toy_images(11, seed=60), every=1)
MODELS = {
    "flops": COST_MODELS["flops"](),
    "prices": COST_MODELS["prices"](gflop=0.3, megabyte_written=0.7, megabyte_chunk=1.1),
    "energy": COST_MODELS["energy"](),
}
TARIFFS = {"constant": (1.0,) * N, "changing": (0.1, 2.7, 0.0, 1.3)}
FACTS = {"seed": 0, "classes": ["a", "b", "c"], "prices": [1.0] * N, "actions": ["memorize", "learn"]}


def begun(policy, tariff=(1.0,) * N, *, rekey="never", calibrate_every=0, model="flops", budget=inf):
    rekeying = Rekeying.parse({"ridge": "never", "nearest": "on-learn"}.get(rekey, rekey))
    agent = toy_agent(memory=rekey if rekey in ("ridge", "nearest") else "cache", rekeying=rekeying)
    stream = [replace(chunk, price=price) for chunk, price in zip(STREAM, tariff, strict=True)]
    agent.calibrate_every = calibrate_every
    settings = {"costs": MODELS[model], "budget": budget}
    return Lifetimes(agent, stream, {"": policy}, PLAN, **settings)


@lru_cache
def table_of(rekey="never", calibrate_every=0):
    """Grown whole, at the prices of a constant tariff."""
    rows = Rows()
    grow(Episode(begun(Undecided("memory"), rekey=rekey, calibrate_every=calibrate_every)), 1, rows)
    told = "on-learn" if rekey == "nearest" else rekey
    facts = FACTS | {"settings": {"rekey": told, "calibrate_every": calibrate_every}}
    return assemble([rows.as_arrays()], facts, [len(chunk) for chunk in STREAM])


class Recording(Scripted):
    def __init__(self, schedule, observes):
        super().__init__(schedule, observes)
        self.seen = []

    def decide(self, observation):
        self.seen.append(repr(observation))
        return super().decide(observation)


def same_table(a, b):
    return a.facts == b.facts and all(
        getattr(a, field.name).dtype == getattr(b, field.name).dtype
        and np.array_equal(
            getattr(a, field.name), getattr(b, field.name), equal_nan=getattr(a, field.name).dtype == float
        )
        for field in fields(ScheduleTable)
        if field.name != "facts"
    )


@pytest.mark.slow
@pytest.mark.parametrize("calibrate_every", [0, 2, 5])
@pytest.mark.parametrize("rekey", ["never", "on-learn", "every:2", "ridge", "nearest"])
def test_a_table_tells_what_a_lifetime_would_see_spend_and_reach(rekey, calibrate_every):
    table = table_of(rekey, calibrate_every)
    generator = np.random.default_rng([len(rekey), calibrate_every])
    ways = list(product(("nothing", "learner", "memory"), TARIFFS, MODELS))
    schedules = ["".join(generator.choice(["L", "M"], N)) for _ in ways]
    for observes, (tariff, model) in product(("nothing", "learner", "memory"), [*product(TARIFFS, MODELS)][1::2]):
        schedule, budget = schedules.pop(), float(generator.choice([inf, 0.0, 0.004]))
        policy = Recording(schedule, observes)
        lifetimes = begun(
            policy, TARIFFS[tariff], rekey=rekey, calibrate_every=calibrate_every, model=model, budget=budget
        )
        priced = PricedTable(table, TARIFFS[tariff], MODELS[model], budget, observes)
        node = 1
        while lifetimes:
            [step] = lifetimes.advance().values()
            assert repr(priced.observation(node)) == policy.seen[-1]
            node = 2 * node + (step.action == "learn")
            assert priced.spent[node] == step.spent
            measured = (step.accuracy.agent, step.accuracy.learner, step.accuracy.memory)
            assert [None if np.isnan(share) else share for share in table.accuracy[node]] == list(measured)
            counts = (table.memory_entries[node], table.memory_nbytes[node], table.held_nbytes[node])
            assert counts == (step.memory_entries, step.memory_nbytes, step.held_nbytes)
        assert schedule_of(node) == schedule


def test_vectors_are_those_of_the_observations():
    priced = PricedTable(table_of("on-learn", 2), TARIFFS["changing"], MODELS["energy"], 1e-3, "memory")
    for node in range(1, 1 << N):
        np.testing.assert_array_equal(priced.vectors[node], priced.observation(node).vector())


def test_what_is_left_never_falls_below_nothing():
    table = table_of()
    free, poor = (
        PricedTable(table, TARIFFS["changing"], MODELS["flops"]),
        PricedTable(table, TARIFFS["changing"], MODELS["flops"], 3e-3),
    )
    for node in range(1, 1 << N):
        assert free.observation(node).left == inf
        assert poor.observation(node).left == max(0.0, 3e-3 - poor.spent[node])
    assert 0.0 in {poor.observation(node).left for node in range(1, 1 << N)}


def test_policies_that_live_on_a_table_decide_as_in_life():
    table = table_of("on-learn", 2)
    for make in (
        lambda: StaticPolicy(50),
        lambda: RandomPolicy(0.5, seed=3),
        lambda: LossPolicy(0.97),
        DisagreementPolicy,
    ):
        lifetimes, node = begun(make(), rekey="on-learn", calibrate_every=2), 1
        while lifetimes:
            [step] = lifetimes.advance().values()
            node = 2 * node + (step.action == "learn")
        policy = make()
        priced = PricedTable(table, TARIFFS["constant"], MODELS["flops"], observes=policy.observes)
        assert priced.run(policy) == node
        again = make()
        learns = np.zeros(1 << N, dtype=np.int64)
        for depth in range(N):
            learns[node >> (N - depth)] = again.decide(priced.observation(node >> (N - depth))) == Action.LEARN
        assert priced.follow(learns) == node


def test_a_schedule_reads_as_it_is_numbered():
    assert [schedule_of(leaf) for leaf in range(8, 16)] == ["MMM", "MML", "MLM", "MLL", "LMM", "LML", "LLM", "LLL"]
    assert schedule_of(1) == ""


@pytest.mark.parametrize("cost_weight", [0.0, 1.0, 10.0, 1e6])
def test_the_best_schedule_is_the_best_of_all(cost_weight):
    table = table_of("never", 2)
    priced = PricedTable(table, TARIFFS["changing"], MODELS["flops"])
    worth = {leaf: table.accuracy[leaf, 0] - cost_weight * priced.spent[leaf] for leaf in range(1 << N, 2 << N)}
    best = priced.best(cost_weight)
    assert worth[best] == max(worth.values())
    assert best == min(leaf for leaf in worth if worth[leaf] == worth[best])
    np.testing.assert_array_equal(priced.utility(cost_weight)[1 << N :], list(worth.values()))


def test_rewards_sum_to_the_utility_of_the_end():
    priced = PricedTable(table_of(), TARIFFS["changing"], MODELS["energy"])
    values = priced.utility(0.3)
    assert np.isnan(values[0])
    assert values[1] == 0
    for leaf in range(1 << N, 2 << N):
        path = [leaf >> up for up in range(N, -1, -1)]
        assert sum(np.diff(values[path])) == pytest.approx(values[leaf])


def test_a_table_that_misses_a_branch_is_not_put_together():
    rows = Rows()
    grow(Episode(begun(Undecided("memory"))), 1, rows)
    del rows.steps[5]
    with pytest.raises(AssertionError, match="nodes missing"):
        assemble([rows.as_arrays()], FACTS, [1] * N)


# Files


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "table.npz"
    path.write_bytes(table_of("on-learn", 2).as_npz())
    return path


def test_a_table_is_read_as_it_was_written(written):
    table = table_of("on-learn", 2)
    assert same_table(read_table(written), table)
    assert read_table(written).as_npz() == table.as_npz() == written.read_bytes()


def test_rows_that_were_put_on_disk_in_between_give_the_same_table():
    whole, parts = table_of("on-learn", 2), []
    first = Rows()
    for node, episode in expand(
        Episode(begun(Undecided("memory"), rekey="on-learn", calibrate_every=2)), 1, first
    ).items():
        rest, state = Rows(), io.BytesIO()
        torch.save(episode.state(), state)
        resumed = Episode(begun(Undecided("memory"), rekey="on-learn", calibrate_every=2))
        resumed.load_state(torch.load(io.BytesIO(state.getvalue()), weights_only=True))
        grow(resumed, node, rest)
        parts.append(rest.as_arrays())
    assert same_table(assemble([*parts, first.as_arrays()], whole.facts, whole.n_samples.tolist()), whole)


def assert_no_table(path):
    with pytest.raises(
        RunError, match=r"expected a schedule table at .*, got: .*; `lifetime tree` grows one"
    ) as raised:
        read_table(path)
    assert "\n" not in str(raised.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert_no_table(tmp_path / "none.npz")
    assert_no_table(tmp_path)


def test_truncated_files_are_refused(written):
    content = written.read_bytes()
    for n in (0, 1, 100, len(content) // 2, len(content) - 1):
        written.write_bytes(content[:n])
        assert_no_table(written)


def test_a_file_with_a_byte_changed_is_refused_or_tells_the_same(written):
    content, table, generator = written.read_bytes(), read_table(written), np.random.default_rng(0)
    n_refused = 0
    for place in generator.integers(len(content), size=150).tolist():
        written.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        try:
            assert same_table(read_table(written), table)
        except RunError:
            n_refused += 1
    assert n_refused > 75


def changed(path, **members):
    """The table with members changed or, if None, left out."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    for name, value in members.items():
        if value is None:
            del content[f"{name}.npy"]
        else:
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(value))
            content[f"{name}.npy"] = member.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in content.items():
            archive.writestr(name, value)


def facts_with(**more):
    facts = {"format": "learn-or-memorize schedule table 4", **table_of("on-learn", 2).facts, **more}
    return np.frombuffer(json.dumps(facts).encode(), np.uint8)


@pytest.mark.parametrize(
    "members",
    [
        {"accuracy": None},
        {"facts": None},
        {"facts": np.frombuffer(b"[1, 2]", np.uint8)},
        {"facts": np.frombuffer(b"{broken", np.uint8)},
        {"facts": facts_with(format="another")},
        {"facts": facts_with(settings={})},
        {"facts": facts_with(prices=[1.0])},
        {"accuracy": np.ones(32)},
        {"accuracy": np.ones((32, 3), dtype=np.float32)},
        {"accuracy": np.full((32, 3), np.nan)},
        {"flops": np.ones((32, 3), dtype=np.int64)},
        {"n_samples": np.ones(5, dtype=np.int64)},
        {"n_samples": np.ones(0, dtype=np.int64)},
        {"n_samples": np.ones((4, 1), dtype=np.int64)},
        {"n_samples": np.ones(10**6, dtype=np.int64)},
        {"learner_look": np.ones(16)},
    ],
    ids=lambda members: next(iter(members)),
)
def test_foreign_files_are_refused(written, members):
    changed(written, **members)
    assert_no_table(written)


def test_an_archive_of_other_arrays_is_refused(written):
    np.savez(written, rows=np.ones(3))
    assert_no_table(written)


@pytest.mark.parametrize("how", ["a member", "the file", "an object array"])
def test_code_in_a_file_is_not_run(written, tmp_path, how):
    mark = tmp_path / "mark"
    if how == "the file":
        written.write_bytes(pickle.dumps(Trap(mark)))
    elif how == "an object array":
        changed(written, accuracy=np.array([Trap(mark)], dtype=object))
    else:
        with zipfile.ZipFile(written, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("accuracy.npy", pickle.dumps(Trap(mark)))
    mark.unlink(missing_ok=True)
    assert_no_table(written)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("accuracy", 1.5, "nodes without an accuracy in 0..1"),
        ("n_samples", 0, "chunks without samples"),
        ("flops", -1, "amounts below 0"),
        ("learner_look", 2**62, "amounts below 0 or above"),
        ("signals", -1.0, "signals below 0"),
    ],
)
def test_tables_with_impossible_contents_are_refused(tmp_path, name, value, message):
    table = synthetic(0, 3)
    values = getattr(table, name).copy()
    values[2] = value
    path = tmp_path / "table.npz"
    path.write_bytes(replace(table, **{name: values}).as_npz())
    with pytest.raises(RunError, match=message):
        read_table(path)


def test_what_is_no_file_is_no_table(tmp_path):
    os.mkfifo(tmp_path / "table.npz")
    with pytest.raises(RunError, match="no such file"):
        read_table(tmp_path / "table.npz")
