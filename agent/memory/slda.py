"""Streaming linear discriminant analysis: a memory that stores class means and one covariance."""

import copy
import time
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int64, Shaped
from torch import Tensor

from agent.accounting.work import Work
from agent.errors import InvalidSetting
from agent.memory.entries import check_entries, check_keys, normalized
from agent.memory.entry_memory import CPU
from agent.memory.mixture import LinearMixing
from agent.memory.protocol import Insertion, InsertionEstimate, ReadOut
from agent.memory.recomputed import Recomputed, check_limit
from agent.memory.settings import LEAST_PENALTY, Setting, positive
from agent.networks.outputs import Outputs
from agent.version import Lineage

NBYTES = 8
"""Bytes of a float64, the type of the sums."""

LEAST_VARIANCE = 1e-6
"""Stands for the mean variance where it is smaller, as with one sample in each class."""


class SldaMemory(Recomputed, LinearMixing):
    """Linear discriminant analysis with a shrunk covariance, updated with each chunk; it stores no keys.

    With μ_c the mean of the L2-normalized keys of class c, Σ their covariance within the classes and D the key length,
    Λ = (1 - ε) Σ + ε (tr Σ / D) I. The score of a query q is δ_c = qᵀ Λ⁻¹ μ_c - ½ μ_cᵀ Λ⁻¹ μ_c, without a prior over
    classes, and p(c | q) ∝ exp(δ_c / T), over the classes that have samples.

    Two things differ from the paper. Its update weights each deviation from a running mean by the number of all samples
    so far, so that the covariance depends on their order; here it is that of the samples, whatever their order. And
    its shrinkage is absolute, (1 - ε) Σ + ε I with ε = 10⁻⁴; here ε is relative to the mean variance and calibrated,
    since keys are normalized and their variance depends on the network.

    With C classes it takes 8 (D² + D C + C) bytes, an insert of n samples 2 n D (D + C) FLOPs, and a recall
    2 D² C + D³ / 3 + 2 D² C FLOPs for each ε (covariance, Cholesky factorization, triangular solves) and 2 n D C for n
    queries, whatever the number of samples.

    Args:
        n_classes: number of classes.
        device: device of the sums.
        limit: largest length of a key, in numbers.

    Raises:
        InvalidSetting: no class, or a limit below 1.

    References:
        Hayes and Kanan 2020, "Lifelong machine learning with deep streaming linear discriminant analysis",
        arXiv:1909.01520, equations 1 to 3.
    """

    settings: tuple[Setting, ...] = tuple(
        {"shrinkage": shrinkage, "temperature": temperature}
        for shrinkage in (1e-4, 1e-3, 0.01, 0.1, 0.5)
        for temperature in (1.0, 2.0, 4.0, 8.0)
    )
    prior: Setting = {"shrinkage": 0.01, "temperature": 1.0}  # noqa: RUF012 (read-only)
    needs_inputs = False
    pools_keys = True

    def __init__(self, n_classes: int, *, device: torch.device = CPU, limit: int = 4096) -> None:
        if n_classes < 1:
            raise InvalidSetting(f"expected at least 1 class, got {n_classes}")
        if limit < 1:
            raise InvalidSetting(f"expected a limit of at least 1 number in a key, got {limit}")
        self.n_classes, self.limit = n_classes, limit
        self.device = CPU if device.type == "mps" else device  # MPS has no float64
        self.lineage = Lineage()
        self.version = self.lineage.next()
        self._squares: Float64[Tensor, "length length"] | None = None  # Σ x xᵀ
        self._sums: Float64[Tensor, "classes length"] | None = None  # Σ x of each class
        self._counts = torch.zeros(n_classes, dtype=torch.int64, device=self.device)
        self._weights: dict[float, Float64[Tensor, "length classes"]] = {}  # Λ⁻¹ μ by ε, until the next insert

    @property
    def n_entries(self) -> int:
        """Samples in the sums."""
        return int(self._counts.sum())

    @property
    def nbytes(self) -> int:
        """Bytes of sums and counts; 0 before the first insert."""
        return 0 if self._sums is None else self._nbytes_of(self._sums.shape[1])

    def _nbytes_of(self, d: int) -> int:
        return NBYTES * (d * (d + self.n_classes) + self.n_classes)

    def estimate_insert(self, n: int, key_length: int) -> InsertionEstimate:
        """The FLOPs and bytes of the sums: every insert writes all their bytes, and the first one allocates them.

        Raises:
            InvalidSetting: keys longer than the limit.
        """
        d, nbytes = key_length, self._nbytes_of(key_length)
        check_limit(d, self.limit, "slda", nbytes / 1e9, self._solving_flops(d) / 1e9)
        if not n:
            return InsertionEstimate(Work(), 0)
        return InsertionEstimate(Work(2 * n * d * (d + self.n_classes), nbytes), nbytes - self.nbytes)

    def insert(
        self,
        outputs: Outputs,
        labels: Int64[Tensor, " n_labels"],
        ids: Int64[Tensor, " n_ids"],
        inputs: Shaped[Tensor, "n ..."] | None = None,
    ) -> Insertion:
        """Add samples to the sums; see `Memory`. The ids are checked, but not stored.

        Raises:
            InvalidSetting: see `check_entries`; or keys longer than `limit`.
        """
        keys = outputs.keys
        check_entries(keys, labels, ids, n_classes=self.n_classes, key_length=self._key_length)
        work = self.estimate_insert(len(keys), keys.shape[1]).work
        if not len(keys):
            return Insertion(Work())
        start = time.perf_counter()
        x = normalized(keys.to(self.device)).double()
        classes = F.one_hot(labels.to(self.device), self.n_classes)
        squares, sums = x.T @ x, classes.double().T @ x
        if self._squares is not None and self._sums is not None:  # new tensors, since forks share the old ones
            squares, sums = self._squares + squares, self._sums + sums
        self._squares, self._sums, self._counts = squares, sums, self._counts + classes.sum(dim=0)
        self._weights = {}
        self.version = self.lineage.next()
        return Insertion(Work(work.flops, work.nbytes, time.perf_counter() - start))

    @torch.inference_mode()
    def recall(
        self, queries: Float[Tensor, "n length"], settings: tuple[Setting, ...], cache: ReadOut | None = None
    ) -> tuple[ReadOut, ReadOut, Work]:
        """Class probabilities of queries at each setting `shrinkage` (ε, above 0, at most 1) and `temperature`.

        Raises:
            InvalidSetting: non-finite queries, queries of another length than the keys, or a setting out of range.
        """
        if cache is not None:
            return self.again(queries, cache)
        temperatures, shrinkages = (
            positive(settings, "temperature"),
            positive(settings, "shrinkage", least=LEAST_PENALTY),
        )
        if max(shrinkages) > 1:
            raise InvalidSetting(f"expected shrinkage of at most 1, got {shrinkages}")
        check_keys(queries, self._key_length)
        if self._sums is None:
            read_out = ReadOut(self.uniform(len(settings), queries), None)
            return read_out, read_out, Work()
        start = time.perf_counter()
        x = normalized(queries.to(self.device)).double()
        scores = {shrinkage: self._scores(x, shrinkage) for shrinkage in dict.fromkeys(shrinkages)}
        found = [(scores[s] / t).softmax(dim=1).float() for s, t in zip(shrinkages, temperatures, strict=True)]
        read_out = ReadOut(torch.stack(found).to(queries.device), None)
        flops = len(scores) * self.recall_flops(len(queries))
        return read_out, read_out, Work(flops, seconds=time.perf_counter() - start)

    def recall_flops(self, n: int) -> int:
        """FLOPs of solving for one ε and answering n queries."""
        d = self._key_length
        return 0 if d is None else self._solving_flops(d) + 2 * n * d * self.n_classes

    def _solving_flops(self, d: int) -> int:
        return d**3 // 3 + 4 * d**2 * self.n_classes

    def _scores(self, x: Float64[Tensor, "n length"], shrinkage: float) -> Float64[Tensor, "n classes"]:
        """δ of each query and class; -inf of a class without samples. Every recall bills the solution."""
        assert self._sums is not None
        means = (self._sums / self._counts.clamp_min(1)[:, None]).T
        if shrinkage not in self._weights:
            self._weights[shrinkage] = torch.cholesky_solve(means, torch.linalg.cholesky(self._covariance(shrinkage)))
        weights = self._weights[shrinkage]
        scores = x @ weights - (means * weights).sum(dim=0) / 2
        return scores.masked_fill(self._counts == 0, -torch.inf)

    def _covariance(self, shrinkage: float) -> Float64[Tensor, "length length"]:
        """The shrunk covariance within classes, Λ."""
        assert self._sums is not None
        assert self._squares is not None
        between = self._sums.T @ (self._sums / self._counts.clamp_min(1)[:, None])
        within = (self._squares - between) / self._counts.sum()
        variance = within.diagonal().mean().clamp_min(LEAST_VARIANCE)
        return (1 - shrinkage) * within + shrinkage * variance * torch.eye(len(within), device=self.device)

    @property
    def _key_length(self) -> int | None:
        return None if self._sums is None else self._sums.shape[1]

    def fork(self) -> "SldaMemory":
        """An independent memory with the same sums, shared until one side inserts."""
        fork = copy.copy(self)
        fork.lineage, fork._weights = Lineage(), dict(self._weights)
        return fork

    def state(self) -> dict[str, Any]:
        """The sums and counts."""
        if self._squares is None or self._sums is None:
            return {}
        return {"squares": self._squares.cpu(), "sums": self._sums.cpu(), "counts": self._counts.cpu()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self._squares = self._sums = None
        self._counts = torch.zeros(self.n_classes, dtype=torch.int64, device=self.device)
        if state:
            self._squares, self._sums, self._counts = (
                state[name].to(self.device) for name in ("squares", "sums", "counts")
            )
        self._weights = {}
        self.version = self.lineage.next()
