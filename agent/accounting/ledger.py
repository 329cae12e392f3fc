"""The ledger sums work and its costs by account."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from typing import Any

from agent.accounting.costs import CostModel, flops
from agent.accounting.work import ACCOUNTS, PAID, Account, Bill, Charge, Work
from agent.errors import ContractError, InvalidSetting

STORAGE = "storage"
"""Name of the cost of holding bytes, which no account of work includes."""
OF_AGENT = (*PAID, STORAGE)
"""All costs that the agent pays."""


class Ledger:
    """The work and the costs of one lifetime, summed by account.

    No total includes the account `evaluate`, the cost of measuring, which the experimenter pays. Totals include pending
    work (`expect`) as estimated; no account does.

    Args:
        model: prices; by default those of `flops`.
    """

    def __init__(self, model: CostModel | None = None) -> None:
        self.model = model or flops()
        self.accounts: dict[Account, Work] = dict.fromkeys(ACCOUNTS, Work())
        self.costs: dict[str, float] = dict.fromkeys((*ACCOUNTS, STORAGE), 0.0)
        self.byte_chunks = 0
        self.pending: Bill = []
        """Work that is ordered but not done yet, as estimated."""

    def charge(self, account: Account, work: Work, price: float = 1.0) -> None:
        """Add `work` to `account`, at the price of compute when it was ordered.

        Raises:
            ContractError: amounts that are negative or no whole numbers.
            InvalidSetting: as `cost_of`.
        """
        for name, amount in (("FLOPs", work.flops), ("bytes", work.nbytes)):
            if not isinstance(amount, int) or amount < 0:
                raise ContractError(
                    f"expected a whole number of {name} of 0 or more on the account {account}, got {amount}; correct "
                    "the learner or memory that returned it (agent.testing)"
                )
        self.accounts[account] += work
        self.costs[account] += self.cost_of([Charge(account, work, price)])

    def cost_of(self, bill: Iterable[Charge]) -> float:
        """Cost of a bill in the unit of the cost model, without charging it.

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
        """Replace the pending work by this bill."""
        self.pending = bill

    def hold(self, nbytes: int) -> None:
        """Charge for `nbytes` held for one chunk."""
        self.byte_chunks += nbytes
        self.costs[STORAGE] += self.model.of_holding(nbytes)

    def flops(self, accounts: tuple[Account, ...] = PAID) -> int:
        """FLOPs on these accounts with pending work; by default all that the agent pays."""
        pending = sum(charge.work.flops for charge in self.pending if charge.account in accounts)
        return sum(self.accounts[account].flops for account in accounts) + pending

    def spent(self, accounts: tuple[str, ...] = OF_AGENT) -> float:
        """Costs of these accounts with pending work, in the unit of the cost model; by default all that the agent pays.

        The sum goes from left to right; another order changes the last digits.
        """
        pending = self.cost_of(charge for charge in self.pending if charge.account in accounts)
        return self.paid(accounts) + pending

    def paid(self, accounts: tuple[str, ...] = OF_AGENT) -> float:
        """The part of `spent` that has been charged."""
        return sum(self.costs[account] for account in accounts)

    def seconds(self) -> dict[str, float]:
        """Wall-clock seconds by account."""
        return {account: work.seconds for account, work in self.accounts.items()}

    def state(self) -> dict[str, Any]:
        """Plain values for `load_state`."""
        return {
            "accounts": {account: list(astuple(work)) for account, work in self.accounts.items()},
            "costs": dict(self.costs),
            "byte_chunks": self.byte_chunks,
            "pending": [[account, list(astuple(work)), price] for account, work, price in self.pending],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self.accounts = {account: _work(state["accounts"][account]) for account in ACCOUNTS}
        self.costs = {account: state["costs"][account] for account in self.costs}
        self.byte_chunks = state["byte_chunks"]
        self.pending = [Charge(account, _work(work), price) for account, work, price in state["pending"]]


def _work(values: Sequence[Any]) -> Work:
    flops, nbytes, seconds, samples = values  # neither more nor fewer
    return Work(flops, nbytes, seconds, samples)
