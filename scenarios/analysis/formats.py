"""Numbers as people read them."""

from scenarios.analysis.statistics import Interval


def percent(share: float | None) -> str:
    """A share from 0 to 1, in percent with one decimal."""
    return "-" if share is None else f"{round(100 * share, 1) + 0.0:.1f}"  # no "-0.0"


def spread(interval: Interval | None) -> str:
    """The mean of shares in percent with its interval, if it has one."""
    if interval is None or interval.low is None:
        return percent(interval.estimate if interval else None)
    return f"{percent(interval.estimate)} [{percent(interval.low)}, {percent(interval.high)}]"


def plus_minus(interval: Interval | None) -> str:
    """The mean of shares in percent with half the width of its interval, if it has one."""
    if interval is None:
        return "-"
    half = "" if interval.high is None else f" ± {100 * (interval.high - interval.estimate):.1f}"
    return f"{percent(interval.estimate)}{half}"


def gflop(amount: float) -> str:
    """An amount of work or money: a whole number from 10 on, two digits below."""
    return f"{amount:,.0f}" if abs(amount) >= 10 else f"{amount:.2g}"


def estimate_of(interval: Interval | None) -> float:
    """The mean, or 0 if there is none."""
    return interval.estimate if interval else 0.0
