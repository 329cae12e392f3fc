"""The results of a sweep: a table of lifetimes, their means in every world, and a figure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent.errors import RunError
from agent.storage.record import RunDirectory, read_object
from scenarios.analysis.comparison import (
    Comparison,
    Schedule,
    ScheduleLifetimes,
    compare,
    comparison_json,
    comparison_rows,
)
from scenarios.analysis.formats import estimate_of, gflop, percent, plus_minus
from scenarios.analysis.lifetime_table import Kind, kind_of, read_table, table_bytes
from scenarios.analysis.report import Column, Report, Table, numbers
from scenarios.config.method import Method
from scenarios.config.settings import CompareConfig, settings_of
from scenarios.config.sweep import OF_METHOD, OF_WORLD, SweepConfig
from scenarios.figures.sweep import sweep_figure
from scenarios.running.results import write_results
from scenarios.running.summary import MISSED, PROBE, REFUSED

TABLE = "lifetimes.parquet"
MOST_ROWS = 60
"""Most rows of a printed table."""
COST, ACCURACY, PREQUENTIAL = "total_gflop", "final_accuracy", "prequential_accuracy"
_SHARES = {"final": ACCURACY, "learner": "learner_accuracy", "memory": "memory_accuracy"}
"""The metric of each column of accuracies, by heading."""


@dataclass(frozen=True)
class Lifetime:
    """A finished lifetime."""

    world: int
    """The position of its cell."""
    method: Method
    seed: int
    folder: str
    """In that of the sweep."""
    metrics: Mapping[str, float | None]


@dataclass(frozen=True)
class Failure:
    """A lifetime that failed."""

    values: Mapping[str, str]
    """The values of the axes of the world."""
    seed: int
    method: str
    """Its label."""
    error: str
    passes: bool = False
    """Whether it is no fault of the method, as with a full disk, so that the same command runs it again."""


@dataclass(frozen=True)
class Swept:
    """The results of a sweep."""

    config: SweepConfig
    lifetimes: Sequence[Lifetime]
    failures: Sequence[Failure]
    n_missing: int
    """Lifetimes that have not ended."""
    comparisons: Mapping[int, Comparison]
    """By position of the cell; a cell without a seed that all its methods have finished has none."""
    notes: Sequence[str]


def make_sweep(
    config: SweepConfig, lifetimes: Sequence[Lifetime], failures: Sequence[Failure], n_missing: int, notes: list[str]
) -> Swept:
    """Compare the methods of each cell on the seeds that all of them have finished."""
    by_cell: dict[int, dict[str, dict[int, dict[str, float | None]]]] = {}
    for each in lifetimes:
        of_label = by_cell.setdefault(each.world, {}).setdefault(each.method.label, {})
        of_label[each.seed] = dict(each.metrics)
    comparisons, n_left_out = {}, 0
    for number, by_label in by_cell.items():
        common = set.intersection(*(set(by_seed) for by_seed in by_label.values()))
        n_left_out += sum(len(by_seed) - len(common) for by_seed in by_label.values())
        if common:
            schedules = [
                ScheduleLifetimes(label, {seed: by_seed[seed] for seed in sorted(common)})
                for label, by_seed in by_label.items()
            ]
            comparisons[number] = compare(schedules, config.first.confidence)
    if n_left_out:
        notes = [
            *notes,
            f"means leave out {n_left_out} lifetimes of seeds that not all methods of their world have finished",
        ]
    if waiting := n_missing - len(failures):
        notes = [*notes, f"{waiting} lifetimes have not ended; the same command goes on with them"]
    return Swept(config, lifetimes, failures, n_missing, comparisons, notes)


def write_sweep(swept: Swept, directory: RunDirectory) -> None:
    """Write lifetimes.parquet; and sweep.json, .csv and .png of the means, if there are any."""
    directory.write(TABLE, table_bytes(table_columns(swept), _table_rows(swept)))
    content = _content(swept)
    cells = swept.config.cells
    rows = [
        {**cells[number].values, **row}
        for number, comparison in swept.comparisons.items()
        for row in comparison_rows(comparison)
    ]
    if not rows:
        directory.write("sweep.json", json.dumps(content, indent=2) + "\n")
        return
    panels = [(_title(cells[number].values), comparison) for number, comparison in swept.comparisons.items()]
    accuracy = _drawn(swept.config)
    figure = sweep_figure(panels, cost=COST, accuracy=accuracy, unit="GFLOP", title=_common(swept.config))
    with directory.tensorboard() as board:
        write_results(directory, board, "sweep", content, rows, figure)


def read_swept(config: SweepConfig, path: Path) -> Swept:
    """The results of a sweep as `write_sweep` wrote them, also where its data are missing or the program is another.

    Raises:
        RunError: there are none, or they are damaged.
    """
    numbers = {_key(row): number for number, row in enumerate(_world_rows(config))}
    methods: dict[str, Method] = {}
    names = list(Method.model_fields)
    of_settings = {"seed", "folder", "cost_unit", *names, *OF_WORLD, *settings_of(CompareConfig, "machine")}
    lifetimes = []
    try:
        content = read_object(path / "sweep.json", "run the sweep again")
        for row in read_table(path / TABLE):
            of_method = {name: row.get(name) for name in names}
            method = methods.setdefault(json.dumps(of_method), Method.of(of_method))
            metrics = {name: value for name, value in row.items() if name not in of_settings}
            lifetimes.append(Lifetime(numbers[_key(row)], method, row["seed"], row["folder"], metrics))
        failures = [Failure(each["values"], each["seed"], each["method"], each["error"]) for each in content["failed"]]
        notes, n_missing = list(map(str, content["notes"])), int(content["missing"])
    except (FileNotFoundError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"expected the results of a sweep in {path}, got none or damaged ones: {error}") from None
    return replace(make_sweep(config, lifetimes, failures, n_missing, []), notes=notes)


def table_columns(swept: Swept) -> dict[str, Kind]:
    """The columns of lifetimes.parquet: what a lifetime is, every setting, every metric and cost."""
    settings = OF_WORLD | settings_of(CompareConfig, "machine")
    fields = {**CompareConfig.model_fields, **Method.model_fields}
    named = [name for name in fields if name in settings | OF_METHOD]
    metrics = dict.fromkeys(name for each in swept.lifetimes for name in each.metrics)
    return {
        "label": "text",
        "seed": "integer",
        "folder": "text",
        **{name: kind_of(fields[name].annotation) for name in named},
        "cost_unit": "text",
        **dict.fromkeys(metrics, "number"),
    }


def _table_rows(swept: Swept) -> list[dict[str, Any]]:
    columns, of_world = table_columns(swept), _world_rows(swept.config)
    of_method = {each: each.model_dump(mode="json") for each in {each.method for each in swept.lifetimes}}
    rows = []
    for each in swept.lifetimes:
        lived = {"seed": each.seed, "folder": each.folder}
        row = {**of_world[each.world], **of_method[each.method], **lived, **each.metrics}
        rows.append({name: str(row[name]) if _is_mixed(row, name, columns) else row[name] for name in row})
    return rows


def _world_rows(config: SweepConfig) -> list[dict[str, Any]]:
    """What rows have of the settings of each cell."""
    names = OF_WORLD | settings_of(CompareConfig, "machine")
    return [
        {**cell.config.model_dump(mode="json", include=set(names)), "cost_unit": cell.config.cost.make().unit}
        for cell in config.cells
    ]


def _key(row: Mapping[str, Any]) -> tuple[str | None, ...]:
    """What tells the world of a row from others; numbers may be texts there."""
    return tuple(None if row.get(name) is None else str(row[name]) for name in sorted(OF_WORLD))


def _is_mixed(row: Mapping[str, Any], name: str, columns: Mapping[str, Kind]) -> bool:
    """Whether a value is a number in a column of texts."""
    return columns[name] == "text" and row[name] is not None and not isinstance(row[name], str)


def _content(swept: Swept) -> dict[str, Any]:
    return {
        "axes": {name: list(values) for name, values in swept.config.axes.items()},
        "lifetimes": len(swept.lifetimes),
        "missing": swept.n_missing,
        "worlds": [
            {"values": swept.config.cells[number].values, **comparison_json(comparison)}
            for number, comparison in swept.comparisons.items()
        ],
        "failed": [
            {"values": each.values, "seed": each.seed, "method": each.method, "error": each.error}
            for each in swept.failures
        ],
        "notes": list(swept.notes),
    }


def report(swept: Swept, path: Path) -> Report:
    """The report of a sweep that was written to a folder."""
    parts: list[str | Table] = []
    if swept.comparisons:
        parts.append(_means(swept))
    if swept.failures:
        parts.append(_failed(swept))
    facts = [("lifetimes", [path / TABLE])]
    if swept.comparisons:
        facts = [("figure", [path / "sweep.png"]), *facts, ("means", [path / "sweep.csv", path / "sweep.json"])]
    return Report(_content(swept), parts, swept.notes, facts, bool(swept.lifetimes), _error(swept))


def _error(swept: Swept) -> str:
    if not swept.failures:
        return ""
    first, n = swept.failures[0], len(swept.failures)
    where = ", ".join([first.method, *(f"{name} {value}" for name, value in first.values.items())])
    return (
        f"expected every lifetime to end, but {n} failed, as that of {where} with seed {first.seed}: {first.error} "
        f"(the others are kept, and {'the same command' if first.passes else '--retry-failed'} runs the failed ones "
        "again)"
    )


def _means(swept: Swept) -> Table:
    axes, shares = list(swept.config.cells[0].values), dict(_SHARES)
    if any(cell.config.label_delay and cell.config.prequential for cell in swept.config.cells):
        shares["prequential"] = PREQUENTIAL
    found = {metric for comparison in swept.comparisons.values() for metric in comparison.metrics}
    shares |= {name: metric for name, metric in {"linear\nprobe": PROBE}.items() if metric in found}
    counted = {"learned": "learned_fraction", "refused": REFUSED, "missed": MISSED}
    counted = {name: metric for name, metric in counted.items() if metric in found}
    rows = []
    for number, comparison in swept.comparisons.items():
        values = swept.config.cells[number].values
        for each in sorted(comparison.schedules, key=lambda each: estimate_of(each.means[COST])):
            rows.append((*values.values(), each.label, *_cells_of(each, len(comparison.seeds), counted, shares)))
    left_out = f"; {len(rows) - MOST_ROWS} more rows in sweep.csv" if len(rows) > MOST_ROWS else ""
    level = f"{100 * swept.config.first.confidence:g}% t intervals over seeds"
    return Table(
        (
            *(Column(name, is_text=True, folds=True) for name in (*axes, "method")),
            *numbers("seeds", *counted, *shares, "GFLOP", "memory\nMB"),
        ),
        tuple(rows[:MOST_ROWS]),
        f"{_common(swept.config)}, {len(swept.lifetimes):,} lifetimes",
        f"accuracies in %, means ± half of {level}; GFLOP: that the agent pays{left_out}",
    )


def _cells_of(
    schedule: Schedule, n_seeds: int, counted: Mapping[str, str], shares: Mapping[str, str]
) -> tuple[str, ...]:
    means = schedule.means
    counts = [means.get(metric) for metric in counted.values()]
    return (
        str(n_seeds),
        *("-" if each is None else percent(each.estimate) for each in counts),
        *(plus_minus(means.get(metric)) for metric in shares.values()),
        gflop(estimate_of(means[COST])),
        gflop(estimate_of(means["memory_megabytes"])),
    )


def _failed(swept: Swept) -> Table:
    shown = swept.failures[:MOST_ROWS]
    rows = [(*each.values.values(), each.method, str(each.seed), each.error) for each in shown]
    names = (*swept.config.cells[0].values, "method", "seed", "error")
    n = len(swept.failures)
    more = f"; {n - MOST_ROWS} more in sweep.json" if n > MOST_ROWS else ""
    return Table(
        tuple(Column(name, is_text=True, folds=True) for name in names),
        tuple(rows),
        f"{n} lifetime{'s' * (n > 1)} failed",
        f"tracebacks: in failed.json in the folder of the task{more}",
    )


def _drawn(config: SweepConfig) -> str:
    """The accuracy in the figure: of an axis over delays of labels the prequential one, which alone shows them."""
    measured = all(cell.config.prequential for cell in config.cells)
    return PREQUENTIAL if "label_delay" in config.axes and measured else ACCURACY


def _title(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _common(config: SweepConfig) -> str:
    """What all cells have in common, for titles."""
    first = config.first
    parts = [str(getattr(first, name)) for name in ("dataset", "scenario") if name not in config.axes]
    parts += [first.lateness] if first.lateness and "label_delay" not in config.axes else []
    parts += [first.pace] if first.pace and "speed" not in config.axes else []
    return ", ".join(parts) or "sweep"
