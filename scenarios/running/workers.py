"""Worker processes that do tasks side by side, and end with their parent."""

import multiprocessing
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from threading import Thread
from typing import Any

from agent.errors import RunError
from scenarios.running.own_code import component_errors
from scenarios.running.process import compute_with
from scenarios.running.progress import Interrupted, ProgressReporter
from scenarios.running.tasks import Cache, Task

Progress = tuple[float, str, float | None]
"""The work done since the last message, the description of the current work, and the total if it was set."""

GRACE_SECONDS = 10.0
"""How long tasks may take to save what they have done when a run is stopped, as after Ctrl-C; a second one ends it."""


class ProcessExecutor:
    """Does tasks in processes of this machine.

    Every process has the same number of threads, so that results do not depend on the number of processes. A run that
    is stopped gives its tasks a few seconds to save what they have done. Leaving the context kills the processes, also
    after an error.

    Args:
        n: largest number of processes; they start when there is work for them.
        threads: of each process.
        reporter: receives the progress of all processes, and may stop the run.
    """

    def __init__(self, n: int, threads: int, reporter: ProgressReporter) -> None:
        self.n, self._reporter = n, reporter
        self._running: dict[Future[Any], Task] = {}
        self._others = set(multiprocessing.active_children())
        self._processes: set[Any] = set()
        spawn = multiprocessing.get_context("spawn")
        self._progress, self._stop = spawn.SimpleQueue(), spawn.Event()
        self._executor = ProcessPoolExecutor(
            n, mp_context=spawn, initializer=_initialize, initargs=(threads, self._progress, self._stop)
        )

    def __enter__(self) -> "ProcessExecutor":
        return self

    def __exit__(self, *_: object) -> None:
        for process in set(multiprocessing.active_children()) - self._others:
            process.kill()
        self._executor.shutdown(wait=True)

    @property
    def working(self) -> bool:
        """See Executor."""
        return bool(self._running)

    @property
    def free(self) -> bool:
        """See Executor."""
        return len(self._running) < self.n

    def begin(self, task: Task) -> None:
        """See Executor; the task, its result and its errors are pickled."""
        resource_tracker.ensure_running()  # now, since starting it later would unblock the signals
        # Only the parent handles a signal to the whole group, such as Ctrl-C: processes inherit the blocked signals.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        try:
            self._running[self._executor.submit(_do, task)] = task
            self._processes |= set(multiprocessing.active_children()) - self._others
        except BrokenProcessPool:
            raise self._broken() from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def ended(self) -> list[tuple[Task, Any]]:
        """See Executor."""
        while self._running:
            if self._reporter.stopping:
                self._stop.set()
                wait(self._running, timeout=GRACE_SECONDS)
                raise Interrupted
            done, _ = wait(self._running, timeout=0.2, return_when=FIRST_COMPLETED)
            self._report()
            if done:
                try:
                    results = [(self._running.pop(future), *future.result()) for future in done]
                except BrokenProcessPool:
                    raise self._broken() from None
                self._report()
                for _, _, said in results:
                    for kind, what in said:
                        (self._reporter.warn if kind == "warn" else self._reporter.tell)(what)
                return [(task, result) for task, result, _ in results]
            # The executor does not watch a process from the start, and can miss that it is killed early.
            if any(process.exitcode is not None for process in self._processes):
                raise self._broken()
        return []

    def _report(self) -> None:
        while not self._progress.empty():
            done, what, total = self._progress.get()
            if total is not None:
                self._reporter.expect(total)
            self._reporter.advance(done)
            if what:
                self._reporter.say(what)

    def _broken(self) -> Exception:
        if self._reporter.stopping:
            return Interrupted()
        return RunError(
            f"expected {self.n} worker processes, but one was killed, perhaps for lack of memory; the same command "
            "continues the run, also with fewer --workers"
        )


class ForwardingReporter:
    """Sends the progress of a task to the process that reports it, a few times a second; keeps what it says.

    Args:
        send: called with the progress since the last call.
        stopped: whether the run is being stopped.
    """

    EVERY_SECONDS = 0.2

    def __init__(self, send: Callable[[Progress], None], stopped: Callable[[], bool]) -> None:
        self.said: list[tuple[str, str]] = []
        """Kind, `tell` or `warn`, and text of each message."""
        self._send, self._stopped = send, stopped
        self._done, self._what, self._sent_at = 0.0, "", 0.0
        self._total: float | None = None

    @property
    def stopping(self) -> bool:
        """See ProgressReporter."""
        return self._stopped()

    def expect(self, total: float) -> None:
        """See ProgressReporter."""
        self._total = total

    def reach(self, done: int, total: int) -> None:
        """See ProgressReporter; nobody shows it."""

    def tell(self, what: str) -> None:
        """See ProgressReporter."""
        self.said.append(("tell", what))

    def warn(self, what: str) -> None:
        """See ProgressReporter."""
        self.said.append(("warn", what))

    def advance(self, done: float) -> None:
        """See ProgressReporter."""
        self._done += done
        if time.monotonic() - self._sent_at >= self.EVERY_SECONDS:
            self.flush()

    def say(self, what: str) -> None:
        """See ProgressReporter."""
        self._what = what

    def flush(self) -> None:
        """Send what is not sent yet."""
        self._send((self._done, self._what, self._total))
        self._done, self._total, self._sent_at = 0.0, None, time.monotonic()


_CACHE = Cache()  # of a worker process
_PROGRESS: Any = None  # its queue to the parent
_STOP: Any = None  # an event, set when the run is stopped


def _do(task: Task) -> tuple[Any, list[tuple[str, str]]]:
    """Do a task in a worker process; returns its result, and what it said."""
    reporter = ForwardingReporter(_PROGRESS.put, _STOP.is_set)
    with component_errors():  # here, since pickling an error loses its traceback
        result = task.do(reporter, _CACHE)
    reporter.flush()
    return result, reporter.said


def _initialize(threads: int, progress: Any, stop: Any) -> None:
    global _PROGRESS, _STOP
    _PROGRESS, _STOP = progress, stop
    compute_with(threads)
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
