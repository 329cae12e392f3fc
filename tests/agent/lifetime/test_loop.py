import copy
import json
from dataclasses import replace
from operator import sub

import pytest
import torch

from agent.accounting.costs import COST_MODELS
from agent.accounting.work import ACCOUNTS
from agent.agent import Agent
from agent.data.chunk import LabelledInputs
from agent.errors import InvalidSetting, LifetimeError
from agent.evaluation.plan import EvaluationPlan
from agent.evaluation.scores import accuracy_of
from agent.evaluation.trajectory import Step
from agent.learners.training import Training
from agent.lifetime.loop import Lifetimes, run_lifetime, run_lifetimes
from agent.memory import RidgeMemory
from agent.memory.rekeying import Rekeying
from agent.policies import (
    Action,
    BudgetPolicy,
    DisagreementPolicy,
    ForecastPolicy,
    InterleavedPolicy,
    LinearPolicy,
    LinUCBPolicy,
    LossPolicy,
    NetworkPolicy,
    NoveltyPolicy,
    PeriodicPolicy,
    Policy,
    RandomPolicy,
    StaticPolicy,
    TariffPolicy,
    ThompsonPolicy,
    UncertaintyPolicy,
)
from tests.agent.toys import LEARNERS, Alternate, online, same, toy_agent, toy_images, toy_stream

NEVER = Rekeying()

STREAM = toy_stream([8, 8, 8, 8, 5])
PLAN = EvaluationPlan(toy_images(12, seed=50), toy_images(15, seed=60))
POLICIES = {
    "k0": lambda: StaticPolicy(0),
    "k20": lambda: StaticPolicy(20),
    "k60": lambda: StaticPolicy(60),
    "k60 again": lambda: StaticPolicy(60),
    "k100": lambda: StaticPolicy(100),
    "interleaved": lambda: InterleavedPolicy(40),
    "periodic": lambda: PeriodicPolicy(2, offset=1),
    "random": lambda: RandomPolicy(0.5, seed=3),
    "loss": lambda: LossPolicy(0.97),
    "uncertainty": lambda: UncertaintyPolicy(threshold=0.99),
    "margin": lambda: UncertaintyPolicy("margin"),
    "disagreement": lambda: DisagreementPolicy(0.3),
    "novelty": lambda: NoveltyPolicy(0.9),
    "tariff": lambda: TariffPolicy(1.0),
    "budget": lambda: BudgetPolicy(gflop=0.004),
    "linucb": lambda: LinUCBPolicy(cost_weight=0.0, alpha=0.1),
    "thompson": lambda: ThompsonPolicy(seed=4, observes="learner"),
    "forecast": lambda: ForecastPolicy(noise=0.1),
    "linear": lambda: LinearPolicy(("seen", "learner_margin", "loss_rise"), (-1.0, 2.0, 3.0), 0.3),
    "network": lambda: NetworkPolicy(
        ("memory_empty", "disagreement"),
        [{"weight": [[1.0, -2.0], [0.5, 1.0]], "bias": [0.1, -0.3]}, {"weight": [[2.0, 1.0]], "bias": [-1.0]}],
    ),
    "alternate": Alternate,
}
"""Every family of policy: adding one means adding a line."""

LIFETIMES = {
    "plain": {},
    "examined": {"every": 2},
    "prequential": {"every": 2, "prequential": True},
    "experiences": {"after": frozenset({1, 3}), "groups": torch.arange(15) % 3, "prequential": True},
    "calibrating": {"every": 2, "calibrate_every": 2, "prequential": True},
    "rekeying": {"rekeying": Rekeying(on_learn=True), "calibrate_every": 2},
    "rekeying now and then": {"rekeying": Rekeying(every=2), "every": 1, "prequential": True},
    "ridge": {"memory": "ridge", "every": 2, "calibrate_every": 2, "prequential": True},
    "nearest": {"memory": "nearest", "every": 2, "calibrate_every": 2, "rekeying": Rekeying(on_learn=True)},
}
"""Ways to live."""
FEW = {
    "refit-cold": ("plain", "prequential", "experiences", "calibrating", "rekeying now and then"),
    "refit-warm": ("examined", "rekeying"),
    "cooldown": ("examined", "calibrating", "rekeying", "ridge"),
    "online-mlp": ("ridge",),
    "cooldown-prepared": ("nearest",),
    "cooldown-muon": ("examined", "rekeying"),
    "refit-muon": ("prequential",),
}
"""For learners that are much like another one."""
WAYS = [
    pytest.param(LEARNERS[learner], how, id=f"{learner}-{how}")
    for learner in LEARNERS
    for how in FEW.get(learner, LIFETIMES)
]
PRICED = [replace(chunk, price=price) for chunk, price in zip(STREAM, (1, 2, 0.5, 1, 3), strict=True)]


def lifetimes(make, policies, *, memory="cache", rekeying=NEVER, calibrate_every=0, **plan):
    agent = toy_agent(make, memory=memory, rekeying=rekeying, calibrate_every=calibrate_every)
    settings = {"costs": COST_MODELS["energy"](), "budget": 1.0}
    return Lifetimes(agent, PRICED, policies, replace(PLAN, **plan), **settings)


def lived(lifetimes):
    """Trajectory and final state by name."""
    ended = {}
    while lifetimes:
        lifetimes.advance()
        ended |= {name: (trajectory, agent.state()) for name, trajectory, agent in lifetimes.ended()}
    return ended


@pytest.fixture(params=LEARNERS)
def make(request):
    return LEARNERS[request.param]


@pytest.mark.slow
@pytest.mark.parametrize(("make", "how"), WAYS)
def test_living_together_is_living_alone(make, how):
    able = {name: policy for name, policy in POLICIES.items() if name != "novelty" or not how.startswith("ridge")}
    together = lived(lifetimes(make, {name: policy() for name, policy in able.items()}, **LIFETIMES[how]))
    assert together.keys() == able.keys()
    for name, policy in able.items():
        alone, alone_state = lived(lifetimes(make, {name: policy()}, **LIFETIMES[how]))[name]
        trajectory, state = together[name]
        assert trajectory.steps == alone.steps
        assert trajectory.initial_scores == alone.initial_scores
        assert same(state, alone_state)


@pytest.mark.slow
@pytest.mark.parametrize(("make", "how"), WAYS)
def test_lives_go_on_from_any_checkpoint_to_the_bit(make, how, tmp_path):
    policies = ("k0", "k60", "random", "loss", "disagreement", "budget", "linucb", "thompson", "forecast", "alternate")
    whole = lifetimes(make, {name: POLICIES[name]() for name in policies}, **LIFETIMES[how])
    saved, steps, ended = [], {name: [] for name in policies}, {}
    while whole:
        for name, step in whole.advance().items():
            steps[name].append(step)
        ended |= {name: (trajectory, agent.state()) for name, trajectory, agent in whole.ended()}
        if whole:
            saved.append(tmp_path / f"{len(saved)}.pt")
            torch.save(whole.state(), saved[-1])
    for path in saved[:: max(1, len(saved) // 6)]:
        state = torch.load(path, weights_only=True)
        n_lived = Lifetimes.n_steps_in(state)
        resumed = lifetimes(make, {name: POLICIES[name]() for name in n_lived}, **LIFETIMES[how])
        resumed.load_state(state, {name: steps[name][:n] for name, n in n_lived.items()})
        rest = lived(resumed)
        assert rest.keys() == n_lived.keys()
        for name, (trajectory, agent) in rest.items():
            assert trajectory.steps == ended[name][0].steps
            assert trajectory.initial_scores == ended[name][0].initial_scores
            assert same(agent, ended[name][1])


def test_a_step_survives_being_written_down():
    for trajectory, _ in lived(
        lifetimes(online, {"x": POLICIES["disagreement"]()}, **LIFETIMES["experiences"])
    ).values():
        for step in trajectory.steps:
            assert Step.from_json(json.loads(json.dumps(step.as_json()))) == step


def test_looking_is_charged_to_those_who_ask():
    policies = {name: POLICIES[name]() for name in ("k60", "loss", "disagreement")}
    ended = lived(lifetimes(online, policies, prequential=True))
    decide = {name: trajectory.steps[-1].work["decide"].flops for name, (trajectory, _) in ended.items()}
    evaluate = {name: trajectory.steps[-1].work["evaluate"].flops for name, (trajectory, _) in ended.items()}
    assert decide["k60"] == 0 < decide["loss"] < decide["disagreement"]
    assert evaluate["k60"] > evaluate["loss"] > 0
    assert [step.observed is None for step in ended["k60"][0].steps] == [True] * 5
    assert "learner_loss" in ended["loss"][0].steps[0].observed
    assert "memory_loss" not in ended["loss"][0].steps[0].observed


def test_prices_of_the_moment_are_paid():
    [(trajectory, _)] = lived(lifetimes(online, {"x": StaticPolicy(100)})).values()
    flops = [step.work["learn"].flops for step in trajectory.steps]
    paid = sum(new * price for new, price in zip(map(sub, flops, [0, *flops]), (1, 2, 0.5, 1, 3), strict=True))
    nbytes = trajectory.steps[-1].work["learn"].nbytes
    assert trajectory.steps[-1].costs["learn"] == pytest.approx(paid * 2.3e-12 + nbytes * 160e-12)


def test_rekeying_brings_every_key_up_to_date():
    def memory_of(rekeying):
        agent = toy_agent(online, rekeying=rekeying)
        decided = (Action.LEARN, Action.MEMORIZE, Action.MEMORIZE, Action.LEARN)
        work = []
        for action, chunk in zip(decided, STREAM[:4], strict=True):
            work += agent.perform(action, chunk) + agent.rekey_if_due(chunk.price)
        return agent, [flops for account, flops, _ in work if account == "rekey"]

    stale, never = memory_of(NEVER)
    fresh, work = memory_of(Rekeying(on_learn=True))
    assert stale.stale
    assert not never
    assert not fresh.stale
    assert len(work) == 1
    assert work[0].samples == 16
    assert work[0].nbytes == sum(block["rows"].nbytes for block in fresh.memory.state()["blocks"])
    keys = torch.cat([fresh.learner.forward(chunk.inputs)[0].keys for chunk in STREAM[1:3]])
    stored = torch.cat([block["rows"] for block in fresh.memory.state()["blocks"]])
    torch.testing.assert_close(stored, torch.nn.functional.normalize(keys))
    assert fresh.memory_nbytes - stale.memory_nbytes == sum(c.inputs.nbytes + c.labels.nbytes for c in STREAM[1:3])
    now_and_then, work = memory_of(Rekeying(every=4))
    assert not now_and_then.stale
    assert len(work) == 1


@pytest.mark.parametrize("text", ["never", "on-learn", "every:3"])
def test_rekeying_as_written(text):
    expected = {"never": NEVER, "on-learn": Rekeying(on_learn=True), "every:3": Rekeying(every=3)}
    assert Rekeying.parse(text) == expected[text]


@pytest.mark.parametrize("text", ["", "always", "every", "every:0", "every:-1", "every:x", "every:²", "never:3"])
def test_impossible_rekeying_is_refused(text):
    with pytest.raises(InvalidSetting, match=r"expected never, on-learn or every:n"):
        Rekeying.parse(text)


class Broken(Policy):
    def decide(self, observation):
        return 1 / observation.step


class Vague(Policy):
    def decide(self, observation):
        return "learn"


class Greedy(Policy):
    observes = "everything"

    def decide(self, observation):
        return Action.LEARN


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (Broken, r"Broken\.decide to give an Action, but at chunk 0 it raised ZeroDivisionError: division by zero"),
        (Vague, r"Vague\.decide to give an Action out of memorize, learn, got 'learn'"),
        (Greedy, r"Greedy\.observes to be one of nothing, learner, memory, got 'everything'"),
    ],
)
def test_a_policy_that_fails_is_named(policy, message):
    with pytest.raises(LifetimeError, match=message):
        run_lifetime(toy_agent(), STREAM, policy(), PLAN)


def test_a_policy_that_keeps_what_cannot_be_saved_is_refused_at_once():
    policy = Alternate()
    policy.model = torch.nn.Linear(1, 1)
    with pytest.raises(InvalidSetting, match=r"in Alternate\.model, got Linear, which cannot be checkpointed"):
        run_lifetime(toy_agent(), STREAM, policy, PLAN)


def test_what_lifetimes_share_is_lived_once(monkeypatch):
    steps = []
    step = Training.step
    monkeypatch.setattr(Training, "step", lambda *a, **k: steps.append(1) or step(*a, **k))
    list(run_lifetimes(toy_agent(), STREAM, {str(k): StaticPolicy(k) for k in (0, 20, 40, 60, 80)}, PLAN))
    assert len(steps) == 4 * 2  # four chunks learned by the longest, two passes in batches of eight


def test_a_trajectory_tells_the_life():
    plan = replace(PLAN, every=2)
    told = []
    trajectory = run_lifetime(toy_agent(), STREAM, StaticPolicy(40), plan, on_step=told.append)
    assert told == list(trajectory.steps)
    assert [step.step for step in trajectory.steps] == [0, 1, 2, 3, 4]
    assert [step.action for step in trajectory.steps] == ["learn", "learn", "memorize", "memorize", "memorize"]
    assert [step.samples for step in trajectory.steps] == [8, 16, 24, 32, 37]
    assert [step.learned for step in trajectory.steps] == [8, 16, 16, 16, 16]
    assert [step.memory_entries for step in trajectory.steps] == [0, 0, 8, 16, 21]
    assert [step.accuracy is not None for step in trajectory.steps] == [False, True, False, True, True]
    assert trajectory.steps[1].mixture is None  # nothing to fit to
    assert trajectory.steps[1].accuracy.memory is None
    assert trajectory.steps[3].accuracy.memory is not None
    for account in ACCOUNTS:
        flops = [step.work[account].flops for step in trajectory.steps]
        assert flops == sorted(flops)
        assert (trajectory.seconds[account] > 0) == (account not in ("rekey", "decide", "answer"))


def test_an_examination_leaves_no_trace(make):
    def life(every):
        plan = replace(PLAN, every=every)
        [(_, trajectory, agent)] = run_lifetimes(toy_agent(make), STREAM, {"": StaticPolicy(40)}, plan)
        paid = {account: amounts for account, amounts in trajectory.steps[-1].work.items() if account != "evaluate"}
        return trajectory.accuracy, paid, agent.state()

    assert same(life(0), life(1))


def test_no_policies_are_refused():
    with pytest.raises(InvalidSetting, match="expected at least 1 policy, got none"):
        list(run_lifetimes(toy_agent(), STREAM, {}, PLAN))


def test_a_learner_of_everything_is_its_own_agent():
    accuracy = run_lifetime(toy_agent(), STREAM, StaticPolicy(100), PLAN).accuracy
    assert accuracy.agent == accuracy.learner


def test_test_labels_are_for_scoring_alone():
    wrong = LabelledInputs(PLAN.test.inputs, (PLAN.test.labels + 1) % 3)
    one = run_lifetime(toy_agent(), STREAM, StaticPolicy(40), replace(PLAN, every=1))
    other = run_lifetime(toy_agent(), STREAM, StaticPolicy(40), replace(PLAN, every=1, test=wrong))
    assert [replace(step, scores=None) for step in one.steps] == [replace(step, scores=None) for step in other.steps]
    assert one.accuracy != other.accuracy


def test_validation_data_are_neither_learned_nor_memorized():
    other = EvaluationPlan(toy_images(12, seed=51), PLAN.test)
    states = [
        agent.state()
        for plan in (PLAN, other)
        for _, _, agent in run_lifetimes(toy_agent(), STREAM, {"": StaticPolicy(40)}, plan)
    ]
    for state in states:
        del state["mixture"]
    assert same(*states)


def test_lives_are_told_as_they_end_and_to_all_they_belong_to():
    told = []
    policies = {"a": StaticPolicy(0), "b": StaticPolicy(40), "c": StaticPolicy(40)}
    ended = [
        name
        for name, _, _ in run_lifetimes(
            toy_agent(), STREAM, policies, PLAN, on_step=lambda name, step: told.append((step.step, name))
        )
    ]
    assert ended == ["a", "b", "c"]
    assert told == [(step, "a") for step in range(5)] + [(step, name) for step in range(5) for name in ("b", "c")]


@pytest.mark.parametrize(
    ("stream", "plan", "message"),
    [
        ([], lambda: PLAN, "expected a stream of at least 1 chunk, got an empty one"),
        (STREAM, lambda: replace(PLAN, validation=toy_images(0)), "expected at least 1 validation image, got none"),
        (STREAM, lambda: replace(PLAN, test=toy_images(0)), "expected at least 1 test image, got none"),
        (STREAM, lambda: replace(PLAN, every=-1), "expected 0 or more chunks between evaluations, got -1"),
    ],
)
def test_impossible_lives_are_refused(stream, plan, message):
    with pytest.raises(InvalidSetting, match=message):
        run_lifetime(toy_agent(), stream, StaticPolicy(50), plan())


def test_accuracy():
    probabilities = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2]])
    assert accuracy_of(probabilities, torch.tensor([0, 1, 1])) == 2 / 3


def test_a_policy_that_asks_for_novelty_is_told_that_a_memory_has_none():
    with pytest.raises(InvalidSetting, match="expected a memory that measures novelty"):
        lived(lifetimes(online, {"novelty": NoveltyPolicy()}, memory="ridge"))


def test_a_memory_that_cannot_be_rekeyed_is_refused():
    memory = toy_agent(memory="ridge").memory
    with pytest.raises(InvalidSetting, match=r"whose entries can be renewed .*, got RidgeMemory; --rekey never"):
        Agent(online(), memory, rekeying=Rekeying(on_learn=True))


def test_keys_that_are_too_long_for_a_memory_are_refused_before_anything_is_lived():
    agent = Agent(online(), RidgeMemory(3, limit=2))
    with pytest.raises(InvalidSetting, match="expected keys of at most 2 numbers for --memory ridge, got 8"):
        Lifetimes(agent, STREAM, {"": StaticPolicy(0)}, PLAN)


@pytest.mark.parametrize("asking", [StaticPolicy(40), LossPolicy(0.5)])
def test_memorizing_is_billed_for_keys_alone_whoever_looks_at_the_chunk(asking):
    """With two views, outputs take twice the work of keys; what is measured or observed beside changes no bill."""
    make = LEARNERS["cooldown-muon"]

    def memorized(plan, policies):
        found = {name: each for name, each, _ in run_lifetimes(toy_agent(make), STREAM, policies, plan)}
        return found["k"].steps[-1].work["memorize"]

    alone = memorized(PLAN, {"k": StaticPolicy(20)})
    assert memorized(replace(PLAN, prequential=True), {"k": StaticPolicy(20)}) == alone
    assert memorized(PLAN, {"k": StaticPolicy(20), "other": asking}) == alone


def test_a_meter_counts_once_also_over_a_resume():
    whole = lifetimes(LEARNERS["cooldown"], {"a": StaticPolicy(20), "b": StaticPolicy(60)}, every=1)
    cut = lifetimes(LEARNERS["cooldown"], {"a": StaticPolicy(20), "b": StaticPolicy(60)}, every=1)
    past = {"a": [], "b": []}
    for _ in range(4):
        for name, step in cut.advance().items():
            past[name].append(step)
    state = copy.deepcopy(cut.state())
    resumed = lifetimes(LEARNERS["cooldown"], {"a": StaticPolicy(20), "b": StaticPolicy(60)}, every=1)
    running = set(resumed.n_steps_in(state))
    resumed.load_state(state, {name: past[name] for name in running})
    lived(whole)
    lived(resumed)
    for part, work in whole.meter.work.items():
        if part not in ("cool-downs", "forward"):
            assert (part, resumed.meter.work[part].flops) == (part, work.flops)
    assert resumed.meter.work["forward"].flops >= whole.meter.work["forward"].flops  # a fork's outputs are not saved
