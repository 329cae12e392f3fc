"""A progress bar for people, and silence for programs."""

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from scenarios.cli.stopping import STOP


class Bar:
    """A bar with the time that remains, on the error stream, so that results alone are on the other.

    Args:
        shown: whether there is a bar at all; there is none where nobody sees it.
    """

    def __init__(self, *, shown: bool = True) -> None:
        self._console = Console(stderr=True)
        self._shown, self._told = shown, set[str]()
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
        """See Watcher."""
        self._progress.reset(self._task, total=total)

    def advance(self, done: float) -> None:
        """See Watcher."""
        self._progress.advance(self._task, done)

    def reach(self, done: int, total: int) -> None:
        """See Watcher."""
        self._progress.update(self._task, completed=done, total=total)

    def say(self, what: str) -> None:
        """See Watcher."""
        self._progress.update(self._task, description=escape("saving" if STOP.number else what))

    def tell(self, what: str) -> None:
        """See Watcher; a line on the error stream, once, and none where progress is not asked for."""
        if self._shown and what not in self._told:
            self._told.add(what)
            self._console.print(what, markup=False, highlight=False, soft_wrap=True)

    def warn(self, what: str) -> None:
        """See Watcher; one line on the error stream."""
        self._console.print(f"warning: {what}", markup=False, highlight=False, soft_wrap=True)

    @property
    def stopping(self) -> bool:
        """See Watcher."""
        return STOP.look()
