"""Prices of compute for each chunk of a stream, as multiples of the cost model's price.

A tariff is a function of the number of chunks, 1 or more, and a seed. It returns one finite price of 0 or more for each
chunk. It raises InvalidSetting if there is no chunk or one of its own settings is out of range.
"""

import math
from collections.abc import Callable, Sequence
from numbers import Real

import torch

from agent.errors import InvalidSetting
from agent.randomness import named_generator

_LARGEST = 1e15
"""The largest price; with larger ones, costs and their squares could overflow."""


def constant(n_chunks: int, *, seed: int, price: float = 1.0) -> tuple[float, ...]:
    """The same price at every chunk.

    Args:
        price: of every chunk, 0 or more.
    """
    _check_chunks(n_chunks)
    _check("price", price)
    return (price,) * n_chunks


def day_night(n_chunks: int, *, seed: int, period: int = 10, day: float = 1.5, night: float = 0.5) -> tuple[float, ...]:
    """High prices by day, low prices by night; the first half of each period (rounded up) is day.

    Args:
        period: number of chunks of a day and a night together, 2 or more.
        day: price by day, 0 or more.
        night: price by night, 0 or more.

    Raises:
        InvalidSetting: a setting outside its range.
    """
    _check_chunks(n_chunks)
    if period < 2:
        raise InvalidSetting(f"expected a period of at least 2 chunks, got {period}; change the tariff's period")
    _check("day", day)
    _check("night", night)
    return tuple(day if 2 * (step % period) < period else night for step in range(n_chunks))


def random_walk(n_chunks: int, *, seed: int, sigma: float = 0.1) -> tuple[float, ...]:
    """A geometric random walk that starts at 1: the logarithm of the price takes independent normal steps of mean 0.

    With more chunks, the first prices stay the same.

    Args:
        sigma: standard deviation of a step of the logarithm, 0 or more; prices must not exceed 1e15.

    Raises:
        InvalidSetting: a negative sigma, or one with which a price exceeds 1e15.
    """
    _check_chunks(n_chunks)
    _check("sigma", sigma)
    generator = named_generator(seed, "tariff")
    level, prices = 0.0, [1.0]
    for _ in range(n_chunks - 1):  # one by one, since the numbers of a vector depend on its length
        level += sigma * float(torch.randn((), generator=generator, dtype=torch.float64))
        prices.append(math.exp(level) if level < math.log(_LARGEST) else math.inf)
    if math.inf in prices:
        raise InvalidSetting(f"expected prices of at most {_LARGEST:g}, got larger ones with sigma={sigma:g}; lower it")
    return tuple(prices)


def _check_chunks(n_chunks: int) -> None:
    if n_chunks < 1:
        raise InvalidSetting(f"expected prices for at least 1 chunk, got {n_chunks}; change --chunks")


def _check(name: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise InvalidSetting(f"expected a finite {name} of 0 or more, got {value:g}; change the tariff's {name}")
    if value > _LARGEST:
        raise InvalidSetting(f"expected a {name} of at most {_LARGEST:g}, got {value:g}; change the tariff's {name}")


def checked_prices(prices: Sequence[float], n_chunks: int) -> tuple[float, ...]:
    """The prices of a stream of n chunks.

    Raises:
        InvalidSetting: another number of prices, or one that is no finite number of 0 or more.
    """
    if len(prices) != n_chunks:
        raise InvalidSetting(
            f"expected {n_chunks} prices, one for each chunk, got {len(prices)}; make the tariff for as many chunks"
        )
    for step, price in enumerate(prices):
        if not (isinstance(price, Real) and math.isfinite(price) and price >= 0):
            shown = f"{price:g}" if isinstance(price, Real) else repr(price)
            raise InvalidSetting(f"expected finite prices of 0 or more, got {shown} at chunk {step}; change the tariff")
    return tuple(map(float, prices))


TARIFFS: dict[str, Callable[..., tuple[float, ...]]] = {
    "constant": constant,
    "day-night": day_night,
    "random-walk": random_walk,
}
"""All tariffs by name."""
