"""Which option of finished curves or schedule tables is best as the prices of compute and storage move."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.errors import InvalidSetting, RunError
from scenarios.config.settings import FrontierConfig
from scenarios.experiments.finished_runs import read_config, runs_digest
from scenarios.experiments.joined_curves import check_each_once, check_folder, runs_of_joined
from scenarios.frontiers.curves import read_curves
from scenarios.frontiers.files import write_findings
from scenarios.frontiers.findings import Findings, find
from scenarios.frontiers.reading import Measured
from scenarios.frontiers.report import report
from scenarios.frontiers.trees import read_trees, tables_of
from scenarios.oracle.tables import tables_digest
from scenarios.running.experiment import Experiment, nothing
from scenarios.running.tasks import Run

QUERIES = {"curve": (0, 10_000, 1_000_000), "tree": (0,)}
"""The default numbers of queries, by kind of run."""


def measured_in(config: FrontierConfig) -> tuple[Measured, tuple[int, ...]]:
    """The options of the runs, and the numbers of queries.

    Raises:
        RunError: a folder is no finished run of `curve`, of `curve --join` or of `tree`, or a file is damaged.
        InvalidSetting: curves beside trees, runs that cannot be compared, queries with trees, a tariff with curves, or
            an unknown memory.
    """
    kind, paths = _runs(config.paths)
    queries = QUERIES[kind] if config.queries is None else config.queries
    if kind == "tree":
        if any(queries):
            raise InvalidSetting(
                f"expected --queries 0 with trees, which have no queries, got {max(queries)}; leave it out"
            )
        return read_trees(paths, config), queries
    if config.tariff is not None:
        raise InvalidSetting(f"expected no --tariff with curves, whose price is 1, got {config.tariff}; leave it out")
    return read_curves(paths, config), queries


def _runs(paths: Sequence[Path]) -> tuple[str, list[Path]]:
    """The kind of the runs, and their folders; a joined curve stands for the runs that it was made of.

    Raises:
        RunError: a folder is no such run.
        InvalidSetting: curves beside trees, or a run twice.
    """
    kinds: dict[str, Path] = {}
    found: list[Path] = []
    for path in paths:
        kind, runs = _kind_of(path)
        kinds.setdefault(kind, path)
        found += runs
    if len(kinds) > 1:
        raise InvalidSetting(
            f"expected curves alone or trees alone, got a curve at {kinds['curve']} and trees at {kinds['tree']}; look "
            "at those apart"
        )
    check_each_once(found)
    return next(iter(kinds)), found


def _kind_of(path: Path) -> tuple[str, list[Path]]:
    check_folder(path)
    if any(path.glob("seed*/table.npz")):
        return "tree", [path]
    content = read_config(path)
    experiment = content.get("experiment")
    if experiment == "join-curves":
        return "curve", runs_of_joined(content, path)
    if experiment not in QUERIES:
        raise RunError(f"expected a run of curve, curve --join or tree at {path}, got one of {experiment}")
    return experiment, [path]


def _run(config: FrontierConfig, run: Run) -> Findings:
    measured, queries = measured_in(config)
    found = find(measured, queries, config)
    write_findings(found, run.directory)
    return found


def _check(config: FrontierConfig) -> None:
    """Make the cost models and the tariff on trial; raises InvalidSetting."""
    for cost in config.costs:
        cost.make()
    if config.tariff is not None:
        config.tariff.make(n_chunks=1, seed=0)


def _facts(config: FrontierConfig) -> dict[str, Any]:
    kind, paths = _runs(config.paths)
    if kind == "curve":
        return {"digest": runs_digest(paths)}
    return {"digest": tables_digest([table for path in paths for table in tables_of(path)])}


FRONTIER = Experiment(
    "frontier",
    FrontierConfig,
    words=lambda config: [config.paths[0].resolve().name],
    run=_run,
    report=report,
    check=_check,
    prepare=lambda config, _: nothing(measured_in(config)),
    reads=lambda config: [*config.paths, *_runs(config.paths)[1]],
    facts=_facts,
)
