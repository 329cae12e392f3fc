import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from agent.errors import InvalidSetting
from agent.policies import (
    Action,
    ForecastPolicy,
    LinearPolicy,
    LinUCBPolicy,
    NetworkPolicy,
    Observation,
    Policy,
    ThompsonPolicy,
)
from agent.policies.features import FEATURES, LIMIT, accuracy_seen, features_at, features_of, observes_of
from agent.policies.forecast import DEVIATION, MEAN, counts_before_each, fit_prior, terms_of
from agent.randomness import named_generator
from tests.agent.policies.test_policies import LOOKED

N_FIELDS = len(Observation.names())


def features(names: tuple[str, ...] = tuple(FEATURES), **observed: float) -> list[float]:
    given = {"step": 5, "n_chunks": 10, **observed}
    return features_of(Observation(**given).vector()[None], names)[0].tolist()


def stream(n_chunks: int, seed: int) -> list[Observation]:
    """Anything, with a memory from the third chunk on."""
    rng = np.random.default_rng(seed)
    made = []
    for step in range(n_chunks):
        looked = {n: rng.random() if step > 2 or "learner" in n else math.nan for n in LOOKED}
        costs = {"spent": 7.0 * step + rng.random(), "learn_cost": 9 * rng.random(), "memorize_cost": rng.random()}
        plain = {"seen": step / n_chunks, "learned": rng.random(), "memory_entries": max(step - 2, 0)}
        made.append(Observation(step, n_chunks, price=2 * rng.random(), **costs, **plain, **looked))
    return made


# Features


@given(arrays(np.float64, st.tuples(st.integers(0, 4), st.just(N_FIELDS))))
def test_features_are_finite_whatever_is_observed(vectors: np.ndarray) -> None:
    found = features_of(vectors, FEATURES)
    assert found.shape == (len(vectors), len(FEATURES))
    assert np.isfinite(found).all()
    assert (np.abs(found) <= LIMIT).all()
    for row, alone in zip(found, vectors, strict=True):
        assert np.array_equal(features_of(alone[None], FEATURES)[0], row)


def test_features_of_the_stream() -> None:
    names = ("price", "seen", "learned", "memory_empty", "budget_left")
    assert features(names, price=0.5, seen=0.25, learned=0.75) == [0.5, 0.25, 0.75, 1, 1]
    assert features(names[3:], memory_entries=4, spent=3.0, left=1.0) == [0, 0.25]
    assert features(names[4:], spent=3.0, left=0.0) == features(names[4:], spent=0.0, left=0.0) == [0]


def test_rises_are_logs_of_multiples_of_the_average() -> None:
    assert features(("loss_rise",), learner_loss=2.0, mean_learner_loss=1.0) == pytest.approx([math.log(2)])
    assert features(("novelty_rise",), novelty=0.1, mean_novelty=0.4) == pytest.approx([-math.log(4)])
    assert features(("loss_rise",), learner_loss=math.inf, mean_learner_loss=1.0) == [3]
    assert features(("loss_rise",), learner_loss=math.inf, mean_learner_loss=math.inf) == [0]
    assert features(("loss_rise",), learner_loss=0.0, mean_learner_loss=1.0) == [-3]
    assert features(("novelty_rise",), novelty=-1e-7, mean_novelty=-1e-7) == [0]


def test_an_empty_memory_has_no_features() -> None:
    assert features(("memory_accuracy", "memory_margin", "disagreement", "novelty_rise")) == [0, 0, 0, 0]
    seen = {"memory_accuracy": 0.5, "memory_margin": 0.25, "disagreement": 0.75}
    assert features(tuple(seen), memory_entries=1, **seen) == [0.5, 0.25, 0.75]


def test_features_need_what_they_need() -> None:
    at = {level: features_at(level) for level in ("nothing", "learner", "memory")}
    assert set(at["nothing"]) < set(at["learner"]) < set(at["memory"]) == FEATURES.keys()
    bare = np.full((1, N_FIELDS), math.nan)
    for level, hidden in {"nothing": LOOKED, "learner": [name for name in LOOKED if "learner" not in name]}.items():
        full = Observation(5, 10, **dict.fromkeys(LOOKED, 0.3))
        bare = replace(full, **dict.fromkeys(hidden, math.nan))
        found = [features_of(observation.vector()[None], at[level]) for observation in (full, bare)]
        assert np.array_equal(*found)
        assert observes_of(at[level]) == level
    assert observes_of(("seen", "loss_rise")) == "learner"
    assert observes_of(()) == "nothing"


def test_an_unknown_feature_is_refused() -> None:
    for refused in lambda: observes_of(["sen"]), lambda: features(("sen",)):
        with pytest.raises(InvalidSetting, match=r"^expected features out of price, seen, .*, got 'sen'$"):
            refused()


def test_the_better_of_learner_and_memory_counts_where_it_is_seen() -> None:
    both = Observation(5, 10, learner_accuracy=0.25, memory_accuracy=0.5)
    assert accuracy_seen(both, "memory") == 0.5
    assert accuracy_seen(both, "learner") == 0.25
    assert math.isnan(accuracy_seen(both, "nothing"))
    assert accuracy_seen(replace(both, memory_accuracy=math.nan), "memory") == 0.25


# Weights


NUMBERS = st.floats(-100, 100)


@given(arrays(np.float64, (5, 3), elements=NUMBERS), st.tuples(NUMBERS, NUMBERS, NUMBERS), NUMBERS)
def test_a_linear_score_is_a_weighted_sum(x: np.ndarray, weights: tuple[float, ...], bias: float) -> None:
    policy = LinearPolicy(("seen", "price", "learned"), weights, bias)
    slow = [bias + sum(w * value for w, value in zip(weights, row, strict=True)) for row in x.tolist()]
    np.testing.assert_allclose(policy.scores(x)[:, 1], slow, rtol=1e-12, atol=1e-9)


def test_a_score_of_0_means_learn() -> None:
    policy = LinearPolicy(("seen",), (-2.0,), 1.0)
    assert policy.observes == "nothing"
    assert policy.decide(Observation(5, 10, seen=0.5)) == Action.LEARN
    assert policy.decide(Observation(5, 10, seen=0.6)) == Action.MEMORIZE
    network = NetworkPolicy(("seen", "loss_rise"), [{"weight": [[-2, 0]], "bias": [1]}])
    assert network.observes == "learner"
    seen = {"learner_loss": 1.0, "mean_learner_loss": 1.0}
    assert network.decide(Observation(5, 10, seen=0.5, **seen)) == Action.LEARN
    assert network.decide(Observation(5, 10, seen=0.6, **seen)) == Action.MEMORIZE
    assert LinearPolicy((), (), -1.0).decide(Observation(0, 1)) == Action.MEMORIZE


@given(st.lists(st.integers(1, 5), max_size=3), st.integers(0, 1000))
def test_a_network_is_what_torch_makes_of_the_same_weights(widths: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    shapes = list(zip([*widths, 1], [3, *widths], strict=True))
    weights = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    biases = [torch.randn(n, generator=generator, dtype=torch.float64) for n, _ in shapes]
    x = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    layers = [{"weight": w.tolist(), "bias": b.tolist()} for w, b in zip(weights, biases, strict=True)]
    found = NetworkPolicy(("seen", "price", "learned"), layers).scores(x.numpy())
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        x = torch.nn.functional.linear(x.tanh() if number else x, weight, bias)
    np.testing.assert_allclose(found[:, 1], x[:, 0].numpy(), rtol=1e-12, atol=1e-12)


LAYER = {"weight": [[1.0, 2.0]], "bias": [0.0]}


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "expected layers that end in 1 output, the logit of LEARN, got no layers"),
        (
            [{"weight": [[1, 2], [3, 4], [5, 6], [7, 8]], "bias": [0, 0, 0, 0]}],
            "expected scores of 1 to 3 actions out of memorize, learn, consolidate, both, got 4",
        ),
        ([LAYER, LAYER], r"weight of shape \(n_outputs, 1\) .* in layer 1, got shapes \(1, 2\) and \(1,\)"),
        ([{**LAYER, "bias": [0, 0]}], r"as many biases as outputs in layer 0, got shapes \(1, 2\) and \(2,\)"),
        ([{"weight": [[1], [2, 3]], "bias": [0]}], "expected lists of numbers, equally long, in layer 0"),
        ([{"weight": [], "bias": []}], r"got shapes \(0,\) and \(0,\)"),
        ([{**LAYER, "weight": [[1, math.nan]]}], "expected finite numbers in layer 0, got NaN or infinity"),
        ([{"weight": [[1, 2]]}], "expected weight and bias in layer 0, got 'weight'"),
    ],
)
def test_layers_that_make_no_network_are_refused(layers: list, message: str) -> None:
    with pytest.raises(InvalidSetting, match=message):
        NetworkPolicy(("seen", "price"), layers)


def test_weights_that_make_no_sum_are_refused() -> None:
    with pytest.raises(InvalidSetting, match=r"^expected a weight for each of 1 features, got 2 weights$"):
        LinearPolicy(("seen",), (1.0, 2.0), 0.0)
    for weight, bias in (math.nan, 0.0), (0.0, math.inf):
        with pytest.raises(InvalidSetting, match=r"^expected finite numbers in weights and bias, got NaN or infinity"):
            LinearPolicy(("seen",), (weight,), bias)


# Bandits


class SlowBandit:
    """Ridge regressions by the inverse of what all rows of an action so far add up to."""

    def __init__(self, cost_weight: float, ridge: float, observes: str) -> None:
        self.cost_weight, self.ridge, self.names, self.observes = cost_weight, ridge, features_at(observes), observes
        self.met: list[tuple[np.ndarray, float, float]] = []
        self.taken: list[Action] = []

    def estimates(self, observation: Observation) -> dict[Action, tuple[float, float]]:
        seen = [observation.learner_accuracy]
        if self.observes == "memory" and not math.isnan(observation.memory_accuracy):
            seen.append(observation.memory_accuracy)
        x = np.array([1.0, *features_of(observation.vector()[None], self.names)[0]])
        self.met.append((x, max(seen), observation.spent))
        found = {}
        for action in (Action.LEARN, Action.MEMORIZE):
            a, b = self.ridge * np.eye(len(x)), np.zeros(len(x))
            for t, taken in enumerate(self.taken):
                if taken == action:
                    (context, before, spent), (_, after, spent_after) = self.met[t : t + 2]
                    a += np.outer(context, context)
                    b += context * (after - before - self.cost_weight * (spent_after - spent))
            inverse = np.linalg.inv(a)
            found[action] = float(x @ inverse @ b), math.sqrt(x @ inverse @ x)
        return found


SETTINGS = {
    "cost_weight": st.floats(0, 0.1),
    "ridge": st.floats(0.01, 10),
    "observes": st.sampled_from(["learner", "memory"]),
}


def agree(policy: Policy, slow: SlowBandit, boldness: list[tuple[float, float]], observations: list) -> set[Action]:
    for bold, observation in zip(boldness, observations, strict=True):
        estimates = slow.estimates(observation)
        scores = [mean + b * error for b, (mean, error) in zip(bold, estimates.values(), strict=True)]
        action = policy.decide(observation)
        if not math.isclose(*scores, rel_tol=1e-6, abs_tol=1e-9):
            assert action == (Action.LEARN if scores[0] > scores[1] else Action.MEMORIZE)
        slow.taken.append(action)
    return set(slow.taken)


@given(st.fixed_dictionaries(SETTINGS), st.floats(0, 2), st.integers(0, 1000))
def test_linucb_is_algorithm_1(settings: dict, alpha: float, seed: int) -> None:
    policy = LinUCBPolicy(alpha=alpha, **settings)
    agree(policy, SlowBandit(**settings), [(alpha, alpha)] * 12, stream(12, seed))


@given(st.fixed_dictionaries(SETTINGS), st.floats(0, 2), st.integers(0, 1000))
def test_thompson_draws_about_the_same_predictions(settings: dict, scale: float, seed: int) -> None:
    policy, generator = ThompsonPolicy(scale=scale, seed=seed, **settings), named_generator(seed, "policy")
    draws = [torch.randn(2, generator=generator, dtype=torch.float64).tolist() for _ in range(12)]
    boldness = [(scale * learn, scale * memorize) for learn, memorize in draws]
    agree(policy, SlowBandit(**settings), boldness, stream(12, seed))


def test_bandits_try_both_actions() -> None:
    for policy in LinUCBPolicy(), ThompsonPolicy():
        assert {policy.decide(observation) for observation in stream(30, 1)} == {Action.LEARN, Action.MEMORIZE}


def test_the_first_chunk_is_learned_from_and_the_next_memorized() -> None:
    policy = LinUCBPolicy()
    looked = dict.fromkeys(LOOKED, 0.3)
    first = policy.decide(Observation(0, 10, **looked))
    assert [first, policy.decide(Observation(1, 10, **looked))] == [Action.LEARN, Action.MEMORIZE]


def payoff(policy: Policy, memorizing_pays: bool) -> int:
    """How many of the last 20 of 60 chunks are learned from where one action raises accuracy and the other costs."""
    accuracy, spent, actions = 0.2, 0.0, []
    looked = dict.fromkeys(LOOKED, 0.3)
    for step in range(60):
        seen = looked | {"learner_accuracy": accuracy, "memory_accuracy": 0.0}
        actions.append(policy.decide(Observation(step, 60, memory_entries=1, spent=spent, **seen)))
        pays = (actions[-1] == Action.MEMORIZE) == memorizing_pays
        accuracy, spent = accuracy + 0.01 * pays, spent + 100 * (not pays)
    return actions[-20:].count(Action.LEARN)


@pytest.mark.parametrize("make", [LinUCBPolicy, ThompsonPolicy])
def test_bandits_come_to_take_what_pays(make: type[LinUCBPolicy]) -> None:
    assert payoff(make(), memorizing_pays=False) >= 15
    assert payoff(make(), memorizing_pays=True) <= 5


@pytest.mark.parametrize("make", [LinUCBPolicy, ThompsonPolicy, ForecastPolicy])
def test_who_sees_the_learner_alone_reads_nothing_of_memory(make: type[LinUCBPolicy]) -> None:
    policy, other = make(observes="learner"), make(observes="learner")
    assert policy.observes == "learner"
    for full in stream(20, 3):
        bare = replace(full, **{name: math.nan for name in LOOKED if "learner" not in name})
        assert policy.decide(full) == other.decide(bare)


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (LinUCBPolicy, {"alpha": -1.0}, "expected a finite alpha of at least 0, got -1"),
        (LinUCBPolicy, {"ridge": 0.0}, "expected a finite ridge of at least 1e-06, got 0"),
        (ThompsonPolicy, {"scale": math.nan}, "expected a finite scale of at least 0, got nan"),
        (ThompsonPolicy, {"cost_weight": math.inf}, "expected a finite cost_weight of at least 0, got inf"),
        (ForecastPolicy, {"cost_weight": -1.0}, "expected a finite cost_weight of at least 0, got -1"),
        (ForecastPolicy, {"noise": 0.0}, "expected a finite noise of at least 0.001, got 0"),
        (ForecastPolicy, {"mean": (1.0,)}, "expected 4 finite numbers for the prior's mean, got (1.0,)"),
        (ForecastPolicy, {"precision": ((1.0,),)}, "expected 4 × 4 finite numbers for the prior's precision, got"),
        (
            ForecastPolicy,
            {"precision": ((1.0, 2.0, 0.0, 0.0),) * 4},
            "expected a symmetric precision of the prior with eigenvalues of at least 1e-06, got ((1.0, 2.0,",
        ),
    ],
)
def test_settings_out_of_range_are_refused(make: type[Policy], settings: dict, message: str) -> None:
    with pytest.raises(InvalidSetting, match=rf"^{re.escape(message)}"):
        make(**settings)


# Forecast


def slow_terms(actions: list[bool], n_chunks: int) -> list[float]:
    """φ after some actions."""
    order = sum(sum(actions[:t]) / n_chunks for t, learns in enumerate(actions) if not learns) / n_chunks
    shares = [sum(actions) / n_chunks, actions.count(False) / n_chunks, order]
    return [1.0, *(math.log(1 + 10 * share) for share in shares)]


@given(st.lists(st.booleans(), min_size=1, max_size=20))
def test_terms_follow_the_life(actions: list[bool]) -> None:
    n_chunks = len(actions)
    found = terms_of(counts_before_each(np.array(actions)), n_chunks)
    slow = [slow_terms(actions[:t], n_chunks) for t in range(n_chunks)]
    np.testing.assert_allclose(found, slow, rtol=1e-12, atol=1e-12)


@given(st.integers(1, 30), st.integers(0, 1000), st.floats(0.01, 1), st.floats(0, 0.1))
def test_the_posterior_is_that_of_all_rows_at_once(n_chunks: int, seed: int, noise: float, cost_weight: float) -> None:
    policy, observations = ForecastPolicy(cost_weight, noise), stream(n_chunks, seed)
    actions: list[bool] = []
    for observation in observations:
        phi = np.array([slow_terms(actions[:t], n_chunks) for t in range(len(actions) + 1)])
        a = np.array([accuracy_seen(seen, "memory") for seen in observations[: len(phi)]])
        prior = np.diag(1 / np.array(DEVIATION) ** 2)
        covariance = np.linalg.inv(prior + phi.T @ phi / noise**2)
        beta = covariance @ (prior @ MEAN + phi.T @ a / noise**2)
        learning = slow_terms([*actions, True], n_chunks) @ beta - cost_weight * observation.learn_cost
        memorizing = slow_terms([*actions, False], n_chunks) @ beta - cost_weight * observation.memorize_cost
        actions.append(policy.decide(observation) == Action.LEARN)
        np.testing.assert_allclose(np.linalg.solve(policy.precision, policy.response), beta, rtol=1e-6, atol=1e-8)
        if not math.isclose(learning, memorizing, rel_tol=1e-6, abs_tol=1e-8):
            assert actions[-1] == (learning > memorizing)


def test_the_generic_prior_weighs_growth_against_cost() -> None:
    first = Observation(0, 10, learner_accuracy=0.1, learn_cost=100.0, memorize_cost=1.0)
    assert ForecastPolicy(cost_weight=0.0).decide(first) == Action.LEARN
    assert ForecastPolicy(cost_weight=0.01).decide(first) == Action.MEMORIZE


def worlds_of(n_worlds: int, deviation: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows of lives in worlds whose β differ: terms, accuracy, world, and the mean of the β."""
    rng = np.random.default_rng(seed)
    centre = np.array([0.2, 0.15, 0.05, 0.1])
    terms, accuracy, worlds = [], [], []
    for world in range(n_worlds):
        beta = centre + deviation * rng.standard_normal(4)
        for _ in range(8):
            phi = terms_of(counts_before_each(rng.random(40) < rng.random()), 40)
            terms.append(phi)
            accuracy.append(phi @ beta + 0.01 * rng.standard_normal(40))
            worlds += [world] * 40
    return np.concatenate(terms), np.concatenate(accuracy), np.array(worlds), centre


def test_a_prior_is_how_worlds_differ() -> None:
    terms, accuracy, worlds, centre = worlds_of(200, 0.03)
    mean, precision = fit_prior(terms, accuracy, worlds, noise=0.01)
    np.testing.assert_allclose(mean, centre, atol=0.02)
    deviations = np.sqrt(np.diag(np.linalg.inv(precision)))
    assert (deviations > 0.02).all()
    assert (deviations < 0.06).all()
    assert ForecastPolicy(mean=mean, precision=precision).decide(stream(1, 0)[0]) in {Action.LEARN, Action.MEMORIZE}


@given(st.integers(1, 4), st.sampled_from([0.0, 1e-9, 10.0]), st.sampled_from([0.001, 0.05, 1.0]))
def test_a_prior_is_one_whatever_it_is_fitted_to(n_worlds: int, deviation: float, noise: float) -> None:
    terms, accuracy, worlds, _ = worlds_of(n_worlds, deviation)
    mean, precision = fit_prior(terms, accuracy, worlds, noise=noise)
    ForecastPolicy(mean=mean, precision=precision)
    mean, precision = fit_prior(terms[:1], accuracy[:1], worlds[:1], noise=noise)
    ForecastPolicy(mean=mean, precision=precision)


def test_no_prior_without_numbers() -> None:
    terms, accuracy, worlds, _ = worlds_of(1, 0.0)
    with pytest.raises(InvalidSetting, match=r"^expected at least 1 row to fit a prior to, got none$"):
        fit_prior(terms[:0], accuracy[:0], worlds[:0])
    with pytest.raises(InvalidSetting, match=r"^expected finite terms and accuracies, got NaN or infinity; leave"):
        fit_prior(terms, accuracy * math.nan, worlds)


def test_bandits_bear_constant_and_extreme_contexts() -> None:
    looked = dict.fromkeys(LOOKED, 1.0)
    for policy in LinUCBPolicy(ridge=1e-6), ThompsonPolicy(ridge=1e-6):
        for step in range(2000):
            observation = Observation(step, 2000, price=1e9, spent=1e6 * step, memory_entries=1, **looked)
            assert policy.decide(observation) in {Action.LEARN, Action.MEMORIZE}
