"""Approximate indices of FAISS: how they are built, and what that and a search take."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from agent.accounting.work import Work
from agent.errors import InvalidSetting
from agent.memory.knn import N_NEIGHBOURS

CONSTRUCTION = 40
"""FAISS's efConstruction: candidates among which an inserted key finds its links."""

PER_CENTROID = 39
"""Entries that FAISS wants for each centroid of a k-means."""

ROUNDS = (10, 25)
"""FAISS's iterations of k-means for the lists and for the codewords."""


class Index(Protocol):
    """How an index is built, and what that takes."""

    @property
    def most_neighbours(self) -> float:
        """The largest k of a search."""

    def added(self, index: Any, unit: Float[Tensor, "n length"]) -> Any:
        """The index with more keys; it may be the same, changed. None is an empty index."""

    def adding(self, before: int, n: int, length: int) -> Work:
        """The work of adding n keys to an index of `before`, without seconds."""

    def grown_nbytes(self, before: int, n: int, length: int) -> int:
        """Bytes by which n keys enlarge an index of `before`."""

    def query_flops(self, n_entries: int, length: int) -> int:
        """FLOPs of a query."""


@dataclass(frozen=True)
class Hnsw:
    """Hierarchical navigable small worlds: a graph in layers, each a sample of the one below.

    A search compares the query with about min(N, links (effort / 2 + log N / log links)) of N keys: the candidates
    that it expands have up to twice `links` links, of which most lead to keys that were compared before, and a layer
    above takes a step or so (section 4.2 of the paper: the complexity is logarithmic). FAISS counted 0.2 times as many
    on clustered keys, whose links lead to each other, and up to twice as many on keys without clusters. An insert is a
    search with 40 candidates, each of which is compared with `links` / 2 others to select the links (algorithm 4).
    """

    links: int
    effort: int

    def __post_init__(self) -> None:
        if not 2 <= self.links <= 1024:
            raise InvalidSetting(f"expected from 2 to 1,024 links for an HNSW index, got {self.links}")
        if self.effort < max(N_NEIGHBOURS):
            raise InvalidSetting(
                f"expected an effort of at least {max(N_NEIGHBOURS)}, the largest k, for an HNSW index, "
                f"got {self.effort}"
            )

    @property
    def most_neighbours(self) -> float:
        """The effort: a search for more would raise it, and find other neighbours than one for fewer."""
        return self.effort

    def added(self, index: Any, unit: Float[Tensor, "n length"]) -> Any:
        """The index with more keys."""
        faiss = faiss_library()
        if index is None:
            index = faiss.IndexHNSWFlat(unit.shape[1], self.links, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction, index.hnsw.efSearch = CONSTRUCTION, self.effort
        # FAISS does not save the generator of its layers: a restored index would continue with other ones.
        layers = 1 + self._layers(index.ntotal, len(unit)).astype(np.int32)
        known = faiss.vector_to_array(index.hnsw.levels)
        faiss.copy_array_to_vector(np.concatenate([known, layers]), index.hnsw.levels)
        with _one_thread():
            index.add(unit.numpy())
        return index

    def _layers(self, before: int, n: int) -> np.ndarray:
        """Layers above the lowest that entries are in, by their positions: ⌊-log U / log links⌋ (section 4.1).

        U is the SplitMix64 hash of the position (Steele et al. 2014). The cap is below the number of layers of FAISS,
        and one in 10⁸ entries would exceed it.
        """
        with np.errstate(over="ignore"):
            z = np.arange(before + 1, before + n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        uniform = ((z ^ (z >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) + 1
        layers = (-np.log(uniform * 2.0**-53) / math.log(self.links)).astype(np.int64)
        return np.minimum(layers, max(0, int(math.log(1e9) / math.log(self.links)) - 1))

    def _comparisons(self, n_entries: int, effort: int) -> int:
        steps = math.log(max(n_entries, 1)) / math.log(self.links)
        return min(n_entries, int(self.links * (effort / 2 + steps)))

    def adding(self, before: int, n: int, length: int) -> Work:
        """Searches, the selection of links, and the bytes of the new nodes."""
        selection = CONSTRUCTION * self.links // 2
        flops = 2 * length * n * (self._comparisons(before + n, CONSTRUCTION) + selection)
        return Work(flops, self.grown_nbytes(before, n, length))

    def grown_nbytes(self, before: int, n: int, length: int) -> int:
        """Keys in float32, links of 4 bytes (twice as many in the lowest layer), and 12 bytes for layer and offset."""
        return n * (4 * length + 8 * self.links + 12) + 4 * self.links * int(self._layers(before, n).sum())

    def query_flops(self, n_entries: int, length: int) -> int:
        """FLOPs of the comparisons."""
        return 2 * length * self._comparisons(n_entries, self.effort)


@dataclass(frozen=True)
class IvfPq:
    """An inverted file with product quantization of the residuals (IVFADC, section IV of Jégou et al.).

    With L lists, K codewords for each of M parts, and keys of D numbers after padding, a query takes 2 D L FLOPs for
    the lists, 2 D K for the table of products with codewords, and M additions for each code in the lists probed, here
    N probes / L as if lists were of equal length; long lists are probed more often, so it is an underestimate. An
    insert takes 2 D (L + K) for each key, and training 2 D (11 L + 25 K) for each of its entries: 10 and 25
    iterations of k-means, and the residuals.
    """

    lists: int | None
    probes: int
    codes: int
    train: int

    def __post_init__(self) -> None:
        if self.train < 2:
            raise InvalidSetting(f"expected 2 entries or more to train an IVF-PQ index, got {self.train}")
        if self.lists is not None and not 1 <= self.lists <= self.train:
            raise InvalidSetting(
                f"expected from 1 to {self.train} lists, as many as entries to train on, got {self.lists}; raise train"
            )
        if self.probes < 1 or self.codes < 1:
            raise InvalidSetting(f"expected 1 probe and 1 code or more, got {self.probes} and {self.codes}")

    @property
    def most_neighbours(self) -> float:
        """Any number."""
        return math.inf

    @property
    def n_lists(self) -> int:
        """Number of lists."""
        return self.lists or max(1, self.train // PER_CENTROID)

    @property
    def bits(self) -> int:
        """Of a codeword's number, 1 to 8."""
        return min(8, max(1, (self.train // PER_CENTROID).bit_length() - 1))

    def _padded_length(self, length: int) -> int:
        return -(-length // self.codes) * self.codes

    def added(self, index: Any, unit: Float[Tensor, "n length"]) -> Any:
        """The index with more keys: exact until there are enough to train, on the first of them."""
        faiss = faiss_library()
        if index is None:
            index = faiss.IndexFlatIP(unit.shape[1])
        with _one_thread():
            if isinstance(index, faiss.IndexFlat) and index.ntotal + len(unit) >= self.train:
                unit = torch.cat([torch.from_numpy(index.reconstruct_n(0, index.ntotal)), unit])
                index = self._trained(unit[: self.train])
            index.add(padded(unit, index.d).numpy())
        return index

    def _trained(self, unit: Float[Tensor, "n length"]) -> Any:
        faiss = faiss_library()
        d = self._padded_length(unit.shape[1])
        quantizer = faiss.IndexFlatIP(d)
        index = faiss.IndexIVFPQ(quantizer, d, self.n_lists, self.codes, self.bits, faiss.METRIC_INNER_PRODUCT)
        for clustering, n_rounds in zip((index.cp, index.pq.cp), ROUNDS, strict=True):
            clustering.niter = n_rounds
            clustering.min_points_per_centroid = 1
            clustering.max_points_per_centroid = self.train  # all of them, not a sample
        index.nprobe = min(self.probes, self.n_lists)
        index.train(padded(unit, d).numpy())
        return index

    def adding(self, before: int, n: int, length: int) -> Work:
        """The assignments of k-means and of codes; the training writes the whole index."""
        if before + n < self.train:
            return Work(nbytes=self._nbytes(before + n, length) - self._nbytes(before, length))
        d, n_codewords = self._padded_length(length), 2**self.bits
        encoding = 2 * d * (self.n_lists + n_codewords)
        if before >= self.train:
            return Work(n * encoding, self.grown_nbytes(before, n, length))
        training = 2 * d * self.train * ((ROUNDS[0] + 1) * self.n_lists + ROUNDS[1] * n_codewords)
        return Work(training + (before + n) * encoding, self._nbytes(before + n, length))

    def grown_nbytes(self, before: int, n: int, length: int) -> int:
        """Change of the bytes held; negative when codes replace the keys."""
        return self._nbytes(before + n, length) - self._nbytes(before, length)

    def _nbytes(self, n_entries: int, length: int) -> int:
        """Keys in float32 at first; then codes, an id of 8 bytes each, centroids and codewords."""
        if n_entries < self.train:
            return 4 * length * n_entries
        code = -(-self.codes * self.bits // 8)
        return n_entries * (code + 8) + 4 * self._padded_length(length) * (self.n_lists + 2**self.bits)

    def query_flops(self, n_entries: int, length: int) -> int:
        """FLOPs of lists, table and additions; of comparing all keys before the training."""
        if n_entries < self.train:
            return 2 * length * n_entries
        additions = n_entries * min(self.probes, self.n_lists) * self.codes // self.n_lists
        return 2 * self._padded_length(length) * (self.n_lists + 2**self.bits) + additions


def faiss_library() -> Any:
    """The library; raises InvalidSetting if it is not installed."""
    try:
        import faiss
    except ImportError:
        raise InvalidSetting(
            "expected FAISS for --memory ann, got no module faiss; pip install 'learn-or-memorize[ann]', "
            "or --memory knn"
        ) from None
    return faiss


@contextmanager
def _one_thread() -> Iterator[None]:
    """FAISS with one thread, since the order in which several write links varies; PyTorch's number stays the same."""
    faiss, of_torch = faiss_library(), torch.get_num_threads()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
        if torch.get_num_threads() != of_torch:  # both may use one OpenMP
            torch.set_num_threads(of_torch)


def padded(unit: Float[Tensor, "n length"], length: int) -> Float[Tensor, "n d"]:
    """Keys with zeros at the end, which change no cosine."""
    return F.pad(unit, (0, length - unit.shape[1])).contiguous()
