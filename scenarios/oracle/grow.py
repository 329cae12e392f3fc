"""Decision trees over seeds: grown by several processes, kept as tables, and searched for the best schedule."""

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from agent.errors import InvalidSetting, RunError
from agent.operations import OPERATIONS
from agent.storage.record import RunDirectory, read_object
from scenarios.config.settings import TreeConfig, settings_of
from scenarios.datasets.load import Dataset, fingerprint
from scenarios.oracle.jobs import episode_of, growing_in, live_branch, lived_before, read_rows
from scenarios.oracle.priced_table import PricedTable
from scenarios.oracle.search import Found, assemble, beam_search
from scenarios.oracle.table import n_nodes, read_table, schedule_of
from scenarios.running.progress import ProgressReporter, SilentReporter
from scenarios.running.workers import WorkerPool
from scenarios.running.world import cost_model, halves, load_world, make_episode, resolve_specs
from scenarios.streams.scenario import Scenario

TABLE, ORACLE, TREES = "table.npz", "oracle.json", "tree.json"
LARGEST = 2**14
"""Schedules of a tree that is lived in full, or may have to be: as many trainings, and a table of 5 MB."""


@dataclass(frozen=True)
class Oracle:
    """The best schedule of a seed, in hindsight.

    It is the best on the very images that tell its accuracy, so that its utility holds the luck of these images too:
    that of the schedule which is best on others is lower, and regrets to it are.

    Attributes:
        seed: of the tree.
        schedule: L and M by chunk.
        utility: accuracy - cost_weight × spent.
        accuracy: of the agent on the validation images that serve nothing else, 0 to 1.
        spent: in the unit of the cost model, by who does not look.
        trainings: chunks learned from in order to find it.
        separate: that lives apart would have taken, one for each schedule.
        exact: whether no better schedule exists.
    """

    seed: int
    schedule: str
    utility: float
    accuracy: float
    spent: float
    trainings: int
    separate: int
    exact: bool


def resolve_tree(config: TreeConfig) -> TreeConfig:
    """The settings with every spec in its one spelling.

    Raises:
        InvalidSetting: an unknown name or setting, or more chunks than can be lived in full.
    """
    _check_size(config, config.chunks or 1)
    return config.model_copy(update=resolve_specs(config))


def grow_tables(
    config: TreeConfig,
    run: RunDirectory,
    reporter: ProgressReporter,
    *,
    workers: int,
    download: bool = False,
    data_dir: Path | None = None,
) -> list[Oracle]:
    """Grow or search the tree of every seed; trees that the run directory holds are not grown again.

    Args:
        config: resolved settings.
        run: where everything is written.
        reporter: told of progress.
        workers: processes, each with one thread; how many there are does not change a bit of what is found.
        download: fetch a missing data set.
        data_dir: where data sets and caches lie; None for the user's cache folder.

    Raises:
        DatasetError: from loading.
        Interrupted: the reporter asked to stop; what is found is saved.
        InvalidSetting: settings that the data set or the machine do not allow.
        TrainingDiverged: from the learner.
        RunError: from writing, or tables that cannot be read.
    """
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    unfinished = [seed for seed in seeds if not (run.path / _result(config, seed)).exists()]
    if unfinished:
        reporter.say("data")
        n = _try_seed(config, unfinished[0], reporter, download=download, data_dir=data_dir)
        with WorkerPool(workers, reporter) as pool:
            if config.search == "all":
                reporter.expect(len(unfinished) * n_nodes(n, len(OPERATIONS)))
                for seed in unfinished:
                    reporter.say(f"seed {seed}")
                    _grow_seed(config, seed, n, run, reporter, pool, data_dir)
            else:
                reporter.expect(len(unfinished))
                reporter.say("searching")
                _search_seeds(config, unfinished, run, reporter, pool, data_dir)
    for seed in seeds:
        shutil.rmtree(growing_in(run.path, seed), ignore_errors=True)  # of a process killed just before it could
    oracles = [_oracle(config, run, seed) for seed in seeds]
    content = {"cost_weight": config.cost_weight, "unit": cost_model(config).unit, "oracle": [*map(asdict, oracles)]}
    run.write(TREES, json.dumps(content, indent=2) + "\n")
    return oracles


def prepare(config: TreeConfig, *, download: bool, data_dir: Path | None) -> None:
    """Try whether the tree of the first seed could begin.

    Raises:
        DatasetError: from loading.
        InvalidSetting: settings that the data set or the machine do not allow.
    """
    _try_seed(config, config.first_seed, SilentReporter(), download=download, data_dir=data_dir)


def _try_seed(
    config: TreeConfig, seed: int, reporter: ProgressReporter, *, download: bool, data_dir: Path | None
) -> int:
    """Refuse, before any process begins, settings that cannot be; returns the number of chunks."""
    world = load_world(config, seed, data_dir=data_dir, download=download, reporter=reporter)
    make_episode(config, seed, world, "nothing")
    n = len(world[1].stream)
    _check_size(config, n)
    return n


def _oracle(config: TreeConfig, run: RunDirectory, seed: int) -> Oracle:
    path = run.path / _result(config, seed)
    if config.search != "all":
        try:
            oracle = TypeAdapter(Oracle).validate_python(read_object(path, "--force starts anew"))
        except ValidationError as error:
            what = error.errors()[0]
            raise RunError(
                f"expected an oracle in {path}, got an odd {'.'.join(map(str, what['loc']))}; start anew with --force"
            ) from None
        if oracle.seed != seed or not np.isfinite([oracle.utility, oracle.accuracy, oracle.spent]).all():
            raise RunError(f"expected the oracle of seed {seed} in {path}, got an odd one; start anew with --force")
        return oracle
    table = read_table(path)
    if table.facts["seed"] != seed:
        raise RunError(
            f"expected the tree of seed {seed} at {path}, got that of seed {table.facts['seed']}; put it back"
        )
    if _but_for_path(table.facts["settings"]) != _but_for_path(config.model_dump(mode="json")):
        raise RunError(f"expected the tree that these settings made at {path}, got one of other settings; put it back")
    priced = PricedTable(table, tuple(table.facts["prices"]), cost_model(config))
    leaf, n = priced.best(config.cost_weight), table.n_chunks
    return Oracle(
        seed,
        schedule_of(leaf, table.actions),
        float(priced.utility(config.cost_weight)[leaf]),
        float(table.accuracy[leaf, 0]),
        float(priced.spent[leaf]),
        trainings=table.n_trainings,
        separate=_n_separate(n),
        exact=True,
    )


def _n_separate(n: int) -> int:
    """Trainings that the schedules of n chunks would take if each was lived apart."""
    return n * sum(operation.learns for operation in OPERATIONS.values()) * len(OPERATIONS) ** (n - 1)


def _but_for_path(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in which a folder of images counts wherever it lies; the run knows its content."""
    idle = settings_of(TreeConfig, "idle")
    dataset = "folder" if str(settings["dataset"]).startswith("folder:") else settings["dataset"]
    return {name: value for name, value in settings.items() if name not in idle} | {"dataset": dataset}


def _result(config: TreeConfig, seed: int) -> str:
    return f"seed{seed}/{TABLE if config.search == 'all' else ORACLE}"


def _check_size(config: TreeConfig, n_chunks: int) -> None:
    if config.search != "beam" and len(OPERATIONS) ** n_chunks > LARGEST:
        most = int(math.log(LARGEST, len(OPERATIONS)) + 1e-9)
        raise InvalidSetting(
            f"expected at most {most} chunks for --search {config.search}, got {n_chunks}, which have "
            f"{len(OPERATIONS)}^{n_chunks} schedules; lower --chunks, or --search beam"
        )


def _grow_seed(
    config: TreeConfig,
    seed: int,
    n: int,
    run: RunDirectory,
    reporter: ProgressReporter,
    pool: WorkerPool,
    data_dir: Path | None,
) -> None:
    growing = growing_in(run.path, seed)
    lived = lived_before(growing, n, reporter)
    live = partial(live_branch, config, seed, n, run.path, data_dir)
    waiting = [1]
    while waiting or pool.working:
        branches = []
        while waiting and pool.free:
            node = waiting.pop()
            if node in lived:
                branches.append(lived[node])
                waiting += lived[node].children
            else:
                pool.begin(live, node)
        if not branches:
            branches = pool.ended()
            waiting += [child for branch in branches for child in branch.children]
        for branch in branches:
            reporter.advance(branch.n_steps)
            if branch.warning:
                reporter.warn(branch.warning)
    parts = [read_rows(path, n) for path in sorted(growing.glob("rows*.npz"))]
    world = load_world(config, seed, data_dir=data_dir, download=False, reporter=SilentReporter())
    facts = _facts(config, seed, world, data_dir)
    table = assemble(parts, facts, [len(chunk) for chunk in world[1].stream])
    run.write(f"seed{seed}/{TABLE}", table.as_npz())
    shutil.rmtree(growing)


def _facts(config: TreeConfig, seed: int, world: tuple[Dataset, Scenario], data_dir: Path | None) -> dict[str, Any]:
    dataset, scenario = world
    fitting, examining = halves(scenario.validation)
    return {
        "settings": config.model_dump(mode="json"),
        "data": fingerprint(config.dataset, data_dir),
        "seed": seed,
        "prices": list(scenario.stream.prices),
        "classes": list(dataset.class_names),
        "n_fitting": len(fitting),
        "n_examining": len(examining),
    }


def _search_seeds(
    config: TreeConfig,
    seeds: list[int],
    run: RunDirectory,
    reporter: ProgressReporter,
    pool: WorkerPool,
    data_dir: Path | None,
) -> None:
    waiting = list(seeds)
    while waiting or pool.working:
        while waiting and pool.free:
            pool.begin(_search, config, run.path, data_dir, waiting.pop(0))
        reporter.advance(len(pool.ended()))


def _search(config: TreeConfig, path: Path, data_dir: Path | None, seed: int) -> None:
    episode = episode_of(config, seed, data_dir, "nothing")
    n = episode.observe().n_chunks
    found = beam_search(episode, config.cost_weight, config.beam_width)
    oracle = _as_oracle(found, seed, n, exact=False)
    RunDirectory(path).write(f"seed{seed}/{ORACLE}", json.dumps(asdict(oracle), indent=2) + "\n")


def _as_oracle(found: Found, seed: int, n: int, *, exact: bool) -> Oracle:
    return Oracle(
        seed,
        schedule_of(found.leaf),
        found.utility,
        found.accuracy,
        found.spent,
        trainings=found.trainings,
        separate=_n_separate(n),
        exact=exact,
    )
