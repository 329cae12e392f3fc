"""The schedules of schedule tables, under each of their memories, as options."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from agent.accounting.costs import CostModel
from agent.accounting.work import ACCOUNTS
from agent.errors import InvalidSetting, RunError
from agent.storage.record import CONFIG
from scenarios.analysis.options import Options, joined
from scenarios.config.members import Member
from scenarios.config.presets import validate
from scenarios.config.settings import FrontierConfig, TreeConfig, settings_of
from scenarios.experiments.finished_runs import read_config
from scenarios.frontiers.labels import LEARNER_PARTS, MEMORY_PARTS, labels_of, parts_of
from scenarios.frontiers.reading import Consolidating, Measured, chosen_labels, common_seeds
from scenarios.oracle.priced_table import PricedTable
from scenarios.oracle.table import ScheduleTable, schedule_of
from scenarios.oracle.tables import OF_PRICES, read_tables
from scenarios.running.agreement import Described, check_agreement
from scenarios.streams.tariffs import checked_prices

_OF_PRICES = OF_PRICES - {"tariff"}
_SEARCH = {"search", "beam_width"}
_CALIBRATE = ACCOUNTS.index("calibrate")
_PER_FLOP = CostModel("compute", "FLOP", per_flop=1.0)
_PER_BYTE = CostModel("writing", "byte", per_flop=0.0, per_byte_written=1.0)
_PER_BYTE_CHUNK = CostModel("storage", "byte-chunk", per_flop=0.0, per_byte_chunk=1.0)


def read_trees(paths: Sequence[Path], config: FrontierConfig) -> Measured:
    """The schedules of runs of `tree` that differ in their memories and seeds alone.

    Args:
        paths: the runs, at least one.
        config: which memories, the tariff, and whether the calibration is billed.

    Raises:
        RunError: a folder is not such a run, or lacks a tree.
        InvalidSetting: runs of other data, streams, prices or learners, a memory and seed twice, or an unknown memory.
    """
    runs = [tables_of(path) for path in paths]
    settings = [validate(TreeConfig, dict(tables[0].facts["settings"])) for tables in runs]
    parts = [parts_of(each) for each in settings]
    notes = _agreement(paths, runs, settings, config.tariff)
    by_memory: dict[str, dict[int, ScheduleTable]] = {}
    for path, tables, label in zip(paths, runs, labels_of(parts), strict=True):
        for table in tables:
            seed = int(table.facts["seed"])
            if seed in by_memory.setdefault(label, {}):
                raise InvalidSetting(
                    f"expected each memory and seed in one run, got {label} with seed {seed} in {path} and in a run "
                    "before it; leave one of them out"
                )
            by_memory[label][seed] = table
    labels = chosen_labels(list(by_memory), config.memories)
    seeds, left_out = common_seeds({label: list(by_memory[label]) for label in labels})
    chosen = {label: [by_memory[label][seed] for seed in seeds] for label in labels}
    prices = {
        label: np.array([_prices(table, config.tariff) for table in tables], dtype=np.float64)
        for label, tables in chosen.items()
    }
    sets = {
        label: _options(label, tables, prices[label], calibrating=config.calibrating)
        for label, tables in chosen.items()
    }
    ends = np.cumsum([len(options) for options in sets.values()])
    first = chosen[labels[0]][0]
    return Measured(
        "tree",
        settings[0],
        f"{settings[0].dataset}, {settings[0].scenario}, {config.tariff or settings[0].tariff} tariff",
        seeds,
        first.n_chunks,
        int(first.facts.get("n_evaluated", 0)),
        joined(list(sets.values())),
        {
            label: np.arange(end - len(options), end)
            for (label, options), end in zip(sets.items(), ends.tolist(), strict=True)
        },
        (*notes, *left_out),
        _consolidating(chosen, prices[labels[0]], calibrating=config.calibrating),
    )


def tables_of(path: Path) -> list[ScheduleTable]:
    """The tables of a run, in the order of their seeds; raises RunError if one of its seeds has none."""
    described = read_config(path) if (path / CONFIG).is_file() else {}
    settings = described.get("settings")
    if isinstance(settings, dict):
        if settings.get("search") == "beam":
            raise RunError(f"expected whole trees at {path}, got a beam search; grow them with --search all")
        first, n = settings.get("first_seed", 0), settings.get("seeds", 0)
        for seed in range(first, first + n):
            if not (path / f"seed{seed}" / "table.npz").is_file():
                raise RunError(f"expected a finished tree of seed {seed} at {path}, got none; `lifetime resume {path}`")
    return read_tables(path)


def _agreement(
    paths: Sequence[Path],
    runs: Sequence[Sequence[ScheduleTable]],
    settings: Sequence[TreeConfig],
    tariff: Member | None,
) -> list[str]:
    """Notes on differences between the runs; raises InvalidSetting if their schedules cannot be compared."""
    shared = LEARNER_PARTS | settings_of(TreeConfig, "world") - _OF_PRICES - _SEARCH - set(MEMORY_PARTS)
    shared -= TreeConfig.unused | ({"tariff"} if tariff is not None else set())
    described = []
    for path, tables, config in zip(paths, runs, settings, strict=True):
        content: dict[str, Any] = read_config(path) if (path / CONFIG).is_file() else {}
        plain = {name: getattr(config, name) for name in sorted(shared)} | {"actions": tables[0].actions}
        versions = [content.get("versions"), content.get("machine")]
        described.append(Described(path, plain, tables[0].facts.get("data"), versions, content.get("own_code", {})))
    return check_agreement(
        described, "runs of tree that differ in their memories and seeds alone", lambda name, _: "look at those apart"
    )


def _prices(table: ScheduleTable, tariff: Member | None) -> tuple[float, ...]:
    """The price of compute at each chunk, under another tariff if one is given."""
    if tariff is None:
        return tuple(map(float, table.facts["prices"]))
    return checked_prices(tariff.make(n_chunks=table.n_chunks, seed=int(table.facts["seed"])), table.n_chunks)


def _options(
    label: str, tables: Sequence[ScheduleTable], prices: Float[np.ndarray, "seeds chunks"], *, calibrating: bool
) -> Options:
    """The schedules of the tables of one memory, one table for each seed."""
    first = tables[0]
    leaves = first.nodes(first.n_chunks)
    flops, written, byte_chunks = (
        _amounts(tables, prices, model, calibrating=calibrating) for model in (_PER_FLOP, _PER_BYTE, _PER_BYTE_CHUNK)
    )
    empty = np.all([table.memory_entries[leaves] == 0 for table in tables], axis=0)
    nothing = np.zeros((len(tables), len(leaves)))
    return Options(
        tuple(schedule_of(int(leaf), first.actions) for leaf in leaves),
        tuple("" if is_empty else label for is_empty in empty),
        np.mean([table.learned[leaves] / table.n_samples.sum() for table in tables], axis=0),
        accuracy=np.array([table.accuracy[leaves, 0] for table in tables]),
        flops=flops,
        query_flops=nothing,
        recall_flops=nothing,
        written=written,
        byte_chunks=byte_chunks,
    )


def _amounts(
    tables: Sequence[ScheduleTable], prices: Float[np.ndarray, "seeds chunks"], model: CostModel, *, calibrating: bool
) -> Float[np.ndarray, "seeds leaves"]:
    """The cost of each schedule, which observes nothing, in each table at its prices of compute."""
    return np.array([_spent(table, at, model, calibrating) for table, at in zip(tables, prices, strict=True)])


def _spent(
    table: ScheduleTable, prices: Float[np.ndarray, " chunks"], model: CostModel, calibrating: bool
) -> Float[np.ndarray, " leaves"]:
    if not calibrating:
        arrays = {name: getattr(table, name).copy() for name in ("flops", "nbytes")}
        for values in arrays.values():
            values[:, _CALIBRATE] = 0
        table = replace(table, **arrays)
    return PricedTable(table, tuple(prices.tolist()), model).spent[table.nodes(table.n_chunks)]


def _consolidating(
    sets: Mapping[str, Sequence[ScheduleTable]], prices: Float[np.ndarray, "seeds chunks"], *, calibrating: bool
) -> Consolidating | None:
    """Which schedules of all sets consolidate; None if all do or none does.

    Args:
        sets: the tables of each memory, one for each seed.
        prices: of compute, the same for all sets.
        calibrating: whether the calibration is billed.
    """
    first = next(iter(sets.values()))[0]
    consolidates = np.array([operation.consolidates for operation in first.operations])
    if consolidates.all() or not consolidates.any():
        return None
    chosen = consolidates[_paths(first) % len(first.actions)].any(axis=1)
    unused = [np.array([_unused(table) for table in tables]) * ~chosen for tables in sets.values()]
    flat = np.full_like(prices, prices.mean())
    return Consolidating(
        np.tile(chosen, len(sets)),
        prices.mean(axis=0),
        np.concatenate([_amounts(each, flat, _PER_FLOP, calibrating=calibrating) for each in sets.values()], axis=1)
        if np.ptp(prices)
        else None,
        *np.concatenate(unused, axis=2).swapaxes(0, 1),
    )


def _paths(table: ScheduleTable) -> Int64[np.ndarray, "leaves chunks"]:
    """The nodes on the way to each leaf, from the leaf back to the first chunk."""
    return table.nodes(table.n_chunks)[:, None] // len(table.actions) ** np.arange(table.n_chunks)


def _unused(table: ScheduleTable) -> Float[np.ndarray, "2 leaves"]:
    """Bytes of the raw images of all entries, as if nothing were learned of them: written, and summed over chunks."""
    paths = _paths(table)
    chosen, sizes = paths % len(table.actions), table.n_samples[::-1]
    memorizes = np.array([operation.memorizes for operation in table.operations])
    waits = np.array([operation.memorizes and not operation.learns for operation in table.operations])
    # Those that were learned as well have no raw images; of those that a capacity evicts, each is as likely to go.
    stored, waiting = (np.cumsum((which[chosen] * sizes)[:, ::-1], axis=1)[:, ::-1] for which in (memorizes, waits))
    held = (table.memory_entries[paths] * np.where(stored > 0, waiting / np.maximum(stored, 1), 1.0)).sum(axis=1)
    return np.array([waits[chosen] @ sizes, held], dtype=np.float64) * int(table.facts.get("raw_nbytes", 0))
