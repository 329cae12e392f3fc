"""Tasks on a Ray cluster, or on a local Ray: they go on from their checkpoints when a worker or a node dies."""

import json
import math
import pickle
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import InvalidSetting, LifetimeError, RunError
from agent.storage.checkpoint import replace_file
from agent.storage.record import CONFIG, UNBEGUN
from scenarios.running.mirror import PLACE, Mirror
from scenarios.running.progress import Interrupted, ProgressReporter
from scenarios.running.ray_board import Board
from scenarios.running.ray_connection import connect
from scenarios.running.ray_worker import Caller, Outcome, do
from scenarios.running.tasks import Task
from scenarios.running.workers import GRACE_SECONDS

MOST_DEATHS = 3
"""How many workers may die of one task before the run ends."""

_LOOK_SECONDS = 0.3
"""Time between two looks at the progress of tasks."""

_SPARE = 8
"""Tasks that wait in Ray beyond those that all nodes can do at once, for nodes that join."""


@dataclass
class _Attempt:
    """A task in the hands of Ray."""

    task: Task
    number: int
    deaths: int
    """Of the attempts before."""
    done: float = 0.0
    """What it has reported."""


class RayExecutor:
    """Does tasks on the nodes of a Ray cluster; connects when the first begins.

    Args:
        threads: of each task.
        reporter: receives the progress of all tasks, and may stop the run.
        address: of the cluster; None for a Ray of this machine, which ends with the run. A process that is connected to
            a cluster already stays with it.
        workers: largest number of tasks at a time; None for as many as the cluster can do.
        cpus: of each task.
        gpus: of each task; tasks can share a GPU.
        storage: URL for the run's artifacts; None if all nodes share the run's folder.
    """

    def __init__(
        self,
        threads: int,
        reporter: ProgressReporter,
        *,
        address: str | None = None,
        workers: int | None = None,
        cpus: float = 1,
        gpus: float = 0,
        storage: str | None = None,
    ) -> None:
        self._threads, self._reporter, self._address, self._workers = threads, reporter, address, workers
        self._resources, self._storage = {"CPU": cpus, "GPU": gpus}, storage
        self._running: dict[Any, _Attempt] = {}
        self._n_attempts = 0
        self._ray: Any = None
        self._remote: Any = None
        self._board: Any = None
        self._ours = False
        self._folder: Path | None = None
        self._caller: Caller | None = None
        self._mirror: Mirror | None = None
        self._most, self._most_at, self._warned = 0, -math.inf, False

    def __enter__(self) -> "RayExecutor":
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if self._mirror is not None and self._folder is not None:
                self._end_mirror(self._mirror, self._folder, error[1])
        finally:
            if self._ray is not None:
                self._disconnect()

    @property
    def working(self) -> bool:
        """See Executor."""
        return bool(self._running)

    @property
    def free(self) -> bool:
        """See Executor; it is also free for a few tasks that wait for nodes which join the cluster."""
        self._connect()
        if self._workers is not None:
            return len(self._running) < self._workers
        if time.monotonic() - self._most_at > 1:
            self._most, self._most_at = self._n_at_once(), time.monotonic()
            if not self._most and not self._warned:
                self._reporter.warn(f"no node of the cluster has {self._wanted()} for a task; waiting for one that has")
                self._warned = True
        return len(self._running) < self._most + _SPARE

    def begin(self, task: Task) -> None:
        """See Executor; the task, its result and its errors are pickled."""
        self._connect()
        if self._caller is None:
            self._caller = self._prepare(task.folder)
        self._submit(task, 0)

    def ended(self) -> list[tuple[Task, Any]]:
        """See Executor; an error ends the run when the other tasks have saved what they have done."""
        while self._running:
            if self._reporter.stopping:
                self._wind_down()
                raise Interrupted
            try:
                done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=_LOOK_SECONDS)
                self._report()
            except self._ray.exceptions.RayError as error:
                reason = " ".join(str(error).split())[:300]
                raise RunError(
                    f"expected the Ray cluster to stay, got: {reason}; the same command continues the run"
                ) from error
            try:
                results = [each for ref in done if (each := self._result(ref)) is not None]
            except (Exception, SystemExit):
                self._wind_down()
                raise
            if results:
                return results
        return []

    def _submit(self, task: Task, deaths: int) -> None:
        self._n_attempts += 1
        ref = self._remote.remote(self._caller, pickle.dumps(task), self._board, self._n_attempts)
        self._running[ref] = _Attempt(task, self._n_attempts, deaths)

    def _result(self, ref: Any) -> tuple[Task, Any] | None:
        """The task of an attempt that ended, and its result; None if it died, and the task has begun again."""
        errors = self._ray.exceptions
        died = (
            errors.WorkerCrashedError,
            errors.NodeDiedError,
            errors.LocalRayletDiedError,
            errors.OutOfMemoryError,
            errors.ObjectLostError,
        )
        attempt = self._running.pop(ref)
        try:
            outcome: Outcome = pickle.loads(self._ray.get(ref))
        except died:
            self._begin_again(attempt)
            return None
        except errors.RayError as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise RunError(
                f"expected the program and its packages on every node of the cluster, got: {reason}; the same command "
                "continues the run"
            ) from error
        for kind, what in outcome.said:
            (self._reporter.warn if kind == "warn" else self._reporter.tell)(what)
        if outcome.error is not None:
            raise outcome.error from (RuntimeError(outcome.trace) if outcome.trace else None)
        if self._mirror is not None and outcome.written is not None:
            self._mirror.bring(attempt.task.folder, outcome.written)
        return attempt.task, outcome.result

    def _begin_again(self, attempt: _Attempt) -> None:
        self._reporter.advance(-attempt.done)
        if attempt.deaths + 1 > MOST_DEATHS:
            raise RunError(
                f"expected a worker to end a task of {attempt.task.folder}, but {attempt.deaths + 1} died of it, "
                "perhaps for lack of memory; the same command continues the run, also with fewer tasks on a node "
                "(cpus= of --executor ray)"
            )
        self._reporter.warn("a worker or its node died; another one goes on from the last checkpoint")
        self._submit(attempt.task, attempt.deaths + 1)

    def _report(self) -> None:
        live = {attempt.number: attempt for attempt in self._running.values()}
        for number, done, what, total in self._ray.get(self._board.take.remote()):
            if number not in live:
                continue  # of an attempt that died
            if total is not None:
                self._reporter.expect(total)
            live[number].done += done
            self._reporter.advance(done)
            if what:
                self._reporter.say(what)

    def _wind_down(self) -> None:
        """Let the tasks save what they have done."""
        with suppress(self._ray.exceptions.RayError):
            self._ray.get(self._board.stop.remote())
            if self._running:
                self._ray.wait(list(self._running), num_returns=len(self._running), timeout=GRACE_SECONDS)

    def _connect(self) -> None:
        if self._ray is not None:
            return
        ray, self._ours = connect(self._address)
        self._ray = ray
        if self._address is None and self._ours and not self._n_at_once():
            raise InvalidSetting(f"expected at most the CPUs and GPUs of this machine, got {self._wanted()}")
        near = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        self._board = ray.remote(Board).options(num_cpus=0, scheduling_strategy=near).remote()
        self._remote = ray.remote(_on_worker).options(
            num_cpus=self._resources["CPU"], num_gpus=self._resources["GPU"], max_retries=0
        )

    def _disconnect(self) -> None:
        self._running.clear()
        with suppress(Exception):  # the cluster may be gone
            if self._board is not None:
                self._ray.kill(self._board)  # without it a task ends with its next report
            if self._ours:
                self._ray.shutdown()

    def _prepare(self, folder: Path) -> Caller:
        """What workers need to know; with the files so far in the mirror, if there is one."""
        self._folder, config = folder, (folder / CONFIG).read_bytes()
        url = None
        if self._storage is not None:
            url = "/".join((self._storage.rstrip("/"), folder.parent.name, _place(folder)))
            self._mirror = Mirror(url)
            self._mirror.merge(folder)
        path = tuple(str(Path(each).absolute()) for each in sys.path)
        return Caller(uuid.uuid4().hex, config, self._threads, path, str(Path.cwd()), url)

    def _end_mirror(self, mirror: Mirror, folder: Path, error: object) -> None:
        """The finished run goes to the URL; what an interrupted one has saved there comes to its folder."""
        if error is None:
            mirror.complete(folder)
            (folder / PLACE).unlink(missing_ok=True)
        elif isinstance(error, Exception):
            with suppress(LifetimeError, OSError):  # the error that ends the run is told
                mirror.merge(folder, send=False)
            if {entry.name for entry in folder.iterdir()} <= {*UNBEGUN, PLACE}:
                (folder / PLACE).unlink(missing_ok=True)  # nothing has been saved

    def _n_at_once(self) -> int:
        """The number of tasks that the nodes can do at once."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        wanted = {name: amount for name, amount in self._resources.items() if amount}
        most = [min((int(node.get(name, 0) / amount + 1e-9) for name, amount in wanted.items())) for node in nodes]
        return sum(most)

    def _wanted(self) -> str:
        return " and ".join(f"{amount:g} {name}s" for name, amount in self._resources.items() if amount)


def _on_worker(caller: Caller, task: bytes, board: Any, attempt: int) -> bytes:
    """The remote function."""
    import ray

    def report(done: float, what: str, total: float | None) -> bool:
        stopping: bool = ray.get(board.report.remote(attempt, done, what, total))
        return stopping

    return do(caller, task, report)


def _place(folder: Path) -> str:
    """The name of the run's folder at a URL, which another run with the same name does not have."""
    path = folder / PLACE
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        name = f"{folder.name}-{uuid.uuid4().hex[:8]}"
    try:
        replace_file(path, (json.dumps({"folder": name}) + "\n").encode("utf-8"))
    except OSError as error:
        raise RunError(f"expected to write in {folder}, got: {error.strerror or error}") from error
    return name
