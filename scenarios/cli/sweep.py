"""`lifetime sweep`: the settings from a file and from axes, and the plan of a dry run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.errors import InvalidSetting
from scenarios.cli.experiment import run_command
from scenarios.cli.options import Options, check_name
from scenarios.cli.progress import Bar
from scenarios.cli.show import print_json, print_report
from scenarios.config.presets import from_toml, validate
from scenarios.config.sweep import SweepConfig, read_axes


def run_sweep(
    options: Options,
    given: Mapping[str, Any],
    spec: Path | None,
    axes: Sequence[str],
    *,
    dry_run: bool,
    retry_failed: bool,
) -> None:
    """Start or continue a sweep and print its results, or print its plan.

    Args:
        options: those that all experiments share.
        given: settings of the command line; None where not given.
        spec: TOML file of settings and axes.
        axes: as texts.
        dry_run: only print the plan.
        retry_failed: run failed tasks again.
    """
    if spec is not None and options.config is not None:
        raise InvalidSetting("expected settings in SPEC or in --config, got both; leave out --config")
    path = spec or options.config
    settings = from_toml(path) if path else {}
    preset = str(settings.pop("preset", "quick")) if options.preset == "quick" else options.preset
    from_file = settings.pop("axes", {})
    check_name(options.name)
    options = replace(options, preset=preset, name=options.name or (None if spec is None else spec.stem))

    def config() -> SweepConfig:
        values = {
            "preset": preset,
            "given": settings | {name: value for name, value in given.items() if value is not None},
            "axes": read_axes(from_file) | read_axes(axes),
            "retry_failed": retry_failed,
        }
        return validate(SweepConfig, values)

    if dry_run:
        _print_plan(options, config)
    else:
        run_command("sweep", options, config, anew=options.force)


def _print_plan(options: Options, settings: Callable[[], SweepConfig]) -> None:
    from scenarios.datasets.source import Access
    from scenarios.experiments.sweep import SWEEP
    from scenarios.experiments.sweep_plan import plan
    from scenarios.running.experiment import begin, reading_settings

    with reading_settings():
        config = settings()
    access = Access(options.data_dir, options.download)
    begun = begin(
        SWEEP,
        config,
        access,
        preset=options.preset,
        workers=options.workers,
        executor=options.executor,
        runs=options.runs,
        name=options.name,
    )
    with Bar(shown=not (options.quiet or options.as_json)) as bar:
        report = plan(begun.config, begun.path, access, bar)
    if options.as_json:
        print_json(report.content)
    elif not options.quiet:
        print_report(report, options.runs)
