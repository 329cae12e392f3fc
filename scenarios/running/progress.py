"""Whoever waits for an experiment: told of progress, and free to stop it."""

import warnings
from typing import Protocol, runtime_checkable


@runtime_checkable
class ProgressReporter(Protocol):
    """Whoever waits for an experiment to finish."""

    def expect(self, total: float) -> None:
        """The work that lies ahead, in the units of `advance`."""

    def advance(self, done: float) -> None:
        """So much more of it is done."""

    def reach(self, done: int, total: int) -> None:
        """So much is done of a task with its own total."""

    def say(self, what: str) -> None:
        """What is being done now."""

    def tell(self, what: str) -> None:
        """Something to see before lives begin, such as which data they are about."""

    def warn(self, what: str) -> None:
        """Something that a careful reader of the results should know."""

    @property
    def stopping(self) -> bool:
        """Whether to save what there is and stop, at the next chunk."""


class SilentReporter:
    """Nobody waits."""

    stopping = False

    def expect(self, total: float) -> None:
        """Not told."""

    def advance(self, done: float) -> None:
        """Not told."""

    def reach(self, done: int, total: int) -> None:
        """Not told."""

    def say(self, what: str) -> None:
        """Not told."""

    def tell(self, what: str) -> None:
        """Not told."""

    def warn(self, what: str) -> None:
        """A warning of Python's own."""
        warnings.warn(what, stacklevel=2)


class NotingReporter(SilentReporter):
    """Keeps what is worth a warning for whoever is told later."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, what: str) -> None:
        """Kept."""
        self.warnings.append(what)


class Interrupted(Exception):
    """Stopped between two chunks, as the reporter asked; everything so far is saved."""
