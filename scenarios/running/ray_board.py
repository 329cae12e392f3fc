"""Where the tasks of a run on a cluster report their progress, and see whether to stop; imports nothing heavy."""

Report = tuple[int, float, str, float | None]
"""The attempt, and its progress since its last report: work done, description of the work, and total if it was set."""


class Board:
    """Holds reports until the caller of the run takes them."""

    def __init__(self) -> None:
        self._reports: list[Report] = []
        self._stopping = False

    def report(self, attempt: int, done: float, what: str, total: float | None) -> bool:
        """Add a report; returns whether the run is being stopped."""
        self._reports.append((attempt, done, what, total))
        return self._stopping

    def take(self) -> list[Report]:
        """The reports since the last call."""
        reports, self._reports = self._reports, []
        return reports

    def stop(self) -> None:
        """Tell all tasks to save what they have done, and to stop."""
        self._stopping = True
