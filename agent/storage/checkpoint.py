"""Checkpoints of tensors and plain values: written atomically, and checked when they are loaded."""

import math
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch

from agent.errors import CheckpointError, LifetimeError, RunError, is_out_of_memory

CHECKPOINT, PREVIOUS, _NEW = "checkpoint.pt", "checkpoint.previous.pt", "new.checkpoint.pt"
_FORMAT = "learn-or-memorize checkpoint 3"
_PART = ".part"
"""Suffix of files that are being written."""


class Checkpoints:
    """The last two checkpoints of one run.

    Args:
        folder: the folder that holds them.
        run: identifies the run; `load` refuses checkpoints of another one.
    """

    def __init__(self, folder: Path, run: str) -> None:
        self.folder, self.run = folder, run

    def save(self, state: dict[str, Any]) -> None:
        """Write a checkpoint, and keep the one before it.

        Raises:
            RunError: it cannot be written; earlier checkpoints are not lost.
        """
        last, new = self.folder / CHECKPOINT, self.folder / _NEW
        try:
            save_tensors(new, {"format": _FORMAT, "run": self.run, "state": state})
            if last.exists():
                last.replace(self.folder / PREVIOUS)
            new.replace(last)
            sync_folder(self.folder)
        except OSError as error:
            reason = error.strerror or str(error)
            raise RunError(
                f"expected to write a checkpoint in {self.folder}, got: {reason}; what was saved before is kept"
            ) from error

    def found(self) -> list[Path]:
        """The checkpoints that exist, newest first."""
        return [path for name in (CHECKPOINT, PREVIOUS) if (path := self.folder / name).exists()]

    def load(self, path: Path) -> dict[str, Any]:
        """The state in a checkpoint; loading runs no code from the file.

        Raises:
            CheckpointError: a file that is truncated, altered, from another run, or not a checkpoint.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()  # torch does not compare checksums
            saved = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # the file may hold anything
            if is_out_of_memory(error):
                raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise CheckpointError(f"expected a checkpoint at {path}, got: {reason[:200]}") from None
        if damaged:
            raise CheckpointError(f"expected a whole checkpoint at {path}, got a damaged part {damaged}")
        if not isinstance(saved, dict) or saved.get("format") != _FORMAT or not isinstance(saved.get("state"), dict):
            raise CheckpointError(f"expected a checkpoint of this program at {path}, got another file")
        if saved.get("run") != self.run:
            raise CheckpointError(f"expected a checkpoint of this run at {path}, got one of another run")
        return saved["state"]

    def drop(self) -> None:
        """Remove all checkpoints, and their folder if nothing else is in it."""
        for name in (CHECKPOINT, PREVIOUS, _NEW):
            (self.folder / name).unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()


@contextmanager
def must_fit(path: Path) -> Iterator[None]:
    """Report that a state cannot be restored: a context in which the checkpoint at `path` is.

    Raises:
        CheckpointError: in place of any error that a state of another shape causes.
    """
    try:
        yield
    except LifetimeError:
        raise
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CheckpointError(f"expected a checkpoint that fits at {path}, got {reason}") from None


def replace_file(path: Path, content: bytes | memoryview) -> None:
    """Write or replace a file atomically; raises OSError as `replacing` does."""
    with replacing(path) as file:
        file.write(content)


def save_tensors(path: Path, value: dict[str, Any]) -> None:
    """Write tensors and plain values to a file by `torch.save`, atomically; raises OSError as `replacing` does."""
    with replacing(path) as file:
        try:
            torch.save(value, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # PyTorch notices that it has written too little
                raise error.__context__ from None
            raise


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of the one at `path`, if there is one, when it has been written.

    Raises:
        OSError: it cannot be written; an earlier file does not change.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_PART}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to the disk, so that a renamed file survives a power failure; may raise OSError."""
    if os.name != "posix":
        return  # other systems cannot open a folder
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def clear_parts(folder: Path) -> None:
    """Remove the incomplete files of killed processes; no process may be writing in the folder."""
    for path in folder.rglob(f".*{_PART}"):
        path.unlink(missing_ok=True)


ANY = "*"
Shape = type | tuple[type, ...] | dict[str, Any] | list[Any]
"""The expected structure of a value: a type, or one of several; a dictionary with these keys, or with any keys if the
only one is `ANY`; a list of such values."""


def check_shape(value: Any, shape: Shape, where: str) -> None:
    """Refuse a state of another structure, before anything is restored from it.

    Raises:
        CheckpointError: names the first part that is missing or has another type.
    """
    if not isinstance(shape, dict | list):
        _check_type(value, shape, where)
        return
    _check_type(value, type(shape), where)
    parts: dict[Any, Any]
    if isinstance(shape, list):
        parts = dict.fromkeys(range(len(value)), shape[0])
    elif ANY in shape:
        parts = dict.fromkeys(value, shape[ANY])
    else:
        parts = shape
        if missing := [key for key in shape if key not in value]:
            found = ", ".join(map(str, value)) or "nothing"
            raise CheckpointError(f"expected {', '.join(missing)} in {where}, got {found}")
    for key, expected in parts.items():
        check_shape(value[key], expected, f"{where}[{key!r}]")


def _check_type(value: Any, expected: type | tuple[type, ...], where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise CheckpointError(f"expected a finite number for {where}, got {value}")
    if not isinstance(value, expected):
        names = " or ".join(each.__name__ for each in (expected if isinstance(expected, tuple) else (expected,)))
        raise CheckpointError(f"expected {where} of type {names}, got {type(value).__name__}")
