"""Streaming ridge regression from keys to classes: a memory that stores sums and no entries."""

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
from agent.randomness import named_generator
from agent.version import Lineage

FLOOR = 1e-6
"""Added to every score, so that no class has probability 0 and no sum is 0."""
NBYTES = 8
"""Bytes of a float64, the type of the sums."""


class RidgeMemory(Recomputed, LinearMixing):
    """Ridge regression of the classes on the keys, updated with each chunk; it stores no keys.

    It sums G = Σ x xᵀ and B = Σ x e_cᵀ over the samples (key, class c), where x is the L2-normalized key k with a 1
    appended, and e_c is 1 at c and 0 elsewhere. With `dim` = M, x has M random features max(kᵀ W, 0) in place of the
    key, where the numbers of W are drawn from a standard normal distribution (RanPAC, section 4). The scores of a query
    are xᵀ (G + λ m I)⁻¹ B, with m the mean of G's diagonal. Class probabilities are max(score, 0) + 10⁻⁶, divided by
    their sum.

    Every insert changes every answer. With D the length of x and C classes the memory takes 8 (D² + D C) bytes, an
    insert of n samples 2 n D (D + C) FLOPs, and a recall D³ / 3 + 2 D² C FLOPs for each λ (a Cholesky factorization
    and two triangular solves) and 2 n D C for n queries. So keys should be pooled: 64 numbers take 39 kB; the 12,288
    numbers of three whole activations take 1.2 GB, and 620 GFLOP for each λ. Random features of keys of L numbers take
    4 L M bytes for W, and 2 L M FLOPs for each sample or query.

    Args:
        n_classes: number of classes.
        device: device of the sums.
        limit: largest length of a key, in numbers, or largest number of random features.
        dim: number of random features, by default none: the key itself.
        seed: of the random features.

    Raises:
        InvalidSetting: no class, a limit below 1, no random feature, or more than the limit.

    References:
        Hoerl and Kennard, "Ridge regression", Technometrics 12(1), 1970. In continual learning, on random features of
        a network: McDonnell et al., "RanPAC", NeurIPS 2023, arXiv:2307.02251, section 4. FLOPs: Golub and Van Loan,
        "Matrix computations", 4th edition, section 4.2.
    """

    settings: tuple[Setting, ...] = tuple({"lambda": 10.0**exponent} for exponent in range(-6, 3))
    prior: Setting = {"lambda": 0.01}  # noqa: RUF012 (read-only)
    needs_inputs = False
    pools_keys = True

    def __init__(
        self, n_classes: int, *, device: torch.device = CPU, limit: int = 4096, dim: int | None = None, seed: int = 0
    ) -> None:
        if n_classes < 1:
            raise InvalidSetting(f"expected at least 1 class, got {n_classes}")
        if limit < 1:
            raise InvalidSetting(f"expected a limit of at least 1 number in a key, got {limit}")
        if dim is not None and not 1 <= dim <= limit:
            raise InvalidSetting(
                f"expected from 1 to {limit:,} random features, got {dim:,}; with a larger limit "
                f"(ridge:dim={dim},limit={dim}) they would take {NBYTES * dim**2 / 1e9:,.1f} GB"
            )
        self.n_classes, self.limit, self.dim, self.seed = n_classes, limit, dim or 0, seed
        self.device = CPU if device.type == "mps" else device  # MPS has no float64
        self.n_entries = 0
        self.lineage = Lineage()
        self.version = self.lineage.next()
        self._projection: Float[Tensor, "length dim"] | None = None  # W, from the first insert on
        self._gram: Float64[Tensor, "d d"] | None = None
        self._response: Float64[Tensor, "d classes"] | None = None
        self._solutions: dict[float, Float64[Tensor, "d classes"]] = {}  # by λ, until the next insert

    @property
    def nbytes(self) -> int:
        """Bytes of G and B, and of W; 0 before the first insert."""
        return 0 if self._key_length is None else self._sums_nbytes(self._key_length) + 4 * self._key_length * self.dim

    def _sums_nbytes(self, key_length: int) -> int:
        d = self._n_features(key_length)
        return NBYTES * d * (d + self.n_classes)

    def _n_features(self, key_length: int) -> int:
        return (self.dim or key_length) + 1

    def estimate_insert(self, n: int, key_length: int) -> InsertionEstimate:
        """The FLOPs and bytes of the sums: every insert writes all their bytes, and the first one allocates them.

        Raises:
            InvalidSetting: keys longer than the limit.
        """
        d, written = self._n_features(key_length), self._sums_nbytes(key_length)
        if not self.dim:
            check_limit(key_length, self.limit, "ridge", written / 1e9, self._solving_flops(d) / 1e9)
        if not n:
            return InsertionEstimate(Work(), 0)
        flops = 2 * n * (key_length * self.dim + d * (d + self.n_classes))
        return InsertionEstimate(Work(flops, written), written + 4 * key_length * self.dim - self.nbytes)

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
        if self.dim and self._projection is None:
            self._projection = self._drawn(keys.shape[1])
        x = self._features(keys)
        y = F.one_hot(labels.to(self.device), self.n_classes).double()
        gram, response = x.T @ x, x.T @ y
        self._gram = gram if self._gram is None else self._gram + gram  # a new tensor, since forks share the old one
        self._response = response if self._response is None else self._response + response
        self.n_entries += len(keys)
        self._solutions = {}
        self.version = self.lineage.next()
        return Insertion(Work(work.flops, work.nbytes, time.perf_counter() - start))

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
        check_keys(queries, self._key_length)
        start = time.perf_counter()
        if self._gram is None:
            read_out = ReadOut(self.uniform(len(settings), queries), None)
        else:
            x = self._features(queries)
            scores = torch.stack([x @ self._solution(penalty) for penalty in penalties]).clamp_min_(0).add_(FLOOR)
            read_out = ReadOut((scores / scores.sum(dim=2, keepdim=True)).float().to(queries.device), None)
        flops = len(settings) * self.recall_flops(len(queries))
        return read_out, read_out, Work(flops, seconds=time.perf_counter() - start)

    def recall_flops(self, n: int) -> int:
        """FLOPs of solving for one λ and answering n queries."""
        if self._key_length is None:
            return 0
        d = self._n_features(self._key_length)
        return self._solving_flops(d) + 2 * n * (self._key_length * self.dim + d * self.n_classes)

    def _solving_flops(self, d: int) -> int:
        return d**3 // 3 + 2 * d**2 * self.n_classes

    def _solution(self, penalty: float) -> Float64[Tensor, "d classes"]:
        """The weights at a λ, computed once between inserts; every recall bills them nevertheless."""
        if penalty not in self._solutions:
            assert self._gram is not None, "an empty memory has nothing to solve"
            assert self._response is not None
            ridge = penalty * self._gram.diagonal().mean()
            factor = torch.linalg.cholesky(self._gram + ridge * torch.eye(len(self._gram), device=self.device))
            self._solutions[penalty] = torch.cholesky_solve(self._response, factor)
        return self._solutions[penalty]

    @property
    def _key_length(self) -> int | None:
        if self._projection is not None:
            return len(self._projection)
        return None if self._gram is None else len(self._gram) - 1

    def _drawn(self, key_length: int) -> Float[Tensor, "length dim"]:
        """W, the same for a seed and a key length."""
        generator = named_generator(self.seed, "random features")
        return torch.randn(key_length, self.dim, generator=generator).to(self.device)

    def _features(self, keys: Float[Tensor, "n length"]) -> Float64[Tensor, "n d"]:
        x = normalized(keys.to(self.device))
        if self._projection is not None:
            x = (x @ self._projection).relu_()
        return F.pad(x.double(), (0, 1), value=1.0)

    def fork(self) -> "RidgeMemory":
        """An independent memory with the same sums, shared until one side inserts."""
        fork = copy.copy(self)
        fork.lineage = Lineage()
        fork._solutions = dict(self._solutions)
        return fork

    def state(self) -> dict[str, Any]:
        """The sums; W is drawn again."""
        sums = {"gram": self._gram, "response": self._response}
        found = {name: each.cpu() for name, each in sums.items() if each is not None}
        return {"n_entries": self.n_entries, "key_length": self._key_length, **found}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self.n_entries = state["n_entries"]
        self._gram = self._response = self._projection = None
        if self.n_entries:
            self._gram, self._response = (state[name].to(self.device) for name in ("gram", "response"))
            if self.dim:
                self._projection = self._drawn(state["key_length"])
        self._solutions = {}
        self.version = self.lineage.next()
