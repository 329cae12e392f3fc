"""What memories share that look up the nearest entries."""

import time
from typing import Any

from jaxtyping import Float
from torch import Tensor

from agent.accounting.work import Work
from agent.memory.entries import check_keys
from agent.memory.entry_memory import EntryMemory
from agent.memory.neighbours import Neighbours, nearest


class NeighbourMemory(EntryMemory):
    """Entries whose nearest are found exactly; what these say is up to the model. A recall caches what it found.

    The search takes 2 n N (key length) FLOPs for n queries and N entries. Selecting neighbours is not billed.
    """

    def search(self, queries: Float[Tensor, "n length"], k: int, cache: Neighbours | None) -> tuple[Neighbours, Work]:
        """The k nearest entries of each query, given those of an earlier search, and the work.

        Raises:
            InvalidSetting: non-finite queries, or queries of another length than the keys.
        """
        check_keys(queries, self.entries.key_length)
        start = time.perf_counter()
        n_new = self.n_entries - (cache.n_entries if cache else 0)
        found = nearest(queries, self.entries, k, cache)
        return found, Work(2 * len(queries) * n_new * queries.shape[1], seconds=time.perf_counter() - start)

    def recall_flops(self, n: int) -> int:
        """FLOPs of comparing n queries with all entries."""
        return 2 * n * self.n_entries * (self.entries.key_length or 0)

    def save_cache(self, cache: Neighbours) -> dict[str, Any]:
        """The neighbours."""
        return cache.as_state()

    def load_cache(self, state: dict[str, Any]) -> Neighbours:
        """The neighbours that were saved."""
        return Neighbours.from_state(state, self.device)
