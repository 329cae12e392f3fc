import math

import pytest

from agent.accounting.costs import COST_MODELS, CostModel
from agent.accounting.ledger import Ledger
from agent.accounting.work import ACCOUNTS, Charge, Work
from agent.errors import InvalidSetting

MODEL = CostModel("toy", "credits", per_flop=2.0, per_byte_written=0.5, per_byte_chunk=0.25)


def test_accounts_are_charged_apart():
    ledger = Ledger(MODEL)
    ledger.charge("learn", Work(flops=5, samples=1))
    ledger.charge("learn", Work(flops=7, seconds=1.5), price=3)
    ledger.charge("answer", Work(nbytes=3))
    ledger.charge("evaluate", Work(flops=1000))
    assert ledger.accounts["learn"] == Work(12, samples=1)
    assert ledger.accounts["rekey"] == Work()
    assert ledger.costs["learn"] == 5 * 2 + 7 * 2 * 3
    assert ledger.costs["answer"] == 1.5
    assert ledger.seconds() == dict.fromkeys(ACCOUNTS, 0.0) | {"learn": 1.5}
    assert ledger.flops() == 12
    assert ledger.spent() == 52 + 1.5
    assert ledger.spent(("learn", "rekey")) == 52


def test_storage_is_charged_by_byte_and_chunk_held():
    ledger = Ledger(MODEL)
    for nbytes in (0, 100, 300):
        ledger.hold(nbytes)
    assert ledger.byte_chunks == 400
    assert ledger.costs["storage"] == ledger.spent() == 100


def test_pending_work_is_part_of_totals_and_of_no_account():
    ledger = Ledger(MODEL)
    ledger.charge("learn", Work(flops=5))
    ledger.expect([Charge("learn", Work(flops=3), 4.0), Charge("rekey", Work(flops=1), 4.0)])
    assert (ledger.flops(), ledger.flops(("learn",)), ledger.flops(("memorize",))) == (9, 8, 0)
    assert (ledger.spent(), ledger.spent(("learn",))) == (10 + 24 + 8, 10 + 24)
    assert (ledger.costs["learn"], ledger.accounts["learn"]) == (10, Work(5))
    restored = Ledger(MODEL)
    restored.load_state(ledger.state())
    assert restored.spent() == ledger.spent()
    ledger.expect([])
    assert ledger.spent() == 10


def test_a_state_is_the_ledger():
    ledger = Ledger(MODEL)
    ledger.charge("learn", Work(flops=5, nbytes=2, seconds=0.5, samples=1))
    ledger.hold(8)
    restored = Ledger(MODEL)
    restored.load_state(ledger.state())
    assert restored.state() == ledger.state()
    restored.charge("learn", Work(flops=1))
    assert (ledger.flops(), restored.flops()) == (5, 6)


@pytest.mark.parametrize("name", COST_MODELS)
def test_every_cost_model_prices_computing_and_has_a_unit(name):
    model = COST_MODELS[name]()
    assert model.unit
    assert 0 < model.of(Work(flops=10**9)) < math.inf
    assert model.of(Work(flops=10**9), 0) == 0
    assert model.of(Work(flops=10**9), 2) == 2 * model.of(Work(flops=10**9))
    assert model.of_holding(0) == 0
    assert COST_MODELS[name].__doc__


def test_prices_in_the_units_that_people_think_in():
    assert COST_MODELS["flops"]().of(Work(flops=3 * 10**9)) == pytest.approx(3)
    # an hour at 300 TFLOP/s costs what an hour costs
    assert COST_MODELS["cloud"]().of(Work(flops=300 * 10**12 * 3600)) == pytest.approx(2.73)
    # 10^9 bytes for 730 hours
    assert COST_MODELS["cloud"](chunk_seconds=730 * 3600).of_holding(10**9) == pytest.approx(0.08)
    assert COST_MODELS["energy"]().of(Work(flops=10**12)) == pytest.approx(2.3)
    assert COST_MODELS["energy"](chunk_seconds=60).of_holding(10**9) == pytest.approx(6)
    own = COST_MODELS["prices"](gflop=2, megabyte_written=3, megabyte_chunk=5, unit="EUR")
    assert own.unit == "EUR"
    assert own.of(Work(flops=10**9, nbytes=10**6)) == pytest.approx(5)
    assert own.of_holding(10**6) == pytest.approx(5)


@pytest.mark.parametrize("price", [-1.0, math.nan, math.inf])
def test_impossible_prices_are_refused(price):
    with pytest.raises(InvalidSetting, match="expected prices that are finite and at least 0, got per_flop"):
        CostModel("toy", "credits", per_flop=price)
    with pytest.raises(InvalidSetting, match=r"expected (prices|tflops)"):
        COST_MODELS["cloud"](tflops=price if price < math.inf else 0)
