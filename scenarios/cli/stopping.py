"""SIGINT and SIGTERM stop the program at once, or between two chunks if there is something to save."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from scenarios.running.progress import Interrupted


class Stopped(BaseException):
    """SIGINT or SIGTERM; not a KeyboardInterrupt, which Typer handles by itself."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.advice = ""
        """How the user continues the run; empty if unknown."""


class Stop:
    """A request to stop.

    A first signal waits for the next call of `look`. A second signal, or one before the first call of `look`, ends the
    program at once.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        """The signal; None if there was none."""
        self._watched = False

    def install(self) -> None:
        """Handle the signals."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    @contextmanager
    def handling(self) -> Iterator[None]:
        """Handle SIGINT alone, for the duration of the context."""
        before = signal.getsignal(signal.SIGINT)
        self.number, self._watched = None, False
        signal.signal(signal.SIGINT, self._handle)
        try:
            yield
        finally:
            self.number = None
            signal.signal(signal.SIGINT, before)

    def _handle(self, number: int, _: object) -> None:
        if not self._watched or self.number is not None:
            raise Stopped(number)
        self.number = number

    def look(self) -> bool:
        """Whether to stop now."""
        self._watched = True
        return self.number is not None


STOP = Stop()
"""The one of this process."""


@contextmanager
def advising(advice: str) -> Iterator[None]:
    """Add advice to `Stopped`, whether the block stops at once or between two chunks."""
    try:
        yield
    except Interrupted:
        assert STOP.number is not None
        stopped = Stopped(STOP.number)
        stopped.advice = advice
        raise stopped from None
    except Stopped as stopped:
        stopped.advice = advice
        raise
