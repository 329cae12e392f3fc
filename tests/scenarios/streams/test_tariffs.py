import inspect
import math

import numpy as np
import pytest
import torch

from agent.errors import InvalidSetting
from scenarios.streams.tariffs import TARIFFS, constant, day_night, random_walk

every_tariff = pytest.mark.parametrize("name", TARIFFS)


@every_tariff
@pytest.mark.parametrize("n_chunks", [1, 2, 57])
def test_contract(name, n_chunks):
    prices = TARIFFS[name](n_chunks, seed=3)
    assert isinstance(prices, tuple)
    assert len(prices) == n_chunks
    assert all(isinstance(price, float) and math.isfinite(price) and price >= 0 for price in prices)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert TARIFFS[name](n_chunks, seed=3) == prices
    assert torch.equal(torch.get_rng_state(), before)
    assert TARIFFS[name](n_chunks + 5, seed=3)[:n_chunks] == prices


@every_tariff
def test_settings_are_documented_and_plain(name):
    document, signature = inspect.getdoc(TARIFFS[name]), inspect.signature(TARIFFS[name])
    assert document.splitlines()[0].endswith(".")
    for setting, parameter in signature.parameters.items():
        assert setting in ("n_chunks", "seed") or f"\n    {setting}: " in document
        assert parameter.annotation in (int, float, str, bool)


@every_tariff
@pytest.mark.parametrize("n_chunks", [0, -1])
def test_no_chunk_has_no_price(name, n_chunks):
    with pytest.raises(InvalidSetting, match=f"expected prices for at least 1 chunk, got {n_chunks}; change --chunks"):
        TARIFFS[name](n_chunks, seed=0)


def test_constant():
    assert constant(3, seed=0) == (1.0, 1.0, 1.0)
    assert constant(2, seed=0, price=0.25) == (0.25, 0.25)


def test_day_and_night():
    assert day_night(6, seed=0, period=4) == (1.5, 1.5, 0.5, 0.5, 1.5, 1.5)
    assert day_night(6, seed=0, period=3, day=2.0, night=0.0) == (2.0, 2.0, 0.0, 2.0, 2.0, 0.0)


def test_a_random_walk_starts_at_1_and_takes_steps_of_sigma():
    prices = random_walk(4000, seed=0, sigma=0.02)
    assert prices[0] == 1.0
    steps = np.diff(np.log(prices))
    assert steps.std() == pytest.approx(0.02, rel=0.05)
    assert abs(steps.mean()) < 4 * 0.02 / math.sqrt(len(steps))
    assert random_walk(9, seed=0) != random_walk(9, seed=1)
    assert random_walk(3, seed=0, sigma=0.0) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("tariff", "own", "message"),
    [
        (constant, {"price": -1.0}, "expected a finite price of 0 or more, got -1; change the tariff's price"),
        (constant, {"price": math.nan}, "expected a finite price of 0 or more, got nan"),
        (day_night, {"period": 1}, "expected a period of at least 2 chunks, got 1; change the tariff's period"),
        (day_night, {"day": math.inf}, "expected a finite day of 0 or more, got inf; change the tariff's day"),
        (day_night, {"night": -0.5}, "expected a finite night of 0 or more, got -0.5; change the tariff's night"),
        (random_walk, {"sigma": -0.1}, "expected a finite sigma of 0 or more, got -0.1; change the tariff's sigma"),
        (random_walk, {"sigma": 1e6}, "expected prices of at most 1e.15, got larger ones with sigma=1e.06; lower it"),
        (constant, {"price": 1e16}, "expected a price of at most 1e.15, got 1e.16; change the tariff's price"),
    ],
)
def test_settings_outside_their_range(tariff, own, message):
    with pytest.raises(InvalidSetting, match=message):
        tariff(50, seed=0, **own)
