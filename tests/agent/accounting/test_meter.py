import pytest

from agent.accounting.meter import PARTS, Meter
from agent.accounting.work import Work


def test_a_meter_adds_up_by_part_and_survives_a_round_trip():
    meter = Meter()
    meter.add("training", Work(flops=5, seconds=1.0, samples=2))
    meter.add("training", Work(flops=7, seconds=0.5, samples=1))
    meter.add("recall", Work(flops=3))
    assert meter.state()["training"] == {"flops": 12, "samples": 3, "seconds": 1.5}
    assert list(meter.state()) == list(PARTS)
    other = Meter()
    other.load_state(meter.state())
    assert other.state() == meter.state()
    with pytest.raises(KeyError):
        other.load_state({})
