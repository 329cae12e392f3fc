"""Streams that do not wait: what is missed, who answers meanwhile, and what it costs."""

import copy
import json
from math import ceil, inf, nextafter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.accounting.costs import COST_MODELS
from agent.data.sample_store import LABEL_NBYTES
from agent.errors import InvalidSetting
from agent.evaluation.plan import EvaluationPlan
from agent.evaluation.trajectory import Step
from agent.lifetime.episode import Episode, Undecided
from agent.lifetime.loop import Lifetimes, run_lifetime
from agent.memory.consolidation import Consolidation
from agent.memory.rekeying import Rekeying
from agent.operations import Action
from agent.policies import Policy, StaticPolicy
from tests.agent.learners.prototypes import Prototypes
from tests.agent.lifetime.test_enforcing import MODEL, PLAN, as_json, lived, stream
from tests.agent.lifetime.test_loop import POLICIES
from tests.agent.toys import LEARNERS, same, toy_agent, toy_images, toy_network, toy_training

AGENTS = [
    {},
    {"memory": "ridge"},
    {"memory": "nearest", "rekeying": Rekeying(on_learn=True)},
    {"rekeying": Rekeying(every=2)},
    {"both": True},
    {"consolidation": Consolidation(5), "both": True},
    {"consolidation": Consolidation(20, release=True)},
]


class Scripted(Policy):
    """Decides as it is told, and notes what it sees."""

    def __init__(self, names, observes="nothing"):
        self.names, self.observes, self.seen = list(names), observes, []

    def decide(self, observation):
        self.seen.append(observation)
        return Action(self.names[len(self.seen) - 1])


def flops_of(bill):
    return sum(charge.work.flops for charge in bill)


def done_by_hand(agent, chunks, names, speed, observes):
    """The same life, told slowly: for each chunk accuracy before it, what is done, and the state of the agent after it.

    What an action takes is measured on an agent of the same past.
    """
    told, names, doing, flops = [], iter(names), None, 0
    for t, chunk in enumerate(chunks):
        agent.prepare(chunk)
        correct = agent.answer(chunk.inputs)[0].agent.argmax(dim=1) == chunk.labels
        before, name, takes = agent.state(), "pass", None
        if doing is None:
            name = next(names)
            tried = agent.fork()
            looked = agent.forward(chunk.inputs)[0] if observes else None
            bill = tried.perform(Action(name), chunk, looked) + tried.flush()
            takes = max(1, ceil(flops_of(bill) / speed))
            doing = (name, chunk, t + takes - 1)
        if t >= doing[2] or t + 1 == len(chunks):
            looked = agent.forward(doing[1].inputs)[0] if observes else None
            n_chunks = agent.n_chunks
            flops += flops_of(agent.perform(Action(doing[0]), doing[1], looked) + agent.flush())
            doing = None
            assert agent.n_chunks == n_chunks + 1
        else:
            agent.perform(Action.PASS, chunk)
        agent.rekey_if_due(chunk.price)
        told.append((correct.float().mean().item(), name, takes, flops, before, agent.state()))
    return told


@settings(max_examples=15, deadline=None)
@given(
    make=st.sampled_from(["online", "online-bounded", "er", "cooldown", "refit-cold"]),
    agent=st.sampled_from(AGENTS),
    names=st.lists(st.sampled_from(["learn", "memorize", "consolidate", "both"]), min_size=6, max_size=6),
    observes=st.sampled_from(["nothing", "learner", "memory"]),
    slowness=st.floats(0.2, 5),
)
def test_a_life_is_that_told_slowly(make, agent, names, observes, slowness):
    offers = toy_agent(LEARNERS[make], **agent).operations
    names = [name if name in offers else "learn" for name in names]
    plan = EvaluationPlan(PLAN.validation, PLAN.test, prequential=True)
    free = run_lifetime(toy_agent(LEARNERS[make], **agent), stream(), StaticPolicy(100), PLAN).steps
    speed = max(1.0, free[-1].work["learn"].flops / len(free) / slowness)
    policy, lively = Scripted(names, observes), toy_agent(LEARNERS[make], **agent)
    steps = run_lifetime(lively, stream(), policy, plan, speed=speed).steps
    told = done_by_hand(toy_agent(LEARNERS[make], **agent), stream(), names, speed, observes != "nothing")
    assert [step.prequential.agent for step in steps] == pytest.approx([each[0] for each in told])
    assert [step.action for step in steps] == [each[1] for each in told]
    assert [1 if step.takes is None and not step.missed else step.takes for step in steps] == [each[2] for each in told]
    assert [step.missed for step in steps] == [each[2] is None for each in told]
    assert len(policy.seen) == sum(not step.missed for step in steps)
    performed = [
        sum(step.work[account].flops for account in ("learn", "memorize"))
        + (step.work["rekey"].flops if "rekeying" in agent and agent["rekeying"].on_learn else 0)
        for step in steps
    ]
    assert performed == [each[3] for each in told]
    assert same({**told[-1][5], "mixture": None}, {**lively.state(), "mixture": None})  # which is fitted at the end


def test_as_fast_as_the_stream_is_as_if_it_waited():
    waiting, fast = (
        run_lifetime(toy_agent(), stream(), StaticPolicy(50), PLAN, costs=MODEL, speed=speed) for speed in (inf, 1e30)
    )
    assert as_json(waiting) == as_json(fast)


def test_it_takes_one_chunk_more_if_it_takes_any_longer():
    """The first action takes just as long as two chunks, or a little more."""
    [first, *_] = run_lifetime(toy_agent(), stream(), StaticPolicy(100), PLAN).steps
    flops = first.work["learn"].flops
    for speed, missed in ((flops / 2, [1]), (nextafter(flops / 2, 0), [1, 2])):
        steps = run_lifetime(toy_agent(), stream(), StaticPolicy(100), PLAN, speed=speed).steps
        assert (steps[0].takes, [step.step for step in steps[:3] if step.missed]) == (len(missed) + 1, missed)
        assert [step.learned for step in steps[: len(missed) + 1]] == [0] * len(missed) + [len(stream()[0])]


def test_what_is_ordered_is_spent_at_the_price_of_its_chunk_and_held():
    chunks = stream(prices=(2, 1, 1, 5, 1, 1))
    [first, *_] = run_lifetime(toy_agent(), chunks, StaticPolicy(100), PLAN, costs=MODEL).steps
    speed = first.work["learn"].flops / 3
    steps = run_lifetime(toy_agent(), chunks, StaticPolicy(100), PLAN, costs=MODEL, speed=speed).steps
    chunk = chunks[0].inputs.nbytes + len(chunks[0]) * LABEL_NBYTES
    cost = first.costs["learn"]
    assert [step.costs["learn"] for step in steps[:3]] == [0, 0, cost]
    assert [step.pending_cost for step in steps[:3]] == [pytest.approx(cost), pytest.approx(cost), 0]
    assert [step.held_nbytes for step in steps[:2]] == [chunk, chunk]
    assert steps[2].byte_chunks == 2 * chunk + steps[2].held_nbytes
    assert steps[1].spent == pytest.approx(cost + MODEL.of_holding(2 * chunk))


def test_what_has_begun_at_the_end_is_finished():
    speed = 1.0
    steps = run_lifetime(toy_agent(), stream(), StaticPolicy(100), PLAN, speed=speed).steps
    assert [step.action for step in steps] == ["learn"] + ["pass"] * 5
    assert [step.missed for step in steps] == [False] + [True] * 5
    assert [step.learned for step in steps] == [0] * 5 + [len(stream()[0])]
    assert steps[0].takes > 10**6
    slowest = run_lifetime(toy_agent(), stream(), StaticPolicy(100), PLAN, speed=5e-324).steps
    assert slowest[0].takes == 10**15
    restored = [Step.from_json(json.loads(json.dumps(step.as_json()))) for step in steps]
    assert [step.as_json() for step in restored] == [step.as_json() for step in steps]
    [only] = run_lifetime(toy_agent(), stream()[:1], StaticPolicy(100), PLAN, speed=speed).steps
    assert (only.learned, only.action) == (len(stream()[0]), "learn")


def test_policies_know_the_speed_and_what_they_missed():
    [first, *_] = run_lifetime(toy_agent(), stream(), StaticPolicy(100), PLAN).steps
    policy = Scripted(["learn"] * 6)
    steps = run_lifetime(toy_agent(), stream(), policy, PLAN, speed=first.work["learn"].flops / 2.5).steps
    assert [seen.speed_gflop for seen in policy.seen] == [first.work["learn"].flops / 2.5 / 1e9] * len(policy.seen)
    assert [seen.step for seen in policy.seen] == [step.step for step in steps if not step.missed]
    for seen in policy.seen:
        assert seen.missed == sum(step.missed for step in steps[: seen.step]) / max(1, seen.step)
    waiting = Scripted(["memorize"] * 6)
    run_lifetime(toy_agent(), stream(), waiting, PLAN)
    assert {(seen.speed_gflop, seen.missed) for seen in waiting.seen} == {(inf, 0)}


# Together, resumed, forked, held to budgets


def lifetimes(names, make, speed, **how):
    policies = {name: POLICIES[name]() for name in names}
    agent = toy_agent(LEARNERS[make], calibrate_every=2)
    plan = EvaluationPlan(PLAN.validation, PLAN.test, every=2, prequential=True)
    return Lifetimes(agent, stream(queries=2), policies, plan, costs=MODEL, speed=speed, **how)


NAMES = ("k60", "k60 again", "k100", "loss", "random", "linucb", "disagreement")


@pytest.mark.parametrize("make", ["online", pytest.param("refit-cold", marks=pytest.mark.slow)])
def test_lifetimes_share_an_agent_for_as_long_as_they_do_the_same(make, tmp_path):
    free = run_lifetime(toy_agent(LEARNERS[make]), stream(), StaticPolicy(100), PLAN).steps
    speed = free[-1].work["learn"].flops / len(free) / 1.7
    whole, saved, forks, steps, together = lifetimes(NAMES, make, speed), [], [], {name: [] for name in NAMES}, {}
    while whole:
        for name, step in whole.advance().items():
            steps[name].append(step)
        together |= {name: (as_json(trajectory), agent.state()) for name, trajectory, agent in whole.ended()}
        if whole:
            saved.append(tmp_path / f"{len(saved)}.pt")
            torch.save(whole.state(), saved[-1])
            forks.append(whole.fork())
    assert sum(step.missed for of_one in steps.values() for step in of_one) > 10
    for name in NAMES:
        assert_same(lived(lifetimes([name], make, speed)), together)
    for path, fork in zip(saved[1::5], forks[1::5], strict=True):
        state = torch.load(path, weights_only=True)
        Lifetimes.check_state(state, path)
        n_lived = Lifetimes.n_steps_in(state)
        resumed = lifetimes(n_lived, make, speed)
        resumed.load_state(state, {name: steps[name][:n] for name, n in n_lived.items()})
        assert_same(lived(resumed), together)
        assert_same(lived(fork), together)


def assert_same(ended, together):
    for name, (trajectory, agent) in ended.items():
        assert trajectory == together[name][0]
        assert same(agent, together[name][1])


def test_a_budget_lasts_for_holding_the_chunk_that_is_learned():
    """Nothing costs anything but what is held; learning takes three chunks, after two of which the chunk is held."""
    dear = COST_MODELS["prices"](gflop=0.0, megabyte_chunk=1.0)
    [first, *_] = run_lifetime(toy_agent(), stream(), StaticPolicy(100), PLAN, costs=dear).steps
    chunk, flops = stream()[0], first.work["learn"].flops
    waiting = 2 * (chunk.inputs.nbytes + len(chunk) * LABEL_NBYTES)
    most = first.held_nbytes * 6 + waiting
    for budget, action in ((most * 1.001e-6, "learn"), (most * 0.999e-6, "memorize")):
        [step, *_] = run_lifetime(
            toy_agent(), stream(), StaticPolicy(100), PLAN, costs=dear, budget=budget, enforce=True, speed=flops / 3
        ).steps
        assert step.action == action


# What is refused


@pytest.mark.parametrize("speed", [0, -1.0, float("nan")])
def test_a_speed_is_above_zero(speed):
    with pytest.raises(InvalidSetting, match="expected a speed above 0 FLOPs for each chunk, got"):
        run_lifetime(toy_agent(), stream(), StaticPolicy(50), PLAN, speed=speed)


def test_a_learner_that_cannot_tell_needs_a_stream_that_waits():
    def make(seed):
        return Prototypes(toy_network(), toy_training())

    with pytest.raises(InvalidSetting, match="for a stream that does not wait, got Prototypes; another learner"):
        run_lifetime(toy_agent(make), stream(), StaticPolicy(50), PLAN, speed=1e9)


def test_an_episode_needs_a_stream_that_waits():
    how = Lifetimes(toy_agent(), stream(), {"": Undecided()}, PLAN, speed=1e9)
    with pytest.raises(InvalidSetting, match="expected a stream that waits"):
        Episode(how)


def test_images_are_those_that_arrive():
    """Prequential accuracy of a chunk that is missed is on its own images."""
    chunks = stream()
    agent, images = toy_agent(), toy_images(8, seed=100)
    plan = EvaluationPlan(PLAN.validation, images, prequential=True, every=1)
    steps = run_lifetime(agent, chunks, StaticPolicy(100), plan, speed=1.0).steps
    assert torch.equal(images.inputs, chunks[0].inputs)
    untrained = toy_agent()
    for chunk, step in zip(chunks, steps, strict=True):
        correct = untrained.answer(chunk.inputs)[0].agent.argmax(dim=1) == chunk.labels
        assert step.prequential.agent == pytest.approx(correct.float().mean().item())
    assert len({step.scores.accuracy.agent for step in steps[:-1]}) == 1


class Ahead(Prototypes):
    """Learns at once, and goes on answering as before."""

    def fork(self):
        return copy.copy(self)

    def answers(self):
        return self.sums.clone()

    def answer_with(self, answers):
        before, self.sums = self.sums, answers
        return before


def test_a_learner_that_learns_ahead_lives_alone():
    def make(seed):
        return Ahead(toy_network(), toy_training())

    policies = {"one": StaticPolicy(50), "other": StaticPolicy(100)}
    with pytest.raises(InvalidSetting, match=r"expected one lifetime of .* on a stream that does not wait, got 2"):
        Lifetimes(toy_agent(make), stream(), policies, PLAN, speed=1e9)
    assert not Lifetimes(toy_agent(make), stream(), {"": StaticPolicy(50)}, PLAN, speed=1e9).resumable
