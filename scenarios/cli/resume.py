"""`lifetime resume`: go on with an interrupted run, as it was started."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.errors import RunError
from scenarios.cli import compare as compare_command
from scenarios.cli import curve as curve_command
from scenarios.cli import simulate as simulate_command
from scenarios.cli import train_policy as train_command
from scenarios.cli import tree as tree_command
from scenarios.cli.identity import describe
from scenarios.cli.running import MOST_WORKERS, n_cores
from scenarios.config.presets import validate
from scenarios.config.settings import CompareConfig, CurveConfig, SimulateConfig, TrainConfig, TreeConfig


def resume(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    dataset: Annotated[
        str | None,
        typer.Option(help="folder:PATH, where the run's folder of images lies now; its content must be the same."),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of data sets and caches (default: the user's cache).")
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch a missing data set.")] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_WORKERS, help="Of a tree, or of a curve begun with some: processes (default: one a core)."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON, and nothing else.")] = False,
) -> None:
    """Go on with an interrupted run from its last checkpoint, to the very numbers of an uninterrupted one.

    The run's settings are read from its folder. A finished run is shown again.
    """
    from agent.storage.record import CONFIG, read_object

    try:
        config = read_object(run / CONFIG, "give the folder of a run")
    except FileNotFoundError:
        raise RunError(f"expected a run at {run}, found no {CONFIG} there; give the folder of a run") from None
    if config.get("experiment") == "compare-runs":
        raise RunError(f"expected a run of lifetimes at {run}, got a comparison of finished runs, which is all there")
    if config.get("experiment") == "evaluate":
        raise RunError(f"expected a run that can be resumed at {run}, got an evaluation, which is all there")
    try:
        experiment, preset, given = config["experiment"], config["preset"], dict(config["settings"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"expected a run of this program at {run}, got one without or with an odd {error}") from None
    if dataset is not None:
        given["dataset"] = dataset
    if experiment not in _RESUMING:
        raise RunError(f"expected a run that can be resumed at {run}, got one of {experiment}")
    options: dict[str, Any] = {"data_dir": data_dir, "download": download, "quiet": quiet or as_json}
    shown = {"quiet": quiet, "as_json": as_json}
    _RESUMING[experiment](run, config, preset, given, workers, options, shown)


Plain = dict[str, Any]


def _resume_simulation(
    run: Path, config: Plain, preset: str, given: Plain, workers: int | None, options: Plain, shown: Plain
) -> None:
    from scenarios.experiments.simulate import resolve_simulation

    with redirect_stdout(sys.stderr):
        settings = resolve_simulation(validate(SimulateConfig, given))
    described = describe("simulate", preset, settings, data_dir=options["data_dir"])
    summary = simulate_command.live_in(run, settings, described, **options)
    simulate_command.report(summary, settings, run, run.parent.parent, **shown)


def _resume_comparison(
    run: Path, config: Plain, preset: str, given: Plain, workers: int | None, options: Plain, shown: Plain
) -> None:
    from scenarios.experiments.compare import resolve_comparison

    with redirect_stdout(sys.stderr):
        settings = resolve_comparison(validate(CompareConfig, given))
    described = describe("compare", preset, settings, data_dir=options["data_dir"])
    compared = compare_command.live_in(run, settings, described, **options)
    compare_command.report(compared, run, run.parent.parent, **shown)


def _resume_curve(
    run: Path, config: Plain, preset: str, given: Plain, workers: int | None, options: Plain, shown: Plain
) -> None:
    from scenarios.experiments.relative_value import resolve_curve

    with redirect_stdout(sys.stderr):
        settings = resolve_curve(validate(CurveConfig, given))
    if workers is None and _lived_by_workers(config):
        workers = n_cores()
    described = describe("curve", preset, settings, threads=1 if workers else None, data_dir=options["data_dir"])
    found = curve_command.live_in(run, settings, described, workers=workers, **options)
    curve_command.report(found, run, run.parent.parent, **shown)


def _resume_training(
    run: Path, config: Plain, preset: str, given: Plain, workers: int | None, options: Plain, shown: Plain
) -> None:
    from scenarios.policy_training.train import resolve_training

    settings = resolve_training(validate(TrainConfig, given))
    tables, digest = config.get("trees"), config.get("trees_digest")
    if not all(isinstance(each, str | None) for each in (tables, digest)):
        raise RunError(f"expected a run of this program at {run}, got one with odd trees: {tables}, {digest}")
    trained = train_command.go_on_in(run, settings, preset, tables, digest, **options)
    train_command.report(trained, run, run.parent.parent, **shown)


def _resume_tree(
    run: Path, config: Plain, preset: str, given: Plain, workers: int | None, options: Plain, shown: Plain
) -> None:
    from scenarios.oracle.grow import resolve_tree

    settings = resolve_tree(validate(TreeConfig, given))
    described = describe("tree", preset, settings, threads=1, data_dir=options["data_dir"])
    oracles = tree_command.grow_in(run, settings, described, workers=workers, **options)
    tree_command.report(oracles, settings, run, **shown)


_RESUMING = {
    "simulate": _resume_simulation,
    "compare": _resume_comparison,
    "curve": _resume_curve,
    "train-policy": _resume_training,
    "tree": _resume_tree,
}
"""By experiment: go on in its folder and show what has come of it."""


def _lived_by_workers(config: dict[str, Any]) -> bool:
    """Whether a run began in processes of one thread each, where this one has more."""
    import torch

    machine = config.get("machine")
    return isinstance(machine, dict) and machine.get("threads") == 1 != torch.get_num_threads()
