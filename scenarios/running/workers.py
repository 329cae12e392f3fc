"""Processes that work side by side: one thread each, ended at once, and never left behind."""

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
from scenarios.running.progress import Interrupted, ProgressReporter


class WorkerPool:
    """Processes of one thread each, so that numbers do not depend on how many there are.

    Whoever leaves the pool, for whatever reason, ends its processes at once: what they were doing is lost, so that it
    must be written whole or not at all.

    Args:
        n: processes at most; they begin when there is work for them.
        reporter: asked, while tasks are waited for, whether to stop.
    """

    def __init__(self, n: int, reporter: ProgressReporter) -> None:
        self.n, self._reporter = n, reporter
        self._running: set[Future[Any]] = set()
        self._others = set(multiprocessing.active_children())
        self._processes: set[Any] = set()
        spawn = multiprocessing.get_context("spawn")
        self._executor = ProcessPoolExecutor(n, mp_context=spawn, initializer=_begin)

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *_: object) -> None:
        for process in set(multiprocessing.active_children()) - self._others:
            process.kill()
        self._executor.shutdown(wait=True)

    @property
    def working(self) -> bool:
        """Whether there is anything to wait for."""
        return bool(self._running)

    @property
    def free(self) -> bool:
        """Whether there is a process with nothing to do."""
        return len(self._running) < self.n

    def begin(self, task: Callable[..., Any], *arguments: Any) -> None:
        """Give a free process something to do; function, arguments, result and errors are pickled."""
        resource_tracker.ensure_running()  # it would unblock the signals
        # A signal to the whole group, as by Ctrl-C, is for the parent to hear: processes inherit what is blocked.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        try:
            self._running.add(self._executor.submit(task, *arguments))
            self._processes |= set(multiprocessing.active_children()) - self._others
        except BrokenProcessPool:
            raise self._broken() from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def ended(self) -> list[Any]:
        """Results of the tasks that have ended since the last call, as soon as there are any.

        Raises:
            Interrupted: the reporter asked to stop.
            RunError: a process was killed.
            Exception: whatever a task raised.
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
            # The executor does not watch a process from the start: one that is killed early it can miss.
            if any(process.exitcode is not None for process in self._processes):
                raise self._broken()
        return []

    def _broken(self) -> Exception:
        if self._reporter.stopping:
            return Interrupted()
        return RunError(
            f"expected {self.n} processes to live, but one was killed, perhaps for want of memory; the same command "
            "goes on, also with fewer --workers"
        )


def _begin() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of libraries; what concerns the user is the parent's to say
    sys.stdout = sys.stderr  # a policy of the user's own may print, and results are the parent's to print
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # nobody waits for the result
