"""How fast the memory recalls, against a plain NumPy cache and FAISS, and how much memory that takes.

`python -m tests.benchmarks recalling`. FAISS is timed where it is installed (`pip install -e '.[ann]'`): it gives the
nearest entries of a query, which are a part of the job, as p(c | q) takes all of them.
"""

import subprocess
import sys
from importlib.util import find_spec
from statistics import median
from typing import Any

import numpy as np
import torch

from agent.memory import MEMORIES, CacheMemory, Memory
from agent.memory.entry_store import EntryStore
from agent.memory.neighbours import nearest
from agent.networks.outputs import Outputs
from tests.benchmarks.ratios import SGEMM_FLOPS, Ratio, alternately, ratios, sgemm

THETA = 85.6
AT = ({"theta": THETA},)
N_CLASSES = 10


def drawn(n: int, length: int, seed: int) -> torch.Tensor:
    """Positive keys, as behind a ReLU."""
    return torch.randn(n, length, generator=torch.Generator().manual_seed(seed)).relu_()


def filled(n: int, length: int, memory: Memory[Any] | None = None) -> Any:
    """A memory of n entries, a cache unless another is given."""
    memory = memory or CacheMemory(N_CLASSES)
    for first in range(0, n, 2000):
        keys = drawn(min(2000, n - first), length, seed=first)
        insert(memory, keys)
    return memory


def insert(memory: Memory[Any], keys: torch.Tensor) -> None:
    """Entries of all classes."""
    n, first = len(keys), memory.n_entries
    outputs = Outputs(torch.full((n, N_CLASSES), 1 / N_CLASSES), keys)
    memory.insert(outputs, torch.arange(n) % N_CLASSES, torch.arange(first, first + n))


class NumpyCache:
    """The cache in the author's form (github.com/eminorhan/simple-cache): every similarity of a batch at once.

    It subtracts no maximum, so that float32 overflows at θ = 89.
    """

    def __init__(self, keys: np.ndarray, labels: np.ndarray) -> None:
        self.keys = keys / np.linalg.norm(keys, axis=1, keepdims=True)
        self.values = np.eye(N_CLASSES, dtype=np.float32)[labels]

    def recall(self, queries: np.ndarray, theta: float) -> np.ndarray:
        """Class probabilities."""
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        similarities = queries @ self.keys.T
        mass = np.exp(theta * similarities) @ self.values
        return mass / mass.sum(axis=1, keepdims=True)


def numpy_cache(memory: CacheMemory) -> NumpyCache:
    """With the same entries."""
    tiles = list(memory.entries.tiles_after(0, memory.n_entries))
    return NumpyCache(*(torch.cat([getattr(tile, part) for tile in tiles]).numpy() for part in ("keys", "labels")))


def against_numpy(n: int, length: int, n_queries: int, target: str) -> list[Ratio]:
    """Queries/s over those of NumPy, in batches of 500 queries for NumPy; and FLOP/s over those of products."""
    memory, queries = filled(n, length), drawn(n_queries, length, seed=1)
    rival = numpy_cache(memory)
    arrays = np.array_split(queries.numpy(), max(1, n_queries // 500))
    torch.testing.assert_close(
        memory.recall(queries[:50], AT)[0].probabilities[0],
        torch.from_numpy(rival.recall(queries[:50].numpy(), THETA)),
        atol=1e-5,
        rtol=0,
    )
    product = sgemm()
    ours, theirs, products = alternately(
        lambda: memory.recall(queries, AT)[0].probabilities,
        lambda: [rival.recall(array, THETA) for array in arrays],
        product,
    )
    what = f"recall, {n:,} keys of {length:,} numbers"
    rates = f"{n_queries / median(ours):,.0f} against {n_queries / median(theirs):,.0f} queries/s"
    found = [Ratio(what, "NumPy cache", ratios(theirs, ours), target if length < 1000 else "", rates)]
    flops = 2 * n_queries * n * (length + N_CLASSES)
    shares = tuple(flops / a / (SGEMM_FLOPS / b) for a, b in zip(ours, products, strict=True))
    found.append(Ratio(what, "sgemm rate", shares, target if length > 1000 else ""))
    if find_spec("faiss"):
        found.append(against_faiss(memory, rival, queries, what))
    else:
        print("FAISS is not installed, and not measured: pip install -e '.[ann]'")
    return found


def against_faiss(memory: CacheMemory, rival: NumpyCache, queries: torch.Tensor, what: str) -> Ratio:
    """Queries/s over those of an exact search for the 100 nearest entries."""
    import faiss

    index = faiss.IndexFlatIP(queries.shape[1])
    index.add(rival.keys)
    asked = queries.numpy() / np.linalg.norm(queries.numpy(), axis=1, keepdims=True)
    ours, theirs = alternately(lambda: memory.recall(queries, AT), lambda: index.search(asked, 100))
    return Ratio(what, "FAISS IndexFlatIP, the 100 nearest alone", ratios(theirs, ours))


def neighbours_against_faiss(n: int, length: int, n_queries: int, k: int) -> list[Ratio]:
    """Queries/s over those of FAISS's exact search for as many neighbours; and FLOP/s over those of products."""
    if not find_spec("faiss"):
        return []
    import faiss

    keys, queries = (torch.nn.functional.normalize(drawn(*shape)) for shape in ((n, length, 0), (n_queries, length, 1)))
    entries = EntryStore(torch.device("cpu"))
    for rows in torch.arange(n).split(2000):
        entries.append(keys[rows], rows % N_CLASSES, rows)
    index = faiss.IndexFlatIP(length)
    index.add(keys.numpy())
    same = nearest(queries, entries, k).positions.numpy() == index.search(queries.numpy(), k)[1]
    assert same.mean() > 0.99, f"expected the same neighbours but for rounding, got {same.mean():.1%}"
    ours, theirs, products = alternately(
        lambda: nearest(queries, entries, k), lambda: index.search(queries.numpy(), k), sgemm()
    )
    what = f"{k} nearest of {n:,} keys of {length:,} numbers"
    rates = f"{n_queries / median(ours):,.0f} against {n_queries / median(theirs):,.0f} queries/s"
    of_faiss, of_ours = (
        tuple(2 * n_queries * n * length / a / (SGEMM_FLOPS / b) for a, b in zip(times, products, strict=True))
        for times in (theirs, ours)
    )
    return [
        Ratio(what, "FAISS IndexFlatIP", ratios(theirs, ours), "≥ 0.9", rates),
        Ratio(what, "sgemm rate of PyTorch", of_ours),
        Ratio(f"FAISS IndexFlatIP, {what}", "sgemm rate of PyTorch", of_faiss),
    ]


def constant_recall(n: int, length: int, n_queries: int) -> list[Ratio]:
    """Recall from n entries over recall from n/10, of the memories that store sums."""
    found = []
    for name in ("ridge", "slda", "ncm"):
        full, tenth = (filled(size, length, MEMORIES[name](N_CLASSES)) for size in (n, n // 10))
        queries = drawn(n_queries, length, seed=1)
        for memory in (full, tenth):
            memory.recall(queries, (memory.prior,))  # solves, once until the next insert
        at_full, at_tenth = alternately(
            lambda full=full, queries=queries: full.recall(queries, (full.prior,)),
            lambda tenth=tenth, queries=queries: tenth.recall(queries, (tenth.prior,)),
        )
        what = f"{name}, {n:,} keys of {length:,} numbers"
        found.append(Ratio(what, f"{n // 10:,} keys", ratios(at_full, at_tenth), "1"))
    return found


def after_an_insert(n: int, length: int, n_queries: int) -> Ratio:
    """Evaluating the same queries again after n/50 new entries, over evaluating from scratch; ideally 1/51."""
    memory, queries = filled(n, length), drawn(n_queries, length, seed=1)
    _, before, _ = memory.recall(queries, AT)
    new = drawn(n // 50, length, seed=2)
    insert(memory, new)
    again, scratch = alternately(lambda: memory.recall(queries, AT, before), lambda: memory.recall(queries, AT))
    what = f"again after an insert of {n // 50:,}, {n:,} keys of {length:,} numbers"
    return Ratio(what, "recall from scratch", ratios(again, scratch), "∝ new: 0.02")


def peak_memory(n: int, length: int) -> Ratio:
    """Largest growth of processes that fill a memory and recall from it, over the bytes of the keys (Linux).

    A small memory has been filled and asked before, and what it left free has been given back to the system.
    """
    code = (
        "import ctypes, sys, torch\n"
        "from tests.benchmarks.recalling import *\n"
        "def status(name):\n"
        "    return 1024 * int(next(l for l in open('/proc/self/status') if l.startswith(name)).split()[1])\n"
        f"small = filled(4000, {length}); small.recall(drawn(1000, {length}, 1), AT); del small\n"
        f"queries = drawn({1_000 if length > 1000 else 10_000}, {length}, 1)\n"
        "ctypes.CDLL(None).malloc_trim(0)\n"
        "before = status('VmRSS')\n"
        f"memory = filled({n}, {length})\n"
        "memory.recall(queries, AT)\n"
        "print((status('VmHWM') - before) / memory.entries.rows_nbytes)\n"
    )
    command = [sys.executable, "-c", code]
    grown = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(3)]
    what = f"peak memory of filling and recalling, {n:,} keys of {length:,} numbers"
    return Ratio(what, "bytes of the keys", tuple(map(float, grown)), "< 1.2")


def measure() -> list[Ratio]:
    """All of it; about three minutes."""
    return [
        *against_numpy(50_000, 64, 10_000, "≥ 3"),
        *against_numpy(50_000, 12_288, 500, "≥ 0.8"),
        *neighbours_against_faiss(50_000, 256, 2_000, 30),
        *constant_recall(50_000, 64, 10_000),
        after_an_insert(50_000, 64, 10_000),
        peak_memory(50_000, 64),
        peak_memory(50_000, 12_288),
    ]
