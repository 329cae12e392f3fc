"""What an operation cost, in units that do not depend on prices."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

Account = Literal["learn", "memorize", "answer", "rekey", "calibrate", "decide", "evaluate"]
"""What work is charged to.

learn: gradient updates. memorize: computing keys and storing them; where the policy has looked at the chunk, the keys
are there, and only storing is left. answer: the queries that the world puts to the agent, a forward pass and a look-up
in memory each. rekey: computing stored keys anew after the learner moved on. calibrate: fitting the mixture on
validation data. decide: looking at a chunk in order to decide what to do with it, for policies that ask for it.
evaluate: what the experimenter spends on measuring, which no agent pays.

Free, and on no account: holding weights, the optimizer's state, validation images and cached outputs.
"""

ACCOUNTS: tuple[Account, ...] = get_args(Account)
PAID: tuple[Account, ...] = tuple(account for account in ACCOUNTS if account != "evaluate")
"""The accounts that the agent pays."""


@dataclass(frozen=True, slots=True)
class Work:
    """Work done by a part of the agent; amounts add up."""

    flops: int = 0
    """Floating-point operations of matrix products and convolutions; a multiply-add counts as 2."""
    nbytes: int = 0
    """Bytes written to storage."""
    seconds: float = field(default=0.0, compare=False)
    """Wall-clock time; the one amount that two equal runs do not share, and no part of a comparison."""
    samples: int = 0
    """Samples that went through the network, with repetition: a sample in two batches counts twice."""

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.flops + other.flops,
            self.nbytes + other.nbytes,
            self.seconds + other.seconds,
            self.samples + other.samples,
        )


class Charge(NamedTuple):
    """Work, the account that it belongs to, and the price of compute at the moment that ordered it."""

    account: Account
    work: Work
    price: float = 1.0


Bill = list[Charge]
"""What an operation is charged, in the order in which it was done."""
