"""What an operation cost, in units that do not depend on prices."""

from dataclasses import dataclass, field
from typing import Literal, get_args

Account = Literal["learn", "memorize", "recall", "rekey", "calibrate", "decide", "observe"]
"""What work is charged to.

learn: gradient updates. memorize: computing keys and storing them; where the policy has looked at the chunk, the keys
are there, and only storing is left. recall: comparing queries with stored keys, for the agent's answers. rekey:
computing stored keys anew after the learner moved on. calibrate: fitting the mixture on validation data. decide:
looking at a chunk in order to decide what to do with it, for policies that ask for it. observe: what the experimenter
spends on measuring, which no agent pays.
"""

ACCOUNTS: tuple[Account, ...] = get_args(Account)


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
