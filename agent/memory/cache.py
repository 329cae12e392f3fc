"""The key-value cache of Orhan 2018, "A Simple Cache Model for Image Recognition" (arXiv:1805.08709)."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from agent.accounting.work import Work
from agent.errors import InvalidSetting
from agent.memory.entries import check_keys, normalized
from agent.memory.entry_memory import CPU, EntryMemory
from agent.memory.entry_store import Storage
from agent.memory.mixture import LinearMixing
from agent.memory.protocol import ReadOut
from agent.memory.settings import Setting

THETA_GRID = tuple(2 ** (i / 2) for i in range(25))
"""Sharpness θ of the kernel, as calibration tries it: 1 to 4096 in steps of √2.

Orhan's grid ends at 90, near his optima. Pooled keys need a higher θ, since their cosines lie close together.
"""

PRIOR_THETA = 64.0
"""θ before calibration: in `THETA_GRID`, and near Orhan's optima of 72 to 86."""

TILE = (256, 2048)
"""Queries × entries compared at once: 2 MiB of similarities. The full matrix never exists."""

NEGLIGIBLE = 1e-19
"""A power of the kernel below it is 0 from here on. Its square would be denormal, which CPUs compute slowly."""


@dataclass(frozen=True)
class KernelSums:
    """The cache of a recall: running sums over the first `n_entries` entries.

    For each query q, class c and θ: mass = Σ exp(θ (cos(q, key) - peak)) over the entries of class c, where peak is
    the largest cosine of the query. The class of the nearest entry has a mass of at least 1 at every θ, so nothing
    overflows and no sum is zero.
    """

    n_entries: int
    peak: Float[Tensor, " n"]
    mass: Float[Tensor, "n_thetas n classes"]

    def read_out(self) -> ReadOut:
        """Class probabilities, and the distance 1 - cosine to the nearest key."""
        if not self.n_entries:
            return ReadOut(torch.full_like(self.mass, 1 / self.mass.shape[2]), None)
        return ReadOut(self.mass / self.mass.sum(dim=2, keepdim=True), 1 - self.peak)


class CacheMemory(EntryMemory, LinearMixing):
    """A key-value cache, read with a kernel of sharpness θ (Orhan 2018).

    p(c | q) ∝ Σ_i exp(θ cos(q, key_i)) [label_i = c], over all entries (equations 1 to 3 of the paper).

    The memory L2-normalizes keys and queries. Recall computes the similarities one tile of queries × entries at a time,
    and uses each tile for every θ.

    Args:
        n_classes: number of classes.
        device: device of the keys.
        storage: type of the stored keys, by default float32 on the CPU and float16 on a GPU. Products and sums are
            float32, since θ multiplies their rounding errors.

    Raises:
        InvalidSetting: no class, or another type.

    References:
        Orhan, "A simple cache model for image recognition", NeurIPS 2018, arXiv:1805.08709, equations 1 to 3.
    """

    settings: tuple[Setting, ...] = tuple({"theta": theta} for theta in THETA_GRID)
    prior: Setting = {"theta": PRIOR_THETA}  # noqa: RUF012 (read-only)
    pools_keys = False

    def __init__(self, n_classes: int, *, device: torch.device = CPU, storage: Storage | None = None) -> None:
        super().__init__(n_classes, device, storage)

    @torch.inference_mode()
    def recall(
        self, queries: Float[Tensor, "n length"], settings: tuple[Setting, ...], cache: KernelSums | None = None
    ) -> tuple[ReadOut, KernelSums, Work]:
        """Class probabilities of queries at each setting `theta` above 0, the sharpness θ of the kernel; see `Memory`.

        Raises:
            InvalidSetting: non-finite queries, queries of another length than the keys, or a θ that is not positive
                and finite.
        """
        thetas = torch.tensor([setting["theta"] for setting in settings], dtype=torch.float32, device=self.device)
        if not bool((torch.isfinite(thetas) & (thetas > 0)).all()):
            raise InvalidSetting(f"expected finite θ above 0 (in float32), got {thetas.tolist()}")
        check_keys(queries, self.entries.key_length)
        start = time.perf_counter()
        n = len(queries)
        n_known = cache.n_entries if cache else 0
        n_new = self.n_entries - n_known
        peak = cache.peak.clone() if cache else torch.full((n,), -torch.inf, device=self.device)
        mass = cache.mass.clone() if cache else torch.zeros(len(thetas), n, self.n_classes, device=self.device)
        if n and n_new:
            unit, octaves = normalized(queries.to(self.device)), _octaves(thetas.tolist())
            for keys, classes in self._tiles_after(n_known):
                for row in range(0, n, TILE[0]):
                    rows = slice(row, row + TILE[0])
                    _add(unit[rows], keys, classes, thetas, octaves, peak[rows], mass[:, rows])
        flops = n * n_new * self._pair_flops(queries.shape[1], len(thetas))
        sums = KernelSums(self.n_entries, peak, mass)
        return sums.read_out(), sums, Work(flops, seconds=time.perf_counter() - start)

    def recall_flops(self, n: int) -> int:
        """FLOPs of comparing n queries with all entries, at one θ."""
        return n * self.n_entries * self._pair_flops(self.entries.key_length or 0, 1)

    def _pair_flops(self, length: int, n_thetas: int) -> int:
        return 2 * (length + self.n_classes * n_thetas)  # the class sums are products too, for each θ

    def _tiles_after(self, n_known: int) -> Iterator[tuple[Float[Tensor, "n length"], Float[Tensor, "classes n"]]]:
        """Keys and one-hot classes of the entries after the first `n_known`, a tile at a time."""
        for keys, labels, _ in self.entries.tiles_after(n_known, TILE[1]):
            yield keys, F.one_hot(labels, self.n_classes).float().T.contiguous()

    def evict(self, ids: Int64[Tensor, " n_evicted"]) -> None:
        """Remove entries; see `Evictable`."""
        self.entries.evict(ids)
        self.version = self.lineage.next()

    def save_cache(self, cache: KernelSums) -> dict[str, Any]:
        """The sums."""
        return {"n_entries": cache.n_entries, "peak": cache.peak.cpu(), "mass": cache.mass.cpu()}

    def load_cache(self, state: dict[str, Any]) -> KernelSums:
        """The sums that were saved."""
        return KernelSums(state["n_entries"], state["peak"].to(self.device), state["mass"].to(self.device))


def _octaves(thetas: Sequence[float]) -> dict[float, list[tuple[int, int]]]:
    """θ as base × 2^doublings with a base below 2: for each base the doublings, ascending, and the position of θ."""
    found: dict[float, list[tuple[int, int]]] = {}
    for i, theta in enumerate(thetas):
        doublings = max(0, math.frexp(theta)[1] - 1)
        found.setdefault(math.ldexp(theta, -doublings), []).append((doublings, i))
    return {base: sorted(positions) for base, positions in found.items()}


def _add(
    queries: Tensor,
    keys: Tensor,
    classes: Tensor,
    thetas: Tensor,
    octaves: Mapping[float, Sequence[tuple[int, int]]],
    peak: Tensor,
    mass: Tensor,
) -> None:
    """Add a tile of entries to the running sums of a tile of queries (a streaming log-sum-exp), in place.

    exp(2θs) is the square of exp(θs), and a square takes a small part of the time of an exponential. Each θ is computed
    from its base, so that its sums do not depend on the other θ's. The relative error at θ is up to θ times that of an
    exponential, as it is by the rounding of the cosines.
    """
    similarity = queries @ keys.T
    highest = torch.maximum(peak, similarity.amax(dim=1))
    fall = peak - highest  # -inf for the first tile, whose mass is 0
    similarity -= highest[:, None]
    mass *= (thetas[:, None] * fall).exp()[:, :, None]
    for number, (base, positions) in enumerate(octaves.items(), start=1):
        scaled = base * similarity if number < len(octaves) else similarity.mul_(base)  # the last needs no copy
        powers, done = scaled.exp_(), 0
        for doublings, i in positions:
            for _ in range(done, doublings):
                F.threshold(powers, NEGLIGIBLE, 0.0, inplace=True)
                powers *= powers
            done = doublings
            mass[i] += (classes @ powers.T).T  # several times as fast as `powers @ classes.T`
    peak.copy_(highest)
