"""The k nearest neighbours of a query among the stored keys."""

import time
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from agent.accounting.work import Work
from agent.errors import InvalidSetting
from agent.memory.entry_memory import CPU
from agent.memory.entry_store import Storage
from agent.memory.mixture import LinearMixing
from agent.memory.neighbour_memory import NeighbourMemory
from agent.memory.neighbours import Neighbours
from agent.memory.protocol import ReadOut
from agent.memory.settings import Setting, positive, whole

N_NEIGHBOURS = (1, 3, 10, 30, 100)
"""Numbers of neighbours k that calibration tries."""

TEMPERATURES = tuple(4.0**-i for i in range(6))
"""Temperatures of the softmax that calibration tries, 1 to 1/1024. Pooled keys lie close together and need low ones."""

Vote = Literal["softmax", "majority"]


class KnnMemory(NeighbourMemory, LinearMixing):
    """A vote of the k nearest keys by cosine.

    With i running over the k nearest entries and s_i their cosines with the query q: p(c | q) = Σ_i w_i [label_i = c],
    where w_i = 1 / k for a majority vote, and w_i ∝ exp(s_i / T) for a softmax at temperature T. With fewer than k
    entries all of them vote; of equally near ones the older are taken.

    Recall finds the neighbours exactly, by 2 n N (key length) FLOPs for n queries and N entries. Selecting and
    counting votes is not billed.

    Args:
        n_classes: number of classes.
        device: device of the keys.
        storage: type of the stored keys, by default float32 on the CPU and float16 on a GPU. Cosines are float32.
        vote: how the neighbours are weighted.

    Raises:
        InvalidSetting: no class, or another type or vote.

    References:
        Cover and Hart 1967, "Nearest neighbor pattern classification", IEEE Trans. Inf. Theory 13(1), for the majority.
        Wu et al. 2018, "Unsupervised feature learning via non-parametric instance discrimination", arXiv:1805.01978,
        section 3.4, for the softmax (there k = 200, T = 0.07).
    """

    pools_keys = True

    def __init__(
        self, n_classes: int, *, device: torch.device = CPU, storage: Storage | None = None, vote: Vote = "softmax"
    ) -> None:
        super().__init__(n_classes, device, storage)
        self.settings, self.prior = vote_settings(vote)
        self.vote = vote

    @torch.inference_mode()
    def recall(
        self, queries: Float[Tensor, "n length"], settings: tuple[Setting, ...], cache: Neighbours | None = None
    ) -> tuple[ReadOut, Neighbours, Work]:
        """Class probabilities of queries at each setting `k` and, for the softmax, `temperature`; see `Memory`.

        Raises:
            InvalidSetting: non-finite queries, queries of another length than the keys, a k that is no whole number
                above 0, or a temperature that is not positive and finite.
        """
        k = most_neighbours(settings, self.vote)
        found, work = self.search(queries, k, cache)
        start = time.perf_counter()
        read_out = voted(found, self.entries.labels, settings, self.n_classes, self.vote)
        return read_out, found, work + Work(seconds=time.perf_counter() - start)


def vote_settings(vote: Vote) -> tuple[tuple[Setting, ...], Setting]:
    """The settings of a vote that calibration tries, and the prior; raises InvalidSetting for another vote."""
    if vote not in ("softmax", "majority"):
        raise InvalidSetting(f"expected a vote by softmax or majority, got {vote}")
    if vote == "majority":
        return tuple({"k": float(k)} for k in N_NEIGHBOURS), {"k": 10.0}
    alone: Setting = {"k": 1.0, "temperature": 1 / 16}  # a single neighbour has all of the weight at any temperature
    several: list[Setting] = [{"k": float(k), "temperature": t} for k in N_NEIGHBOURS[1:] for t in TEMPERATURES]
    return (alone, *several), {"k": 10.0, "temperature": 1 / 16}


def most_neighbours(settings: tuple[Setting, ...], vote: Vote) -> int:
    """The largest k of settings.

    Raises:
        InvalidSetting: a k that is no whole number above 0, or a temperature that is not positive and finite.
    """
    if vote == "softmax":
        positive(settings, "temperature")
    return max(whole(settings, "k"))


def voted(
    found: Neighbours, labels: Int64[Tensor, " n_entries"], settings: tuple[Setting, ...], n_classes: int, vote: Vote
) -> ReadOut:
    """The read-out of a vote.

    Args:
        found: neighbours of each query. One that is missing has the similarity -∞ and any position: it has no vote.
        labels: of the entries.
        settings: numbers of neighbours and, for the softmax, temperatures.
        n_classes: number of classes.
        vote: how the neighbours are weighted. Without any, all classes are equally likely, and the novelty is 2.
    """
    shape = len(settings), len(found.similarity), n_classes
    votes = torch.zeros(shape, device=labels.device)
    novelty = found.novelty
    if novelty is None:
        return ReadOut(votes.fill_(1 / n_classes), None)
    classes, missing = labels[found.positions], found.similarity == -torch.inf
    for setting, counted in zip(settings, votes, strict=True):
        sharpness = 1 / setting["temperature"] if vote == "softmax" else 0.0
        scores = (found.similarity * sharpness).masked_fill_(missing, -torch.inf)[:, : int(setting["k"])]
        counted.scatter_add_(1, classes[:, : scores.shape[1]], scores.softmax(dim=1))
        counted[missing[:, 0]] = 1 / n_classes
    return ReadOut(votes, novelty.clamp_max_(2))
