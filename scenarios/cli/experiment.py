"""The steps that the commands of all experiments share with `lifetime resume`."""

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from scenarios.cli.identity import describe, own_components, run_folder, same_run
from scenarios.cli.options import Options
from scenarios.cli.progress import Bar
from scenarios.cli.show import print_json, program
from scenarios.cli.stopping import advising
from scenarios.config.presets import Config
from scenarios.running.own_code import component_errors

Result = TypeVar("Result")


@dataclass(frozen=True)
class Experiment(Generic[Config, Result]):
    """One experiment: its settings, how it runs, and how its result is shown."""

    name: str
    kind: type[Config]
    resolve: Callable[[Config], Config]
    """Makes every spec in the settings canonical."""
    words: Callable[[Config], list[str]]
    """The words of the run folder's default name."""
    prepare: Callable[..., None]
    """Checks that a run can begin: `(settings, *, download, data_dir)`."""
    run: Callable[..., Result]
    """Starts or continues the run: `(settings, directory, reporter, *, download, data_dir)`."""
    as_json: Callable[[Result, Path], Any]
    """The result as plain values, given the folder of the run."""
    show: Callable[[Result, Config, Path, Path], None]
    """Prints the result, given the settings, the folder of the run and the folder of all runs."""
    threads: int | None = None
    """Threads of each process; None for the default of torch."""
    reads_data: bool = True
    """False if the run reads no data set, so that it needs no device either."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Further content of config.json."""
    saved: str = "chunk"
    """What an interrupted run saves last."""

    def resolved(self, settings: Config) -> Config:
        """The settings with canonical specs; the user's code may print, but not among the results."""
        with redirect_stdout(sys.stderr), component_errors():
            return self.resolve(settings)


def run_command(experiment: Experiment[Config, Result], settings: Config, options: Options) -> None:
    """Run an experiment in the folder that belongs to its settings or its name, and print the result."""
    from scenarios.running.factory import choose_device

    settings = experiment.resolved(settings)
    if experiment.reads_data:
        settings = settings.model_copy(update={"device": choose_device(settings.device).type})
    described = _describe(experiment, settings, options)
    path = run_folder(options.runs / experiment.name, options.name, experiment.words(settings), described)
    _run_in(path, experiment, settings, described, options)


def resume_in(path: Path, experiment: Experiment[Config, Result], settings: Config, options: Options) -> None:
    """Continue the run in a folder, with resolved settings, and print the result."""
    _run_in(path, experiment, settings, _describe(experiment, settings, options), options)


def _describe(experiment: Experiment[Config, Result], settings: Config, options: Options) -> dict[str, Any]:
    described = describe(
        experiment.name,
        options.preset,
        settings,
        reads_data=experiment.reads_data,
        threads=experiment.threads,
        data_dir=options.data_dir,
    )
    return {**described, **experiment.facts}


def _run_in(
    path: Path,
    experiment: Experiment[Config, Result],
    settings: Config,
    described: Mapping[str, Any],
    options: Options,
) -> None:
    from agent.storage.record import open_run

    loading: dict[str, Any] = {"download": options.download, "data_dir": options.data_dir}
    own = own_components(described.get("own_code", {}))
    if options.force:  # invalid settings must not delete the earlier run
        with component_errors(own):
            experiment.prepare(settings, **loading)
    with (
        advising(f"`{program()} resume {path}` continues from the last {experiment.saved} that was saved"),
        redirect_stdout(sys.stderr),  # the user's code may print
        open_run(path, described, anew=options.force, compared=same_run) as directory,
        Bar(shown=not (options.quiet or options.as_json)) as bar,
        component_errors(own),  # within the run's folder, which is removed if nothing has been saved in it
    ):
        result = experiment.run(settings, directory, bar, **loading)
    if options.as_json:
        print_json(experiment.as_json(result, path))
    elif not options.quiet:
        experiment.show(result, settings, path, options.runs)


def n_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
