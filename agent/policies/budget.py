"""Learning as far as a budget goes."""

from math import inf
from typing import Literal

from agent.errors import InvalidSetting
from agent.operations import Action
from agent.policies.observation import Observation
from agent.policies.protocol import Policy
from agent.policies.ranges import check_at_least

ROUNDING = 1e-9
"""Share of the budget that sums of floating-point numbers may be off: ten chunks of 0.1 fit into 1."""


class BudgetPolicy(Policy):
    """Learns as long as a budget for learning lasts, evenly over the stream or at once.

    The budget pays for gradient updates and for the re-keying on learning, and is never overdrawn: a chunk that no
    longer fits is memorized. Evenly, spending also stays within the share budget × (s + 1) / n while the s-th of n
    chunks, counted from 0, is decided on; what a costly chunk leaves unspent, later chunks may use. All of it holds up
    to rounding, a billionth of the budget; where a learner trains later, on several chunks at once, to a batch of it.
    There a chunk's cost is told as its part of a whole training, while what was spent holds the trainings ordered so
    far: together that is more than LEARN adds, and budgets are used with caution.

    Without gflop and cost it is the lifetime's own budget (`--budget`), which pays for everything: no chunk is learned
    from that would overdraw it. What memorizing and recalling cost after that is no choice of a policy's.

    Args:
        gflop: for learning, in GFLOP, 0 or more; give this or cost or neither.
        cost: for learning, in the unit of the cost model, at the prices of the moment, 0 or more.
        how: evenly over the stream, or greedily from its beginning.

    Raises:
        InvalidSetting: both gflop and cost; a budget below 0, infinite or NaN; an unknown `how`; no budget at all.
    """

    needs_estimates = True

    def __init__(
        self, gflop: float | None = None, cost: float | None = None, how: Literal["evenly", "greedily"] = "evenly"
    ) -> None:
        if gflop is not None and cost is not None:
            raise InvalidSetting("expected a budget in either gflop or cost, got both; set one of them")
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
        elif self.cost is not None:
            allowed, spent = self.cost, observation.learning_spent + observation.learn_cost
        elif observation.left < inf:
            allowed, spent = observation.spent + observation.left, observation.spent + observation.learn_cost
        else:
            raise InvalidSetting("expected a budget, got none; set gflop or cost of the policy, or --budget of the run")
        slack = ROUNDING * allowed
        if self.how == "evenly":
            allowed *= (observation.step + 1) / observation.n_chunks
        return Action.LEARN if spent <= allowed + slack else Action.MEMORIZE
