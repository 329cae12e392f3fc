"""An experiment: settings that are checked, a run that can be interrupted, and a report of its results."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from agent.errors import InvalidSetting
from agent.storage.record import Grown, open_run
from scenarios.analysis.report import Report
from scenarios.config.members import Member
from scenarios.config.method import Settings
from scenarios.config.presets import resolve
from scenarios.config.settings import AgentConfig
from scenarios.datasets.source import Access
from scenarios.running.executors import Context, executor_of
from scenarios.running.factory import choose_device
from scenarios.running.identity import describe, grown_run, own_components, run_folder, same_run
from scenarios.running.own_code import component_errors
from scenarios.running.process import compute_with
from scenarios.running.progress import ProgressReporter
from scenarios.running.provenance import check_tuning
from scenarios.running.tasks import Cache, Run

Config = TypeVar("Config", bound=Settings)
Result = TypeVar("Result")


def nothing(*_: Any) -> None:
    """Check nothing."""


@dataclass(frozen=True)
class Experiment(Generic[Config, Result]):
    """One experiment. Everything that differs between experiments is in here; what is alike is done once, below."""

    name: str
    config: type[Config]
    words: Callable[[Config], list[str]]
    """The words of the run folder's default name."""
    run: Callable[[Config, Run], Result]
    """Starts or continues the run; a finished run is only read."""
    report: Callable[[Result, Config, Path], Report]
    """The report of a result, given the settings and the folder of the run."""
    plan: Callable[[Config, Path, Access, ProgressReporter], Report] | None = None
    """The report of what a run in a folder will take; None if the experiment cannot tell."""
    check: Callable[[Config], None] = nothing
    """Checks the settings without data."""
    prepare: Callable[[Config, Access], None] = nothing
    """Checks with the data that a run can begin."""
    dataset: Callable[[Config], Member | None] = lambda config: getattr(config, "dataset", None)
    """The data set that the run reads; None if it reads none, so that it needs no device either."""
    reads: Callable[[Config], Iterable[Path]] = lambda config: ()
    """The folders of finished runs that it reads; the result is not written into one of them."""
    facts: Callable[[Config], Mapping[str, Any]] = lambda config: {}
    """Further content of config.json, which is part of the run's identity."""
    grown: Grown = grown_run
    """The configuration of a run that goes on in its folder, from the stored and the present one; it may raise
    RunError."""
    side_by_side: bool = False
    """Whether its tasks are done in a process for each core, unless the user says otherwise."""
    saves: str = "chunk"
    """What an interrupted run has saved last."""
    folder: str = ""
    """The folder of its runs; by default its name."""
    read: Callable[..., Config] | None = None
    """Reads the settings from the name of a preset and tables of overrides, of which the last counts; by default
    `scenarios.config.presets.resolve`."""
    settle: Callable[[Config, Callable[[Any], Any]], Config] = lambda config, settled: (
        settled(config) if isinstance(config, AgentConfig) else config
    )
    """Decides the device and the threads of the settings, by the function that does so for the settings of an agent."""


@dataclass(frozen=True)
class Begun(Generic[Config, Result]):
    """An experiment with its settings, and the folder that its run has or will have."""

    experiment: Experiment[Config, Result]
    config: Config
    described: Mapping[str, Any]
    """The content of config.json."""
    path: Path
    executor: Member
    """Does its tasks."""

    @property
    def goes_on(self) -> str:
        """What an interrupted run does when it is resumed, as the end of a sentence."""
        config: Any = getattr(self.config, "first", self.config)  # of a sweep
        methods = getattr(config, "methods", None) or (config,)
        n_anew = sum(getattr(method, "baseline", None) is not None for method in methods)
        if n_anew == len(methods):
            return "begins a lifetime of a baseline anew, which cannot be saved on the way"
        anew = ", but baselines, which cannot be saved on the way, begin anew" if n_anew else ""
        return f"continues from the last {self.experiment.saves} that was saved{anew}"

    def execute(self, reporter: ProgressReporter, access: Access, *, anew: bool = False) -> tuple[Result, Report]:
        """Start, continue or read the run; returns its result and the report of it.

        Args:
            reporter: receives the progress.
            access: where data sets are.
            anew: delete what the folder holds first, if the settings are valid.

        Raises:
            LifetimeError: as the experiment does; what was saved stays.
            Interrupted: the reporter stopped the run.
        """
        own, access = own_components(self.config), replace(access, content=self.described["data"])
        threads, cache = getattr(self.config, "threads", None) or torch.get_num_threads(), Cache()
        with _threads(threads):
            if anew:  # invalid settings must not delete the earlier run
                with component_errors(own):
                    self.experiment.prepare(self.config, access)
            with (
                redirect_stdout(sys.stderr),  # the user's code may print
                open_run(
                    self.path, self.described, anew=anew, compared=same_run, grown=self.experiment.grown
                ) as directory,
                component_errors(own),  # within the run's folder, which is removed if nothing has been saved in it
                self.executor.make(context=Context(reporter, cache, threads)) as executor,
            ):
                result = self.experiment.run(self.config, Run(directory, reporter, access, executor, cache))
                return result, self.experiment.report(result, self.config, self.path)

    def plan(self, reporter: ProgressReporter, access: Access) -> Report:
        """What the run will take; nothing is written. Raises as the experiment's `plan` does."""
        assert self.experiment.plan is not None
        with _threads(getattr(self.config, "threads", None) or torch.get_num_threads()), redirect_stdout(sys.stderr):
            return self.experiment.plan(self.config, self.path, access, reporter)


@contextmanager
def _threads(n: int) -> Iterator[None]:
    """Compute with so many threads in this process."""
    before = torch.get_num_threads()
    compute_with(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def reading_settings() -> Iterator[None]:
    """While settings are read and checked, the user's code may print, but not among the results, and may fail."""
    with redirect_stdout(sys.stderr), component_errors():
        yield


def read_settings(experiment: Experiment[Config, Result], preset: str, *overrides: dict[str, Any]) -> Config:
    """The settings of an experiment: a preset with overrides, of which the last counts.

    Raises:
        InvalidSetting: an unknown preset or setting, or an invalid value; in one line.
    """
    if experiment.read:
        return experiment.read(preset, *overrides)
    return resolve(experiment.config, preset, *overrides)


def check_name(name: str | None) -> None:
    """Check the name of a run.

    Raises:
        InvalidSetting: it is not a plain folder name.
    """
    if name is not None and (not name or Path(name).name != name or name.startswith(".") or "\0" in name):
        raise InvalidSetting(f"expected --name to be a plain folder name, got {name!r}; --runs gives its parent folder")


def begin(
    experiment: Experiment[Config, Result],
    config: Config,
    access: Access,
    *,
    preset: str = "",
    workers: int | None = None,
    executor: str | None = None,
    runs: Path = Path("runs"),
    name: str | None = None,
    path: Path | None = None,
) -> Begun[Config, Result]:
    """Check the settings of an experiment, and find the folder of its run; nothing is written.

    Args:
        experiment: which one.
        config: its settings.
        access: where data sets are.
        preset: where the settings started from.
        workers: number of processes; see `executor_of`.
        executor: spec of the executor; see `executor_of`.
        runs: folder of all runs.
        name: of the run's folder; None for one made from the settings.
        path: folder of a run that is continued; None to find it by `runs` and `name`.

    Raises:
        InvalidSetting: the settings contradict each other or this machine.
    """
    check_name(name)
    with reading_settings():
        experiment.check(config)
        check_tuning(config, access)
        dataset = experiment.dataset(config)
        does = executor_of(executor, workers, side_by_side=experiment.side_by_side)
        alone = workers is None and executor is None and not experiment.side_by_side
        usual_threads = torch.get_num_threads() if alone else 1

        def settled(agent: AgentConfig) -> AgentConfig:
            updates: dict[str, Any] = {"threads": agent.threads or usual_threads}
            if dataset is not None or agent is not config:  # one of a sweep
                updates["device"] = choose_device(agent.device).type
            return agent.model_copy(update=updates)

        config = experiment.settle(config, settled)
        threads = getattr(config, "threads", None)
        described = {
            **describe(experiment.name, preset, config, dataset=dataset, threads=threads, access=access),
            **experiment.facts(config),
        }
        found = path or run_folder(
            runs / (experiment.folder or experiment.name), name, experiment.words(config), described
        )
        for read in experiment.reads(config):
            if found.resolve() == read.resolve():
                raise InvalidSetting(f"expected a folder of its own for the result, got {read}; choose another --name")
    return Begun(experiment, config, described, found, does)
