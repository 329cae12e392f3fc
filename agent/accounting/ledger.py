"""The ledger turns work into accounts, and accounts into costs."""

import math
from collections.abc import Iterable
from typing import Any

from agent.accounting.costs import CostModel, flops
from agent.accounting.work import ACCOUNTS, PAID, Account, Bill, Charge, Work
from agent.errors import InvalidSetting

STORAGE = "storage"
"""The name under which holding bytes is charged, beside the accounts of work."""
OF_AGENT = (*PAID, STORAGE)
"""All that the agent pays for."""


class Ledger:
    """The work and the costs of one lifetime, summed by account.

    `evaluate`, what the experimenter spends on measuring, is kept but is part of no total. Work that has been ordered
    and not been done yet (`expect`) is part of totals as estimated, and of no account.

    Args:
        model: prices.
    """

    def __init__(self, model: CostModel | None = None) -> None:
        self.model = model or flops()
        self.accounts: dict[Account, Work] = dict.fromkeys(ACCOUNTS, Work())
        self.costs: dict[str, float] = dict.fromkeys((*ACCOUNTS, STORAGE), 0.0)
        self.byte_chunks = 0
        self.pending: Bill = []
        """Ordered and not done yet, as estimated."""

    def charge(self, account: Account, work: Work, price: float = 1.0) -> None:
        """Add `work` to `account`, ordered while compute has this price.

        Raises:
            InvalidSetting: prices so high that costs overflow.
        """
        self.accounts[account] += work
        self.costs[account] += self.cost_of([Charge(account, work, price)])

    def cost_of(self, bill: Iterable[Charge]) -> float:
        """What a bill costs, in the unit of the cost model; nothing is charged.

        Raises:
            InvalidSetting: prices so high that costs overflow.
        """
        cost = sum(self.model.of(work, price) for _, work, price in bill)
        if not math.isfinite(cost):
            raise InvalidSetting(
                f"expected costs that stay finite, got {cost} {self.model.unit}; lower the prices (--cost)"
            )
        return cost

    def expect(self, bill: Bill) -> None:
        """Take note of all work that has been ordered and not been done yet, in place of what was noted before."""
        self.pending = bill

    def hold(self, nbytes: int) -> None:
        """Charge for `nbytes` held for one chunk."""
        self.byte_chunks += nbytes
        self.costs[STORAGE] += self.model.of_holding(nbytes)

    def flops(self, accounts: tuple[Account, ...] = PAID) -> int:
        """FLOPs on these accounts, pending work included; by default on all that the agent pays for."""
        pending = sum(charge.work.flops for charge in self.pending if charge.account in accounts)
        return sum(self.accounts[account].flops for account in accounts) + pending

    def spent(self, accounts: tuple[str, ...] = OF_AGENT) -> float:
        """Costs of these accounts in the unit of the cost model, pending work included; by default all of the agent's.

        Summed from left to right: other orders give other last digits.
        """
        pending = self.cost_of(charge for charge in self.pending if charge.account in accounts)
        return sum(self.costs[account] for account in accounts) + pending

    def seconds(self) -> dict[str, float]:
        """Wall-clock seconds by account."""
        return {account: work.seconds for account, work in self.accounts.items()}

    def state(self) -> dict[str, Any]:
        """Plain values from which `load_state` restores the ledger."""
        return {
            "accounts": {account: _plain(work) for account, work in self.accounts.items()},
            "costs": dict(self.costs),
            "byte_chunks": self.byte_chunks,
            "pending": [[account, _plain(work), price] for account, work, price in self.pending],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Become the ledger whose `state` this is."""
        self.accounts = {account: _work(state["accounts"][account]) for account in ACCOUNTS}
        self.costs = {account: state["costs"][account] for account in self.costs}
        self.byte_chunks = state["byte_chunks"]
        self.pending = [Charge(account, _work(work), price) for account, work, price in state["pending"]]


def _work(plain: list[Any]) -> Work:
    flops, nbytes, seconds, samples = plain
    return Work(flops, nbytes, seconds, samples)


def _plain(work: Work) -> list[float]:
    return [work.flops, work.nbytes, work.seconds, work.samples]
