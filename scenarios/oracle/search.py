"""Growing and searching trees of schedules. Schedules with the same first actions share these steps of a lifetime."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agent.accounting.utility import utility
from agent.accounting.work import ACCOUNTS
from agent.evaluation.scores import Accuracy
from agent.evaluation.trajectory import Step
from agent.lifetime.episode import Episode
from agent.operations import OPERATIONS, Action
from agent.policies.observation import Observation
from agent.policies.signals import SIGNALS
from scenarios.oracle.table import ScheduleTable, n_nodes, n_rows

N_COLUMNS = 7 + 2 * len(ACCOUNTS)
"""Columns of `Rows.steps`."""

_DECIDE, _EVALUATE = ACCOUNTS.index("decide"), ACCOUNTS.index("evaluate")


@dataclass
class Rows:
    """Rows of a schedule table, for any of its nodes."""

    steps: dict[int, list[float]] = field(default_factory=dict)
    """The step that led to a node, by node: three accuracies, samples learned, memory entries, memory and held bytes,
    then the FLOPs and bytes of each account."""
    observations: dict[int, list[float]] = field(default_factory=dict)
    """The observation at a node with a decision, by node: the signals, then the FLOPs of the forward pass and of the
    comparison with the memory."""

    def add(self, node: int, observation: Observation, children: dict[Action, Step], before: Step | None) -> None:
        """Add the observation at a node and the step of each action there.

        Args:
            node: the node of the decision.
            observation: of an episode that observes the memory.
            children: the step of each action.
            before: the step that led to the node; None at the root.
        """
        memory_look = 0
        if before and before.memory_entries:
            memory_look = before.recall_flops + observation.n_samples * before.query_flops
        learner_look = 0
        for action, step in children.items():
            work = _work_since(step, before)
            learner_look = work[_DECIDE][0] - memory_look
            work[_DECIDE] = work[_EVALUATE] = [0, 0]
            if account := action.operation.outputs_account:  # a policy that observes nothing has no outputs yet
                work[ACCOUNTS.index(account)][0] += learner_look
            accuracy = _accuracy_of(step)
            self.steps[_child_of(node, action, observation.actions)] = [
                *(accuracy.agent, accuracy.learner, np.nan if accuracy.memory is None else accuracy.memory),
                *(step.learned, step.memory_entries, step.memory_nbytes, step.held_nbytes),
                *(amount for flops_and_nbytes in work for amount in flops_and_nbytes),
            ]
        signals = [getattr(observation, name) for name in SIGNALS]
        self.observations[node] = [*signals, learner_look, memory_look]

    def as_arrays(self) -> dict[str, np.ndarray]:
        """All rows, for a file; float64 is exact for amounts below 2^53."""
        return {
            "nodes": np.array(list(self.steps), dtype=np.int64),
            "steps": np.array(list(self.steps.values()), dtype=np.float64),
            "decisions": np.array(list(self.observations), dtype=np.int64),
            "observations": np.array(list(self.observations.values()), dtype=np.float64),
        }


def assemble(parts: list[dict[str, np.ndarray]], facts: dict[str, Any], n_samples: list[int]) -> ScheduleTable:
    """Build the table from the rows of all its nodes.

    Args:
        parts: `Rows.as_arrays` of all branches.
        facts: settings, seed, actions and versions behind the table, as plain values.
        n_samples: number of samples in each chunk.
    """
    n, n_accounts, n_actions = len(n_samples), len(ACCOUNTS), len(facts["actions"])
    nodes, decisions = n_rows(n, n_actions)
    steps = np.zeros((nodes, N_COLUMNS))
    steps[:, :3] = np.nan
    observations = np.full((decisions, len(SIGNALS) + 2), np.nan)
    grown = {1}
    for part in parts:
        steps[part["nodes"]], observations[part["decisions"]] = part["steps"], part["observations"]
        grown.update(part["nodes"].tolist())
    assert len(grown) == 1 + n_nodes(n, n_actions), "a tree with nodes missing"
    observations[np.isnan(observations[:, -1]), -2:] = 0  # rows that belong to no node
    amounts = steps[:, 3:].astype(np.int64)
    looks = observations[:, -2:].astype(np.int64)
    work = amounts[:, 4:].reshape(-1, n_accounts, 2)
    return ScheduleTable(
        facts,
        np.array(n_samples, dtype=np.int64),
        accuracy=steps[:, :3].copy(),
        flops=work[:, :, 0].copy(),
        nbytes=work[:, :, 1].copy(),
        learned=amounts[:, 0].copy(),
        memory_entries=amounts[:, 1].copy(),
        memory_nbytes=amounts[:, 2].copy(),
        held_nbytes=amounts[:, 3].copy(),
        signals=observations[:, :-2].copy(),
        learner_look=looks[:, 0].copy(),
        memory_look=looks[:, 1].copy(),
    )


def grow(episode: Episode, node: int, rows: Rows) -> None:
    """Run every schedule that continues an episode, depth first; the episode cannot be used afterwards.

    Args:
        episode: an episode that observes the memory.
        node: its node in the tree.
        rows: the rows of all nodes below are added to it.
    """
    if episode.ended:
        return
    for child, branch in expand(episode, node, rows).items():
        grow(branch, child, rows)


def expand(episode: Episode, node: int, rows: Rows) -> dict[int, Episode]:
    """Perform every action at a node and add its rows; returns the episodes by child node."""
    before, observation = episode.steps[-1] if episode.steps else None, episode.observe()
    branches = _perform_all(episode)
    rows.add(node, observation, {action: branch.steps[-1] for action, branch in branches.items()}, before)
    return {_child_of(node, action, observation.actions): branch for action, branch in branches.items()}


@dataclass(frozen=True)
class Found:
    """The best schedule of a search.

    Attributes:
        leaf: its leaf in the tree.
        utility: accuracy - cost_weight × spent.
        accuracy: accuracy of the agent, 0 to 1.
        spent: cost, in the unit of the cost model.
        trainings: number of trainings on a chunk that the search took.
    """

    leaf: int
    utility: float
    accuracy: float
    spent: float
    trainings: int


def beam_search(episode: Episode, cost_weight: float, width: int) -> Found:
    """Search for the best schedule with a beam: it retains the `width` best branches after every chunk.

    A better schedule may exist.

    Args:
        episode: an episode before its first chunk that observes nothing.
        cost_weight: accuracy that one unit of cost is worth.
        width: number of branches to retain, 1 or more.
    """
    trainings, beam = 0, {1: episode}
    while not next(iter(beam.values())).ended:
        branches: dict[int, Episode] = {}
        for node, each in beam.items():
            actions = each.observe().actions
            trainings += sum(OPERATIONS[name].learns for name in actions)
            branches |= {_child_of(node, action, actions): branch for action, branch in _perform_all(each).items()}
        best = sorted(branches, key=lambda node: (-_utility(branches[node], cost_weight), node))
        beam = {node: branches[node] for node in best[:width]}
    leaf, ended = next(iter(beam.items()))
    last = ended.steps[-1]
    return Found(leaf, _utility(ended, cost_weight), _accuracy_of(last).agent, last.spent, trainings)


def _child_of(node: int, action: Action, actions: Sequence[str]) -> int:
    return len(actions) * node + actions.index(action.name)


def _perform_all(episode: Episode) -> dict[Action, Episode]:
    """Fork an episode and perform each action once; the forks share the observation, and the last is the original."""
    *others, last = map(Action, episode.observe().actions)
    branches = {action: episode.fork() for action in others} | {last: episode}
    for action, branch in branches.items():
        branch.act(action)
    return branches


def _utility(episode: Episode, cost_weight: float) -> float:
    step = episode.steps[-1]
    return utility(_accuracy_of(step).agent, step.spent, cost_weight)


def _accuracy_of(step: Step) -> Accuracy:
    assert step.accuracy is not None, "trees are evaluated after every chunk"
    return step.accuracy


def _work_since(step: Step, before: Step | None) -> list[list[int]]:
    """FLOPs and bytes of each account between two steps; since initialization if `before` is None."""
    work = [[step.work[account].flops, step.work[account].nbytes] for account in ACCOUNTS]
    if before is None:
        return work
    return [
        [flops - before.work[account].flops, nbytes - before.work[account].nbytes]
        for account, (flops, nbytes) in zip(ACCOUNTS, work, strict=True)
    ]
