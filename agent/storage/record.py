"""The only writer of a run directory: configuration, trajectories, summaries, TensorBoard events."""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from filelock import FileLock, Timeout

from agent.errors import CheckpointError, LifetimeError, RunError
from agent.evaluation.trajectory import Step, Trajectory
from agent.storage.checkpoint import Checkpoints, clear_parts, replace_file
from agent.storage.tensorboard import Events, drop_events

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

CONFIG, TRAJECTORY, SUMMARY = "config.json", "trajectory.jsonl", "summary.json"
SECONDS, WEIGHTS = "seconds.json", "weights.pt"

Compared = Callable[[Mapping[str, Any], Mapping[str, Any]], tuple[Mapping[str, Any], Mapping[str, Any]]]
"""From two configurations to what of each must be equal."""


class RunDirectory:
    """A directory that one experiment owns while it runs; opened with `open_run`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, content: bytes | str) -> None:
        """Put a file in place whole, or not at all."""
        with _writing(self.path):
            replace_file(self.path / name, content.encode("utf-8") if isinstance(content, str) else content)

    def lifetime(self, name: str) -> "LifetimeRecord":
        """The record of one of the experiment's lifetimes, in a directory of its own."""
        return LifetimeRecord(self.path / name)

    def checkpoints(self, name: str = "") -> Checkpoints:
        """The checkpoints of the lifetimes lived together in a folder of the run."""
        digest = hashlib.blake2b((self.path / CONFIG).read_bytes() + name.encode("utf-8"), digest_size=16)
        return Checkpoints(self.path / name, digest.hexdigest())

    def tensorboard(self) -> "SummaryWriter":
        """A writer for the experiment's own scalars and figures; earlier ones are dropped."""
        with _writing(self.path):
            from torch.utils.tensorboard import SummaryWriter

            drop_events(self.path)
            return SummaryWriter(str(self.path))


@contextmanager
def open_run(
    path: Path, config: Mapping[str, Any], *, anew: bool = False, compared: Compared = lambda found, now: (found, now)
) -> Iterator[RunDirectory]:
    """Own a run directory, new or to be continued.

    Args:
        path: made if it does not exist.
        config: plain values; written, or compared with what is there.
        anew: drop what the directory holds and start over.
        compared: what of the configuration that is found, and of the one that is given, must be equal.

    Raises:
        RunError: the directory cannot be written, is in use, or belongs to a run with another configuration.
    """
    path = path.absolute()  # whatever a policy of the user's own does to the current directory
    with _writing(path):
        str(path).encode("utf-8")  # TensorBoard's need, refused before anything is written
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RunError(f"expected {path} to be free, but another process is running in it; wait for it") from None
    is_new = not (path / CONFIG).exists()
    try:
        with _writing(path):
            _claim(path, config, anew, compared)
            clear_parts(path)
        yield RunDirectory(path)
    except LifetimeError:
        if is_new and {entry.name for entry in path.iterdir()} <= {CONFIG, "lock", "scenario.json"}:
            shutil.rmtree(path, ignore_errors=True)  # nothing was lived: settings that cannot be leave no run behind
        raise
    finally:
        lock.release()


def _claim(path: Path, config: Mapping[str, Any], anew: bool, compared: Compared) -> None:
    found = path / CONFIG
    others = [entry for entry in path.iterdir() if entry.name != "lock" and not entry.name.startswith(f".{CONFIG}.")]
    known = read_object(found, "choose another --name").keys() if found.exists() else set()
    is_run = known >= {"experiment", "settings"} or (found.exists() and known >= config.keys())
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
        replace_file(found, text.encode("utf-8"))
        return
    changed = _differences(*compared(read_object(found, "choose another --name"), json.loads(text)))
    if changed:
        raise RunError(
            f"expected to continue the run in {path} as it was started, but {changed[0]}"
            + (f" (and {len(changed) - 1} more)" if changed[1:] else "")
            + "; go on with what it was started with, choose another --name, or --force to start anew"
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
    """Writes down one lifetime as it is lived, in a directory of its own or that of its run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: Any = None
        self._events: Events | None = None

    def summary(self) -> dict[str, Any] | None:
        """What is known of the lifetime if it is finished; None if it is not."""
        try:
            summary = read_object(self.path / SUMMARY, "--force starts anew")
        except FileNotFoundError:
            return None
        missing = [name for name in ("step", "accuracy", "work") if name not in summary]
        if missing:
            raise RunError(
                f"expected the end of a lifetime in {self.path / SUMMARY}, got no {missing[0]}; remove it to live from "
                "the last checkpoint, or start anew with --force"
            )
        return summary

    def steps(self, n: int) -> list[Step]:
        """The first n steps on record.

        Raises:
            CheckpointError: there are fewer, or something else is written there.
        """
        path = self.path / TRAJECTORY
        if not n:
            return []  # a lifetime that waits for its branch has no record yet
        try:
            with path.open(encoding="utf-8") as lines:
                return [Step.from_json(json.loads(line)) for line in _first(lines, n, path)]
        except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
            raise CheckpointError(f"expected {n} steps in {path}, got: {error or type(error).__name__}") from None

    def go_on(self, steps: Sequence[Step]) -> None:
        """Begin to write after these steps, and drop whatever else the record holds."""
        with _writing(self.path):
            self.close()
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / SUMMARY).unlink(missing_ok=True)  # first, since it says: complete
            (self.path / SECONDS).unlink(missing_ok=True)
            (self.path / WEIGHTS).unlink(missing_ok=True)
            replace_file(self.path / TRAJECTORY, "".join(map(_line, steps)).encode("utf-8"))
            self._lines = (self.path / TRAJECTORY).open("a", encoding="utf-8")
            self._events = Events(self.path)
            for step in steps:
                self._events.step(step)

    def step(self, step: Step) -> None:
        """Append a step to the trajectory and to the events."""
        if self._lines is None:
            self.go_on([])
        with _writing(self.path):
            self._lines.write(_line(step))
            self._lines.flush()
            assert self._events is not None
            self._events.step(step)

    def sync(self) -> None:
        """Make sure that the steps so far outlive this process and this machine's power."""
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
    ) -> None:
        """Close the record; the summary (the last step, and `facts`) is written last and says: complete.

        Args:
            trajectory: as lived.
            facts: plain values for the summary; those under "metrics" also go to TensorBoard, beside the settings.
            settings: for TensorBoard's table of hyper-parameters.
            weights: tensors to be kept.
        """
        with _writing(self.path):
            if self._events is not None and settings is not None:
                self._events.hparams(settings, facts.get("metrics", {}))
            self._close()
            if weights is not None:
                content = io.BytesIO()
                torch.save(dict(weights), content)
                replace_file(self.path / WEIGHTS, content.getbuffer())
            replace_file(self.path / SECONDS, _json(trajectory.seconds))
            replace_file(self.path / SUMMARY, _json({**trajectory.steps[-1].as_json(), **facts}))

    def close(self) -> None:
        """Keep what was recorded of an unfinished lifetime, as far as the disk takes it."""
        with suppress(OSError):  # has been told where it was written, or nothing was lost
            self._close()

    def _close(self) -> None:
        lines, events, self._lines, self._events = self._lines, self._events, None, None
        try:
            if lines is not None:
                lines.close()
        finally:
            if events is not None:
                events.close()


def _first(lines: Iterable[str], n: int, path: Path) -> list[str]:
    first = list(islice(lines, n))
    if len(first) < n or any(not line.endswith("\n") for line in first):
        raise CheckpointError(f"expected {n} steps in {path}, got {len(first)}")
    return first


def _line(step: Step) -> str:
    return json.dumps(step.as_json()) + "\n"


def read_object(path: Path, advice: str) -> dict[str, Any]:
    """The object in a JSON file of a run.

    Raises:
        FileNotFoundError: there is none.
        RunError: it cannot be read, or holds something else; ends in `advice`.
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
    except UnicodeEncodeError:  # of TensorBoard, where the locale has no UTF-8
        shown = str(path).encode("ascii", "backslashreplace").decode("ascii")
        raise RunError(
            f"expected a folder whose path this locale can spell, got {shown}; choose another with --runs, or a UTF-8 "
            "locale (PYTHONUTF8=1)"
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(f"expected to write in {path}, got: {reason}; choose another folder with --runs") from error
