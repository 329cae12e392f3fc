"""The executors: where the tasks of a run are done."""

from collections.abc import Callable
from dataclasses import dataclass

from agent.errors import InvalidSetting
from scenarios.config.families import EXECUTOR
from scenarios.config.members import Member
from scenarios.config.parameters import settable_of
from scenarios.running.progress import ProgressReporter
from scenarios.running.tasks import Cache, Executor, SerialExecutor
from scenarios.running.workers import ProcessExecutor, n_cores

MOST_WORKERS = 256
"""Largest number of processes; each imports torch."""


@dataclass(frozen=True)
class Context:
    """The run that an executor works for."""

    reporter: ProgressReporter
    cache: Cache
    """Of this process."""
    threads: int
    """Of each task."""


def serial(context: Context) -> Executor:
    """This process, one task after the other.

    Args:
        context: the run.
    """
    return SerialExecutor(context.reporter, context.cache)


def processes(context: Context, workers: int | None = None) -> Executor:
    """Processes of this machine, side by side, also on one GPU.

    Args:
        context: the run.
        workers: largest number of processes; none: one for each core.
    """
    if workers is not None and not 1 <= workers <= MOST_WORKERS:
        raise InvalidSetting(f"expected workers of processes from 1 to {MOST_WORKERS}, got {workers}")
    return ProcessExecutor(workers or n_cores(), context.threads, context.reporter)


EXECUTORS: dict[str, Callable[..., Executor]] = {"serial": serial, "processes": processes}
"""Executors by name."""


def executor_of(text: str | None, workers: int | None, *, side_by_side: bool) -> Member:
    """The executor of the options `--executor` and `--workers`.

    Args:
        text: the spec of an executor; None for processes if their number is given, and else for the usual executor.
        workers: number of processes; None for the executor's default.
        side_by_side: whether the usual executor is a process for each core, instead of this process.

    Raises:
        InvalidSetting: an unknown executor or setting, or a number of processes for one that has none.
    """
    usual = "processes" if workers is not None or side_by_side else "serial"
    executor = Member.read(usual if text is None else text, EXECUTOR)
    if workers is None:
        return executor
    if "workers" not in settable_of(executor.factory) or "workers" in executor.settings:
        raise InvalidSetting(f"expected --executor processes beside --workers, got {executor}; leave out either")
    return Member(EXECUTOR, executor.name, {**executor.settings, "workers": workers})
