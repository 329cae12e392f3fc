"""Muon against its description, step by step in double precision."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.learners.muon import Muon, orthogonalized


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 99), st.sampled_from([(3, 50), (5, 500)]))
def test_singular_values_come_near_to_one(rows, columns, seed, steps):
    n_steps, smallest = steps
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    a, b, c = 3.4445, -4.7750, 2.0315
    values = s / (matrix.norm() + 1e-7)
    for _ in range(n_steps):
        values = a * values + b * values**3 + c * values**5
    torch.testing.assert_close(orthogonalized(matrix, n_steps), u @ torch.diag(values) @ v)
    near = values[s > matrix.norm() / smallest]
    assert bool(((near > 0.68) & (near < 1.21)).all())


def test_a_tensor_of_zeros_takes_its_first_update():
    weights = torch.nn.Parameter(torch.zeros(3, 4))
    weights.grad = torch.eye(3, 4)
    Muon([weights], lr=0.1).step()
    torch.testing.assert_close(weights.detach(), -0.1 * orthogonalized(torch.eye(3, 4), 3))


@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_steps_are_those_of_the_description(momentum):
    generator = torch.Generator().manual_seed(1)
    weights = torch.nn.Parameter(torch.randn(4, 3, 2, 2, generator=generator))
    optimizer = Muon([weights], lr=0.1, momentum=momentum, n_steps=3)
    expected, averaged = weights.detach().double().clone(), torch.zeros(4, 12, dtype=torch.float64)
    for _ in range(4):
        weights.grad = torch.randn(4, 3, 2, 2, generator=generator)
        gradient = weights.grad.double().reshape(4, 12)
        averaged = momentum * averaged + gradient
        update = orthogonalized(gradient + momentum * averaged, 3)
        expected = expected * 2 / expected.norm() - 0.1 * update.view(4, 3, 2, 2)
        optimizer.step()
        torch.testing.assert_close(weights.detach().double(), expected, rtol=1e-4, atol=1e-5)


def test_the_scale_of_the_gradient_is_of_no_effect():
    start = torch.randn(5, 7, generator=torch.Generator().manual_seed(2))
    ended = []
    for scale in (1, 1000):
        weights = torch.nn.Parameter(start.clone())
        optimizer = Muon([weights])
        for step in range(3):
            weights.grad = scale * torch.randn(5, 7, generator=torch.Generator().manual_seed(step))
            optimizer.step()
        ended.append(weights.detach())
    torch.testing.assert_close(*ended)


@pytest.mark.parametrize("settings", [{"lr": 0}, {"momentum": 1}, {"n_steps": 0}])
def test_settings_outside_their_range_are_refused(settings):
    with pytest.raises(ValueError, match="expected lr above 0"):
        Muon([torch.nn.Parameter(torch.ones(2, 2))], **settings)


def test_a_bias_is_refused():
    with pytest.raises(ValueError, match="expected filters and matrices"):
        Muon([torch.nn.Parameter(torch.ones(2))])
