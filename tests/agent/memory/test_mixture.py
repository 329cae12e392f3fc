import numpy as np
import torch
from hypothesis import given
from hypothesis import settings as tried
from hypothesis import strategies as st

from agent.memory.mixture import W_GRID, LinearMixing, Mixture, fit_mixture

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
    assert mixture.as_json() == {"w": 0.25, "setting": {"k": 5.0, "temperature": 0.1}}
    assert Mixture.from_json(mixture.as_json()) == mixture
    assert Mixture(0.5, {}).fitted  # of a memory without any choice
    assert not Mixture.from_json(Mixture().as_json()).fitted
