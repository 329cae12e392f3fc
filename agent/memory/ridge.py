"""Streaming ridge regression from keys to classes: a memory of sums, without entries."""

import copy
import time
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int64, Shaped
from torch import Tensor

from agent.accounting.work import Work
from agent.errors import InvalidSetting
from agent.memory.entries import NONE, check_entries, check_keys, normalized
from agent.memory.mixture import Mixture, Setting, fit_mixture
from agent.memory.protocol import Insertion, InsertionEstimate, ReadOut
from agent.networks.outputs import Outputs
from agent.version import Lineage

CPU = torch.device("cpu")
FLOOR = 1e-6
"""Added to every score: no class is impossible, and no sum 0."""
NBYTES = 8
"""Of a float64, which the sums are held in."""


@dataclass(frozen=True)
class Answered:
    """The cache of a recall: what was answered holds until the next insert."""

    read_out: ReadOut


class RidgeMemory:
    """Ridge regression of the classes on the keys, kept up to date chunk by chunk; no key is stored.

    Of the samples (k, c) it holds the sums G = Σ x xᵀ and B = Σ x e_cᵀ, where x is the key, L2-normalized, and a 1
    beside it, and e_c is 1 at c and 0 elsewhere. A query's scores are xᵀ (G + λ m I)⁻¹ B, with m the mean of G's
    diagonal; what of them is above 0, plus 10⁻⁶, divided by its sum, are the class probabilities.

    Every insert changes every answer. With D = key length + 1 and C classes the memory takes 8 (D² + D C) bytes, an
    insert of n samples 2 n D (D + C) FLOPs, and a recall D³ / 3 + 2 D² C FLOPs for each λ (a Cholesky factorization
    and two triangular solves) and 2 n D C for n queries. Keys should be pooled, therefore: 64 numbers take 39 kB, the
    12,288 numbers of three whole activations 1.2 GB and 620 GFLOP for each λ.

    Args:
        n_classes: number of classes.
        device: where the sums lie.
        limit: largest length of a key, in numbers.

    Raises:
        InvalidSetting: a limit below 1.

    References:
        Hoerl and Kennard, "Ridge regression", Technometrics 12(1), 1970. As a head on the features of a network that
        sees a stream once: McDonnell et al., "RanPAC", NeurIPS 2023, arXiv:2307.02251. FLOPs: Golub
        and Van Loan, "Matrix computations", 4th edition, section 4.2.
    """

    settings: tuple[Setting, ...] = tuple({"lambda": 10.0**exponent} for exponent in range(-6, 3))
    prior: Setting = {"lambda": 0.01}  # noqa: RUF012 (never written to)
    needs_inputs = False
    pools_keys = True

    def __init__(self, n_classes: int, *, device: torch.device = CPU, limit: int = 4096) -> None:
        if n_classes < 1:
            raise InvalidSetting(f"expected at least 1 class, got {n_classes}")
        if limit < 1:
            raise InvalidSetting(f"expected a limit of at least 1 number in a key, got {limit}")
        self.n_classes, self.limit = n_classes, limit
        self.device = CPU if device.type == "mps" else device  # which has no float64
        self.n_entries = 0
        self.lineage = Lineage()
        self.version = self.lineage.next()
        self._gram: Float64[Tensor, "d d"] | None = None
        self._response: Float64[Tensor, "d classes"] | None = None
        self._solutions: dict[float, Float64[Tensor, "d classes"]] = {}  # by λ, until the next insert

    @property
    def nbytes(self) -> int:
        """Bytes of G and B; 0 before the first insert."""
        return self._nbytes_of(len(self._gram)) if self._gram is not None else 0

    def _nbytes_of(self, d: int) -> int:
        return NBYTES * d * (d + self.n_classes)

    def estimate_insert(self, n: int, key_length: int) -> InsertionEstimate:
        """The FLOPs of the sums, and their bytes: all of them are written at each insert, and held from the first on.

        Raises:
            InvalidSetting: keys longer than the limit.
        """
        d = key_length + 1
        nbytes = self._nbytes_of(d)
        if key_length > self.limit:
            raise InvalidSetting(
                f"expected keys of at most {self.limit:,} numbers for a ridge regression, got {key_length:,}: it would "
                f"take {nbytes / 1e9:,.1f} GB, and {self._solving_flops(d) / 1e9:,.0f} GFLOP for each λ that is tried; "
                f"pool the keys (--pool), or raise the limit (--memory ridge:limit={key_length})"
            )
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
        """Add samples to the sums; ids name nothing that could be asked for again.

        Args:
            outputs: of which the keys are used.
            labels: classes from 0 to n_classes - 1.
            ids: checked, and not stored.
            inputs: not used.

        Raises:
            InvalidSetting: non-finite keys, keys longer than the limit or of another length than before, not as many
                keys as labels and ids, or a label or id out of range.
        """
        keys = outputs.keys
        check_entries(keys, labels, ids, n_classes=self.n_classes, key_length=self._key_length)
        work = self.estimate_insert(len(keys), keys.shape[1]).work
        if not len(keys):
            return Insertion(Work(), NONE)
        start = time.perf_counter()
        x = self._with_one(keys)
        y = F.one_hot(labels.to(self.device), self.n_classes).double()
        gram, response = x.T @ x, x.T @ y
        self._gram = gram if self._gram is None else self._gram + gram  # a new tensor: forks hold the old one
        self._response = response if self._response is None else self._response + response
        self.n_entries += len(keys)
        self._solutions = {}
        self.version = self.lineage.next()
        return Insertion(Work(work.flops, work.nbytes, time.perf_counter() - start), NONE)

    @torch.inference_mode()
    def recall(
        self, queries: Float[Tensor, "n length"], settings: tuple[Setting, ...], cache: Answered | None = None
    ) -> tuple[ReadOut, Answered, Work]:
        """Class probabilities of queries, at each λ at once.

        Args:
            queries: need not be normalized.
            settings: `lambda`, above 0: the penalty as a multiple of the mean of G's diagonal.
            cache: of an earlier recall, since which nothing was inserted: there is nothing to compute.

        Raises:
            InvalidSetting: non-finite queries, queries of another length than the keys, or a λ that is not positive
                and finite.
        """
        if cache is not None:
            return ReadOut(cache.read_out.probabilities.to(queries.device), None), cache, Work()
        penalties = [setting["lambda"] for setting in settings]
        if not bool(all(0 < penalty < float("inf") for penalty in penalties)):
            raise InvalidSetting(f"expected finite λ above 0, got {penalties}")
        check_keys(queries, self._key_length)
        start = time.perf_counter()
        if self._gram is None:
            shape = len(settings), len(queries), self.n_classes
            read_out = ReadOut(torch.full(shape, 1 / self.n_classes, device=queries.device), None)
        else:
            x = self._with_one(queries)
            scores = torch.stack([x @ self._solution(penalty) for penalty in penalties]).clamp_min_(0).add_(FLOOR)
            read_out = ReadOut((scores / scores.sum(dim=2, keepdim=True)).float().to(queries.device), None)
        flops = len(settings) * self.recall_flops(len(queries))
        return read_out, Answered(read_out), Work(flops, seconds=time.perf_counter() - start)

    def recall_flops(self, n: int) -> int:
        """FLOPs of solving for one λ, and of n queries."""
        if self._gram is None:
            return 0
        d = len(self._gram)
        return self._solving_flops(d) + 2 * n * d * self.n_classes

    def _solving_flops(self, d: int) -> int:
        return d**3 // 3 + 2 * d**2 * self.n_classes

    def _solution(self, penalty: float) -> Float64[Tensor, "d classes"]:
        """The weights at a λ; computed once, and billed to everyone who would have to compute them."""
        if penalty not in self._solutions:
            assert self._gram is not None, "an empty memory has nothing to solve"
            assert self._response is not None
            ridge = penalty * self._gram.diagonal().mean()
            factor = torch.linalg.cholesky(self._gram + ridge * torch.eye(len(self._gram), device=self.device))
            self._solutions[penalty] = torch.cholesky_solve(self._response, factor)
        return self._solutions[penalty]

    @property
    def _key_length(self) -> int | None:
        return None if self._gram is None else len(self._gram) - 1

    def _with_one(self, keys: Float[Tensor, "n length"]) -> Float64[Tensor, "n d"]:
        return F.pad(normalized(keys.to(self.device)).double(), (0, 1), value=1.0)

    def combine(
        self, learner: Float[Tensor, "n classes"], memory: Float[Tensor, "n classes"], fitted: Mixture
    ) -> Float[Tensor, "n classes"]:
        """w × learner + (1 - w) × memory."""
        return fitted.mix(learner, memory)

    def fit(
        self,
        learner: Float[Tensor, "n classes"],
        memory: Float[Tensor, "n_settings n classes"],
        labels: Int64[Tensor, " n"],
    ) -> Mixture:
        """w and λ; see `fit_mixture`."""
        return fit_mixture(learner, memory, labels, self.settings)

    def save_cache(self, cache: Answered) -> dict[str, Any]:
        """The answers."""
        return {"probabilities": cache.read_out.probabilities.cpu()}

    def load_cache(self, state: dict[str, Any]) -> Answered:
        """The answers that were saved."""
        return Answered(ReadOut(state["probabilities"].to(self.device), None))

    def fork(self) -> "RidgeMemory":
        """A memory with the same sums and a future of its own; the sums are shared until either side adds to them."""
        fork = copy.copy(self)
        fork.lineage = Lineage()
        fork._solutions = dict(self._solutions)
        return fork

    def state(self) -> dict[str, Any]:
        """The sums."""
        sums = {} if self._gram is None else {"gram": self._gram.cpu(), "response": self._response.cpu()}  # type: ignore[union-attr]
        return {"n_entries": self.n_entries, **sums}

    def load_state(self, state: dict[str, Any]) -> None:
        """Become the memory whose `state` this is."""
        self.n_entries = state["n_entries"]
        empty = "gram" not in state
        self._gram = None if empty else state["gram"].to(self.device)
        self._response = None if empty else state["response"].to(self.device)
        self._solutions = {}
        self.version = self.lineage.next()
