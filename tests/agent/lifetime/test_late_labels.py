"""Labels that come later than inputs: what is asked, what is decided on, what is billed."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.accounting.costs import COST_MODELS
from agent.agent import Agent
from agent.data.chunk import LabelledInputs
from agent.evaluation.plan import EvaluationPlan
from agent.evaluation.scores import accuracies
from agent.lifetime.loop import Lifetimes, run_lifetime
from agent.memory.rekeying import Rekeying
from agent.operations import Action
from agent.policies import StaticPolicy
from tests.agent.lifetime.test_loop import POLICIES
from tests.agent.toys import LEARNERS, MEMORIES, N_CLASSES, same, toy_agent, toy_images, toy_stream

PLAN = EvaluationPlan(toy_images(12, seed=50), toy_images(15, seed=60))
ASKING = replace(PLAN, prequential=True)
SIZES = [8, 6, 8, 4, 7, 5]
MODEL = COST_MODELS["prices"](gflop=3.0, megabyte_written=5.0, megabyte_chunk=7.0)


def late(chunks, delay, *, per_chunk=None):
    """The stream with labels that come `delay` chunks late, and a query about each image or so many for each chunk."""
    found = []
    for at, chunk in enumerate(chunks):
        come = [each for place, each in enumerate(chunks) if max(0, place - delay) == at]
        inputs, labels = (torch.cat([getattr(each, name) for each in [chunk, *come]]) for name in ("inputs", "labels"))
        newest = LabelledInputs(inputs[len(chunk) :], labels[len(chunk) :])
        waiting = sum(each.inputs.nbytes for place, each in enumerate(chunks) if 0 < place - at <= delay)
        queries = len(newest) if per_chunk is None else per_chunk * len(come)
        found.append(replace(chunk, newest=newest, waiting_nbytes=waiting, queries=queries))
    return found


def simulated(agent, chunks, delay, actions):
    """The slow way: time goes on by one chunk of images; each is answered when it comes, and used when its labels do.

    Returns:
        For each chunk of images, what learner, agent and memory got right when they came.
    """
    correct = []
    for now in range(len(chunks) + delay):
        if now == 0:
            agent.prepare(chunks[0])
        if now < len(chunks):
            agent.flush()  # for the queries
            prediction, _, _, _ = agent.answer(chunks[now].inputs)
            correct.append(accuracies(prediction, chunks[now].labels))
        if now >= delay:
            agent.perform(actions[now - delay], chunks[now - delay])
    return correct


def lived(lifetimes):
    ended = {}
    while lifetimes:
        lifetimes.advance()
        ended |= {name: (trajectory.steps, agent.state()) for name, trajectory, agent in lifetimes.ended()}
    return ended


def lifetimes(make, memory_of, delay, **agent):
    """Lifetimes whose learner is shared, under policies with the memory of each."""
    learner = LEARNERS[make](0)
    agents = {name: Agent(learner, MEMORIES[name](N_CLASSES), **agent) for name in dict.fromkeys(memory_of.values())}
    policies = {name: POLICIES[name]() for name in memory_of}
    of = {name: agents[memory] for name, memory in memory_of.items()}
    return Lifetimes(of, late(toy_stream(SIZES), delay), policies, replace(ASKING, every=2), costs=MODEL)


@settings(max_examples=25, deadline=None)
@given(
    make=st.sampled_from(["online", "cooldown", "refit-cold", "head"]),
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    delay=st.integers(0, 4),
    name=st.sampled_from(["k60", "interleaved", "loss", "disagreement", "alternate"]),
    memory=st.sampled_from(["cache", "ridge"]),
)
def test_prequential_accuracy_is_that_of_a_simulation_image_by_image(make, sizes, delay, name, memory):
    chunks = toy_stream(sizes)
    steps = run_lifetime(toy_agent(LEARNERS[make], memory=memory), late(chunks, delay), POLICIES[name](), ASKING).steps
    actions = [Action(step.action) for step in steps]
    correct = simulated(toy_agent(LEARNERS[make], memory=memory), chunks, delay, actions)
    assert sum(step.newest for step in steps) == sum(sizes)
    for at, step in enumerate(steps):
        come = [place for place in range(len(sizes)) if max(0, place - delay) == at]
        assert step.newest == sum(sizes[place] for place in come)
        if not step.newest:
            assert step.prequential is None
            continue
        for part in ("agent", "learner", "memory"):
            shares = [getattr(correct[place], part) for place in come]
            if None in shares:
                assert getattr(step.prequential, part) is None
                continue
            expected = sum(share * sizes[place] for share, place in zip(shares, come, strict=True)) / step.newest
            assert getattr(step.prequential, part) == pytest.approx(expected)


@settings(max_examples=12, deadline=None)
@given(
    make=st.sampled_from(["online", "cooldown", "refit-cold"]),
    name=st.sampled_from(sorted(POLICIES)),
    queries=st.sampled_from([None, 0, 3]),
)
def test_no_delay_is_the_stream_itself(make, name, queries):
    """Inputs that are the chunk's own, and are looked at apart, change nothing but the work of that look."""
    plain = [replace(chunk, queries=len(chunk) if queries is None else queries) for chunk in toy_stream(SIZES)]
    found = []
    for stream in (plain, late(plain, 0, per_chunk=queries)):
        agent = toy_agent(LEARNERS[make], calibrate_every=2)
        steps = run_lifetime(agent, stream, POLICIES[name](), replace(ASKING, every=2), costs=MODEL, budget=1.0).steps
        found.append((steps, agent.state()))
    (one, state), (other, apart) = found
    assert same(state, apart)
    for step, again in zip(one, other, strict=True):
        assert again.newest == len(toy_stream(SIZES)[step.step])
        assert step.spent == again.spent
        assert step.work["evaluate"].flops <= again.work["evaluate"].flops
        shared = {"newest": None, "work": {**again.work, "evaluate": step.work["evaluate"]}}
        assert replace(again, **shared, costs={**again.costs, "evaluate": step.costs["evaluate"]}) == step


@pytest.mark.parametrize("make", ["online", pytest.param("refit-cold", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", sorted(POLICIES))
def test_a_delay_changes_what_is_asked_and_neither_decisions_nor_agents(make, name):
    """Policies see the chunk whose labels are in, and all labels come: only the answers on the way are others."""
    found = []
    for delay in (0, 3):
        agent = toy_agent(LEARNERS[make], calibrate_every=2)
        stream = late(toy_stream(SIZES), delay, per_chunk=0)
        steps = run_lifetime(agent, stream, POLICIES[name](), replace(ASKING, every=2)).steps
        found.append((steps, agent.state()))
    (at_once, state), (later, other) = found
    assert same(state, other)
    for one, two in zip(at_once, later, strict=True):
        assert (one.action, one.observed, one.scores, one.spent) == (two.action, two.observed, two.scores, two.spent)
        assert one.work["decide"] == replace(two.work["decide"], seconds=one.work["decide"].seconds)
    assert [step.prequential for step in at_once] != [step.prequential for step in later]
    assert [step.prequential is None for step in later] == [False, False, False, True, True, True]


def test_images_that_wait_are_stored():
    stream = late(toy_stream(SIZES), 2)
    steps = run_lifetime(toy_agent(), stream, StaticPolicy(50), PLAN, costs=MODEL).steps
    one = stream[0].inputs[:1].nbytes
    waiting = [one * sum(SIZES[at + 1 : at + 3]) for at in range(len(SIZES))]
    without = run_lifetime(toy_agent(), toy_stream(SIZES), StaticPolicy(50), PLAN, costs=MODEL).steps
    assert [step.held_nbytes - plain.held_nbytes for step, plain in zip(steps, without, strict=True)] == waiting
    assert [step.memory_nbytes for step in steps] == [step.memory_nbytes for step in without]
    assert steps[-1].byte_chunks == sum(step.held_nbytes for step in steps)
    assert steps[-1].costs["storage"] == pytest.approx(MODEL.of_holding(steps[-1].byte_chunks))
    assert steps[-1].costs["storage"] > without[-1].costs["storage"]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 1.0])
def test_an_enforced_budget_pays_for_what_waits_whatever_is_left(share):
    stream = late(toy_stream(SIZES), 2, per_chunk=0)
    dear = COST_MODELS["prices"](gflop=1.0, megabyte_chunk=50.0)
    whole = run_lifetime(toy_agent(), toy_stream(SIZES), StaticPolicy(100), PLAN, costs=dear).steps[-1].spent
    agent, how = toy_agent(), {"costs": dear, "budget": share * whole, "enforce": True}
    steps = run_lifetime(agent, stream, StaticPolicy(100), PLAN, **how).steps
    waited = sum(dear.of_holding(chunk.waiting_nbytes) for chunk in stream)
    assert steps[-1].spent - steps[-1].costs["calibrate"] <= share * whole * (1 + 1e-6) + waited
    assert steps[-1].costs["storage"] >= waited
    if not share:
        assert {step.action for step in steps} == {"pass"}
        assert steps[-1].spent == pytest.approx(waited)


def test_each_look_is_billed():
    """A policy pays for its look at the chunk, and measuring for that at the newest inputs, but for what was asked."""
    stream = late(toy_stream(SIZES), 2, per_chunk=3)
    agent = toy_agent()
    forward = agent.learner.forward_flops(1, (3, 8, 8))
    [one, two, *_] = run_lifetime(agent, stream, POLICIES["loss"](), ASKING).steps
    assert one.work["decide"].flops == forward * SIZES[0]
    assert one.work["answer"].flops == forward * 9
    assert one.work["evaluate"].flops == forward * (sum(SIZES[:3]) - 9)
    assert two.work["decide"].flops == forward * sum(SIZES[:2])
    assert two.work["answer"].samples == 12
    blind = run_lifetime(toy_agent(), stream, StaticPolicy(100), ASKING).steps
    assert blind[-1].work["decide"].flops == 0
    assert blind[0].work["evaluate"] == replace(one.work["evaluate"], seconds=blind[0].work["evaluate"].seconds)
    unasked = run_lifetime(toy_agent(), stream, StaticPolicy(100), PLAN).steps
    assert [step.prequential for step in unasked] == [None] * len(SIZES)
    assert unasked[0].work["evaluate"].flops == 0


# Together, resumed, forked

TOGETHER = ("k60", "k60 again", "k100", "loss", "disagreement", "random", "linucb", "alternate")
WAYS = {
    "two memories": ("online", 3, ("cache", "ridge"), {"calibrate_every": 3}),
    "online": ("online", 2, ("cache",), {"calibrate_every": 2}),
    "cooldown": ("cooldown", 2, ("cache",), {"calibrate_every": 2}),
    "lazy": ("refit-cold", 2, ("cache",), {"calibrate_every": 2}),
    "lazy, two memories": ("refit-cold", 5, ("cache", "ridge"), {}),
    "rekeyed": ("online", 1, ("nearest",), {"rekeying": Rekeying(on_learn=True)}),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_lifetimes_together_are_lifetimes_alone_also_from_a_checkpoint(way, tmp_path):
    make, delay, memories, agent = WAYS[way]
    memory_of = {name: memories[place % len(memories)] for place, name in enumerate(TOGETHER)}
    whole, saved, forks, together = lifetimes(make, memory_of, delay, **agent), [], [], {}
    steps = {name: [] for name in TOGETHER}
    while whole:
        for name, step in whole.advance().items():
            steps[name].append(step)
        together |= {name: (trajectory.steps, each.state()) for name, trajectory, each in whole.ended()}
        if whole:
            saved.append(tmp_path / f"{len(saved)}.pt")
            torch.save(whole.state(), saved[-1])
            forks.append(whole.fork())
    for name, memory in memory_of.items():
        assert_same(lived(lifetimes(make, {name: memory}, delay, **agent)), together)
    for path, fork in zip(saved[::7], forks[::7], strict=True):
        state = torch.load(path, weights_only=True)
        Lifetimes.check_state(state, path)
        n_lived = Lifetimes.n_steps_in(state)
        resumed = lifetimes(make, {name: memory_of[name] for name in n_lived}, delay, **agent)
        resumed.load_state(state, {name: steps[name][:n] for name, n in n_lived.items()})
        assert_same(lived(resumed), together)
        assert_same(lived(fork), together)


def assert_same(ended, together):
    assert ended
    for name, (steps, agent) in ended.items():
        assert [step.as_json() for step in steps] == [step.as_json() for step in together[name][0]]
        assert same(agent, together[name][1])
