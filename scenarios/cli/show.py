"""Numbers and tables as people read them."""

import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from scenarios.analysis.statistics import Interval


def results_console() -> Console:
    """A console for results: as wide as the terminal, or 160 columns if there is none."""
    console = Console()
    if not console.is_terminal:
        console.width = 160
    return console


def results_table(title: str | None = None, caption: str | None = None, *, gap: int = 1) -> Table:
    """An empty table in the style of all results, with a gap of so many characters between columns."""
    return Table(
        title=title and escape(title),
        caption=caption and escape(caption),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, gap, 0, 0),
    )


def print_widest(console: Console, tables: Iterable[Table]) -> None:
    """Print the first table that fits the console, or else the last."""
    for table in tables:
        if console.measure(table, options=console.options.update_width(1000)).maximum <= console.width:
            break
    console.print(table)


def print_notes(console: Console, notes: Iterable[str]) -> None:
    """Print each note on a line of its own."""
    for note in notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print strict JSON on the output stream."""
    print(json.dumps(value, indent=2, allow_nan=False))


def program() -> str:
    """The name or path by which this program was called, for commands in messages."""
    called = Path(sys.argv[0])
    if shutil.which(called.name) == str(called):
        return called.name
    return str(called.relative_to(Path.cwd())) if called.is_relative_to(Path.cwd()) else str(called)


def view_command(runs: Path) -> str:
    """The command that shows a folder of runs in TensorBoard."""
    return f"{program()} view{'' if runs == Path('runs') else f' --runs {runs}'}"


def percent(share: float | None) -> str:
    """A share from 0 to 1, in percent with one decimal."""
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
    """An amount of work or money: a whole number from 10 on, two digits below."""
    return f"{amount:,.0f}" if abs(amount) >= 10 else f"{amount:.2g}"


def estimate_of(interval: "Interval | None") -> float:
    """The mean, or 0 if there is none."""
    return interval.estimate if interval else 0.0
