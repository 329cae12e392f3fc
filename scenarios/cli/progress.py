"""A progress bar on a terminal."""

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from scenarios.cli.stopping import STOP


class Bar:
    """A `ProgressReporter` that shows a bar with the remaining time, on the error stream.

    Args:
        shown: False for warnings alone. Without a terminal there is no bar either.
    """

    def __init__(self, *, shown: bool = True) -> None:
        self._console = Console(stderr=True)
        self._shown, self._printed = shown, set[str]()
        self._progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("elapsed,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self._console,
            transient=True,
            disable=not (shown and self._console.is_terminal),
            speed_estimate_period=60,
        )

    def __enter__(self) -> "Bar":
        self._task = self._progress.add_task("starting", total=None)
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def expect(self, total: float) -> None:
        """See `ProgressReporter`."""
        self._progress.reset(self._task, total=total)

    def advance(self, done: float) -> None:
        """See `ProgressReporter`."""
        self._progress.advance(self._task, done)

    def reach(self, done: int, total: int) -> None:
        """See `ProgressReporter`."""
        self._progress.update(self._task, completed=done, total=total)

    def say(self, what: str) -> None:
        """See `ProgressReporter`."""
        self._progress.update(self._task, description=escape("saving" if STOP.number else what))

    def tell(self, what: str) -> None:
        """See `ProgressReporter`; each text is printed once."""
        if self._shown and what not in self._printed:
            self._printed.add(what)
            self._print(what)

    def warn(self, what: str) -> None:
        """See `ProgressReporter`; a warning is printed even if the bar is not shown."""
        self._print(f"warning: {what}")

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    @property
    def stopping(self) -> bool:
        """See `ProgressReporter`."""
        return STOP.look()
