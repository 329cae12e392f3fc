"""What a worker of a Ray cluster does: it checks that it computes the same bytes as the caller, and does a task."""

import json
import os
import pickle
import platform
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from agent.errors import LifetimeError, RunError
from agent.storage.checkpoint import CHECKPOINT
from agent.storage.record import CONFIG
from scenarios.config.method import Settings
from scenarios.running.identity import identity_of, own_code
from scenarios.running.machine import DECODER, machine, versions
from scenarios.running.mirror import Mirror, Written
from scenarios.running.own_code import component_errors
from scenarios.running.process import compute_with
from scenarios.running.progress import Interrupted
from scenarios.running.tasks import Cache, Task
from scenarios.running.workers import ForwardingReporter


@dataclass(frozen=True)
class Caller:
    """What workers need to know of the process that began the run."""

    run: str
    """Identifies it on the cluster."""
    config: bytes
    """The content of config.json."""
    threads: int
    path: tuple[str, ...]
    """Where it finds modules."""
    folder: str
    """Its current directory."""
    storage: str | None
    """The URL of the run's mirror; None if all nodes share the run's folder."""


@dataclass(frozen=True)
class Outcome:
    """How a task ended, on a worker that lives."""

    result: Any = None
    said: tuple[tuple[str, str], ...] = ()
    """Kind, `tell` or `warn`, and text of each message."""
    written: Written | None = None
    """What it wrote to the mirror; None without one."""
    error: BaseException | None = None
    trace: str = ""
    """The traceback of an error of this program; pickling loses it."""


class _Reporter(ForwardingReporter):
    """Reports to the board twice a second, and sees there whether to stop; keeps the mirror up to date."""

    EVERY_SECONDS = 0.5

    def __init__(self, report: Callable[[float, str, float | None], bool], saved: Callable[[], None]) -> None:
        super().__init__(self._report, lambda: self._stopping)
        self._to_board, self._saved = report, saved
        self._stopping = False

    @property
    def stopping(self) -> bool:
        """See ProgressReporter."""
        self.advance(0)
        return self._stopping

    def _report(self, progress: tuple[float, str, float | None]) -> None:
        self._stopping = self._to_board(*progress)
        self._saved()


class _Keeper:
    """Sends the folder of a task to its mirror when there is a new checkpoint, in a tenth of the time."""

    PAUSE = 9
    """Times as long as it took to send."""

    def __init__(self, mirror: Mirror, folder: Path) -> None:
        self.mirror, self.folder = mirror, folder
        self._stamps, self._next = self._found(), 0.0

    def look(self) -> None:
        """Send if it is time."""
        begun = time.monotonic()
        if begun >= self._next and (found := self._found()) != self._stamps:
            self.mirror.send(self.folder)
            self._stamps, ended = found, time.monotonic()
            self._next = ended + self.PAUSE * (ended - begun)

    def _found(self) -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in self.folder.rglob(CHECKPOINT)}


_CACHES: dict[str, Cache] = {}
"""What this process keeps between the tasks of a run; of one run."""


def do(caller: Caller, task: bytes, report: Callable[[float, str, float | None], bool]) -> bytes:
    """Do a task.

    Args:
        caller: the process that began the run.
        task: pickled, since it may need modules that only the caller's path shows.
        report: adds progress to the board; returns whether to stop.

    Returns:
        The pickled `Outcome`, also of a task that raised an error.
    """
    try:
        return pickle.dumps(_done(caller, task, report))
    except (Exception, SystemExit) as error:
        return _pickled(error)


def _done(caller: Caller, pickled: bytes, report: Callable[[float, str, float | None], bool]) -> Outcome:
    if report(0, "", None):
        raise Interrupted
    _settle(caller)
    try:
        task: Task = pickle.loads(pickled)
    except ImportError as error:
        raise RunError(f"expected the caller's modules on node {_node()}, got: {error}; install them there") from error
    if caller.run not in _CACHES:
        check_same(task.config, caller)
        _CACHES.clear()
        _CACHES[caller.run] = Cache()
    cache = _CACHES[caller.run]
    try:
        if caller.storage is None:
            _check_shared(task.folder, caller.config)
            reporter = _Reporter(report, lambda: None)
            with component_errors():  # here, since pickling an error loses its traceback
                result = task.do(reporter, cache)
            reporter.flush()
            return Outcome(result, tuple(reporter.said))
        return _mirrored(caller.storage, caller.config, task, report, cache)
    except RunError as error:
        if type(error) is RunError:  # such as a full disk, which may be that of any node
            raise RunError(f"{error} (on node {_node()})") from error
        raise


def _settle(caller: Caller) -> None:
    """Find modules and files as the caller does, and compute as it does."""
    if Path(caller.folder).is_dir():
        os.chdir(caller.folder)
    here = set(sys.path)
    sys.path += [each for each in caller.path if each not in here and Path(each).exists()]
    compute_with(caller.threads)
    warnings.simplefilter("ignore")  # of libraries; the caller shows warnings that concern the user


def _mirrored(
    url: str, config: bytes, task: Task, report: Callable[[float, str, float | None], bool], cache: Cache
) -> Outcome:
    """Do a task in a folder of this node, which is mirrored."""
    mirror = Mirror(url)
    with _folder(task.folder.name, config) as folder:
        mirror.fetch(folder, task.part)
        keeper = _Keeper(mirror, folder)
        reporter = _Reporter(report, keeper.look)
        try:
            with component_errors():
                result = replace(task, folder=folder).do(reporter, cache)
        except (Exception, SystemExit):
            mirror.send(folder)  # what it has saved, also after an error
            raise
        mirror.send(folder)
        reporter.flush()
        return Outcome(result, tuple(reporter.said), mirror.written(folder))


@contextmanager
def _folder(name: str, config: bytes) -> Iterator[Path]:
    """A temporary folder for a run."""
    try:
        temporary = tempfile.TemporaryDirectory(prefix="lifetime-", ignore_cleanup_errors=True)
        folder = Path(temporary.name) / name
        folder.mkdir()
        (folder / CONFIG).write_bytes(config)
    except OSError as error:
        raise RunError(f"expected to write in {tempfile.gettempdir()}, got: {error.strerror or error}") from error
    with temporary:
        yield folder


def check_same(config: Settings, caller: Caller) -> None:
    """Check that this process computes the same bytes as the caller.

    Raises:
        RunError: the code, a version, the user's own code or the machine differs.
    """
    described: dict[str, Any] = json.loads(caller.config)
    here = dict(described)
    if isinstance(described.get("versions"), dict):
        decoders = any(name.startswith(DECODER) for name in described["versions"])
        here["versions"] = versions(decoders=decoders)
    if isinstance(described.get("machine"), dict):
        device = getattr(config, "device", "cpu")
        if device == "cuda" and not torch.cuda.is_available():
            raise RunError(
                f"expected a GPU on node {_node()}, got none; ask for one with gpus=, as in --executor ray:gpus=1"
            )
        here["machine"] = machine(device, caller.threads)
    if "own_code" in described:
        here["own_code"] = own_code(config)
    before, now = identity_of(described), identity_of(here)
    for part in ("versions", "own_code", "machine"):
        for name, value in before.get(part, {}).items():
            if part == "own_code" and name not in now[part]:
                continue  # of other tasks of a sweep
            if now[part].get(name) != value:
                raise RunError(
                    f"expected every node to compute the same digits, but {name} of {part} is {value!r} for the "
                    f"caller and {now[part].get(name)!r} on node {_node()}; install the same there, or leave that "
                    "node out"
                )


def _check_shared(folder: Path, config: bytes) -> None:
    try:
        found = (folder / CONFIG).read_bytes()
    except OSError:
        found = b""
    if found != config:
        raise RunError(
            f"expected every node to see the run in {folder}, but node {_node()} does not; put --runs in a folder "
            "that all nodes share, or give --executor ray a storage=URL"
        )


def _node() -> str:
    return platform.node() or "without a name"


def _pickled(error: BaseException) -> bytes:
    known = isinstance(error, LifetimeError | Interrupted)
    trace = "" if known else "".join(traceback.format_exception(error))
    try:
        content = pickle.dumps(Outcome(error=error, trace=trace))
        pickle.loads(content)
    except Exception:  # an error of a library may hold anything
        text = "".join(traceback.format_exception_only(type(error), error)).strip()
        return pickle.dumps(Outcome(error=RuntimeError(text), trace=trace))
    return content
