"""The report of the best options as prices move."""

import math
from pathlib import Path

import numpy as np

from scenarios.analysis.frontier import QueryCount
from scenarios.analysis.report import Column, Report, Table, numbers
from scenarios.analysis.statistics import Interval
from scenarios.config.settings import FrontierConfig
from scenarios.figures.price_units import counted
from scenarios.figures.style import seed_count
from scenarios.frontiers.consolidation import Worth, notes_on_worth
from scenarios.frontiers.files import findings_json, notes_of
from scenarios.frontiers.findings import Choice, Findings
from scenarios.frontiers.reading import ALL

_SHOWN = 7
"""Most options of a sequence in the table; of a longer one the first and the last are shown."""
_SHOWN_PRICES = 5
"""Prices at which the table shows what consolidating is worth, the lowest and the highest among them."""


def report(found: Findings, config: FrontierConfig, path: Path) -> Report:
    """The report of findings that were written to a folder."""
    parts: list[str | Table | list[Table]] = [_frontiers(found)]
    if found.breakevens:
        parts += ["", [_breakevens(found), _breakevens_by_cost(found)]]
    facts: list[tuple[str, list[Path | str]]] = [
        ("figure", [path / "frontier.png"]),
        ("table", [path / "frontier.csv", path / "frontier.json"]),
        ("map", [path / f"frontier_map.{kind}" for kind in ("png", "csv", "json")]),
    ]
    if found.breakevens:
        facts.append(("break-even", [path / f"breakeven_{what}.csv" for what in ("queries", "storage")]))
    if found.worths:
        parts += ["", _worths(found)]
        facts.append(("consolidation", [path / f"consolidation.{kind}" for kind in ("png", "csv", "json")]))
    notes = notes_of(found) + notes_on_worth(found.worths, len(found.measured.seeds))
    return Report(findings_json(found), parts, notes, facts, has_trajectories=False)


def _frontiers(found: Findings) -> list[Table]:
    """The best options under each cost model and number of queries."""
    measured = found.measured
    among = f"{ALL} together" if found.main == ALL else f"memory {found.main}"
    what = "schedules" if measured.kind == "tree" else "k%-learners with their memory of the rest"
    shown = [choice for choice in found.choices if choice.among == found.main]
    has_queries = any(found.queries)
    level = f"{100 * found.confidence:g}%"
    sizes = {cost: _size(_prices_of([choice for choice in shown if choice.cost == cost])) for cost in found.models}
    tables = []
    for intervals in (True, False):
        rows = []
        for choice in shown:
            unit, size = found.models[choice.cost].unit, sizes[choice.cost]
            cost = f"{choice.cost}\n{unit if size == 1 else f'{size:g} {unit}'}"
            sequence = _sequence(choice, size, intervals=intervals)
            rows.append((cost, *([f"{choice.queries:,}"] if has_queries else []), sequence))
        caption = (
            "until: the price, in points of accuracy per unit, at which the next one becomes as good"
            + (f", with its {level} interval" if intervals else "; ?: without an interval, or with one that holds 0")
            + ("; by memory and with intervals: frontier.csv" if not intervals else "; by memory: frontier.csv")
        )
        columns = (
            Column("cost\nunit", is_text=True),
            *(numbers("queries") if has_queries else ()),
            Column("best as the cost weighs more, from a price of 0 on", is_text=True, folds=True),
        )
        title = f"{measured.title}, {seed_count(len(measured.seeds))}: best {what}, {among}"
        tables.append(Table(columns, tuple(rows), title, caption, gap=2))
    return tables


def _prices_of(choices: list[Choice]) -> list[float]:
    """The break-even prices of choices, without their signs."""
    ratios = [each.price for choice in choices for each in choice.best if each.price is not None]
    return [abs(price.estimate) for price in ratios if price.estimate]


def _size(prices: list[float]) -> float:
    """The number of units of cost, a power of 1000, for which prices have few digits; 1 if that will do."""
    middle = float(np.median(prices)) if prices else 1.0
    return 1.0 if 0.01 <= middle < 1000 else 1000.0 ** -math.floor(math.log10(middle) / 3)


def _sequence(choice: Choice, size: float, *, intervals: bool) -> str:
    """The best options in a sentence, with the break-even prices between them, for so many units of cost."""
    texts = []
    for label, each in zip(choice.names(), choice.best, strict=True):
        if each.price is None:
            texts.append(label)
            continue
        price = each.price
        assert price.estimate is not None
        if price.low is None or price.high is None or not intervals:
            unsure = price.low is None or price.low <= 0
            texts.append(f"{label} until {_price(price.estimate * size)}{'?' * unsure}")
        else:
            estimate, low, high = (_price(number * size) for number in (price.estimate, price.low, price.high))
            texts.append(f"{label} until {estimate} [{low}, {high}]")
    if len(texts) > _SHOWN:
        texts[4:-2] = [f"({len(texts) - 6} more)"]
    return ", ".join(texts)


def _price(points: float) -> str:
    """Two digits, without an exponent where that is short."""
    return f"{points:.2g}" if abs(points) < 99.5 else f"{points:,.0f}"


def _breakevens(found: Findings) -> Table:
    """The number of queries at which memorizing has cost as much, by memory and k."""
    names = list(dict.fromkeys(each.option for each in found.breakevens))
    by_place = {(each.memory, each.option): each for each in found.breakevens}
    rows = []
    for memory in found.measured.by_memory:
        for cost in found.models:
            cells = [by_place.get((memory, name)) for name in names]
            rows.append((memory, cost, *("-" if each is None else _count(each.queries[cost]) for each in cells)))
    columns = (Column("memory", is_text=True, folds=True), Column("cost", is_text=True), *numbers(*names))
    return Table(columns, tuple(rows), _BREAKEVEN_TITLE, _breakeven_caption(found))


def _breakevens_by_cost(found: Findings) -> Table:
    """The same with a row for each memory and k, which fits where there are many k's."""
    rows = tuple(
        (each.memory, each.option, *(_count(each.queries[cost]) for cost in found.models)) for each in found.breakevens
    )
    columns = (Column("memory", is_text=True, folds=True), *numbers("k", *found.models))
    return Table(columns, rows, _BREAKEVEN_TITLE, _breakeven_caption(found))


_BREAKEVEN_TITLE = "queries after which memorizing the rest has cost as much as learning it"


def _breakeven_caption(found: Findings) -> str:
    shown = (
        "by k, the share that is learned; 0: it costs as much or more before any query; never: its answers cost no "
        "more; intervals: breakeven_queries.csv"
    )
    storage = "prices of storage: breakeven_storage.csv"
    return f"{shown}; {storage}" if any(found.queries) else f"{shown}; {storage} ({counted(0)})"


def _count(count: QueryCount) -> str:
    """A number of queries in a few characters: `950`, `12k`, `3.4M`."""
    queries = count.estimate
    if queries is None:
        return "never" if count.never else "-"
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if queries >= 0.9995 * size:
            amount = queries / size
            return f"{amount:.1f}{letter}" if amount < 9.95 else f"{amount:,.0f}{letter}"
    return f"{queries:.0f}"


def _worths(found: Findings) -> list[Table]:
    """What consolidating is worth at some prices of the first cost model, by memory; with intervals if they fit."""
    cost = found.worths[0].cost
    shown = {(each.memory, each.tariff): each for each in found.worths if each.cost == cost}
    given = [each for each in shown.values() if each.tariff == "given"]
    has_flat, has_memories = len(shown) > len(given), len(given) > 1
    unit, size = found.models[cost].unit, _size([price for each in given for price in each.prices.tolist()])
    columns = (
        *([Column("memory", is_text=True, folds=True)] if has_memories else []),
        *numbers(f"points per\n{unit if size == 1 else f'{size:g} {unit}'}"),
        Column("best\nschedule", is_text=True),
        Column("best\nwithout", is_text=True),
        *numbers("worth of\nconsolidating"),
        *(numbers("under a\nflat tariff") if has_flat else ()),
    )
    tables = []
    for intervals in (True, False):
        rows = []
        for each in given:
            flat = shown.get((each.memory, "flat"))
            for i in np.linspace(0, len(each.prices) - 1, _SHOWN_PRICES).round().astype(int).tolist():
                points = [_points(of.points[i], intervals=intervals) for of in (each, flat) if of is not None]
                price = _price(float(each.prices[i]) * size)
                rows.append((*([each.memory] * has_memories), price, each.best[i], each.best_without[i], *points))
        title = f"what consolidating is worth by {cost}, in points of accuracy"
        tables.append(Table(columns, tuple(rows), title, _worth_caption(found, list(shown.values()))))
    return tables


def _worth_caption(found: Findings, worths: list[Worth]) -> str:
    parts = []
    for each in worths:
        if (counts := each.told_apart()) is not None:
            named = ", ".join([each.memory] * (len(found.measured.by_memory) > 1) + ["flat"] * (each.tariff == "flat"))
            above, below = counts
            text = f"interval above 0 at {above} of {len(each.prices)} prices, below 0 at {below}"
            parts.append(f"{named}: {text}" if named else text)
    return "; ".join([*parts, "at more prices and costs: consolidation.csv"])


def _points(points: Interval, *, intervals: bool) -> str:
    """Points of accuracy with two decimals, and their interval if there is one."""
    estimate, low, high = (
        None if number is None else f"{round(number, 2) + 0.0:.2f}"  # no -0.00
        for number in (points.estimate, points.low, points.high)
    )
    return f"{estimate} [{low}, {high}]" if intervals and low is not None else str(estimate)
