"""The ledger turns work into accounts."""

from dataclasses import asdict

from agent.work import ACCOUNTS, Account, Work


class Ledger:
    """The work of one lifetime, summed by account."""

    def __init__(self) -> None:
        self.accounts: dict[Account, Work] = dict.fromkeys(ACCOUNTS, Work())

    def charge(self, account: Account, work: Work) -> None:
        """Add `work` to `account`."""
        self.accounts[account] += work

    def fork(self) -> "Ledger":
        """A ledger with the same past and a future of its own."""
        fork = Ledger()
        fork.accounts = dict(self.accounts)
        return fork

    def amounts(self) -> dict[str, dict[str, int]]:
        """FLOPs, bytes and samples by account: what two equal lifetimes share to the last digit."""
        return {
            account: {amount: value for amount, value in asdict(work).items() if amount != "seconds"}
            for account, work in self.accounts.items()
        }

    def seconds(self) -> dict[str, float]:
        """Wall-clock seconds by account."""
        return {account: work.seconds for account, work in self.accounts.items()}
