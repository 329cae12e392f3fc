"""The key-value cache of Orhan 2018, "A Simple Cache Model for Image Recognition" (arXiv:1805.08709)."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from agent.accounting.work import Work
from agent.data.sample_store import LABEL_NBYTES, SampleStore
from agent.errors import InvalidSetting
from agent.memory.entries import NONE, check_entries, check_keys, normalized
from agent.memory.mixture import Mixture, Setting, fit_mixture
from agent.memory.protocol import Insertion, InsertionEstimate, ReadOut
from agent.networks.outputs import Outputs
from agent.version import Lineage

CPU = torch.device("cpu")

THETA_GRID = tuple(2 ** (i / 2) for i in range(25))
"""Sharpnesses of the kernel that are tried: 1 to 4096 in steps of √2.

Orhan's grid ended at 90, near his optima; pooled keys, whose cosines lie close together, need more.
"""

PRIOR_THETA = 64.0
"""θ until one has been fitted: in `THETA_GRID`, and near Orhan's optima, 72 to 86."""

BLOCK_BYTES = 32 * 2**20
"""Keys are held in blocks of about this size: large enough for fast products, small enough to join cheaply."""

TILE = (512, 2048)
"""Queries × entries compared at once: 4 MiB of similarities; beside them recall needs its queries and sums, and the
keys and classes of one tile of entries."""


@dataclass(frozen=True)
class KernelSums:
    """The cache of a recall: running sums over the entries that it has seen.

    For each query q, class c and θ: mass = Σ exp(θ (cos(q, key) - peak)) over the entries of class c, where peak is
    the largest cosine of the query. Of the nearest entry's class the mass is at least 1, whatever θ: nothing
    overflows and nothing is divided by zero.
    """

    n_entries: int
    peak: Float[Tensor, " n"]
    mass: Float[Tensor, "n_thetas n classes"]

    def read_out(self) -> ReadOut:
        """Class probabilities, and the distance, 1 - cosine, to the nearest key."""
        if not self.n_entries:
            return ReadOut(torch.full_like(self.mass, 1 / self.mass.shape[2]), None)
        return ReadOut(self.mass / self.mass.sum(dim=2, keepdim=True), 1 - self.peak)


class CacheMemory:
    """A key-value cache, read with a kernel of sharpness θ (Orhan 2018).

    p(c | q) ∝ Σ_i exp(θ cos(q, key_i)) [label_i = c], over all entries (equations 1 to 3 of the paper).

    Keys and queries are L2-normalized here. Entries lie in append-only blocks that forks share. Recall streams over
    the blocks, a tile of queries × entries at a time, so that the matrix of all similarities never exists; each tile
    of similarities serves every θ.

    Args:
        n_classes: number of classes.
        device: where keys lie.
        dtype: of the stored keys; by default float32 on the CPU and float16 on a GPU. Products and sums are float32 in
            either case, since θ multiplies their rounding errors.

    References:
        Orhan, "A simple cache model for image recognition", NeurIPS 2018, arXiv:1805.08709, equations 1 to 3.
    """

    settings: tuple[Setting, ...] = tuple({"theta": theta} for theta in THETA_GRID)
    prior: Setting = {"theta": PRIOR_THETA}  # noqa: RUF012 (never written to)
    needs_inputs = False
    pools_keys = False

    def __init__(self, n_classes: int, *, device: torch.device = CPU, dtype: torch.dtype | None = None) -> None:
        if n_classes < 1:
            raise InvalidSetting(f"expected at least 1 class, got {n_classes}")
        self.n_classes = n_classes
        self.device = device
        self.dtype = dtype or (torch.float32 if device.type == "cpu" else torch.float16)
        self.n_entries = 0
        self.lineage = Lineage()
        self.version = self.lineage.next()
        self._blocks: list[SampleStore] = []  # of keys; only the last one grows

    @property
    def nbytes(self) -> int:
        """Bytes of keys and labels."""
        return sum(block.nbytes for block in self._blocks)

    def estimate_insert(self, n: int, key_length: int) -> InsertionEstimate:
        """The bytes of n entries, which are written once and held."""
        nbytes = n * (key_length * self.dtype.itemsize + LABEL_NBYTES)
        return InsertionEstimate(Work(nbytes=nbytes), nbytes)

    def insert(
        self,
        outputs: Outputs,
        labels: Int64[Tensor, " n_labels"],
        ids: Int64[Tensor, " n_ids"],
        inputs: Shaped[Tensor, "n ..."] | None = None,
    ) -> Insertion:
        """Append entries.

        Args:
            outputs: of which the keys are stored. They need not be normalized; a key of zeros is similar to nothing
                (cosine 0).
            labels: classes from 0 to n_classes - 1.
            ids: names of the entries, 0 to 2³¹ - 1.
            inputs: not used.

        Raises:
            InvalidSetting: non-finite keys, keys of another length than those stored, not as many keys as labels and
                ids, or a label or id out of range.
        """
        keys = outputs.keys
        check_entries(keys, labels, ids, n_classes=self.n_classes, key_length=self._key_length)
        if not len(keys):
            return Insertion(Work(), NONE)
        start = time.perf_counter()
        before = self.nbytes
        rows = normalized(keys.to(self.device)).to(self.dtype)
        if not self._blocks or self._blocks[-1].nbytes + rows.nbytes + labels.nbytes > BLOCK_BYTES:
            self._blocks.append(SampleStore(self.device))
        self._blocks[-1].append(rows, _joined(labels, ids))
        self.n_entries += len(keys)
        return Insertion(Work(nbytes=self.nbytes - before, seconds=time.perf_counter() - start), NONE)

    @torch.inference_mode()
    def recall(
        self, queries: Float[Tensor, "n length"], settings: tuple[Setting, ...], cache: KernelSums | None = None
    ) -> tuple[ReadOut, KernelSums, Work]:
        """Class probabilities of queries, at each θ at once.

        Args:
            queries: need not be normalized.
            settings: `theta`, the sharpness θ of the similarity kernel, above 0.
            cache: of an earlier recall: only the entries inserted since are looked at.

        Raises:
            InvalidSetting: non-finite queries, queries of another length than the keys, or a θ that is not positive
                and finite.
        """
        thetas = torch.tensor([setting["theta"] for setting in settings])
        scale = thetas.to(self.device, torch.float32)
        if not bool((torch.isfinite(scale) & (scale > 0)).all()):
            raise InvalidSetting(f"expected finite θ above 0 (in float32), got {thetas.tolist()}")
        check_keys(queries, self._key_length)
        start = time.perf_counter()
        n = len(queries)
        n_known = cache.n_entries if cache else 0
        peak = cache.peak.clone() if cache else torch.full((n,), -torch.inf, device=self.device)
        mass = cache.mass.clone() if cache else torch.zeros(len(thetas), n, self.n_classes, device=self.device)
        new = self._entries_since(n_known)
        if n and new:
            rows_of_queries = normalized(queries.to(self.device))
            for block_keys, block_labels in new:
                for first in range(0, len(block_keys), TILE[1]):
                    keys = block_keys[first : first + TILE[1]].float()
                    labels = block_labels[first : first + TILE[1]]
                    classes = F.one_hot(labels, self.n_classes).float().T.contiguous()
                    for row in range(0, n, TILE[0]):
                        rows = slice(row, row + TILE[0])
                        _add(rows_of_queries[rows], keys, classes, scale, peak[rows], mass[:, rows])
        flops = n * (self.n_entries - n_known) * self._pair_flops(queries.shape[1], len(thetas))
        sums = KernelSums(self.n_entries, peak, mass)
        return sums.read_out(), sums, Work(flops, seconds=time.perf_counter() - start)

    def recall_flops(self, n: int) -> int:
        """FLOPs of n queries against all entries, at one θ."""
        return n * self.n_entries * self._pair_flops(self._blocks[0].rows.shape[1], 1) if self._blocks else 0

    def _pair_flops(self, length: int, n_thetas: int) -> int:
        return 2 * (length + self.n_classes * n_thetas)  # the class sums are products too, for each θ

    def combine(
        self, learner: Float[Tensor, "n classes"], memory: Float[Tensor, "n classes"], fitted: Mixture
    ) -> Float[Tensor, "n classes"]:
        """w × learner + (1 - w) × memory."""
        return fitted.mix(learner, memory)

    def fit(
        self,
        learner: Float[Tensor, "n classes"],
        memory: Float[Tensor, "n_thetas n classes"],
        labels: Int64[Tensor, " n"],
    ) -> Mixture:
        """w and θ; see `fit_mixture`."""
        return fit_mixture(learner, memory, labels, self.settings)

    def rekey(self, renew: Callable[[Int64[Tensor, " n"]], Outputs]) -> Work:
        """Write all keys anew, a block at a time.

        Raises:
            InvalidSetting: non-finite keys, or keys of another length than those stored.
        """
        seconds, blocks = 0.0, []
        for block in self._blocks:
            keys = renew(_ids(block.labels)).keys
            start = time.perf_counter()
            check_keys(keys, self._key_length)
            blocks.append(SampleStore(self.device))
            blocks[-1].append(normalized(keys.to(self.device)).to(self.dtype), block.labels)
            seconds += time.perf_counter() - start
        self._blocks, self.version = blocks, self.lineage.next()
        return Work(nbytes=self.estimate_rekey().nbytes, seconds=seconds)

    def estimate_rekey(self) -> Work:
        """The bytes of all keys."""
        return Work(nbytes=sum(block.rows.nbytes for block in self._blocks))

    def _entries_since(self, n_known: int) -> list[tuple[Tensor, Tensor]]:
        found, first = [], 0
        for block in self._blocks:
            skip = max(0, n_known - first)
            if skip < len(block):
                found.append((block.rows[skip:], _labels(block.labels[skip:])))
            first += len(block)
        return found

    @property
    def _key_length(self) -> int | None:
        return self._blocks[0].rows.shape[1] if self._blocks else None

    def save_cache(self, cache: KernelSums) -> dict[str, Any]:
        """The sums."""
        return {"n_entries": cache.n_entries, "peak": cache.peak.cpu(), "mass": cache.mass.cpu()}

    def load_cache(self, state: dict[str, Any]) -> KernelSums:
        """The sums that were saved."""
        return KernelSums(state["n_entries"], state["peak"].to(self.device), state["mass"].to(self.device))

    def fork(self) -> "CacheMemory":
        """A memory with the same entries and a future of its own; blocks are shared."""
        fork = copy.copy(self)
        fork.lineage = Lineage()
        fork._blocks = [block.fork() for block in self._blocks]
        return fork

    def state(self) -> dict[str, Any]:
        """The blocks."""
        return {"blocks": [block.state() for block in self._blocks]}

    def load_state(self, state: dict[str, Any]) -> None:
        """Become the memory whose `state` this is."""
        self._blocks = [SampleStore(self.device) for _ in state["blocks"]]
        for block, saved in zip(self._blocks, state["blocks"], strict=True):
            block.load_state(saved)
        self.n_entries = sum(map(len, self._blocks))
        self.version = self.lineage.next()


# A label and an id lie side by side in the 8 bytes of an int64, as two int32 in the order of the machine's memory, so
# that naming its entries costs a cache nothing.
def _joined(labels: Int64[Tensor, " n"], ids: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
    return torch.stack([labels, ids.to(labels.device)], dim=1).to(torch.int32).view(torch.int64)[:, 0]


def _labels(joined: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
    return joined[:, None].view(torch.int32)[:, 0].long()


def _ids(joined: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
    return joined[:, None].view(torch.int32)[:, 1].long()


def _add(queries: Tensor, keys: Tensor, classes: Tensor, thetas: Tensor, peak: Tensor, mass: Tensor) -> None:
    """Add a tile of entries to the running sums of a tile of queries (a streaming log-sum-exp), in place."""
    similarity = queries @ keys.T
    highest = torch.maximum(peak, similarity.amax(dim=1))
    fall = peak - highest  # -inf the first time, when there is no mass to scale
    similarity -= highest[:, None]
    for i, (theta, sums) in enumerate(zip(thetas, mass, strict=True)):
        sums *= (theta * fall).exp()[:, None]
        scaled = theta * similarity if i + 1 < len(thetas) else similarity.mul_(theta)  # the last needs no copy
        sums += (classes @ scaled.exp_().T).T  # several times as fast as `scaled @ classes.T`, whose result is narrow
    peak.copy_(highest)
