"""Agents that share a learner: each lifetime equals to the bit the one that its method lives alone."""

import random
from dataclasses import replace
from functools import partial
from itertools import product
from math import inf
from typing import NamedTuple

import pytest
import torch

from agent.accounting.costs import COST_MODELS
from agent.accounting.work import Charge, Work
from agent.agent import Agent
from agent.errors import ContractError, InvalidSetting
from agent.evaluation.plan import EvaluationPlan
from agent.learners import CooldownLearner, OnlineLearner, RefitLearner
from agent.learners.training import Training
from agent.lifetime.loop import Lifetimes
from agent.memory import CacheMemory, KnnMemory, ResidualMemory, RidgeMemory
from agent.memory.bounded import Capacity, bounded
from agent.memory.consolidation import Consolidation
from agent.memory.herding import Herding
from agent.memory.rekeying import Rekeying
from agent.networks.keys import Columns, KeyPlaces, joint_keys
from agent.operations import OPERATIONS, Action
from agent.policies import (
    DisagreementPolicy,
    ForecastPolicy,
    InterleavedPolicy,
    LossPolicy,
    Policy,
    StaticPolicy,
)
from tests.agent.memory.nearest import NearestMemory
from tests.agent.three_actions import REHEARSE, rehearse  # noqa: F401 (a fixture)
from tests.agent.toys import N_CLASSES, same, toy_images, toy_network, toy_stream, toy_training

KINDS = {
    "online": partial(OnlineLearner, epochs=2, ema_decay=0.9),
    "cooldown": partial(CooldownLearner, epochs=2, share=0.5),
    "refit": partial(RefitLearner, epochs=2),
}
FAST_KINDS = ["online", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("cooldown", "refit"))]
WHOLE, POOLED = KeyPlaces(pooled=False), KeyPlaces(pooled=True)
MEMORIES = {
    "cache": (CacheMemory, WHOLE),
    "cache of other keys": (CacheMemory, KeyPlaces(("stem", "features"))),
    "ridge": (RidgeMemory, POOLED),
    "nearest": (partial(NearestMemory, capacity=20), POOLED),
    "residual": (ResidualMemory, POOLED),
    "knn of 20": (lambda n_classes: bounded(KnnMemory(n_classes), Capacity(20), Herding()), POOLED),
}


class Turns(Policy):
    """One action after the other."""

    needs_actions = ("consolidate",)

    def decide(self, observation):
        return Action(("memorize", "consolidate", "learn", "consolidate", "memorize")[observation.step % 5])


class Also(Policy):
    """The same with BOTH."""

    needs_actions = ("both",)

    def decide(self, observation):
        return Action(("both", "memorize", "both", "learn", "both")[observation.step % 5])


POLICIES = {
    "turns": Turns,
    "also": Also,
    "k40": lambda: StaticPolicy(40),
    "k100": lambda: StaticPolicy(100),
    "interleaved": lambda: InterleavedPolicy(40),
    "loss": lambda: LossPolicy(0.97),
    "disagreement": lambda: DisagreementPolicy(0.3),
    "forecast": lambda: ForecastPolicy(noise=0.1),
}
STREAM = toy_stream([8, 8, 8, 5, 8, 8])
PRICES = (1, 2, 0.5, 1, 3, 1)
PLAN = EvaluationPlan(toy_images(12, seed=50), toy_images(15, seed=60))
PLANS = {
    "plain": {},
    "evaluated": {"every": 2, "prequential": True},
    "experiences": {"every": 1, "groups": torch.arange(15) % 3, "prequential": True},
    "asked": {"after": frozenset({2}), "queries": 3},
}
WAYS = [
    *(("online", how) for how in PLANS),
    ("cooldown", "experiences"),
    ("cooldown", "asked"),
    ("refit", "evaluated"),
]
"""The other learners are much like the first."""


class Method(NamedTuple):
    """What is not the learner."""

    memory: str = "cache"
    policy: str = "k40"
    rekey: str = "never"
    calibrate_every: int = 0
    budget: float = inf
    consolidate: str = "never"


METHODS = [
    Method(memory, policy, rekey, calibrate_every, budget, consolidate)
    for memory, policy, rekey, calibrate_every, budget, consolidate in product(
        MEMORIES, POLICIES, ("never", "on-learn", "every:3"), (0, 2, 3), (0.5, inf), ("never", "6", "release:9")
    )
    if (memory != "ridge" or rekey == "never")
    and (policy == "turns") == (consolidate != "never")
    and (memory not in ("ridge", "nearest") or consolidate != "release:9")
]


def drawn(n, seed):
    """Different methods, with each part of them several times."""
    return random.Random(seed).sample(METHODS, n)


def lifetimes(kind, methods, names=None, **how):
    """Lifetimes of the methods, of one learner; `names` are those that live, by default all."""
    methods = {str(i): method for i, method in enumerate(methods)} if isinstance(methods, list) else methods
    network, shape = toy_network(), STREAM[0].inputs.shape[1:]
    keys, columns = joint_keys([MEMORIES[each.memory][1] for each in methods.values()], network, shape)
    learner = KINDS[kind](network, toy_training(), keys, seed=0)
    agents = {}
    for (name, method), own in zip(methods.items(), columns, strict=True):
        how_often = {"rekeying": Rekeying.parse(method.rekey), "calibrate_every": method.calibrate_every}
        consolidation, memory = Consolidation.parse(method.consolidate), MEMORIES[method.memory][0](N_CLASSES)
        both = method.policy == "also"
        agents[name] = Agent(learner, memory, consolidation=consolidation, both=both, keys=own, **how_often)
    queries = how.pop("queries", 0)
    stream = [replace(chunk, price=price, queries=queries) for chunk, price in zip(STREAM, PRICES, strict=True)]
    policies = {name: POLICIES[methods[name].policy]() for name in names or methods}
    budget = {name: method.budget for name, method in methods.items()}
    plan = replace(PLAN, **how)
    return Lifetimes(agents, stream, policies, plan, costs=COST_MODELS["energy"](), budget=budget)


def as_json(trajectory):
    return [step.as_json() for step in trajectory.steps], trajectory.initial_scores


def lived(lifetimes):
    """Trajectory and final state by name."""
    ended = {}
    while lifetimes:
        lifetimes.advance()
        ended |= {name: (as_json(trajectory), agent.state()) for name, trajectory, agent in lifetimes.ended()}
    return ended


def assert_same(together, alone):
    assert together.keys() == alone.keys()
    for name, (trajectory, state) in together.items():
        assert trajectory == alone[name][0]
        assert same(state, alone[name][1])


def each_alone(kind, methods, **how):
    return {str(i): lived(lifetimes(kind, [method], **how))["0"] for i, method in enumerate(methods)}


# Equal to lifetimes alone


@pytest.mark.parametrize("kind", FAST_KINDS)
def test_methods_that_share_a_learner_live_as_each_would_alone(kind):
    methods = [
        Method("cache"),
        Method("cache of other keys", calibrate_every=2),
        Method("ridge", "disagreement", calibrate_every=3),
        Method("cache", "loss", "on-learn", 2, 0.5),
        Method("nearest", rekey="every:3"),
        Method("ridge"),
        Method("cache", "turns", consolidate="release:9"),
        Method("knn of 20", "turns", "every:3", consolidate="6"),
        Method("cache", "also", "on-learn", 2),
        Method("knn of 20", "also"),
        Method("ridge", "also", calibrate_every=3),
    ]
    how = PLANS["experiences"]
    assert_same(lived(lifetimes(kind, methods, **how)), each_alone(kind, methods, **how))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "how"), WAYS)
def test_whatever_the_methods_are(kind, how):
    for seed in range(2):
        methods = drawn(10, seed)
        assert_same(lived(lifetimes(kind, methods, **PLANS[how])), each_alone(kind, methods, **PLANS[how]))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "how"), [("online", "asked"), ("cooldown", "asked"), ("refit", "evaluated")])
def test_one_policy_with_every_memory_and_setting(kind, how):
    """The learner is the same throughout, but for the flushes of those that re-key or calibrate."""
    methods = [method for method in METHODS if method.policy == "interleaved" and method.budget == inf]
    assert_same(lived(lifetimes(kind, methods, **PLANS[how])), each_alone(kind, methods, **PLANS[how]))


def test_methods_with_one_agent_share_it_too():
    learner = KINDS["online"](toy_network(), toy_training(), POOLED)
    one, other = Agent(learner, CacheMemory(N_CLASSES)), Agent(learner, RidgeMemory(N_CLASSES))
    policies = {"a": StaticPolicy(40), "b": StaticPolicy(40), "c": StaticPolicy(40)}
    shared = Lifetimes({"a": one, "b": other, "c": one}, STREAM, policies, PLAN)
    while shared:
        shared.advance()
    (_, _, a), (_, _, c), (_, _, b) = shared.ended()
    assert a is c is one
    assert b is other
    assert a.learner is b.learner


# Checkpoints and forks


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "how"), WAYS)
def test_they_go_on_from_any_checkpoint_to_the_bit(kind, how, tmp_path):
    methods = {str(i): method for i, method in enumerate(drawn(8, seed=7))}
    whole, saved, steps, ended = lifetimes(kind, methods, **PLANS[how]), [], {name: [] for name in methods}, {}
    while whole:
        for name, step in whole.advance().items():
            steps[name].append(step)
        ended |= {name: (as_json(trajectory), agent.state()) for name, trajectory, agent in whole.ended()}
        if whole:
            saved.append(tmp_path / f"{len(saved)}.pt")
            torch.save(whole.state(), saved[-1])
    for path in saved[:: max(1, len(saved) // 8)]:
        state = torch.load(path, weights_only=True)
        Lifetimes.check_state(state, path)
        n_lived = Lifetimes.n_steps_in(state)
        resumed = lifetimes(kind, methods, names=n_lived, **PLANS[how])
        resumed.load_state(state, {name: steps[name][:n] for name, n in n_lived.items()})
        assert_same(lived(resumed), {name: ended[name] for name in n_lived})


def test_a_checkpoint_has_a_shared_learner_once():
    shared = lifetimes("online", [Method("cache"), Method("ridge"), Method("cache of other keys")])
    shared.advance()
    [branch] = shared.state()["branches"]
    assert "network" in branch["learner"]
    assert [cohort["agent"].keys() & {"learner"} for cohort in branch["cohorts"]] == [set()] * 3


@pytest.mark.parametrize("kind", FAST_KINDS)
def test_forks_go_their_own_ways(kind):
    methods = [Method("cache", calibrate_every=2), Method("ridge", "loss"), Method("cache of other keys")]
    whole = lived(lifetimes(kind, methods, **PLANS["evaluated"]))
    forked = lifetimes(kind, methods, **PLANS["evaluated"])
    forks = []
    while forked:
        forked.observe()
        forks.append(forked.fork())
        forked.advance()
    for fork in forks[::3]:
        ended = {name: (as_json(trajectory), agent.state()) for name, trajectory, agent in fork.ended()}
        assert_same(ended | lived(fork), whole)


# Work that is done once


@pytest.fixture
def done(monkeypatch):
    """Gradient steps, and forward passes with the number of inputs, of whatever is lived."""
    noted, step, look = [], Training.step, Training.look

    def looking(self, network, inputs, keys, **how):
        noted.append(f"forward {len(inputs)}")
        return look(self, network, inputs, keys, **how)

    monkeypatch.setattr(Training, "step", lambda *args, **named: noted.append("step") or step(*args, **named))
    monkeypatch.setattr(Training, "look", looking)

    def of(*args, **how):
        noted.clear()
        lived(lifetimes(*args, **how))
        return sorted(noted)

    return of


@pytest.mark.parametrize("calibrate_every", [0, 2])
@pytest.mark.parametrize("policy", ["k40", "loss"])
@pytest.mark.parametrize(
    "how", [*(pytest.param(how, marks=pytest.mark.slow) for how in ("plain", "evaluated", "experiences")), "asked"]
)
@pytest.mark.parametrize("kind", FAST_KINDS)
def test_a_learner_of_several_agents_does_what_it_does_for_one(done, kind, how, policy, calibrate_every):
    methods = [Method(memory, policy, calibrate_every=calibrate_every) for memory in MEMORIES]
    alone = done(kind, methods[:1], **PLANS[how])
    assert done(kind, methods, **PLANS[how]) == alone
    assert {"step", "forward 12", "forward 15"} <= set(alone)


def test_a_learner_is_forked_only_where_decisions_differ(done):
    methods = [Method(memory, policy) for policy in ("k40", "k100") for memory in MEMORIES]
    steps = done("online", methods).count("step")
    assert steps == done("online", [Method(policy="k40"), Method(policy="k100")]).count("step")
    assert steps == done("online", [Method(policy="k100")]).count("step")


# Operations of third parties


@pytest.mark.parametrize("kind", FAST_KINDS)
def test_an_operation_that_may_do_anything_is_performed_apart(kind, rehearse, monkeypatch):  # noqa: F811
    class Scripted(Policy):
        def __init__(self, observes="nothing"):
            self.observes = observes

        def decide(self, observation):
            names = ("learn", "rehearse", "memorize", "rehearse", "rehearse", "learn")
            return type(REHEARSE)(names[observation.step])

    monkeypatch.setitem(POLICIES, "scripted", Scripted)
    monkeypatch.setitem(POLICIES, "scripted and looking", lambda: Scripted("memory"))
    methods = [
        Method("cache", "scripted"),
        Method("ridge", "scripted and looking", calibrate_every=2),
        Method("cache of other keys", "scripted", "on-learn"),
        Method("cache", "k40"),
    ]
    how = PLANS["evaluated"]
    assert_same(lived(lifetimes(kind, methods, **how)), each_alone(kind, methods, **how))


def test_outputs_that_were_paid_for_are_paid_for_once_by_those_who_part(rehearse, monkeypatch):  # noqa: F811
    """Of three that look, two decide otherwise than the one that stays on the branch."""
    for name, action in (("all M", "memorize"), ("all R", "rehearse")):

        class Always(Policy):
            observes = "learner"

            def __init__(self, name):
                self.name = name

            def decide(self, observation):
                return type(REHEARSE)(self.name)

        monkeypatch.setitem(POLICIES, name, partial(Always, action))
    methods = [Method("cache", "all M"), Method("cache", "all R"), Method("ridge", "all R")]
    assert_same(lived(lifetimes("online", methods)), each_alone("online", methods))


@pytest.mark.parametrize("kind", FAST_KINDS)
def test_an_operation_that_says_so_is_shared(kind, rehearse, monkeypatch, done):  # noqa: F811
    def perform(agent, chunk, outputs):
        return agent.learn(chunk) + agent.memorize(chunk)

    operation = replace(OPERATIONS["rehearse"], perform=perform, outputs_account=None, shares=True)
    monkeypatch.setitem(OPERATIONS, "rehearse", operation)
    monkeypatch.setitem(POLICIES, "dice", lambda: Dice(3))
    methods = [Method("cache", "dice"), Method("ridge", "dice"), Method("cache of other keys", "dice", "on-learn", 2)]
    assert_same(lived(lifetimes(kind, methods)), each_alone(kind, methods))
    alone, together = (done(kind, some).count("step") for some in (methods[:1], methods[:2]))
    assert together == alone


class Dice(Policy):
    """Any of the operations."""

    def __init__(self, seed):
        self.seed = seed

    def decide(self, observation):
        return type(REHEARSE)(random.Random(100 * self.seed + observation.step).choice(list(OPERATIONS)))


def test_an_operation_that_says_so_wrongly_is_refused(rehearse, monkeypatch):  # noqa: F811
    monkeypatch.setitem(POLICIES, "dice", lambda: Dice(0))
    operation = replace(OPERATIONS["rehearse"], shares=True)  # memorizes, and then learns
    monkeypatch.setitem(OPERATIONS, "rehearse", operation)
    methods = [Method("cache", "dice"), Method("ridge", "dice")]
    with pytest.raises(
        ContractError, match="to use it after its last change in an operation, got a use before `learn`"
    ):
        lived(lifetimes("online", methods))

    def perform(agent, chunk, outputs):
        return agent.learn(chunk) if isinstance(agent.memory, CacheMemory) else [Charge("learn", Work(), chunk.price)]

    monkeypatch.setitem(OPERATIONS, "rehearse", replace(operation, perform=perform))
    with pytest.raises(ContractError, match="have it do the same, got 1 calls by one and 0 by another, out of learn"):
        lived(lifetimes("online", methods))


# Refused


def test_agents_of_different_learners_are_refused():
    agents = {
        name: Agent(KINDS["online"](toy_network(), toy_training(), POOLED), CacheMemory(N_CLASSES)) for name in "ab"
    }
    policies = {name: StaticPolicy(40) for name in agents}
    with pytest.raises(InvalidSetting, match=r"expected agents of one learner \(the same object\), got two"):
        Lifetimes(agents, STREAM, policies, PLAN)


def test_an_agent_or_a_budget_that_is_missing_is_named():
    agent = Agent(KINDS["online"](toy_network(), toy_training(), POOLED), CacheMemory(N_CLASSES))
    policies = {name: StaticPolicy(40) for name in "ab"}
    with pytest.raises(InvalidSetting, match="expected agents for all lifetimes, got none for b"):
        Lifetimes({"a": agent}, STREAM, policies, PLAN)
    with pytest.raises(InvalidSetting, match="expected budgets for all lifetimes, got none for a, b"):
        Lifetimes(agent, STREAM, policies, PLAN, budget={})


@pytest.mark.parametrize("columns", [Columns(0, 9), Columns(4, 4), Columns(-1, 3)])
def test_columns_that_the_learner_lacks_are_refused(columns):
    learner = KINDS["online"](toy_network(), toy_training(), POOLED)
    agent = Agent(learner, CacheMemory(N_CLASSES), keys=columns)
    with pytest.raises(InvalidSetting, match="expected columns of the learner's 8 numbers in a key, got Columns"):
        Lifetimes(agent, STREAM, {"": StaticPolicy(40)}, PLAN)


def test_calibrations_must_be_some_chunks_apart():
    learner = KINDS["online"](toy_network(), toy_training(), POOLED)
    with pytest.raises(InvalidSetting, match="expected 0 or more chunks between calibrations, got -1"):
        Agent(learner, CacheMemory(N_CLASSES), calibrate_every=-1)
