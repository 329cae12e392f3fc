"""Parameters of a recall, and checks of their values."""

from collections.abc import Sequence

from agent.errors import InvalidSetting

Setting = dict[str, float]
"""Parameters of a recall, by names that the memory defines."""


LARGEST = 1e12
"""Of a parameter."""

LEAST_PENALTY = 1e-9
"""Relative to the mean of a diagonal: with less, rounding would make an indefinite matrix of a singular one."""


def positive(settings: Sequence[Setting], name: str, shown: str = "", *, least: float = 1e-12) -> list[float]:
    """The values of a parameter at each setting; raises InvalidSetting unless each is between `least` and 10¹².

    Args:
        settings: have the parameter.
        name: of the parameter.
        shown: its name in the error, if that is another one, such as λ for lambda.
        least: the smallest value that can be computed with.
    """
    values = [setting[name] for setting in settings]
    if not all(least <= value <= LARGEST for value in values):  # NaN is not
        raise InvalidSetting(f"expected finite {shown or name} above 0, from {least:g} to {LARGEST:g}, got {values}")
    return values


def whole(settings: Sequence[Setting], name: str) -> list[int]:
    """The values of a parameter at each setting; raises InvalidSetting unless each is a whole number above 0."""
    values = positive(settings, name)
    if not all(value == int(value) for value in values):
        raise InvalidSetting(f"expected {name} in whole numbers, got {values}")
    return [int(value) for value in values]
