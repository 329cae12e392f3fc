"""The executors: where the tasks of a run are done."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from agent.errors import InvalidSetting
from scenarios.config.families import EXECUTOR
from scenarios.config.members import Member
from scenarios.config.parameters import settable_of
from scenarios.running.mirror import check_url
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


def ray(
    context: Context,
    address: str | None = None,
    workers: int | None = None,
    cpus: float = 1,
    gpus: float = 0,
    storage: str | None = None,
) -> Executor:
    """A Ray cluster; a task whose worker or node dies goes on elsewhere. Needs `pip install 'learn-or-memorize[ray]'`.

    Args:
        context: the run.
        address: of the cluster, as in 10.0.0.1:6379, ray://host:10001 or auto; none: a Ray of this machine.
        workers: most tasks at a time; none: as many as the cluster can do.
        cpus: of each task.
        gpus: of each task; with 0.25, four share a GPU.
        storage: URL for the run's files, as in s3://bucket/runs; none: all nodes share the folder of the run.
    """
    if workers is not None and workers < 1:
        raise InvalidSetting(f"expected workers of ray of at least 1, got {workers}")
    for name, amount in {"cpus": cpus, "gpus": gpus}.items():
        if not 0 <= amount < math.inf or (amount > 1 and amount != int(amount)):
            raise InvalidSetting(f"expected {name} of ray to be a share of one, or a whole number, got {amount:g}")
    if not cpus and not gpus:
        raise InvalidSetting("expected cpus or gpus of ray above 0, got 0 for both")
    if storage is not None:
        storage = storage if "://" in storage else str(Path(storage).absolute())
        check_url(storage)
    if find_spec("ray") is None:
        raise InvalidSetting(
            "expected the package ray for --executor ray, got none; run pip install 'learn-or-memorize[ray]'"
        )
    from scenarios.running.ray_executor import RayExecutor

    return RayExecutor(
        context.threads,
        context.reporter,
        address=address,
        workers=workers,
        cpus=cpus,
        gpus=gpus,
        storage=storage,
    )


EXECUTORS: dict[str, Callable[..., Executor]] = {"serial": serial, "processes": processes, "ray": ray}
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
