"""The files of findings about options: JSON, CSV, figures and TensorBoard events."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from agent.storage.record import RunDirectory
from scenarios.analysis.csv_table import csv_table, interval_columns
from scenarios.analysis.frontier import StoragePrice
from scenarios.analysis.options import AMOUNTS, Options
from scenarios.analysis.statistics import Ratio
from scenarios.figures.consolidation import WorthPanel, consolidation_figure
from scenarios.figures.frontier import CostPanel, frontier_figure
from scenarios.figures.price_map import MapPanel, price_map_figure
from scenarios.frontiers.consolidation import worth_json, worth_rows
from scenarios.frontiers.findings import Breakeven, Choice, Findings, Panel
from scenarios.frontiers.reading import ALL
from scenarios.running.interval_notes import notes_on_intervals
from scenarios.running.provenance import notes_on_tuning
from scenarios.running.results import write_results


def write_findings(found: Findings, directory: RunDirectory) -> None:
    """Write frontier.json, .csv and .png, frontier_map.json, .csv and .png, tables of break-even points, and events.

    There are break-even points of curves alone. Trees that offer to consolidate also have consolidation.json, .csv and
    .png.
    """
    measured = found.measured
    first = next(iter(found.models))
    drawn = [choice for choice in found.choices if choice.cost == first and choice.among == found.main]
    of_cost = frontier_figure(
        drawn[0].options,
        [CostPanel(each.queries, each.costs, tuple(best.option for best in each.best)) for each in drawn],
        memories=list(measured.by_memory),
        cost=first,
        unit=found.models[first].unit,
        title=measured.title,
        confidence=found.confidence,
    )
    ratios = {
        name: model.per_byte_chunk / model.per_flop if model.per_flop else np.inf
        for name, model in found.models.items()
        if model.per_flop or model.per_byte_chunk
    }
    of_prices = price_map_figure(
        [MapPanel(**vars(panel), by_memory=panel.among == ALL) for panel in found.panels],
        ratios,
        memories=list(measured.by_memory),
        n_chunks=measured.n_chunks,
        title=measured.title,
        confidence=found.confidence,
    )
    if found.breakevens:
        directory.write("breakeven_queries.csv", csv_table(list(_query_rows(found))))
        directory.write("breakeven_storage.csv", csv_table(list(_storage_rows(found))))
    with directory.tensorboard() as board:
        content, rows = findings_json(found), list(_rows(found))
        write_results(directory, board, "frontier", content, rows, of_cost)
        regions = [row for panel in found.panels for row in _region_rows(panel)]
        write_results(directory, board, "frontier_map", content["map"], regions, of_prices)
        if found.worths:
            worths = list(worth_rows(found.worths, found.models))
            write_results(directory, board, "consolidation", content["consolidation"], worths, _worth_figure(found))


def _worth_figure(found: Findings) -> Figure:
    """The figure of what consolidating is worth under the first cost model that has a cost."""
    measured, cost = found.measured, found.worths[0].cost
    assert measured.consolidating is not None
    of_cost = [each for each in found.worths if each.cost == cost]
    flat = {each.memory: each.points for each in of_cost if each.tariff == "flat"}
    return consolidation_figure(
        [
            WorthPanel(each.memory, each.prices, each.points, flat.get(each.memory), each.best)
            for each in of_cost
            if each.tariff == "given"
        ],
        measured.consolidating.prices,
        cost=cost,
        unit=found.models[cost].unit,
        title=measured.title,
        n_seeds=len(measured.seeds),
        confidence=found.confidence,
    )


def notes_of(found: Findings) -> list[str]:
    """Notes for a careful reader."""
    measured = found.measured
    together = len(measured.options)
    notes = [*measured.notes, *notes_on_tuning(measured.config)]
    notes += notes_on_intervals(measured.config, n_together=together, of="options")
    notes.append("the best options are chosen by the same seeds that measure them, and no interval covers this choice")
    lowest = sorted({_lowest(choice) for choice in found.choices} - {""})
    if lowest:
        notes.append(
            f"best at the end of what was measured: {', '.join(lowest)}; whether less learning would be better still, "
            "at high prices, was not measured"
        )
    return notes


def _lowest(choice: Choice) -> str:
    """The name of the best option that learns least of all options of its memory; empty if it learns nothing."""
    last = choice.best[-1].option
    learned = choice.options.learned
    return choice.labels()[-1] if 0 < learned[last] <= learned.min() else ""


def findings_json(found: Findings) -> dict[str, Any]:
    """All findings as plain values."""
    measured, seen = found.measured, found.seen()
    every = len(measured.options) <= 1000
    worths = {"consolidation": worth_json(found.worths, measured, found.models)} if found.worths else {}
    return {
        "runs": measured.kind,
        "title": measured.title,
        "seeds": list(measured.seeds),
        "chunks": measured.n_chunks,
        "n_scored": measured.n_scored,
        "confidence": found.confidence,
        "calibrating": found.calibrating,
        "queries": list(found.queries),
        "memories": list(measured.by_memory),
        "costs": {name: asdict(model) for name, model in found.models.items()},
        "notes": notes_of(found),
        "frontiers": [_choice_json(choice, found) for choice in found.choices],
        "breakevens": [_breakeven_json(each, found) for each in found.breakevens],
        "map": _map_json(found),
        **worths,
        "options": [
            _option_json(measured.options, i)
            for i in range(len(measured.options))
            if every or measured.options.label(i) in seen
        ],
    }


def _named(options: Options, i: int) -> dict[str, Any]:
    return {"memory": options.memories[i], "option": options.names[i], "learned": float(options.learned[i])}


def _choice_json(choice: Choice, found: Findings) -> dict[str, Any]:
    return {
        "cost": choice.cost,
        "unit": found.models[choice.cost].unit,
        "queries": choice.queries,
        "among": choice.among,
        "best": [
            {
                **_named(choice.options, each.option),
                "accuracy": asdict(each.accuracy),
                "cost": asdict(each.cost),
                "points_per_unit": asdict(each.price) if each.price else None,
            }
            for each in choice.best
        ],
    }


def _option_json(options: Options, i: int) -> dict[str, Any]:
    return {**_named(options, i), "by_seed": {name: getattr(options, name)[:, i].tolist() for name in AMOUNTS}}


def _breakeven_json(each: Breakeven, found: Findings) -> dict[str, Any]:
    storage = [
        {
            "queries": n,
            "gflop_per_gigabyte": asdict(_per_gigabyte(price, found)),
            "memorizing_cheaper": price.cheaper,
        }
        for n, price in each.storage.items()
    ]
    return {
        "memory": each.memory,
        "option": each.option,
        "learned": each.learned,
        "queries": {cost: asdict(count) for cost, count in each.queries.items()},
        "storage": storage,
    }


def _per_gigabyte(price: StoragePrice, found: Findings) -> Ratio:
    """The price of storage for a gigabyte held during the whole stream, in GFLOP; without numbers if there is none."""
    n = found.measured.n_chunks  # bytes and FLOPs have the same prefix
    numbers = (price.flops_per_byte_chunk, price.low, price.high)
    estimate, low, high = (None if number is None else number * n for number in numbers)
    return Ratio(estimate, low, high, price.note)


def _map_json(found: Findings) -> dict[str, Any]:
    prices = found.panels[0].prices
    return {
        "points_per_flop": {"lowest": float(prices.compute[0]), "highest": float(prices.compute[-1])},
        "points_per_byte_chunk": {"lowest": float(prices.storage[0]), "highest": float(prices.storage[-1])},
        "cells": list(prices.best.shape),
        "panels": [
            {
                "among": panel.among,
                "queries": panel.queries,
                "regions": [_region(panel, i) for i in panel.prices.shares()],
            }
            for panel in found.panels
        ],
    }


def _region(panel: Panel, i: int) -> dict[str, Any]:
    share, undecided = panel.prices.shares()[i]
    return {**_named(panel.options, i), "cells": share, "undecided_cells": undecided}


def _region_rows(panel: Panel) -> Iterator[dict[str, Any]]:
    for i in panel.prices.shares():
        yield {"among": panel.among, "queries": panel.queries, **_region(panel, i)}


def _rows(found: Findings) -> Iterator[dict[str, Any]]:
    """A row for each option that is best at some price, from a price of 0 on."""
    for choice in found.choices:
        for place, each in enumerate(choice.best, start=1):
            yield {
                "cost_model": choice.cost,
                "unit": found.models[choice.cost].unit,
                "queries": choice.queries,
                "among": choice.among,
                "place": place,
                **_named(choice.options, each.option),
                **interval_columns("accuracy", each.accuracy),
                **interval_columns("cost", each.cost),
                **interval_columns("points_per_unit", each.price),
                "points_per_unit_note": each.price.reason if each.price else None,
            }


def _query_rows(found: Findings) -> Iterator[dict[str, Any]]:
    for each in found.breakevens:
        for cost, count in each.queries.items():
            yield {
                "memory": each.memory,
                "option": each.option,
                "learned": each.learned,
                "cost_model": cost,
                "breakeven_queries": "never" if count.never else count.estimate,
                "breakeven_queries_low": count.low,
                "breakeven_queries_high": count.high,
                "note": count.note,
            }


def _storage_rows(found: Findings) -> Iterator[dict[str, Any]]:
    for each in found.breakevens:
        for n, price in each.storage.items():
            yield {
                "memory": each.memory,
                "option": each.option,
                "learned": each.learned,
                "queries": n,
                **interval_columns("storage_gflop_per_gigabyte", _per_gigabyte(price, found)),
                "memorizing_cheaper": price.cheaper,
            }
