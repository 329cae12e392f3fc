"""The report of the best options as prices move."""

import math
from pathlib import Path

import numpy as np

from scenarios.analysis.frontier import QueryCount
from scenarios.analysis.report import Column, Report, Table, numbers
from scenarios.config.settings import FrontierConfig
from scenarios.figures.price_units import counted
from scenarios.figures.style import seed_count
from scenarios.frontiers.files import findings_json, notes_of
from scenarios.frontiers.findings import Choice, Findings
from scenarios.frontiers.reading import ALL

_SHOWN = 7
"""Most options of a sequence in the table; of a longer one the first and the last are shown."""


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
    return Report(findings_json(found), parts, notes_of(found), facts, has_trajectories=False)


def _frontiers(found: Findings) -> list[Table]:
    """The best options under each cost model and number of queries."""
    measured = found.measured
    among = f"{ALL} together" if found.main == ALL else f"memory {found.main}"
    what = "schedules" if measured.kind == "tree" else "k%-learners with their memory of the rest"
    shown = [choice for choice in found.choices if choice.among == found.main]
    has_queries = any(found.queries)
    level = f"{100 * found.confidence:g}%"
    sizes = {cost: _size([choice for choice in shown if choice.cost == cost]) for cost in found.models}
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


def _size(choices: list[Choice]) -> float:
    """The number of units of cost, a power of 1000, for which break-even prices have few digits; 1 if that will do."""
    ratios = [each.price for choice in choices for each in choice.best if each.price is not None]
    prices = [abs(price.estimate) for price in ratios if price.estimate]
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
