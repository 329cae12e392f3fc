"""Prices of compute over the life of an agent, chunk by chunk, as multiples of what the cost model says.

Every tariff is a function of the number of chunks and a seed that gives one price a chunk, finite and not negative.
"""

import math
from collections.abc import Callable

import torch

from agent.errors import InvalidSetting
from agent.randomness import named_generator


def constant(n_chunks: int, *, seed: int, price: float = 1.0) -> tuple[float, ...]:
    """The same price at every chunk.

    Args:
        n_chunks: number of prices, 1 or more.
        seed: not used.
        price: of every chunk, 0 or more.

    Raises:
        InvalidSetting: no chunk, or a price that is negative or not finite.
    """
    _check_chunks(n_chunks)
    _check("price", price)
    return (price,) * n_chunks


def day_night(n_chunks: int, *, seed: int, period: int = 10, day: float = 1.5, night: float = 0.5) -> tuple[float, ...]:
    """Dear by day and cheap by night: the first half of every period is day (the longer half, if it is odd).

    Args:
        n_chunks: number of prices, 1 or more.
        seed: not used.
        period: chunks of a day and a night together, 2 or more.
        day: price by day, 0 or more.
        night: price by night, 0 or more.

    Raises:
        InvalidSetting: no chunk, a period below 2, or a price that is negative or not finite.
    """
    _check_chunks(n_chunks)
    if period < 2:
        raise InvalidSetting(f"expected a period of at least 2 chunks, got {period}; change the tariff's period")
    _check("day", day)
    _check("night", night)
    return tuple(day if 2 * (step % period) < period else night for step in range(n_chunks))


def random_walk(n_chunks: int, *, seed: int, sigma: float = 0.1) -> tuple[float, ...]:
    """A geometric random walk from 1: the logarithm of the price takes independent normal steps of mean 0.

    Args:
        n_chunks: number of prices, 1 or more.
        seed: of the walk; a longer one begins with the shorter.
        sigma: standard deviation of a step of the logarithm, 0 or more.

    Raises:
        InvalidSetting: no chunk, a sigma that is negative or not finite, or one so large that the price overflows.
    """
    _check_chunks(n_chunks)
    _check("sigma", sigma)
    generator = named_generator(seed, "tariff")
    level, prices = 0.0, [1.0]
    for _ in range(n_chunks - 1):  # one by one: a vector's numbers depend on its length
        level += sigma * float(torch.randn((), generator=generator, dtype=torch.float64))
        prices.append(math.exp(level) if level < math.log(_LARGEST) else math.inf)
    if math.inf in prices:
        raise InvalidSetting(f"expected prices of at most {_LARGEST:g}, got larger ones with sigma={sigma:g}; lower it")
    return tuple(prices)


_LARGEST = 1e15
"""Beyond it, costs and their squares could overflow."""


def _check_chunks(n_chunks: int) -> None:
    if n_chunks < 1:
        raise InvalidSetting(f"expected prices for at least 1 chunk, got {n_chunks}; change --chunks")


def _check(name: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise InvalidSetting(f"expected a finite {name} of 0 or more, got {value:g}; change the tariff's {name}")
    if value > _LARGEST:
        raise InvalidSetting(f"expected a {name} of at most {_LARGEST:g}, got {value:g}; change the tariff's {name}")


TARIFFS: dict[str, Callable[..., tuple[float, ...]]] = {
    "constant": constant,
    "day-night": day_night,
    "random-walk": random_walk,
}
"""By the name that a user gives."""
