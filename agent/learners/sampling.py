"""Which of the stored samples a learner trains on: the samplings that BudgetCL compares."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from agent.data.class_shares import quotas
from agent.data.herding import herd

Sampling = Literal["uniform", "class-balanced", "recent", "herding"]
"""How samples are drawn from a store:

- uniform: each with the same probability, with replacement.
- class-balanced: first a class, each with the same probability, then one of its samples, with replacement.
- recent: the last ones.
- herding: of each class in equal numbers those whose mean feature comes closest to that of the class.

Where more are drawn than there are, recent and herding take all samples as often as possible, and choose the others.

References:
    Prabhu et al. 2023, arXiv:2303.11165, and its code, drimpossible/BudgetCL, src/datasets.py and src/sampling.py
"""


def class_balanced(labels: Int64[Tensor, " n"], n_drawn: int, generator: torch.Generator) -> Int64[Tensor, " n_drawn"]:
    """Rows of samples, with replacement: a class is uniform among those of the labels, and so is a sample of it.

    Args:
        labels: of the store, 1 or more.
        n_drawn: number of rows.
        generator: draws them.
    """
    _, sizes = torch.unique(labels, return_counts=True)
    drawn = torch.randint(len(sizes), (n_drawn,), generator=generator)
    places = (torch.rand(n_drawn, generator=generator, dtype=torch.float64) * sizes[drawn]).long()
    return labels.argsort(stable=True)[(sizes.cumsum(0) - sizes)[drawn] + places]


def recent(n: int, n_drawn: int, generator: torch.Generator) -> Int64[Tensor, " n_drawn"]:
    """The last rows of a store in random order; all of them as often as possible before, if more are drawn.

    Args:
        n: rows of the store, 1 or more.
        n_drawn: number of rows drawn.
        generator: of their order.
    """
    return _filled_up(n, torch.arange(n - n_drawn % n, n), n_drawn, generator)


def herded(
    features: Float[Tensor, "n length"], labels: Int64[Tensor, " n"], n_drawn: int, generator: torch.Generator
) -> Int64[Tensor, " n_drawn"]:
    """Rows chosen by herding, in random order; all of them as often as possible before, if more are drawn.

    The classes share what is chosen in equal numbers, as far as they have as many (`quotas`).

    Args:
        features: of the samples in store, 1 or more; they are normalized here.
        labels: of the same.
        n_drawn: number of rows drawn.
        generator: of their order.

    References:
        Rebuffi et al. 2017, "iCaRL", arXiv:1611.07725, algorithm 4
    """
    n, counts = len(labels), torch.bincount(labels)
    in_classes = labels.argsort(stable=True)  # so that those of a class lie together
    classes, sizes = labels[in_classes].unique_consecutive(return_counts=True)
    keys = F.normalize(features.double(), dim=1)[in_classes]
    places = torch.arange(len(classes)).repeat_interleave(sizes)
    means = torch.zeros(len(classes), keys.shape[1], dtype=keys.dtype).index_add_(0, places, keys) / sizes[:, None]
    picked = herd(keys, sizes, means, quotas(counts, n_drawn % n)[classes])
    return _filled_up(n, in_classes[picked], n_drawn, generator)


def _filled_up(n: int, chosen: Int64[Tensor, " m"], n_drawn: int, generator: torch.Generator) -> Tensor:
    """All n rows as often as n_drawn allows, and those that were chosen, in random order."""
    rows = torch.cat([torch.arange(n).repeat(n_drawn // n), chosen])
    return rows[torch.randperm(n_drawn, generator=generator)]
