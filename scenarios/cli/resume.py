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
from scenarios.cli.identity import describe
from scenarios.cli.show import print_json
from scenarios.config import CompareConfig, CurveConfig, SimulateConfig
from scenarios.presets import validate


def resume(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of data sets and caches (default: the user's cache).")
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch a missing data set.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON, and nothing else.")] = False,
) -> None:
    """Go on with an interrupted run from its last checkpoint, to the very numbers of an uninterrupted one.

    The run's settings are read from its folder. A finished run is shown again.
    """
    from agent.record import CONFIG, read_object

    try:
        config = read_object(run / CONFIG, "give the folder of a run")
    except FileNotFoundError:
        raise RunError(f"expected a run at {run}, found no {CONFIG} there; give the folder of a run") from None
    if config.get("experiment") == "compare-runs":
        raise RunError(f"expected a run of lifetimes at {run}, got a comparison of finished runs, which is all there")
    try:
        experiment, preset, given = config["experiment"], config["preset"], dict(config["settings"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"expected a run of this program at {run}, got one without or with an odd {error}") from None
    options: dict[str, Any] = {"data_dir": data_dir, "download": download, "quiet": quiet}
    runs = run.parent.parent
    if experiment == "simulate":
        from scenarios.simulate import resolve_simulation

        with redirect_stdout(sys.stderr):
            simulation = resolve_simulation(validate(SimulateConfig, given))
        summary = simulate_command.live_in(run, simulation, describe(experiment, preset, simulation), **options)
        simulate_command.report(summary, simulation, run, runs, quiet=quiet, as_json=as_json)
    elif experiment == "compare":
        from scenarios.compare import resolve_comparison

        with redirect_stdout(sys.stderr):
            comparison = resolve_comparison(validate(CompareConfig, given))
        compared = compare_command.live_in(run, comparison, describe(experiment, preset, comparison), **options)
        compare_command.report(compared, run, runs, quiet=quiet, as_json=as_json)
    elif experiment == "curve":
        settings = validate(CurveConfig, given)
        found = curve_command.live_in(run, settings, describe(experiment, preset, settings), **options)
        if as_json:
            from scenarios.relative_value import curve_json

            print_json(curve_json(found))
        elif not quiet:
            curve_command.show(found, run, runs)
    else:
        raise RunError(f"expected a run that can be resumed at {run}, got one of {experiment}")
