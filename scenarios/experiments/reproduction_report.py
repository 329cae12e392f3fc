"""A published setting that was lived: made from a comparison, written as JSON, CSV and figure, and shown as a table."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent.errors import RunError
from agent.storage.record import RunDirectory
from scenarios.analysis.comparison import Comparison, Schedule
from scenarios.analysis.csv_table import interval_columns
from scenarios.analysis.formats import percent, spread
from scenarios.analysis.published import BesidePublished, Runs, beside_published
from scenarios.analysis.report import Column, Report, Table, numbers
from scenarios.analysis.statistics import Interval, paired_differences
from scenarios.config.reproduce import ReproduceConfig
from scenarios.config.reproductions import Gain, Published, Reproduction
from scenarios.experiments.comparison_report import Compared
from scenarios.figures.reproduction import reproduction_figure
from scenarios.figures.style import seed_count
from scenarios.running.results import write_results

NAME = "reproduction"
"""Of the files."""
LEARNER = "learner_accuracy"
"""The metric of a learner without its memory, at the end."""


@dataclass(frozen=True)
class Reproduced:
    """A published setting that was lived."""

    name: str
    title: str
    recorded: Reproduction
    confidence: float
    seeds: tuple[int, ...]
    methods: tuple[BesidePublished, ...]
    """A method once for each of its figures."""
    gains: tuple[BesidePublished, ...]
    """Each of those that are recorded, in their order, paired by seed."""
    shortened: tuple[str, ...]
    """What is shortened; empty if nothing is."""
    notes: tuple[str, ...]
    """Notes for a careful reader."""


def make_reproduced(config: ReproduceConfig, recorded: Reproduction, compared: Compared) -> Reproduced:
    """Put the lifetimes of a comparison beside the published figures.

    Raises:
        RunError: a lifetime lacks the metric that was published.
    """
    shortened = _shortened(config, recorded)
    comparison = compared.comparison
    methods = tuple(
        _beside(schedule, published, config)
        for schedule in comparison.schedules
        for published in recorded.figures_of(schedule.label) or (None,)
    )
    gains = tuple(_gain(each, comparison, config) for each in recorded.gains)
    notes = [
        *([f"shortened, and not to be compared with what was published: {', '.join(shortened)}"] if shortened else []),
        *_data_notes(config, recorded),
        *(f"as in the source: {each}" for each in recorded.circumstances),
        *(f"otherwise than in the source: {each}" for each in recorded.differences),
        *compared.notes,
    ]
    title = f"{config.reproduction} on {config.dataset}" + ", shortened" * config.short
    return Reproduced(
        config.reproduction,
        title,
        recorded,
        config.confidence,
        comparison.seeds,
        methods,
        gains,
        shortened,
        tuple(notes),
    )


def _beside(schedule: Schedule, published: Published | None, config: ReproduceConfig) -> BesidePublished:
    metric = published.metric if published else Published.metric
    return beside_published(
        schedule.label,
        _values(schedule, metric),
        None if published is None else _as_shares(published),
        comparable=not config.short,
        metric=metric,
        confidence=config.confidence,
    )


def _gain(gain: Gain, comparison: Comparison, config: ReproduceConfig) -> BesidePublished:
    """Our difference, paired by seed, beside the published one."""
    schedules = {schedule.label: schedule for schedule in comparison.schedules}
    one = _values(schedules[gain.label], gain.metric)
    other = _values(schedules[gain.over], gain.metric) if gain.over else _values(schedules[gain.label], LEARNER)
    deviation = None if gain.deviation is None else gain.deviation / 100
    return beside_published(
        gain.name,
        paired_differences(np.array(one), np.array(other)).tolist(),
        None if gain.mean is None else Runs(gain.mean / 100, deviation, gain.n_runs),
        comparable=not config.short,
        metric=gain.metric,
        confidence=config.confidence,
    )


def _values(schedule: Schedule, metric: str) -> list[float]:
    values = [metrics.get(metric) for metrics in schedule.by_seed.values()]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        raise RunError(f"expected {metric} of every lifetime of {schedule.label}, got {len(known)} of {len(values)}")
    return known


def _as_shares(published: Published) -> Runs:
    deviation = None if published.deviation is None else published.deviation / 100
    return Runs(published.mean / 100, deviation, published.n_runs, tuple(run / 100 for run in published.runs))


def _shortened(config: ReproduceConfig, recorded: Reproduction) -> tuple[str, ...]:
    """What the shortened form has otherwise, as texts."""
    if not config.short:
        return ()
    texts = []
    for name in recorded.short:
        usual = recorded.settings.get(name)
        if name == "methods":
            texts += _of_methods(recorded.short[name], recorded.settings[name])
            continue
        texts.append(f"{name.replace('_', ' ')} {getattr(config, name)} ({'all' if usual is None else usual})")
    return tuple(texts)


def _of_methods(short: Mapping[str, Mapping[str, Any]], usual: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The parts of methods that differ, as texts."""
    return [
        f"{part} of {label} {text} ({usual[label][part]})"
        for label, parts in short.items()
        for part, text in parts.items()
        if text != usual[label][part]
    ]


def _data_notes(config: ReproduceConfig, recorded: Reproduction) -> list[str]:
    """A note where the images are not those of the lossless data set that is recorded."""
    usual = recorded.settings["dataset"]
    if str(config.dataset) == usual:
        return []
    return [
        f"the images are those of {config.dataset}, not the lossless ones of {usual} that are recorded; where they "
        "are stored as JPEG, that costs some points of accuracy"
    ]


def write_reproduced(reproduced: Reproduced, directory: RunDirectory) -> None:
    """Write reproduction.json, .csv and .png."""
    content = {
        "reproduction": reproduced.name,
        "summary": reproduced.recorded.summary,
        "title": reproduced.title,
        "shortened": list(reproduced.shortened),
        "confidence": reproduced.confidence,
        "seeds": list(reproduced.seeds),
        "methods": [_json(each, reproduced.recorded) for each in reproduced.methods],
        "gains": [
            _gain_json(gain, each) for gain, each in zip(reproduced.recorded.gains, reproduced.gains, strict=True)
        ],
        "circumstances": list(reproduced.recorded.circumstances),
        "differences": list(reproduced.recorded.differences),
        "notes": list(reproduced.notes),
    }
    figure = reproduction_figure(
        reproduced.methods,
        gains=reproduced.gains,
        title=f"{reproduced.title} ({seed_count(len(reproduced.seeds))})",
        short=bool(reproduced.shortened),
    )
    rows = [_row(each.label, each) for each in reproduced.methods]
    rows += [
        _row(gain.label, each) | {"over": gain.other}
        for gain, each in zip(reproduced.recorded.gains, reproduced.gains, strict=True)
    ]
    write_results(directory, None, NAME, content, rows, figure)


def _json(each: BesidePublished, recorded: Reproduction) -> dict[str, Any]:
    """Plain values; shares from 0 to 1."""
    theirs = None
    for found in recorded.figures_of(each.label):
        if found.metric == each.metric and each.published is not None:
            theirs = {**asdict(each.published), "metric": found.metric, "source": asdict(found.source)}
    return {
        "method": each.label,
        "metric": each.metric,
        **_ours_json(each),
        "published": theirs,
        "difference": _plain(each.difference),
    }


def _gain_json(gain: Gain, each: BesidePublished) -> dict[str, Any]:
    """Plain values; differences of shares from 0 to 1."""
    known = {"mean": None, "deviation": None} if each.published is None else asdict(each.published)
    theirs = {**known, "direction": gain.direction, "metric": gain.metric, "source": asdict(gain.source)}
    named = {"method": gain.label, "over": gain.other}
    return {**named, **_ours_json(each), "published": theirs, "difference": _plain(each.difference)}


def _ours_json(each: BesidePublished) -> dict[str, Any]:
    return {"ours": {**asdict(each.ours), "interval": asdict(each.interval)}}


def _plain(interval: Interval | None) -> dict[str, Any] | None:
    return None if interval is None else asdict(interval)


def _row(method: str, each: BesidePublished) -> dict[str, object]:
    """A row of the table of results; shares from 0 to 1."""
    published = each.published
    return {
        "method": method,
        "metric": each.metric,
        "seeds": each.ours.n,
        **interval_columns("ours", each.interval),
        "ours_deviation": each.ours.deviation,
        "published": None if published is None else published.mean,
        "published_deviation": None if published is None else published.deviation,
        "published_runs": None if published is None else published.n,
        **interval_columns("difference", each.difference),
    }


def report(reproduced: Reproduced, path: Path) -> Report:
    """The report of a reproduction that was written to a folder."""
    content = json.loads((path / f"{NAME}.json").read_text(encoding="utf-8"))
    sources = [f"{source.title}, {source.address}" for source in reproduced.recorded.sources]
    return Report(
        content,
        [
            reproduced.recorded.summary,
            _table(reproduced),
            *([_gains_table(reproduced)] if reproduced.gains else []),
            *(_verdict(each) for each in reproduced.methods if each.published is not None),
            *map(_gain_verdict, reproduced.recorded.gains, reproduced.gains),
        ],
        reproduced.notes,
        facts=[
            ("figure", [path / f"{NAME}.png"]),
            ("table", [path / f"{NAME}.csv", path / f"{NAME}.json"]),
            ("costs", [path / "comparison.csv"]),
            ("source", sources),
        ],
    )


def _table(reproduced: Reproduced) -> Table:
    return Table(
        _columns("method", reproduced),
        tuple(_cells(each, "-") for each in reproduced.methods),
        f"{reproduced.title}, {seed_count(len(reproduced.seeds))}",
        "accuracy in %, mean ± standard deviation between seeds or runs, with the t interval of our mean; the "
        "difference has Welch's interval",
    )


def _gains_table(reproduced: Reproduced) -> Table:
    return Table(
        _columns("gain", reproduced),
        tuple(
            _cells(each, gain.direction) for gain, each in zip(reproduced.recorded.gains, reproduced.gains, strict=True)
        ),
        "gains of one method over another",
        "in percentage points, paired by seed, mean ± standard deviation between seeds, with the t interval of our "
        "mean",
    )


def _columns(first: str, reproduced: Reproduced) -> tuple[Column, ...]:
    level = f"{100 * reproduced.confidence:g}%"
    named = numbers("ours", f"{level} of the mean", "published", "runs", "ours - published")
    return (Column(first, is_text=True), *named)


def _cells(each: BesidePublished, no_figure: str) -> tuple[str, ...]:
    """A row of a table; `no_figure` stands where nothing was published as a number."""
    published = each.published
    return (
        each.name,
        _deviating(each.ours),
        "-" if each.interval.low is None else f"{percent(each.interval.low)} to {percent(each.interval.high)}",
        no_figure if published is None else _deviating(published),
        "-" if published is None else str(published.n),
        "-" if each.difference is None else spread(each.difference),
    )


def _deviating(runs: Runs) -> str:
    deviation = "" if runs.deviation is None else f" ± {100 * runs.deviation:.1f}"
    return f"{percent(runs.mean)}{deviation}"


def _verdict(each: BesidePublished) -> str:
    """What the interval of the difference says, as a line."""
    difference = each.difference
    if difference is None:
        return f"{each.name}: not compared with what was published"
    if difference.low is None or difference.high is None:
        return f"{each.name}: the difference has no interval, which needs two runs and the spread of both"
    if difference.low <= 0 <= difference.high:
        return f"{each.name}: ours and the published figure cannot be told apart"
    side = "above" if difference.estimate > 0 else "below"
    return f"{each.name}: ours is {side} the published figure by more than chance between runs explains"


def _gain_verdict(gain: Gain, each: BesidePublished) -> str:
    """Whether ours has the published direction, as a line; a shortened form has a direction, too."""
    low, high = each.interval.low, each.interval.high
    if low is None or high is None:
        return f"{each.label}: one seed has no interval, so its direction cannot be told"
    if low <= 0 <= high:
        ours = "cannot be told from 0"
    else:
        ours = f"is {'above' if low > 0 else 'below'} 0 by more than chance between seeds explains"
    return f"{each.label}: published as {gain.direction}, ours {ours}"
