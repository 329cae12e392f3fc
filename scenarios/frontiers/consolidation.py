"""What consolidating is worth as the cost weighs more: the best schedule, against the best one without it."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from agent.accounting.costs import CostModel
from scenarios.analysis.csv_table import interval_columns
from scenarios.analysis.held_out import held_out, price_grid
from scenarios.analysis.options import Options
from scenarios.analysis.statistics import Interval, mean_interval
from scenarios.figures.consolidation import COLUMNS
from scenarios.frontiers.reading import Consolidating, Measured

Tariff = Literal["given", "flat"]
"""The tariff of the runs or of the command; or every chunk at its mean price, over chunks and seeds."""


@dataclass(frozen=True)
class Worth:
    """What consolidating is worth with one memory, under one cost model and tariff.

    Attributes:
        memory: its label.
        cost: the cost model, as it was given.
        tariff: see `Tariff`.
        prices: points of accuracy per unit of cost.
        points: at each price, utility with consolidating minus without it, in points of accuracy.
        best: at each price, the schedule of highest mean utility over all seeds.
        best_without: the same among schedules that do not consolidate.
    """

    memory: str
    cost: str
    tariff: Tariff
    prices: Float[np.ndarray, " prices"]
    points: tuple[Interval, ...]
    best: tuple[str, ...]
    best_without: tuple[str, ...]

    def told_apart(self) -> tuple[int, int] | None:
        """At how many prices the interval lies above 0, and below 0; None without intervals."""
        ends = [(each.low, each.high) for each in self.points if each.low is not None and each.high is not None]
        return (sum(low > 0 for low, _ in ends), sum(high < 0 for _, high in ends)) if ends else None


def find_worth(measured: Measured, models: Mapping[str, CostModel], confidence: float) -> tuple[Worth, ...]:
    """What consolidating is worth with each memory, under each cost model that has a cost; nothing for other runs.

    Args:
        measured: the schedules.
        models: the cost models, by their specs.
        confidence: level of the intervals, in (0, 1).
    """
    of = measured.consolidating
    return () if of is None else tuple(_worths(measured, of, models, confidence))


def _worths(
    measured: Measured, of: Consolidating, models: Mapping[str, CostModel], confidence: float
) -> Iterator[Worth]:
    lived = measured.options
    # Who never consolidates stores no raw images: such schedules cost what they would without the third action.
    options = replace(
        lived, written=lived.written - of.unused_written, byte_chunks=lived.byte_chunks - of.unused_byte_chunks
    )
    flat = None if of.flat_flops is None else replace(options, flops=of.flat_flops)
    for cost, model in models.items():
        for memory, indices in measured.by_memory.items():
            tariffs: dict[Tariff, Options] = {"given": options.at(indices)}
            if flat is not None:
                tariffs["flat"] = flat.at(indices)
            costs = {tariff: options.cost(model, 0) for tariff, options in tariffs.items()}
            if not any(each.any() for each in costs.values()):
                continue
            consolidates = of.chosen[indices]
            accuracy, names = tariffs["given"].accuracy, tariffs["given"].names
            prices = price_grid(
                (accuracy[:, among], each[:, among])
                for each in costs.values()
                for among in (np.ones_like(consolidates), ~consolidates)
            )
            for tariff, each in costs.items():
                found = held_out(accuracy, each, consolidates, prices)
                points = tuple(mean_interval(gains, confidence) for gains in found.gains)
                best, without = (tuple(names[i] for i in chosen) for chosen in (found.best, found.best_without))
                yield Worth(memory, cost, tariff, prices, points, best, without)


def notes_on_worth(worths: tuple[Worth, ...], n_seeds: int) -> list[str]:
    """Notes for a careful reader of what consolidating is worth; none for other runs."""
    if not worths:
        return []
    if n_seeds == 1:
        notes = [
            "a single seed chooses the schedules and measures what consolidating is worth: the estimate has no "
            "interval, is biased upward, and is never negative"
        ]
    else:
        notes = [
            "what consolidating is worth is measured, for each seed, with schedules that the other seeds chose; these "
            "choices share seeds, so the intervals are approximate, and they hold at one price, not at all together"
        ]
    n_memories = len({each.memory for each in worths})
    if n_memories > COLUMNS:
        notes.append(f"consolidation.png shows the first {COLUMNS} of {n_memories} memories")
    return notes


def worth_json(worths: tuple[Worth, ...], measured: Measured, models: Mapping[str, CostModel]) -> dict[str, Any]:
    """What consolidating is worth, as plain values; for trees that offer it."""
    assert measured.consolidating is not None
    prices = measured.consolidating.prices
    return {
        "seeds": list(measured.seeds),
        "prices_of_chunks": prices.tolist(),
        "flat_price": float(prices.mean()),
        "notes": notes_on_worth(worths, len(measured.seeds)),
        "worth": [
            {
                "memory": each.memory,
                "cost": each.cost,
                "unit": models[each.cost].unit,
                "tariff": each.tariff,
                "at": [
                    {"points_per_unit": price, "worth": asdict(points), "best": best, "best_without": without}
                    for price, points, best, without in _by_price(each)
                ],
            }
            for each in worths
        ],
    }


def worth_rows(worths: tuple[Worth, ...], models: Mapping[str, CostModel]) -> Iterator[dict[str, Any]]:
    """A row for each cost model, memory, tariff and price."""
    for each in worths:
        for price, points, best, without in _by_price(each):
            yield {
                "cost_model": each.cost,
                "unit": models[each.cost].unit,
                "memory": each.memory,
                "tariff": each.tariff,
                "points_per_unit": price,
                **interval_columns("worth", points),
                "best": best,
                "best_without": without,
            }


def _by_price(each: Worth) -> Iterator[tuple[float, Interval, str, str]]:
    return zip(each.prices.tolist(), each.points, each.best, each.best_without, strict=True)
