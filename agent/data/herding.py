"""Herding: the samples of each class whose mean comes closest to that of the class."""

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from agent.data.class_shares import ranks


def herd(
    keys: Float64[Tensor, "n length"],
    sizes: Int64[Tensor, " classes"],
    means: Float64[Tensor, "classes length"],
    quota: Int64[Tensor, " classes"],
) -> Bool[Tensor, " n"]:
    """The keys of each class whose mean comes closest to the class mean, picked one after the other in all classes.

    Args:
        keys: of one class or more; those of a class lie together.
        sizes: number of keys of each class, 1 or more.
        means: where the mean of the picked keys should come.
        quota: picks of each class, at most its size.

    Returns:
        Whether each key is picked.
    """
    classes, places = torch.arange(len(sizes)).repeat_interleave(sizes), ranks(sizes)
    starts = sizes.cumsum(0) - sizes
    toward = (keys * means[classes]).sum(dim=1)
    half = keys.square().sum(dim=1) / 2
    along = torch.zeros_like(toward)  # products with the sum of the keys picked so far
    picked, products = torch.zeros(len(keys), dtype=torch.bool), torch.empty_like(keys)
    table = torch.full((len(sizes), int(sizes.max())), -torch.inf, dtype=keys.dtype)  # a row for each class
    for k in range(1, int(quota.max()) + 1):
        # ‖k μ - x - Σ p_j‖² is a constant less twice this, for each x.
        score = (k * toward - along - half).masked_fill_(picked, -torch.inf)
        table[classes, places] = score
        best = starts + table.argmax(dim=1)
        picked[best[quota >= k]] = True
        along += torch.index_select(keys, 0, best[classes], out=products).mul_(keys).sum(dim=1)
    return picked


def herding_flops(n: int, n_picked: int, length: int) -> int:
    """FLOPs of `herd`: an upper bound, which is reached if all keys are of one class.

    Each of n keys is multiplied with the class mean, and with each key that is picked; C equal classes take a C-th.
    """
    return 2 * n * (n_picked + 1) * length
