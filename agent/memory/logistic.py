"""Logistic regression, trained on the stored keys when the memory is asked."""

import time
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int64, Shaped
from torch import Tensor

from agent.accounting.work import Work
from agent.errors import InvalidSetting
from agent.memory.entries import check_keys, normalized
from agent.memory.entry_memory import CPU, EntryMemory
from agent.memory.entry_store import Storage
from agent.memory.mixture import LinearMixing
from agent.memory.protocol import Insertion, InsertionEstimate, ReadOut
from agent.memory.recomputed import Recomputed, check_limit
from agent.memory.settings import LEAST_PENALTY, Setting, positive
from agent.networks.outputs import Outputs
from agent.version import Version

TILE = 8192
"""Entries passed at once."""


class LogisticMemory(EntryMemory, Recomputed, LinearMixing):
    """Multinomial logistic regression on the stored keys: halfway between memorizing and learning.

    It stores entries as a cache does. Asked for the first time after a change, it trains a classifier on all of them,
    from weights of 0, and every recall is billed for that training. With x the L2-normalized key with a 1 appended and
    N entries it minimizes -(1/N) Σ log p(y | x) + (λ m / 2) ‖W‖², where p = softmax(xᵀ W) and m is the mean of x's
    squares. A step multiplies the gradient by the inverse of ½ (1/N) Σ x xᵀ + λ m I, which is nowhere below the
    curvature (Böhning 1992), so that no step size is chosen; steps are accelerated (Beck and Teboulle 2009). Where λ is
    small and classes can be separated, the minimum is far away, and training stops on its way there.

    With D = key length + 1 and C classes, at one λ a recall of n queries takes 2 N D² + D³ / 3 FLOPs for that matrix
    and its factor, 4 N D C + 2 D² C for each step, and 2 n D C.

    Args:
        n_classes: number of classes.
        device: device of the entries.
        storage: type of the stored keys, by default float32 on the CPU and float16 on a GPU.
        steps: of the training.
        limit: largest length of a key, in numbers.

    Raises:
        InvalidSetting: no class, no step, a limit below 1, or another type.

    References:
        Böhning 1992, "Multinomial logistic regression algorithm", Annals of the Institute of Statistical Mathematics
        44(1), for the bound. Beck and Teboulle 2009, "A fast iterative shrinkage-thresholding algorithm", SIAM J.
        Imaging Sci. 2(1), section 4, for the acceleration.
    """

    settings: tuple[Setting, ...] = tuple({"lambda": 10.0**exponent} for exponent in range(-6, 0))
    prior: Setting = {"lambda": 1e-4}  # noqa: RUF012 (read-only)
    pools_keys = True

    def __init__(
        self,
        n_classes: int,
        *,
        device: torch.device = CPU,
        storage: Storage | None = None,
        steps: int = 100,
        limit: int = 4096,
    ) -> None:
        super().__init__(n_classes, CPU if device.type == "mps" else device, storage)  # MPS has no float64
        if steps < 1 or limit < 1:
            raise InvalidSetting(f"expected at least 1 step and a limit of at least 1, got {steps} and {limit}")
        self.steps, self.limit = steps, limit
        self._trained = _Trained(self.version, {})

    def estimate_insert(self, n: int, key_length: int) -> InsertionEstimate:
        """The bytes of n entries: written once, and held.

        Raises:
            InvalidSetting: keys longer than the limit.
        """
        d = key_length + 1
        check_limit(key_length, self.limit, "logistic", 3 * 8 * d**2 / 1e9, self._solving_flops(d) / 1e9)
        return super().estimate_insert(n, key_length)

    def insert(
        self,
        outputs: Outputs,
        labels: Int64[Tensor, " n_labels"],
        ids: Int64[Tensor, " n_ids"],
        inputs: Shaped[Tensor, "n ..."] | None = None,
    ) -> Insertion:
        """Append entries; see `Memory`."""
        self.estimate_insert(len(labels), outputs.keys.shape[1])
        insertion = super().insert(outputs, labels, ids)
        if len(labels):
            self.version = self.lineage.next()
        return insertion

    @torch.inference_mode()
    def recall(
        self, queries: Float[Tensor, "n length"], settings: tuple[Setting, ...], cache: ReadOut | None = None
    ) -> tuple[ReadOut, ReadOut, Work]:
        """Class probabilities of queries at each setting `lambda` above 0, the relative penalty λ; see `Memory`.

        Raises:
            InvalidSetting: non-finite queries, queries of another length than the keys, or a λ that is not positive
                and finite.
        """
        if cache is not None:
            return self.again(queries, cache)
        penalties = positive(settings, "lambda", "λ", least=LEAST_PENALTY)
        check_keys(queries, self.entries.key_length)
        if not self.n_entries:
            read_out = ReadOut(self.uniform(len(settings), queries), None)
            return read_out, read_out, Work()
        start = time.perf_counter()
        weights = self._weights(penalties)
        x = F.pad(normalized(queries.to(self.device)), (0, 1), value=1.0)
        probabilities = torch.stack([(x @ weights[penalty]).softmax(dim=1) for penalty in penalties])
        read_out = ReadOut(probabilities.to(queries.device), None)
        flops = len(set(penalties)) * self.recall_flops(len(queries))
        return read_out, read_out, Work(flops, seconds=time.perf_counter() - start)

    def recall_flops(self, n: int) -> int:
        """FLOPs of training at one λ and answering n queries."""
        if not self.n_entries:
            return 0
        d = (self.entries.key_length or 0) + 1
        training = 2 * self.n_entries * d * (d + 2 * self.n_classes * self.steps)
        return training + self._solving_flops(d) + 2 * n * d * self.n_classes

    def _solving_flops(self, d: int) -> int:
        return d**3 // 3 + 2 * d**2 * self.n_classes * self.steps

    def _weights(self, penalties: list[float]) -> dict[float, Float[Tensor, "d classes"]]:
        """The weights at each λ, trained once until the entries change."""
        if self._trained.version != self.version:
            self._trained = _Trained(self.version, {})
        if missing := [penalty for penalty in dict.fromkeys(penalties) if penalty not in self._trained.weights]:
            gram = self._gram() / self.n_entries
            found = {penalty: self._train(penalty, gram) for penalty in missing}
            self._trained = _Trained(self.version, self._trained.weights | found)
        return self._trained.weights

    def _train(self, penalty: float, gram: Float64[Tensor, "d d"]) -> Float[Tensor, "d classes"]:
        """The weights at a λ, by itself, so that they do not depend on the other λ's to the bit."""
        ridge = penalty * gram.diagonal().mean()
        factor = torch.linalg.cholesky(gram / 2 + ridge * torch.eye(len(gram), device=self.device))
        weights = torch.zeros(len(gram), self.n_classes, dtype=torch.float64, device=self.device)
        ahead, momentum = weights, 1.0
        for _ in range(self.steps):
            gradient = self._gradient(ahead) + ridge * ahead
            before, weights = weights, ahead - torch.cholesky_solve(gradient, factor)
            last, momentum = momentum, (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            ahead = weights + (last - 1) / momentum * (weights - before)
        return weights.float()

    def _gradient(self, weights: Float64[Tensor, "d classes"]) -> Float64[Tensor, "d classes"]:
        """Of the mean cross-entropy."""
        single, found = weights.float(), torch.zeros_like(weights)
        for keys, labels, _ in self.entries.tiles_after(0, TILE):
            wrong = torch.addmm(single[-1], keys, single[:-1]).softmax(dim=1) - F.one_hot(labels, self.n_classes)
            found[:-1] += keys.T @ wrong
            found[-1] += wrong.sum(dim=0)
        return found / self.n_entries

    def _gram(self) -> Float64[Tensor, "d d"]:
        """Σ x xᵀ over all entries."""
        d = (self.entries.key_length or 0) + 1
        gram = torch.zeros(d, d, dtype=torch.float64, device=self.device)
        for keys, _, _ in self.entries.tiles_after(0, TILE):
            keys = keys.double()
            sums = keys.sum(dim=0)
            gram[:-1, :-1] += keys.T @ keys
            gram[-1, :-1] += sums
            gram[:-1, -1] += sums
        gram[-1, -1] = self.n_entries
        return gram


class _Trained(NamedTuple):
    version: Version
    weights: dict[float, Float[Tensor, "d classes"]]
    """By λ."""
