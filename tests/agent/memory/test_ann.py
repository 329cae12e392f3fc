import copy
import pickle
import sys

import jaxtyping
import numpy as np
import pytest
import torch

from agent.errors import InvalidSetting
from agent.memory.ann import AnnMemory, Hnsw, IvfPq
from agent.memory.entry_store import EntryStore
from agent.memory.knn import KnnMemory
from agent.memory.neighbours import nearest
from agent.networks.outputs import Outputs
from agent.testing import check_memory

faiss = pytest.importorskip("faiss", reason="FAISS is not installed (pip install 'learn-or-memorize[ann]')")

LENGTH = 24
BOTH = {"hnsw": {}, "ivfpq": {"index": "ivfpq", "train": 1000, "codes": 12, "probes": 8}}


def clustered(n, seed, n_clusters=50):
    centres = torch.randn(n_clusters, LENGTH, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    cluster = torch.randint(n_clusters, (n,), generator=generator)
    return centres[cluster] + torch.randn(n, LENGTH, generator=generator) / 2


def insert(memory, keys):
    ids = torch.arange(memory.n_entries, memory.n_entries + len(keys))
    return memory.insert(Outputs(torch.full((len(keys), 4), 0.25), keys), ids % 4, ids)


def filled(memory, keys, n=500):
    for part in keys.split(n):
        insert(memory, part)
    return memory


def answers(memory, queries):
    return memory.recall(queries, memory.settings)[0].probabilities


def content(memory):
    return faiss.serialize_index(memory._index).tobytes()


def recall_at_10(memory, keys, queries):
    entries = EntryStore(torch.device("cpu"))
    entries.append(keys, torch.zeros(len(keys), dtype=torch.int64), torch.arange(len(keys)))
    pairs = zip(nearest(queries, entries, 10).positions, memory.neighbours(queries, 10).positions[:, :10], strict=True)
    return np.mean([len(set(a.tolist()) & set(b.tolist())) / 10 for a, b in pairs])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"links": 4, "effort": 100, "vote": "majority"},
        {"index": "ivfpq"},  # never trained: exact
        {"index": "ivfpq", "train": 10, "lists": 3, "codes": 2, "probes": 1},  # some queries find no entry
        {"index": "ivfpq", "train": 10, "lists": 3, "codes": 2, "probes": 1, "vote": "majority"},
        {"index": "ivfpq", "train": 80, "codes": 5},
    ],
)
def test_it_keeps_the_promises_of_memories(options):
    check_memory(lambda: AnnMemory(4, **options))


@pytest.mark.parametrize(
    ("options", "least"),
    [
        ({}, 0.98),
        ({"index": "ivfpq", "train": 5000, "codes": 24}, 0.8),
        ({"index": "ivfpq", "train": 5000, "codes": 12}, 0.6),
    ],
)
def test_it_finds_most_of_the_nearest(options, least):
    keys, queries = clustered(8000, 1), clustered(200, 2)
    memory = filled(AnnMemory(4, **options), keys)
    assert recall_at_10(memory, keys, queries) >= least


@pytest.mark.parametrize("vote", ["softmax", "majority"])
@pytest.mark.parametrize("options", [{"effort": 600}, {"index": "ivfpq", "train": 601}])
def test_it_votes_as_the_exact_neighbours_do_where_the_search_is_exhaustive(options, vote):
    keys, queries = clustered(600, 1), clustered(50, 2)
    one, other = AnnMemory(4, vote=vote, **options), KnnMemory(4, vote=vote)
    assert (one.settings, one.prior) == (other.settings, other.prior)
    (found, _, _), (expected, _, _) = (filled(memory, keys).recall(queries, memory.settings) for memory in (one, other))
    torch.testing.assert_close(found.probabilities, expected.probabilities, atol=1e-3, rtol=0)  # at temperature 1/1024
    torch.testing.assert_close(found.novelty, expected.novelty, atol=1e-6, rtol=0)


@pytest.mark.parametrize("index", BOTH)
def test_equal_inserts_give_equal_indices_whatever_interrupts_them(index):
    keys = clustered(2500, 1)
    whole = filled(AnnMemory(4, **BOTH[index]), keys)
    assert content(filled(AnnMemory(4, **BOTH[index]), keys)) == content(whole)
    for at in (500, 1500):  # before and after the training of IVF-PQ
        resumed, part = AnnMemory(4, **BOTH[index]), filled(AnnMemory(4, **BOTH[index]), keys[:at])
        resumed.load_state(part.state())
        for each in (resumed, part.fork(), copy.deepcopy(part), pickle.loads(pickle.dumps(part)), part):
            assert content(filled(each, keys[at:])) == content(whole)
            assert each.nbytes == whole.nbytes


@pytest.mark.parametrize("index", BOTH)
def test_forks_share_the_index_until_one_inserts(index):
    keys, queries = clustered(1500, 1), clustered(20, 2)
    memory = filled(AnnMemory(4, **BOTH[index]), keys)
    before, fork = answers(memory, queries), memory.fork()
    shared = memory._index
    assert fork._index is shared
    insert(fork, clustered(100, 3))
    assert fork._index is not shared
    assert torch.equal(answers(memory, queries), before)
    insert(memory, clustered(100, 4))
    alone = memory._index
    insert(memory, clustered(100, 5))
    assert memory._index is alone or index == "ivfpq"  # training makes another one
    one, other = pickle.loads(pickle.dumps((memory, memory.fork())))
    before = answers(memory, queries)
    insert(one, clustered(100, 6))
    assert torch.equal(answers(other, queries), before)


@pytest.mark.parametrize("index", BOTH)
def test_the_bytes_are_those_of_the_serialized_index(index):
    memory = AnnMemory(4, **BOTH[index])
    for first in range(0, 3000, 250):
        before, estimate = memory.nbytes, memory.estimate_insert(250, LENGTH)
        work, _ = insert(memory, clustered(250, first))
        assert work == estimate.work
        assert memory.nbytes - before == estimate.held_nbytes
        held = memory.nbytes - 8 * memory.n_entries - 8 * len(memory._sizes)  # without labels, ids and sizes
        assert 0 <= len(content(memory)) - held <= 1000 + 0.01 * held  # header, lengths of lists


@pytest.mark.parametrize("links", [2, 3, 16, 64])
def test_layers_are_sampled_as_in_the_paper(links):
    layers = Hnsw(links, 128)._layers(0, 200_000)
    assert (layers > 0).mean() == pytest.approx(1 / links, rel=0.05)
    assert (layers[1000:] == Hnsw(links, 128)._layers(1000, 199_000)).all()
    assert layers.max() < faiss.IndexHNSWFlat(4, links).hnsw.assign_probas.size()


@pytest.mark.parametrize(("n_clusters", "low", "high"), [(50, 0.2, 1.0), (10**6, 1.0, 2.0)])
def test_the_comparisons_of_a_search_are_of_the_billed_order(n_clusters, low, high):
    keys, queries = clustered(10_000, 1, n_clusters), clustered(100, 2, n_clusters)
    memory = filled(AnnMemory(4, effort=128, links=16), keys, 5000)
    faiss.cvar.hnsw_stats.reset()
    _, _, work = memory.recall(queries, (memory.prior,))
    assert low <= 2 * LENGTH * faiss.cvar.hnsw_stats.ndis / work.flops <= high


def test_the_flops_of_ivfpq_are_those_of_its_products_and_additions():
    kind = IvfPq(lists=20, probes=4, codes=5, train=400)  # 8 codewords for each of 5 parts; 24 numbers become 25
    assert kind.bits == 3
    assert kind.query_flops(399, 24) == 2 * 24 * 399
    assert kind.query_flops(1000, 24) == 2 * 25 * (20 + 8) + 1000 * 4 // 20 * 5
    assert kind.adding(300, 99, 24).flops == 0
    assert kind.adding(400, 10, 24).flops == 10 * 2 * 25 * (20 + 8)
    assert kind.adding(300, 150, 24).flops == 2 * 25 * 400 * (11 * 20 + 25 * 8) + 450 * 2 * 25 * (20 + 8)
    assert IvfPq(None, 16, 16, 10_000).bits == 8
    assert IvfPq(None, 16, 16, 10_000).n_lists == 256


@pytest.mark.parametrize("index", BOTH)
def test_rekeying_repeats_the_inserts(index):
    keys, new = clustered(2500, 1), clustered(2500, 7)
    memory, fresh = (filled(AnnMemory(4, **BOTH[index]), each, 300) for each in (keys, new))
    work = memory.rekey(lambda ids: Outputs(torch.full((len(ids), 4), 0.25), new[ids]))
    assert content(memory) == content(fresh)
    assert work == memory.estimate_rekey()
    kept = content(memory)
    with pytest.raises(InvalidSetting, match="expected a key for each of 2500 ids, got 2"):
        memory.rekey(lambda ids: Outputs(torch.full((2, 4), 0.25), new[:2]))
    assert content(memory) == kept


def test_queries_without_neighbours_get_uniform_answers():
    memory = AnnMemory(4, index="ivfpq", train=40, lists=40, codes=1, probes=1)
    insert(memory, torch.eye(LENGTH)[torch.arange(40) % LENGTH])  # more lists than different keys: some are empty
    found, _, _ = memory.recall(clustered(500, 1), memory.settings)
    few = memory.neighbours(clustered(500, 1), 10).similarity == -torch.inf
    assert few.any()
    assert torch.isfinite(found.novelty).all()
    torch.testing.assert_close(found.probabilities.sum(dim=2), torch.ones(len(memory.settings), 500))


def test_threads_are_left_as_they_were():
    before = faiss.omp_get_max_threads(), torch.get_num_threads()
    try:
        faiss.omp_set_num_threads(2)
        set_to = faiss.omp_get_max_threads(), torch.get_num_threads()  # the latter follows if both share an OpenMP
        filled(AnnMemory(4), clustered(500, 1))
        assert (faiss.omp_get_max_threads(), torch.get_num_threads()) == set_to
    finally:
        faiss.omp_set_num_threads(before[0])
        torch.set_num_threads(before[1])


def test_without_faiss_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    message = (
        r"expected FAISS for --memory ann, got no module faiss; pip install 'learn-or-memorize\[ann\]', or --memory"
    )
    with pytest.raises(InvalidSetting, match=message):
        AnnMemory(4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"links": 1}, "expected from 2 to 1,024 links for an HNSW index, got 1"),
        ({"effort": 99}, "expected an effort of at least 100, the largest k, for an HNSW index, got 99"),
        ({"index": "ivfpq", "train": 1}, "expected 2 entries or more to train"),
        ({"index": "ivfpq", "train": 10, "lists": 11}, "expected from 1 to 10 lists"),
        ({"index": "ivfpq", "probes": 0}, "expected 1 probe and 1 code or more, got 0 and 16"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(InvalidSetting, match=message):
        AnnMemory(4, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"index": "flat"}, "expected an index hnsw or ivfpq, got flat"),
        ({"vote": "veto"}, "expected a vote by softmax or majority, got veto"),
    ],
)
def test_another_index_or_vote_is_refused(options, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # its check of the type would come first
    with pytest.raises(InvalidSetting, match=message):
        AnnMemory(4, **options)


def test_more_neighbours_than_the_effort_are_refused():
    with pytest.raises(InvalidSetting, match=r"expected k of at most the effort 128, got 129; .*ann:effort=129"):
        AnnMemory(4).recall(torch.ones(1, 5), ({"k": 129.0, "temperature": 1.0},))
