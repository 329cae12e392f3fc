"""A memory that stores and looks up keys as a transform maps them."""

import copy
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from agent.accounting.work import Work
from agent.errors import InvalidSetting
from agent.memory.decorated import Decorated
from agent.memory.entries import check_entries, check_keys, normalized
from agent.memory.protocol import Insertion, InsertionEstimate, Memory, ReadOut, Rekeyable
from agent.memory.settings import Setting
from agent.memory.transform import Affine, KeyTransform, Unchanged
from agent.networks.outputs import Outputs

N_FITTED = 2000
"""The most learned samples that an agent fits a transform to."""


class MappedRecall(NamedTuple):
    """The cache of a recall of mapped queries."""

    queries: Float[Tensor, "n dim"] | None
    """None before the first samples are stored."""
    recall: Any
    """The cache of the memory inside."""


class TransformedMemory(Decorated):
    """A memory of keys that were mapped by a transform.

    The transform is fitted once, before the first samples are stored: to keys that `fit_keys` is given, or else to
    those of the first insert. All entries and queries have the same map from then on, whatever becomes of the network.
    With a matrix each sample and query takes 2 L dim FLOPs more, for keys of L numbers; the map takes 4 L (dim + 1)
    bytes.

    Args:
        memory: an empty memory, which no other code changes from here on.
        transform: of the keys.

    Raises:
        InvalidSetting: a memory that has entries.
    """

    def __init__(self, memory: Memory[Any], transform: KeyTransform) -> None:
        if memory.n_entries:
            raise InvalidSetting(f"expected an empty memory for a transform, got one of {memory.n_entries} entries")
        self.memory, self.transform = memory, transform
        self._map: Affine | None = None

    @property
    def wants_keys(self) -> bool:
        """Whether the next insert would fit the transform to its own keys."""
        return self._map is None and self.transform.needs_samples

    @property
    def nbytes(self) -> int:
        """Bytes of the memory inside, and of the map once something is stored."""
        return self.memory.nbytes + (self._map_nbytes(len(self._map.mean)) if self._map and self.n_entries else 0)

    def _map_nbytes(self, key_length: int) -> int:
        return 4 * key_length * (1 + self.transform.n_columns(key_length))

    def _mapping_flops(self, n: int, key_length: int) -> int:
        return 2 * n * key_length * self.transform.n_columns(key_length)

    def estimate_fitting(self, n: int, key_length: int) -> Work:
        """The work of `fit_keys` on n keys."""
        return Work(self.transform.fitting_flops(n, key_length), self._map_nbytes(key_length))

    def fit_keys(self, keys: Float[Tensor, "n length"]) -> Work:
        """Fit the transform, if it is not fitted, to keys of samples that need not be stored.

        Args:
            keys: at least one, not normalized.

        Raises:
            InvalidSetting: non-finite keys; the transform is not fitted.
        """
        if self._map is not None:
            return Work()
        check_keys(keys, None)
        start = time.perf_counter()
        self._map = self.transform.fit(normalized(keys))
        estimate = self.estimate_fitting(len(keys), keys.shape[1])
        return Work(estimate.flops, estimate.nbytes, time.perf_counter() - start)

    def estimate_insert(self, n: int, key_length: int, *, fitted: bool = False) -> InsertionEstimate:
        """That of the memory inside, for mapped keys, with mapping and fitting.

        Args:
            n: samples.
            key_length: numbers in their keys, before they are mapped.
            fitted: whether `fit_keys` will have fitted the transform before.
        """
        inner = self.memory.estimate_insert(n, self.transform.n_columns(key_length) or key_length)
        if not n:
            return inner
        work = inner.work + Work(self._mapping_flops(n, key_length))
        if self._map is None and not fitted:
            work += self.estimate_fitting(n, key_length)
        left = self.n_entries + n - inner.n_evicted
        mapped = (bool(left) - bool(self.n_entries)) * self._map_nbytes(key_length)
        return inner._replace(work=work, held_nbytes=inner.held_nbytes + mapped)

    def insert(
        self,
        outputs: Outputs,
        labels: Int64[Tensor, " n_labels"],
        ids: Int64[Tensor, " n_ids"],
        inputs: Shaped[Tensor, "n ..."] | None = None,
    ) -> Insertion:
        """Store samples under mapped keys; see `Memory`.

        Raises:
            InvalidSetting: samples that cannot be stored, or keys of another length than those that were fitted.
        """
        keys = outputs.keys
        n_classes = outputs.probabilities.shape[1]
        check_entries(keys, labels, ids, n_classes=n_classes, key_length=len(self._map.mean) if self._map else None)
        if not len(keys):
            return self.memory.insert(outputs, labels, ids, inputs)
        start = time.perf_counter()
        fitted = self._map or self.transform.fit(normalized(keys))
        mapped = outputs._replace(keys=fitted.of(keys))
        mapping = Work(self._mapping_flops(*keys.shape), seconds=time.perf_counter() - start)
        insertion = self.memory.insert(mapped, labels, ids, inputs)
        if self._map is None:
            mapping += self.estimate_fitting(*keys.shape)
        self._map = fitted
        return insertion._replace(work=insertion.work + mapping)

    def recall(
        self, queries: Float[Tensor, "n length"], settings: tuple[Setting, ...], cache: "MappedRecall | None" = None
    ) -> "tuple[ReadOut, MappedRecall, Work]":
        """Answer queries by their mapped keys; see `Memory`."""
        mapped, inner, mapping = cache.queries if cache else None, cache.recall if cache else None, Work()
        if self._map is not None and self.n_entries:
            check_keys(queries, len(self._map.mean))
            if mapped is not None:
                mapped = mapped.to(queries.device)  # a cache from a file is on the CPU
            else:
                start = time.perf_counter()
                mapped = self._map.of(queries)
                mapping = Work(self._mapping_flops(*queries.shape), seconds=time.perf_counter() - start)
        read_out, inner, work = self.memory.recall(queries if mapped is None else mapped, settings, inner)
        return read_out, MappedRecall(mapped, inner), work + mapping

    def recall_flops(self, n: int) -> int:
        """FLOPs of mapping n queries and answering them from scratch at one setting."""
        mapping = self._mapping_flops(n, len(self._map.mean)) if self._map and self.n_entries else 0
        return mapping + self.memory.recall_flops(n)

    def save_cache(self, cache: "MappedRecall") -> dict[str, Any]:
        """The mapped queries, and what the memory inside saves."""
        queries = None if cache.queries is None else cache.queries.cpu()
        return {"queries": queries, "recall": self.memory.save_cache(cache.recall)}

    def load_cache(self, state: dict[str, Any]) -> "MappedRecall":
        """The cache that was saved."""
        return MappedRecall(state["queries"], self.memory.load_cache(state["recall"]))

    def fork(self) -> "TransformedMemory":
        """An independent memory with the same content and map."""
        fork = copy.copy(self)
        fork.memory = self.memory.fork()
        return fork

    def state(self) -> dict[str, Any]:
        """The state of the memory inside, and the map."""
        fitted = {} if self._map is None else {"mean": self._map.mean.cpu()}
        if self._map is not None and self._map.matrix is not None:
            fitted["matrix"] = self._map.matrix.cpu()
        return {"memory": self.memory.state(), "map": fitted}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self.memory.load_state(state["memory"])
        fitted = state["map"]
        self._map = Affine(fitted["mean"], fitted.get("matrix")) if fitted else None


class RekeyableTransformedMemory(TransformedMemory):
    """A transformed memory whose entries can be re-keyed, because those of the memory in it can; see `transformed`."""

    def rekey(self, renew: Callable[[Int64[Tensor, " n"]], Outputs]) -> Work:
        """Replace the outputs in all entries, under the same map; see `Rekeyable`."""
        assert isinstance(self.memory, Rekeyable)
        mapping = Work()

        def renewed(ids: Int64[Tensor, " n"]) -> Outputs:
            nonlocal mapping
            outputs = renew(ids)
            if self._map is None:
                return outputs
            start = time.perf_counter()
            check_keys(outputs.keys, len(self._map.mean))
            mapped = self._map.of(outputs.keys)
            mapping += Work(self._mapping_flops(*outputs.keys.shape), seconds=time.perf_counter() - start)
            return outputs._replace(keys=mapped)

        return self.memory.rekey(renewed) + mapping

    def estimate_rekey(self) -> Work:
        """The work of `rekey`, without the forward passes and without seconds."""
        assert isinstance(self.memory, Rekeyable)
        length = len(self._map.mean) if self._map else 0
        return self.memory.estimate_rekey() + Work(self._mapping_flops(self.n_entries, length))


def transformed(memory: Memory[Any], transform: KeyTransform) -> Memory[Any]:
    """The memory itself for unchanged keys; else a transformed one, which is `Rekeyable` exactly if `memory` is."""
    if isinstance(transform, Unchanged):
        return memory
    kind = RekeyableTransformedMemory if isinstance(memory, Rekeyable) else TransformedMemory
    return kind(memory, transform)
