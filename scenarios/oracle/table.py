"""Every schedule of one short stream as a table: a tabular benchmark of policies."""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from agent.accounting.work import ACCOUNTS
from agent.errors import RunError
from agent.operations import OPERATIONS, Operation
from agent.policies.signals import SIGNALS

_FORMAT = "learn-or-memorize schedule table 4"
_LARGEST = 2**53
"""Of any amount in a table: whole numbers up to it are exact as floating-point numbers, too."""
_LEARN = ACCOUNTS.index("learn")


@dataclass(frozen=True)
class ScheduleTable:
    """What every schedule of a stream of n chunks leads to, by node; no test image was seen for it.

    Nodes are numbered like a heap. The root, before the first chunk, is 1; of b actions the one of number a leads from
    node i to b × i + a. So the nodes after d chunks are those from b^d to below 2 × b^d, and the b^n leaves are the
    schedules. Rows of numbers that no node has, such as 0, are empty. With MEMORIZE (0) and LEARN (1) alone there is
    no such number but 0.

    What is here does not depend on prices: `PricedTable` adds a tariff, a cost model and a budget, and what the decider
    asks to see.

    Attributes:
        facts: settings, seed and versions behind the table; plain values.
        n_samples: of each chunk.
        accuracy: of agent, learner and memory on images that serve nothing else, at every node but the root; NaN for a
            memory that is empty.
        flops: on the way from the parent to the node, by account (`agent.accounting.work.ACCOUNTS`), for who does not
            look; those of calibrating at a leaf are spent after the last chunk, at a price of 1.
        nbytes: likewise, bytes written.
        memory_entries: entries in memory, at every node.
        memory_nbytes: bytes of the memory, with raw images kept for re-keying.
        held_nbytes: bytes that storage is charged for.
        signals: what a policy sees of the chunk at hand (`SIGNALS`); NaN while the memory is empty.
        learner_look: FLOPs of the learner's forward pass over the chunk at hand.
        memory_look: FLOPs of comparing the chunk at hand with the memory.
    """

    facts: Mapping[str, Any]
    n_samples: Int64[np.ndarray, " n"]
    accuracy: Float[np.ndarray, "nodes 3"]
    flops: Int64[np.ndarray, "nodes accounts"]
    nbytes: Int64[np.ndarray, "nodes accounts"]
    memory_entries: Int64[np.ndarray, " nodes"]
    memory_nbytes: Int64[np.ndarray, " nodes"]
    held_nbytes: Int64[np.ndarray, " nodes"]
    signals: Float[np.ndarray, "decisions signals"]
    learner_look: Int64[np.ndarray, " decisions"]
    memory_look: Int64[np.ndarray, " decisions"]

    @property
    def n_chunks(self) -> int:
        """n; there are b^n schedules."""
        return len(self.n_samples)

    @property
    def actions(self) -> tuple[str, ...]:
        """The operations that could be decided on, by number."""
        return tuple(self.facts["actions"])

    @property
    def operations(self) -> list[Operation]:
        """What they do."""
        return [OPERATIONS[name] for name in self.actions]

    def nodes(self, depth: int) -> Int64[np.ndarray, " nodes"]:
        """Those after `depth` chunks."""
        return nodes_at(depth, len(self.actions))

    def chosen(self, nodes: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        """The number of the action that led to each node."""
        return nodes % len(self.actions)

    def parents(self, nodes: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        """Where it was decided on."""
        return nodes // len(self.actions)

    @property
    def n_trainings(self) -> int:
        """Chunks learned from to grow the tree."""
        return int((self.flops[:, _LEARN] > 0).sum())

    @property
    def tells_novelty(self) -> bool:
        """Whether the memory tells how far a chunk lies from what it holds; not every memory can."""
        return not np.isnan(self.signals[:, SIGNALS.index("novelty")]).all()

    @property
    def rekeys_on_learn(self) -> bool:
        """Whether re-keying is part of learning."""
        return bool(self.facts["settings"]["rekey"] == "on-learn")

    def as_npz(self) -> bytes:
        """The table as a NumPy archive, which `read_table` reads; the same bytes for the same table."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        header = json.dumps({"format": _FORMAT, **self.facts}, indent=1).encode("utf-8")
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, values in {"facts": np.frombuffer(header, np.uint8), **arrays}.items():
                member = io.BytesIO()
                np.lib.format.write_array(member, values, allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue(), zipfile.ZIP_DEFLATED)
        return content.getvalue()


_ARRAYS = tuple(name for name in ScheduleTable.__annotations__ if name != "facts")


def _check_facts(facts: dict[str, Any]) -> None:
    """Refuse facts without what everyone asks of them.

    Raises:
        ValueError: one that is missing or odd.
    """
    seed, settings, names = facts.get("seed"), facts.get("settings"), facts.get("actions")
    if not isinstance(names, list) or len(names) < 2 or not all(name in OPERATIONS for name in names):
        raise ValueError(f"actions {names!r}, of which this program has {', '.join(OPERATIONS)}")
    if type(seed) is not int or seed < 0:
        raise ValueError(f"no seed among its facts, but {seed!r}")
    if not isinstance(settings, dict):
        raise ValueError("no settings among its facts")


def read_table(path: Path) -> ScheduleTable:
    """The table in a file; no code in it is run.

    Raises:
        RunError: a file that is missing, damaged or no such table.
    """
    try:
        if not path.is_file():
            raise ValueError("no such file")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            facts = json.loads(archive["facts"].tobytes())
            if facts.pop("format", None) != _FORMAT:
                raise ValueError("another format")
            _check_facts(facts)
            table = ScheduleTable(facts, **{name: archive[name] for name in _ARRAYS})
        _check(table)
    except Exception as error:  # a file can hold anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RunError(f"expected a schedule table at {path}, got: {reason[:200]}; `lifetime tree` grows one") from None
    return table


def are_accuracies(values: Float[np.ndarray, "n 3"]) -> bool:
    """Whether these are accuracies of agent, learner and memory, of which an empty memory alone has none."""
    inside = (values >= 0) & (values <= 1)
    inside[:, 2] |= np.isnan(values[:, 2])
    return bool(inside.all())


def _check(table: ScheduleTable) -> None:
    """Refuse what is no whole table.

    Raises:
        Exception: of any kind.
    """
    if table.n_samples.ndim != 1 or not 1 <= table.n_chunks <= 40:
        raise ValueError("another number of chunks")
    nodes, decisions = n_rows(table.n_chunks, len(table.actions))
    accounts = len(ACCOUNTS)
    shapes = {
        "n_samples": (table.n_chunks,),
        "accuracy": (nodes, 3),
        "flops": (nodes, accounts),
        "nbytes": (nodes, accounts),
        "memory_entries": (nodes,),
        "memory_nbytes": (nodes,),
        "held_nbytes": (nodes,),
        "signals": (decisions, len(SIGNALS)),
        "learner_look": (decisions,),
        "memory_look": (decisions,),
    }
    for name, shape in shapes.items():
        values = getattr(table, name)
        kind = np.float64 if name in ("accuracy", "signals") else np.int64
        if values.shape != shape or values.dtype != kind:
            raise ValueError(f"{name} of shape {values.shape} and type {values.dtype}")
    if not all(are_accuracies(table.accuracy[table.nodes(depth)]) for depth in range(1, table.n_chunks + 1)):
        raise ValueError("nodes without an accuracy in 0..1")
    if (table.n_samples < 1).any():
        raise ValueError("chunks without samples")
    counts = [name for name in shapes if name not in ("accuracy", "signals")]
    if any((getattr(table, name) < 0).any() or (getattr(table, name) > _LARGEST).any() for name in counts):
        raise ValueError("amounts below 0 or beyond all measure")
    seen = table.signals[~np.isnan(table.signals)]
    if not ((seen >= -1e-3) & (seen <= _LARGEST)).all():  # a cosine can be above 1 by rounding
        raise ValueError("signals below 0 or beyond all measure")
    prices = table.facts["prices"]
    if not isinstance(prices, list) or not all(isinstance(price, int | float) and 0 <= price < inf for price in prices):
        raise ValueError("prices that are none")
    if len(prices) != table.n_chunks or not isinstance(table.facts["settings"]["rekey"], str):
        raise ValueError("facts of another tree")


def nodes_at(depth: int, n_actions: int) -> Int64[np.ndarray, " nodes"]:
    """Nodes after `depth` chunks, in the order of their schedules."""
    return np.arange(n_actions**depth, 2 * n_actions**depth)


def n_rows(n_chunks: int, n_actions: int) -> tuple[int, int]:
    """Rows of a table: of arrays over nodes, and of arrays over the nodes where a decision is taken."""
    return 2 * n_actions**n_chunks, 2 * n_actions ** (n_chunks - 1)


def n_nodes(n_chunks: int, n_actions: int) -> int:
    """Nodes below the root."""
    return sum(n_actions**depth for depth in range(1, n_chunks + 1))


def decisions_of(node: int, n_actions: int) -> list[int]:
    """The numbers of the actions that lead to a node, in order."""
    found = []
    while node > 1:
        node, number = divmod(node, n_actions)
        found.append(number)
    return found[::-1]


def schedule_of(node: int, actions: Sequence[str] = ()) -> str:
    """The letters of the actions that lead to a node: L for LEARN, M for MEMORIZE, ...

    Args:
        node: of a tree.
        actions: that the tree knows, by number; without any, all that there are.
    """
    known = "".join(OPERATIONS[name].letter for name in actions or OPERATIONS)
    return "".join(known[number] for number in decisions_of(node, len(known)))
