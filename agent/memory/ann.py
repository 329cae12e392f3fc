"""The k nearest neighbours of a query, found approximately by FAISS: for memories of many entries."""

import copy
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from agent.accounting.work import Work
from agent.data.sample_store import LABEL_NBYTES
from agent.errors import InvalidSetting
from agent.memory.entries import check_entries, check_keys, normalized
from agent.memory.entry_memory import CPU
from agent.memory.faiss_index import Hnsw, Index, IvfPq, faiss_library, padded
from agent.memory.knn import N_NEIGHBOURS, Vote, most_neighbours, vote_settings, voted
from agent.memory.mixture import LinearMixing
from agent.memory.neighbours import Neighbours
from agent.memory.protocol import Insertion, InsertionEstimate, ReadOut
from agent.memory.settings import Setting
from agent.networks.outputs import Outputs
from agent.version import Lineage

INSERT_NBYTES = 8
"""Bytes of the size of an insert."""

RENEWED = 8192
"""Entries that re-keying renews at once, unless a single insert had more."""


class AnnMemory(LinearMixing):
    """A vote of the k nearest keys by cosine, as in `KnnMemory`, found approximately by FAISS on the CPU.

    `hnsw` searches a graph that links similar keys, and compares a query with few of them. It holds the keys and the
    links, so more bytes than the exact search. `ivfpq` assigns keys to lists by k-means, and holds of each only the
    codewords that are nearest to the parts of its residual. Cosines are then estimates. It compares a query with the
    codes in the nearest lists. Before it is trained, on the first `train` entries, its search is exact.

    A neighbour that the search misses has no vote. Every insert may change every answer, since a new link opens paths
    to earlier entries. Inserts run in one thread, so that equal inserts give equal answers.

    FLOPs are estimates, since the search decides what it compares; see `Hnsw` and `IvfPq`. Selecting and counting votes
    is not billed. The size of each insert is held too, as re-keying repeats the inserts.

    Args:
        n_classes: number of classes.
        device: ignored; the index is on the CPU, and answers are on the device of the queries.
        index: `hnsw` for accuracy, `ivfpq` for few bytes.
        vote: how the neighbours are weighted.
        links: of a key, twice as many in the lowest layer; 2 or more (hnsw).
        effort: candidates that a search keeps (efSearch), at least 100, the largest k of calibration (hnsw).
        lists: number of lists, by default one in 39 of the `train` entries (ivfpq).
        probes: lists that a query is compared with, 1 or more; all if there are fewer (ivfpq).
        codes: parts of a key, with a code of up to 8 bits each; keys are padded with zeros to a multiple (ivfpq).
        train: entries on which lists and codewords are trained, 2 or more. There are 256 codewords for a part, or so
            many that each has 39 entries; fewer than 9,984 entries lead to fewer (ivfpq).

    Raises:
        InvalidSetting: no FAISS, no class, or another index, vote or number.

    References:
        Malkov and Yashunin 2016, "Efficient and robust approximate nearest neighbor search using hierarchical navigable
        small world graphs", arXiv:1603.09320. Jégou, Douze and Schmid 2011, "Product quantization for nearest neighbor
        search", IEEE TPAMI 33(1). Douze et al. 2024, "The Faiss library", arXiv:2401.08281.
    """

    needs_inputs = False
    pools_keys = True

    def __init__(
        self,
        n_classes: int,
        *,
        device: torch.device = CPU,
        index: Literal["hnsw", "ivfpq"] = "hnsw",
        vote: Vote = "softmax",
        links: int = 32,
        effort: int = 128,
        lists: int | None = None,
        probes: int = 16,
        codes: int = 16,
        train: int = 10_000,
    ) -> None:
        if n_classes < 1:
            raise InvalidSetting(f"expected at least 1 class, got {n_classes}")
        if index not in ("hnsw", "ivfpq"):
            raise InvalidSetting(f"expected an index hnsw or ivfpq, got {index}")
        faiss_library()
        self.n_classes = n_classes
        self.settings, self.prior = vote_settings(vote)
        self.index, self.vote = index, vote
        self.kind: Index = Hnsw(links, effort) if index == "hnsw" else IvfPq(lists, probes, codes, train)
        self.n_entries = self.nbytes = 0
        self.lineage = Lineage()
        self.version = self.lineage.next()
        self._index: Any = None  # of FAISS; None without entries
        self._is_shared = False  # with a fork, so that the next insert copies it
        self._key_length: int | None = None
        self._sizes: list[int] = []  # of inserts, which re-keying repeats
        self._labels = self._ids = torch.empty(0, dtype=torch.int32)

    def estimate_insert(self, n: int, key_length: int) -> InsertionEstimate:
        """The FLOPs of adding n keys to the index, the bytes written, and the change of the bytes held."""
        if not n:
            return InsertionEstimate(Work(), 0)
        rest = n * LABEL_NBYTES + INSERT_NBYTES
        work = self.kind.adding(self.n_entries, n, key_length)
        grown = self.kind.grown_nbytes(self.n_entries, n, key_length)
        return InsertionEstimate(Work(work.flops, work.nbytes + rest), grown + rest)

    def insert(
        self,
        outputs: Outputs,
        labels: Int64[Tensor, " n_labels"],
        ids: Int64[Tensor, " n_ids"],
        inputs: Shaped[Tensor, "n ..."] | None = None,
    ) -> Insertion:
        """Add entries to the index; see `Memory`. A key of zeros has cosine 0 with every query."""
        keys = outputs.keys
        check_entries(keys, labels, ids, n_classes=self.n_classes, key_length=self._key_length)
        if not len(keys):
            return Insertion(Work())
        work, held, _ = self.estimate_insert(len(keys), keys.shape[1])
        start = time.perf_counter()
        index = faiss_library().clone_index(self._index) if self._index is not None and self._is_shared else self._index
        self._index, self._is_shared = self.kind.added(index, normalized(keys.cpu())), False
        self._labels, self._ids = (
            torch.cat([old, new.to(CPU, torch.int32)]) for old, new in ((self._labels, labels), (self._ids, ids))
        )
        self._key_length = keys.shape[1]
        self._sizes = [*self._sizes, len(keys)]
        self.n_entries += len(keys)
        self.nbytes += held
        self.version = self.lineage.next()
        return Insertion(Work(work.flops, work.nbytes, time.perf_counter() - start))

    @torch.inference_mode()
    def recall(
        self, queries: Float[Tensor, "n length"], settings: tuple[Setting, ...], cache: ReadOut | None = None
    ) -> tuple[ReadOut, ReadOut, Work]:
        """Class probabilities of queries at each setting `k` and, for the softmax, `temperature`; see `Memory`.

        Raises:
            InvalidSetting: see `KnnMemory`; or a k above the `effort`.
        """
        if cache is not None:
            return _moved(cache, queries.device), cache, Work()
        k = most_neighbours(settings, self.vote)
        if k > self.kind.most_neighbours:
            raise InvalidSetting(
                f"expected k of at most the effort {self.kind.most_neighbours}, got {k}; "
                f"raise it (--memory ann:effort={k})"
            )
        check_keys(queries, self._key_length)
        start = time.perf_counter()
        found = self.neighbours(queries, k)
        read_out = _moved(voted(found, self._labels.long(), settings, self.n_classes, self.vote), queries.device)
        work = Work(self.recall_flops(len(queries)), seconds=time.perf_counter() - start)
        return read_out, read_out, work

    def neighbours(self, queries: Float[Tensor, "n length"], k: int) -> Neighbours:
        """The neighbours that the index finds, k or more; those that it misses have the similarity -∞.

        It searches for 100 at least: of equally near ones, as many with one code are, a search for fewer finds others,
        and a setting would give other answers alone than among several.
        """
        shape = len(queries), min(max(k, *N_NEIGHBOURS), self.n_entries)
        if not all(shape):
            return Neighbours(self.n_entries, torch.zeros(shape), torch.zeros(shape, dtype=torch.int64))
        unit = padded(normalized(queries.cpu()), self._index.d)
        similarity, positions = map(torch.from_numpy, self._index.search(unit.numpy(), shape[1]))
        similarity = similarity.masked_fill(positions < 0, -torch.inf)
        positions, order = positions.clamp_min(0).sort(dim=1)
        similarity, by_age = similarity.gather(1, order).sort(dim=1, descending=True, stable=True)
        return Neighbours(self.n_entries, similarity, positions.gather(1, by_age))

    def recall_flops(self, n: int) -> int:
        """An estimate of the FLOPs of searching for n queries, which a recall bills."""
        return n * self.kind.query_flops(self.n_entries, self._key_length) if self._key_length else 0

    def rekey(self, renew: Callable[[Int64[Tensor, " n"]], Outputs]) -> Work:
        """Build the index anew from renewed keys, by the same inserts; see `Rekeyable`.

        Raises:
            InvalidSetting: non-finite keys, or keys of another length than those stored.
        """
        index, seconds, first, ids = None, 0.0, 0, self._ids.long()
        for sizes in _grouped(self._sizes):
            keys = renew(ids[first : first + sum(sizes)]).keys
            start = time.perf_counter()
            check_keys(keys, self._key_length)
            if len(keys) != sum(sizes):
                raise InvalidSetting(f"expected a key for each of {sum(sizes)} ids, got {len(keys)}; renew all of them")
            for part in normalized(keys.cpu()).split(sizes):
                index = self.kind.added(index, part)
            first += len(keys)
            seconds += time.perf_counter() - start
        work = self.estimate_rekey()
        self._index, self._is_shared = index, False
        self.version = self.lineage.next()
        return Work(work.flops, work.nbytes, seconds)

    def estimate_rekey(self) -> Work:
        """What all inserts took, but for labels and ids."""
        work, first = Work(), 0
        for n in self._sizes:
            work += self.kind.adding(first, n, self._key_length or 0)
            first += n
        return work

    def save_cache(self, cache: ReadOut) -> dict[str, Any]:
        """The read-out."""
        cache = _moved(cache, CPU)
        return {"probabilities": cache.probabilities, "novelty": cache.novelty}

    def load_cache(self, state: dict[str, Any]) -> ReadOut:
        """The read-out that was saved."""
        return ReadOut(state["probabilities"], state["novelty"])

    def fork(self) -> "AnnMemory":
        """An independent memory with the same index, which both copy before they insert."""
        self._is_shared = True
        fork = copy.copy(self)
        fork.lineage = Lineage()
        return fork

    def state(self) -> dict[str, Any]:
        """The index as bytes, and labels, ids and the sizes of inserts."""
        state = {"labels": self._labels, "ids": self._ids, "sizes": torch.tensor(self._sizes, dtype=torch.int64)}
        if self._index is None:
            return state
        index = torch.from_numpy(faiss_library().serialize_index(self._index))
        return {**state, "length": self._key_length, "index": index}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self._labels, self._ids, self._sizes = state["labels"], state["ids"], state["sizes"].tolist()
        self._key_length = state.get("length")
        self._index, self._is_shared = None, False
        if "index" in state:
            self._index = faiss_library().deserialize_index(state["index"].numpy())
        self.n_entries = len(self._labels)
        self.nbytes = self.n_entries * LABEL_NBYTES + len(self._sizes) * INSERT_NBYTES
        if self._key_length:
            self.nbytes += self.kind.grown_nbytes(0, self.n_entries, self._key_length)
        self.version = self.lineage.next()


def _moved(read_out: ReadOut, device: torch.device) -> ReadOut:
    novelty = read_out.novelty
    return ReadOut(read_out.probabilities.to(device), None if novelty is None else novelty.to(device))


def _grouped(sizes: list[int]) -> Iterator[list[int]]:
    """Sizes of consecutive inserts that are renewed together."""
    group: list[int] = []
    n_grouped = 0
    for n in sizes:
        if group and n_grouped + n > RENEWED:
            yield group
            group, n_grouped = [], 0
        group.append(n)
        n_grouped += n
    if group:
        yield group
