"""Which parameters belong to which optimizer."""

import pytest

from agent.learners.muon import Muon
from agent.learners.recipe import adamw, muon


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
    first = next(group for group in adamw(weight_decay=0.5).groups if group.has(name))
    assert first.settings["weight_decay"] == (0.5 if decays else 0.0)


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("groups.0.conv1.weight", 1.0),
        ("convolutions.3.weight", 1.0),
        ("hidden.0.weight", 1.0),
        ("whitening.weight", 1.0),
        ("layer1.0.bn2.weight", 0.053 / 0.24),
        ("layer1.0.bn2.bias", 0.053 / 0.24),
        ("linear.bias", 0.053 / 0.24),
        ("head.weight", 0.67 / 0.24),
        ("linear.weight", 0.67 / 0.24),
        ("subhead.weight", 1.0),
    ],
)
def test_muon_trains_filters_and_matrices_and_sgd_the_rest_at_rates_of_their_own(name, share):
    recipe = muon(lr=0.1, weight_decay=1e-3, batch=20)
    group = next(group for group in recipe.groups if group.has(name))
    assert (group.optimizer is Muon) == (share == 1.0)
    assert group.settings["lr"] == pytest.approx(0.1 * share)
    if group.optimizer is not Muon:  # decay by batch, whatever the rate
        assert group.settings["weight_decay"] * group.settings["lr"] == pytest.approx(20 * 1e-3)
    assert recipe.lr == 0.1
