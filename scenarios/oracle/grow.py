"""Grow or search the tree of every seed in several processes, and find the best schedule."""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from agent.errors import InvalidSetting, RunError
from agent.memory.raw_images import RawImages
from agent.operations import OPERATIONS
from agent.storage.record import RunDirectory, read_object
from scenarios.analysis.formats import gflop, percent
from scenarios.analysis.report import Column, Report, Table, numbers
from scenarios.config.settings import TreeConfig, settings_of
from scenarios.config.specs import file_name
from scenarios.datasets.fingerprints import without_path
from scenarios.datasets.load import Dataset, fingerprint
from scenarios.datasets.source import Access
from scenarios.oracle.jobs import episode_of, finished_branches, growing_in, read_rows, run_branch
from scenarios.oracle.priced_table import PricedTable
from scenarios.oracle.search import assemble, beam_search
from scenarios.oracle.table import n_nodes, read_table, schedule_of
from scenarios.running.experiment import Experiment, nothing
from scenarios.running.identity import dataset_word
from scenarios.running.progress import ProgressReporter, SilentReporter
from scenarios.running.provenance import notes_on_tuning
from scenarios.running.tasks import Run, SerialExecutor, Site
from scenarios.running.world import check_settings, cost_model, halves, load_world, make_episode
from scenarios.streams.scenario import Scenario

TABLE, ORACLE, TREES = "table.npz", "oracle.json", "tree.json"
LARGEST = 2**14
"""Largest number of schedules of a tree that is grown in full: its table has 5 MB."""


@dataclass(frozen=True)
class Oracle:
    """The best schedule of a seed, in hindsight.

    It is the best on the same images that measure its accuracy, so its utility is biased upward, and so are regrets to
    it.

    Attributes:
        seed: the seed of the tree.
        schedule: the letter of each chunk's action, L or M, C for CONSOLIDATE, B for BOTH.
        utility: accuracy - cost_weight × spent.
        accuracy: accuracy of the agent on the validation images that are used for nothing else, 0 to 1.
        spent: cost for a policy that observes nothing, in the unit of the cost model.
        trainings: number of trainings on a chunk that it took to find the schedule.
        separate: number of trainings that one lifetime for each schedule would have taken.
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


def check(config: TreeConfig) -> None:
    """Check the settings without data.

    Raises:
        InvalidSetting: an invalid setting, or too many chunks to grow the tree in full.
    """
    check_settings(config)
    _check_size(config, config.chunks or 1)


def run(config: TreeConfig, run: Run) -> list[Oracle]:
    """Grow or search the tree of every seed that the run directory does not have yet.

    Raises:
        DatasetError: from loading.
        Interrupted: the reporter stopped the experiment; all progress is saved.
        InvalidSetting: settings that the data set or the machine do not allow.
        TrainingDiverged: from the learner.
        RunError: a file cannot be written or read.
    """
    directory, reporter = run.directory, run.reporter
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    unfinished = [seed for seed in seeds if not (directory.path / _result(config, seed)).exists()]
    if unfinished:
        reporter.say("data")
        n = _try_seed(config, unfinished[0], run.access, reporter)
        if config.search == "all":
            reporter.expect(len(unfinished) * n_nodes(n, len(config.actions)))
            for seed in unfinished:
                reporter.say(f"seed {seed}")
                _grow_seed(config, seed, n, run)
        else:
            reporter.expect(len(unfinished))
            reporter.say("searching")
            for _ in run.do(run.task(search_seed, config, seed, part=None) for seed in unfinished):
                reporter.advance(1)
    for seed in seeds:
        shutil.rmtree(growing_in(directory.path, seed), ignore_errors=True)  # a killed process may have left it
    oracles = [_read_oracle(config, directory, seed) for seed in seeds]
    content = {"cost_weight": config.cost_weight, "unit": cost_model(config).unit, "oracle": [*map(asdict, oracles)]}
    directory.write(TREES, json.dumps(content, indent=2) + "\n")
    return oracles


def _try_seed(config: TreeConfig, seed: int, access: Access, reporter: ProgressReporter) -> int:
    """Reject invalid settings before any process begins; returns the number of chunks."""
    world = load_world(config, seed, access, reporter)
    make_episode(config, seed, world, "nothing")
    n = len(world[1].stream)
    _check_size(config, n)
    return n


def _check_size(config: TreeConfig, n_chunks: int) -> None:
    n_actions = len(config.actions)
    if config.search != "beam" and n_actions**n_chunks > LARGEST:
        most = int(math.log(LARGEST, n_actions) + 1e-9)
        raise InvalidSetting(
            f"expected at most {most} chunks for --search {config.search}, got {n_chunks}, which have "
            f"{n_actions}^{n_chunks} schedules; lower --chunks, or --search beam"
        )


def _result(config: TreeConfig, seed: int) -> str:
    """The file of a finished seed, relative to the run directory."""
    return f"seed{seed}/{TABLE if config.search == 'all' else ORACLE}"


def _grow_seed(config: TreeConfig, seed: int, n: int, run: Run) -> None:
    directory, reporter = run.directory, run.reporter
    growing = growing_in(directory.path, seed)
    finished = finished_branches(growing, n, len(config.actions), reporter)
    waiting, executor = [1], run.executor or SerialExecutor(reporter, run.cache)
    while waiting or executor.working:
        branches = []
        while waiting and executor.free:
            node = waiting.pop()
            if node in finished:
                branches.append(finished[node])
                waiting += finished[node].children
            else:
                part = growing.relative_to(directory.path) / str(node)
                executor.begin(run.task(run_branch, config, seed, n, node, part=part.as_posix()))
        if not branches:
            branches = [branch for _, branch in executor.ended()]
            waiting += [child for branch in branches for child in branch.children]
        for branch in branches:
            reporter.advance(branch.n_steps)
            if branch.warning:
                reporter.warn(branch.warning)
    parts = [read_rows(path, n, len(config.actions)) for path in sorted(growing.glob("rows*.npz"))]
    world = load_world(config, seed, run.access, SilentReporter())
    facts = _facts(config, seed, world, run.access)
    table = assemble(parts, facts, [len(chunk) for chunk in world[1].stream])
    directory.write(f"seed{seed}/{TABLE}", table.as_npz())
    shutil.rmtree(growing)


def _facts(config: TreeConfig, seed: int, world: tuple[Dataset, Scenario], access: Access) -> dict[str, Any]:
    dataset, scenario = world
    fitting, evaluated = halves(scenario.validation)
    return {
        "settings": config.model_dump(mode="json"),
        "data": fingerprint(config.dataset, access),
        "seed": seed,
        "actions": list(config.actions),
        "prices": list(scenario.stream.prices),
        "classes": list(dataset.class_names),
        "raw_nbytes": _raw_nbytes(config, scenario),
        "n_fitting": len(fitting),
        "n_evaluated": len(evaluated),
    }


def _raw_nbytes(config: TreeConfig, scenario: Scenario) -> int:
    """Bytes of a raw image that waits in memory for consolidation; 0 if re-keying needs it anyway."""
    images = RawImages(all_kept=False, awaiting=config.consolidate.needs_inputs and not config.rekey.needs_inputs)
    return images.nbytes_of(scenario.stream[0].inputs[:1])


def search_seed(config: TreeConfig, seed: int, site: Site) -> None:
    """The task: a good schedule of a seed, by beam search."""
    episode = episode_of(config, seed, site, "nothing")
    n = episode.observe().n_chunks
    found = beam_search(episode, config.cost_weight, config.beam_width)
    oracle = Oracle(
        seed,
        schedule_of(found.leaf, config.actions),
        found.utility,
        found.accuracy,
        found.spent,
        trainings=found.trainings,
        separate=_n_separate(n, config.actions),
        exact=False,
    )
    site.directory.write(f"seed{seed}/{ORACLE}", json.dumps(asdict(oracle), indent=2) + "\n")


def _read_oracle(config: TreeConfig, directory: RunDirectory, seed: int) -> Oracle:
    path = directory.path / _result(config, seed)
    if config.search != "all":
        try:
            oracle = TypeAdapter(Oracle).validate_python(read_object(path, "--force starts anew"))
        except ValidationError as error:
            field = ".".join(map(str, error.errors()[0]["loc"]))
            raise RunError(f"expected an oracle in {path}, got an invalid {field}; start anew with --force") from None
        if oracle.seed != seed or not np.isfinite([oracle.utility, oracle.accuracy, oracle.spent]).all():
            raise RunError(
                f"expected the oracle of seed {seed} in {path}, got one of another seed or with a number that is not "
                "finite; start anew with --force"
            )
        return oracle
    table = read_table(path)
    if table.facts["seed"] != seed:
        raise RunError(
            f"expected the tree of seed {seed} at {path}, got that of seed {table.facts['seed']}; put it back"
        )
    if _without_paths(table.facts["settings"]) != _without_paths(config.model_dump(mode="json")):
        raise RunError(f"expected a tree with the settings of this run at {path}, got other settings; put it back")
    priced = PricedTable(table, tuple(table.facts["prices"]), cost_model(config))
    leaf = priced.best(config.cost_weight)
    return Oracle(
        seed,
        schedule_of(leaf, table.actions),
        float(priced.utility(config.cost_weight)[leaf]),
        float(table.accuracy[leaf, 0]),
        float(priced.spent[leaf]),
        trainings=table.n_trainings,
        separate=_n_separate(table.n_chunks, table.actions),
        exact=True,
    )


def _n_separate(n: int, actions: Sequence[str]) -> int:
    """The number of trainings on a chunk in one lifetime for each schedule of n chunks."""
    return n * sum(OPERATIONS[name].learns for name in actions) * len(actions) ** (n - 1)


def _without_paths(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without idle ones and without the path of an image folder, whose content the run identifies."""
    idle = settings_of(TreeConfig, "idle")
    dataset = without_path(str(settings["dataset"]))
    return {name: value for name, value in settings.items() if name not in idle} | {"dataset": dataset}


def report(oracles: list[Oracle], config: TreeConfig, path: Path) -> Report:
    """The report of the best schedules."""
    unit = cost_model(config).unit
    found = f" that a beam of {config.beam_width} finds" if config.search == "beam" else ""
    columns = (
        Column("seed"),
        Column("schedule", is_text=True, folds=True),
        *numbers("utility", "accuracy %", f"cost\n{unit}", "trainings", "unshared"),
    )
    table = Table(
        columns,
        tuple(
            (
                str(oracle.seed),
                oracle.schedule,
                percent(oracle.utility),
                percent(oracle.accuracy),
                gflop(oracle.spent),
                f"{oracle.trainings:,}",
                f"{oracle.separate:,}",
            )
            for oracle in oracles
        ),
        f"best schedules{found}: {config.title}",
        f"utility in points: accuracy (on validation images that serve nothing else) - {config.cost_weight:g} × cost "
        f"in {unit}; trainings: on one chunk each, and how many there would be without sharing",
        gap=2,
    )
    content, notes = {"run": str(path), "oracle": [asdict(oracle) for oracle in oracles]}, notes_on_tuning(config)
    if config.search == "beam":
        return Report(content, [table], notes, [("oracle", [path / TREES])], has_trajectories=False)
    facts: list[tuple[str, list[Path | str]]] = [
        ("tables", [path / "seed*" / TABLE]),
        ("evaluate", [f"lifetime evaluate {path} --policies '...'"]),
    ]
    return Report(content, [table], notes, facts, has_trajectories=False)


def _words(config: TreeConfig) -> list[str]:
    return [dataset_word(config.dataset), file_name(config.scenario.spec), f"{config.chunks or 'n'}chunks"]


TREE = Experiment(
    "tree",
    TreeConfig,
    words=_words,
    run=run,
    report=report,
    check=check,
    prepare=lambda config, access: nothing(_try_seed(config, config.first_seed, access, SilentReporter())),
    side_by_side=True,
)
