"""Cost models: prices of compute and storage, in one unit."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from agent.accounting.work import Work
from agent.errors import InvalidSetting

LARGEST_PRICE = 1e15
"""Above it, costs and their squares could overflow."""


@dataclass(frozen=True)
class CostModel:
    """Prices of computing, writing and holding bytes.

    Raises:
        InvalidSetting: a price that is negative or not finite.
    """

    name: str
    unit: str
    per_flop: float
    """Price of a floating-point operation; a tariff multiplies it."""
    per_byte_written: float = 0.0
    per_byte_chunk: float = 0.0
    """Price of holding a byte for the duration of a chunk."""

    def __post_init__(self) -> None:
        for price in ("per_flop", "per_byte_written", "per_byte_chunk"):
            value = getattr(self, price)
            if not (math.isfinite(value) and value >= 0):
                raise InvalidSetting(f"expected prices that are finite and at least 0, got {price} = {value:g}")
            if value > LARGEST_PRICE:
                raise InvalidSetting(f"expected prices of at most {LARGEST_PRICE:g}, got {price} = {value:g}; lower it")

    def of(self, work: Work, price: float = 1.0) -> float:
        """Cost of work when the tariff of compute is `price`."""
        return work.flops * self.per_flop * price + work.nbytes * self.per_byte_written

    def of_holding(self, nbytes: int) -> float:
        """Cost of holding `nbytes` for one chunk."""
        return nbytes * self.per_byte_chunk


def flops() -> CostModel:
    """FLOPs alone: a GFLOP costs 1 GFLOP (times the tariff), and storage is free."""
    return CostModel("flops", "GFLOP", per_flop=1e-9)


def cloud(
    accelerator_hour: float = 2.73,
    tflops: float = 300.0,
    gigabyte_month: float = 0.08,
    chunk_seconds: float = 1.0,
) -> CostModel:
    """Rented compute and storage, in euro; replace the defaults by the prices that you pay.

    Args:
        accelerator_hour: euro for an hour of the accelerator; by default an H100 PCIe on a European price list.
        tflops: sustained speed of the accelerator in TFLOP/s; by default 40% of its bfloat16 peak, an assumption.
        gigabyte_month: euro for holding a gigabyte (10^9 bytes) of block storage for a month of 730 hours.
        chunk_seconds: duration of a chunk in seconds, for the price of storage.

    Raises:
        InvalidSetting: a price that is negative or not finite, or `tflops` of 0 or less.

    References:
        Scaleway's price list of 2024, H100-1-80G at €2.73 an hour; NVIDIA's data sheet of the H100 PCIe, 756 TFLOP/s in
        bfloat16. The price of block storage is an estimate without a source.
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
    """Energy of operations, bytes written and bytes held, in joule; reading is not counted.

    Args:
        picojoule_flop: for a floating-point operation; by default half of a 32-bit multiplication (3.7 pJ) and addition
            (0.9 pJ) at 45 nm.
        picojoule_byte: for a byte written; by default a quarter of the 640 pJ for 32 bits of DRAM.
        watt_gigabyte: for the refresh and standby of a gigabyte (10^9 bytes) of DRAM; an assumption, about the power of
            an idle memory module.
        chunk_seconds: duration of a chunk in seconds, for the energy of storage.

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
    """Prices that you choose.

    Args:
        gflop: price of 10^9 floating-point operations.
        megabyte_written: price of writing 10^6 bytes.
        megabyte_chunk: price of holding 10^6 bytes for the duration of a chunk.
        unit: unit of the prices.
    """
    return CostModel("prices", unit, gflop / 1e9, megabyte_written / 1e6, megabyte_chunk / 1e6)


COST_MODELS: dict[str, Callable[..., CostModel]] = {
    "flops": flops,
    "cloud": cloud,
    "energy": energy,
    "prices": prices,
}
"""Cost models by their name on the command line."""
