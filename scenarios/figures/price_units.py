"""Units in which prices are shown, by the size of the prices."""

from collections.abc import Sequence
from math import log10

_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z")


def prefixed(prices: Sequence[float], unit: str) -> tuple[str, float]:
    """The unit with the prefix in which prices are nearest to 1, and its size.

    Args:
        prices: the lowest and the highest price of one unit, above 0.
        unit: such as `FLOP`.

    Returns:
        The unit's name, such as `PFLOP`, and how many units it has, such as 1e15: a price of one unit times that is
        the price of it.
    """
    middle = sum(map(log10, prices)) / len(prices)
    i = min(range(len(_PREFIXES)), key=lambda i: abs(middle + 3 * i))
    return _PREFIXES[i] + unit, 1000.0**i


def counted(queries: int) -> str:
    """A number of queries, in words."""
    return {0: "no queries", 1: "1 query"}.get(queries, f"{queries:,} queries")
