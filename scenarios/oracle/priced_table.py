"""A schedule table under a tariff, a cost model and a budget."""

from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from agent.accounting.costs import CostModel
from agent.accounting.utility import utility
from agent.accounting.work import ACCOUNTS
from agent.lifetime.loop import ask
from agent.policies import Action, Policy
from agent.policies.observation import Observation
from agent.policies.protocol import Observes
from agent.policies.signals import DECAY, LEARNER_SIGNALS, SIGNALS
from scenarios.oracle.table import ScheduleTable

_INTEGERS = frozenset(("step", "n_chunks", "n_samples", "memory_entries", "memory_nbytes"))
_LEARN, _MEMORIZE, _REKEY = (ACCOUNTS.index(account) for account in ("learn", "memorize", "rekey"))
_DECIDE, _CALIBRATE = (ACCOUNTS.index(account) for account in ("decide", "calibrate"))


@dataclass(frozen=True)
class PricedTable:
    """A tree under a tariff, a cost model and a budget, for deciders who ask to see the same; see `ScheduleTable`.

    What is spent and observed equals, to the bit, what a lifetime under the same decisions would spend and observe.
    """

    table: ScheduleTable
    prices: tuple[float, ...]
    model: CostModel
    budget: float = inf
    observes: Observes = "nothing"

    @cached_property
    def _costs(self) -> tuple[np.ndarray, np.ndarray]:
        """Costs by account and storage, since birth: at every node, and where the chunk at hand has been looked at."""
        table, model, n = self.table, self.model, self.table.n_chunks
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
            costs[:, :-1] += self._flops[nodes] * model.per_flop * at + table.nbytes[nodes] * model.per_byte_written
            costs[:, -1] += table.held_nbytes[nodes] * model.per_byte_chunk
            spent[nodes] = costs
        return spent, looked

    @cached_property
    def _look_flops(self) -> np.ndarray:
        shown = {
            "nothing": 0,
            "learner": self.table.learner_look,
            "memory": self.table.learner_look + self.table.memory_look,
        }
        return np.broadcast_to(shown[self.observes], self.table.learner_look.shape)

    @cached_property
    def _flops(self) -> np.ndarray:
        """As in the tree; keys of a chunk that has been looked at are there."""
        flops = self.table.flops
        if self.observes != "nothing":
            flops, memorized = flops.copy(), np.arange(2, len(flops), 2)
            flops[memorized, _MEMORIZE] -= self.table.learner_look[memorized >> 1]
        return flops

    @cached_property
    def spent(self) -> Float[np.ndarray, " nodes"]:
        """What the agent has paid at every node, in the unit of the cost model."""
        return _total(self._costs[0])

    def utility(self, cost_weight: float) -> Float[np.ndarray, " nodes"]:
        """Utility at every node (`agent.accounting.utility`); 0 at the root and NaN in row 0.

        Nothing has been answered or paid for at birth, so that rewards, the differences along a lifetime, sum to the
        utility of its end.
        """
        values = utility(self.table.accuracy[:, 0], self.spent, cost_weight)
        values[:2] = np.nan, 0.0
        return values

    @cached_property
    def vectors(self) -> Float[np.ndarray, "decisions fields"]:
        """`Observation.vector` at every node where a decision is taken; row 0 is empty."""
        table, n = self.table, self.table.n_chunks
        nodes = np.arange(1 << n)
        depth = np.zeros(1 << n, dtype=np.int64)
        samples, learned = np.zeros(2 << n, dtype=np.int64), np.zeros(2 << n, dtype=np.int64)
        flops = np.zeros((1 << n, len(ACCOUNTS)), dtype=np.int64)
        for d in range(n):
            here, below = np.arange(1 << d, 2 << d), np.arange(2 << d, 4 << d)
            depth[here] = d
            samples[below] = samples[below >> 1] + table.n_samples[d]
            learned[below] = learned[below >> 1] + (below & 1) * table.n_samples[d]
            if d:
                flops[here] = flops[here >> 1] + self._flops[here]
            flops[here, _DECIDE] += self._look_flops[here]
        learning = [_LEARN, _REKEY] if table.rekeys_on_learn else [_LEARN]
        learn_flops = table.flops[1::2][nodes][:, learning].sum(axis=1)  # of the child that learns
        learn_nbytes = table.nbytes[1::2][nodes][:, learning].sum(axis=1)
        memorize_flops = self._flops[::2][nodes][:, _MEMORIZE]  # of the child that memorizes
        memorize_nbytes = table.nbytes[::2][nodes][:, _MEMORIZE]
        memorize_held = table.memory_nbytes[::2][nodes] - table.memory_nbytes[nodes]
        price, costs = np.array(self.prices)[depth], self._costs[1]
        spent, model = _total(costs), self.model
        share = learned[nodes] / np.maximum(samples[nodes], 1)
        columns: dict[str, Any] = {
            "step": depth,
            "n_chunks": n,
            "n_samples": table.n_samples[depth],
            "seen": depth / n,
            "learned": share,
            "memorized": np.where(depth > 0, 1 - share, 0.0),
            "memory_entries": table.memory_entries[nodes],
            "memory_nbytes": table.memory_nbytes[nodes],
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
            + memorize_held * model.per_byte_chunk,
            **self._seen(),
        }
        names = Observation.names()
        vectors = np.stack([np.broadcast_to(columns.get(name, np.nan), nodes.shape) for name in names], axis=1)
        return np.ascontiguousarray(vectors, dtype=np.float64)

    def _seen(self) -> dict[str, np.ndarray]:
        """Signals and their running averages (`agent.policies.signals.RunningAverages`), as far as is asked for."""
        shown = {"nothing": (), "learner": LEARNER_SIGNALS, "memory": SIGNALS}[self.observes]
        n = self.table.n_chunks
        found: dict[str, np.ndarray] = {}
        decayed = np.array([1.0] + [1 - DECAY**i for i in range(1, n + 1)])
        for name in shown:
            values = self.table.signals[:, SIGNALS.index(name)]
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
        for _ in range(self.table.n_chunks):
            node = 2 * node + int(learns[node])
        return node

    def live(self, policy: Policy) -> int:
        """The leaf that a policy, newly made, comes to; it must ask to see what the tree is priced for.

        Raises:
            PolicyError: from a policy of the user's own.
        """
        assert policy.observes == self.observes
        node = 1
        for _ in range(self.table.n_chunks):
            node = 2 * node + (ask(policy, self.observation(node)) is Action.LEARN)
        return node

    def best(self, cost_weight: float) -> int:
        """The leaf of highest utility: the oracle's, of equals the one that memorizes first."""
        n_leaves = 1 << self.table.n_chunks
        return n_leaves + int(np.argmax(self.utility(cost_weight)[n_leaves:]))


def _total(costs: np.ndarray) -> np.ndarray:
    """Row sums, from left to right as `Ledger.spent` adds: other orders give other last digits."""
    total = np.zeros(len(costs))
    for column in costs.T:
        total = total + column
    return total
