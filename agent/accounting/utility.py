"""Utility: accuracy minus weighted cost."""

from typing import TypeVar

import numpy as np

Amount = TypeVar("Amount", float, np.ndarray)


def utility(accuracy: Amount, spent: Amount, cost_weight: float) -> Amount:
    """accuracy - cost_weight × spent.

    Args:
        accuracy: share of images classified correctly, 0 to 1.
        spent: total cost that the agent has paid, in the unit of the cost model.
        cost_weight: accuracy that one unit of cost is worth, 0 or more.
    """
    return accuracy - cost_weight * spent
