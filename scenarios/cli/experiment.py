"""The steps that the commands of all experiments share."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agent.errors import RunError
from scenarios.cli.options import Options
from scenarios.cli.progress import Bar
from scenarios.cli.show import print_json, print_report, program
from scenarios.cli.stopping import advising
from scenarios.config.method import Settings
from scenarios.config.presets import from_toml
from scenarios.registry import find_experiment


def settings_of(name: str, options: Options, given: Mapping[str, Any]) -> Callable[[], Settings]:
    """A function that reads the settings of an experiment: a preset, then a TOML file, then those of the command line.

    Args:
        name: of the experiment.
        options: those that all experiments share.
        given: settings of the command line; None where not given.
    """

    def read() -> Settings:
        from scenarios.running.experiment import read_settings

        from_file = from_toml(options.config) if options.config else {}
        overrides = {name: value for name, value in given.items() if value is not None}
        found: Settings = read_settings(find_experiment(name), options.preset, from_file, overrides)
        return found

    return read


def run_command(
    name: str,
    options: Options,
    settings: Callable[[], Settings],
    *,
    path: Path | None = None,
    anew: bool = False,
    planned: bool = False,
) -> None:
    """Start or continue a run, and print its results.

    Args:
        name: of the experiment.
        options: those that all experiments share.
        settings: reads the settings, which may import the user's code.
        path: folder of a run that is continued; None for the one that belongs to the settings or the options.
        anew: delete what the folder holds first.
        planned: only print what the run will take (`Experiment.plan`).
    """
    from scenarios.datasets.source import Access
    from scenarios.running.experiment import begin, reading_settings

    with reading_settings():
        config = settings()
    access = Access(options.data_dir, options.download)
    begun = begin(
        find_experiment(name),
        config,
        access,
        preset=options.preset,
        workers=options.workers,
        executor=options.executor,
        runs=options.runs,
        name=options.name,
        path=path,
    )
    with (
        advising(f"`{program()} resume {begun.path}` {begun.goes_on}"),
        Bar(shown=not (options.quiet or options.as_json)) as bar,
    ):
        report = begun.plan(bar, access) if planned else begun.execute(bar, access, anew=anew)[1]
    if options.as_json:
        print_json(report.content)
    elif not options.quiet:
        print_report(report, options.runs)
    if report.error:
        raise RunError(report.error)
