"""Checkpoints: tensors and plain values, replaced whole, and distrusted when they are read."""

import io
import math
import os
import zipfile
from pathlib import Path
from typing import Any

import torch

from agent.errors import CheckpointError, RunError, is_out_of_memory

CHECKPOINT, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
_FORMAT = "learn-or-memorize checkpoint 3"
_PART = ".part"
"""Ends the names of files that are being written."""


class Checkpoints:
    """The last two checkpoints of one run.

    Args:
        folder: where they lie.
        run: identifies the run; checkpoints of another are refused.
    """

    def __init__(self, folder: Path, run: str) -> None:
        self.folder, self.run = folder, run

    def save(self, state: dict[str, Any]) -> None:
        """Write a checkpoint; the one before it is kept, and lost last if anything goes wrong.

        Raises:
            RunError: it cannot be written; earlier ones are as they were.
        """
        content = io.BytesIO()
        torch.save({"format": _FORMAT, "run": self.run, "state": state}, content)
        last, new = self.folder / CHECKPOINT, self.folder / f"new.{CHECKPOINT}"
        try:
            replace_file(new, content.getbuffer())
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
        """The checkpoints that exist, the newest first."""
        return [path for name in (CHECKPOINT, PREVIOUS) if (path := self.folder / name).exists()]

    def load(self, path: Path) -> dict[str, Any]:
        """The state in a checkpoint; no code in it is run.

        Raises:
            CheckpointError: a file that is truncated, altered, of another run or no checkpoint at all.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()  # torch does not compare the checksums itself
            if damaged:
                raise CheckpointError(f"expected a whole checkpoint at {path}, got a damaged part {damaged}")
            saved = torch.load(path, map_location="cpu", weights_only=True)
        except CheckpointError:
            raise
        except Exception as error:  # a file can hold anything
            if is_out_of_memory(error):
                raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise CheckpointError(f"expected a checkpoint at {path}, got: {reason[:200]}") from None
        if not isinstance(saved, dict) or saved.get("format") != _FORMAT or not isinstance(saved.get("state"), dict):
            raise CheckpointError(f"expected a checkpoint of this program at {path}, got another file")
        if saved.get("run") != self.run:
            raise CheckpointError(f"expected a checkpoint of this run at {path}, got one of another run")
        return saved["state"]

    def drop(self) -> None:
        """Remove all checkpoints, when they are needed no more."""
        for path in (*self.found(), self.folder / f"new.{CHECKPOINT}"):
            path.unlink(missing_ok=True)


def replace_file(path: Path, content: bytes | memoryview) -> None:
    """Put a file in place whole, or not at all.

    Raises:
        OSError: it cannot be written; what was there is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_PART}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk: a file that was renamed outlives a power cut only then.

    Raises:
        OSError: the disk fails.
    """
    if os.name != "posix":
        return  # elsewhere a folder cannot be opened
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def clear_parts(folder: Path) -> None:
    """Remove what processes that were killed were just writing; nobody may be writing there now."""
    for path in folder.rglob(f".*{_PART}"):
        path.unlink(missing_ok=True)


Shape = type | tuple[type, ...] | dict[str, Any] | list[Any]
"""What a value of a state looks like: of a type or one of several; a dictionary of these keys, or of any under `ANY`; a
list of such values."""
ANY = "*"


def check_shape(value: object, shape: Shape, where: str) -> None:
    """Refuse a state that is not what it is taken for, before anything is built from it.

    Raises:
        CheckpointError: naming the first part that is missing or of another type.
    """
    if isinstance(shape, dict):
        _check_type(value, dict, where)
        assert isinstance(value, dict)
        if ANY in shape:
            for key, part in value.items():
                check_shape(part, shape[ANY], f"{where}[{key!r}]")
            return
        missing = [key for key in shape if key not in value]
        if missing:
            raise CheckpointError(
                f"expected {', '.join(missing)} in {where}, got {', '.join(map(str, value)) or 'nothing'}"
            )
        for key, expected in shape.items():
            check_shape(value[key], expected, f"{where}[{key!r}]")
    elif isinstance(shape, list):
        _check_type(value, list, where)
        assert isinstance(value, list)
        for i, part in enumerate(value):
            check_shape(part, shape[0], f"{where}[{i}]")
    else:
        _check_type(value, shape, where)


def _check_type(value: object, expected: type | tuple[type, ...], where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise CheckpointError(f"expected a finite number for {where}, got {value}")
    if not isinstance(value, expected):
        names = " or ".join(each.__name__ for each in (expected if isinstance(expected, tuple) else (expected,)))
        raise CheckpointError(f"expected {where} of type {names}, got {type(value).__name__}")
