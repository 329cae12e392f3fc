"""SIGINT and SIGTERM: at once, or between two chunks where there is something to save."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from scenarios.running.progress import Interrupted


class Stopped(BaseException):
    """SIGINT or SIGTERM; not a KeyboardInterrupt, for which Typer has an end of its own."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.advice = ""
        """How to go on, where somebody knows."""


class Stop:
    """What was asked for, and whether somebody looks at it between chunks.

    A first signal waits for the next look; a second one, or one that nobody would look at, ends the program at once.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._watched = False

    def install(self) -> None:
        """Handle the signals."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def _handle(self, number: int, _: object) -> None:
        if not self._watched or self.number is not None:
            raise Stopped(number)
        self.number = number

    def look(self) -> bool:
        """Whether to stop now; from the first look on, signals wait for the next."""
        self._watched = True
        return self.number is not None


STOP = Stop()
"""Of this process."""


@contextmanager
def advising(advice: str) -> Iterator[None]:
    """Say how to go on, whether a run stops at once or between two chunks."""
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
