"""How fast the approximate nearest neighbours are recalled, against the exact ones; and how many of them are found.

`python -m tests.benchmarks approximate`. Nothing is measured where FAISS is not installed (`pip install -e '.[ann]'`).
"""

from importlib.util import find_spec
from statistics import median

import torch

from agent.memory.ann import AnnMemory
from agent.memory.knn import KnnMemory
from agent.memory.neighbours import Neighbours, nearest
from agent.networks.outputs import Outputs
from tests.benchmarks.ratios import Ratio, alternately, ratios

N, LENGTH, N_CLUSTERS, N_QUERIES, K = 200_000, 64, 500, 1_000, 30
AT = ({"k": float(K), "temperature": 1 / 16},)
N_CLASSES = 10


def clustered(n: int, seed: int) -> torch.Tensor:
    """Keys around the same centres for every seed; the distance from a centre is as large as that between centres."""
    centres = torch.randn(N_CLUSTERS, LENGTH, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    cluster = torch.randint(N_CLUSTERS, (n,), generator=generator)
    return centres[cluster] + torch.randn(n, LENGTH, generator=generator) / 2**0.5


def fill(memory: AnnMemory | KnnMemory, keys: torch.Tensor) -> None:
    """Insert keys of all classes, 10,000 at a time."""
    for first in range(0, len(keys), 10_000):
        part = keys[first : first + 10_000]
        ids = torch.arange(first, first + len(part))
        memory.insert(Outputs(torch.full((len(part), N_CLASSES), 1 / N_CLASSES), part), ids % N_CLASSES, ids)


def share_found(exact: Neighbours, found: Neighbours) -> float:
    """The share of the K nearest that are found."""
    pairs = zip(exact.positions[:, :K].tolist(), found.positions[:, :K].tolist(), strict=True)
    return sum(len(set(a) & set(b)) for a, b in pairs) / exact.positions[:, :K].numel()


def measure() -> list[Ratio]:
    """Queries/s of each index over those of the exact search; about a minute."""
    if not find_spec("faiss"):
        print("FAISS is not installed, and not measured: pip install -e '.[ann]'")
        return []
    keys, queries = clustered(N, seed=1), clustered(N_QUERIES, seed=2)
    exact = KnnMemory(N_CLASSES)
    fill(exact, keys)
    return [against_exact(AnnMemory(N_CLASSES, index=index), exact, keys, queries) for index in ("hnsw", "ivfpq")]


def against_exact(memory: AnnMemory, exact: KnnMemory, keys: torch.Tensor, queries: torch.Tensor) -> Ratio:
    """Queries/s over those of the exact search, with the share of its neighbours that are found."""
    fill(memory, keys)
    found = share_found(nearest(queries, exact.entries, K), memory.neighbours(queries, K))
    ours, theirs = alternately(lambda: memory.recall(queries, AT), lambda: exact.recall(queries, AT))
    detail = (
        f"{N_QUERIES / median(ours):,.0f} against {N_QUERIES / median(theirs):,.0f} queries/s, recall@{K} {found:.3f}, "
        f"{memory.nbytes / 1e6:.1f} against {exact.nbytes / 1e6:.1f} MB"
    )
    what = f"recall by {memory.index}, {N:,} keys of {LENGTH} numbers, k = {K}"
    return Ratio(what, "exact neighbours", ratios(theirs, ours), detail=detail)
