"""Numbers and tables as people read them."""

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from scenarios.analysis.statistics import Interval


def results_console() -> Console:
    """A console for results: as wide as the terminal, or 160 columns where there is none."""
    console = Console()
    if not console.is_terminal:
        console.width = 160
    return console


def print_json(value: Any) -> None:
    """Strict JSON on the output stream."""
    print(json.dumps(value, indent=2, allow_nan=False))


def program() -> str:
    """How this program was called, so that what is advised can be typed."""
    called = Path(sys.argv[0])
    if shutil.which(called.name) == str(called):
        return called.name
    return str(called.relative_to(Path.cwd())) if called.is_relative_to(Path.cwd()) else str(called)


def view_command(runs: Path) -> str:
    """The command that shows a folder of runs in TensorBoard."""
    return f"{program()} view{'' if runs == Path('runs') else f' --runs {runs}'}"


def percent(share: float | None) -> str:
    """A share in percent, to a tenth."""
    return "-" if share is None else f"{round(100 * share, 1) + 0.0:.1f}"  # no "-0.0"


def spread(interval: "Interval | None") -> str:
    """The mean of shares in percent with its interval, if it has one."""
    if interval is None or interval.low is None:
        return percent(interval.estimate if interval else None)
    return f"{percent(interval.estimate)} [{percent(interval.low)}, {percent(interval.high)}]"


def plus_minus(interval: "Interval | None") -> str:
    """The mean of shares in percent with half the width of its interval, if it has one."""
    if interval is None:
        return "-"
    half = "" if interval.high is None else f" ± {100 * (interval.high - interval.estimate):.1f}"
    return f"{percent(interval.estimate)}{half}"


def gflop(amount: float) -> str:
    """An amount of work or money: whole numbers from 10 on, two digits below."""
    return f"{amount:,.0f}" if abs(amount) >= 10 else f"{amount:.2g}"
