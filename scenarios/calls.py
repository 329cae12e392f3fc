"""The experiments as calls from Python, which return their results as values.

    found = scenarios.compare(policies="static:k=50 loss", seeds=3)
    found.frame()                       # a pandas frame of the table
    found = scenarios.load("runs/compare/textures-iid-1a2b3c4d")

In a notebook a result shows itself, with its tables and its figure.
"""

import inspect
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

from pydantic.fields import FieldInfo

from agent.errors import InvalidSetting, RunError
from agent.storage.record import FinishedRun
from scenarios.cli.progress import Bar
from scenarios.cli.stopping import STOP, Stopped
from scenarios.config.method import Settings
from scenarios.config.presets import from_toml, validate
from scenarios.config.settings import CompareConfig
from scenarios.config.sweep import NOT_SWEPT
from scenarios.datasets.source import Access
from scenarios.experiments.finished_runs import read_config
from scenarios.registry import find_experiment
from scenarios.results import Results
from scenarios.running.experiment import Begun, Experiment, begin, read_settings, reading_settings
from scenarios.running.progress import Interrupted, ProgressReporter, SilentReporter
from scenarios.running.tasks import Run

CALLS = {
    "simulate": "simulate",
    "compare": "compare",
    "compare_runs": "compare-runs",
    "reproduce": "reproduce",
    "sweep": "sweep",
    "tune": "tune",
    "curve": "curve",
    "join_curves": "join-curves",
    "beside_curves": "beside-curves",
    "tree": "tree",
    "train_policy": "train-policy",
    "evaluate": "evaluate",
    "frontier": "frontier",
}
"""The experiment of each call."""


def run(
    experiment: str,
    *,
    preset: str = "quick",
    progress: bool | ProgressReporter = False,
    runs: Path | str = "runs",
    name: str | None = None,
    force: bool = False,
    workers: int | None = None,
    executor: str | None = None,
    data_dir: Path | str | None = None,
    download: bool = False,
    config: Path | str | None = None,
    dry_run: bool = False,
    **settings: Any,
) -> Results:
    """Start, continue or read a run, as the command of the experiment does.

    Args:
        experiment: its name, such as `curve`.
        preset: where the settings start.
        progress: True for a progress bar; or an object that receives the progress.
        runs: folder that runs are written to.
        name: of the run's folder; None for one made from the settings.
        force: start anew, and delete what the run's folder holds.
        workers: number of processes. A script that asks for them needs `if __name__ == "__main__":` around its calls.
        executor: spec of the executor; by default as `workers`, and else this process.
        data_dir: where data sets and caches are; None for the user's cache folder.
        download: download a missing data set.
        config: TOML file of settings, which override the preset.
        dry_run: only estimate what the run will take, if the experiment can tell; nothing is written.
        settings: of the experiment: the options of its command, with _ for -.

    Raises:
        InvalidSetting: a setting is unknown or invalid.
        LifetimeError: as the command does; what was saved stays, and the same call goes on.
        KeyboardInterrupt: after Ctrl-C, once all progress is saved; the same call goes on.
        Interrupted: `progress` stopped the run; all progress is saved.
    """
    for what, value, kinds in (("workers", workers, int), ("executor", executor, str), ("name", name, str)):
        if value is not None and not isinstance(value, kinds):
            raise InvalidSetting(f"expected {what} of type {kinds.__name__}, got {value!r}")
    found = find_experiment(experiment)
    given = {name: value for name, value in settings.items() if value is not None}
    with reading_settings():
        from_file = from_toml(Path(config)) if config is not None else {}
        read = read_settings(found, preset, from_file, given)
    access = Access(None if data_dir is None else Path(data_dir), download)
    if executor is None and workers is None and found.side_by_side:
        executor = "serial"  # processes import the caller's script again
    begun = begin(found, read, access, preset=preset, workers=workers, executor=executor, runs=Path(runs), name=name)
    return _executed(begun, access, progress, force, dry_run)


def resume(
    path: Path | str,
    *,
    progress: bool | ProgressReporter = False,
    workers: int | None = None,
    executor: str | None = None,
    data_dir: Path | str | None = None,
    download: bool = False,
    dataset: str | None = None,
) -> Results:
    """Continue an interrupted run with its own settings; see `run`. `dataset` is the new place of its data.

    Raises:
        RunError: there is no run of this program, or it was begun by another version.
    """
    found, config, preset = _described(Path(path), dataset)
    access = Access(None if data_dir is None else Path(data_dir), download)
    if executor is None and workers is None:
        executor = "serial"
    begun = begin(found, config, access, preset=preset, workers=workers, executor=executor, path=Path(path))
    return _executed(begun, access, progress, False, False)


def load(path: Path | str) -> Results:
    """The results of a finished run, from its folder; nothing is computed again or written.

    Raises:
        RunError: there is no run of this program, or it is not finished.
    """
    path = Path(path)
    found, config, _ = _described(path)
    value = found.run(config, Run(FinishedRun(path), SilentReporter()))
    return Results(found.name, path, config, value, found.report(value, config, path))


def _described(path: Path, dataset: str | None = None) -> tuple[Experiment[Any, Any], Settings, str]:
    """The experiment of a run, its settings, perhaps with another data set, and the preset that they started from."""
    described = read_config(path)
    found: Experiment[Any, Any] = find_experiment(described.get("experiment"), path)
    settings = described.get("settings")
    if not isinstance(settings, dict):
        raise RunError(f"expected a run of this program at {path}, got one without settings")
    if dataset is not None:
        settings = {**settings, "dataset": dataset}
    with reading_settings():
        return found, validate(found.config, settings), str(described.get("preset"))


def _executed(
    begun: Begun[Any, Any], access: Access, progress: bool | ProgressReporter, anew: bool, dry_run: bool
) -> Results:
    if dry_run and begun.experiment.plan is None:
        raise InvalidSetting(f"expected an experiment that can tell what it takes (sweep), got {begun.experiment.name}")
    with _stoppable(), _reporting(progress) as reporter:
        if dry_run:
            value, report = None, begun.plan(reporter, access)
        else:
            value, report = begun.execute(reporter, access, anew=anew)
    if report.error:
        warnings.warn(report.error, stacklevel=4)
    return Results(begun.experiment.name, begun.path, begun.config, value, report)


def _reporting(progress: bool | ProgressReporter) -> AbstractContextManager[ProgressReporter]:
    if not isinstance(progress, bool):
        return nullcontext(cast(ProgressReporter, _Watched(progress)))
    return Bar() if progress else nullcontext(_Unshown())


class _Watched:
    """A reporter of the caller's own, which Ctrl-C stops too."""

    def __init__(self, reporter: ProgressReporter) -> None:
        self._reporter = reporter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reporter, name)

    @property
    def stopping(self) -> bool:
        """See `ProgressReporter`."""
        return STOP.look() or self._reporter.stopping


class _Unshown(SilentReporter):
    """Shows only warnings, as Python warnings; Ctrl-C stops it."""

    @property
    def stopping(self) -> bool:  # type: ignore[override]
        """See `ProgressReporter`."""
        return STOP.look()


@contextmanager
def _stoppable() -> Iterator[None]:
    """Ctrl-C waits for the next chunk, saves, and is a KeyboardInterrupt then; a second one does not wait."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with STOP.handling():
        try:
            yield
        except Interrupted:
            if STOP.number is None:
                raise
            raise KeyboardInterrupt("interrupted; the same call goes on") from None
        except Stopped:
            raise KeyboardInterrupt("interrupted; the same call goes on") from None


def _call(experiment: str) -> Callable[..., Results]:
    """A function that runs an experiment, with its settings in signature and documentation."""

    def call(**arguments: Any) -> Results:
        return run(experiment, **arguments)

    own, fields = list(inspect.signature(run).parameters.values())[1:-1], _fields(experiment)
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.annotation)
        for name, field in fields.items()
    ]
    call.__name__ = call.__qualname__ = experiment.replace("-", "_")
    call.__signature__ = inspect.Signature([*parameters, *own], return_annotation=Results)  # type: ignore[attr-defined]
    lines = [f"        {name}: {field.description}." for name, field in fields.items()]
    call.__doc__ = (
        f"Run `lifetime {experiment}`; see `scenarios.calls.run` for what all experiments share.\n\n    Args:\n"
        + "\n".join(lines)
    )
    return call


def _fields(experiment: str) -> dict[str, FieldInfo]:
    """The settings that a call takes."""
    kind = find_experiment(experiment).config
    own = {name: field for name, field in kind.model_fields.items() if name not in kind.unused or field.is_required()}
    if experiment == "tune":
        own["search"] = kind.model_fields["search"]
    if experiment != "sweep":
        return own
    of_lifetimes = {name: field for name, field in CompareConfig.model_fields.items() if name not in NOT_SWEPT}
    return {**of_lifetimes, "axes": own["axes"], "retry_failed": own["retry_failed"]}


def __getattr__(name: str) -> Any:
    """The call of an experiment, made on first use, since it imports the experiment."""
    if name not in CALLS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = _call(CALLS[name])
    return globals()[name]
