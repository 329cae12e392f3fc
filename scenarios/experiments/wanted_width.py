"""How many more seeds intervals of a wanted width need and what those cost, as plain values and as a table."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import RunError
from agent.storage.record import SECONDS, SUMMARY, read_object
from scenarios.analysis.formats import duration, gflop
from scenarios.analysis.report import Column, Table, numbers
from scenarios.analysis.sample_size import ASSURANCE, SampleSize

Folders = Mapping[int, Sequence[Sequence[Path]]]
"""By seed, the folders of its lifetimes, in groups that share a learner."""


@dataclass(frozen=True)
class CostOfSeed:
    """What one seed costs in the mean over the finished ones, all its lifetimes together.

    Attributes:
        gflop: the work that the agents are billed; each lifetime pays in full for what it shares with others.
        spent: the costs that the agents are billed, in the unit of the cost model.
        seconds: bounds of the wall-clock time of a seed in one process, evaluations included, loading of data and files
            not. The records count time that lifetimes share in full for each, so that the sum over lifetimes is the
            upper bound; the longest of each group that shares a learner is the lower. None without records of time.
    """

    gflop: float
    spent: float
    seconds: tuple[float, float] | None


def cost_of_seed(folders: Folders) -> CostOfSeed:
    """The cost of a seed, from the summaries and the recorded seconds of finished lifetimes.

    Raises:
        RunError: a summary is missing or invalid.
    """
    n = len(folders)
    every = [folder for groups in folders.values() for group in groups for folder in group]
    gflops, spent = (sum(_number(folder, name) for folder in every) / n for name in ("spent_gflop", "spent"))
    bounds = []
    for groups in folders.values():
        found = [[_seconds(folder) for folder in group] for group in groups]
        timed = [[each for each in group if each is not None] for group in found]
        if timed == found:  # whole: a missing record would make the seed cheaper
            bounds.append((sum(map(max, timed)), sum(map(sum, timed))))
    if not bounds:
        return CostOfSeed(gflops, spent, None)
    low, high = (sum(each) / len(bounds) for each in zip(*bounds, strict=True))
    return CostOfSeed(gflops, spent, (low, high))


def _number(folder: Path, name: str) -> float:
    path = folder / SUMMARY
    try:
        return float(read_object(path, "--force starts anew")[name])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"expected {name} in {path}, got none or an invalid one ({error}); --force starts anew"
        ) from None


def _seconds(folder: Path) -> float | None:
    try:
        seconds = [float(each) for each in read_object(folder / SECONDS, "").values()]
    except (OSError, RunError, TypeError, ValueError, OverflowError):
        return None
    return sum(seconds) if all(0 <= each < math.inf for each in seconds) else None


@dataclass(frozen=True)
class WantedWidth:
    """Intervals that are read together, and the seeds that each needs to be as narrow as wanted.

    Attributes:
        width: high end minus low end, in the unit of the tables.
        unit: "points" of accuracy, or "" for a ratio.
        needs: the sample size of each interval, by what it is of; its widths are in the unit of the values.
        cost: of one seed.
        cost_unit: unit of `cost.spent`.
    """

    width: float
    unit: str
    needs: Mapping[str, SampleSize]
    cost: CostOfSeed
    cost_unit: str

    @property
    def more(self) -> int | None:
        """The seeds to add for every interval, as expected: all lifetimes live the same seeds."""
        return _largest([need.more for need in self.needs.values()])

    @property
    def more_cautious(self) -> int | None:
        """The same with caution."""
        return _largest([need.more_cautious for need in self.needs.values()])


def _largest(numbers: Sequence[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return max(known) if known and len(known) == len(numbers) else None


def wanted_width_json(wanted: WantedWidth) -> dict[str, Any]:
    """Widths, seeds and costs as plain values; None for a number that there is not. Widths are in `unit`."""
    scale, cost = _scale(wanted), wanted.cost

    def costs(n: int | None) -> dict[str, Any] | None:
        if n is None:
            return None
        seconds = [n * bound for bound in cost.seconds] if cost.seconds else None
        return {"gflop": n * cost.gflop, "spent": n * cost.spent, "unit": wanted.cost_unit, "seconds": seconds}

    return {
        "width": wanted.width,
        "unit": wanted.unit,
        "assurance": ASSURANCE,
        "intervals": [
            {
                "of": of,
                "seeds": need.seeds,
                "width": None if need.width is None else scale * need.width,
                "expected": need.expected,
                "more": need.more,
                "cautious": need.cautious,
                "more_cautious": need.more_cautious,
                "reason": need.reason,
            }
            for of, need in wanted.needs.items()
        ],
        "more": wanted.more,
        "more_cautious": wanted.more_cautious,
        "costs": {"one_seed": costs(1), "more": costs(wanted.more), "more_cautious": costs(wanted.more_cautious)},
    }


def wanted_width_parts(wanted: WantedWidth, *, of: str, intervals: str, how: str) -> list[str | Table]:
    """A table of the seeds that each interval needs, and lines on what they cost and how to live them.

    Args:
        wanted: the widths and seeds.
        of: what the intervals are of, for the title.
        intervals: what they are, and what is supposed of further seeds, for the caption.
        how: how further seeds are lived.
    """
    scale = _scale(wanted)

    def row(label: str, *cells: str, need: tuple[int | None, ...]) -> tuple[str, ...]:
        whole = ["-" if number is None else f"{number:,}" for number in need]
        costs = ["-" if number is None else gflop(number * wanted.cost.gflop) for number in (need[1], need[3])]
        return (label, *cells, *whole[:2], costs[0], *whole[2:], costs[1])

    rows = []
    for label, need in wanted.needs.items():
        now = "-" if need.width is None else f"{scale * need.width:.{1 if wanted.unit else 2}f}"
        numbered = (need.expected, need.more, need.cautious, need.more_cautious)
        rows.append(row(label, now, f"{need.seeds:,}", need=numbered))
    if len(rows) > 1:
        expected, cautious = (
            _largest([getattr(need, name) for need in wanted.needs.values()]) for name in ("expected", "cautious")
        )
        rows.append(row("all of them", "", "", need=(expected, wanted.more, cautious, wanted.more_cautious)))
    headings = ("width\nnow", "seeds\nnow", "seeds\nexpected", "more", "GFLOP", "seeds\ncautious", "more", "GFLOP")
    table = Table(
        (Column("interval of", is_text=True, folds=True), *numbers(*headings)),
        tuple(rows),
        f"seeds for intervals of {of} {wanted.width:g}{f' {wanted.unit}' * bool(wanted.unit)} wide, from end to end",
        f"{intervals}; cautious: enough with {100 * ASSURANCE:g}% assurance; GFLOP: of the further seeds, as billed to "
        "all lifetimes of a seed",
    )
    reasons: dict[str, list[str]] = {}
    for label, need in wanted.needs.items():
        if need.reason:
            reasons.setdefault(need.reason, []).append(label)
    lines = [f"{', '.join(labels)}: {reason}." for reason, labels in reasons.items()]
    return ["", table, *lines, *_costs(wanted, how)]


def _costs(wanted: WantedWidth, how: str) -> list[str]:
    cost = wanted.cost
    spent = "" if wanted.cost_unit == "GFLOP" else f" and {gflop(cost.spent)} {wanted.cost_unit}"
    lines = [f"One more seed, all lifetimes of it: {gflop(cost.gflop)} GFLOP{spent}{_time(1, cost)}."]
    if cost.seconds:
        lines[0] = f"{lines[0][:-1]} in one process, on the machine of these lifetimes."
    if wanted.more is not None and wanted.more_cautious is not None:
        lines.append(
            f"For all intervals: {wanted.more:,} more seeds expected{_time(wanted.more, cost)}; with caution "
            f"{wanted.more_cautious:,}{_time(wanted.more_cautious, cost)}. {how}"
            if wanted.more
            else "Every interval is as narrow already."
        )
    return lines


def _time(n: int, cost: CostOfSeed) -> str:
    """The time of so many seeds; a range, since lifetimes that share work record it in full each."""
    if not cost.seconds or not n:
        return ""
    low, high = (duration(n * bound) for bound in cost.seconds)
    return f", about {low if low == high else f'{low} to {high}'}"


def _scale(wanted: WantedWidth) -> float:
    """The units of the tables in one unit of the values."""
    return 100 if wanted.unit == "points" else 1
