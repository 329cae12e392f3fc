"""What settings of a policy may be; NaN is in no range."""

from math import inf

from agent.errors import InvalidSetting
from agent.operations import OPERATIONS

LARGEST = 1e30
"""Of any number in a policy: its square, and sums of such, are far from overflowing."""


def check_within(name: str, value: float, low: float, high: float) -> None:
    """Refuse a setting outside `low`..`high`.

    Raises:
        InvalidSetting: value below low, above high or NaN.
    """
    if not low <= value <= high:
        raise InvalidSetting(f"expected {name} in {_written(low)}..{_written(high)}, got {_written(value)}")


def check_at_least(name: str, value: float, low: float) -> None:
    """Refuse a setting below `low`, or beyond what can be reckoned with.

    Raises:
        InvalidSetting: value below low, above 1e30, infinite or NaN.
    """
    if not low <= value < inf:
        raise InvalidSetting(f"expected a finite {name} of at least {_written(low)}, got {_written(value)}")
    if value > LARGEST:
        raise InvalidSetting(f"expected {name} of at most {LARGEST:g}, got {value:g}")


def _written(value: float) -> str:
    return str(value).removesuffix(".0")


def check_actions(n_scored: int) -> None:
    """Refuse scores of more actions, or of fewer than one, beside the first.

    Raises:
        InvalidSetting: another number than there can be.
    """
    if not 1 <= n_scored < len(OPERATIONS):
        known = ", ".join(OPERATIONS)
        raise InvalidSetting(f"expected scores of 1 to {len(OPERATIONS) - 1} actions out of {known}, got {n_scored}")
