"""Learning as far as a budget goes."""

from typing import Literal

from agent.errors import InvalidSetting
from agent.observation import Observation
from agent.policies.protocol import Action, Policy
from agent.policies.ranges import check_at_least

ROUNDING = 1e-9
"""Share of the budget that sums of floating-point numbers may be off: ten chunks of 0.1 fit into 1."""


class BudgetPolicy(Policy):
    """Learns as long as a budget for learning lasts, evenly over the stream or at once.

    The budget pays for gradient updates and for the re-keying they entail, and is never overdrawn: a chunk that no
    longer fits is memorized. Evenly, spending also stays within the share budget × (s + 1) / n while the s-th of n
    chunks, counted from 0, is decided on; what a costly chunk leaves unspent, later chunks may use. All of it holds up
    to rounding, a billionth of the budget.

    Args:
        gflop: budget in GFLOP, 0 or more; give either this or cost.
        cost: budget in the unit of the cost model, at the prices of the moment, 0 or more.
        how: evenly over the stream, or greedily from its beginning.

    Raises:
        InvalidSetting: both or neither of gflop and cost; a budget below 0, infinite or NaN; an unknown `how`.
    """

    def __init__(
        self, gflop: float | None = None, cost: float | None = None, how: Literal["evenly", "greedily"] = "evenly"
    ) -> None:
        if (gflop is None) == (cost is None):
            got = "neither" if gflop is None else "both"
            raise InvalidSetting(f"expected a budget in either gflop or cost, got {got}; set one of them")
        for name, budget in ("gflop", gflop), ("cost", cost):
            if budget is not None:
                check_at_least(name, budget, 0)
        if how not in ("evenly", "greedily"):
            raise InvalidSetting(f"expected how to be evenly or greedily, got {how}")
        self.gflop, self.cost, self.how = gflop, cost, how

    def decide(self, observation: Observation) -> Action:
        """LEARN where the chunk fits into what the budget allows by now."""
        if self.gflop is not None:
            allowed, spent = self.gflop, observation.learning_spent_gflop + observation.learn_gflop
        else:
            assert self.cost is not None
            allowed, spent = self.cost, observation.learning_spent + observation.learn_cost
        slack = ROUNDING * allowed
        if self.how == "evenly":
            allowed *= (observation.step + 1) / observation.n_chunks
        return Action.LEARN if spent <= allowed + slack else Action.MEMORIZE
