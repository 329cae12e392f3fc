"""Cost models: what work and storage are worth, in one unit."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from agent.accounting.work import Work
from agent.errors import InvalidSetting

LARGEST_PRICE = 1e15
"""Beyond it, costs and their squares could overflow."""


@dataclass(frozen=True)
class CostModel:
    """Prices of computing, writing and holding. A price of compute that changes over time multiplies `per_flop`.

    Raises:
        InvalidSetting: a price that is negative or not finite.
    """

    name: str
    unit: str
    per_flop: float
    """Of a floating-point operation, where the price of compute is 1."""
    per_byte_written: float = 0.0
    per_byte_chunk: float = 0.0
    """Of holding a byte for as long as a chunk lasts."""

    def __post_init__(self) -> None:
        for price in ("per_flop", "per_byte_written", "per_byte_chunk"):
            value = getattr(self, price)
            if not (math.isfinite(value) and value >= 0):
                raise InvalidSetting(f"expected prices that are finite and at least 0, got {price} = {value:g}")
            if value > LARGEST_PRICE:
                raise InvalidSetting(f"expected prices of at most {LARGEST_PRICE:g}, got {price} = {value:g}; lower it")

    def of(self, work: Work, price: float = 1.0) -> float:
        """What work costs while the price of compute is `price`."""
        return work.flops * self.per_flop * price + work.nbytes * self.per_byte_written

    def of_holding(self, nbytes: int) -> float:
        """What it costs to hold `nbytes` for one chunk."""
        return nbytes * self.per_byte_chunk


def flops() -> CostModel:
    """FLOPs alone: a GFLOP costs 1 GFLOP (times the tariff), storage nothing."""
    return CostModel("flops", "GFLOP", per_flop=1e-9)


def cloud(
    accelerator_hour: float = 2.73,
    tflops: float = 300.0,
    gigabyte_month: float = 0.08,
    chunk_seconds: float = 1.0,
) -> CostModel:
    """Rented compute and storage, in euro; the defaults are to be replaced by one's own bill.

    Args:
        accelerator_hour: euro for an hour of the accelerator; an H100 PCIe on a European price list.
        tflops: what it sustains, in TFLOP/s; an assumption, 40% of its bfloat16 peak.
        gigabyte_month: euro for holding a gigabyte (10^9 bytes) for a month of 730 hours; as block storage.
        chunk_seconds: seconds between chunks, during which storage is held.

    References:
        Scaleway's price list of 2024, H100-1-80G at €2.73 an hour; NVIDIA's data sheet of the H100 PCIe, 756 TFLOP/s in
        bfloat16; block storage from memory, no list was at hand.
    """
    if not tflops > 0:
        raise InvalidSetting(f"expected tflops above 0, got {tflops:g}")
    per_byte_second = gigabyte_month / (730 * 3600) / 1e9
    return CostModel(
        "cloud",
        "EUR",
        per_flop=accelerator_hour / 3600 / (tflops * 1e12),
        per_byte_chunk=per_byte_second * chunk_seconds,
    )


def energy(
    picojoule_flop: float = 2.3,
    picojoule_byte: float = 160.0,
    watt_gigabyte: float = 0.1,
    chunk_seconds: float = 1.0,
) -> CostModel:
    """Energy by operation, byte written and byte held, in joule; what reading takes is not counted.

    Args:
        picojoule_flop: for a floating-point operation; half a 32-bit multiplication (3.7 pJ) and addition (0.9 pJ) at
            45 nm.
        picojoule_byte: for a byte written; a quarter of the 640 pJ for 32 bits of DRAM.
        watt_gigabyte: for holding a gigabyte (10^9 bytes) of DRAM, refresh and standby; an assumption, of the order of
            an idle memory module.
        chunk_seconds: seconds between chunks, during which storage is held.

    References:
        Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014, figure 1.1.9; Han et al.,
        "Learning both weights and connections for efficient neural networks", NIPS 2015, arXiv:1506.02626, table 1.
    """
    return CostModel(
        "energy",
        "J",
        per_flop=picojoule_flop * 1e-12,
        per_byte_written=picojoule_byte * 1e-12,
        per_byte_chunk=watt_gigabyte * chunk_seconds / 1e9,
    )


def prices(
    gflop: float = 1.0, megabyte_written: float = 0.0, megabyte_chunk: float = 0.0, unit: str = "credits"
) -> CostModel:
    """Prices of one's own.

    Args:
        gflop: of 10^9 floating-point operations.
        megabyte_written: of writing 10^6 bytes.
        megabyte_chunk: of holding 10^6 bytes for the duration of a chunk.
        unit: what all of this is counted in.
    """
    return CostModel("prices", unit, gflop / 1e9, megabyte_written / 1e6, megabyte_chunk / 1e6)


COST_MODELS: dict[str, Callable[..., CostModel]] = {
    "flops": flops,
    "cloud": cloud,
    "energy": energy,
    "prices": prices,
}
"""Every cost model, by the name it has on the command line."""
