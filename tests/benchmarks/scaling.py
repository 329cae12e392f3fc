"""Many tasks that do nothing, and the sweep that they are of: `python -m tests.benchmarks scaling`."""

import json
import resource
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import repeat
from pathlib import Path
from random import Random
from typing import Any

from agent.storage.record import SUMMARY
from scenarios.config.settings import CompareConfig
from scenarios.config.sweep import read_sweep
from scenarios.datasets.source import Access
from scenarios.experiments import sweep_tasks
from scenarios.experiments.sweep import SWEEP
from scenarios.experiments.sweep_report import TABLE
from scenarios.running.executors import Context, executor_of
from scenarios.running.experiment import begin
from scenarios.running.progress import SilentReporter
from scenarios.running.tasks import Cache, Site, Task, run_tasks
from tests.benchmarks.ratios import Ratio, ratios, seconds_of

N_TASKS = 100_000
SMALL = {
    "device": "cpu",
    "train_size": 200,
    "validation_size": 40,
    "test_size": 60,
    "chunks": 10,
    "network": "resnet:width=2",
    "policies": "static:k=50",
}
SCENARIOS = ["iid", "class-incremental", "blurred", "recurring", "drift"]
RECIPES = [f"sgd:lr={(i + 1) / 100:.2f}" for i in range(20)]


def idle(_: CompareConfig, site: Site) -> None:
    """A task that does nothing."""


def copy_summary(config: CompareConfig, place: sweep_tasks.Place, site: Site) -> dict[str, Any]:
    """A task that does nothing but leave a summary, as if a lifetime had been lived; no two have the same numbers."""
    folder = site.directory.path / place.world
    summary = json.loads((site.directory.path / "summary.json").read_text())
    for method in config.methods:
        target = folder / f"seed{place.seed}" / sweep_tasks.lifetime_folder(method)
        target.mkdir(parents=True, exist_ok=True)
        drawn = Random(str(target))
        numbers = {name: value and value * drawn.random() for name, value in summary["metrics"].items()}
        (target / SUMMARY).write_text(json.dumps({**summary, "metrics": numbers}))
    if not (folder / "config.json").exists():
        (folder / "config.json").write_text(place.described)
    return {}


def measure() -> list[Ratio]:
    """The executors, and a sweep of tasks that do nothing; about twenty minutes."""
    found = []
    alone = schedule("serial", N_TASKS)
    for spec in ("processes:workers=2", "ray:workers=2"):
        seconds = schedule(spec, N_TASKS)
        each = f"{1000 * seconds / N_TASKS:.2f} ms a task"
        what = f"{N_TASKS:,} tasks that do nothing, {spec}"
        found.append(Ratio(what, "serial", ratios((seconds,), (alone,)), "", each))
    with tempfile.TemporaryDirectory() as folder:
        found.append(sweep(Path(folder)))
    return found


def schedule(spec: str, n: int) -> float:
    """Seconds of n tasks that do nothing, on workers that are warm."""
    config, executor = CompareConfig(), executor_of(spec, None, side_by_side=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text("{}")
        with executor.make(context=Context(SilentReporter(), Cache(), 1)) as working:
            task = Task(idle, config, (), folder, Access())
            for _ in run_tasks(working, [task] * 4):
                pass
            return seconds_of(lambda: list(run_tasks(working, repeat(task, n))))


def sweep(folder: Path) -> Ratio:
    """A sweep of that many tasks: the time of a task, its table, and what the head holds."""
    given = {**SMALL, "axes": {"scenario": SCENARIOS, "recipe": RECIPES}}
    before = sweep_tasks.run_lifetimes
    one = begun(folder, {**SMALL, "axes": {"scenario": ["iid"]}, "seeds": 1}, "one")
    one()
    [summary] = (folder / "sweep/one").rglob(SUMMARY)
    many = folder / "sweep/many"
    many.mkdir()
    try:
        sweep_tasks.run_lifetimes = copy_summary
        run = begun(folder, {**given, "seeds": N_TASKS // len(SCENARIOS) // len(RECIPES)}, "many")
        (many / "config.json").write_text(json.dumps(run.args[0].described))  # type: ignore[attr-defined]
        (many / "summary.json").write_bytes(summary.read_bytes())
        lived = seconds_of(run)
        shown = seconds_of(run)
    finally:
        sweep_tasks.run_lifetimes = before
    megabytes = (many / TABLE).stat().st_size / 1e6
    head = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    detail = (
        f"{1000 * lived / N_TASKS:.1f} ms a task with its files; table {megabytes:.1f} MB; the head holds {head:.2f} "
        f"GB; shown again in {shown:.0f} s"
    )
    return Ratio(
        f"a sweep of {N_TASKS:,} tasks that do nothing", "showing it again", ratios((lived,), (shown,)), "", detail
    )


def begun(folder: Path, settings: dict[str, Any], name: str) -> Callable[[], None]:
    """A sweep in a folder."""
    found = begin(SWEEP, read_sweep("quick", settings), Access(), workers=2, runs=folder, name=name)
    return partial(execute, found)


def execute(found: Any) -> None:
    """Execute it."""
    found.execute(SilentReporter(), Access())
