"""What every command that lives something does around it."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenarios.cli.identity import same_run
from scenarios.cli.progress import Bar
from scenarios.cli.show import program
from scenarios.cli.stopping import advising

if TYPE_CHECKING:
    from agent.storage.record import RunDirectory


@contextmanager
def running(
    path: Path, described: Mapping[str, Any], *, force: bool, quiet: bool, saved: str = "chunk"
) -> Iterator[tuple["RunDirectory", Bar]]:
    """Own a run directory and show progress; whoever interrupts is told how to go on.

    Args:
        path: of the run, new or to be continued.
        described: identifies the run.
        force: drop what is there.
        quiet: show no progress.
        saved: what is not done again after an interruption.
    """
    from agent.storage.record import open_run

    with (
        advising(f"`{program()} resume {path}` continues from the last {saved} that was saved"),
        redirect_stdout(sys.stderr),  # a policy of the user's own may print
        open_run(path, described, anew=force, compared=same_run) as run,
        Bar(shown=not quiet) as bar,
    ):
        yield run, bar


MOST_WORKERS = 256
"""Processes of a command; each imports torch for itself."""


def n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
