"""Branches of a growing tree, on disk, so that an interrupted run loses no finished branch.

A branch that waits is a checkpoint in seed<n>/growing/<node>/. A finished branch is a file of rows, rows<node>.npz. A
branch with an unreadable file is run again from initialization.
"""

import io
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agent.errors import CheckpointError, RunError
from agent.lifetime.episode import Episode
from agent.operations import Action
from agent.policies.protocol import Observes
from agent.policies.signals import SIGNALS
from agent.storage.checkpoint import Checkpoints, must_fit
from scenarios.config.settings import TreeConfig
from scenarios.oracle.search import N_COLUMNS, Rows, expand, grow
from scenarios.oracle.table import LARGEST_AMOUNT, are_accuracies, decisions_of, first_line
from scenarios.running.progress import ProgressReporter, SilentReporter
from scenarios.running.tasks import Site
from scenarios.running.world import load_world, make_episode

_WHOLE_BELOW = 3
"""With this number of chunks left, or fewer, one process runs a branch to the end of the lifetime."""


@dataclass(frozen=True)
class Branch:
    """A finished branch."""

    n_steps: int
    """Number of nodes added to the tree."""
    children: tuple[int, ...]
    """The nodes of the branches that continue it."""
    warning: str = ""


def growing_in(path: Path, seed: int) -> Path:
    """The folder of a seed's branches in a run directory."""
    return path / f"seed{seed}" / "growing"


def finished_branches(growing: Path, n: int, n_actions: int, reporter: ProgressReporter) -> dict[int, Branch]:
    """The finished branches in a stream of n chunks, by node; unreadable files are reported and removed."""
    branches = {}
    for path in sorted(growing.glob("rows*.npz")):
        try:
            nodes = read_rows(path, n, n_actions)["nodes"].tolist()
        except RunError as error:
            reporter.warn(f"{error}; running its branch again")
            path.unlink()
        else:
            node = int(path.stem.removeprefix("rows"))
            branches[node] = Branch(len(nodes), () if _is_whole(node, n, n_actions) else tuple(nodes))
    return branches


def run_branch(config: TreeConfig, seed: int, n: int, node: int, site: Site) -> Branch:
    """Perform every action at a node of a stream of n chunks; if few are left, continue to the end of every lifetime.

    It saves a checkpoint for each child that needs a branch of its own, and then the rows.
    """
    directory, name = site.directory, f"seed{seed}/growing"
    episode, warning = episode_of(config, seed, site, "memory"), ""
    if node > 1:
        try:
            _load(episode, directory.checkpoints(f"{name}/{node}"))
        except CheckpointError as error:
            warning = f"{error}; running the branch again from initialization"
            episode = episode_of(config, seed, site, "memory")
            for number in decisions_of(node, len(config.actions)):
                episode.act(Action(config.actions[number]))
    rows, children = Rows(), []
    if _is_whole(node, n, len(config.actions)):
        grow(episode, node, rows)
    else:
        for child, branch in expand(episode, node, rows).items():
            directory.checkpoints(f"{name}/{child}").save(branch.state())
            children.append(child)
    content = io.BytesIO()
    np.savez(content, **rows.as_arrays())  # type: ignore[arg-type]
    directory.write(f"{name}/rows{node}.npz", content.getvalue())
    shutil.rmtree(directory.path / name / str(node), ignore_errors=True)
    return Branch(len(rows.steps), tuple(children), warning)


def _is_whole(node: int, n: int, n_actions: int) -> bool:
    """Whether one process runs the branch at a node to the end of the lifetime."""
    return n - len(decisions_of(node, n_actions)) <= _WHOLE_BELOW


def _load(episode: Episode, checkpoints: Checkpoints) -> None:
    found = checkpoints.found()
    if not found:
        raise CheckpointError(f"expected a checkpoint in {checkpoints.folder}, found none")
    state = checkpoints.load(found[0])
    Episode.check_state(state, found[0])
    with must_fit(found[0]):
        episode.load_state(state)


def read_rows(path: Path, n: int, n_actions: int) -> dict[str, np.ndarray]:
    """The rows of a finished branch in a stream of n chunks with so many actions each; see `Rows.as_arrays`.

    Raises:
        RunError: the file is damaged or has other rows.
    """
    try:
        node, b = int(path.stem.removeprefix("rows")), n_actions
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            rows = {name: archive[name] for name in ("nodes", "steps", "decisions", "observations")}
        n_levels = n - len(decisions_of(node, b)) if _is_whole(node, n, b) else 1
        decisions = [node * b**depth + i for depth in range(n_levels) for i in range(b**depth)]
        nodes = [b * decision + i for decision in decisions for i in range(b)]
        if sorted(rows["nodes"].tolist()) != nodes or sorted(rows["decisions"].tolist()) != decisions:
            raise ValueError("rows of other nodes")
        shapes = {"steps": (len(nodes), N_COLUMNS), "observations": (len(decisions), len(SIGNALS) + 2)}
        if any(rows[name].shape != shape or rows[name].dtype != np.float64 for name, shape in shapes.items()):
            raise ValueError("rows of another shape")
        accuracies, amounts = rows["steps"][:, :3], rows["steps"][:, 3:]
        if not (are_accuracies(accuracies) and ((amounts >= 0) & (amounts < LARGEST_AMOUNT)).all()):
            raise ValueError("accuracies outside 0..1, or amounts that are negative or too large")
    except Exception as error:  # a file can hold anything
        raise RunError(f"expected rows of a tree in {path}, got: {first_line(error)}") from None
    return rows


def episode_of(config: TreeConfig, seed: int, site: Site, observes: Observes) -> Episode:
    """An episode before its first chunk; a process loads the data of a seed once."""
    world = site.cache.get(seed, lambda: load_world(config, seed, site.access, SilentReporter()))
    return make_episode(config, seed, world, observes)
