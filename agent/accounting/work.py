"""Work in units that do not depend on prices, and the accounts that it is charged to."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

Account = Literal["learn", "memorize", "answer", "rekey", "calibrate", "decide", "evaluate"]
"""Accounts of work:

- learn: gradient updates.
- memorize: computing keys and storing them; only storing if the policy has observed the chunk and the keys exist.
- answer: queries to the agent, a forward pass and a look-up in memory for each.
- rekey: computing stored keys again after the learner has changed.
- calibrate: fitting the mixture on validation data.
- decide: the forward pass and look-up for what the policy observes.
- evaluate: measuring; the experimenter pays, not the agent.

Holding weights, the optimizer's state, validation images and cached outputs is free.
"""

ACCOUNTS: tuple[Account, ...] = get_args(Account)
PAID: tuple[Account, ...] = tuple(account for account in ACCOUNTS if account != "evaluate")
"""The accounts that the agent pays."""


@dataclass(frozen=True, slots=True)
class Work:
    """Amounts of work, which add up."""

    flops: int = 0
    """Floating-point operations of matrix products and convolutions; a multiply-add counts as 2."""
    nbytes: int = 0
    """Bytes written to storage."""
    seconds: float = field(default=0.0, compare=False)
    """Wall-clock time; ignored in comparisons, since it differs between equal runs."""
    samples: int = 0
    """Samples that passed through the network; a sample in two batches counts twice."""

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.flops + other.flops,
            self.nbytes + other.nbytes,
            self.seconds + other.seconds,
            self.samples + other.samples,
        )


class Charge(NamedTuple):
    """Work on an account, with the price of compute when it was ordered."""

    account: Account
    work: Work
    price: float = 1.0


Bill = list[Charge]
"""Charges for an operation, in the order of its work."""
