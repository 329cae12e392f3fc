"""Growing schedule tables: schedules that begin alike are one lifetime for as long as they are alike."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agent.accounting.utility import utility
from agent.accounting.work import ACCOUNTS
from agent.evaluation.trajectory import Step
from agent.lifetime.episode import Episode
from agent.operations import OPERATIONS, Action, actions
from agent.policies.observation import Observation
from agent.policies.signals import SIGNALS
from scenarios.oracle.table import ScheduleTable, n_nodes, n_rows

_DECIDE, _MEMORIZE = ACCOUNTS.index("decide"), ACCOUNTS.index("memorize")
_EVALUATE = ACCOUNTS.index("evaluate")


@dataclass
class Rows:
    """Rows of a schedule table as they are found, for any of its nodes."""

    steps: dict[int, list[float]] = field(default_factory=dict)
    """By node, what the step that led there came to."""
    observations: dict[int, list[float]] = field(default_factory=dict)
    """By node, what was seen where the decision was taken."""

    def found(self, node: int, observation: Observation, children: dict[Action, Step], before: Step | None) -> None:
        """Add what was observed at a node, and what each action led to.

        Args:
            node: where the decision was taken.
            observation: of an episode that asks to see the memory.
            children: the step of each action.
            before: the step that had led to the node.
        """
        learner_look, memory_look = 0, _look_up_flops(before, observation.n_samples)
        for action, step in children.items():
            child, work = child_of(node, action), _since(step, before)
            learner_look = work[_DECIDE][0] - memory_look
            work[_DECIDE] = work[_EVALUATE] = [0, 0]
            if action.operation.uses_outputs:
                work[_MEMORIZE][0] += learner_look  # the keys, for who has not looked
            self.steps[child] = [*_accuracies(step), step.memory_entries, step.memory_nbytes, step.held_nbytes]
            self.steps[child] += [amount for each in work for amount in each]
        seen = [getattr(observation, name) for name in SIGNALS]
        self.observations[node] = [*seen, learner_look, memory_look]

    def as_arrays(self) -> dict[str, np.ndarray]:
        """All rows, for a file; work stays exact in float64, below 2^53."""
        return {
            "nodes": np.array(list(self.steps), dtype=np.int64),
            "steps": np.array(list(self.steps.values()), dtype=np.float64),
            "decisions": np.array(list(self.observations), dtype=np.int64),
            "observations": np.array(list(self.observations.values()), dtype=np.float64),
        }


def assemble(parts: list[dict[str, np.ndarray]], facts: dict[str, Any], n_samples: list[int]) -> ScheduleTable:
    """The tree that rows of all its nodes make."""
    n, n_accounts, n_actions = len(n_samples), len(ACCOUNTS), len(OPERATIONS)
    nodes, decisions = n_rows(n, n_actions)
    steps = np.zeros((nodes, 6 + 2 * n_accounts))
    steps[:, :3] = np.nan  # where nobody has been asked
    observations = np.full((decisions, len(SIGNALS) + 2), np.nan)
    grown = {1}
    for part in parts:
        steps[part["nodes"]], observations[part["decisions"]] = part["steps"], part["observations"]
        grown.update(part["nodes"].tolist())
    assert len(grown) == 1 + n_nodes(n, n_actions), "a tree with nodes missing"
    observations[np.isnan(observations[:, -1]), -2:] = 0  # of numbers that no node has
    whole = steps[:, 3:]
    whole[1] = 0
    whole = whole.astype(np.int64)
    looks = observations[:, -2:].astype(np.int64)
    work = whole[:, 3:].reshape(-1, n_accounts, 2)
    accuracy = steps[:, :3].copy()
    return ScheduleTable(
        {**facts, "actions": list(OPERATIONS)},
        np.array(n_samples, dtype=np.int64),
        accuracy,
        flops=work[:, :, 0].copy(),
        nbytes=work[:, :, 1].copy(),
        memory_entries=whole[:, 0].copy(),
        memory_nbytes=whole[:, 1].copy(),
        held_nbytes=whole[:, 2].copy(),
        signals=observations[:, :-2].copy(),
        learner_look=looks[:, 0].copy(),
        memory_look=looks[:, 1].copy(),
    )


def child_of(node: int, action: Action) -> int:
    """The node that an action leads to."""
    return len(OPERATIONS) * node + action.number


def decide_all(episode: Episode) -> dict[Action, Episode]:
    """An episode after each action, and no more of it computed twice than must be; the episode is used up."""
    episode.observe()
    *others, last = actions()
    branches = {action: episode.fork() for action in others} | {last: episode}
    for action, branch in branches.items():
        branch.act(action)
    return branches


def grow(episode: Episode, node: int, rows: Rows) -> None:
    """Live every schedule that goes on from an episode, depth first; it is used up.

    Args:
        episode: one that asks to see the memory.
        node: its place in the tree.
        rows: what is found is added.
    """
    if episode.ended:
        return
    for child, branch in expand(episode, node, rows).items():
        grow(branch, child, rows)


def expand(episode: Episode, node: int, rows: Rows) -> dict[int, Episode]:
    """Decide every way at a node; returns the episodes by node."""
    before, observation = episode.steps[-1] if episode.steps else None, episode.observe()
    branches = decide_all(episode)
    rows.found(node, observation, {action: branch.steps[-1] for action, branch in branches.items()}, before)
    return {child_of(node, action): branch for action, branch in branches.items()}


@dataclass
class Found:
    """The best schedule that a search has found, and what the search took."""

    leaf: int = 0
    utility: float = -np.inf
    accuracy: float = 0.0
    spent: float = 0.0
    trainings: int = 0
    """Chunks learned from."""

    def improve(self, leaf: int, episode: Episode, cost_weight: float) -> None:
        """Take a schedule that has ended, if it is better than the best so far."""
        reached = _utility(episode, cost_weight)
        if reached > self.utility:
            step = episode.steps[-1]
            assert step.accuracy is not None
            self.leaf, self.utility, self.accuracy, self.spent = leaf, reached, step.accuracy.agent, step.spent


def beam_search(episode: Episode, cost_weight: float, width: int) -> Found:
    """The best schedule among those that are, at every chunk, among the `width` best so far; no guarantee.

    Args:
        episode: about to begin, of a decider who asks to see nothing.
        cost_weight: accuracy that one unit of cost is worth.
        width: schedules kept, 1 or more.
    """
    found, beam = Found(), {1: episode}
    while not next(iter(beam.values())).ended:
        branches: dict[int, Episode] = {}
        for node, each in beam.items():
            found.trainings += sum(operation.learns for operation in OPERATIONS.values())
            branches |= {child_of(node, action): branch for action, branch in decide_all(each).items()}
        best = sorted(branches, key=lambda node: (-_utility(branches[node], cost_weight), node))
        beam = {node: branches[node] for node in best[:width]}
    for leaf, ended in beam.items():
        found.improve(leaf, ended, cost_weight)
    return found


def _utility(episode: Episode, cost_weight: float) -> float:
    step = episode.steps[-1]
    assert step.accuracy is not None, "episodes that are searched are examined at every chunk"
    return utility(step.accuracy.agent, step.spent, cost_weight)


def _accuracies(step: Step) -> list[float]:
    assert step.accuracy is not None, "trees are examined at every chunk"
    of_memory = step.accuracy.memory
    return [step.accuracy.agent, step.accuracy.learner, np.nan if of_memory is None else of_memory]


def _since(step: Step, before: Step | None) -> list[list[int]]:
    """FLOPs and bytes of each account between two steps."""
    now = [[step.work[account].flops, step.work[account].nbytes] for account in ACCOUNTS]
    if before is None:
        return now
    then = [[before.work[account].flops, before.work[account].nbytes] for account in ACCOUNTS]
    return [[a - c, b - d] for (a, b), (c, d) in zip(now, then, strict=True)]


def _look_up_flops(before: Step | None, n: int) -> int:
    """FLOPs of looking n samples up in the memory as a step has left it."""
    return before.recall_flops + n * before.query_flops if before and before.memory_entries else 0
