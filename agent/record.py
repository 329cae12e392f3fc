"""The only writer of a run directory: configuration, trajectories, summaries, TensorBoard events."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from agent.errors import RunError
from agent.lifetime import Step, Trajectory

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

CONFIG, TRAJECTORY, SUMMARY, SECONDS = "config.json", "trajectory.jsonl", "summary.json", "seconds.json"


class RunDirectory:
    """A directory that one experiment owns while it runs; opened with `open_run`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, content: bytes | str) -> None:
        """Put a file in place whole, or not at all."""
        with _writing(self.path):
            _replace(self.path / name, content.encode() if isinstance(content, str) else content)

    def lifetime(self, name: str) -> "LifetimeRecord":
        """The record of one of the experiment's lifetimes, in a directory of its own."""
        return LifetimeRecord(self.path / name)

    def tensorboard(self) -> "SummaryWriter":
        """A writer for the experiment's own scalars and figures; earlier ones are dropped."""
        with _writing(self.path):
            return _fresh_writer(self.path)


@contextmanager
def open_run(path: Path, config: Mapping[str, Any], *, anew: bool = False) -> Iterator[RunDirectory]:
    """Own a run directory, new or to be continued.

    Args:
        path: made if it does not exist.
        config: plain values; written, or compared with what is there.
        anew: drop what the directory holds and start over.

    Raises:
        RunError: the directory cannot be written, is in use, or belongs to a run with another configuration.
    """
    with _writing(path):
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RunError(f"expected {path} to be free, but another process is running in it; wait for it") from None
    try:
        with _writing(path):
            _claim(path, config, anew)
        yield RunDirectory(path)
    finally:
        lock.release()


def _claim(path: Path, config: Mapping[str, Any], anew: bool) -> None:
    found = path / CONFIG
    others = [entry for entry in path.iterdir() if entry.name != "lock" and not entry.name.startswith(f".{CONFIG}.")]
    is_run = found.exists() and _read_object(found, "choose another --name").keys() >= config.keys()
    if others and not is_run:
        raise RunError(f"expected a run or an empty directory at {path}, found other files; choose another --name")
    if anew:
        for entry in others:
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry != found:
                entry.unlink()
        found.unlink(missing_ok=True)  # last, since it is what makes the directory known as a run
    text = json.dumps(config, indent=2) + "\n"
    if not found.exists():
        _replace(found, text.encode())
        return
    changed = _differences(_read_object(found, "choose another --name"), json.loads(text))
    if changed:
        raise RunError(
            f"expected to continue the run in {path} as it was started, but {changed[0]}"
            + (f" (and {len(changed) - 1} more)" if changed[1:] else "")
            + "; choose another --name, or --force to start anew"
        )


def _differences(before: Any, now: Any, where: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            difference
            for key in {**before, **now}
            for difference in _differences(before.get(key), now.get(key), f"{where}.{key}".strip("."))
        ]
    return [] if before == now else [f"{where} was {before!r} and is now {now!r}"]


class LifetimeRecord:
    """Writes down one lifetime as it is lived; an unfinished record is dropped when the lifetime starts again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: Any = None
        self._events: SummaryWriter | None = None

    def summary(self) -> dict[str, Any] | None:
        """What is known of the lifetime if it is finished; None if it is not."""
        try:
            return _read_object(self.path / SUMMARY, "--force starts anew")
        except FileNotFoundError:
            return None

    def step(self, step: Step) -> None:
        """Append a step to the trajectory and to the events."""
        with _writing(self.path):
            if self._lines is None:
                self._begin()
            self._lines.write(json.dumps(_plain(step)) + "\n")
            self._lines.flush()
            assert self._events is not None
            for tag, value in _scalars(step).items():
                self._events.add_scalar(tag, value, step.samples)

    def finish(self, trajectory: Trajectory, facts: Mapping[str, Any]) -> None:
        """Close the record; the summary (the last step, and `facts`) is written last and says: complete."""
        last = trajectory.steps[-1]
        with _writing(self.path):
            self.close()
            _replace(self.path / SECONDS, _json(trajectory.seconds))
            _replace(self.path / SUMMARY, _json({**_plain(last), **facts}))

    def close(self) -> None:
        """Keep what was recorded of an unfinished lifetime."""
        if self._lines is not None:
            self._lines.close()
            self._lines = None
        if self._events is not None:
            self._events.close()
            self._events = None

    def _begin(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True)
        self._lines = (self.path / TRAJECTORY).open("w")
        self._events = _fresh_writer(self.path)


def _scalars(step: Step) -> dict[str, float]:
    scalars = {
        "decision/learn": float(step.action == "learn"),
        "decision/learned_fraction": step.learned / max(step.samples, 1),
        "memory/entries": step.memory_entries,
        "memory/megabytes": step.memory_nbytes / 1e6,
    }
    scalars |= {f"cost/{account}_gflop": work["flops"] / 1e9 for account, work in step.work.items()}
    if step.accuracy:
        scalars |= {f"accuracy/{part}": share for part, share in asdict(step.accuracy).items()}
    if step.mixture:
        scalars["mixture/w"] = step.mixture.w
        if step.mixture.theta is not None:
            scalars["mixture/theta"] = step.mixture.theta
    return scalars


def _plain(step: Step) -> dict[str, Any]:
    return {name: value for name, value in asdict(step).items() if value is not None}


def _read_object(path: Path, advice: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"expected JSON in {path}, got: {error}; {advice}") from None
    if not isinstance(value, dict):
        raise RunError(f"expected a JSON object in {path}, got {type(value).__name__}; {advice}")
    return value


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _fresh_writer(path: Path) -> "SummaryWriter":
    from torch.utils.tensorboard import SummaryWriter

    for old in path.glob("events.out.tfevents.*"):
        old.unlink()
    return SummaryWriter(str(path))


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(f"expected to write in {path}, got: {reason}; choose another folder with --runs") from error
