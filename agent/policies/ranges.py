"""Checks of the settings of policies; NaN is in no range."""

import reprlib
from math import inf

import numpy as np
from jaxtyping import Float

from agent.errors import InvalidSetting

LARGEST = 1e30
"""Largest number in a policy: its square, and sums of squares, are far from overflow."""


def check_within(name: str, value: float, low: float, high: float) -> None:
    """Check that a setting is in `low`..`high`.

    Raises:
        InvalidSetting: value below low, above high or NaN.
    """
    if not low <= value <= high:
        raise InvalidSetting(f"expected {name} in {_written(low)}..{_written(high)}, got {_written(value)}")


def check_at_least(name: str, value: float, low: float) -> None:
    """Check that a setting is in `low`..`LARGEST`.

    Raises:
        InvalidSetting: value below low, above `LARGEST`, infinite or NaN.
    """
    if not low <= value < inf:
        raise InvalidSetting(f"expected a finite {name} of at least {_written(low)}, got {_written(value)}")
    if value > LARGEST:
        raise InvalidSetting(f"expected {name} of at most {LARGEST:g}, got {value:g}")


def check_numbers(where: str, *numbers: Float[np.ndarray, "..."]) -> None:
    """Check that all numbers are finite and at most ±`LARGEST`.

    Raises:
        InvalidSetting: one is not; the message says where.
    """
    if not all(np.isfinite(each).all() for each in numbers):
        raise InvalidSetting(f"expected finite numbers in {where}, got NaN or infinity among them")
    if max(np.abs(each).max(initial=0) for each in numbers) > LARGEST:
        raise InvalidSetting(f"expected numbers of at most ±{LARGEST:g} in {where}, got larger ones among them")


def check_one_of(name: str, value: object, *choices: str) -> None:
    """Check that a setting is one of the choices.

    Raises:
        InvalidSetting: it is not.
    """
    if value not in choices:
        raise InvalidSetting(f"expected {name} to be {' or '.join(choices)}, got {reprlib.repr(value)}")


def _written(value: float) -> str:
    return str(value).removesuffix(".0")
