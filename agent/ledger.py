"""The ledger turns work into accounts, and accounts into costs."""

import math
from typing import Any

from agent.costs import CostModel, flops
from agent.errors import InvalidSetting
from agent.work import ACCOUNTS, Account, Work

STORAGE = "storage"
"""The name under which holding bytes is charged, beside the accounts of work."""


class Ledger:
    """The work and the costs of one lifetime, summed by account.

    `observe`, what the experimenter spends on measuring, is kept but is part of no total.

    Args:
        model: prices.
    """

    def __init__(self, model: CostModel | None = None) -> None:
        self.model = model or flops()
        self.accounts: dict[Account, Work] = dict.fromkeys(ACCOUNTS, Work())
        self.costs: dict[str, float] = dict.fromkeys((*ACCOUNTS, STORAGE), 0.0)
        self.byte_chunks = 0

    def charge(self, account: Account, work: Work, price: float = 1.0) -> None:
        """Add `work` to `account`, done while compute has this price.

        Raises:
            InvalidSetting: prices so high that costs overflow.
        """
        self.accounts[account] += work
        cost = self.model.of(work, price)
        if not math.isfinite(cost):
            raise InvalidSetting(
                f"expected costs that stay finite, got {cost} {self.model.unit}; lower the prices (--cost)"
            )
        self.costs[account] += cost

    def hold(self, nbytes: int) -> None:
        """Charge for `nbytes` held for one chunk."""
        self.byte_chunks += nbytes
        self.costs[STORAGE] += self.model.of_holding(nbytes)

    def flops(self, accounts: tuple[Account, ...] = ACCOUNTS) -> int:
        """FLOPs that the agent pays for on these accounts; `observe` is never one of them."""
        return sum(self.accounts[account].flops for account in accounts if account != "observe")

    def spent(self, accounts: tuple[str, ...] = (*ACCOUNTS, STORAGE)) -> float:
        """What the agent has paid on these accounts, in the unit of the cost model; `observe` is never one of them."""
        return sum(self.costs[account] for account in accounts if account != "observe")

    def seconds(self) -> dict[str, float]:
        """Wall-clock seconds by account."""
        return {account: work.seconds for account, work in self.accounts.items()}

    def state(self) -> dict[str, Any]:
        """Plain values from which `load_state` restores the ledger."""
        accounts = {a: [work.flops, work.nbytes, work.seconds, work.samples] for a, work in self.accounts.items()}
        return {"accounts": accounts, "costs": dict(self.costs), "byte_chunks": self.byte_chunks}

    def load_state(self, state: dict[str, Any]) -> None:
        """Become the ledger whose `state` this is."""
        self.accounts = {account: Work(*state["accounts"][account]) for account in ACCOUNTS}
        self.costs = {account: state["costs"][account] for account in self.costs}
        self.byte_chunks = state["byte_chunks"]
