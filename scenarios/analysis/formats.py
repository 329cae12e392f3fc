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


def duration(seconds: float) -> str:
    """A time in its natural unit, with two digits below ten: `8.5 s`, `12 min`, `3.4 h`."""
    unit, size = next((each for each in (("h", 3600.0), ("min", 60.0)) if seconds >= 1.5 * each[1]), ("s", 1.0))
    amount = seconds / size
    return f"{amount:,.0f} {unit}" if amount >= 10 else f"{amount:.2g} {unit}"


def estimate_of(interval: Interval | None) -> float:
    """The mean, or 0 if there is none."""
    return interval.estimate if interval else 0.0
