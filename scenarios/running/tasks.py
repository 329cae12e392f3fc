"""Tasks: the pieces of a run as plain data, which an executor does in any order, here or elsewhere."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from agent.errors import RunError
from agent.storage.record import FinishedRun, RunDirectory
from scenarios.config.method import Settings
from scenarios.datasets.source import Access
from scenarios.running.own_code import component_errors
from scenarios.running.progress import Interrupted, ProgressReporter

Kept = TypeVar("Kept")


class Cache:
    """What a process keeps between the tasks of one run, such as the world of a seed."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Kept], *, most: int = 1) -> Kept:
        """What is kept under a key, made if it is not there; of others only the `most` recent are kept."""
        if key not in self._kept:
            self._kept[key] = make()
        self._kept.move_to_end(key)
        while len(self._kept) > most:
            self._kept.popitem(last=False)
        found: Kept = self._kept[key]
        return found


@dataclass(frozen=True)
class Site:
    """What a task works with."""

    directory: RunDirectory
    """Of the run; the task writes files atomically, so that doing it twice is harmless."""
    reporter: ProgressReporter
    access: Access
    cache: Cache


@dataclass(frozen=True)
class Task:
    """A piece of a run."""

    work: Callable[..., Any]
    """A function of a module, called as `work(config, *arguments, site)`; its result is plain data."""
    config: Settings
    arguments: tuple[Any, ...]
    folder: Path
    """Of the run."""
    access: Access
    part: str | None = ""
    """The folder in that of the run whose files it goes on from; None for none."""

    def do(self, reporter: ProgressReporter, cache: Cache) -> Any:
        """Do it in this process."""
        return self.work(self.config, *self.arguments, Site(RunDirectory(self.folder), reporter, self.access, cache))


@runtime_checkable
class Executor(Protocol):
    """Does tasks; it changes no number. Leaving its context ends all unfinished tasks."""

    def __enter__(self) -> "Executor":
        """Begin to accept tasks."""

    def __exit__(self, *_: object) -> None:
        """End all unfinished tasks."""

    @property
    def free(self) -> bool:
        """Whether it can begin a task now."""

    @property
    def working(self) -> bool:
        """Whether a task has begun and not ended."""

    def begin(self, task: Task) -> None:
        """Begin a task."""

    def ended(self) -> list[tuple[Task, Any]]:
        """Wait until a task ends; returns the tasks that ended since the last call, with their results.

        Raises:
            Interrupted: the reporter stopped the run.
            RunError: a process was lost.
            Exception: the error of a task.
        """


class SerialExecutor:
    """Does one task after the other, in this process.

    Args:
        reporter: receives the progress, and may stop a task.
        cache: kept between tasks.
    """

    def __init__(self, reporter: ProgressReporter, cache: Cache | None = None) -> None:
        self._reporter, self._cache = reporter, cache or Cache()
        self._begun: Task | None = None
        self._n_done = 0

    def __enter__(self) -> "SerialExecutor":
        return self

    def __exit__(self, *_: object) -> None:
        self._begun = None

    @property
    def free(self) -> bool:
        """See Executor."""
        return self._begun is None

    @property
    def working(self) -> bool:
        """See Executor."""
        return self._begun is not None

    def begin(self, task: Task) -> None:
        """See Executor; the task is done when its end is waited for."""
        self._begun = task

    def ended(self) -> list[tuple[Task, Any]]:
        """See Executor."""
        task, self._begun = self._begun, None
        if task is None:
            return []
        if self._n_done and self._reporter.stopping:  # a task need not watch the reporter
            raise Interrupted
        self._n_done += 1
        with component_errors():  # here, since StopIteration would end as another error where tasks are iterated over
            return [(task, task.do(self._reporter, self._cache))]


def run_tasks(executor: Executor, tasks: Iterable[Task]) -> Iterator[tuple[Task, Any]]:
    """Do tasks, each made when it can begin; yields each with its result, as they end. Raises as `Executor.ended`."""
    waiting, more = iter(tasks), True
    while more or executor.working:
        while more and executor.free:
            task = next(waiting, None)
            if task is None:
                more = False
            else:
                executor.begin(task)
        yield from executor.ended()


@dataclass(frozen=True)
class Run:
    """What a run works with, besides its settings.

    Args:
        directory: where everything is written.
        reporter: receives the progress, and may stop the run.
        access: where data sets are.
        executor: does its tasks; by default in this process.
        cache: what this process keeps between tasks.
    """

    directory: RunDirectory
    reporter: ProgressReporter
    access: Access = Access()  # noqa: RUF009 (frozen)
    executor: Executor | None = None
    cache: Cache = field(default_factory=Cache)

    @property
    def is_read(self) -> bool:
        """Whether a finished run is only read, so that there are no tasks."""
        return isinstance(self.directory, FinishedRun)

    def task(self, work: Callable[..., Any], config: Settings, *arguments: Any, part: str | None = "") -> Task:
        """A task of this run; see `Task`.

        Raises:
            RunError: it is only read, but is not finished.
        """
        if self.is_read:
            raise RunError(
                f"expected a finished run at {self.directory.path}, got an unfinished one; go on with `lifetime resume`"
            )
        return Task(work, config, arguments, self.directory.path, self.access, part)

    def do(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Any]]:
        """Do tasks; see `run_tasks`."""
        return run_tasks(self.executor or SerialExecutor(self.reporter, self.cache), tasks)
