"""`lifetime resume`: continue an interrupted run with its own settings."""

from pathlib import Path
from typing import Annotated

import typer

from agent.errors import InvalidSetting, RunError
from scenarios.cli.experiment import run_command
from scenarios.cli.options import AsJson, DataDir, Download, ExecutorSpec, Options, Quiet, Workers
from scenarios.config.method import Settings
from scenarios.config.presets import validate
from scenarios.registry import find_experiment


def resume(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    dataset: Annotated[
        str | None,
        typer.Option(help="folder:PATH, the new place of the run's image folder; its content must be the same."),
    ] = None,
    data_dir: DataDir = None,
    download: Download = False,
    workers: Workers = None,
    executor: ExecutorSpec = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Continue an interrupted run from its last checkpoint; the results are those of an uninterrupted run.

    The settings are read from the run's folder. A finished run is shown again.
    """
    import torch

    from scenarios.experiments.finished_runs import read_config

    config = read_config(run)
    try:
        name, preset, given = config["experiment"], config["preset"], config["settings"]
    except KeyError as error:
        raise RunError(f"expected a run of this program at {run}, got one without {error}") from None
    if not isinstance(given, dict):
        raise RunError(f"expected a run of this program at {run}, got one with {given!r} for its settings")
    experiment = find_experiment(name, run)
    if dataset is not None:
        given["dataset"] = dataset
    if executor is None and workers is None and given.get("threads") == 1 != torch.get_num_threads():
        executor = "processes" if given.get("seeds", 1) > 1 else None  # it began with workers
    options = Options(
        preset,
        runs=run.parent.parent,
        data_dir=data_dir,
        download=download,
        workers=workers,
        executor=executor,
        quiet=quiet,
        as_json=as_json,
    )

    def settings() -> Settings:
        try:
            return validate(experiment.config, given)
        except InvalidSetting as error:
            raise InvalidSetting(f"{error} (in the settings of the run at {run})") from None

    run_command(name, options, settings, path=run)
