"""The entries nearest to each query by cosine, found exactly and in steps."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from agent.memory.entries import normalized
from agent.memory.entry_store import EntryStore

TILE = (2048, 2048)
"""Queries × entries compared at once: 16 MiB of similarities. The full matrix never exists."""

MOST_PENDING = 4
"""Candidates that wait to be merged, for each neighbour wanted."""

GROUP = 16
"""Entries of which only the largest similarity is looked at, unless it is large enough."""


@dataclass(frozen=True)
class Neighbours:
    """The nearest of the first `n_entries` entries, for each query; all of them if there are fewer than wanted.

    Of equally near entries the older is nearer, so that the result does not depend on the steps.
    """

    n_entries: int
    similarity: Float[Tensor, "n k"]
    """Cosines, descending."""
    positions: Int64[Tensor, "n k"]
    """Numbers of the entries in their store."""

    @property
    def novelty(self) -> Float[Tensor, " n"] | None:
        """1 - cosine of the nearest entry; None without entries."""
        return (1 - self.similarity[:, 0]).clamp_min_(0) if self.n_entries else None

    def as_state(self) -> dict[str, Any]:
        """Tensors and plain values for `from_state`."""
        return {"n_entries": self.n_entries, "similarity": self.similarity.cpu(), "positions": self.positions.cpu()}

    @classmethod
    def from_state(cls, state: dict[str, Any], device: torch.device) -> "Neighbours":
        """What `as_state` was taken of."""
        return cls(state["n_entries"], state["similarity"].to(device), state["positions"].to(device))


def nearest(
    queries: Float[Tensor, "n length"], entries: EntryStore, k: int, before: Neighbours | None = None
) -> Neighbours:
    """The k nearest entries of each query.

    Args:
        queries: keys, which need not be normalized.
        entries: searched.
        k: number of neighbours.
        before: the result for the same queries and k, of the first of these entries; only later ones are compared.
    """
    n, device = len(queries), entries.device
    if before is None or not n:
        width = 0 if n else min(k, len(entries))
        positions = torch.empty(n, width, dtype=torch.int64, device=device)
        before = Neighbours(0 if n else len(entries), torch.empty(n, width, device=device), positions)
    if before.n_entries == len(entries):
        return Neighbours(len(entries), before.similarity, before.positions)
    unit = normalized(queries.to(device))
    parts = zip(*(each.split(TILE[0]) for each in (unit, before.similarity, before.positions)), strict=True)
    found = [
        _nearest(rows, similarity, positions, before.n_entries, entries, k) for rows, similarity, positions in parts
    ]
    similarity, positions = (torch.cat(each) for each in zip(*found, strict=True))
    return Neighbours(len(entries), similarity, positions)


def _nearest(
    unit: Tensor, similarity: Tensor, positions: Tensor, first: int, entries: EntryStore, k: int
) -> tuple[Tensor, Tensor]:
    """The neighbours of a tile of queries, given those among the entries before `first`.

    An entry becomes a candidate if it exceeds the k-th largest similarity so far. Candidates are merged whenever the
    number of entries has doubled: by then there are about k of them in the mean, if the entries are in random order. If
    later entries are nearer, as in a stream that drifts, they are merged as soon as there are many.
    """
    candidates, merged_to, n_pending = [], first, 0
    buffer = torch.empty(TILE[1], len(unit), device=unit.device)
    for tile in entries.tiles_after(first, TILE[1]):
        compared = torch.mm(tile.keys, unit.T, out=buffer[: len(tile.keys)])
        rows, columns = _candidates(compared, similarity, k)
        candidates.append((columns, compared[rows, columns], first + rows))
        first += len(tile.keys)
        n_pending += len(rows)
        if first >= 2 * merged_to or first == len(entries) or n_pending > MOST_PENDING * k * len(unit):
            similarity, positions = _merged(similarity, positions, candidates, k)
            candidates, merged_to, n_pending = [], first, 0
    return similarity, positions


def _candidates(compared: Tensor, similarity: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Rows and columns of similarities that may be among the k largest of their column, in ascending order of rows.

    Those are above the k-th largest so far. The k-th largest of the maxima of groups bounds the k-th largest of the
    tile from below, too, since each of these groups has an entry of that similarity; it is looked up where k are not
    known yet, or where many groups exceed those known.
    """
    n_groups = len(compared) // GROUP
    grouped = compared[: n_groups * GROUP].view(n_groups, GROUP, compared.shape[1])
    maxima = grouped.amax(dim=1)
    known = similarity.shape[1] >= k
    floor = similarity[:, k - 1] if known else compared.new_full((compared.shape[1],), -torch.inf)
    if n_groups >= k and not (known and int((maxima > floor).sum()) <= k * len(floor)):
        floor = torch.maximum(floor, maxima.topk(k, dim=0).values[-1].nextafter(compared.new_tensor(-torch.inf)))
    groups, columns = (maxima > floor).nonzero(as_tuple=True)
    within = grouped[groups, :, columns] > floor[columns][:, None]
    found, offsets = within.nonzero(as_tuple=True)
    rest, last = (compared[n_groups * GROUP :] > floor).nonzero(as_tuple=True)
    rows = torch.cat([groups[found] * GROUP + offsets, rest + n_groups * GROUP])
    return rows, torch.cat([columns[found], last])


def _merged(
    similarity: Tensor, positions: Tensor, candidates: list[tuple[Tensor, Tensor, Tensor]], k: int
) -> tuple[Tensor, Tensor]:
    """The k largest of the neighbours so far and of candidates, given by query, similarity and position.

    Each query's candidates are laid behind its neighbours in the order of the entries, which a stable sort keeps among
    equals.
    """
    queries, found, at = (torch.cat(each) for each in zip(*candidates, strict=True))
    queries, order = queries.sort(stable=True)
    counts = queries.bincount(minlength=len(similarity))
    places = similarity.shape[1] + torch.arange(len(queries), device=queries.device)
    places -= (counts.cumsum(0) - counts)[queries]
    width = similarity.shape[1] + int(counts.max())
    every = similarity.new_full((len(similarity), width), -torch.inf)
    numbers = positions.new_zeros(len(similarity), width)
    for whole, own, new in ((every, similarity, found), (numbers, positions, at)):
        whole[:, : own.shape[1]] = own
        whole[queries, places] = new[order]
    every, order = every.sort(dim=1, descending=True, stable=True)
    return every[:, :k].contiguous(), numbers.gather(1, order[:, :k])
