"""How many samples each class gets out of a number, and places within classes."""

import torch
from jaxtyping import Int64
from torch import Tensor


def quotas(counts: Int64[Tensor, " classes"], capacity: int) -> Int64[Tensor, " classes"]:
    """Entries of each class: equal shares of a capacity, and what a class cannot fill goes to the others.

    The rest of the division goes to the first of the classes that can use it.

    Args:
        counts: entries of each class, `capacity` or more in all.
        capacity: the sum of the quotas.
    """
    ascending = counts.sort().values
    n_larger = torch.arange(len(counts), 0, -1)  # classes with as many entries or more
    smaller = ascending.cumsum(0) - ascending
    filled = int((smaller + n_larger * ascending <= capacity).sum())  # classes whose entries all stay
    if filled == len(counts):
        return counts
    share, rest = divmod(capacity - int(smaller[filled]), int(n_larger[filled]))
    larger = counts > share
    return torch.where(larger, share + (larger.cumsum(0) <= rest).long(), counts)


def ranks(sizes: Int64[Tensor, " classes"]) -> Int64[Tensor, " n"]:
    """0, 1, ... within each of several groups that lie one after the other."""
    return torch.arange(int(sizes.sum())) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
