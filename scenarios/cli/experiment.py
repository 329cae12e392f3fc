"""The steps that the commands of all experiments share."""

from collections.abc import Callable
from pathlib import Path

from agent.errors import RunError
from scenarios.cli.options import Options
from scenarios.cli.progress import Bar
from scenarios.cli.show import print_json, print_report, program
from scenarios.cli.stopping import advising
from scenarios.config.method import Settings
from scenarios.registry import find_experiment


def run_command(
    name: str, options: Options, settings: Callable[[], Settings], *, path: Path | None = None, anew: bool = False
) -> None:
    """Start or continue a run, and print its results.

    Args:
        name: of the experiment.
        options: those that all experiments share.
        settings: reads the settings, which may import the user's code.
        path: folder of a run that is continued; None for the one that belongs to the settings or the options.
        anew: delete what the folder holds first.
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
    saved = begun.experiment.saves
    with (
        advising(f"`{program()} resume {begun.path}` continues from the last {saved} that was saved"),
        Bar(shown=not (options.quiet or options.as_json)) as bar,
    ):
        report = begun.execute(bar, access, anew=anew)
    if options.as_json:
        print_json(report.content)
    elif not options.quiet:
        print_report(report, options.runs)
    if report.error:
        raise RunError(report.error)
