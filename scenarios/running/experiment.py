"""An experiment: settings that are checked, a run that can be interrupted, and a report of its results."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from agent.storage.record import open_run
from scenarios.analysis.report import Report
from scenarios.config.members import Member
from scenarios.config.method import Settings
from scenarios.config.settings import AgentConfig
from scenarios.datasets.source import Access
from scenarios.running.executors import Context, executor_of
from scenarios.running.factory import choose_device
from scenarios.running.identity import describe, grown_run, own_components, run_folder, same_run
from scenarios.running.own_code import component_errors
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
    check: Callable[[Config], None] = nothing
    """Checks the settings without data."""
    prepare: Callable[[Config, Access], None] = nothing
    """Checks with the data that a run can begin."""
    dataset: Callable[[Config], Member | None] = lambda config: getattr(config, "dataset", None)
    """The data set that the run reads; None if it reads none, so that it needs no device either."""
    facts: Callable[[Config], Mapping[str, Any]] = lambda config: {}
    """Further content of config.json, which is part of the run's identity."""
    side_by_side: bool = False
    """Whether its tasks are done in a process for each core, unless the user says otherwise."""
    saves: str = "chunk"
    """What an interrupted run has saved last."""
    folder: str = ""
    """The folder of its runs; by default its name."""
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

    def execute(self, reporter: ProgressReporter, access: Access, *, anew: bool = False) -> Report:
        """Start, continue or read the run, and report its results.

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
                open_run(self.path, self.described, anew=anew, compared=same_run, grown=grown_run) as directory,
                component_errors(own),  # within the run's folder, which is removed if nothing has been saved in it
                self.executor.make(context=Context(reporter, cache, threads)) as executor,
            ):
                result = self.experiment.run(self.config, Run(directory, reporter, access, executor, cache))
                return self.experiment.report(result, self.config, self.path)


@contextmanager
def _threads(n: int) -> Iterator[None]:
    """Compute with so many threads in this process."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def reading_settings() -> Iterator[None]:
    """While settings are read and checked, the user's code may print, but not among the results, and may fail."""
    with redirect_stdout(sys.stderr), component_errors():
        yield


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
    return Begun(experiment, config, described, found, does)
