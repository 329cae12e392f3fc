"""Progress of an experiment: what to report, and whether to stop."""

import warnings
from typing import Protocol, runtime_checkable


@runtime_checkable
class ProgressReporter(Protocol):
    """Receives the progress of an experiment, and may ask it to stop."""

    def expect(self, total: float) -> None:
        """Set the total amount of work, in the units of `advance`."""

    def advance(self, done: float) -> None:
        """Add to the amount of work done."""

    def reach(self, done: int, total: int) -> None:
        """Set the progress of a task with its own total."""

    def say(self, what: str) -> None:
        """Set the description of the current work."""

    def tell(self, what: str) -> None:
        """Show information before lifetimes begin, such as the size of the data set."""

    def warn(self, what: str) -> None:
        """Show a warning about the results."""

    @property
    def stopping(self) -> bool:
        """Whether to save and stop at the next chunk."""


class SilentReporter:
    """Shows only warnings, as Python warnings, and never stops."""

    stopping = False

    def _ignore(self, *_: object, **__: object) -> None:
        pass

    expect = advance = reach = say = tell = _ignore

    def warn(self, what: str) -> None:
        """Issue a Python warning."""
        warnings.warn(what, stacklevel=2)


class Interrupted(Exception):
    """The reporter stopped the experiment between two chunks; all progress is saved."""
