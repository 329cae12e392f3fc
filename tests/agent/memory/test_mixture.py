import numpy as np
import torch
from hypothesis import given
from hypothesis import settings as tried
from hypothesis import strategies as st

from agent.memory.mixture import (
    TEMPERATURES,
    W_GRID,
    LinearMixing,
    Mixture,
    fit_mixture,
    fit_temperature,
    tempered,
)

FIVE = {"theta": 5.0}


def distributions(*shape, seed=0, sharpness=3.0):
    generator = torch.Generator().manual_seed(seed)
    return (sharpness * torch.randn(*shape, generator=generator)).softmax(dim=-1)


@tried(max_examples=30, deadline=None)
@given(n=st.integers(1, 12), n_classes=st.integers(2, 4), seed=st.integers(0, 1000))
def test_the_fit_is_the_best_of_the_grid(n, n_classes, seed):
    learner, memory = distributions(n, n_classes, seed=seed), distributions(3, n, n_classes, seed=seed + 1)
    labels = torch.randint(n_classes, (n,), generator=torch.Generator().manual_seed(seed))
    settings = ({"theta": 1.0}, {"theta": 2.0}, {"theta": 4.0})
    best = max(
        (
            (mixed.argmax(1) == labels.numpy()).sum(),
            np.log(mixed[np.arange(n), labels.numpy()].astype(float)).mean().round(9),
        )
        for recalled in memory.numpy()
        for w in W_GRID
        if (mixed := np.float32(w) * learner.numpy() + (1 - np.float32(w)) * recalled) is not None
    )
    found = fit_mixture(learner, memory, labels, settings)
    mixed = LinearMixing().combine(learner, memory[settings.index(found.setting)], found).numpy()
    assert (mixed.argmax(1) == labels.numpy()).sum() >= best[0]
    assert np.log(mixed[np.arange(n), labels.numpy()].astype(float)).mean() >= best[1] - 1e-5


@tried(max_examples=30, deadline=None)
@given(n=st.integers(2, 15), seed=st.integers(0, 1000), within=st.sampled_from([0.0, 0.5, 1.0, 3.0]))
def test_likelihood_decides_between_pairs_within_some_standard_errors_of_the_best(n, seed, within):
    learner, memory = distributions(n, 3, seed=seed), distributions(2, n, 3, seed=seed + 1)
    labels = torch.randint(3, (n,), generator=torch.Generator().manual_seed(seed))
    settings = ({"theta": 1.0}, {"theta": 2.0})
    pairs = {}
    for setting, recalled in zip(settings, memory, strict=True):
        for w in W_GRID:
            mixed = np.float32(w) * learner.numpy() + (1 - np.float32(w)) * recalled.numpy()
            likelihood = np.log(mixed[np.arange(n), labels.numpy()].astype(float)).sum()
            pairs[w, setting["theta"]] = mixed.argmax(1) == labels.numpy(), likelihood
    best, _ = max(pairs.values(), key=lambda pair: (pair[0].sum(), pair[1]))
    close = []
    for pair, (right, likelihood) in pairs.items():
        behind = best.astype(int) - right.astype(int)
        if behind.mean() <= within * behind.std(ddof=1) / n**0.5 + 1e-9:
            close.append((likelihood, pair))
    found = fit_mixture(learner, memory, labels, settings, within=within)
    alike = [pair for likelihood, pair in close if likelihood > max(close)[0] - 1e-4]
    assert found.w in [w for w, _ in alike]
    assert found.w == 1 or (found.w, found.setting["theta"]) in alike


def test_a_larger_tolerance_never_lowers_the_likelihood():
    learner, memory = distributions(200, 4), distributions(3, 200, 4, seed=1)
    labels = torch.randint(4, (200,), generator=torch.Generator().manual_seed(2))
    settings = tuple({"theta": theta} for theta in (1.0, 2.0, 4.0))

    def likelihood(within):
        found = fit_mixture(learner, memory, labels, settings, within=within)
        mixed = LinearMixing().combine(learner, memory[settings.index(found.setting)], found)
        return float(mixed.gather(1, labels[:, None]).log().sum())

    rising = [likelihood(within) for within in (0.0, 1.0, 2.0, 100.0)]
    assert rising == sorted(rising)
    assert rising[0] < rising[-1]


@tried(max_examples=20, deadline=None)
@given(temperature=st.sampled_from(TEMPERATURES[8:-8:4]), seed=st.integers(0, 100))
def test_the_temperature_by_which_probabilities_were_flattened_is_found(temperature, seed):
    right = distributions(4000, 5, seed=seed, sharpness=1.5)
    labels = torch.multinomial(right, 1, generator=torch.Generator().manual_seed(seed))[:, 0]
    found = fit_temperature(tempered(right, 1 / temperature), labels)
    assert 0.8 < found / temperature < 1.25


def test_an_uninformative_learner_has_a_temperature_of_1():
    assert fit_temperature(torch.full((30, 4), 0.25), torch.arange(30) % 4) == 1


def test_a_temperature_changes_no_prediction_and_1_changes_nothing():
    probabilities = distributions(50, 4)
    assert tempered(probabilities, 1.0) is probabilities
    for temperature in (0.125, 0.5, 2.0, 8.0):
        changed = tempered(probabilities, temperature)
        torch.testing.assert_close(changed.sum(dim=1), torch.ones(50))
        assert torch.equal(changed.argmax(dim=1), probabilities.argmax(dim=1))
    torch.testing.assert_close(tempered(tempered(probabilities, 2.0), 0.5), probabilities)
    certain = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    torch.testing.assert_close(tempered(certain, 0.5), certain)


def test_both_ends_are_within_reach():
    labels = torch.tensor([0, 1, 2, 0])
    right = torch.eye(3)[labels] * 0.9 + 0.1 / 3
    wrong = right.roll(1, dims=1)
    assert fit_mixture(right, wrong[None], labels, (FIVE,)) == Mixture(1.0, FIVE)
    assert fit_mixture(wrong, right[None], labels, (FIVE,)) == Mixture(0.0, FIVE)


def test_equal_accuracies_are_told_apart_by_likelihood():
    labels = torch.tensor([0])
    learner = torch.tensor([[0.6, 0.4]])
    memory = torch.tensor([[[0.7, 0.3]], [[0.9, 0.1]]])
    assert fit_mixture(learner, memory, labels, ({"theta": 1.0}, FIVE)) == Mixture(0.0, FIVE)


def test_both_ends_of_the_grid_are_tried():
    assert (W_GRID[0], W_GRID[-1]) == (0.0, 1.0)


def test_a_fitted_mixture_survives_being_written_down():
    mixture = Mixture(0.25, {"k": 5.0, "temperature": 0.1})
    assert mixture.as_json() == {"w": 0.25, "setting": {"k": 5.0, "temperature": 0.1}, "temperature": 1.0}
    assert Mixture.from_json(mixture.as_json()) == mixture
    assert Mixture(0.5, {}).fitted  # of a memory without any choice
    assert not Mixture.from_json(Mixture().as_json()).fitted
