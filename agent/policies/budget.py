"""Learning within a budget."""

from math import inf
from typing import Literal

from agent.errors import InvalidSetting
from agent.operations import Action
from agent.policies.observation import Observation
from agent.policies.protocol import Policy
from agent.policies.ranges import check_at_least, check_one_of

ROUNDING = 1e-9
"""Tolerance for sums of floating-point numbers, as a share of the budget: ten chunks of 0.1 fit into 1."""


class BudgetPolicy(Policy):
    """Learns while a budget for learning lasts, spent evenly over the stream or as early as possible.

    The budget pays for gradient updates and for re-keying on learning, and is never exceeded: a chunk that does not fit
    is memorized. Spent evenly, it also stays within budget × (s + 1) / n at chunk s of n, counted from 0; later chunks
    may use what earlier ones left. This holds up to rounding, a billionth of the budget. For a learner that trains
    later, on several chunks at once, it holds up to one batch: there the estimate for a chunk is its share of a whole
    training, but the spent cost includes the trainings ordered so far. Their sum exceeds what LEARN adds, so the policy
    spends less than it could.

    Without gflop and cost it uses the budget of the lifetime (`--budget`), which pays for everything: a chunk is not
    learned if that would exceed it. The costs of memorizing and recalling remain, whatever the policy decides.

    Args:
        gflop: budget for learning in GFLOP, 0 or more; set this, cost or neither.
        cost: budget for learning in the unit of the cost model, at current prices, 0 or more.
        how: evenly over the stream, or greedily from its beginning.

    Raises:
        InvalidSetting: both gflop and cost; a budget below 0, infinite or NaN; an unknown `how`; from `decide`, no
            budget at all.
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
        check_one_of("how", how, "evenly", "greedily")
        self.gflop, self.cost, self.how = gflop, cost, how

    def decide(self, observation: Observation) -> Action:
        """LEARN if the chunk fits into the part of the budget that may be spent by now."""
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
