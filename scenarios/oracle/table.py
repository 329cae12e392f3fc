"""A table of all schedules of one short stream: a tabular benchmark of policies."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from agent.accounting.work import ACCOUNTS
from agent.errors import InvalidSetting, RunError
from agent.operations import OPERATIONS, Action, Operation
from agent.policies.signals import SIGNALS
from agent.storage.npz import npz_bytes

_FORMAT = "learn-or-memorize schedule table 4"
LARGEST_AMOUNT = 2**53
"""Limit of all amounts in a table: float64 represents whole numbers up to it exactly."""
_LEARN = ACCOUNTS.index("learn")


@dataclass(frozen=True)
class ScheduleTable:
    """The outcome of every schedule of a stream of n chunks, by tree node. Test images are not used for it.

    Nodes are numbered like a heap. The root, before the first chunk, is node 1. With b actions, action number a leads
    from node i to node b × i + a. So the nodes after d chunks are b^d to 2 × b^d - 1, and the b^n leaves are the
    schedules. Some row numbers, such as 0, belong to no node; their rows are empty. With two actions, MEMORIZE (0) and
    LEARN (1), row 0 is the only such row.

    The table does not depend on prices: `PricedTable` adds a tariff, a cost model, a budget and what policies observe.

    Attributes:
        facts: settings, seed and versions behind the table, as plain values.
        n_samples: number of samples in each chunk.
        accuracy: accuracy of agent, learner and memory on images that are used for nothing else, at every node but the
            root; NaN for an empty memory.
        flops: FLOPs from the parent to the node, by account (`agent.accounting.work.ACCOUNTS`), for a policy that
            observes nothing. The calibration at a leaf comes after the last chunk, at a price of 1.
        nbytes: bytes written from the parent to the node, by account, for the same policy.
        learned: number of samples that the learner was given since initialization, at every node.
        memory_entries: number of entries in memory, at every node.
        memory_nbytes: bytes of the memory, with the raw images stored beside it.
        held_nbytes: bytes that storage is charged for.
        signals: the signals (`SIGNALS`) that a policy observes of the next chunk; NaN while the memory is empty.
        learner_look: FLOPs of the learner's forward pass on the next chunk.
        memory_look: FLOPs of the comparison of the next chunk with the memory.
    """

    facts: Mapping[str, Any]
    n_samples: Int64[np.ndarray, " n"]
    accuracy: Float[np.ndarray, "nodes 3"]
    flops: Int64[np.ndarray, "nodes accounts"]
    nbytes: Int64[np.ndarray, "nodes accounts"]
    learned: Int64[np.ndarray, " nodes"]
    memory_entries: Int64[np.ndarray, " nodes"]
    memory_nbytes: Int64[np.ndarray, " nodes"]
    held_nbytes: Int64[np.ndarray, " nodes"]
    signals: Float[np.ndarray, "decisions signals"]
    learner_look: Int64[np.ndarray, " decisions"]
    memory_look: Int64[np.ndarray, " decisions"]

    @property
    def n_chunks(self) -> int:
        """Number of chunks, n; there are b^n schedules."""
        return len(self.n_samples)

    @property
    def actions(self) -> tuple[str, ...]:
        """The names of the operations to choose from, by number."""
        return tuple(self.facts["actions"])

    @property
    def operations(self) -> list[Operation]:
        """The operations to choose from, by number."""
        return [OPERATIONS[name] for name in self.actions]

    def nodes(self, depth: int) -> Int64[np.ndarray, " nodes"]:
        """The nodes after `depth` chunks, in the order of their schedules."""
        first = len(self.actions) ** depth
        return np.arange(first, 2 * first)

    def number_of(self, action: Action) -> int:
        """The number of an action in this table.

        Raises:
            InvalidSetting: the table does not have it.
        """
        if action.name not in self.actions:
            raise InvalidSetting(
                f"expected one of the actions {', '.join(self.actions)}, as the table has them, got {action.name}; "
                f"grow another table{f' with {option}' if (option := action.operation.option) else ''}"
            )
        return self.actions.index(action.name)

    def chosen(self, nodes: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        """The number of the action that led to each node."""
        return nodes % len(self.actions)

    def parents(self, nodes: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        """The parent of each node."""
        return nodes // len(self.actions)

    @property
    def n_trainings(self) -> int:
        """Number of trainings on a chunk that it took to grow the tree."""
        return int((self.flops[:, _LEARN] > 0).sum())

    @property
    def tells_novelty(self) -> bool:
        """Whether the memory measures novelty; not every memory can."""
        return not np.isnan(self.signals[:, SIGNALS.index("novelty")]).all()

    @property
    def rekeys_on_learn(self) -> bool:
        """Whether re-keying is part of learning."""
        return bool(self.facts["settings"]["rekey"] == "on-learn")

    def as_npz(self) -> bytes:
        """The table as a NumPy archive for `read_table`; the same table gives the same bytes."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        if np.array_equal(self.learned, learned_by_chunk(self.n_samples, self.operations)):
            del arrays["learned"]
        header = json.dumps({"format": _FORMAT, **self.facts}, indent=1).encode("utf-8")
        return npz_bytes({"facts": np.frombuffer(header, np.uint8), **arrays})


_ARRAYS = tuple(name for name in ScheduleTable.__annotations__ if name != "facts")


def read_table(path: Path) -> ScheduleTable:
    """Read a table from a file; code in the file is not run.

    Raises:
        RunError: the file is missing, damaged or not a schedule table.
    """
    try:
        if not path.is_file():
            raise ValueError("no such file")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            facts = json.loads(archive["facts"].tobytes())
            if facts.pop("format", None) != _FORMAT:
                raise ValueError("another format")
            arrays = {name: archive[name] for name in _ARRAYS if name != "learned" or name in archive}
        _check_facts(facts, len(arrays["n_samples"]))
        if "learned" not in arrays:
            arrays["learned"] = learned_by_chunk(arrays["n_samples"], [OPERATIONS[name] for name in facts["actions"]])
        table = ScheduleTable(facts, **arrays)
        _check_arrays(table)
    except Exception as error:  # a file can hold anything
        reason = first_line(error)
        raise RunError(f"expected a schedule table at {path}, got: {reason}; `lifetime tree` grows one") from None
    return table


def first_line(error: Exception) -> str:
    """The first line of an error message, at most 200 characters; the type of the error if there is no message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _check_facts(facts: dict[str, Any], n_chunks: int) -> None:
    seed, settings, names, prices = (facts.get(name) for name in ("seed", "settings", "actions", "prices"))
    if not isinstance(names, list) or len(names) < 2 or not all(name in OPERATIONS for name in names):
        raise ValueError(f"actions {names!r}, of which this program has {', '.join(OPERATIONS)}")
    if type(seed) is not int or seed < 0:
        raise ValueError(f"no seed among its facts, but {seed!r}")
    if not isinstance(settings, dict) or not isinstance(settings.get("rekey"), str):
        raise ValueError("no settings among its facts")
    if not isinstance(prices, list) or not all(isinstance(price, int | float) and 0 <= price < inf for price in prices):
        raise ValueError("invalid prices")
    if len(prices) != n_chunks:
        raise ValueError(f"{len(prices)} prices for {n_chunks} chunks")


def are_accuracies(values: Float[np.ndarray, "n 3"]) -> bool:
    """Whether all values are accuracies of agent, learner and memory: in [0, 1], or NaN for an empty memory."""
    inside = (values >= 0) & (values <= 1)
    inside[:, 2] |= np.isnan(values[:, 2])
    return bool(inside.all())


def _check_arrays(table: ScheduleTable) -> None:
    if table.n_samples.ndim != 1 or not 1 <= table.n_chunks <= 40:
        raise ValueError("another number of chunks")
    nodes, decisions = n_rows(table.n_chunks, len(table.actions))
    shapes: dict[str, tuple[int, ...]] = {
        "n_samples": (table.n_chunks,),
        "accuracy": (nodes, 3),
        "flops": (nodes, len(ACCOUNTS)),
        "nbytes": (nodes, len(ACCOUNTS)),
        "learned": (nodes,),
        "memory_entries": (nodes,),
        "memory_nbytes": (nodes,),
        "held_nbytes": (nodes,),
        "signals": (decisions, len(SIGNALS)),
        "learner_look": (decisions,),
        "memory_look": (decisions,),
    }
    for name, shape in shapes.items():
        values, is_count = getattr(table, name), name not in ("accuracy", "signals")
        if values.shape != shape or values.dtype != (np.int64 if is_count else np.float64):
            raise ValueError(f"{name} of shape {values.shape} and type {values.dtype}")
        if is_count and ((values < 0) | (values > LARGEST_AMOUNT)).any():
            raise ValueError(f"amounts below 0 or above {LARGEST_AMOUNT} in {name}")
    if not all(are_accuracies(table.accuracy[table.nodes(depth)]) for depth in range(1, table.n_chunks + 1)):
        raise ValueError("nodes without an accuracy in 0..1")
    if (table.n_samples < 1).any():
        raise ValueError("chunks without samples")
    seen = table.signals[~np.isnan(table.signals)]
    if not ((seen >= -1e-3) & (seen <= LARGEST_AMOUNT)).all():  # a cosine can be above 1 by rounding
        raise ValueError(f"signals below 0 or above {LARGEST_AMOUNT}")


def learned_by_chunk(
    n_samples: Int64[np.ndarray, " n"], operations: Sequence[Operation]
) -> Int64[np.ndarray, " nodes"]:
    """Samples learned at every node if each action that learns learns its chunk; a file then leaves them out."""
    b = len(operations)
    learned = np.zeros(n_rows(len(n_samples), b)[0], dtype=np.int64)
    learns = np.array([operation.learns for operation in operations], dtype=np.int64)
    for depth, n in enumerate(n_samples):
        nodes = np.arange(b ** (depth + 1), 2 * b ** (depth + 1))
        learned[nodes] = learned[nodes // b] + learns[nodes % b] * n
    return learned


def n_rows(n_chunks: int, n_actions: int) -> tuple[int, int]:
    """The number of rows of arrays over all nodes, and of arrays over the nodes with a decision."""
    return 2 * n_actions**n_chunks, 2 * n_actions ** (n_chunks - 1)


def n_nodes(n_chunks: int, n_actions: int) -> int:
    """The number of nodes without the root."""
    return sum(n_actions**depth for depth in range(1, n_chunks + 1))


def decisions_of(node: int, n_actions: int) -> list[int]:
    """The numbers of the actions that lead to a node, in order."""
    found = []
    while node > 1:
        node, number = divmod(node, n_actions)
        found.append(number)
    return found[::-1]


def schedule_of(node: int, actions: Sequence[str] = ("memorize", "learn")) -> str:
    """The letters of the actions that lead to a node: L for LEARN, M for MEMORIZE, ...

    Args:
        node: its number.
        actions: names of the actions of the tree, by number.
    """
    letters = [OPERATIONS[name].letter for name in actions]
    return "".join(letters[number] for number in decisions_of(node, len(letters)))
