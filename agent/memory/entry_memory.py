"""What a memory of entries does with them."""

import copy
import time
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from agent.accounting.work import Work
from agent.errors import InvalidSetting
from agent.memory.entries import check_entries
from agent.memory.entry_store import EntryStore, Storage
from agent.memory.protocol import Insertion, InsertionEstimate
from agent.networks.outputs import Outputs
from agent.version import Lineage

CPU = torch.device("cpu")

Self = TypeVar("Self", bound="EntryMemory")


class EntryMemory:
    """Entries that are inserted, re-keyed and evicted; how queries are answered is up to the model.

    Args:
        n_classes: number of classes.
        device: device of the entries.
        storage: type of the stored numbers; None is float32 on the CPU and float16 on a GPU.
        values: gives what is stored beside each key, `n_classes` numbers from -1 to 1, of a network's outputs on
            samples and their labels; None for keys alone.

    Raises:
        InvalidSetting: no class, or another type.
    """

    needs_inputs = False

    def __init__(
        self,
        n_classes: int,
        device: torch.device,
        storage: Storage | None,
        values: Callable[[Outputs, Int64[Tensor, " n"]], Float[Tensor, "n classes"]] | None = None,
    ) -> None:
        if n_classes < 1:
            raise InvalidSetting(f"expected at least 1 class, got {n_classes}")
        self.n_classes, self.device = n_classes, device
        self.entries = EntryStore(device, storage, n_values=n_classes if values else 0)
        self.lineage = Lineage()
        self.version = self.lineage.next()
        self._values = values

    @property
    def n_entries(self) -> int:
        """Samples in memory."""
        return len(self.entries)

    @property
    def nbytes(self) -> int:
        """Bytes of the entries."""
        return self.entries.nbytes

    def estimate_insert(self, n: int, key_length: int) -> InsertionEstimate:
        """The bytes of n entries: written once, and held."""
        nbytes = self.entries.nbytes_of(n, key_length)
        return InsertionEstimate(Work(nbytes=nbytes), nbytes)

    def insert(
        self,
        outputs: Outputs,
        labels: Int64[Tensor, " n_labels"],
        ids: Int64[Tensor, " n_ids"],
        inputs: Shaped[Tensor, "n ..."] | None = None,
    ) -> Insertion:
        """Append entries; see `Memory`. A key of zeros has cosine 0 with every query."""
        check_entries(outputs.keys, labels, ids, n_classes=self.n_classes, key_length=self.entries.key_length)
        start, before = time.perf_counter(), self.nbytes
        self.entries.append(outputs.keys, labels, ids, self._values(outputs, labels) if self._values else None)
        return Insertion(Work(nbytes=self.nbytes - before, seconds=time.perf_counter() - start))

    def rekey(self, renew: Callable[[Int64[Tensor, " n"]], Outputs]) -> Work:
        """Replace the network's outputs in all entries, a block at a time; see `Rekeyable`.

        Raises:
            InvalidSetting: non-finite keys, or keys of another length than those stored.
        """

        def renewed(ids: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
            outputs = renew(ids)
            return outputs.keys, self._values(outputs, labels) if self._values else None

        seconds = self.entries.rekey(renewed)
        self.version = self.lineage.next()
        return Work(nbytes=self.estimate_rekey().nbytes, seconds=seconds)

    def estimate_rekey(self) -> Work:
        """The bytes that re-keying writes."""
        return Work(nbytes=self.entries.rows_nbytes)

    def evict(self, ids: Int64[Tensor, " n"]) -> None:
        """Remove entries; see `Evictable`."""
        self.entries.evict(ids)
        self.version = self.lineage.next()

    def fork(self: Self) -> Self:
        """An independent memory with the same entries, which are shared."""
        fork = copy.copy(self)
        fork.lineage, fork.entries = Lineage(), self.entries.fork()
        return fork

    def state(self) -> dict[str, Any]:
        """The entries."""
        return self.entries.state()

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self.entries.load_state(state)
        self.version = self.lineage.next()
