"""Parameters of a recall, and checks of their values."""

import math
from collections.abc import Sequence

from agent.errors import InvalidSetting

Setting = dict[str, float]
"""Parameters of a recall, by names that the memory defines."""


def positive(settings: Sequence[Setting], name: str, shown: str = "") -> list[float]:
    """The values of a parameter at each setting; raises InvalidSetting unless each is finite and above 0.

    Args:
        settings: have the parameter.
        name: of the parameter.
        shown: its name in the error, if that is another one, such as λ for lambda.
    """
    values = [setting[name] for setting in settings]
    if not all(math.isfinite(value) and value > 0 for value in values):
        raise InvalidSetting(f"expected finite {shown or name} above 0, got {values}")
    return values


def whole(settings: Sequence[Setting], name: str) -> list[int]:
    """The values of a parameter at each setting; raises InvalidSetting unless each is a whole number above 0."""
    values = positive(settings, name)
    if not all(value == int(value) for value in values):
        raise InvalidSetting(f"expected {name} in whole numbers, got {values}")
    return [int(value) for value in values]
