"""What an operation cost, in units that do not depend on prices."""

from dataclasses import dataclass
from typing import Literal, get_args

Account = Literal["learn", "memorize", "recall", "calibrate", "observe"]
"""What work is charged to.

learn: gradient updates. memorize: computing keys and storing them. recall: comparing queries with stored keys, for
the agent's answers. calibrate: fitting the mixture on validation data. observe: what the experimenter spends on
measuring, which no agent pays.
"""

ACCOUNTS: tuple[Account, ...] = get_args(Account)


@dataclass(frozen=True)
class Work:
    """Work done by a part of the agent; amounts add up."""

    flops: int = 0
    """Floating-point operations of matrix products and convolutions; a multiply-add counts as 2."""
    nbytes: int = 0
    """Bytes newly stored."""
    seconds: float = 0.0
    """Wall-clock time; the one amount that two equal runs do not share."""
    samples: int = 0
    """Samples that went through the network, with repetition: a sample in two batches counts twice."""

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.flops + other.flops,
            self.nbytes + other.nbytes,
            self.seconds + other.seconds,
            self.samples + other.samples,
        )
