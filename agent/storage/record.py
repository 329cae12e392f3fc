"""Run directories, with their configuration, and the records of lifetimes in them."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from filelock import FileLock, Timeout

from agent.errors import CheckpointError, LifetimeError, RunError
from agent.evaluation.trajectory import Step, Trajectory
from agent.storage.checkpoint import Checkpoints, clear_parts, replace_file, save_tensors
from agent.storage.predictions import PREDICTIONS, Predictions
from agent.storage.tensorboard import Events, drop_events

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

CONFIG, TRAJECTORY, SUMMARY = "config.json", "trajectory.jsonl", "summary.json"
SECONDS, WEIGHTS = "seconds.json", "weights.pt"
UNBEGUN = frozenset({CONFIG, "lock", "scenario.json"})
"""All that the folder of a run can hold in which no lifetime has begun."""

Compared = Callable[[Mapping[str, Any], Mapping[str, Any]], tuple[Mapping[str, Any], Mapping[str, Any]]]
"""A function of two configurations that returns the part of each that must be equal."""
Grown = Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]]
"""A function of a stored and a given configuration that returns the one to be stored."""


class RunDirectory:
    """The directory of an experiment; `open_run` locks it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, content: bytes | str) -> None:
        """Write or replace a file atomically."""
        with _writing(self.path):
            replace_file(self.path / name, content.encode("utf-8") if isinstance(content, str) else content)

    def lifetime(self, name: str) -> "LifetimeRecord":
        """The record of a lifetime, in its own directory."""
        return LifetimeRecord(self.path / name)

    def checkpoints(self, name: str = "") -> Checkpoints:
        """The checkpoints in a folder of the run; they do not depend on its seeds or trials, which can grow."""
        config = read_object(self.path / CONFIG, "choose another --name")
        if isinstance(settings := config.get("settings"), dict):
            for growing in ("seeds", "trials"):
                settings.pop(growing, None)
        digest = hashlib.blake2b(_json(config) + name.encode("utf-8"), digest_size=16)
        return Checkpoints(self.path / name, digest.hexdigest())

    def tensorboard(self) -> "SummaryWriter":
        """A writer of the experiment's scalars and figures; removes earlier events."""
        with _writing(self.path):
            from torch.utils.tensorboard import SummaryWriter

            drop_events(self.path)
            return SummaryWriter(str(self.path))


class FinishedRun(RunDirectory):
    """The directory of a finished run that is only read: what is to be written is there already, and is left alone."""

    def write(self, name: str, content: bytes | str) -> None:
        """Write nothing."""

    def tensorboard(self) -> Any:
        """A writer that writes nothing."""
        return _NoBoard()


class _NoBoard:
    """Takes every call of a `SummaryWriter`."""

    def __enter__(self) -> "_NoBoard":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *_, **__: None


@contextmanager
def open_run(
    path: Path,
    config: Mapping[str, Any],
    *,
    anew: bool = False,
    compared: Compared = lambda found, now: (found, now),
    grown: Grown = lambda stored, now: stored,
) -> Iterator[RunDirectory]:
    """Create or continue a run directory, and lock it.

    A run may grow: `grown` gives its new configuration, which replaces the stored one. If a `LifetimeError` ends the
    block before a new folder is made, the stored one is restored.

    Args:
        path: created if it does not exist.
        config: plain values; written, or compared with the file in the directory.
        anew: delete the content of the directory first.
        compared: the parts of the stored and the given configuration that must be equal.
        grown: the configuration to be stored, given the stored and the given one, whose `compared` parts are equal; it
            may raise RunError.

    Raises:
        RunError: the directory cannot be written, is in use, or belongs to a run with another configuration.
    """
    path = path.absolute()  # user code may change the current directory
    with _writing(path):
        str(path).encode("utf-8")  # TensorBoard needs it, so fail before anything is written
        parents = [each for each in path.parents if not each.exists()]
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RunError(f"expected {path} to be free, but another process is running in it; wait for it") from None
    is_new = not (path / CONFIG).exists()
    former, names = None, set[str]()
    try:
        with _writing(path):
            former = _claim(path, config, anew, compared, grown)
            clear_parts(path)
            names = {entry.name for entry in path.iterdir()}
        yield RunDirectory(path)
    except LifetimeError:
        if is_new and {entry.name for entry in path.iterdir()} <= UNBEGUN:
            shutil.rmtree(path, ignore_errors=True)  # no lifetime began: invalid settings leave no run behind
            with suppress(OSError):
                for parent in parents:
                    parent.rmdir()
        elif former is not None and {entry.name for entry in path.iterdir()} == names:
            replace_file(path / CONFIG, _json(former))  # no further seed began: the run is what it was
        raise
    finally:
        lock.release()


def _claim(
    path: Path, config: Mapping[str, Any], anew: bool, compared: Compared, grown: Grown
) -> dict[str, Any] | None:
    """Make a folder that of a run; returns the run's former configuration if it has grown."""
    found = path / CONFIG
    others = [entry for entry in path.iterdir() if entry.name != "lock" and not entry.name.startswith(f".{CONFIG}.")]
    stored = read_object(found, "choose another --name") if found.exists() else None
    is_run = stored is not None and (stored.keys() >= {"experiment", "settings"} or stored.keys() >= config.keys())
    if others and not is_run:
        raise RunError(f"expected a run or an empty directory at {path}, found other files; choose another --name")
    if anew:
        for entry in others:
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry != found:
                entry.unlink()
        found.unlink(missing_ok=True)  # last, since it identifies the directory as a run
    content = _json(config)
    if anew or stored is None:
        replace_file(found, content)
        return None
    changed = _differences(*compared(stored, json.loads(content)))
    if changed:
        raise RunError(
            f"expected to continue the run in {path} as it was started, but {changed[0]}"
            + (f" (and {len(changed) - 1} more)" if changed[1:] else "")
            + "; use the settings that it was started with, choose another --name, or --force to start anew"
        )
    larger = grown(stored, json.loads(content))
    if larger == stored:
        return None
    replace_file(found, _json(larger))
    return stored


def _differences(before: Any, now: Any, where: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            difference
            for key in {**before, **now}
            for difference in _differences(before.get(key), now.get(key), f"{where}.{key}".strip("."))
        ]
    return [] if before == now else [f"{where} was {before!r} and is now {now!r}"]


class LifetimeRecord:
    """Writes the steps and the summary of one lifetime to a directory: that of its run, or one in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: TextIO | None = None
        self._events: Events | None = None

    def summary(self) -> dict[str, Any] | None:
        """The summary of a finished lifetime; None if it is not finished.

        Raises:
            RunError: it is damaged.
        """
        try:
            summary = read_object(self.path / SUMMARY, "remove it to live this lifetime again; --force starts anew")
        except FileNotFoundError:
            return None
        for name in ("step", "accuracy", "work"):
            if name not in summary:
                raise RunError(
                    f"expected the end of a lifetime in {self.path / SUMMARY}, got no {name}; remove it to continue "
                    "from the last checkpoint, or start anew with --force"
                )
        return summary

    def steps(self, n: int) -> list[Step]:
        """The first n steps of the record.

        Raises:
            CheckpointError: the record has fewer, or holds something else.
        """
        path = self.path / TRAJECTORY
        if not n:
            return []  # a lifetime on a branch that has not started has no record
        try:
            with path.open(encoding="utf-8") as file:
                lines = [line for line in islice(file, n) if line.endswith("\n")]
            if len(lines) == n:
                return [Step.from_json(json.loads(line)) for line in lines]
        except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
            raise CheckpointError(f"expected {n} steps in {path}, got: {error or type(error).__name__}") from None
        raise CheckpointError(f"expected {n} steps in {path}, got {len(lines)}")

    def restart_after(self, steps: Sequence[Step]) -> None:
        """Replace the record by these steps, and open it for more."""
        with _writing(self.path):
            self.close()
            self.path.mkdir(parents=True, exist_ok=True)
            # The summary first, since it marks the record as complete.
            for name in (SUMMARY, SECONDS, WEIGHTS, PREDICTIONS):
                (self.path / name).unlink(missing_ok=True)
            replace_file(self.path / TRAJECTORY, "".join(map(_line, steps)).encode("utf-8"))
            self._lines = (self.path / TRAJECTORY).open("a", encoding="utf-8")
            self._events = Events(self.path)
            for step in steps:
                self._events.step(step)

    def step(self, step: Step) -> None:
        """Append a step to the trajectory and to the events."""
        if self._lines is None:
            self.restart_after([])
        assert self._lines is not None
        assert self._events is not None
        with _writing(self.path):
            self._lines.write(_line(step))
            self._lines.flush()
            self._events.step(step)

    def sync(self) -> None:
        """Write the steps so far to the disk, so that they survive a power failure."""
        if self._lines is not None:
            with _writing(self.path):
                os.fsync(self._lines.fileno())

    def finish(
        self,
        trajectory: Trajectory,
        facts: Mapping[str, Any],
        *,
        settings: Mapping[str, Any] | None = None,
        weights: Mapping[str, Any] | None = None,
        predictions: Predictions | None = None,
    ) -> None:
        """Complete the record; its last file is the summary, which holds the last step and `facts`.

        Args:
            trajectory: of the lifetime.
            facts: plain values for the summary; those under "metrics" also go to TensorBoard with the settings.
            settings: for TensorBoard's table of hyper-parameters; None for no entry there.
            weights: tensors to save; None for no file.
            predictions: for the test items; None for no file.
        """
        with _writing(self.path):
            if self._events is not None and settings is not None:
                self._events.hparams(settings, facts.get("metrics", {}))
            self._close()
            if weights is not None:
                save_tensors(self.path / WEIGHTS, dict(weights))
            if predictions is not None:
                replace_file(self.path / PREDICTIONS, predictions.as_npz())
            replace_file(self.path / SECONDS, _json(trajectory.seconds))
            replace_file(self.path / SUMMARY, _json({**trajectory.steps[-1].as_json(), **facts}))

    def close(self) -> None:
        """Close the record of an unfinished lifetime."""
        with suppress(OSError):  # the write that failed has raised it already
            self._close()

    def _close(self) -> None:
        lines, events, self._lines, self._events = self._lines, self._events, None, None
        try:
            if lines is not None:
                lines.close()
        finally:
            if events is not None:
                events.close()


def _line(step: Step) -> str:
    return json.dumps(step.as_json()) + "\n"


def read_object(path: Path, advice: str) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        FileNotFoundError: the file does not exist.
        RunError: it cannot be read, or holds something else; the message ends in `advice`.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"expected JSON in {path}, got: {error}; {advice}") from None
    if not isinstance(value, dict):
        raise RunError(f"expected a JSON object in {path}, got {type(value).__name__}; {advice}")
    return value


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode("utf-8")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeEncodeError:  # the locale has no UTF-8
        shown = str(path).encode("ascii", "backslashreplace").decode("ascii")
        raise RunError(
            f"expected a folder whose path this locale can spell, got {shown}; choose another with --runs, or a UTF-8 "
            "locale (PYTHONUTF8=1)"
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(f"expected to write in {path}, got: {reason}; choose another folder with --runs") from error
