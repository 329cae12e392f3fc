"""The results of a search: a table of trials, a figure, and the best settings with what they were tuned on."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.storage.record import RunDirectory
from scenarios.analysis.csv_table import interval_columns
from scenarios.analysis.formats import gflop, percent, plus_minus
from scenarios.analysis.report import Column, Report, Table, numbers
from scenarios.analysis.statistics import Interval, mean_interval
from scenarios.config.parameters import written
from scenarios.config.search_space import SEARCHED
from scenarios.config.tune import UTILITY, TuneConfig
from scenarios.config.tuned import BEST, Tuned
from scenarios.datasets.load import GENERATED
from scenarios.figures.tune import tuning_figure
from scenarios.running.results import write_results

MOST_ROWS = 20
"""Most rows of a printed table."""
_SHOWN = ("final_accuracy", "total_gflop", "total_cost")
_SPLIT = ("data_seed", "train_size", "validation_size", "test_size", "image_size")


@dataclass(frozen=True)
class HeldOut:
    """What the data of each seed are."""

    train_images: int
    """Those held out included."""
    held_out: int
    own_test: bool
    """Whether the data set has a test part of its own."""


@dataclass(frozen=True)
class Lived:
    """A trial that has ended."""

    number: int
    point: Mapping[str, Any]
    folder: str
    """Of its lifetimes, in that of the run."""
    values: Mapping[int, float]
    """What is maximized, by seed; none if it failed."""
    metrics: Mapping[int, Mapping[str, float | None]]
    error: str | None

    def value(self, confidence: float) -> Interval | None:
        """The mean over the seeds; None if it failed."""
        return mean_interval(list(self.values.values()), confidence) if self.values else None

    def mean(self, metric: str) -> float | None:
        """The mean of a metric over the seeds; None if it is not measured."""
        found = [each[metric] for each in self.metrics.values()]
        measured = [each for each in found if each is not None]
        return sum(measured) / len(measured) if measured else None


@dataclass(frozen=True)
class Tuning:
    """The results of a search."""

    config: TuneConfig
    held_out: HeldOut
    trials: Sequence[Lived]
    best: Lived | None
    """The first of the highest value; None if no trial succeeded."""
    tuned: Tuned | None
    """What the best settings were tuned on."""
    notes: Sequence[str]


def make_tuning(
    config: TuneConfig, held_out: HeldOut, digest: str, data: str | None, trials: Sequence[Lived], notes: list[str]
) -> Tuning:
    """Find the best trial, and say what it was tuned on.

    Args:
        config: the settings.
        held_out: the data of each seed.
        digest: of the identity of the run.
        data: fingerprint of the data set.
        trials: those that have ended.
        notes: for a careful reader.
    """
    succeeded = [each for each in trials if each.values]
    best = max(succeeded, key=lambda each: sum(each.values.values()), default=None)
    if best is None:
        return Tuning(config, held_out, trials, None, None, notes)
    whole = config.space.method(best.point, "best").model_dump(mode="json", include=set(SEARCHED))
    parts = {name: whole[name] for name in SEARCHED if whole[name] is not None}
    tuned_parts = config.space.parts
    split = {name: getattr(config, name) for name in _SPLIT}
    tuned = Tuned(
        run=digest,
        trials=len(trials),
        maximized=config.maximize + (f" at cost weight {config.cost_weight:g}" if config.maximize == UTILITY else ""),
        first_seed=config.first_seed,
        seeds=config.seeds,
        dataset=str(config.dataset),
        scenario=str(config.scenario),
        data=data,
        own_test=held_out.own_test,
        train_images=held_out.train_images,
        held_out=held_out.held_out,
        split={name: value for name, value in split.items() if value is not None},
        parts={name: value for name, value in parts.items() if name in tuned_parts},
        beside={name: value for name, value in parts.items() if name not in tuned_parts},
    )
    return Tuning(config, held_out, trials, best, tuned, [*_notes(config, held_out, trials), *notes])


def _notes(config: TuneConfig, held_out: HeldOut, trials: Sequence[Lived]) -> list[str]:
    seeds = _seeds(config)
    notes = [
        f"values are of {held_out.held_out:,} of the {held_out.train_images:,} training images of {seeds}, which the "
        "stream lacks; no test image is used",
        f"the best of {len(trials)} trials is chosen by its value, which so promises too much: lifetimes of other "
        "seeds, on test images, say what its settings are worth",
    ]
    if not held_out.own_test and config.dataset.name not in GENERATED and config.data_seed is None:
        notes.append(
            f"{config.dataset} has no test part of its own: other seeds draw test images from those that were used "
            "here; --data-seed, here and for the reported runs, keeps them apart"
        )
    if failed := sum(not each.values for each in trials):
        notes.append(f"{failed} of {len(trials)} trials failed")
    return notes


def _seeds(config: TuneConfig) -> str:
    first, last = config.on_seeds[0], config.on_seeds[-1]
    return f"seed {first}" if first == last else f"seeds {first} to {last}"


def write_tuning(tuning: Tuning, directory: RunDirectory) -> None:
    """Write tune.json, and, if a trial succeeded, tune.csv, tune.png and best.toml."""
    content = _content(tuning)
    if tuning.tuned is None:
        directory.write("tune.json", json.dumps(content, indent=2) + "\n")
        return
    values = [each.value(tuning.config.confidence) for each in tuning.trials]
    is_share = tuning.config.maximize != UTILITY
    figure = tuning_figure(
        values,
        label=_named(tuning.config.maximize),
        percent=is_share,
        title=f"{tuning.config.title}, {_seeds(tuning.config)}",
    )
    with directory.tensorboard() as board:
        for trial, value in zip(tuning.trials, values, strict=True):
            if value is not None:
                board.add_scalar(f"tuning/{tuning.config.maximize}", value.estimate, trial.number)
        write_results(directory, board, "tune", content, [_row(tuning, each) for each in tuning.trials], figure)
    directory.write(BEST, best_toml(tuning.tuned))


def best_toml(tuned: Tuned) -> str:
    """The best settings as TOML: the tuned parts in full, and a table of what they were tuned on."""
    facts = tuned.model_dump(exclude_none=True)
    tables = {name: facts.pop(name) for name in ("split", "parts", "beside")}
    lines = [
        "# The best settings of `lifetime tune`, for --config or --tuned of other commands.",
        *_pairs(tables["parts"]),
        "",
        "# What they were tuned on; a run that changes one of them is refused.",
        "[tuned]",
        *_pairs(facts),
    ]
    for name, table in tables.items():
        lines += ["", f"[tuned.{name}]", *_pairs(table)] if table else []
    return "\n".join(lines) + "\n"


def _pairs(table: Mapping[str, Any]) -> list[str]:
    """Lines of TOML; its texts, truths and numbers are those of JSON."""
    return [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in table.items()]


def _row(tuning: Tuning, trial: Lived) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "folder": trial.folder,
        **trial.point,
        **interval_columns(tuning.config.maximize, trial.value(tuning.config.confidence)),
        **{f"mean_{name}": trial.mean(name) for name in _SHOWN},
        "error": trial.error,
    }


def _content(tuning: Tuning) -> dict[str, Any]:
    config, best = tuning.config, tuning.best
    return {
        "search": {name: values if isinstance(values, str) else list(values) for name, values in config.search.items()},
        "maximize": config.maximize,
        "cost_weight": config.cost_weight,
        "seeds": list(config.on_seeds),
        "train_images": tuning.held_out.train_images,
        "held_out": tuning.held_out.held_out,
        "best": None if best is None else best.number,
        "tuned": None if tuning.tuned is None else tuning.tuned.model_dump(),
        "trials": [
            {
                "trial": each.number,
                "point": dict(each.point),
                "folder": each.folder,
                "values": {str(seed): value for seed, value in each.values.items()},
                "metrics": {str(seed): dict(metrics) for seed, metrics in each.metrics.items()},
                "error": each.error,
            }
            for each in tuning.trials
        ],
        "notes": list(tuning.notes),
    }


def report(tuning: Tuning, path: Path) -> Report:
    """The report of a search that was written to a folder."""
    parts: list[str | Table] = []
    facts: list[tuple[str, Sequence[Path | str]]] = [("trials", [path / "tune.json"])]
    if tuning.tuned is not None and tuning.best is not None:
        parts.append(_best_trials(tuning))
        chosen = [f"{name} = {value}" for name, value in tuning.tuned.parts.items()]
        parts.append(f"trial {tuning.best.number}: {'; '.join(chosen)}")
        facts = [
            ("best", [path / BEST]),
            ("use", [f"--tuned {path}", f"--methods 'tuned = tuned:{path}'"]),
            ("figure", [path / "tune.png"]),
            ("trials", [path / "tune.csv", path / "tune.json"]),
        ]
    failed = [each for each in tuning.trials if not each.values]
    if failed:
        parts.append(_failed(failed, list(tuning.config.search)))
    error = ""
    if failed and tuning.best is None:
        error = (
            f"expected a trial to succeed, but all {len(failed)} failed, as trial {failed[0].number}: {failed[0].error}"
        )
    return Report(_content(tuning), parts, tuning.notes, facts, bool(tuning.trials), error)


def _named(metric: str) -> str:
    return metric.replace("_", " ")


def _best_trials(tuning: Tuning) -> Table:
    config = tuning.config
    succeeded = [each for each in tuning.trials if each.values]
    ranked = sorted(succeeded, key=lambda each: -sum(each.values.values()))
    is_share, more = config.maximize != UTILITY, config.maximize != "final_accuracy"
    rows = []
    for each in ranked[:MOST_ROWS]:
        value = each.value(config.confidence)
        shown = plus_minus(value) if is_share else f"{value.estimate:.4g}" if value else "-"
        accuracy = (percent(each.mean("final_accuracy")),) if more else ()
        work = gflop(each.mean("total_gflop") or 0.0)
        rows.append((str(each.number), *map(_short, each.point.values()), shown, *accuracy, work))
    left_out = f"; {len(ranked) - MOST_ROWS} more in tune.csv" if len(ranked) > MOST_ROWS else ""
    level = f"{100 * config.confidence:g}% t intervals over {config.seeds} seed{'s' * (config.seeds > 1)}"
    return Table(
        (
            Column("trial"),
            *(Column(name, is_text=True, folds=True) for name in config.search),
            *numbers(_named(config.maximize), *(["final accuracy"] * more), "GFLOP"),
        ),
        tuple(rows),
        f"{config.title}: {len(tuning.trials)} trials, the best first",
        f"on held-out training images; accuracies in %, means ± half of {level}{left_out}",
    )


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else written(value)


def _failed(failed: Sequence[Lived], names: Sequence[str]) -> Table:
    rows = [(str(each.number), *map(_short, each.point.values()), each.error or "") for each in failed[:MOST_ROWS]]
    left_out = f"; {len(failed) - MOST_ROWS} more in tune.csv" if len(failed) > MOST_ROWS else ""
    return Table(
        (Column("trial"), *(Column(name, is_text=True, folds=True) for name in (*names, "error"))),
        tuple(rows),
        f"{len(failed)} trial{'s' * (len(failed) > 1)} failed",
        f"tracebacks: in failed.json in the folder of the lifetime{left_out}",
    )
