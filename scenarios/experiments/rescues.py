"""What memories rescue in the lifetimes of a run: read from their predictions, written, and shown as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agent.errors import RunError
from agent.storage.predictions import PREDICTIONS, read_predictions
from agent.storage.record import RunDirectory
from scenarios.analysis.csv_table import interval_columns
from scenarios.analysis.formats import plus_minus
from scenarios.analysis.report import Column, Report, Table, numbers
from scenarios.analysis.rescues import GroupRescues, Rescues, RescueSeries, count_rescues, rescues_by_group

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

NAME = "rescues"
"""Of the files, without their extensions."""
_MEASURES = ("rescued", "lost", "net", "memory_right")


def read_rescues(
    title: str,
    by: Literal["memory", "schedule", "policy"],
    folders: Mapping[tuple[str, float | None], Mapping[int, Path]],
    confidence: float,
) -> Rescues:
    """The rescues of finished lifetimes that kept their predictions.

    Args:
        title: of tables and figures.
        by: what the labels name.
        folders: of the lifetimes by seed, the same seeds for each label and k; k is None except for k%-learners.
        confidence: level of every interval, in (0, 1).

    Raises:
        RunError: a lifetime has no predictions, or damaged ones, or its classes are others.
    """
    series = []
    names: tuple[str, ...] | None = None
    for (label, k), by_seed in folders.items():
        counts = []
        for folder in by_seed.values():
            kept = read_predictions(folder / PREDICTIONS)
            names = names or kept.class_names
            if kept.class_names != names:
                raise RunError(
                    f"expected predictions of the {len(names)} classes {_shown(names)} in {folder / PREDICTIONS}, got "
                    f"{len(kept.class_names)} classes {_shown(kept.class_names)}; remove summary.json beside it, and "
                    "`lifetime resume` of the run lives this lifetime again"
                )
            counts.append(count_rescues(kept.labels, kept.learner, kept.agent, kept.memory))
        assert names is not None
        series.append(RescueSeries(label, k, rescues_by_group(counts, names, confidence)))
    seeds = next(iter(folders.values()))
    return Rescues(title, by, tuple(seeds), confidence, tuple(series))


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + ", ..." * (len(names) > 3)


def write_rescues(rescues: Rescues, directory: RunDirectory, board: "SummaryWriter | None" = None) -> None:
    """Write rescues.json, .csv and .png, and the figure to TensorBoard if there is a writer of its events."""
    from scenarios.figures.rescues import rescues_figure  # matplotlib, which a run without predictions may not need
    from scenarios.running.results import write_results

    write_results(directory, board, NAME, rescues_json(rescues), rescues_rows(rescues), rescues_figure(rescues))


def rescues_json(rescues: Rescues) -> dict[str, Any]:
    """The rescues as plain values: shares from 0 to 1 with their intervals, by group of test images."""
    return {
        "title": rescues.title,
        "seeds": list(rescues.seeds),
        "confidence": rescues.confidence,
        "series": [
            {
                rescues.by: series.label,
                **({} if series.k is None else {"k": series.k}),
                "groups": [_group_json(each) for each in series.groups],
            }
            for series in rescues.series
        ],
    }


def _group_json(each: GroupRescues) -> dict[str, Any]:
    return {
        "group": each.group.kind,
        "name": each.group.name,
        **{k: v for k, v in asdict(each).items() if k != "group"},
    }


def rescues_rows(rescues: Rescues) -> list[dict[str, Any]]:
    """A row for each series and group of test images: means of shares with the bounds of their intervals."""
    has_k = any(series.k is not None for series in rescues.series)
    return [
        {
            rescues.by: series.label,
            **({"k": series.k} if has_k else {}),
            "group": each.group.kind,
            "name": each.group.name,
            "n_seeds": each.seeds,
            "n": each.n,
            **interval_columns("share", each.share),
            **{key: value for name in _MEASURES for key, value in interval_columns(name, getattr(each, name)).items()},
        }
        for series in rescues.series
        for each in series.groups
    ]


def rescues_table(rescues: Rescues) -> Table:
    """A row for each memory and k, schedule or policy."""
    several = rescues.by == "schedule" or len({series.label for series in rescues.series}) > 1
    has_k = any(series.k is not None for series in rescues.series)
    rows, before = [], None
    for series in rescues.series:
        [whole], [third] = series.of("all"), series.of("lowest third")
        row = ["" if series.label == before else series.label] if several else []
        row += ["" if series.k is None else f"{series.k:g}"] if has_k else []
        row += [plus_minus(getattr(whole, name)) for name in _MEASURES]
        rows.append((*row, plus_minus(third.net)))
        before = series.label
    columns = (Column(rescues.by, is_text=True, folds=True),) if several else ()
    headings = ["k %"] * has_k + ["rescued", "lost", "net", "memory right,\nlearner wrong", "net in the\nlowest third"]
    half = f", ± half of {100 * rescues.confidence:g}% t intervals" if len(rescues.seeds) > 1 else ""
    return Table(
        (*columns, *numbers(*headings)),
        tuple(rows),
        "what memory rescues",
        f"test images in points{half}; rescued: the learner is wrong, the agent right; lost: the other way round; "
        "net = z - x; lowest third: of the images, by the learner's margin between its first two classes, in points of "
        "these images",
    )


def with_rescues(report: Report, rescues: Rescues | None, path: Path) -> Report:
    """A report with the table and the files of the rescues in the folder of the run; as it is without any."""
    if rescues is None:
        return report
    files: list[Path | str] = [path / f"{NAME}.{kind}" for kind in ("png", "csv", "json")]
    return replace(
        report,
        content={**report.content, NAME: rescues_json(rescues)["series"]},
        parts=[*report.parts, "", rescues_table(rescues)],
        facts=[*report.facts, (NAME, files)],
    )
