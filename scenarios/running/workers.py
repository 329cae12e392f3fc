"""Worker processes with one thread each, which end with their parent."""

import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from threading import Thread
from typing import Any

import torch

from agent.errors import RunError
from scenarios.running.own_code import component_errors
from scenarios.running.progress import Interrupted, ProgressReporter


class WorkerPool:
    """Processes with one thread each, so that results do not depend on the number of processes.

    Leaving the pool kills its processes, also after an error, and loses their unfinished tasks. A task must therefore
    write a file atomically.

    Args:
        n: largest number of processes; they start when there is work for them.
        reporter: may stop the pool while it waits for tasks.
    """

    def __init__(self, n: int, reporter: ProgressReporter) -> None:
        self.n, self._reporter = n, reporter
        self._running: set[Future[Any]] = set()
        self._others = set(multiprocessing.active_children())
        self._processes: set[Any] = set()
        spawn = multiprocessing.get_context("spawn")
        self._executor = ProcessPoolExecutor(n, mp_context=spawn, initializer=_initialize)

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *_: object) -> None:
        for process in set(multiprocessing.active_children()) - self._others:
            process.kill()
        self._executor.shutdown(wait=True)

    @property
    def working(self) -> bool:
        """Whether a task is running."""
        return bool(self._running)

    @property
    def free(self) -> bool:
        """Whether a process has no task."""
        return len(self._running) < self.n

    def begin(self, task: Callable[..., Any], *arguments: Any) -> None:
        """Start a task in a free process; the function, its arguments, its result and its errors are pickled."""
        resource_tracker.ensure_running()  # now, since starting it later would unblock the signals
        # Only the parent handles a signal to the whole group, such as Ctrl-C: processes inherit the blocked signals.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        try:
            self._running.add(self._executor.submit(_run, task, *arguments))
            self._processes |= set(multiprocessing.active_children()) - self._others
        except BrokenProcessPool:
            raise self._broken() from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def ended(self) -> list[Any]:
        """Wait for a running task; returns the results of all tasks that ended since the last call.

        Raises:
            Interrupted: the reporter stopped the experiment.
            RunError: a process was killed.
            Exception: the error of a task.
        """
        while self._running:
            if self._reporter.stopping:
                raise Interrupted
            done, self._running = wait(self._running, timeout=0.2, return_when=FIRST_COMPLETED)
            if done:
                try:
                    return [future.result() for future in done]
                except BrokenProcessPool:
                    raise self._broken() from None
            # The executor does not watch a process from the start, and can miss that it is killed early.
            if any(process.exitcode is not None for process in self._processes):
                raise self._broken()
        return []

    def _broken(self) -> Exception:
        if self._reporter.stopping:
            return Interrupted()
        return RunError(
            f"expected {self.n} worker processes, but one was killed, perhaps for lack of memory; the same command "
            "continues the run, also with fewer --workers"
        )


def _run(task: Callable[..., Any], *arguments: Any) -> Any:
    with component_errors():  # here, since pickling an error loses its traceback
        return task(*arguments)


def _initialize() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of libraries; the parent shows warnings that concern the user
    sys.stdout = sys.stderr  # a user's policy may print, but only the parent prints results
    Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # nobody waits for the result


def n_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
