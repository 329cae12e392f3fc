import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.memory.mixture import THETA_GRID, W_GRID, Mixture, fit_mixture


def distributions(*shape, seed=0, sharpness=3.0):
    generator = torch.Generator().manual_seed(seed)
    return (sharpness * torch.randn(*shape, generator=generator)).softmax(dim=-1)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 12), n_classes=st.integers(2, 4), seed=st.integers(0, 1000))
def test_the_fit_is_the_best_of_the_grid(n, n_classes, seed):
    learner, memory = distributions(n, n_classes, seed=seed), distributions(3, n, n_classes, seed=seed + 1)
    labels = torch.randint(n_classes, (n,), generator=torch.Generator().manual_seed(seed))
    thetas = (1.0, 2.0, 4.0)
    best = max(
        (
            (mixed.argmax(1) == labels.numpy()).sum(),
            np.log(mixed[np.arange(n), labels.numpy()].astype(float)).mean().round(9),
        )
        for recalled in memory.numpy()
        for w in W_GRID
        if (mixed := np.float32(w) * learner.numpy() + (1 - np.float32(w)) * recalled) is not None
    )
    found = fit_mixture(learner, memory, labels, thetas)
    mixed = found.mix(learner, memory[thetas.index(found.theta)]).numpy()
    assert (mixed.argmax(1) == labels.numpy()).sum() >= best[0]
    assert np.log(mixed[np.arange(n), labels.numpy()].astype(float)).mean() >= best[1] - 1e-5


def test_both_ends_are_within_reach():
    labels = torch.tensor([0, 1, 2, 0])
    right = torch.eye(3)[labels] * 0.9 + 0.1 / 3
    wrong = right.roll(1, dims=1)
    assert fit_mixture(right, wrong[None], labels, (5.0,)) == Mixture(1.0, 5.0)
    assert fit_mixture(wrong, right[None], labels, (5.0,)) == Mixture(0.0, 5.0)


def test_equal_accuracies_are_told_apart_by_likelihood():
    labels = torch.tensor([0])
    learner = torch.tensor([[0.6, 0.4]])
    memory = torch.tensor([[[0.7, 0.3]], [[0.9, 0.1]]])
    assert fit_mixture(learner, memory, labels, (1.0, 2.0)) == Mixture(0.0, 2.0)


def test_the_grids_are_wide_and_hold_their_ends():
    assert (W_GRID[0], W_GRID[-1]) == (0.0, 1.0)
    assert THETA_GRID[0] <= 1
    assert THETA_GRID[-1] >= 1000
    assert np.allclose(np.diff(np.log(THETA_GRID)), np.log(2) / 2)
