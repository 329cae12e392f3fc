"""Which parameters belong to which optimizer."""

import pytest
import torch

from agent.data.augmentation import Augmentation
from agent.learners.muon import Muon
from agent.learners.recipe import ParameterGroup, adamw, muon


@pytest.mark.parametrize(
    ("name", "decays"),
    [
        ("conv1.weight", True),
        ("layer1.0.bn2.weight", False),
        ("linear.bias", False),
        ("norm.weight", False),
        ("blocks.3.layer_norm.weight", False),
        ("ln_1.weight", False),
        ("kiln.weight", True),
    ],
)
def test_adamw_decays_neither_biases_nor_scales_of_normalization(name, decays):
    first = next(group for group in adamw(weight_decay=0.5).groups if group.has(name, torch.ones(2, 2)))
    assert first.settings["weight_decay"] == (0.5 if decays else 0.0)


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("groups.0.conv1.weight", 1.0),
        ("convolutions.3.weight", 1.0),
        ("hidden.0.weight", 1.0),
        ("whitening.weight", 1.0),
        ("layer1.0.bn2.weight", 0.053 / 0.24),
        ("shortcut.1.weight", 0.053 / 0.24),
        ("layer1.0.bn2.bias", 0.053 / 0.24),
        ("linear.bias", 0.053 / 0.24),
        ("head.weight", 0.67 / 0.24),
        ("linear.weight", 0.67 / 0.24),
        ("subhead.weight", 1.0),
    ],
)
def test_muon_trains_filters_and_matrices_and_sgd_the_rest_at_rates_of_their_own(name, share):
    recipe = muon(lr=0.1, weight_decay=1e-3, batch=20)
    parameter = (
        torch.ones(3) if "bias" in name or name in ("layer1.0.bn2.weight", "shortcut.1.weight") else torch.ones(3, 4)
    )
    group = next(group for group in recipe.groups if group.has(name, parameter))
    assert (group.optimizer is Muon) == (share == 1.0)
    assert group.settings["lr"] == pytest.approx(0.1 * share)
    if group.optimizer is not Muon:  # decay by batch, whatever the rate
        assert group.settings["weight_decay"] * group.settings["lr"] == pytest.approx(20 * 1e-3)
    assert recipe.lr == 0.1


def test_the_loss_of_muon_is_the_smoothed_one_summed_over_the_batch():
    logits, labels = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 3, 1, 1, 2])
    targets = torch.full((5, 4), 0.2 / 4)
    targets[torch.arange(5), labels] += 0.8
    expected = -(targets * logits.log_softmax(dim=1)).sum()
    torch.testing.assert_close(muon().loss(logits, labels), expected)


@pytest.mark.parametrize("mirror", [True, False])
def test_muon_shifts_by_reflection_and_mirrors_in_turns_as_far_as_it_suits(mirror):
    suited = Augmentation(shift=4, mirror=mirror)
    assert muon().augmentation_on(suited) == Augmentation(2, mirror, padding="reflect", alternating=True)
    assert muon().augmentation_on(Augmentation(shift=1)).shift == 1


def test_the_products_of_muon_are_billed_by_its_steps():
    matrix = torch.ones(8, 8)
    for n_steps in (1, 3, 5):
        group = ParameterGroup(Muon, {"lr": 0.1, "n_steps": n_steps})
        assert group.flops_of_step(matrix) == n_steps * (4 * 8 * 8 * 8 + 2 * 8 * 8 * 8)
    assert ParameterGroup(torch.optim.SGD, {"lr": 0.1}).flops_of_step(matrix) == 0
    assert muon().groups[0].flops_of_step(matrix) == Muon.flops_of_step((8, 8))


def test_six_views_are_an_image_and_its_mirror_image_shifted_along_the_diagonal():
    views = {(0, 0, False), *((view.down, view.right, view.mirrored) for view in muon(views="shifts").views)}
    assert views == {(shift, shift, mirrored) for shift in (-1, 0, 1) for mirrored in (False, True)}
