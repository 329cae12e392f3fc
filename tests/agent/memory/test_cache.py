import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from agent.errors import InvalidSetting
from agent.memory import CacheMemory, Memory, cache
from tests.agent.toys import same

MEMORIES = {"cache": lambda: CacheMemory(4), "cache-half": lambda: CacheMemory(4, dtype=torch.float16)}
THETAS = torch.tensor([1.0, 30.0])


@pytest.fixture(params=MEMORIES)
def memory(request) -> Memory:
    return MEMORIES[request.param]()


def entries(n, seed=0, length=5):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, length, generator=generator), torch.randint(4, (n,), generator=generator)


def probabilities(memory, queries, thetas=THETAS, after=None):
    return memory.recall(queries, thetas, after=after)[0].probabilities


# The contract of every memory


@pytest.mark.parametrize("n_entries", [0, 1, 30])
@pytest.mark.parametrize("n_queries", [0, 1, 7])
def test_recall_gives_distributions(memory, n_entries, n_queries):
    memory.insert(*entries(n_entries))
    found = probabilities(memory, entries(n_queries, seed=1)[0])
    assert found.shape == (2, n_queries, 4)
    torch.testing.assert_close(found.sum(dim=2), torch.ones(2, n_queries))
    assert memory.n_entries == n_entries
    assert (memory.nbytes > 0) == (n_entries > 0)


def test_an_empty_memory_favours_no_class(memory):
    assert torch.equal(probabilities(memory, entries(3)[0]), torch.full((2, 3, 4), 0.25))


def test_state_goes_round_trip_through_a_file(memory, tmp_path):
    for seed in range(3):
        memory.insert(*entries(9, seed))
    torch.save(memory.state(), tmp_path / "state.pt")
    restored = memory.fork()
    restored.insert(*entries(2, 7))
    restored.load_state(torch.load(tmp_path / "state.pt", weights_only=True))
    queries = entries(5, seed=9)[0]
    assert same(restored.state(), memory.state())
    assert (restored.n_entries, restored.nbytes) == (memory.n_entries, memory.nbytes)
    assert torch.equal(probabilities(restored, queries), probabilities(memory, queries))


def test_forks_go_their_own_ways(memory):
    queries = entries(5, seed=9)[0]
    memory.insert(*entries(6, 0))
    fork = memory.fork()
    before = probabilities(memory, queries)
    fork.insert(*entries(6, 1))
    assert torch.equal(probabilities(memory, queries), before)
    memory.insert(*entries(6, 1))
    assert torch.equal(probabilities(memory, queries), probabilities(fork, queries))


def test_an_insert_reports_the_bytes_it_stores(memory):
    total = 0
    for seed in range(4):
        total += memory.insert(*entries(3, seed)).nbytes
    assert total == memory.nbytes


def test_recalling_after_an_insert_costs_the_new_entries_alone(memory):
    queries = entries(5, seed=9)[0]
    memory.insert(*entries(40, 0))
    first, full = memory.recall(queries, THETAS)
    again, nothing = memory.recall(queries, THETAS, after=first)
    assert nothing.flops == 0
    assert same(again.mass, first.mass)
    memory.insert(*entries(4, 1))
    second, new = memory.recall(queries, THETAS, after=first)
    assert new.flops * 10 == full.flops
    torch.testing.assert_close(second.probabilities, probabilities(memory, queries), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("keys", "labels", "message"),
    [
        (torch.ones(2, 5), torch.tensor([0]), "expected a label for each key, got 2 keys and 1 labels"),
        (torch.ones(1, 6), torch.tensor([0]), "expected keys of 5 numbers like those stored, got 6"),
        (torch.ones(1, 5), torch.tensor([4]), r"expected labels in 0\.\.3, got 4\.\.4"),
        (torch.full((1, 5), torch.nan), torch.tensor([0]), "expected finite keys, got NaN or infinity"),
    ],
)
def test_bad_entries_are_refused_and_leave_the_memory_as_it_was(memory, keys, labels, message):
    memory.insert(*entries(3))
    before = memory.state()
    with pytest.raises(InvalidSetting, match=message):
        memory.insert(keys, labels)
    assert same(memory.state(), before)


@pytest.mark.parametrize("theta", [0.0, -1.0, float("nan"), float("inf"), 1e39])
def test_bad_thetas_are_refused(memory, theta):
    with pytest.raises(InvalidSetting, match="expected finite θ above 0"):
        memory.recall(entries(1)[0], torch.tensor([theta], dtype=torch.float64))


def test_bad_queries_are_refused(memory):
    memory.insert(*entries(3))
    with pytest.raises(InvalidSetting, match="expected finite keys"):
        memory.recall(torch.full((1, 5), torch.inf), THETAS)
    with pytest.raises(InvalidSetting, match="expected keys of 5 numbers"):
        memory.recall(torch.ones(1, 6), THETAS)


# Orhan's cache, against NumPy


def plain_cache(keys, labels, queries, theta, n_classes):
    """Orhan 2018, equations 1 to 3, in double precision, with the whole matrix of similarities."""

    def unit(rows):
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

    similarity = unit(queries) @ unit(keys).T
    weights = np.exp(theta * (similarity - similarity.max(axis=1, keepdims=True)))
    mass = weights @ np.eye(n_classes)[labels]
    return mass / mass.sum(axis=1, keepdims=True)


@settings(max_examples=150, deadline=None)
@given(
    n_entries=st.integers(1, 50),
    n_queries=st.integers(0, 20),
    length=st.integers(1, 40),
    n_classes=st.integers(1, 12),
    # Above θ = 100, rounding of the cosine to float32 alone moves a probability by more than 1e-5.
    thetas=st.lists(st.floats(-2, 2).map(lambda exponent: 10**exponent), min_size=1, max_size=4),
    tile=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    block_bytes=st.integers(0, 2000),
    n_inserts=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_cache_is_the_plain_one(
    n_entries, n_queries, length, n_classes, thetas, tile, block_bytes, n_inserts, seed
):
    rng = np.random.default_rng(seed)
    keys = (rng.standard_normal((n_entries, length)) * 10 ** rng.uniform(-2, 2)).astype(np.float32)
    queries = rng.standard_normal((n_queries, length)).astype(np.float32)
    queries[: n_queries // 2] = keys[rng.integers(0, n_entries, n_queries // 2)]
    labels = rng.integers(0, n_classes, n_entries)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "TILE", tile)
        patch.setattr(cache, "BLOCK_BYTES", block_bytes)
        memory, known = CacheMemory(n_classes), None
        for rows in np.array_split(np.arange(n_entries), n_inserts):
            memory.insert(torch.from_numpy(keys[rows]), torch.from_numpy(labels[rows]))
            known, _ = memory.recall(torch.from_numpy(queries), torch.tensor(thetas), after=known)
        at_once, _ = memory.recall(torch.from_numpy(queries), torch.tensor(thetas))
    for theta, incremental, found in zip(thetas, known.probabilities, at_once.probabilities, strict=True):
        expected = plain_cache(keys.astype(float), labels, queries.astype(float), theta, n_classes)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        np.testing.assert_allclose(incremental, expected, atol=1e-5)


@pytest.mark.parametrize("theta", [1e-6, 1e3, 1e6, 1e30])
def test_no_theta_overflows(theta):
    memory = CacheMemory(4)
    keys, labels = entries(50)
    memory.insert(keys, labels)
    found = probabilities(memory, torch.cat([keys, -keys]), torch.tensor([theta]))
    assert torch.isfinite(found).all()
    if theta >= 1e3:
        assert torch.equal(found[0, :50].argmax(dim=1), labels)


def test_keys_of_any_length_are_normalized():
    memory = CacheMemory(2)
    memory.insert(torch.tensor([[1e30, 0.0], [0.0, 1e-30]]), torch.tensor([0, 1]))
    found = probabilities(memory, torch.eye(2), torch.tensor([50.0]))
    torch.testing.assert_close(found[0], torch.eye(2))


def test_a_memory_keeps_its_own_labels():
    memory = CacheMemory(2)
    labels = torch.tensor([0, 1])
    memory.insert(torch.eye(2), labels)
    labels.zero_()
    torch.testing.assert_close(probabilities(memory, torch.eye(2), torch.tensor([50.0]))[0], torch.eye(2))


def test_a_key_of_zeros_is_similar_to_nothing():
    memory = CacheMemory(2)
    memory.insert(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]))
    found = probabilities(memory, torch.tensor([[2.0, 0.0]]), torch.tensor([3.0]))
    np.testing.assert_allclose(found[0, 0], [1 / (1 + np.e**3), np.e**3 / (1 + np.e**3)], rtol=1e-6)


def test_half_precision_comes_close():
    exact, half = CacheMemory(4), CacheMemory(4, dtype=torch.float16)
    keys, labels = entries(200, length=64)
    queries = entries(50, seed=1, length=64)[0]
    for memory in (exact, half):
        memory.insert(keys, labels)
    assert half.nbytes < 0.6 * exact.nbytes
    torch.testing.assert_close(probabilities(half, queries), probabilities(exact, queries), atol=0.01, rtol=0)


class Largest(TorchDispatchMode):
    """Remembers the number of elements of the largest tensor made."""

    numel = 0

    def __torch_dispatch__(self, function, kinds, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.numel = max(self.numel, result.numel())
        return result


def test_the_matrix_of_similarities_never_exists():
    memory = CacheMemory(4)
    memory.insert(*entries(20_000, length=8))
    with Largest() as largest:
        memory.recall(entries(2_000, length=8)[0], torch.tensor([10.0]))
    assert 0 < largest.numel <= max(cache.TILE[0] * cache.TILE[1], 20_000 * 8)
