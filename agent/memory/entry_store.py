"""The entries of a memory: keys with a label and an id each, in blocks that forks share."""

import copy
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from agent.data.sample_store import LABEL_NBYTES, SampleStore
from agent.errors import InvalidSetting
from agent.memory.entries import check_keys, normalized
from agent.memory.packed import ids_of, labels_of, packed

Storage = Literal["float32", "float16", "int8"]
"""The type of stored numbers."""

BLOCK_BYTES = 32 * 2**20
"""Approximate size of a block of keys: large enough for fast products, small enough to copy when it grows."""

INT8_MAX = 127

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "int8": torch.int8}


class Tile(NamedTuple):
    """Consecutive entries."""

    keys: Float[Tensor, "n length"]
    """In float32, of L2 norm 1 but for rounding."""
    labels: Int64[Tensor, " n"]
    values: Float[Tensor, "n n_values"]
    """In float32."""


class EntryStore:
    """L2-normalized keys, each with a label, an id, and `n_values` numbers from -1 to 1, in the order of `append`.

    An entry takes (key length + n_values) numbers of the storage type, and 8 bytes for label and id. In int8 a key is
    scaled so that its largest number is 127, and normalized again when it is read: only its direction counts. Values
    are multiples of 1/127.

    Args:
        device: of the entries.
        storage: type of the stored numbers; None is float32 on the CPU and float16 on a GPU.
        n_values: numbers stored beside each key.
    """

    def __init__(self, device: torch.device, storage: Storage | None = None, n_values: int = 0) -> None:
        if storage is None:
            storage = "float32" if device.type == "cpu" else "float16"
        if storage not in _DTYPES:
            raise InvalidSetting(f"expected storage of keys as {', '.join(_DTYPES)}, got {storage}")
        self.device, self.n_values = device, n_values
        self.dtype = _DTYPES[storage]
        self._blocks: list[SampleStore] = []  # rows of key and values, labels with ids; only the last block grows
        self._n = 0

    def __len__(self) -> int:
        return self._n

    @property
    def key_length(self) -> int | None:
        """Numbers in a key; None without entries."""
        return self._blocks[0].rows.shape[1] - self.n_values if self._blocks else None

    @property
    def labels(self) -> Int64[Tensor, " n"]:
        """The labels of all entries, in order."""
        return labels_of(self._pairs())

    @property
    def ids(self) -> Int64[Tensor, " n"]:
        """The ids of all entries, in order."""
        return ids_of(self._pairs())

    @property
    def values(self) -> Float[Tensor, "n n_values"]:
        """The values of all entries, in order, in float32."""
        empty = torch.empty(0, self.n_values, device=self.device)
        columns = [block.rows[:, block.rows.shape[1] - self.n_values :].float() for block in self._blocks]
        return torch.cat([empty, *columns]) / (INT8_MAX if self.dtype == torch.int8 else 1)

    def _pairs(self) -> Int64[Tensor, " n"]:
        empty = torch.empty(0, dtype=torch.int64, device=self.device)
        return torch.cat([empty, *(block.labels for block in self._blocks)])

    @property
    def nbytes(self) -> int:
        """Bytes of keys, values, labels and ids."""
        return sum(block.nbytes for block in self._blocks)

    @property
    def rows_nbytes(self) -> int:
        """Bytes of keys and values, which re-keying writes."""
        return sum(block.rows.nbytes for block in self._blocks)

    def nbytes_of(self, n: int, key_length: int) -> int:
        """Bytes of n entries."""
        return n * ((key_length + self.n_values) * self.dtype.itemsize + LABEL_NBYTES)

    def append(
        self,
        keys: Float[Tensor, "n length"],
        labels: Int64[Tensor, " n"],
        ids: Int64[Tensor, " n"],
        values: Float[Tensor, "n n_values"] | None = None,
    ) -> None:
        """Add entries, which `check_entries` has passed; keys need not be normalized."""
        if not len(keys):
            return
        rows = self._encoded(keys, values)
        if not self._blocks or self._blocks[-1].nbytes + rows.nbytes + labels.nbytes > BLOCK_BYTES:
            self._blocks.append(SampleStore(self.device))
        self._blocks[-1].append(rows, packed(labels, ids))
        self._n += len(keys)

    def _encoded(
        self, keys: Float[Tensor, "n length"], values: Float[Tensor, "n n_values"] | None
    ) -> Shaped[Tensor, "n numbers"]:
        unit = normalized(keys.to(self.device))
        if self.dtype == torch.int8:
            largest = unit.abs().amax(dim=1, keepdim=True)
            unit = (unit * (INT8_MAX / torch.where(largest > 0, largest, 1))).round_()
        if values is None:
            return unit.to(self.dtype)
        scaled = (values * INT8_MAX).round_() if self.dtype == torch.int8 else values
        return torch.cat([unit, scaled.to(self.device)], dim=1).to(self.dtype)

    def _decoded(self, rows: Shaped[Tensor, "n numbers"]) -> tuple[Float[Tensor, "n l"], Float[Tensor, "n v"]]:
        rows = rows.float()
        keys, values = (rows, rows[:, :0]) if not self.n_values else rows.tensor_split([-self.n_values], dim=1)
        return (normalized(keys), values / INT8_MAX) if self.dtype == torch.int8 else (keys, values)

    def tiles_after(self, n_known: int, n: int) -> Iterator[Tile]:
        """The entries after the first `n_known`, at most n at a time."""
        for block in self._blocks:
            skip = min(n_known, len(block))
            n_known -= skip
            for first in range(skip, len(block), n):
                tile = slice(first, first + n)
                keys, values = self._decoded(block.rows[tile])
                yield Tile(keys, labels_of(block.labels[tile]), values)

    def evict(self, ids: Int64[Tensor, " n_evicted"]) -> None:
        """Remove entries; the others keep their order, and forks keep theirs.

        Only blocks that hold evicted entries are written again.

        Raises:
            InvalidSetting: an id that is not stored; nothing is removed.
        """
        wanted, stored = ids.to(self.device).unique(), self.ids
        if not len(wanted):
            return
        gone = wanted[torch.searchsorted(wanted, stored).clamp_max_(len(wanted) - 1)] == stored
        if int(gone.sum()) != len(wanted):
            missing = int(wanted[~torch.isin(wanted, stored)][0])
            raise InvalidSetting(f"expected ids of entries that are in memory, got {missing}; was it evicted?")
        remains = (~gone).split([len(block) for block in self._blocks])
        left = [_part(block, rows) for block, rows in zip(self._blocks, remains, strict=True)]
        self._blocks = _few([block for block in left if len(block)])
        self._n = sum(map(len, self._blocks))

    def rekey(
        self,
        renew: Callable[[Int64[Tensor, " n"], Int64[Tensor, " n"]], tuple[Tensor, Tensor | None]],
    ) -> float:
        """Replace all keys and values, a block at a time; forks keep the earlier ones.

        Args:
            renew: gives keys and values of entries by their ids and labels.

        Returns:
            The seconds that it took, without those of `renew`.

        Raises:
            InvalidSetting: non-finite keys, or keys of another length than those stored; nothing is replaced.
        """
        seconds, blocks = 0.0, []
        for block in self._blocks:
            keys, values = renew(ids_of(block.labels), labels_of(block.labels))
            start = time.perf_counter()
            check_keys(keys, self.key_length)
            blocks.append(SampleStore(self.device))
            blocks[-1].append(self._encoded(keys, values), block.labels)
            seconds += time.perf_counter() - start
        self._blocks = blocks
        return seconds

    def fork(self) -> "EntryStore":
        """An independent store with the same entries; the blocks are shared."""
        fork = copy.copy(self)
        fork._blocks = [block.fork() for block in self._blocks]
        return fork

    def state(self) -> dict[str, Any]:
        """The blocks."""
        return {"blocks": [block.state() for block in self._blocks]}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self._blocks = [SampleStore(self.device) for _ in state["blocks"]]
        for block, saved in zip(self._blocks, state["blocks"], strict=True):
            block.load_state(saved)
        self._n = sum(map(len, self._blocks))


def _part(block: SampleStore, remains: Bool[Tensor, " n"]) -> SampleStore:
    """The rows that remain, in a new block unless all do."""
    rows = remains.nonzero()[:, 0]
    if len(rows) == len(block):
        return block
    part = SampleStore(block.device)
    if len(rows):
        part.append(block.rows.index_select(0, rows), block.labels.index_select(0, rows))
    return part


def _few(blocks: list[SampleStore]) -> list[SampleStore]:
    """The same entries; neighbouring blocks are joined if there are many more than their bytes need."""
    needed = -(-sum(block.nbytes for block in blocks) // BLOCK_BYTES)
    if len(blocks) <= 2 * needed + 2:
        return blocks
    groups: list[list[SampleStore]] = []
    for block in blocks:
        if groups and sum(each.nbytes for each in groups[-1]) + block.nbytes <= BLOCK_BYTES:
            groups[-1].append(block)
        else:
            groups.append([block])
    return [group[0] if len(group) == 1 else _one(group) for group in groups]


def _one(blocks: list[SampleStore]) -> SampleStore:
    """A block of all rows."""
    block = SampleStore(blocks[0].device)
    block.append(torch.cat([each.rows for each in blocks]), torch.cat([each.labels for each in blocks]))
    return block
