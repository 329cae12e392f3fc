"""`lifetime resume`: continue an interrupted run with its own settings."""

from pathlib import Path
from typing import Annotated, Any

import typer

from agent.errors import InvalidSetting, RunError
from scenarios.cli.compare import comparison
from scenarios.cli.curve import relative_value
from scenarios.cli.experiment import Experiment, n_cores, resume_in
from scenarios.cli.options import MOST_WORKERS, AsJson, DataDir, Download, Options, Quiet
from scenarios.cli.simulate import simulation
from scenarios.cli.train_policy import resumed_training
from scenarios.cli.tree import schedule_trees
from scenarios.config.presets import validate

_COMPLETE = {"compare-runs": "a comparison of finished runs", "evaluate": "an evaluation"}
"""Experiments that are never interrupted."""


def resume(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    dataset: Annotated[
        str | None,
        typer.Option(help="folder:PATH, the new place of the run's image folder; its content must be the same."),
    ] = None,
    data_dir: DataDir = None,
    download: Download = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_WORKERS,
            help="Processes of a tree, or of a curve that began with some (default: one for each core).",
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Continue an interrupted run from its last checkpoint; the results are those of an uninterrupted run.

    The settings are read from the run's folder. A finished run is shown again.
    """
    from scenarios.experiments.finished_runs import read_config

    config = read_config(run)
    if what := _COMPLETE.get(str(config.get("experiment"))):
        raise RunError(f"expected a run that can be resumed at {run}, got {what}, which is complete")
    try:
        name, preset, given = config["experiment"], config["preset"], dict(config["settings"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"expected a run of this program at {run}, got one without or with an invalid {error}") from None
    if dataset is not None:
        given["dataset"] = dataset
    experiment = _experiment(name, run, config, workers)
    try:
        settings = experiment.resolved(validate(experiment.kind, given))
    except InvalidSetting as error:
        raise InvalidSetting(f"{error} (in the settings of the run at {run})") from None
    options = Options(
        preset, runs=run.parent.parent, data_dir=data_dir, download=download, quiet=quiet, as_json=as_json
    )
    resume_in(run, experiment, settings, options)


def _experiment(name: str, run: Path, config: dict[str, Any], workers: int | None) -> Experiment[Any, Any]:
    if name == "simulate":
        return simulation()
    if name == "compare":
        return comparison()
    if name == "curve":
        return relative_value(n_cores() if workers is None and _began_with_workers(config) else workers)
    if name == "tree":
        return schedule_trees(workers)
    if name == "train-policy":
        return resumed_training(run, config)
    raise RunError(f"expected a run that can be resumed at {run}, got one of {name}")


def _began_with_workers(config: dict[str, Any]) -> bool:
    """Whether the run began with one thread for each process, while this process has more."""
    import torch

    machine = config.get("machine")
    return isinstance(machine, dict) and machine.get("threads") == 1 != torch.get_num_threads()
