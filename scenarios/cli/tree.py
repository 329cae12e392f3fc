"""`lifetime tree`: every schedule of a short stream, and the best one."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from scenarios.cli.experiment import Experiment, n_cores, run_command
from scenarios.cli.identity import dataset_word
from scenarios.cli.options import MOST_WORKERS, Options, experiment_command, settings_from
from scenarios.cli.show import gflop, percent, results_console, results_table
from scenarios.config.settings import TreeConfig
from scenarios.config.specs import file_name

if TYPE_CHECKING:
    from scenarios.oracle.grow import Oracle


@experiment_command(TreeConfig)
def tree(
    options: Options,
    given: dict[str, Any],
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_WORKERS, help="Processes (default: one for each core); they change no result."),
    ] = None,
) -> None:
    """Simulate every schedule of a short stream, and find the best one: the oracle that policies are compared with.

    Schedules that begin alike share the work of their common part, so a tree of n chunks takes 2^n - 1 trainings on a
    chunk instead of n 2^(n-1). The result is a table of the observations, the costs and the accuracy at every node.
    `lifetime evaluate` and `lifetime train-policy` use the table to simulate a policy in a millisecond or less, under
    any tariff and cost model. Utility is accuracy - cost weight × cost, on validation images that serve nothing else.

    The same command, given again, continues interrupted trees, and shows finished ones.
    """
    run_command(schedule_trees(workers), settings_from(TreeConfig, options, given), options)


def schedule_trees(workers: int | None) -> Experiment[TreeConfig, list["Oracle"]]:
    """The experiment: a tree for each seed, in so many workers or in one for each core."""
    from scenarios.oracle.grow import grow_tables, prepare, resolve_tree

    return Experiment(
        "tree",
        TreeConfig,
        resolve_tree,
        words=_words,
        prepare=prepare,
        run=partial(grow_tables, workers=workers or n_cores()),
        as_json=lambda oracles, path: {"run": str(path), "oracle": [asdict(oracle) for oracle in oracles]},
        show=lambda oracles, settings, path, _: _show(oracles, settings, path),
        threads=1,
    )


def _words(settings: TreeConfig) -> list[str]:
    return [dataset_word(settings.dataset), file_name(settings.scenario), f"{settings.chunks or 'n'}chunks"]


def _show(oracles: list["Oracle"], settings: TreeConfig, path: Path) -> None:
    from scenarios.running.world import cost_model

    unit = cost_model(settings).unit
    found = f" that a beam of {settings.beam_width} finds" if settings.search == "beam" else ""
    table = results_table(
        f"best schedules{found}: {settings.title}",
        f"utility in points: accuracy (on validation images that serve nothing else) - {settings.cost_weight:g} × "
        f"cost in {unit}; trainings: on one chunk each, and how many there would be without sharing",
        gap=2,
    )
    table.add_column("seed", justify="right")
    table.add_column("schedule", overflow="fold")
    for column in ("utility", "accuracy %", f"cost\n{escape(unit)}", "trainings", "unshared"):
        table.add_column(column, justify="right")
    for oracle in oracles:
        numbers = [percent(oracle.utility), percent(oracle.accuracy), gflop(oracle.spent)]
        row = [str(oracle.seed), oracle.schedule, *numbers, f"{oracle.trainings:,}", f"{oracle.separate:,}"]
        table.add_row(*row)
    results_console().print(table)
    if settings.search == "all":
        print(f"tables: {path}/seed*/table.npz\nevaluate policies: lifetime evaluate {path} --policies '...'")
    else:
        print(f"oracle: {path / 'tree.json'}")
