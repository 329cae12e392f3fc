"""Branches of a tree that is being grown: what has been found of them, and what waits to be lived, on disk.

A branch that waits is a checkpoint under seed<n>/growing/<node>/, and one that has been lived is a file of rows;
whoever is stopped, at any moment, finds there what is left to do. What cannot be read is lived again, from birth.
"""

import io
import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from agent.accounting.work import ACCOUNTS
from agent.errors import CheckpointError, RunError, is_out_of_memory
from agent.lifetime.episode import Episode
from agent.operations import OPERATIONS, actions
from agent.policies.protocol import Observes
from agent.policies.signals import SIGNALS
from agent.storage.checkpoint import Checkpoints
from agent.storage.record import RunDirectory
from scenarios.config.settings import TreeConfig
from scenarios.datasets.load import Dataset
from scenarios.oracle.search import Rows, expand, grow
from scenarios.oracle.table import are_accuracies, decisions_of
from scenarios.running.progress import ProgressReporter, SilentReporter
from scenarios.running.world import load_world, make_episode
from scenarios.streams.scenario import Scenario

WHOLE_BELOW = 3
"""Chunks left to live at which a branch is lived to its end by one process, at a stretch."""


@dataclass(frozen=True)
class Lived:
    """What is left to do after a branch has been lived."""

    n_steps: int
    """Nodes that it led to."""
    children: tuple[int, ...]
    """Nodes from which branches go on."""
    warning: str = ""


def growing_in(path: Path, seed: int) -> Path:
    """The folder in a run where the branches of a seed lie."""
    return path / f"seed{seed}" / "growing"


def lived_before(growing: Path, n: int, reporter: ProgressReporter) -> dict[int, Lived]:
    """By node, the branches that were lived before; files that cannot be read are dropped."""
    lived = {}
    for path in sorted(growing.glob("rows*.npz")):
        try:
            nodes = read_rows(path, n)["nodes"].tolist()
        except RunError as error:
            reporter.warn(f"{error}; living it again")
            path.unlink()
        else:
            node = int(path.stem.removeprefix("rows"))
            lived[node] = Lived(len(nodes), () if _is_lived_whole(node, n) else tuple(nodes))
    return lived


def _is_lived_whole(node: int, n: int) -> bool:
    return n - _depth(node) <= WHOLE_BELOW


def _depth(node: int) -> int:
    return len(decisions_of(node, len(OPERATIONS)))


def live_branch(config: TreeConfig, seed: int, n: int, path: Path, data_dir: Path | None, node: int) -> Lived:
    """Decide every way at a node, or to the end of the lifetime where few chunks are left.

    What is written last is what says that the branch is done.
    """
    run, name = RunDirectory(path), f"seed{seed}/growing"
    episode, warning = episode_of(config, seed, data_dir, "memory"), ""
    if node > 1:
        try:
            _load(episode, run.checkpoints(f"{name}/{node}"))
        except CheckpointError as error:
            warning = f"{error}; living the branch again from birth"
            episode = episode_of(config, seed, data_dir, "memory")
            for number in decisions_of(node, len(OPERATIONS)):
                episode.act(list(actions())[number])
    rows, children = Rows(), []
    if _is_lived_whole(node, n):
        grow(episode, node, rows)
    else:
        for child, branch in expand(episode, node, rows).items():
            run.checkpoints(f"{name}/{child}").save(branch.state())
            children.append(child)
    content = io.BytesIO()
    np.savez(content, **rows.as_arrays())  # type: ignore[arg-type]
    run.write(f"{name}/rows{node}.npz", content.getvalue())
    shutil.rmtree(path / name / str(node), ignore_errors=True)
    return Lived(len(rows.steps), tuple(children), warning)


def _load(episode: Episode, checkpoints: Checkpoints) -> None:
    found = checkpoints.found()
    if not found:
        raise CheckpointError(f"expected a checkpoint in {checkpoints.folder}, found none")
    state = checkpoints.load(found[0])
    Episode.check_state(state, found[0])
    try:
        episode.load_state(state)
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CheckpointError(f"expected a checkpoint that fits at {found[0]}, got {reason}") from None


def read_rows(path: Path, n: int) -> dict[str, np.ndarray]:
    """The rows of a branch, and no others.

    Raises:
        RunError: they are not there.
    """
    try:
        node = int(path.stem.removeprefix("rows"))
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            rows = {name: archive[name] for name in ("nodes", "steps", "decisions", "observations")}
        depths, b = n - _depth(node) if _is_lived_whole(node, n) else 1, len(OPERATIONS)
        decisions = {node * b**d + i for d in range(depths) for i in range(b**d)}
        nodes = {b * decision + i for decision in decisions for i in range(b)}
        if sorted(rows["nodes"].tolist()) != sorted(nodes) or sorted(rows["decisions"].tolist()) != sorted(decisions):
            raise ValueError("rows of other nodes")
        widths = {"steps": (len(nodes), 6 + 2 * len(ACCOUNTS)), "observations": (len(decisions), len(SIGNALS) + 2)}
        if any(rows[name].shape != shape or rows[name].dtype != np.float64 for name, shape in widths.items()):
            raise ValueError("rows of another shape")
        accuracies, amounts = rows["steps"][:, :3], rows["steps"][:, 3:]
        if not (are_accuracies(accuracies) and ((amounts >= 0) & (amounts < 2**53)).all()):
            raise ValueError("accuracies outside 0..1 or amounts that are none")
    except Exception as error:  # a file can hold anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RunError(f"expected rows of a tree in {path}, got: {reason[:200]}") from None
    return rows


@lru_cache(maxsize=1)
def _world(config: TreeConfig, seed: int, data_dir: Path | None) -> tuple[Dataset, Scenario]:
    return load_world(config, seed, data_dir=data_dir, download=False, reporter=SilentReporter())


def episode_of(config: TreeConfig, seed: int, data_dir: Path | None, observes: Observes) -> Episode:
    """A lifetime about to begin; a process loads the data of a seed once."""
    return make_episode(config, seed, _world(config, seed, data_dir), observes)
