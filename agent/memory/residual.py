"""ResMem: a memory of what the learner got wrong, which adds to the learner's prediction."""

import time

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from agent.accounting.work import Work
from agent.memory.entry_memory import CPU
from agent.memory.entry_store import Storage
from agent.memory.mixture import FLOOR, Mixture, most_accurate
from agent.memory.neighbour_memory import NeighbourMemory
from agent.memory.neighbours import Neighbours
from agent.memory.protocol import ReadOut
from agent.memory.settings import Setting, positive, whole
from agent.networks.outputs import Outputs

N_QUERIES = 1024
"""Queries whose neighbours' residuals are averaged at once."""


class ResidualMemory(NeighbourMemory):
    """The residuals of the nearest samples, added to the learner's probabilities (ResMem, Yang et al. 2023).

    With each key it stores the residual r_i = e_y - p(x_i): 1 at the label and 0 elsewhere, minus the learner's
    probabilities when the sample was memorized. For a query q with the k nearest keys z_i (Euclidean distance of
    L2-normalized keys), r(q) = Σ_i w_i r_i with w_i ∝ exp(-‖q - z_i‖ / σ), and the agent predicts p(q) + r(q)
    (section 3 of the paper). What falls below 0 there counts as 0, and the sum is 1 again.

    The read-out of a memory is a distribution, so it is (1 + r) / C for C classes, from which `combine` gets r back.
    The class that it favours is the one with the largest residual. `combine` adds and does not mix: the weight of the
    learner is always 1. Calibration chooses k and σ; before it, and without entries, the agent predicts as its learner.

    An entry takes (key length + C) numbers and 8 bytes. Recall takes 2 n N (key length) FLOPs for n queries and N
    entries; selecting and averaging neighbours is not billed.

    Args:
        n_classes: number of classes.
        device: device of the entries.
        storage: type of the stored keys and residuals, by default float32 on the CPU and float16 on a GPU.

    Raises:
        InvalidSetting: no class, or another type.

    References:
        Yang et al. 2023, "ResMem: Learn what you can and memorize the rest", arXiv:2302.01576, section 3.
    """

    settings: tuple[Setting, ...] = (
        {"k": 1.0, "sigma": 0.25},  # a single neighbour has all of the weight at any σ
        *({"k": float(k), "sigma": 4.0**-i} for k in (3, 10, 30, 100) for i in range(5)),
    )
    prior: Setting = {"k": 10.0, "sigma": 0.25}  # noqa: RUF012 (read-only)
    pools_keys = True

    def __init__(self, n_classes: int, *, device: torch.device = CPU, storage: Storage | None = None) -> None:
        super().__init__(n_classes, device, storage, _residuals)

    @torch.inference_mode()
    def recall(
        self, queries: Float[Tensor, "n length"], settings: tuple[Setting, ...], cache: Neighbours | None = None
    ) -> tuple[ReadOut, Neighbours, Work]:
        """(1 + r) / C of queries at each setting `k` and `sigma`; see `Memory`.

        Raises:
            InvalidSetting: non-finite queries, queries of another length than the keys, a k that is no whole number
                above 0, or a σ that is not positive and finite.
        """
        k = max(whole(settings, "k"))
        positive(settings, "sigma", "σ")
        found, work = self.search(queries, k, cache)
        start = time.perf_counter()
        read_out = self._read_out(found, settings)
        return read_out, found, work + Work(seconds=time.perf_counter() - start)

    def _read_out(self, found: Neighbours, settings: tuple[Setting, ...]) -> ReadOut:
        n = len(found.similarity)
        residual = torch.zeros(len(settings), n, self.n_classes, device=self.device)
        if not found.n_entries:
            return ReadOut((1 + residual) / self.n_classes, None)
        stored = self.entries.values
        for first in range(0, n, N_QUERIES):
            rows = slice(first, first + N_QUERIES)
            of_neighbours = stored[found.positions[rows]]
            distance = (2 - 2 * found.similarity[rows]).clamp_min_(0).sqrt_()
            for setting, added in zip(settings, residual, strict=True):
                weights = (-distance[:, : int(setting["k"])] / setting["sigma"]).softmax(dim=1)
                added[rows] = (weights[:, :, None] * of_neighbours[:, : weights.shape[1]]).sum(dim=1)
        residual -= residual.mean(dim=2, keepdim=True)  # stored residuals are rounded, so that their sum may not be 0
        return ReadOut((1 + residual).clamp_min_(0) / self.n_classes, found.novelty)

    def combine(
        self, learner: Float[Tensor, "n classes"], memory: Float[Tensor, "n classes"], fitted: Mixture
    ) -> Float[Tensor, "n classes"]:
        """The learner's probabilities and the residual, at least 0, of sum 1; the learner's before the first fit."""
        if not fitted.fitted:
            return learner
        return _added(learner, memory)

    def fit(
        self,
        learner: Float[Tensor, "n classes"],
        memory: Float[Tensor, "n_settings n classes"],
        labels: Int64[Tensor, " n"],
        *,
        within: float = 0.0,
    ) -> Mixture:
        """The setting with the highest accuracy; likelihood decides between those that are close (`most_accurate`)."""
        labels = labels.cpu()
        combined = [_added(learner.cpu(), each) for each in memory.cpu()]
        right = torch.stack([each.argmax(dim=1) == labels for each in combined])
        likelihood = torch.stack(
            [each.gather(1, labels[:, None]).double().clamp_min(FLOOR).log().sum() for each in combined]
        )
        return Mixture(1.0, self.settings[most_accurate(right, likelihood, within=within)])


def _residuals(outputs: Outputs, labels: Int64[Tensor, " n"]) -> Float[Tensor, "n classes"]:
    n_classes = outputs.probabilities.shape[1]
    return F.one_hot(labels.to(outputs.probabilities.device), n_classes) - outputs.probabilities.float()


def _added(learner: Float[Tensor, "n classes"], memory: Float[Tensor, "n classes"]) -> Float[Tensor, "n classes"]:
    residual = memory * memory.shape[1] - 1
    added = (learner + residual).clamp_min(0)
    return added / added.sum(dim=1, keepdim=True)
