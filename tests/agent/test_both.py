"""BOTH: learn the chunk, and then memorize it under the keys of the network after that."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.accounting.costs import CostModel
from agent.accounting.ledger import Ledger
from agent.agent import Agent
from agent.errors import InvalidSetting, PolicyError
from agent.evaluation.plan import EvaluationPlan
from agent.lifetime.loop import run_lifetime
from agent.memory import CacheMemory, KnnMemory, RidgeMemory
from agent.memory.bounded import Capacity, bounded
from agent.memory.consolidation import Consolidation
from agent.memory.eviction import Fifo, Reservoir
from agent.memory.rekeying import Rekeying
from agent.memory.transform import Centre
from agent.memory.transformed import transformed
from agent.operations import OPERATIONS, Action, offered
from agent.policies import Observation, Policy, StaticPolicy
from agent.policies.learning import LearningPolicy
from agent.policies.registry import POLICIES
from agent.testing import check_policy
from tests.agent.toys import LEARNERS, N_CLASSES, online, same, toy_agent, toy_chunk, toy_images, toy_stream

PLAN = EvaluationPlan(toy_images(10, seed=50), toy_images(11, seed=60), every=2)
MODEL = CostModel("test", "unit", per_flop=3e-9, per_byte_written=5e-6, per_byte_chunk=7e-6)
ACTIONS = {OPERATIONS[name].letter: Action(name) for name in OPERATIONS}
SOME_LEARNERS = ("online", "online-bounded", "cooldown", "refit-cold", "er", "head")
MEMORIES = {
    "cache": CacheMemory,
    "ridge": RidgeMemory,
    "knn of 9": lambda n_classes: bounded(KnnMemory(n_classes), Capacity(entries=9), Fifo()),
    "mapped": lambda n_classes: transformed(CacheMemory(n_classes), Centre()),
}


def amounts(bill):
    return [(each.account, each.work.flops, each.work.nbytes, each.price) for each in bill]


def test_only_agents_that_were_told_offer_it():
    assert toy_agent(both=True).operations == ("memorize", "learn", "both")
    assert offered(Consolidation(5), both=True) == tuple(OPERATIONS) == ("memorize", "learn", "consolidate", "both")
    assert "both" not in toy_agent(consolidation=Consolidation(5)).operations


@pytest.mark.parametrize("rekeying", ["never", "on-learn", "every:2"])
@pytest.mark.parametrize("make", SOME_LEARNERS)
def test_it_is_learn_and_then_memorize(make, rekeying):
    how = {"rekeying": Rekeying.parse(rekeying)}
    agent, by_hand = toy_agent(LEARNERS[make], both=True, **how), toy_agent(LEARNERS[make], **how)
    for chunk in toy_stream([8, 5, 8]):
        chunk = replace(chunk, price=1.0 + chunk.step)
        bill = agent.perform(Action.BOTH, chunk)
        other = by_hand.learn(chunk) + by_hand.memorize(chunk)
        by_hand.n_chunks += 1
        assert amounts(bill) == amounts(other)
        assert amounts(agent.rekey_if_due(chunk.price)) == amounts(by_hand.rekey_if_due(chunk.price))
        assert same(agent.state(), by_hand.state())
    assert agent.n_learned == agent.n_memorized == agent.memory.n_entries == 21


@pytest.mark.parametrize("make", SOME_LEARNERS)
def test_keys_are_those_of_the_network_that_has_learned_the_chunk(make):
    agent, chunk = toy_agent(LEARNERS[make], both=True), toy_chunk(8)
    agent.prepare(chunk)
    before = agent.forward(chunk.inputs)[0]
    agent.perform(Action.BOTH, chunk, before)
    after = agent.forward(chunk.inputs)[0]
    assert not agent.learner.pending
    assert not agent.stale
    expected = CacheMemory(N_CLASSES)
    expected.insert(after, chunk.labels, torch.arange(8))
    assert same(agent.memory.state(), expected.state())
    assert not torch.allclose(before.probabilities, after.probabilities)


def test_a_lazy_learner_trains_on_all_for_each_chunk():
    agent, stream = toy_agent(LEARNERS["refit-cold"], both=True), toy_stream([8, 8, 8])
    trained = []
    for chunk in stream:
        bill = agent.perform(Action.BOTH, chunk)
        trained.append(sum(each.work.samples for each in bill if each.account == "learn"))
    assert trained == [16, 32, 48], "two epochs of all chunks so far"


# With consolidation


@pytest.mark.parametrize("rekeying", ["never", "on-learn"])
@pytest.mark.parametrize("consolidation", ["99", "release:99"])
def test_what_was_learned_is_not_learned_again(consolidation, rekeying):
    agent = toy_agent(consolidation=Consolidation.parse(consolidation), rekeying=Rekeying.parse(rekeying), both=True)
    waiting = []
    for letter, chunk in zip("MBMC", toy_stream([4, 5, 3, 2]), strict=True):
        before = agent.n_learned
        agent.perform(ACTIONS[letter], chunk)
        waiting.append((letter, len(agent.raw_images.unlearned), agent.n_learned - before))
        kept = agent.memory.n_entries if rekeying != "never" else len(agent.raw_images.unlearned)
        assert len(agent.raw_images) == kept
    assert waiting == [("M", 4, 0), ("B", 4, 5), ("M", 7, 0), ("C", 0, 9)]
    rows = [tuple(row) for row in agent.learner.samples.rows.flatten(1).tolist()]
    assert len(set(rows)) == len(rows) == 14
    assert agent.memory.n_entries == (5 if agent.consolidation.release else 14)


# What it costs


@pytest.mark.parametrize("make", SOME_LEARNERS)
@settings(max_examples=8, deadline=None)
@given(
    memory=st.sampled_from(list(MEMORIES)),
    rekeying=st.sampled_from(["never", "on-learn", "every:2"]),
    consolidation=st.sampled_from(["never", "5"]),
    decided=st.text("MLBC", min_size=4, max_size=4),
)
def test_an_estimate_is_what_is_billed(make, memory, rekeying, consolidation, decided):
    agent = Agent(
        LEARNERS[make](0),
        MEMORIES[memory](N_CLASSES),
        rekeying=Rekeying.parse(rekeying if memory != "ridge" else "never"),
        consolidation=Consolidation.parse(consolidation),
        both=True,
    )
    ledger = Ledger(MODEL)
    for letter, chunk in zip(decided, toy_stream([8, 5, 8, 7]), strict=True):
        chunk = replace(chunk, price=0.5 + chunk.step)
        agent.prepare(chunk)
        trial = agent.fork()
        told, held, stored = trial.estimate_learning_and_memorizing(chunk), trial.memory_nbytes, trial.learner.nbytes
        bill = trial.learn_and_memorize(chunk)
        assert not trial.learner.pending
        assert told.flops == sum(charge.work.flops for charge in bill)
        assert ledger.cost_of(told.whole) == pytest.approx(ledger.cost_of(bill))
        waits_unknown = consolidation != "never" and memory == "knn of 9"  # which of them are evicted
        assert told.held_nbytes == trial.memory_nbytes - held or waits_unknown
        assert told.samples_nbytes == trial.learner.nbytes - stored
        agent.perform(ACTIONS[letter if letter != "C" or consolidation != "never" else "L"], chunk)
        agent.rekey_if_due(chunk.price)


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=2, max_size=5), nbytes=st.integers(3_000, 9_000))
def test_a_capacity_that_is_shared_holds(sizes, nbytes):
    learner = online(stored=4)
    memory = bounded(CacheMemory(N_CLASSES), Capacity(nbytes=nbytes, shared=True), Reservoir())
    agent = Agent(learner, memory, both=True)
    for chunk in toy_stream(sizes):
        agent.perform(Action.BOTH, chunk)
        assert agent.nbytes <= nbytes
        assert agent.memory.reserved_nbytes == learner.nbytes > 0


# Who takes it


class Watching(Policy):
    def __init__(self):
        self.seen = []

    def decide(self, observation):
        self.seen.append(observation)
        return Action(observation.actions[-1])


@pytest.mark.parametrize("observes", ["nothing", "memory"])
def test_lifetimes_observe_it_if_it_is_offered(observes):
    stream = [replace(chunk, price=price) for chunk, price in zip(toy_stream([6, 6, 6]), (1, 2, 0.5), strict=True)]
    for both in (False, True):
        agent, policy = toy_agent(both=both), Watching()
        policy.observes, policy.state = observes, dict
        steps = run_lifetime(agent, stream, policy, PLAN, costs=MODEL).steps
        if not both:
            assert all(each.both_gflop != each.both_gflop for each in policy.seen)
            assert {len(each.vector()) for each in policy.seen} == {len(Observation.names())}
            continue
        names = Observation.names(agent.operations)
        assert names == (*Observation.names(), "both_gflop", "both_cost")
        assert [step.learned for step in steps] == [step.memory_entries for step in steps] == [6, 12, 18]
        for seen, step, before in zip(policy.seen, steps, [None, *steps], strict=False):
            accounts = ("memorize", "learn")
            flops = sum(step.work[a].flops - (before.work[a].flops if before else 0) for a in accounts)
            paid = sum(step.costs[a] - (before.costs[a] if before else 0) for a in accounts)
            held = MODEL.of_holding(step.memory_nbytes - (before.memory_nbytes if before else 0))
            assert seen.vector()[-2:].tolist() == [seen.both_gflop, seen.both_cost]
            assert seen.both_gflop == pytest.approx(flops / 1e9)
            assert seen.both_cost == pytest.approx(paid + held)


TAKES_BOTH = [name for name, kind in POLICIES.items() if issubclass(kind, LearningPolicy)]


def test_policies_that_only_choose_when_to_learn_can_take_it():
    others = ("sleep", "budget", "linucb", "thompson", "forecast")
    assert sorted([*TAKES_BOTH, *others]) == sorted(POLICIES)


@pytest.mark.parametrize("name", TAKES_BOTH)
def test_with_both_a_policy_takes_it_where_it_would_learn(name):
    given_ = {"static": {"k": 40}, "interleaved": {"k": 40}, "periodic": {"period": 3}}.get(name, {})
    check_policy(lambda: POLICIES[name](**given_, both=True))
    with pytest.raises(InvalidSetting, match=r"expected an agent that offers both for .*, got one .*; --both, or"):
        run_lifetime(toy_agent(), toy_stream([4]), POLICIES[name](**given_, both=True), PLAN)
    plain, also = POLICIES[name](**given_), POLICIES[name](**given_, both=True)
    generator = torch.Generator().manual_seed(0)
    names, letters = Observation.names(), set()
    for step in range(30):
        values = dict(zip(names, torch.rand(len(names), generator=generator).tolist(), strict=True))
        values |= {"step": step, "n_chunks": 30, "n_samples": 10, "memory_entries": step, "memory_nbytes": 100 * step}
        values["price"] *= 2
        learned, taken = (policy.decide(Observation.of(values)) for policy in (plain, also))
        assert taken == (Action.BOTH if learned == Action.LEARN else Action.MEMORIZE)
        letters.add(taken.operation.letter)
    assert letters == {"B", "M"}


def test_a_policy_that_chooses_what_is_not_offered_is_told_how():
    class Greedy(StaticPolicy):
        def decide(self, observation):
            return Action.BOTH

    with pytest.raises(PolicyError, match=r"out of memorize, learn, got Action\(name='both'\); --both offers it$"):
        run_lifetime(toy_agent(), toy_stream([4]), Greedy(50), PLAN)
