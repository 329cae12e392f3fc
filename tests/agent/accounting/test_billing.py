"""What is billed, at which price, and what policies are told of it beforehand."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.accounting.costs import COST_MODELS
from agent.accounting.ledger import Ledger
from agent.accounting.work import PAID, Work
from agent.evaluation.plan import EvaluationPlan
from agent.lifetime.loop import Lifetimes, run_lifetime
from agent.memory.rekeying import Rekeying
from agent.policies import Action, Policy, StaticPolicy, TariffPolicy
from tests.agent.lifetime.test_loop import POLICIES
from tests.agent.toys import LEARNERS, ON_RESNETS, online, toy_agent, toy_images, toy_stream

MODEL = COST_MODELS["prices"](gflop=3.0, megabyte_written=5.0, megabyte_chunk=7.0)
SIZES = [8, 6, 8, 4, 7, 5]
PLAN = EvaluationPlan(toy_images(12, seed=50), toy_images(15, seed=60))
prices = st.lists(st.sampled_from([0.0, 0.2, 0.7, 1.0, 2.0]), min_size=len(SIZES), max_size=len(SIZES))


def stream(of_prices, queries=0):
    chunks = zip(toy_stream(SIZES), of_prices, strict=True)
    return [replace(chunk, price=price, queries=queries) for chunk, price in chunks]


class Watched(Policy):
    """Decides as another policy, and keeps what it was told."""

    def __init__(self, policy):
        self._policy, self.observes, self.told = policy, policy.observes, []

    def decide(self, observation):
        self.told.append(observation)
        return self._policy.decide(observation)

    def state(self):
        return {}

    def load_state(self, state):
        pass


def cost(work, price):
    return MODEL.of(work, price)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("memory", "rekeying"),
    [
        ("cache", Rekeying()),
        ("cache", Rekeying(on_learn=True)),
        ("ridge", Rekeying()),
        ("nearest", Rekeying(on_learn=True)),
    ],
    ids=["stale", "rekeying", "ridge", "evicting"],
)
@pytest.mark.parametrize(
    "make", [LEARNERS[name] for name in ("online", "cooldown", "refit-warm", "online-mlp", "cooldown-prepared")]
)
@settings(max_examples=5, deadline=None)
@given(of_prices=prices, learns=st.lists(st.booleans(), min_size=len(SIZES), max_size=len(SIZES)))
def test_an_estimate_is_what_is_billed(make, memory, rekeying, of_prices, learns):
    agent, ledger = toy_agent(make, memory=memory, rekeying=rekeying), Ledger(MODEL)
    admitted = []  # samples and price of the chunks that wait for a training
    for chunk, learn in zip(stream(of_prices), learns, strict=True):
        agent.prepare(chunk)
        before = agent.fork()
        pending = before.estimate_flush(chunk.inputs)
        billed = before.fork().flush()
        assert ledger.cost_of(pending) == pytest.approx(ledger.cost_of(billed))
        assert [charge.work.flops for charge in pending] == [charge.work.flops for charge in billed]
        # LEARN, and a training right after: of that, the chunk's part by samples, at its own price
        told, learner = before.estimate_learning(chunk), before.fork()
        at_once, later = learner.learn(chunk), learner.flush()
        n = len(chunk)
        share = n / (n + sum(size for size, _ in admitted))
        paid = [cost(charge.work, chunk.price) for charge in at_once]
        paid += [share * cost(charge.work, chunk.price) for charge in later]
        assert ledger.cost_of(told.bill) + told.share * ledger.cost_of(told.shared) == pytest.approx(sum(paid))
        flops = sum(c.work.flops for c in at_once) + share * sum(c.work.flops for c in later)
        assert told.flops == pytest.approx(flops)
        if later:
            priced = sum(size * price for size, price in [*admitted, (n, chunk.price)])
            assert later[0].price == pytest.approx(priced * share / n)
        # MEMORIZE, by who has looked and who has not
        for looked in (False, True):
            memorizer = before.fork()
            flushed = memorizer.flush() if looked else []
            told, held = memorizer.estimate_memorizing(chunk, looked=looked), memorizer.memory_nbytes
            bill = memorizer.memorize(chunk, memorizer.learner.forward(chunk.inputs)[0] if looked else None)
            assert ledger.cost_of(told.bill) == pytest.approx(ledger.cost_of(bill))
            assert told.flops == sum(charge.work.flops for charge in bill)
            assert told.held_nbytes == memorizer.memory_nbytes - held
            assert bool(flushed) == (looked and before.learner.pending)
        if learn:
            agent.learn(chunk)
            admitted = [*admitted, (n, chunk.price)] if agent.learner.pending else []
        else:
            agent.memorize(chunk)
            admitted = []


@pytest.mark.slow
@pytest.mark.parametrize("queries", [0, 3])
@pytest.mark.parametrize("make", [LEARNERS["online"], LEARNERS["cooldown"], LEARNERS["refit-cold"]])
@pytest.mark.parametrize("name", ["k60", "interleaved", "random", "loss", "disagreement", "tariff", "forecast"])
def test_policies_are_told_what_they_will_pay(name, make, queries):
    policy, of_prices = Watched(POLICIES[name]()), (1, 2, 0.5, 0.2, 3, 1)
    steps = run_lifetime(toy_agent(make), stream(of_prices, queries), policy, PLAN, costs=MODEL, budget=1.0).steps
    admitted, spent = [], dict.fromkeys(steps[0].costs, 0.0)
    learned = dict.fromkeys(PAID, Work())
    for step, told, size, price in zip(steps[:-1], policy.told, SIZES, of_prices, strict=False):
        paid = {account: step.costs[account] - spent[account] for account in step.costs}
        held = 7e-6 * (step.work["memorize"].nbytes - learned["memorize"].nbytes)
        flushed = step.pending_cost == 0
        if step.action == "memorize":
            beforehand = policy.observes != "nothing" or queries
            pending = 0.0 if beforehand else paid["learn"] + paid["rekey"]
            assert told.memorize_cost == pytest.approx(pending + paid["memorize"] + held)
            admitted = []
        elif flushed:
            assert told.learn_cost == pytest.approx(paid["learn"] + paid["rekey"])
        else:
            looked = policy.observes != "nothing" or queries
            admitted = [(size, price)] if looked else [*admitted, (size, price)]
            share = size / sum(n for n, _ in admitted)
            whole = step.pending_flops * share * price * 3e-9
            written = 5e-6 * (step.work["learn"].nbytes - learned["learn"].nbytes)
            immediate = 3e-9 * price * (step.work["learn"].flops - learned["learn"].flops) if not looked else None
            if immediate is not None and "refit" in str(make):
                assert told.learn_cost == pytest.approx(whole + written)
        assert step.spent == pytest.approx(sum(step.costs[a] for a in (*PAID, "storage")) + step.pending_cost)
        spent, learned = dict(step.costs), dict(step.work)


@pytest.mark.parametrize("make", ON_RESNETS.values(), ids=ON_RESNETS)
def test_learning_at_night_is_paid_at_night(make):
    day_night = (2, 2, 0.2, 0.2, 2, 2)
    steps = run_lifetime(toy_agent(make), stream(day_night), TariffPolicy(1.0), PLAN).steps
    assert [step.action for step in steps] == ["memorize"] * 2 + ["learn"] * 2 + ["memorize"] * 2
    assert 0 < steps[-1].costs["learn"] == pytest.approx(0.2 * steps[-1].work["learn"].flops / 1e9)
    assert steps[3].spent == pytest.approx(steps[4].spent - (steps[4].costs["memorize"] - steps[3].costs["memorize"]))


@pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS)
def test_the_end_of_life_is_paid_by_those_who_ordered_it(make):
    of_prices = (1, 1, 2, 2, 0.5, 3)
    steps = run_lifetime(toy_agent(make), stream(of_prices), StaticPolicy(100), PLAN).steps
    if steps[-1].work["learn"].samples != 2 * sum(SIZES) or steps[-2].pending_flops == 0:
        return  # trained at once, or more than once
    mean = sum(size * price for size, price in zip(SIZES, of_prices, strict=True)) / sum(SIZES)
    assert steps[-1].costs["learn"] == pytest.approx(mean * steps[-1].work["learn"].flops / 1e9)
    assert steps[-1].pending_cost == 0


def test_answers_are_billed_when_they_are_given():
    chunks = stream((1, 2, 1, 1, 1, 0.5), queries=10)
    steps = run_lifetime(toy_agent(online), chunks, StaticPolicy(50), replace(PLAN, prequential=True)).steps
    forward = toy_agent(online).learner.forward_flops(1, chunks[0].inputs.shape[1:])
    lookups = [0, *(step.query_flops for step in steps[:-1])]
    flops = [10 * (forward + lookup) for lookup in lookups]
    assert [step.work["answer"].flops for step in steps] == [sum(flops[: i + 1]) for i in range(6)]
    paid = sum(each * chunk.price for each, chunk in zip(flops, chunks, strict=True)) / 1e9
    assert steps[-1].costs["answer"] == pytest.approx(paid)
    assert steps[-2].work["evaluate"].flops == 0  # every chunk has fewer images than there were queries
    assert [step.answer_flops for step in steps] == [forward + step.query_flops for step in steps]


@pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS)
def test_totals_do_not_depend_on_what_the_experimenter_measures(make):
    def life(plan):
        agent = toy_agent(make)
        lifetimes = Lifetimes(agent, stream((1, 2, 1, 3, 1, 2)), {"": POLICIES["interleaved"]()}, plan)
        while lifetimes:
            lifetimes.advance()
        [(_, trajectory, _)] = lifetimes.ended()
        last = trajectory.steps[-1]
        return {account: last.work[account] for account in PAID}, last.spent

    assert life(PLAN) == life(replace(PLAN, every=1, test=toy_images(40, seed=7)))


def test_a_query_orders_the_training_that_it_needs():
    chunks = stream((1, 2, 1, 1, 1, 1), queries=1)
    asked = run_lifetime(toy_agent(LEARNERS["refit-cold"]), chunks, StaticPolicy(100), PLAN).steps
    assert asked[1].work["learn"].samples == 2 * SIZES[0]  # the second chunk's query needs the first one's training
    assert asked[1].costs["learn"] == pytest.approx(asked[1].work["learn"].flops / 1e9)  # at the first one's price
    assert asked[-1].action == Action.LEARN.name
