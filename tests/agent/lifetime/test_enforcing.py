"""Enforced budgets: which actions begin, what happens instead, and what is known of it."""

import json
from dataclasses import replace
from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.accounting.costs import COST_MODELS
from agent.accounting.ledger import OF_AGENT
from agent.errors import InvalidSetting, PolicyError
from agent.evaluation.plan import EvaluationPlan
from agent.evaluation.trajectory import Step
from agent.lifetime.episode import Episode, Undecided
from agent.lifetime.loop import Lifetimes, run_lifetime
from agent.memory.consolidation import Consolidation
from agent.memory.rekeying import Rekeying
from agent.operations import Action
from agent.policies import ForecastPolicy, LinUCBPolicy, Policy, StaticPolicy
from tests.agent.learners.prototypes import Prototypes
from tests.agent.lifetime.test_loop import POLICIES
from tests.agent.toys import LEARNERS, same, toy_agent, toy_images, toy_network, toy_stream, toy_training

MODEL = COST_MODELS["prices"](gflop=3.0, megabyte_written=5.0, megabyte_chunk=7.0)
SIZES = [8, 6, 8, 4, 7, 5]
PRICES = (1, 2, 0.5, 0.2, 3, 1)
PLAN = EvaluationPlan(toy_images(12, seed=50), toy_images(15, seed=60))
INSTEAD = {
    "both": ("learn", "memorize", "pass"),
    "learn": ("memorize", "pass"),
    "consolidate": ("memorize", "pass"),
    "memorize": ("pass",),
}
UNDECIDED = ("answer", "decide", "calibrate")
"""Accounts of what no action decides, without re-keying every n chunks and the preparation of networks."""


def stream(prices=PRICES, queries=0):
    chunks = zip(toy_stream(SIZES), prices, strict=True)
    return [replace(chunk, price=price, queries=queries) for chunk, price in chunks]


def undecided(costs):
    return sum(costs[account] for account in UNDECIDED)


def budget_of(share, make=LEARNERS["online"], **agent):
    """A share of what learning everything costs."""
    return (
        share * run_lifetime(toy_agent(make, **agent), stream(), StaticPolicy(100), PLAN, costs=MODEL).steps[-1].spent
    )


def episode(make, agent, chunks, observes, budget=inf, *, enforce=False):
    policies = {"": Undecided(observes)}
    return Episode(
        Lifetimes(toy_agent(make, **agent), chunks, policies, PLAN, costs=MODEL, budget=budget, enforce=enforce)
    )


def as_json(trajectory):
    return [step.as_json() for step in trajectory.steps]


lives = st.fixed_dictionaries(
    {
        "make": st.sampled_from(["online", "online-bounded", "cooldown", "refit-cold", "head"]),
        "agent": st.sampled_from(
            [
                {},
                {"memory": "ridge"},
                {"memory": "nearest", "rekeying": Rekeying(on_learn=True)},
                {"rekeying": Rekeying(on_learn=True), "calibrate_every": 2},
                {"consolidation": Consolidation(5)},
                {"both": True},
                {"consolidation": Consolidation(20, release=True)},
            ]
        ),
        "observes": st.sampled_from(["nothing", "learner", "memory"]),
        "queries": st.sampled_from([0, 3]),
        "prices": st.lists(st.sampled_from([0.0, 0.2, 1.0, 2.0]), min_size=6, max_size=6),
        "share": st.floats(0, 1.2),
        "wanted": st.lists(st.sampled_from(["learn", "memorize", "consolidate", "both"]), min_size=6, max_size=6),
    }
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(life=lives)
def test_what_begins_is_what_can_be_paid(life):
    """Each action is tried in a lifetime without enforcement that has done the same so far, to see what it costs."""
    agent, chunks = life["agent"], stream(life["prices"], life["queries"])
    make, budget = LEARNERS[life["make"]], budget_of(life["share"])
    enforced = episode(make, agent, chunks, life["observes"], budget, enforce=True)
    free = episode(make, agent, chunks, life["observes"])
    before = dict.fromkeys((*OF_AGENT, "evaluate"), 0.0)
    for number, name in enumerate(life["wanted"]):
        optional = {"consolidate": "consolidation", "both": "both"}
        wanted = Action(name if optional.get(name, name) in agent or name not in optional else "learn")
        n_left = len(SIZES) - number
        observation = enforced.observe()
        free.observe()
        assert observation.refused == sum(step.wanted is not None for step in enforced.steps) / max(1, number)
        last = enforced.steps[-1] if number else None
        assert observation.performed == (last.action if last and last.wanted else None)
        done = enforced.act(wanted)
        assert done.wanted == (None if done.action == wanted.name else wanted.name)
        tried = (wanted.name, *INSTEAD[wanted.name])
        assert done.action in tried
        for action in tried[: tried.index(done.action) + 1]:
            step = free.fork().act(Action(action))
            calibrated = step.costs["calibrate"] - before["calibrate"]  # comes after the action
            held = MODEL.of_holding(step.held_nbytes) * (n_left - 1)
            needed = step.spent - calibrated + held
            if action != done.action:  # it was refused
                assert needed > budget * (1 - 1e-6), action
            elif action != "pass":
                assert needed <= budget * (1 + 1e-6), action
        free.act(Action(done.action))
        assert done.spent == free.steps[-1].spent
        before = done.costs
    assert done.spent <= budget * (1 + 1e-6) + undecided(done.costs)


@settings(max_examples=10, deadline=None)
@given(
    share=st.floats(0, 1.5), name=st.sampled_from(sorted(POLICIES)), learner=st.sampled_from(["online", "refit-cold"])
)
def test_a_lifetime_spends_its_budget_and_what_no_action_decides(share, name, learner):
    budget = budget_of(share)
    agent = toy_agent(LEARNERS[learner], calibrate_every=2)
    steps = run_lifetime(agent, stream(), POLICIES[name](), PLAN, costs=MODEL, budget=budget, enforce=True).steps
    for step in steps:
        assert step.spent - undecided(step.costs) <= budget * (1 + 1e-6)


def test_a_budget_that_lasts_changes_nothing():
    how = {"costs": MODEL, "budget": 1e6}
    free, enforced = (
        run_lifetime(toy_agent(), stream(), POLICIES["random"](), PLAN, enforce=enforce, **how)
        for enforce in (False, True)
    )
    assert as_json(free) == as_json(enforced)
    assert all("wanted" not in step for step in as_json(enforced))


def test_without_a_budget_the_agent_passes():
    agent = toy_agent()
    before = agent.own_state()
    steps = run_lifetime(agent, stream(), StaticPolicy(50), PLAN, costs=MODEL, budget=0, enforce=True).steps
    assert [step.action for step in steps] == ["pass"] * 6
    assert [step.wanted for step in steps] == ["learn"] * 3 + ["memorize"] * 3
    assert steps[-1].spent == steps[-1].learned == steps[-1].memory_entries == 0
    assert same(agent.own_state(), before | {"n_chunks": 6})
    restored = [Step.from_json(json.loads(json.dumps(step.as_json()))) for step in steps]
    assert [step.as_json() for step in restored] == [step.as_json() for step in steps]


def test_storage_is_paid_for_until_the_end():
    """What is held costs a budget only later, but must not overdraw it."""
    dear = COST_MODELS["prices"](gflop=0.0, megabyte_chunk=1.0)
    free = run_lifetime(toy_agent(), stream(), StaticPolicy(0), PLAN, costs=dear).steps
    budget = free[0].held_nbytes * len(SIZES) * 1e-6  # for the first chunk, from the first to the last
    steps = run_lifetime(toy_agent(), stream(), StaticPolicy(0), PLAN, costs=dear, budget=budget, enforce=True).steps
    assert [step.action for step in steps] == ["memorize"] + ["pass"] * 5
    assert steps[-1].spent == pytest.approx(budget)


# Together, resumed, forked


SHARES = {"k60": 0.3, "k60 again": 0.6, "k100": 0.5, "loss": 0.4, "random": inf, "linucb": 0.7, "alternate": 0.0}
"""Policies, with their budgets as shares of what learning everything costs."""


def lifetimes(names, make):
    policies, whole = {name: POLICIES[name]() for name in names}, budget_of(1, LEARNERS[make])
    agent = toy_agent(LEARNERS[make], calibrate_every=2)
    how = {"budget": {name: SHARES[name] * whole for name in names}, "enforce": True}
    return Lifetimes(agent, stream(), policies, replace(PLAN, every=2), costs=MODEL, **how)


def lived(lifetimes):
    ended = {}
    while lifetimes:
        lifetimes.advance()
        ended |= {name: (as_json(trajectory), agent.state()) for name, trajectory, agent in lifetimes.ended()}
    return ended


@pytest.mark.slow
@pytest.mark.parametrize("make", ["online", "cooldown"])
def test_lifetimes_share_an_agent_for_as_long_as_they_do_the_same(make, tmp_path):
    whole, saved, forks, steps, together = lifetimes(SHARES, make), [], [], {name: [] for name in SHARES}, {}
    while whole:
        for name, step in whole.advance().items():
            steps[name].append(step)
        together |= {name: (as_json(trajectory), agent.state()) for name, trajectory, agent in whole.ended()}
        if whole:
            saved.append(tmp_path / f"{len(saved)}.pt")
            torch.save(whole.state(), saved[-1])
            forks.append(whole.fork())
    assert sum(step.wanted is not None for of_one in steps.values() for step in of_one) > 10
    for name in SHARES:
        assert_same(lived(lifetimes([name], make)), together)
    for path, fork in zip(saved[1::6], forks[1::6], strict=True):
        state = torch.load(path, weights_only=True)
        Lifetimes.check_state(state, path)
        n_lived = Lifetimes.n_steps_in(state)
        resumed = lifetimes(n_lived, make)
        resumed.load_state(state, {name: steps[name][:n] for name, n in n_lived.items()})
        assert_same(lived(resumed), together)
        assert_same(lived(fork), together)


def assert_same(ended, together):
    for name, (trajectory, agent) in ended.items():
        assert trajectory == together[name][0]
        assert same(agent, together[name][1])


# What policies know


class Noting(Policy):
    """Learns, and notes what it was told."""

    def __init__(self):
        self.told = []

    def decide(self, observation):
        self.told.append([observation.refused, observation.performed])
        return Action.LEARN


def test_policies_see_refusals():
    policy = Noting()
    steps = run_lifetime(toy_agent(), stream(), policy, PLAN, costs=MODEL, budget=budget_of(0.5), enforce=True).steps
    done = [step.action for step in steps]
    assert {"learn", "memorize", "pass"} == {*done}
    for number, (refused, performed) in enumerate(policy.told):
        before = done[:number]
        assert refused == pytest.approx(sum(action != "learn" for action in before) / max(1, number))
        assert performed == (before[-1] if before and before[-1] != "learn" else None)


def test_bandits_learn_from_what_was_performed():
    policy = LinUCBPolicy(cost_weight=0.0, alpha=0.0)
    start = {name: list(map(list, gram)) for name, gram in policy.gram.items()}
    steps = run_lifetime(toy_agent(), stream(), policy, PLAN, costs=MODEL, budget=budget_of(0.01), enforce=True).steps
    assert {step.action for step in steps} == {"pass"}
    assert policy.gram == start
    policy = LinUCBPolicy(cost_weight=0.0, alpha=0.0)
    steps = run_lifetime(toy_agent(), stream(), policy, PLAN, costs=MODEL, budget=budget_of(0.25), enforce=True).steps
    rewarded = [step.action for step in steps[:-1]]
    assert any(step.wanted for step in steps[:-1])
    for name in ("learn", "memorize"):  # the first feature of each context is 1
        assert policy.gram[name][0][0] == 1 + rewarded.count(name)


def test_forecasts_count_what_was_performed():
    policy = ForecastPolicy(noise=0.1, cost_weight=0.0)
    steps = run_lifetime(toy_agent(), stream(), policy, PLAN, costs=MODEL, budget=budget_of(0.3), enforce=True).steps
    before = [step.action for step in steps[:-1]]
    assert "pass" in before
    assert any(step.wanted == "learn" for step in steps[:-1])
    order = sum(before[:i].count("learn") for i, action in enumerate(before) if action == "memorize")
    assert policy.counts_before == [before.count("learn"), before.count("memorize"), order]


# What is refused


def test_no_policy_may_pass():
    class Passing(Policy):
        def decide(self, observation):
            return Action.PASS

    with pytest.raises(PolicyError, match=r"an Action out of memorize, learn, got Action\(name='pass'\)"):
        run_lifetime(toy_agent(), stream(), Passing(), PLAN, budget=1.0, enforce=True)


def test_a_learner_that_cannot_estimate_has_no_enforced_budget():
    def make(seed):
        return Prototypes(toy_network(), toy_training())

    for free in ({"budget": 1.0}, {"enforce": True}):
        assert run_lifetime(toy_agent(make), stream(), StaticPolicy(50), PLAN, **free).steps
    with pytest.raises(InvalidSetting, match="for an enforced budget, got Prototypes; another learner"):
        run_lifetime(toy_agent(make), stream(), StaticPolicy(50), PLAN, budget=1.0, enforce=True)
