"""Every schedule of one short stream as a table: a tabular benchmark of policies."""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64

from agent.costs import CostModel
from agent.errors import RunError
from agent.impressions import DECAY
from agent.lifetime import ask
from agent.observation import Observation
from agent.policies import Action, Policy
from agent.policies.protocol import Observes
from agent.utility import utility
from agent.work import ACCOUNTS

LEARNER_IMPRESSIONS = ("learner_loss", "learner_accuracy", "learner_entropy", "learner_margin")
IMPRESSIONS = (
    *LEARNER_IMPRESSIONS,
    "memory_loss",
    "memory_accuracy",
    "memory_entropy",
    "memory_margin",
    "disagreement",
    "novelty",
)
"""Fields of the observation that a table holds as they were seen; all others follow."""

_FORMAT = "learn-or-memorize decision tree 2"
_LARGEST = 2**53
"""Of any amount in a table: whole numbers up to it are exact as floating-point numbers, too."""
_INTEGERS = frozenset(("step", "n_chunks", "n_samples", "memory_entries", "memory_nbytes"))
_LEARN, _MEMORIZE, _REKEY = (ACCOUNTS.index(account) for account in ("learn", "memorize", "rekey"))
_DECIDE, _CALIBRATE = (ACCOUNTS.index(account) for account in ("decide", "calibrate"))


@dataclass(frozen=True)
class DecisionTree:
    """What every schedule of a stream of n chunks leads to, by node; no test image was seen for it.

    Nodes are numbered like a heap: the root, at birth, is 1; MEMORIZE leads from node i to 2i, LEARN to 2i + 1. The
    2^n leaves, from 2^n on, are the schedules; decisions are taken at the nodes below 2^n. Row 0 is empty.

    What is here does not depend on prices: `priced` adds a tariff, a cost model and a budget, and what the decider asks
    to see.

    Attributes:
        facts: settings, seed and versions behind the table; plain values.
        n_samples: of each chunk.
        accuracy: of agent, learner and memory on images that serve nothing else, at every node but the root; NaN for a
            memory that is empty.
        flops: on the way from the parent to the node, by account (`agent.work.ACCOUNTS`), for who does not look; those
            of calibrating at a leaf are spent after the last chunk, at a price of 1.
        nbytes: likewise, bytes written.
        memory_entries: entries in memory, at every node.
        memory_nbytes: bytes of the memory, with raw images kept for re-keying.
        held_nbytes: bytes that storage is charged for.
        impressions: what a policy sees of the chunk at hand (`IMPRESSIONS`); NaN while the memory is empty.
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
    impressions: Float[np.ndarray, "decisions impressions"]
    learner_look: Int64[np.ndarray, " decisions"]
    memory_look: Int64[np.ndarray, " decisions"]

    @property
    def n_chunks(self) -> int:
        """n; there are 2^n schedules."""
        return len(self.n_samples)

    @property
    def n_trainings(self) -> int:
        """Chunks learned from to grow the tree."""
        return int((self.flops[:, _LEARN] > 0).sum())

    @property
    def rekeys_on_learn(self) -> bool:
        """Whether re-keying is part of learning."""
        return bool(self.facts["settings"]["rekey"] == "on-learn")

    def priced(
        self, prices: Sequence[float], model: CostModel, budget: float = inf, observes: Observes = "nothing"
    ) -> "PricedTree":
        """The tree under a tariff.

        Args:
            prices: of compute at each chunk.
            model: turns work into costs.
            budget: what a lifetime may spend; shown to policies.
            observes: what the decider asks to see of each chunk, and pays for.
        """
        return PricedTree(self, tuple(prices), model, budget, observes)

    def as_npz(self) -> bytes:
        """The table as a NumPy archive, which `read_tree` reads; the same bytes for the same table."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        header = json.dumps({"format": _FORMAT, **self.facts}, indent=1).encode("utf-8")
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, values in {"facts": np.frombuffer(header, np.uint8), **arrays}.items():
                member = io.BytesIO()
                np.lib.format.write_array(member, values, allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue(), zipfile.ZIP_DEFLATED)
        return content.getvalue()


_ARRAYS = tuple(name for name in DecisionTree.__annotations__ if name != "facts")


def _check_facts(facts: dict[str, Any]) -> None:
    """Refuse facts without what everyone asks of them.

    Raises:
        ValueError: one that is missing or odd.
    """
    seed, settings = facts.get("seed"), facts.get("settings")
    if type(seed) is not int or seed < 0:
        raise ValueError(f"no seed among its facts, but {seed!r}")
    if not isinstance(settings, dict):
        raise ValueError("no settings among its facts")


def read_tree(path: Path) -> DecisionTree:
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
            tree = DecisionTree(facts, **{name: archive[name] for name in _ARRAYS})
        _check(tree)
    except Exception as error:  # a file can hold anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RunError(f"expected a decision tree at {path}, got: {reason[:200]}; `lifetime tree` grows one") from None
    return tree


def are_accuracies(values: Float[np.ndarray, "n 3"]) -> bool:
    """Whether these are accuracies of agent, learner and memory, of which an empty memory alone has none."""
    inside = (values >= 0) & (values <= 1)
    inside[:, 2] |= np.isnan(values[:, 2])
    return bool(inside.all())


def _check(tree: DecisionTree) -> None:
    """Refuse what is no whole table.

    Raises:
        Exception: of any kind.
    """
    if tree.n_samples.ndim != 1 or not 1 <= tree.n_chunks <= 40:
        raise ValueError("another number of chunks")
    nodes, decisions, accounts = 2 << tree.n_chunks, 1 << tree.n_chunks, len(ACCOUNTS)
    shapes = {
        "n_samples": (tree.n_chunks,),
        "accuracy": (nodes, 3),
        "flops": (nodes, accounts),
        "nbytes": (nodes, accounts),
        "memory_entries": (nodes,),
        "memory_nbytes": (nodes,),
        "held_nbytes": (nodes,),
        "impressions": (decisions, len(IMPRESSIONS)),
        "learner_look": (decisions,),
        "memory_look": (decisions,),
    }
    for name, shape in shapes.items():
        values = getattr(tree, name)
        kind = np.float64 if name in ("accuracy", "impressions") else np.int64
        if values.shape != shape or values.dtype != kind:
            raise ValueError(f"{name} of shape {values.shape} and type {values.dtype}")
    if not are_accuracies(tree.accuracy[2:]):
        raise ValueError("nodes without an accuracy in 0..1")
    if (tree.n_samples < 1).any():
        raise ValueError("chunks without samples")
    counts = [name for name in shapes if name not in ("accuracy", "impressions")]
    if any((getattr(tree, name) < 0).any() or (getattr(tree, name) > _LARGEST).any() for name in counts):
        raise ValueError("amounts below 0 or beyond all measure")
    seen = tree.impressions[~np.isnan(tree.impressions)]
    if not ((seen >= -1e-3) & (seen <= _LARGEST)).all():  # a cosine can be above 1 by rounding
        raise ValueError("impressions below 0 or beyond all measure")
    prices = tree.facts["prices"]
    if not isinstance(prices, list) or not all(isinstance(price, int | float) and 0 <= price < inf for price in prices):
        raise ValueError("prices that are none")
    if len(prices) != tree.n_chunks or not isinstance(tree.facts["settings"]["rekey"], str):
        raise ValueError("facts of another tree")


@dataclass(frozen=True)
class PricedTree:
    """A tree under a tariff, a cost model and a budget, for deciders who ask to see the same; see `DecisionTree`.

    What is spent and observed equals, to the bit, what a lifetime under the same decisions would spend and observe.
    """

    tree: DecisionTree
    prices: tuple[float, ...]
    model: CostModel
    budget: float
    observes: Observes

    @cached_property
    def _costs(self) -> tuple[np.ndarray, np.ndarray]:
        """Costs by account and storage, since birth: at every node, and where the chunk at hand has been looked at."""
        tree, model, n = self.tree, self.model, self.tree.n_chunks
        spent, looked = (np.zeros((2 << n, len(ACCOUNTS) + 1)), np.zeros((1 << n, len(ACCOUNTS) + 1)))
        look = self._look_flops
        for depth, price in enumerate(self.prices):
            here = np.arange(1 << depth, 2 << depth)
            looked[here] = spent[here]
            looked[here, _DECIDE] += look[here] * model.per_flop * price
            nodes = np.arange(2 << depth, 4 << depth)
            costs = looked[nodes >> 1].copy()
            at = np.full(len(ACCOUNTS), price)
            if depth == n - 1:
                at[_CALIBRATE] = 1.0  # after the stream
            costs[:, :-1] += self._flops[nodes] * model.per_flop * at + tree.nbytes[nodes] * model.per_byte_written
            costs[:, -1] += tree.held_nbytes[nodes] * model.per_byte_chunk
            spent[nodes] = costs
        return spent, looked

    @cached_property
    def _look_flops(self) -> np.ndarray:
        shown = {
            "nothing": 0,
            "learner": self.tree.learner_look,
            "memory": self.tree.learner_look + self.tree.memory_look,
        }
        return np.broadcast_to(shown[self.observes], self.tree.learner_look.shape)

    @cached_property
    def _flops(self) -> np.ndarray:
        """As in the tree; keys of a chunk that has been looked at are there."""
        flops = self.tree.flops
        if self.observes != "nothing":
            flops, memorized = flops.copy(), np.arange(2, len(flops), 2)
            flops[memorized, _MEMORIZE] -= self.tree.learner_look[memorized >> 1]
        return flops

    @cached_property
    def spent(self) -> Float[np.ndarray, " nodes"]:
        """What the agent has paid at every node, in the unit of the cost model."""
        return _total(self._costs[0])

    def utility(self, cost_weight: float) -> Float[np.ndarray, " nodes"]:
        """Utility at every node (`agent.utility`); 0 at the root and NaN in row 0.

        Nothing has been answered or paid for at birth, so that rewards, the differences along a lifetime, sum to the
        utility of its end.
        """
        values = utility(self.tree.accuracy[:, 0], self.spent, cost_weight)
        values[:2] = np.nan, 0.0
        return values

    @cached_property
    def vectors(self) -> Float[np.ndarray, "decisions fields"]:
        """`Observation.vector` at every node where a decision is taken; row 0 is empty."""
        tree, n = self.tree, self.tree.n_chunks
        nodes = np.arange(1 << n)
        depth = np.zeros(1 << n, dtype=np.int64)
        samples, learned = np.zeros(2 << n, dtype=np.int64), np.zeros(2 << n, dtype=np.int64)
        flops = np.zeros((1 << n, len(ACCOUNTS)), dtype=np.int64)
        for d in range(n):
            here, below = np.arange(1 << d, 2 << d), np.arange(2 << d, 4 << d)
            depth[here] = d
            samples[below] = samples[below >> 1] + tree.n_samples[d]
            learned[below] = learned[below >> 1] + (below & 1) * tree.n_samples[d]
            if d:
                flops[here] = flops[here >> 1] + self._flops[here]
            flops[here, _DECIDE] += self._look_flops[here]
        learning = [_LEARN, _REKEY] if tree.rekeys_on_learn else [_LEARN]
        learn_flops = tree.flops[1::2][nodes][:, learning].sum(axis=1)  # of the child that learns
        learn_nbytes = tree.nbytes[1::2][nodes][:, learning].sum(axis=1)
        memorize_flops = self._flops[::2][nodes][:, _MEMORIZE]  # of the child that memorizes
        memorize_nbytes = tree.nbytes[::2][nodes][:, _MEMORIZE]  # all of which is held from then on
        price, costs = np.array(self.prices)[depth], self._costs[1]
        spent, model = _total(costs), self.model
        share = learned[nodes] / np.maximum(samples[nodes], 1)
        columns: dict[str, Any] = {
            "step": depth,
            "n_chunks": n,
            "n_samples": tree.n_samples[depth],
            "seen": depth / n,
            "learned": share,
            "memorized": np.where(depth > 0, 1 - share, 0.0),
            "memory_entries": tree.memory_entries[nodes],
            "memory_nbytes": tree.memory_nbytes[nodes],
            "price": price,
            "spent": spent,
            "left": np.maximum(0.0, self.budget - spent),
            "spent_gflop": flops.sum(axis=1) / 1e9,
            "learning_spent": _total(costs[:, learning]),
            "learning_spent_gflop": flops[:, learning].sum(axis=1) / 1e9,
            "learn_gflop": learn_flops / 1e9,
            "learn_cost": learn_flops * model.per_flop * price + learn_nbytes * model.per_byte_written,
            "memorize_gflop": memorize_flops / 1e9,
            "memorize_cost": memorize_flops * model.per_flop * price
            + memorize_nbytes * model.per_byte_written
            + memorize_nbytes * model.per_byte_chunk,
            **self._seen(),
        }
        names = Observation.names()
        vectors = np.stack([np.broadcast_to(columns.get(name, np.nan), nodes.shape) for name in names], axis=1)
        return np.ascontiguousarray(vectors, dtype=np.float64)

    def _seen(self) -> dict[str, np.ndarray]:
        """Impressions and their running averages (`agent.impressions.RunningAverages`), as far as is asked for."""
        shown = {"nothing": (), "learner": LEARNER_IMPRESSIONS, "memory": IMPRESSIONS}[self.observes]
        n = self.tree.n_chunks
        found: dict[str, np.ndarray] = {}
        decayed = np.array([1.0] + [1 - DECAY**i for i in range(1, n + 1)])
        for name in shown:
            values = self.tree.impressions[:, IMPRESSIONS.index(name)]
            sums, counts, means = np.zeros(1 << n), np.zeros(1 << n, dtype=np.int64), np.full(1 << n, np.nan)
            for d in range(n):
                here = np.arange(1 << d, 2 << d)
                there = ~np.isnan(values[here])
                before = here >> 1
                earlier = np.where(counts[before] > 0, sums[before] / decayed[counts[before]], values[here])
                means[here] = np.where(there, earlier, np.nan)
                sums[here] = np.where(there, DECAY * sums[before] + (1 - DECAY) * values[here], sums[before])
                counts[here] = counts[before] + there
            found |= {name: values, f"mean_{name}": means}
        return found

    def observation(self, node: int) -> Observation:
        """What is known where a decision is taken."""
        if node not in self._observations:
            named = zip(Observation.names(), self.vectors[node].tolist(), strict=True)
            self._observations[node] = Observation(**{n: int(v) if n in _INTEGERS else v for n, v in named})
        return self._observations[node]

    @cached_property
    def _observations(self) -> dict[int, Observation]:
        """Of the nodes where somebody has been: most of a tree is never visited."""
        return {}

    def follow(self, learns: Bool[np.ndarray, " decisions"]) -> int:
        """The leaf that a decision at every node leads to: True where it is LEARN."""
        node = 1
        for _ in range(self.tree.n_chunks):
            node = 2 * node + int(learns[node])
        return node

    def live(self, policy: Policy) -> int:
        """The leaf that a policy, newly made, comes to; it must ask to see what the tree is priced for.

        Raises:
            PolicyError: from a policy of the user's own.
        """
        assert policy.observes == self.observes
        node = 1
        for _ in range(self.tree.n_chunks):
            node = 2 * node + (ask(policy, self.observation(node)) is Action.LEARN)
        return node

    def best(self, cost_weight: float) -> int:
        """The leaf of highest utility: the oracle's, of equals the one that memorizes first."""
        n_leaves = 1 << self.tree.n_chunks
        return n_leaves + int(np.argmax(self.utility(cost_weight)[n_leaves:]))


def schedule_of(leaf: int) -> str:
    """The decisions that lead to a node: L for LEARN, M for MEMORIZE."""
    return bin(leaf)[3:].replace("1", "L").replace("0", "M")


def _total(costs: np.ndarray) -> np.ndarray:
    """Row sums, from left to right as `Ledger.spent` adds: other orders give other last digits."""
    total = np.zeros(len(costs))
    for column in costs.T:
        total = total + column
    return total
