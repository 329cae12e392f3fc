import math
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import InvalidSetting
from agent.policies import (
    POLICIES,
    Action,
    BudgetPolicy,
    DisagreementPolicy,
    InterleavedPolicy,
    LinearPolicy,
    LossPolicy,
    NetworkPolicy,
    NoveltyPolicy,
    Observation,
    PeriodicPolicy,
    Policy,
    RandomPolicy,
    StaticPolicy,
    TariffPolicy,
    UncertaintyPolicy,
)
from agent.testing import check_policy

EXAMPLES: dict[str, dict] = {
    "static": {"k": 40.0},
    "interleaved": {"k": 40.0},
    "periodic": {"period": 3, "learn": 2, "offset": 1},
    "random": {"p": 0.5, "seed": 7},
    "loss": {},
    "uncertainty": {},
    "disagreement": {},
    "novelty": {},
    "tariff": {},
    "sleep": {},
    "budget": {"gflop": 12.0},
    "linucb": {},
    "thompson": {"seed": 7},
    "forecast": {"cost_weight": 0.01},
    "linear": {"features": ("loss_rise", "seen"), "weights": (1.0, -0.5), "bias": 0.1},
    "network": {
        "features": ("price", "memory_accuracy"),
        "layers": [
            {"weight": [[1.0, -1.0], [-0.5, 2.0], [0.0, 1.0]], "bias": [0.0, 0.5, -0.5]},
            {"weight": [[1.0, -1.0, 0.5]], "bias": [0.25]},
        ],
    },
}
"""Settings for every policy: adding one means adding a line."""

FAMILIES: dict[str, type[Policy]] = {**POLICIES, "linear": LinearPolicy, "network": NetworkPolicy}
"""With those that come from files alone."""


LOOKED = [name for name in Observation.names() if math.isnan(getattr(Observation(0, 1), name))]
"""Fields that a policy sees only if it asks for them."""


def lived(policy: Policy, n_chunks: int, seed: int = 0, start: int = 0) -> list[Action]:
    """Decisions from chunk `start` on, with observations that are a function of the step and nothing else."""
    actions = []
    for step in range(start, n_chunks):
        drawn = torch.rand(30, generator=torch.Generator().manual_seed(1000 * seed + step)).tolist()
        values = dict(zip(LOOKED, drawn, strict=False))
        if step == 0:
            values = {name: values[name.removeprefix("mean_")] for name in LOOKED}
        observation = Observation(
            step, n_chunks, memory_entries=min(step, 1), price=2 * drawn[-1], learn_gflop=3.0, learn_cost=1.0
        )
        actions.append(policy.decide(replace(observation, **values)))
    return actions


def learned(policy: Policy, n_chunks: int) -> list[int]:
    """Steps at which a policy that observes nothing learns."""
    return [s for s in range(n_chunks) if policy.decide(Observation(s, n_chunks)) == Action.LEARN]


def decides(policy: Policy, **observed: float) -> bool:
    """Whether the policy learns, in mid-stream and with something in memory unless said otherwise."""
    given = {"step": 5, "n_chunks": 10, "memory_entries": 9, **observed}
    return policy.decide(Observation(**given)) == Action.LEARN


def test_there_is_an_example_of_every_policy() -> None:
    assert EXAMPLES.keys() == FAMILIES.keys()


@pytest.mark.parametrize("name", FAMILIES)
def test_every_policy_keeps_its_promises(name: str) -> None:
    check_policy(lambda: FAMILIES[name](**EXAMPLES[name]))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_example_does_both(name: str) -> None:
    other = Action.CONSOLIDATE if name == "sleep" else Action.LEARN
    assert set(lived(FAMILIES[name](**EXAMPLES[name]), 40)) == {other, Action.MEMORIZE}


@pytest.mark.parametrize(
    ("k", "n_chunks", "n_learned"),
    [(0, 10, 0), (100, 10, 10), (50, 10, 5), (33.3, 10, 3), (12, 50, 6), (1, 10, 0), (99, 10, 10), (100, 1, 1)],
)
def test_the_first_k_percent_are_learned(k: float, n_chunks: int, n_learned: int) -> None:
    policy = StaticPolicy(k)
    actions = [policy.decide(Observation(step, n_chunks)) for step in range(n_chunks)]
    assert actions == [Action.LEARN] * n_learned + [Action.MEMORIZE] * (n_chunks - n_learned)
    assert policy.n_learned(n_chunks) == n_learned


@pytest.mark.parametrize("policy", [StaticPolicy, InterleavedPolicy])
@pytest.mark.parametrize(("k", "got"), [(-1, "-1"), (100.5, "100.5"), (math.nan, "nan"), (140, "140")])
def test_a_k_that_is_no_percentage_is_refused(policy: type[StaticPolicy], k: float, got: str) -> None:
    with pytest.raises(InvalidSetting, match=rf"^expected k in 0\.\.100, got {got}$"):
        policy(k)


@given(k=st.floats(0, 100) | st.integers(0, 100), n_chunks=st.integers(1, 200))
def test_interleaved_learns_as_much_as_static_and_evenly(k: float, n_chunks: int) -> None:
    policy = InterleavedPolicy(k)
    steps = learned(policy, n_chunks)
    n_learned = policy.n_learned(n_chunks)
    assert len(steps) == n_learned == StaticPolicy(k).n_learned(n_chunks)
    for s in range(n_chunks + 1):
        assert 0 <= sum(step < s for step in steps) - Fraction(s * n_learned, n_chunks) < 1


def test_interleaved_begins_with_learning() -> None:
    assert learned(InterleavedPolicy(30), 10) == [0, 3, 6]
    assert learned(InterleavedPolicy(20), 10) == learned(PeriodicPolicy(5), 10) == [0, 5]


@given(period=st.integers(1, 12), data=st.data(), n_chunks=st.integers(1, 60))
def test_every_whole_period_holds_as_many_learned_chunks(period: int, data: st.DataObject, n_chunks: int) -> None:
    learn, offset = data.draw(st.integers(0, period)), data.draw(st.integers(0, period - 1))
    steps = set(learned(PeriodicPolicy(period, learn, offset), n_chunks))
    for start in range(n_chunks - period + 1):
        assert len(steps & set(range(start, start + period))) == learn
    assert steps >= set(range(offset, min(offset + learn, n_chunks)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"period": 0}, "expected a period of at least 1 chunk, got 0"),
        ({"period": 3, "learn": 4}, "expected learn in 0..3, got 4"),
        ({"period": 3, "learn": -1}, "expected learn in 0..3, got -1"),
        ({"period": 3, "offset": 3}, "expected offset in 0..2, got 3"),
    ],
)
def test_a_period_that_makes_no_sense_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        PeriodicPolicy(**settings)
    assert str(caught.value) == message


@pytest.mark.parametrize(("p", "low", "high"), [(0, 0, 0), (0.25, 400, 600), (1, 2000, 2000)])
def test_the_lot_learns_with_its_probability(p: float, low: int, high: int) -> None:
    assert low <= len(learned(RandomPolicy(p), 2000)) <= high


def test_the_lot_depends_on_its_seed_and_not_on_what_others_draw() -> None:
    before = torch.get_rng_state()
    first = learned(RandomPolicy(seed=1), 50)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert learned(RandomPolicy(seed=1), 50) == first != learned(RandomPolicy(seed=2), 50)


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_a_probability_outside_0_to_1_is_refused(p: float) -> None:
    with pytest.raises(InvalidSetting, match=r"^expected p in 0\.\.1, got "):
        RandomPolicy(p)


def test_loss_learns_where_the_loss_reaches_its_average() -> None:
    assert decides(LossPolicy(), step=0, learner_loss=2.3, mean_learner_loss=2.3), "the first chunk is its own average"
    assert decides(LossPolicy(), learner_loss=2.1, mean_learner_loss=2.0)
    assert not decides(LossPolicy(), learner_loss=1.9, mean_learner_loss=2.0)
    assert not decides(LossPolicy(1.5), learner_loss=2.9, mean_learner_loss=2.0)
    assert decides(LossPolicy(1.5, relative=False), learner_loss=1.5, mean_learner_loss=9.0)
    assert not decides(LossPolicy(1.5, relative=False), learner_loss=1.4, mean_learner_loss=0.1)
    assert decides(LossPolicy(), learner_loss=math.inf, mean_learner_loss=2.0)


def test_uncertainty_learns_at_high_entropy_or_small_margin() -> None:
    entropy, margin = UncertaintyPolicy(), UncertaintyPolicy("margin")
    for policy in entropy, margin:
        first = {"learner_entropy": 2.3, "mean_learner_entropy": 2.3, "learner_margin": 0, "mean_learner_margin": 0}
        assert decides(policy, step=0, **first)
    assert decides(entropy, learner_entropy=1.1, mean_learner_entropy=1.0)
    assert not decides(entropy, learner_entropy=0.9, mean_learner_entropy=1.0)
    assert decides(UncertaintyPolicy("entropy", 0.5, relative=False), learner_entropy=0.5)
    assert decides(margin, learner_margin=0.4, mean_learner_margin=0.5)
    assert not decides(margin, learner_margin=0.6, mean_learner_margin=0.5)
    assert not decides(UncertaintyPolicy("margin", 0.5, relative=False), learner_margin=0.6, mean_learner_margin=1.0)


def test_disagreement_learns_where_enough_of_the_chunk_is_in_dispute() -> None:
    assert decides(DisagreementPolicy(0.3), disagreement=0.3)
    assert not decides(DisagreementPolicy(0.3), disagreement=0.29)


def test_novelty_learns_far_from_everything_stored() -> None:
    assert decides(NoveltyPolicy(), novelty=0.3, mean_novelty=0.2)
    assert not decides(NoveltyPolicy(), novelty=0.1, mean_novelty=0.2)
    assert decides(NoveltyPolicy(0.1, relative=False), novelty=0.1, mean_novelty=0.9)
    assert not decides(NoveltyPolicy(0.1, relative=False), novelty=0.05, mean_novelty=0.01)


@pytest.mark.parametrize("policy", [DisagreementPolicy(), NoveltyPolicy(), NoveltyPolicy(0.5, relative=False)])
def test_an_empty_memory_does_not_stay_empty(policy: Policy) -> None:
    assert [decides(policy, step=step, memory_entries=0) for step in range(3)] == [True, False, False]


def test_tariff_learns_at_low_prices() -> None:
    assert decides(TariffPolicy())
    assert decides(TariffPolicy(0.5), price=0.5)
    assert not decides(TariffPolicy(0.5), price=0.6)


@pytest.mark.parametrize("policy", [LossPolicy, NoveltyPolicy, TariffPolicy])
@pytest.mark.parametrize("threshold", [-1, math.nan, math.inf])
def test_a_threshold_that_is_no_number_from_0_is_refused(policy: type[LossPolicy], threshold: float) -> None:
    with pytest.raises(InvalidSetting, match=rf"^expected a finite threshold of at least 0, got {threshold}$"):
        policy(threshold=threshold)


def test_other_thresholds_out_of_range_are_refused() -> None:
    with pytest.raises(InvalidSetting, match=r"^expected threshold in 0\.\.1, got 1\.5$"):
        DisagreementPolicy(1.5)
    with pytest.raises(InvalidSetting, match=r"^expected a finite threshold of at least 0, got -1$"):
        UncertaintyPolicy(threshold=-1)


chunks = st.lists(st.tuples(st.floats(0, 100), st.floats(0, 5)), min_size=1, max_size=60)
"""(GFLOP of learning from it, price of compute) of each chunk."""


def spending(policy: BudgetPolicy, stream: list[tuple[float, float]]) -> list[tuple[float, float, bool]]:
    """For each chunk: spent before it, what learning from it would take, whether it was learned from."""
    gflops = costs = 0.0
    rows = []
    for step, (gflop, price) in enumerate(stream):
        observation = Observation(
            step,
            len(stream),
            price=price,
            learning_spent=costs,
            learning_spent_gflop=gflops,
            learn_gflop=gflop,
            learn_cost=gflop * price,
        )
        learns = policy.decide(observation) == Action.LEARN
        rows.append((gflops, gflop, learns) if policy.gflop is not None else (costs, gflop * price, learns))
        if learns:
            gflops, costs = gflops + gflop, costs + gflop * price
    return rows


@given(stream=chunks, budget=st.floats(0, 3000), unit=st.sampled_from(["gflop", "cost"]))
def test_a_budget_is_used_evenly_and_never_exceeded(
    stream: list[tuple[float, float]], budget: float, unit: str
) -> None:
    for step, (spent, price, learns) in enumerate(spending(BudgetPolicy(**{unit: budget}, how="evenly"), stream)):
        line = budget * (step + 1) / len(stream)
        if learns:
            assert spent + price <= line + 2e-9 * budget
        else:
            assert spent + price > line, "a chunk that fits into the schedule is learned from"


@given(stream=chunks, budget=st.floats(0, 3000), unit=st.sampled_from(["gflop", "cost"]))
def test_a_greedy_budget_learns_while_it_can_and_is_never_exceeded(
    stream: list[tuple[float, float]], budget: float, unit: str
) -> None:
    for spent, price, learns in spending(BudgetPolicy(**{unit: budget}, how="greedily"), stream):
        assert learns == (spent + price <= budget * (1 + 1e-9))


@given(n_chunks=st.integers(1, 100), affordable=st.integers(0, 120), gflop=st.floats(1e-3, 1e6))
def test_rounding_starves_no_budget(n_chunks: int, affordable: int, gflop: float) -> None:
    """A budget for exactly m chunks of equal size learns from m chunks."""
    stream = [(gflop, 1.0)] * n_chunks
    for how in "evenly", "greedily":
        rows = spending(BudgetPolicy(gflop=affordable * gflop, how=how), stream)
        assert sum(learns for *_, learns in rows) == min(affordable, n_chunks)


def test_a_money_budget_goes_further_at_low_prices() -> None:
    stream = [(10.0, 1.0)] * 4 + [(10.0, 0.25)] * 4
    learns = [learns for *_, learns in spending(BudgetPolicy(cost=20.0), stream)]
    assert learns == [False, False, False, True] + [True] * 4
    greedy = [learns for *_, learns in spending(BudgetPolicy(cost=20.0, how="greedily"), stream)]
    assert greedy == [True, True] + [False] * 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gflop": 1, "cost": 1}, "expected a budget in either gflop or cost, got both; set one of them"),
        ({"gflop": -1}, "expected a finite gflop of at least 0, got -1"),
        ({"cost": math.nan}, "expected a finite cost of at least 0, got nan"),
        ({"cost": math.inf}, "expected a finite cost of at least 0, got inf"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        BudgetPolicy(**settings)
    assert str(caught.value) == message


def test_a_budget_of_the_lifetime_is_not_overdrawn_by_learning() -> None:
    assert decides(BudgetPolicy(how="greedily"), spent=4.0, left=2.0, learn_cost=2.0)
    assert not decides(BudgetPolicy(how="greedily"), spent=4.0, left=2.0, learn_cost=2.1)
    assert not decides(BudgetPolicy(how="greedily"), spent=7.0, left=0.0, learn_cost=0.1)
    assert decides(BudgetPolicy(), step=4, n_chunks=10, spent=1.0, left=9.0, learn_cost=4.0)
    assert not decides(BudgetPolicy(), step=4, n_chunks=10, spent=1.0, left=9.0, learn_cost=4.1)
    with pytest.raises(InvalidSetting, match="expected a budget, got none; set gflop or cost of the policy"):
        decides(BudgetPolicy())
