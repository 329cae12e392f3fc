"""How results are printed."""

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box, table
from rich.console import Console
from rich.markup import escape

from scenarios.analysis.report import Report, Table


def print_report(report: Report, runs: Path) -> None:
    """Print the results of a run in a folder of runs."""
    console = results_console()
    for part in report.parts:
        if isinstance(part, str):
            console.print(part, markup=False, highlight=False)
        else:
            _print_widest(console, [part] if isinstance(part, Table) else part)
    for note in report.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    width = max([len(kind) for kind, _ in report.facts] + [13] * report.has_trajectories, default=0) + 2
    for kind, found in report.facts:
        print(f"{kind + ':':<{width}}{', '.join(map(str, found))}")
    if report.has_trajectories:
        print(f"{'trajectories:':<{width}}{view_command(runs)}")


def results_console() -> Console:
    """A console for results: as wide as the terminal, or 160 columns if there is none."""
    console = Console()
    if not console.is_terminal:
        console.width = 160
    return console


def drawn(shown: Table) -> table.Table:
    """A table in the style of all results."""
    drawing = empty_table(shown.title, shown.caption, gap=shown.gap)
    for column in shown.columns:
        drawing.add_column(
            escape(column.heading),
            justify="left" if column.is_text else "right",
            no_wrap=not column.folds,
            overflow="fold" if column.folds else "ellipsis",
        )
    for row in shown.rows:
        drawing.add_row(*map(escape, row))
    return drawing


def empty_table(title: str = "", caption: str = "", *, gap: int = 1) -> table.Table:
    """A table without columns, with a gap of so many characters between them."""
    return table.Table(
        title=escape(title) or None,
        caption=escape(caption) or None,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, gap, 0, 0),
    )


def _print_widest(console: Console, tables: Sequence[Table]) -> None:
    """Print the first table that fits the console, or else the last."""
    for drawing in map(drawn, tables):
        if console.measure(drawing, options=console.options.update_width(1000)).maximum <= console.width:
            break
    console.print(drawing)


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
