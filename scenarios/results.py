"""The results of a run as a value: tables as pandas frames, and a view for notebooks."""

import base64
import html
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.errors import InvalidSetting, RunError
from agent.storage.record import TRAJECTORY
from scenarios.analysis.report import Report, Table
from scenarios.config.method import Settings
from scenarios.experiments.finished_runs import lifetimes_of

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Results:
    """The results of a run; a notebook shows its tables and its figure."""

    experiment: str
    """Its name, as in `lifetime NAME`."""
    path: Path
    """The folder of the run."""
    config: Settings
    value: Any
    """What the experiment found, as a value of its own type."""
    report: Report
    """What the command line prints."""

    @property
    def content(self) -> Any:
        """The results as plain values; what `--json` prints."""
        return self.report.content

    @property
    def figures(self) -> list[Path]:
        """The figures, as PNG files."""
        return [path for path in self._files() if path.suffix == ".png"]

    def _files(self) -> list[Path]:
        found = [each for _, listed in self.report.facts for each in listed]
        return [each for each in found if isinstance(each, Path)]

    def frame(self, name: str = "") -> "pandas.DataFrame":
        """A table of the results, with a row for each k, schedule or policy.

        Args:
            name: of a CSV file in the folder of the run; by default the first of the report.

        Raises:
            RunError: there is no such table.
        """
        tables = [path for path in self._files() if path.suffix == ".csv"]
        if name and Path(name).name == name:
            tables = [self.path / f"{name}.csv"]
        if not tables or not tables[0].exists():
            there = ", ".join(sorted(path.stem for path in self.path.glob("*.csv"))) or "none; see lifetimes and steps"
            raise RunError(f"expected a table{f' {name}' * bool(name)} of {self.path}, which has {there}")
        return _pandas().read_csv(tables[0])

    def lifetimes(self) -> "pandas.DataFrame":
        """A row for each lifetime: label, seed, folder, every setting, metric and cost.

        Raises:
            RunError: the run has no lifetimes with settings of their own, or they are not finished.
        """
        rows = []
        for each in lifetimes_of(self.path):
            of_world, of_method = (part.model_dump(mode="json") for part in (each.config, each.method))
            lived = {"label": each.method.label, "seed": each.seed, "folder": str(each.folder)}
            world = {name: value for name, value in of_world.items() if name not in ("methods", "policies", "seeds")}
            rows.append({**lived, **world, **of_method, **lived, **each.metrics})
        return _pandas().DataFrame(rows)

    def steps(self) -> "pandas.DataFrame":
        """A row for each step of each lifetime: its folder in that of the run, and what trajectory.jsonl has."""
        rows = []
        paths = sorted(self.path.rglob(TRAJECTORY))
        if self.experiment == "sweep":  # whose folder may hold lifetimes of earlier axes
            paths = [each.folder / TRAJECTORY for each in lifetimes_of(self.path)]
        for path in paths:
            folder = path.parent.relative_to(self.path).as_posix()
            lines = path.read_text(encoding="utf-8").splitlines()
            rows += [{"folder": folder, **json.loads(line)} for line in lines]
        return _pandas().json_normalize(rows)

    def __repr__(self) -> str:
        return f"<results of {self.experiment} in {self.path}>"

    def _repr_html_(self) -> str:
        parts = [_html_of(part) for part in self.report.parts]
        parts += [f"<p><small>{html.escape(note)}</small></p>" for note in self.report.notes]
        if self.report.error:
            parts.append(f"<p><b>{html.escape(self.report.error)}</b></p>")
        for path in self.figures:
            if path.exists():
                png = base64.b64encode(path.read_bytes()).decode("ascii")
                parts.append(
                    f'<img alt="{html.escape(path.stem)}" style="max-width:100%" src="data:image/png;base64,{png}">'
                )
        parts.append(f"<p><small>{html.escape(str(self.path))}</small></p>")
        return "\n".join(parts)


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise InvalidSetting("expected pandas for frames, which is not installed; pip install pandas") from None
    return pandas


def _html_of(part: Any) -> str:
    """A part of a report: a line of text, a table, or the widest of several versions of one."""
    if isinstance(part, str):
        return f"<p>{html.escape(part)}</p>" if part else ""
    table: Table = part if isinstance(part, Table) else part[0]
    aligned = ["left" if column.is_text else "right" for column in table.columns]

    def row(cells: Any, tag: str) -> str:
        inner = "".join(
            f'<{tag} style="text-align:{side}">{html.escape(str(cell)).replace(chr(10), "<br>")}</{tag}>'
            for cell, side in zip(cells, aligned, strict=True)
        )
        return f"<tr>{inner}</tr>"

    head = row([column.heading for column in table.columns], "th")
    body = "".join(row(cells, "td") for cells in table.rows)
    title = f"<p><b>{html.escape(table.title)}</b></p>" if table.title else ""
    caption = f"<p><small>{html.escape(table.caption)}</small></p>" if table.caption else ""
    return f"{title}<table><thead>{head}</thead><tbody>{body}</tbody></table>{caption}"
