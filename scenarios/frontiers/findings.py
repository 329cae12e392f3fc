"""What follows from the options: the best ones at each price, break-even points, and maps."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from agent.accounting.costs import CostModel
from scenarios.analysis.frontier import (
    NO_COST,
    Best,
    QueryCount,
    StoragePrice,
    breakeven_queries,
    breakeven_storage,
    frontier,
)
from scenarios.analysis.options import Options
from scenarios.analysis.price_map import PriceMap, price_map, price_ranges
from scenarios.config.settings import FrontierConfig
from scenarios.frontiers.consolidation import Worth, find_worth
from scenarios.frontiers.reading import ALL, Measured


@dataclass(frozen=True)
class Choice:
    """The best options at every price, under one cost model and number of queries.

    Attributes:
        among: the label of the memory, or `ALL`.
        cost: the cost model, as it was given.
        queries: number of queries after the stream.
        options: to choose from.
        costs: of each, in the unit of the cost model.
        best: from a price of 0 to an infinite one.
    """

    among: str
    cost: str
    queries: int
    options: Options
    costs: Float[np.ndarray, "seeds options"]
    best: tuple[Best, ...]

    def labels(self) -> tuple[str, ...]:
        """The label of each of the best options."""
        return tuple(self.options.label(each.option) for each in self.best)

    def names(self) -> tuple[str, ...]:
        """The name of each of the best options, with its memory if there are several."""
        return self.labels() if self.among == ALL else tuple(self.options.names[each.option] for each in self.best)


@dataclass(frozen=True)
class Breakeven:
    """When memorizing the rest has cost as much as learning it, for one k%-learner and memory; means over seeds.

    Attributes:
        memory: its label.
        option: the name of the k%-learner.
        learned: share of the stream that it learns, from 0 to 1.
        queries: the number of queries, by cost model.
        storage: the price of storage, by number of queries.
    """

    memory: str
    option: str
    learned: float
    queries: Mapping[str, QueryCount]
    storage: Mapping[int, StoragePrice]


@dataclass(frozen=True)
class Panel:
    """The map of one choice: the best option at each pair of prices.

    Attributes:
        among: the label of the memory, or `ALL`.
        queries: number of queries after the stream.
        options: to choose from.
        prices: the best of them.
        equal_cost: for each k at which memorizing the rest and learning it can cost the same: the price of storage over
            that of compute, in FLOPs per byte-chunk, at which they do; by the name of the k%-learner.
    """

    among: str
    queries: int
    options: Options
    prices: PriceMap
    equal_cost: Mapping[str, float]


@dataclass(frozen=True)
class Findings:
    """All that a run finds."""

    measured: Measured
    models: Mapping[str, CostModel]
    """The cost models, by their specs."""
    queries: tuple[int, ...]
    calibrating: bool
    confidence: float
    choices: tuple[Choice, ...]
    """By cost model, queries and memory; those among all options of a cost model and number of queries come first."""
    breakevens: tuple[Breakeven, ...]
    """None for trees."""
    panels: tuple[Panel, ...]
    """By memory, and by number of queries."""
    worths: tuple[Worth, ...] = ()
    """What consolidating is worth, by cost model, memory and tariff; of trees that offer it."""

    @property
    def main(self) -> str:
        """The choice among all options: `ALL`, or the only memory."""
        return self.choices[0].among

    def seen(self) -> set[str]:
        """The labels of the options that are best somewhere."""
        on_frontiers = {label for choice in self.choices for label in choice.labels()}
        in_maps = {panel.options.label(i) for panel in self.panels for i in panel.prices.shares()}
        return on_frontiers | in_maps


def find(measured: Measured, queries: tuple[int, ...], config: FrontierConfig) -> Findings:
    """All findings about these options."""
    models = {str(cost): cost.make() for cost in config.costs}
    choices = measured.choices()
    breakevens = tuple(_breakevens(measured, models, queries, config.confidence)) if measured.kind == "curve" else ()
    return Findings(
        measured,
        models,
        queries,
        config.calibrating,
        config.confidence,
        tuple(
            Choice(among, cost, n, options, costs, frontier(options, costs, config.confidence))
            for cost, model in models.items()
            for n in queries
            for among, options in choices.items()
            for costs in [options.cost(model, n)]
        ),
        breakevens,
        tuple(_panels(choices, queries, breakevens, config.confidence)),
        find_worth(measured, models, config.confidence),
    )


def _breakevens(
    measured: Measured, models: Mapping[str, CostModel], queries: tuple[int, ...], confidence: float
) -> Iterator[Breakeven]:
    options = measured.options
    whole = options.memories.index("")  # the 100%-learner
    costs = {name: options.cost(model, 0) for name, model in models.items()}
    flops = {n: options.computing(n) for n in queries}
    for label, indices in measured.by_memory.items():
        for i in indices.tolist():
            if i == whole:
                continue
            found: dict[str, QueryCount] = {}
            for name, model in models.items():
                if not model.per_flop and not model.per_byte_written and not model.per_byte_chunk:
                    found[name] = NO_COST
                    continue
                once, each = (
                    model.per_flop * (values[:, i] - values[:, whole])
                    for values in (options.recall_flops, options.query_flops)
                )
                found[name] = breakeven_queries(costs[name][:, whole] - costs[name][:, i], once, each, confidence)
            more = options.byte_chunks[:, i] - options.byte_chunks[:, whole]
            storage = {n: breakeven_storage(flops[n][:, whole] - flops[n][:, i], more, confidence) for n in queries}
            yield Breakeven(label, options.names[i], float(options.learned[i]), found, storage)


def _panels(
    choices: Mapping[str, Options], queries: tuple[int, ...], breakevens: tuple[Breakeven, ...], confidence: float
) -> Iterator[Panel]:
    compute, storage = price_ranges([(options, n) for options in choices.values() for n in queries])
    for among, options in choices.items():
        for n in queries:
            prices = price_map(options, n, compute, storage, confidence)
            lines = {
                each.option: found.flops_per_byte_chunk
                for each in breakevens
                if each.memory == among and (found := each.storage[n]).flops_per_byte_chunk
            }
            yield Panel(among, n, options, prices, {name: ratio for name, ratio in lines.items() if ratio})
