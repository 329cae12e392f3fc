"""The plan of a sweep: what its tasks will take, before the first of them lives."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.storage.record import RunDirectory
from scenarios.analysis.formats import gflop
from scenarios.analysis.report import Column, Report, Table, numbers
from scenarios.config.sweep import SweepConfig
from scenarios.datasets.source import Access
from scenarios.experiments.sweep_report import MOST_ROWS
from scenarios.experiments.sweep_tasks import Group, groups_of, load_first, waiting_of, worlds_of
from scenarios.running.forecast import Forecast, forecast
from scenarios.running.progress import ProgressReporter
from scenarios.running.tasks import Run


@dataclass(frozen=True)
class Planned:
    """What the waiting tasks of a world will take."""

    values: tuple[str, ...]
    n_tasks: int
    n_lifetimes: int
    gflop: float
    """That the agents pay."""
    nbytes: float
    """Of their files."""
    hours: float
    """Of one process on this machine."""
    longest: float
    """Hours of the longest task."""


def plan(config: SweepConfig, path: Path, access: Access, reporter: ProgressReporter) -> Report:
    """The plan of a sweep in the folder at `path`; nothing is written.

    Each method is estimated once for each world (`scenarios.running.forecast`), as all seeds take the same. Lifetimes
    of a task under one policy share the learner's work, so that only the longest counts.

    Raises:
        DatasetError: a data set cannot be loaded.
        InvalidSetting: a world, or the machine, does not allow a method.
    """
    groups = list(groups_of(config, worlds_of(config, path, access)))
    waiting = waiting_of(config, groups)
    n_finished = sum(not group.unfinished for group in groups)
    of_world: dict[int, list[Group]] = {}
    for group in waiting:
        of_world.setdefault(group.world.number, []).append(group)
    reporter.expect(
        sum(len({method.label for each in found for method in each.methods}) for found in of_world.values())
    )
    planned = [_planned(found, Run(RunDirectory(path), reporter, access)) for found in of_world.values()]
    n_failed = len(groups) - n_finished - len(waiting)
    return _report(config, planned, n_finished, n_failed)


def _planned(groups: Sequence[Group], run: Run) -> Planned:
    world, loaded = groups[0].world, load_first(groups, run)
    of_method: dict[str, Forecast] = {}
    paid = nbytes = seconds = longest_task = 0.0
    n = 0
    for group in groups:
        longest: dict[str, float] = {}
        for method in group.unfinished:
            if method.label not in of_method:
                of_method[method.label] = forecast(world.config, group.seed, method, loaded)
                run.reporter.advance(1)
            found, policy, n = of_method[method.label], str(method.policy), n + 1
            paid, nbytes = paid + found.gflop, nbytes + found.nbytes
            longest[policy] = max(longest.get(policy, 0.0), found.seconds)
        seconds, longest_task = seconds + sum(longest.values()), max(longest_task, sum(longest.values()))
    values = tuple(world.cell.values.values())
    return Planned(values, len(groups), n, paid, nbytes, seconds / 3600, longest_task / 3600)


def _report(config: SweepConfig, planned: Sequence[Planned], n_finished: int, n_failed: int) -> Report:
    total = Planned(
        (),
        sum(each.n_tasks for each in planned),
        sum(each.n_lifetimes for each in planned),
        sum(each.gflop for each in planned),
        sum(each.nbytes for each in planned),
        sum(each.hours for each in planned),
        max((each.longest for each in planned), default=0.0),
    )
    axes = list(config.cells[0].values)
    rows = [(*each.values, *_amounts(each)) for each in planned[:MOST_ROWS]] if axes else []
    rows.append((*(["all"] + [""] * (len(axes) - 1) if axes else []), *_amounts(total)))
    left_out = f"; {len(planned) - MOST_ROWS} more worlds in --json" if len(planned) > MOST_ROWS else ""
    table = Table(
        (
            *(Column(name, is_text=True, folds=True) for name in axes),
            *numbers("tasks", "lifetimes", "GFLOP", "MB on disk", "hours"),
        ),
        tuple(rows),
        f"to be lived: {total.n_tasks:,} tasks; finished: {n_finished:,}; failed: {n_failed:,}",
        "GFLOP: that agents pay; hours: of one process on this machine, at its speed on a few samples, with measuring"
        + left_out,
    )
    keys = ("tasks", "lifetimes", "gflop", "nbytes", "hours", "longest_task_hours")
    content = {
        **dict(zip(keys, _numbers(total), strict=True)),
        "finished": n_finished,
        "failed": n_failed,
        "worlds": [
            {
                "values": dict(zip(axes, each.values, strict=True)),
                **dict(zip(keys, _numbers(each), strict=True)),
            }
            for each in planned
        ],
    }
    notes = ["policies that observe are estimated as if they learned every other chunk"]
    if total.n_tasks > 1:
        notes.append(f"the longest task takes {_hours(total.longest)} hours, which no number of processes shortens")
    return Report(content, [table], notes, has_trajectories=False)


def _numbers(planned: Planned) -> tuple[float, ...]:
    return planned.n_tasks, planned.n_lifetimes, planned.gflop, planned.nbytes, planned.hours, planned.longest


def _amounts(planned: Planned) -> tuple[str, ...]:
    counts = f"{planned.n_tasks:,}", f"{planned.n_lifetimes:,}"
    return (*counts, gflop(planned.gflop), gflop(planned.nbytes / 1e6), _hours(planned.hours))


def _hours(hours: float) -> str:
    return f"{hours:,.1f}" if hours >= 10 else f"{hours:.2g}"
