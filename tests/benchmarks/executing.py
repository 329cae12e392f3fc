"""What executors cost and save: `python -m tests.benchmarks executing`."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from agent.storage.record import SUMMARY, RunDirectory
from scenarios.config.presets import resolve
from scenarios.config.settings import CompareConfig
from scenarios.datasets.source import Access
from scenarios.experiments.compare import COMPARE
from scenarios.running.experiment import begin
from scenarios.running.progress import SilentReporter
from scenarios.running.tasks import Run, Site, Task
from scenarios.running.workers import ProcessExecutor
from tests.benchmarks.ratios import Ratio, alternately, ratios

QUICK = {"policies": "static:k=50 loss", "seeds": 8, "device": "cpu", "threads": 1}
"""16 lifetimes of the preset, which pairs of them share."""
TINY = {"train_size": 40, "validation_size": 20, "test_size": 20, "chunks": 2, "network": "resnet:width=2"}
POLICIES = "static:k=0 static:k=50 static:k=100 loss"
IMPORTS = "import scenarios.running.workers, scenarios.experiments.compare"


def idle(_: CompareConfig, site: Site) -> None:
    """A task that does nothing."""


def measure() -> list[Ratio]:
    """Two workers, the first task, and finished tasks; about eight minutes."""
    config = resolve(CompareConfig, "quick", QUICK)
    one, two = alternately(partial(compare, config, 1), partial(compare, config, 2), rounds=1, warm_up=False)
    seconds = f"{median(one):.0f} and {median(two):.0f} s"
    found = [Ratio("16 quick lifetimes with one worker", "with two", ratios(one, two), "≥ 1.7", seconds)]
    started, imported = alternately(partial(first_task, config), import_modules, rounds=3, warm_up=True)
    more = f"{median(started) - median(imported):.1f} s more"
    found.append(Ratio("a first task in a worker", "the imports of that worker", ratios(started, imported), "", more))
    with tempfile.TemporaryDirectory() as folder:
        recognize, read = finished(Path(folder))
        recognized, plain = alternately(recognize, read, rounds=3, warm_up=True)
    seconds = f"{median(recognized):.1f} s"
    what = "a comparison of 1,000 finished lifetimes, with its tables and figure"
    found.append(Ratio(what, "reading their summaries", ratios(recognized, plain), "", seconds))
    return found


def compare(config: CompareConfig, workers: int) -> None:
    """A comparison in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        begun = begin(COMPARE, config, Access(), workers=workers, runs=Path(folder))
        begun.execute(SilentReporter(), Access())


def first_task(config: CompareConfig) -> None:
    """Start a worker, and have it do nothing."""
    with ProcessExecutor(1, 1, SilentReporter()) as executor:
        executor.begin(Task(idle, config, (), Path("unused"), Access()))
        executor.ended()


def import_modules() -> None:
    """What a worker imports, in a process of its own."""
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)


def finished(folder: Path) -> tuple[Callable[[], None], Callable[[], None]]:
    """A finished comparison of 1,000 lifetimes, recognized as such, and its summaries read alone."""
    settings = {**TINY, "policies": POLICIES, "device": "cpu", "threads": 1}
    config = resolve(CompareConfig, "quick", {**settings, "seeds": 250})
    directory = RunDirectory(folder)
    directory.write("config.json", "{}")
    COMPARE.run(config.model_copy(update={"seeds": 1}), Run(directory, SilentReporter()))
    for seed in range(1, 250):
        for method in config.methods:
            target = folder / f"seed{seed}" / method.file_name
            target.mkdir(parents=True)
            shutil.copy(folder / "seed0" / method.file_name / SUMMARY, target)

    def read() -> None:
        for path in folder.rglob(SUMMARY):
            json.loads(path.read_text(encoding="utf-8"))

    def recognize() -> None:
        COMPARE.run(config, Run(directory, SilentReporter()))

    return recognize, read
