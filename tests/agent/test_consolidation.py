"""CONSOLIDATE: memorize the chunk, then learn from images in memory, each once at most."""

from dataclasses import replace
from itertools import product

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
from agent.memory.decorated import evictable
from agent.memory.eviction import ClassBalanced, Fifo, Reservoir
from agent.memory.herding import Herding
from agent.memory.raw_images import RawImages, spaced
from agent.memory.rekeying import Rekeying
from agent.memory.transform import Centre
from agent.memory.transformed import transformed
from agent.memory.usefulness import LeastUseful
from agent.operations import Action, offered
from agent.policies import Observation, Policy, StaticPolicy
from agent.policies.thresholds import SleepPolicy
from tests.agent.memory.nearest import NearestMemory
from tests.agent.toys import LEARNERS, online, same, toy_agent, toy_chunk, toy_images, toy_stream

PLAN = EvaluationPlan(toy_images(10, seed=50), toy_images(11, seed=60), every=2)
MODEL = CostModel("test", "unit", per_flop=3e-9, per_byte_written=5e-6, per_byte_chunk=7e-6)
EVICTIONS = [Fifo, Reservoir, ClassBalanced, Herding, LeastUseful]
parsed = Consolidation.parse


def taught(agent):
    """The images that a learner was given, in order."""
    samples = agent.learner.samples
    return samples.rows if len(samples) else torch.empty(0, 3, 8, 8, dtype=torch.uint8)


def rows_of(images):
    return [tuple(image.flatten().tolist()) for image in images]


# The setting


@pytest.mark.parametrize(
    ("text", "images", "release"), [("never", 0, False), ("500", 500, False), ("release:7", 7, True)]
)
def test_a_consolidation_is_read_and_written(text, images, release):
    assert parsed(text) == Consolidation(images, release)
    assert str(parsed(text)) == text
    assert parsed(text).needs_inputs == (images > 0)


@pytest.mark.parametrize("text", ["", "0", "-1", "500,release", "release", "release:0", "release:never", "1e3", "٣"])
def test_what_is_no_consolidation_is_refused(text):
    with pytest.raises(InvalidSetting, match=r"expected never, a number of images from 1 to 1,000,000,000 \(500\)"):
        parsed(text)


def test_a_release_of_nothing_is_refused():
    with pytest.raises(InvalidSetting, match="expected consolidation of 1 to 1,000,000,000 images, or none"):
        Consolidation(0, release=True)


def test_only_agents_that_were_told_offer_it():
    assert toy_agent().operations == offered(Consolidation()) == ("memorize", "learn")
    assert toy_agent(consolidation=parsed("3")).operations == ("memorize", "learn", "consolidate")


# Raw images


@given(st.integers(0, 300), st.integers(1, 300))
def test_positions_are_spaced_evenly(n, most):
    found = spaced(n, most).tolist()
    assert len(found) == min(n, most)
    assert found[:1] == [0] * bool(n)
    assert all(0 <= each < n for each in found)
    gaps = {after - before for before, after in zip(found, [*found[1:], n], strict=False)}
    assert not gaps or (min(gaps) >= 1 and max(gaps) - min(gaps) <= 1)


@settings(deadline=None)
@given(
    st.booleans(),
    st.booleans(),
    st.lists(st.tuples(st.sampled_from(["append", "evict", "learned", "fork", "restore"]), st.integers(0, 6))),
    st.randoms(use_true_random=False),
)
def test_raw_images_are_those_that_are_needed(all_kept, awaiting, actions, random):
    images, first = RawImages(all_kept=all_kept, awaiting=awaiting), 0
    held, unlearned, frozen = {}, set(), []
    for what, n in actions:
        some = torch.tensor(random.sample(range(max(first, 1)), min(n, first)), dtype=torch.int64)
        if what == "append":
            chunk, ids = toy_chunk(n, seed=first, size=2), torch.arange(first, first + n)
            written = images.append(chunk.inputs, chunk.labels, ids)
            assert written == images.nbytes_of(chunk.inputs) == (n * (12 + 8) if all_kept or awaiting else 0)
            if all_kept or awaiting:
                held |= dict(
                    zip(ids.tolist(), zip(rows_of(chunk.inputs), chunk.labels.tolist(), strict=True), strict=True)
                )
            unlearned |= set(ids.tolist()) if awaiting else set()
            first += n
        elif what == "evict":
            images.evict(some)
            held = {each: image for each, image in held.items() if each not in some.tolist()}
            unlearned -= set(some.tolist())
        elif what == "learned":
            images.learned(some)
            unlearned -= set(some.tolist())
            if not all_kept:
                held = {each: image for each, image in held.items() if each not in some.tolist()}
        elif what == "fork":
            frozen.append((images, images.state()))
            images = images.fork()
        else:
            restored = RawImages(all_kept=all_kept, awaiting=awaiting)
            restored.load_state(images.state())
            images = restored
        assert len(images) == len(held)
        assert images.nbytes == 20 * len(held)
        assert images.unlearned.tolist() == sorted(unlearned)
        if not held:
            continue
        wanted = torch.tensor(random.sample(sorted(held), len(held) // 2 + 1), dtype=torch.int64)
        found = images.of(wanted)
        pairs = list(zip(rows_of(found.inputs), found.labels.tolist(), strict=True))
        assert pairs == [held[i] for i in wanted.tolist()]
    assert all(same(before.state(), state) for before, state in frozen)


# What it does


def test_it_memorizes_and_then_learns():
    """From an empty memory and with enough images at once it is MEMORIZE, then LEARN of the same chunk."""
    agent, by_hand, chunk = toy_agent(consolidation=parsed("99")), toy_agent(), toy_chunk(8)
    bill = agent.perform(Action.CONSOLIDATE, chunk)
    other = by_hand.memorize(chunk) + by_hand.learn(chunk)
    by_hand.n_chunks = 1
    raw = 8 * (3 * 8 * 8 + 8)
    assert [(each.account, each.work.flops) for each in bill] == [(each.account, each.work.flops) for each in other]
    assert sum(each.work.nbytes for each in bill) == sum(each.work.nbytes for each in other) + raw
    state, other_state = agent.state(), by_hand.state()
    assert same(state, other_state)
    assert len(agent.raw_images) == 0, "all are learned, and nobody needs them any more"


@pytest.mark.parametrize("rekeying", ["never", "every:1", "on-learn"])
@pytest.mark.parametrize("consolidation", ["3", "5", "release:4"])
def test_each_image_is_learned_once_at_most(consolidation, rekeying):
    agent = toy_agent(consolidation=parsed(consolidation), rekeying=Rekeying.parse(rekeying))
    stream, n_learned = toy_stream([4, 5, 3, 4, 4]), 0
    for action, chunk in zip("MMCCC", stream, strict=True):
        before = {tuple(row) for row in rows_of(taught(agent))}
        agent.perform({"M": Action.MEMORIZE, "C": Action.CONSOLIDATE}[action], chunk)
        if action == "C":
            n_learned += min(agent.consolidation.images, agent.n_memorized - n_learned)
        assert agent.n_learned == n_learned == len(taught(agent))
        assert before < set(rows_of(taught(agent))) or action == "M"
        assert agent.n_memorized - n_learned == len(agent.raw_images.unlearned)
        released = n_learned if agent.consolidation.release else 0
        assert agent.memory.n_entries == agent.n_memorized - released
        kept = agent.memory.n_entries if rekeying != "never" else len(agent.raw_images.unlearned)
        assert len(agent.raw_images) == kept
    shown = torch.cat([chunk.inputs for chunk in stream])
    labels = torch.cat([chunk.labels for chunk in stream])
    of_row = dict(zip(rows_of(shown), labels.tolist(), strict=True))
    learned = rows_of(taught(agent))
    assert len(set(learned)) == len(learned)
    assert [of_row[row] for row in learned] == agent.learner.samples.labels.tolist()
    waiting = agent.raw_images.of(agent.raw_images.unlearned)
    assert set(rows_of(waiting.inputs)) == set(of_row) - set(learned)


def test_released_entries_are_those_that_were_learned():
    agent = toy_agent(consolidation=parsed("release:4"))
    chunk = toy_chunk(10)
    agent.perform(Action.CONSOLIDATE, chunk)
    assert agent.memory.entries.ids.tolist() == [1, 3, 4, 6, 8, 9]
    assert rows_of(taught(agent)) == rows_of(chunk.inputs[[0, 2, 5, 7]])


def test_without_anything_left_to_learn_it_is_memorize():
    agent = toy_agent(consolidation=parsed("20"))
    for chunk in toy_stream([6, 5]):
        agent.perform(Action.CONSOLIDATE, chunk)
    alike, empty = agent.fork(), toy_chunk(0)
    bill = agent.consolidate(empty)
    assert [each.account for each in bill] == ["memorize"]
    alike.memorize(empty)
    assert same(agent.state(), alike.state())


@pytest.mark.parametrize("eviction", EVICTIONS)
@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("consolidation", ["4", "release:4"])
def test_memories_with_a_capacity_and_a_transform_release_too(eviction, mapped, consolidation):
    memory = bounded(KnnMemory(3), Capacity(entries=9), eviction())
    if mapped:
        memory = transformed(memory, Centre())
    agent = Agent(online(), memory, consolidation=parsed(consolidation))
    for step, (action, chunk) in enumerate(zip("MCCMCLC", toy_stream([5, 6, 4, 7, 5, 5, 3]), strict=True)):
        name = {"M": "memorize", "C": "consolidate", "L": "learn"}[action]
        fork = agent.fork()
        frozen = agent.state()
        fork.perform(Action(name), chunk)
        assert same(agent.state(), frozen), "forks are independent"
        restored = Agent(online(seed=1), _empty(eviction, mapped), consolidation=parsed(consolidation))
        restored.load_state(agent.state())
        agent.perform(Action(name), chunk)
        restored.perform(Action(name), chunk)
        assert same(agent.state(), fork.state()), step
        assert same(agent.state(), restored.state()), step
        assert agent.memory.n_entries <= 9
        inner = agent.memory.memory.memory if mapped else agent.memory.memory
        assert set(agent.raw_images.unlearned.tolist()) <= set(inner.entries.ids.tolist())
        bound = agent.memory.memory if mapped else agent.memory
        if eviction is LeastUseful:
            assert len(bound.eviction._usefulness) == agent.memory.n_entries
        answer, *_ = agent.answer(toy_images(4, seed=9).inputs)
        assert torch.isfinite(answer.agent).all()
    assert agent.n_learned > 5


def _empty(eviction, mapped):
    memory = bounded(KnnMemory(3), Capacity(entries=9), eviction())
    return transformed(memory, Centre()) if mapped else memory


def test_the_usefulness_that_stays_is_that_of_the_entries_that_stay():
    memory = bounded(CacheMemory(3), Capacity(entries=20), LeastUseful())
    agent = Agent(online(), memory)
    for chunk in toy_stream([6, 6, 6]):
        agent.memorize(chunk)
    before = dict(zip(memory.memory.entries.ids.tolist(), memory.eviction._usefulness.tolist(), strict=True))
    memory.evict(torch.tensor([0, 7, 17]))
    after = dict(zip(memory.memory.entries.ids.tolist(), memory.eviction._usefulness.tolist(), strict=True))
    assert after == {i: value for i, value in before.items() if i not in (0, 7, 17)}
    with pytest.raises(InvalidSetting, match="expected ids of entries that are in memory, got 7"):
        memory.evict(torch.tensor([1, 7]))
    assert dict(zip(memory.memory.entries.ids.tolist(), memory.eviction._usefulness.tolist(), strict=True)) == after


# What it costs


@pytest.mark.slow
@pytest.mark.parametrize("memory", ["cache", "ridge"])
@pytest.mark.parametrize("rekeying", ["never", "on-learn", "every:2"])
@pytest.mark.parametrize("consolidation", ["5", "release:7"])
@pytest.mark.parametrize("make", [LEARNERS[name] for name in ("online", "cooldown", "refit-warm", "cooldown-muon")])
@settings(max_examples=3, deadline=None)
@given(decided=st.text("MLC", min_size=5, max_size=5), looked=st.booleans())
def test_an_estimate_is_what_is_billed(make, consolidation, rekeying, memory, decided, looked):
    if memory == "ridge" and (rekeying != "never" or "release" in consolidation):
        return
    kind = {"cache": CacheMemory, "ridge": RidgeMemory}[memory]
    how = {"rekeying": Rekeying.parse(rekeying), "consolidation": parsed(consolidation)}
    agent, ledger = Agent(make(0), kind(3), **how), Ledger(MODEL)
    for letter, chunk in zip(decided, toy_stream([8, 5, 8, 8, 7]), strict=True):
        chunk = replace(chunk, price=0.5 + chunk.step)
        agent.prepare(chunk)
        asleep = agent.fork()
        outputs = None
        if looked:
            asleep.flush()
            outputs, _ = asleep.forward(chunk.inputs)
        told, held = asleep.estimate_consolidating(chunk, looked=looked), asleep.memory_nbytes
        bill = asleep.consolidate(chunk, outputs)
        later = asleep.flush()
        assert told.flops == sum(charge.work.flops for charge in [*bill, *later])
        paid = ledger.cost_of(told.bill) + told.share * ledger.cost_of(told.shared)
        assert paid == pytest.approx(ledger.cost_of(bill) + ledger.cost_of(later))
        assert told.held_nbytes == asleep.memory_nbytes - held
        name = {"M": "memorize", "C": "consolidate", "L": "learn"}[letter]
        agent.perform(Action(name), chunk)
        agent.rekey_if_due(chunk.price)


def test_lifetimes_observe_it_if_it_is_offered():
    class Watching(Policy):
        observes = "learner"

        def __init__(self):
            self.seen = []

        def decide(self, observation):
            self.seen.append((observation.actions, observation.consolidate_gflop, observation.consolidate_cost))
            return Action(observation.actions[-1])

    stream = toy_stream([6, 6, 6])
    steps = {}
    for consolidation in ("never", "4"):
        agent, policy = toy_agent(consolidation=parsed(consolidation)), Watching()
        policy.state = dict
        steps[consolidation] = run_lifetime(agent, stream, policy, PLAN, costs=MODEL).steps
        if consolidation == "never":
            assert all(actions == ("memorize", "learn") and gflop != gflop for actions, gflop, _ in policy.seen)
        else:
            for (_, gflop, cost), step, before in zip(policy.seen, steps["4"], [None, *steps["4"]], strict=False):
                accounts = ("memorize", "learn")
                spent = sum(step.work[a].flops - (before.work[a].flops if before else 0) for a in accounts)
                assert gflop == pytest.approx(spent / 1e9)
                assert cost > 0
    assert [step.learned for step in steps["4"]] == [4, 8, 12]
    assert [step.memory_entries for step in steps["4"]] == [6, 12, 18]


# Who may not


@pytest.mark.parametrize("memory", [RidgeMemory, NearestMemory, lambda n: transformed(RidgeMemory(n), Centre())])
def test_a_memory_without_entries_releases_none(memory):
    assert not evictable(memory(3))
    Agent(online(), memory(3), consolidation=parsed("5"))
    with pytest.raises(InvalidSetting, match=r"expected a memory whose entries can be removed .* --consolidate 5$"):
        Agent(online(), memory(3), consolidation=parsed("release:5"))


def test_raw_images_would_come_on_top_of_a_shared_capacity():
    memory = bounded(CacheMemory(3), Capacity(nbytes=2000, shared=True), Reservoir())
    with pytest.raises(InvalidSetting, match=r"expected neither re-keying nor consolidation with a capacity of 2,000"):
        Agent(online(), memory, consolidation=parsed("5"))


def test_policies_that_need_it_are_told_before_the_first_chunk():
    with pytest.raises(InvalidSetting, match="expected an agent that offers consolidate for SleepPolicy, got one of"):
        run_lifetime(toy_agent(), toy_stream([4]), SleepPolicy(), PLAN)


def test_a_policy_that_chooses_what_is_not_offered_is_told_how():
    class Asleep(StaticPolicy):
        def decide(self, observation):
            return Action.CONSOLIDATE

    refusal = r"out of memorize, learn, got Action\(name='consolidate'\); --consolidate 500 offers it$"
    with pytest.raises(PolicyError, match=refusal):
        run_lifetime(toy_agent(), toy_stream([4]), Asleep(50), PLAN)


@pytest.mark.parametrize(("price", "threshold"), list(product([0.0, 0.5, 1.0, 2.0], [0.0, 0.5, 1.0])))
def test_sleep_is_for_cheap_hours(price, threshold):
    expected = Action.CONSOLIDATE if price <= threshold else Action.MEMORIZE
    assert SleepPolicy(threshold).decide(Observation(3, 9, price=price)) == expected
