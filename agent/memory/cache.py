"""The key-value cache of Orhan 2018, "A Simple Cache Model for Image Recognition" (arXiv:1805.08709)."""

import copy
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from agent.accounting.work import Work
from agent.data.sample_store import LABEL_NBYTES, SampleStore
from agent.errors import InvalidSetting
from agent.memory.recall import Recall
from agent.version import Lineage

CPU = torch.device("cpu")

BLOCK_BYTES = 32 * 2**20
"""Keys are held in blocks of about this size: large enough for fast products, small enough to join cheaply."""

TILE = (512, 2048)
"""Queries × entries compared at once: 4 MiB of similarities; beside them recall needs its queries and sums, and the
keys and classes of one tile of entries."""


class CacheMemory:
    """p(c | q) ∝ Σ_i exp(θ cos(q, key_i)) [label_i = c], over all entries (equations 1 to 3 of the paper).

    Keys and queries are L2-normalized here. Entries lie in append-only blocks that forks share. Recall streams over
    the blocks, a tile of queries × entries at a time, so that the matrix of all similarities never exists; each tile
    of similarities serves every θ.

    Args:
        n_classes: number of classes.
        device: where keys lie.
        dtype: of the stored keys; by default float32 on the CPU and float16 on a GPU. Products and sums are float32 in
            either case, since θ multiplies their rounding errors.
    """

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

    def nbytes_of(self, n: int, length: int) -> int:
        """Bytes that n more entries will take, with keys of `length` numbers."""
        return n * (length * self.dtype.itemsize + LABEL_NBYTES)

    def insert(self, keys: Float[Tensor, "n length"], labels: Int64[Tensor, " n_labels"]) -> Work:
        """Append entries.

        Args:
            keys: need not be normalized; a key of zeros is similar to nothing (cosine 0).
            labels: classes from 0 to n_classes - 1.

        Raises:
            InvalidSetting: non-finite keys, keys of another length than those stored, not as many keys as labels, or
                a label outside the classes.
        """
        if len(keys) != len(labels):
            raise InvalidSetting(f"expected a label for each key, got {len(keys)} keys and {len(labels)} labels")
        if not len(keys):
            return Work()
        self._check(keys)
        if not 0 <= int(labels.min()) <= int(labels.max()) < self.n_classes:
            raise InvalidSetting(
                f"expected labels in 0..{self.n_classes - 1}, got {int(labels.min())}..{int(labels.max())}"
            )
        start = time.perf_counter()
        before = self.nbytes
        rows = _normalized(keys.to(self.device)).to(self.dtype)
        if not self._blocks or self._blocks[-1].nbytes + rows.nbytes + labels.nbytes > BLOCK_BYTES:
            self._blocks.append(SampleStore(self.device))
        self._blocks[-1].append(rows, labels)
        self.n_entries += len(keys)
        return Work(nbytes=self.nbytes - before, seconds=time.perf_counter() - start)

    @torch.inference_mode()
    def recall(
        self, queries: Float[Tensor, "n length"], thetas: Float[Tensor, " n_thetas"], *, after: Recall | None = None
    ) -> tuple[Recall, Work]:
        """Class probabilities of queries, at each θ at once.

        Args:
            queries: need not be normalized.
            thetas: positive; the sharpness θ of the similarity kernel.
            after: an earlier recall of the same queries at the same θ, from this memory or an ancestor of it: only
                the entries inserted since are looked at.

        Raises:
            InvalidSetting: non-finite queries, queries of another length than the keys, or a θ that is not positive
                and finite.
        """
        scale = thetas.to(self.device, torch.float32)
        if not bool((torch.isfinite(scale) & (scale > 0)).all()):
            raise InvalidSetting(f"expected finite θ above 0 (in float32), got {thetas.tolist()}")
        self._check(queries)
        start = time.perf_counter()
        n = len(queries)
        n_known = after.n_entries if after else 0
        peak = after.peak.clone() if after else torch.full((n,), -torch.inf, device=self.device)
        mass = after.mass.clone() if after else torch.zeros(len(thetas), n, self.n_classes, device=self.device)
        new = self._entries_since(n_known)
        if n and new:
            normalized = _normalized(queries.to(self.device))
            for block_keys, block_labels in new:
                for first in range(0, len(block_keys), TILE[1]):
                    keys = block_keys[first : first + TILE[1]].float()
                    labels = block_labels[first : first + TILE[1]]
                    classes = F.one_hot(labels, self.n_classes).float().T.contiguous()
                    for row in range(0, n, TILE[0]):
                        rows = slice(row, row + TILE[0])
                        _add(normalized[rows], keys, classes, scale, peak[rows], mass[:, rows])
        flops = n * (self.n_entries - n_known) * self._pair_flops(queries.shape[1], len(thetas))
        return Recall(self.n_entries, peak, mass), Work(flops, seconds=time.perf_counter() - start)

    @property
    def query_flops(self) -> int:
        """FLOPs of one query against all entries, at one θ."""
        return self.n_entries * self._pair_flops(self._blocks[0].rows.shape[1], 1) if self._blocks else 0

    def _pair_flops(self, length: int, n_thetas: int) -> int:
        return 2 * (length + self.n_classes * n_thetas)  # the class sums are products too, for each θ

    def rekey(self, keys_of: Callable[[int, int], Float[Tensor, "n length"]]) -> Work:
        """Write all keys anew, a block at a time.

        Args:
            keys_of: gives the keys of the entries from its first argument up to its second.

        Raises:
            InvalidSetting: non-finite keys, or keys of another length than those stored.
        """
        seconds, first = 0.0, 0
        for i, block in enumerate(self._blocks):
            keys = keys_of(first, first + len(block))
            start = time.perf_counter()
            self._check(keys)
            self._blocks[i] = SampleStore(self.device)
            self._blocks[i].append(_normalized(keys.to(self.device)).to(self.dtype), block.labels)
            first += len(block)
            seconds += time.perf_counter() - start
        self.version = self.lineage.next()
        return Work(nbytes=sum(block.rows.nbytes for block in self._blocks), seconds=seconds)

    def _entries_since(self, n_known: int) -> list[tuple[Tensor, Tensor]]:
        found, first = [], 0
        for block in self._blocks:
            skip = max(0, n_known - first)
            if skip < len(block):
                found.append((block.rows[skip:], block.labels[skip:]))
            first += len(block)
        return found

    def _check(self, keys: Tensor) -> None:
        if not bool(torch.isfinite(_largest(keys)).all()):
            raise InvalidSetting("expected finite keys, got NaN or infinity; was the learner's training finite?")
        if self._blocks and keys.shape[1] != self._blocks[0].rows.shape[1]:
            raise InvalidSetting(
                f"expected keys of {self._blocks[0].rows.shape[1]} numbers like those stored, got {keys.shape[1]}"
            )

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


def _normalized(keys: Tensor) -> Tensor:
    keys = keys.float()
    largest = _largest(keys)[:, None]
    scaled = keys / torch.where(largest > 0, largest, 1)  # squares neither overflow nor vanish
    return scaled.div_(scaled.norm(dim=1, keepdim=True).clamp_min_(1e-12))


def _largest(keys: Tensor) -> Tensor:
    """Magnitude of the largest number of each key, without a copy of them; NaN if one is."""
    low, high = keys.aminmax(dim=1)
    return torch.maximum(-low, high)


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
