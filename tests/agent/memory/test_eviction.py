from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.data.class_shares import quotas
from agent.data.herding import herd
from agent.memory import CacheMemory
from agent.memory.bounded import Capacity, bounded
from agent.memory.entries import normalized
from agent.memory.eviction import ClassBalanced, Fifo, Reservoir
from agent.memory.herding import Herding
from agent.memory.usefulness import DECAY, TEMPERATURE, LeastUseful
from agent.networks.outputs import Outputs
from agent.randomness import priorities

N_CLASSES, LENGTH = 4, 6
SIZES = st.lists(st.integers(1, 25), min_size=1, max_size=6)


def chunks_of(sizes, seed=0, n_classes=N_CLASSES):
    """Keys, labels and ids of each chunk; ids are neither positions nor ascending."""
    generator, n = torch.Generator().manual_seed(seed), sum(sizes)
    keys, labels = torch.randn(n, LENGTH, generator=generator), torch.randint(n_classes, (n,), generator=generator)
    ids = torch.randperm(3 * n + 5, generator=generator)[:n]
    return list(zip(keys.split(sizes), labels.split(sizes), ids.split(sizes), strict=True))


def insert(memory, chunk):
    keys, labels, ids = chunk
    return memory.insert(Outputs(torch.full((len(keys), N_CLASSES), 1 / N_CLASSES), keys), labels, ids)


def lived(eviction, capacity, chunks):
    memory = bounded(CacheMemory(N_CLASSES), Capacity(capacity), eviction)
    for chunk in chunks:
        insert(memory, chunk)
    return memory


def held(memory):
    return memory.memory.entries.ids.tolist()


def joined(chunks):
    return (torch.cat(parts) for parts in zip(*chunks, strict=True))


@given(SIZES, st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_fifo_keeps_the_last(sizes, capacity):
    chunks = chunks_of(sizes)
    ids = torch.cat([ids for _, _, ids in chunks]).tolist()
    assert held(lived(Fifo(), capacity, chunks)) == ids[-capacity:]


def splitmix64(state):
    """The published code, in Python's integers (prng.di.unimi.it/splitmix64.c), without the increment."""
    z = state % 2**64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
    return z ^ (z >> 31)


@given(st.lists(st.integers(0, 2**31 - 1), max_size=20, unique=True), st.integers(0, 2**63))
@settings(max_examples=40, deadline=None)
def test_priorities_are_splitmix64(ids, seed):
    start = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0])
    expected = [splitmix64(start + 0x9E3779B97F4A7C15 * each) for each in ids]
    assert priorities(torch.tensor(ids, dtype=torch.int64), seed).tolist() == expected


def lowest(ids, n, seed):
    ids = torch.tensor(ids, dtype=torch.int64)
    return set(ids[torch.from_numpy(np.argsort(priorities(ids, seed)))][:n].tolist())


@given(SIZES, st.integers(1, 40), st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_a_reservoir_keeps_the_lowest_priorities_of_all_in_the_order_of_insertion(sizes, capacity, seed):
    chunks = chunks_of(sizes, seed)
    ids = torch.cat([ids for _, _, ids in chunks]).tolist()
    stay = lowest(ids, capacity, seed)
    assert held(lived(Reservoir(seed), capacity, chunks)) == [each for each in ids if each in stay]


def test_a_reservoir_is_a_uniform_sample():
    n, capacity, n_seeds = 60, 20, 3000
    ids, kept = torch.arange(n), np.zeros(n)
    both = 0
    for seed in range(n_seeds):
        stays = np.argsort(priorities(ids, seed))[:capacity]
        kept[stays] += 1
        both += {0, 1} <= set(stays.tolist())
    share = capacity / n
    deviation = np.sqrt(n_seeds * share * (1 - share))
    assert np.abs(kept - n_seeds * share).max() < 4.5 * deviation
    pairs = share * (capacity - 1) / (n - 1)
    assert abs(both - n_seeds * pairs) < 4.5 * np.sqrt(n_seeds * pairs)


def slow_quotas(counts, capacity):
    """One place after the other to the class with the fewest, the first of equals."""
    quota = [0] * len(counts)
    for _ in range(capacity):
        c = min((c for c in range(len(counts)) if quota[c] < counts[c]), key=lambda c: quota[c])
        quota[c] += 1
    return quota


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.floats(0, 1))
@settings(deadline=None)
def test_quotas_are_dealt_out_like_cards(counts, share):
    capacity = int(share * sum(counts))
    assert quotas(torch.tensor(counts), capacity).tolist() == slow_quotas(counts, capacity)


@given(SIZES, st.integers(1, 40), st.integers(0, 100), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_class_balanced_memory_is_one_that_has_seen_all_at_once(sizes, capacity, seed, by_class):
    chunks = chunks_of(sizes, seed)
    keys, labels, ids = joined(chunks)
    if by_class:  # as in class-incremental streams
        labels = labels.sort().values
        chunks = list(zip(keys.split(sizes), labels.split(sizes), ids.split(sizes), strict=True))
    counts = torch.bincount(labels, minlength=N_CLASSES).tolist()
    quota = slow_quotas(counts, min(capacity, len(ids)))
    stay = set().union(*(lowest(ids[labels == c].tolist(), quota[c], seed) for c in range(N_CLASSES)))
    found = held(lived(ClassBalanced(seed), capacity, chunks))
    assert found == [each for each in ids.tolist() if each in stay]


def avalanche_buffer(monkeypatch, buffer, chunks, weights):
    """Ids that a buffer of Avalanche holds, if each sample has the weight given by its id."""
    from avalanche.benchmarks.utils import as_classification_dataset
    from avalanche.training import storage_policy
    from torch.utils.data import TensorDataset

    by_class = hasattr(buffer, "seen_classes")  # draws for one class after the other, by their first sample
    for _, labels, ids in chunks:
        queue = [ids[labels == c] for c in dict.fromkeys(labels.tolist())] if by_class else [ids]

        def rand(n, queue=queue):
            of = queue.pop(0)
            assert len(of) == n
            return torch.tensor([weights[each] for each in of.tolist()], dtype=torch.float64)

        monkeypatch.setattr(storage_policy.torch, "rand", rand)
        data = TensorDataset(ids, labels)
        data.targets = labels.tolist()
        buffer.update_from_dataset(as_classification_dataset(data))
        monkeypatch.undo()
    return {int(buffer.buffer[i][0]) for i in range(len(buffer.buffer))}


@pytest.mark.filterwarnings("ignore:no QP solver")  # of Avalanche's import
@pytest.mark.parametrize(
    ("name", "eviction"), [("ReservoirSamplingBuffer", Reservoir), ("ClassBalancedBuffer", ClassBalanced)]
)
@pytest.mark.parametrize("seed", range(5))
def test_a_buffer_of_avalanche_with_the_same_priorities_keeps_the_same(monkeypatch, name, eviction, seed):
    from avalanche.training import storage_policy

    capacity, chunks = 22, chunks_of([40, 1, 30, 25], seed)
    ids = torch.cat([ids for _, _, ids in chunks])
    ranks = np.argsort(np.argsort(priorities(ids, seed)))  # weights that float64 holds; Avalanche keeps the largest
    weights = dict(zip(ids.tolist(), (-ranks).tolist(), strict=True))
    theirs = avalanche_buffer(monkeypatch, getattr(storage_policy, name)(capacity), chunks, weights)
    assert set(held(lived(eviction(seed), capacity, chunks))) == theirs


def slow_herding(keys, mean, n, preferred=()):
    """Algorithm 4 of iCaRL, word for word; of equally near keys (two around their mean) a preferred one, if any is."""
    picked = []
    for k in range(1, n + 1):
        rest = [i for i in range(len(keys)) if i not in picked]
        distances = {i: np.linalg.norm(mean - (keys[i] + keys[picked].sum(axis=0)) / k) for i in rest}
        nearest = [i for i in rest if distances[i] < min(distances.values()) + 1e-9]
        picked.append(next((i for i in nearest if i in preferred), nearest[0]))
    return set(picked)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.data(), st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_herding_is_algorithm_4(sizes, data, seed):
    generator = torch.Generator().manual_seed(seed)
    keys = torch.randn(sum(sizes), LENGTH, generator=generator, dtype=torch.float64)
    means = torch.randn(len(sizes), LENGTH, generator=generator, dtype=torch.float64)
    quota = [data.draw(st.integers(0, size)) for size in sizes]
    found = herd(keys, torch.tensor(sizes), means, torch.tensor(quota)).split(sizes)
    for picked, of_class, mean, n in zip(found, keys.split(sizes), means, quota, strict=True):
        assert set(picked.nonzero()[:, 0].tolist()) == slow_herding(of_class.numpy(), mean.numpy(), n)


@pytest.mark.filterwarnings("ignore:no QP solver")
@pytest.mark.parametrize("seed", range(5))
def test_herding_picks_the_exemplars_of_avalanche(seed):
    from avalanche.training.storage_policy import HerdingSelectionStrategy

    [chunk] = chunks = chunks_of([60], seed)
    keys, labels, ids = chunk
    found, quota = held(lived(Herding(), 20, chunks)), slow_quotas(torch.bincount(labels).tolist(), 20)
    expected = set()
    for c in range(N_CLASSES):
        features = normalized(keys[labels == c]).double()
        order = HerdingSelectionStrategy.make_sorted_indices_from_features(SimpleNamespace(), features)
        expected |= set(ids[labels == c][order[: quota[c]]].tolist())
    assert set(found) == expected


@given(SIZES, st.integers(1, 30), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_herding_aims_at_the_mean_of_all_keys_ever_inserted(sizes, capacity, seed):
    chunks, memory = chunks_of(sizes, seed), bounded(CacheMemory(N_CLASSES), Capacity(capacity), Herding())
    keys, labels, ids = joined(chunks)
    unit, position, before, first = (
        normalized(keys).double().numpy(),
        dict(zip(ids.tolist(), range(len(ids)), strict=True)),
        [],
        0,
    )
    for chunk in chunks:
        insert(memory, chunk)
        found = {position[each] for each in held(memory)}
        candidates = before + list(range(first, first + len(chunk[0])))
        first += len(chunk[0])
        of_class = [[i for i in candidates if labels[i] == c] for c in range(N_CLASSES)]
        quota = slow_quotas([len(each) for each in of_class], min(capacity, len(candidates)))
        for c, rows in enumerate(of_class):
            mean = unit[:first][labels[:first].numpy() == c].mean(axis=0) if rows else None
            preferred = {at for at, i in enumerate(rows) if i in found}
            stay = slow_herding(unit[rows], mean, quota[c], preferred) if quota[c] < len(rows) else range(len(rows))
            assert {rows[at] for at in stay} == found & set(rows)
        before = sorted(found)


def test_herding_aims_at_the_held_entries_after_re_keying():
    chunks = chunks_of([30, 10, 10])
    memory = lived(Herding(), 20, chunks[:2])
    new = torch.randn(200, LENGTH, generator=torch.Generator().manual_seed(7))
    memory.rekey(lambda ids: Outputs(torch.full((len(ids), N_CLASSES), 1 / N_CLASSES), new[ids]))
    entries = memory.memory.entries
    seen = torch.bincount(torch.cat([labels for _, labels, _ in chunks[:2]]), minlength=N_CLASSES)
    state = memory.state()["eviction"]
    assert torch.equal(state["counts"], seen)
    for c in range(N_CLASSES):
        mean = normalized(new[entries.ids[entries.labels == c]]).double().mean(dim=0)
        torch.testing.assert_close(state["sums"][c] / seen[c], mean)
    insert(memory, chunks[2])
    assert memory.n_entries == 20


class SlowUsefulness:
    """Query by query, with all cosines at once."""

    def __init__(self, capacity):
        self.capacity, self.keys, self.labels, self.ids, self.useful = capacity, [], [], [], []

    def insert(self, keys, labels, ids):
        gained = [DECAY * each for each in self.useful]
        for key, label in zip(keys, labels, strict=True) if self.keys else ():
            cosines = np.array([key @ other for other in self.keys])
            near = np.argsort(-cosines)[:10]
            weights = np.exp(cosines[near] / TEMPERATURE)
            for i, weight in zip(near, weights / weights.sum(), strict=True):
                gained[i] += weight if self.labels[i] == label else -weight
        typical = sorted(gained)[(len(gained) - 1) // 2] if gained else 0.0
        self.useful = gained + [typical] * len(keys)
        self.keys, self.labels, self.ids = self.keys + list(keys), self.labels + list(labels), self.ids + list(ids)
        n_evicted = max(0, len(self.ids) - self.capacity)
        gone = set(sorted(range(len(self.ids)), key=lambda i: self.useful[i])[:n_evicted])
        for name in ("keys", "labels", "ids", "useful"):
            setattr(self, name, [each for i, each in enumerate(getattr(self, name)) if i not in gone])


@given(SIZES, st.integers(1, 40), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_usefulness_is_what_neighbours_gain(sizes, capacity, seed):
    chunks, slow = chunks_of(sizes, seed), SlowUsefulness(capacity)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agent.memory.neighbours.TILE", (3, 7))
        memory = bounded(CacheMemory(N_CLASSES), Capacity(capacity), LeastUseful())
        for chunk in chunks:
            insert(memory, chunk)
            keys, labels, ids = chunk
            slow.insert(normalized(keys).double().numpy(), labels.tolist(), ids.tolist())
            found = memory.state()["eviction"]["usefulness"].double().numpy()
            np.testing.assert_allclose(found, slow.useful, rtol=1e-3, atol=1e-4)
            assert held(memory) == slow.ids
            slow.useful = found.tolist()  # so that rounding does not add up


def test_new_entries_outlive_the_less_useful_half():
    generator = torch.Generator().manual_seed(0)
    memory = bounded(CacheMemory(N_CLASSES), Capacity(40), LeastUseful())
    centers = 3 * torch.randn(N_CLASSES, LENGTH, generator=generator)
    first = 0
    for _ in range(8):
        labels = torch.randint(N_CLASSES, (10,), generator=generator)
        keys = centers[labels] + torch.randn(10, LENGTH, generator=generator)
        evicted = insert(memory, (keys, labels, torch.arange(first, first + 10))).evicted
        assert not len(evicted) or int(evicted.max()) < first
        first += 10


def test_mislabelled_entries_go_first():
    generator = torch.Generator().manual_seed(0)
    memory = bounded(CacheMemory(N_CLASSES), Capacity(60), LeastUseful())
    centers = 4 * torch.randn(N_CLASSES, LENGTH, generator=generator)
    wrong = torch.zeros(160, dtype=torch.bool)
    for first in range(0, 160, 20):
        labels = torch.randint(N_CLASSES, (20,), generator=generator)
        keys = centers[labels] + torch.randn(20, LENGTH, generator=generator)
        bad = torch.rand(20, generator=generator) < 0.2
        wrong[first : first + 20] = bad
        insert(memory, (keys, torch.where(bad, (labels + 1) % N_CLASSES, labels), torch.arange(first, first + 20)))
    stays = memory.memory.entries.ids
    before = stays[stays < 140]  # nothing is known of the last chunk yet
    assert len(before) == 40
    assert wrong[before].float().mean() < wrong.float().mean() / 4
