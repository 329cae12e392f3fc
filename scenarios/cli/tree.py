"""`lifetime tree`: every schedule of a short stream, and the best one."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from scenarios.cli.identity import dataset_word, describe, run_folder
from scenarios.cli.options import settings_from, with_options
from scenarios.cli.running import MOST_WORKERS, n_cores, running
from scenarios.cli.show import gflop, percent, print_json, results_console
from scenarios.config.settings import TreeConfig

if TYPE_CHECKING:
    from scenarios.oracle.grow import Oracle


def tree(
    workers: int | None,
    preset: str,
    config: Path | None,
    runs: Path,
    name: str | None,
    force: bool,
    data_dir: Path | None,
    download: bool,
    quiet: bool,
    as_json: bool,
    **overrides: Any,
) -> None:
    """Live every schedule of a short stream, and find the best one: the oracle that policies are measured against.

    Schedules that begin alike share what they have in common, so that a tree of n chunks takes 2^n - 1 trainings on a
    chunk and not n 2^(n-1). The table that is kept holds what policies observe, what everything takes and how accurate
    the agent is at every node: `lifetime evaluate` and `lifetime train-policy` live policies on it in microseconds to
    a millisecond, under any tariff and cost model. Utility is accuracy - cost weight × cost, on validation images that
    serve nothing else.

    The same command given again continues interrupted trees, and shows finished ones.
    """
    settings = settings_from(TreeConfig, preset, config, overrides, name)

    from scenarios.config.specs import file_name
    from scenarios.oracle.grow import resolve_tree
    from scenarios.running.factory import choose_device

    settings = resolve_tree(settings)
    settings = settings.model_copy(update={"device": choose_device(settings.device).type})
    described = describe("tree", preset, settings, threads=1, data_dir=data_dir)
    words = [dataset_word(settings.dataset), file_name(settings.scenario), f"{settings.chunks or 'n'}chunks"]
    path = run_folder(runs / "tree", name, words, described)
    options: dict[str, Any] = {"force": force, "data_dir": data_dir, "download": download, "quiet": quiet or as_json}
    report(grow_in(path, settings, described, workers=workers, **options), settings, path, quiet=quiet, as_json=as_json)


with_options(
    TreeConfig,
    tree,
    (
        "workers",
        int | None,
        typer.Option(None, min=1, max=MOST_WORKERS, help="Processes (default: one a core); they change no number."),
    ),
)


def grow_in(
    path: Path,
    settings: TreeConfig,
    described: dict[str, Any],
    *,
    workers: int | None = None,
    force: bool = False,
    data_dir: Path | None = None,
    download: bool = False,
    quiet: bool = False,
) -> list["Oracle"]:
    """Grow trees in a run directory, new or to be continued."""
    from scenarios.oracle.grow import grow_tables, prepare

    if force:  # nothing is dropped for settings that cannot be lived
        prepare(settings, download=download, data_dir=data_dir)
    with running(path, described, force=force, quiet=quiet) as (run, bar):
        return grow_tables(
            settings,
            run,
            bar,
            workers=workers or n_cores(),
            download=download,
            data_dir=data_dir,
        )


def report(oracles: list["Oracle"], settings: TreeConfig, path: Path, *, quiet: bool, as_json: bool) -> None:
    """Print the best schedules as was asked for."""
    from dataclasses import asdict

    from scenarios.running.world import cost_model

    if as_json:
        print_json({"run": str(path), "oracle": [asdict(oracle) for oracle in oracles]})
        return
    if quiet:
        return
    unit, tariff = cost_model(settings).unit, "" if settings.tariff == "constant" else f", {settings.tariff} tariff"
    best = "best schedules"
    if settings.search == "beam":
        best = f"best schedules that a beam of {settings.beam_width} finds"
    table = Table(
        title=escape(f"{best}: {settings.dataset}, {settings.scenario}{tariff}"),
        caption=escape(
            f"utility in points: accuracy (on validation images that serve nothing else) - {settings.cost_weight:g} × "
            f"cost in {unit}; trainings: chunks learned from, and what each schedule lived apart would take"
        ),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    table.add_column("seed", justify="right")
    table.add_column("schedule", overflow="fold")
    for column in ("utility", "accuracy %", f"cost\n{escape(unit)}", "trainings", "lived apart"):
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
