"""Which parameters belong to which optimizer."""

import pytest

from agent.learners.recipe import adamw


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
