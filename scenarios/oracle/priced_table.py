"""A schedule table under a tariff, a cost model and a budget."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from agent.accounting.costs import CostModel
from agent.accounting.utility import utility
from agent.accounting.work import ACCOUNTS
from agent.lifetime.loop import ask
from agent.operations import Action
from agent.policies import Policy
from agent.policies.observation import Observation, estimated
from agent.policies.protocol import Observes
from agent.policies.signals import DECAY, LEARNER_SIGNALS, SIGNALS
from scenarios.oracle.table import ScheduleTable, n_rows

_INTEGERS = frozenset(("step", "n_chunks", "n_samples", "memory_entries", "memory_nbytes"))
_LEARN, _REKEY = ACCOUNTS.index("learn"), ACCOUNTS.index("rekey")
_DECIDE, _CALIBRATE = (ACCOUNTS.index(account) for account in ("decide", "calibrate"))


@dataclass(frozen=True)
class PricedTable:
    """A schedule table under a tariff, a cost model and a budget, for policies with the same value of `observes`.

    Costs and observations are equal, to the bit, to those of a lifetime with the same actions.

    Attributes:
        table: the outcome of every schedule.
        prices: price of compute at each chunk, from the tariff.
        model: the cost model.
        budget: cost that a lifetime may spend, for observations.
        observes: which signals the policies observe and pay for.
    """

    table: ScheduleTable
    prices: tuple[float, ...]
    model: CostModel
    budget: float = inf
    observes: Observes = "nothing"

    @cached_property
    def _costs(self) -> tuple[np.ndarray, np.ndarray]:
        """Costs since initialization, nodes x (accounts, storage): at every node, and after the observation there."""
        table, model, n = self.table, self.model, self.table.n_chunks
        spent, observed = (np.zeros((rows, len(ACCOUNTS) + 1)) for rows in n_rows(n, len(table.actions)))
        for depth, price in enumerate(self.prices):
            here, nodes = table.nodes(depth), table.nodes(depth + 1)
            observed[here] = spent[here]
            observed[here, _DECIDE] += self._observing_flops[here] * model.per_flop * price
            costs = observed[table.parents(nodes)].copy()
            at = np.full(len(ACCOUNTS), price)
            if depth == n - 1:
                at[_CALIBRATE] = 1.0  # it comes after the last chunk
            costs[:, :-1] += self._flops[nodes] * model.per_flop * at + table.nbytes[nodes] * model.per_byte_written
            costs[:, -1] += table.held_nbytes[nodes] * model.per_byte_chunk
            spent[nodes] = costs
        return spent, observed

    @cached_property
    def _observing_flops(self) -> np.ndarray:
        """FLOPs of the observation at every node with a decision."""
        learner, memory = self.table.learner_look, self.table.memory_look
        return {"nothing": np.zeros_like(learner), "learner": learner, "memory": learner + memory}[self.observes]

    @cached_property
    def _flops(self) -> np.ndarray:
        """The FLOPs of the table; without the forward pass of an operation if the observation included it."""
        table = self.table
        if self.observes == "nothing":
            return table.flops
        flops = table.flops.copy()
        for depth in range(1, table.n_chunks + 1):
            nodes = table.nodes(depth)
            for number, operation in enumerate(table.operations):
                if operation.outputs_account:
                    here = nodes[table.chosen(nodes) == number]
                    account = ACCOUNTS.index(operation.outputs_account)
                    flops[here, account] -= table.learner_look[table.parents(here)]
        return flops

    @cached_property
    def spent(self) -> Float[np.ndarray, " nodes"]:
        """The agent's total cost at every node, in the unit of the cost model."""
        return _total(self._costs[0])

    def utility(self, cost_weight: float) -> Float[np.ndarray, " nodes"]:
        """Utility at every node (`agent.accounting.utility`); 0 at the root and NaN in row 0.

        With 0 at the root, the rewards (the differences along a lifetime) sum to the utility at its end.
        """
        values = utility(self.table.accuracy[:, 0], self.spent, cost_weight)
        values[:2] = np.nan, 0.0
        return values

    @cached_property
    def vectors(self) -> Float[np.ndarray, "decisions fields"]:
        """`Observation.vector` at every node with a decision; row 0 belongs to no node."""
        table, n = self.table, self.table.n_chunks
        whole, decisions = n_rows(n, len(table.actions))
        nodes = np.concatenate([[0], *(table.nodes(depth) for depth in range(n))])
        depth = np.zeros(decisions, dtype=np.int64)
        samples, memorized = (np.zeros(whole, dtype=np.int64) for _ in range(2))
        stores = np.array([operation.memorizes for operation in table.operations])
        flops = np.zeros((decisions, len(ACCOUNTS)), dtype=np.int64)
        for d in range(n):
            here, below = table.nodes(d), table.nodes(d + 1)
            above, chosen = table.parents(below), table.chosen(below)
            depth[here] = d
            samples[below] = samples[above] + table.n_samples[d]
            memorized[below] = memorized[above] + stores[chosen] * table.n_samples[d]
            if d:
                flops[here] = flops[table.parents(here)] + self._flops[here]
            flops[here, _DECIDE] += self._observing_flops[here]
        learning = [_LEARN, _REKEY] if table.rekeys_on_learn else [_LEARN]
        price, costs = np.array(self.prices)[depth[nodes]], self._costs[1][nodes]
        spent, n_seen = _total(costs), np.maximum(samples[nodes], 1)
        columns: dict[str, Any] = {
            "step": depth[nodes],
            "n_chunks": n,
            "n_samples": table.n_samples[depth[nodes]],
            "seen": depth[nodes] / n,
            "learned": table.learned[nodes] / n_seen,
            "memorized": memorized[nodes] / n_seen,
            "memory_entries": table.memory_entries[nodes],
            "memory_nbytes": table.memory_nbytes[nodes],
            "price": price,
            "spent": spent,
            "left": np.maximum(0.0, self.budget - spent),
            "refused": 0.0,
            "speed_gflop": np.inf,
            "missed": 0.0,
            "spent_gflop": flops[nodes].sum(axis=1) / 1e9,
            "learning_spent": _total(costs[:, learning]),
            "learning_spent_gflop": flops[nodes][:, learning].sum(axis=1) / 1e9,
            **{name: values[nodes] for name, values in self._signals().items()},
        }
        for number, name in enumerate(table.actions):
            columns |= dict(zip(estimated(name), self._estimates(nodes, number, price), strict=True))
        names = Observation.names(table.actions)
        vectors = np.full((decisions, len(names)), np.nan)
        for column, name in enumerate(names):
            vectors[nodes, column] = columns.get(name, np.nan)
        return vectors

    def _estimates(
        self, nodes: Int64[np.ndarray, " n"], number: int, price: Float[np.ndarray, " n"]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Estimates for an action at each node: GFLOP, and cost with the storage of what it adds for one chunk."""
        table, model = self.table, self.model
        charged = [
            ACCOUNTS.index(account)
            for account in table.operations[number].accounts
            if account != "rekey" or table.rekeys_on_learn
        ]
        children = len(table.actions) * nodes + number
        flops = self._flops[children][:, charged].sum(axis=1)
        nbytes = table.nbytes[children][:, charged].sum(axis=1)
        held = table.memory_nbytes[children] - table.memory_nbytes[nodes]
        cost = flops * model.per_flop * price + nbytes * model.per_byte_written + held * model.per_byte_chunk
        return flops / 1e9, cost

    def _signals(self) -> dict[str, np.ndarray]:
        """The observed signals and their running averages (`agent.policies.signals.RunningAverages`)."""
        shown = {"nothing": (), "learner": LEARNER_SIGNALS, "memory": SIGNALS}[self.observes]
        n = self.table.n_chunks
        _, decisions = n_rows(n, len(self.table.actions))
        found: dict[str, np.ndarray] = {}
        decayed = np.array([1.0] + [1 - DECAY**i for i in range(1, n + 1)])
        for name in shown:
            values = self.table.signals[:, SIGNALS.index(name)]
            sums, counts = np.zeros(decisions), np.zeros(decisions, dtype=np.int64)
            means = np.full(decisions, np.nan)
            for d in range(n):
                here = self.table.nodes(d)
                there = ~np.isnan(values[here])
                before = self.table.parents(here)
                earlier = np.where(counts[before] > 0, sums[before] / decayed[counts[before]], values[here])
                means[here] = np.where(there, earlier, np.nan)
                sums[here] = np.where(there, DECAY * sums[before] + (1 - DECAY) * values[here], sums[before])
                counts[here] = counts[before] + there
            found |= {name: values, f"mean_{name}": means}
        return found

    def observation(self, node: int) -> Observation:
        """The observation at a node with a decision."""
        if node not in self._observations:
            named = zip(Observation.names(self.table.actions), self.vectors[node].tolist(), strict=True)
            values = {n: int(v) if n in _INTEGERS else v for n, v in named}
            self._observations[node] = Observation.of({**values, "actions": self.table.actions})
        return self._observations[node]

    @cached_property
    def _observations(self) -> dict[int, Observation]:
        """By node, for the nodes that were visited: policies never visit most of a tree."""
        return {}

    def follow(self, decisions: Int64[np.ndarray, " decisions"], actions: Sequence[str] = ("memorize", "learn")) -> int:
        """The leaf at the end of a lifetime, from a decision at every node.

        Args:
            decisions: positions in `actions`.
            actions: names of the actions that are decided between.

        Raises:
            InvalidSetting: the table does not have one of the actions.
        """
        numbers = [self.table.number_of(Action(name)) for name in actions]
        node = 1
        for _ in range(self.table.n_chunks):
            node = len(self.table.actions) * node + numbers[decisions[node]]
        return node

    def run(self, policy: Policy) -> int:
        """The leaf at the end of a lifetime under a new policy with the same `observes`.

        Raises:
            InvalidSetting: an action that the table does not have.
            PolicyError: from a user's own policy.
        """
        assert policy.observes == self.observes
        node = 1
        for _ in range(self.table.n_chunks):
            action = ask(policy, self.observation(node))
            node = len(self.table.actions) * node + self.table.number_of(action)
        return node

    def best(self, cost_weight: float) -> int:
        """The leaf of highest utility, which is the oracle; the first of several equal leaves."""
        leaves = self.table.nodes(self.table.n_chunks)
        return int(leaves[np.argmax(self.utility(cost_weight)[leaves])])


def _total(costs: np.ndarray) -> np.ndarray:
    """Row sums, from left to right as in `Ledger.spent`: another order would change the last digits."""
    total = np.zeros(len(costs))
    for column in costs.T:
        total = total + column
    return total
