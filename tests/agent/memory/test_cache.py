import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import InvalidSetting
from agent.memory import CacheMemory, RidgeMemory, cache, entry_store
from agent.networks.outputs import Outputs
from tests.agent.memory.samples import Largest
from tests.agent.toys import same

THETAS = ({"theta": 1.0}, {"theta": 30.0})


def entries(n, seed=0, length=5, first_id=0):
    """Arguments of an insert."""
    generator = torch.Generator().manual_seed(seed)
    keys, labels = torch.randn(n, length, generator=generator), torch.randint(4, (n,), generator=generator)
    return stored(keys, labels, first_id)


def stored(keys, labels, first_id=0):
    outputs = Outputs(torch.full((len(keys), 4), 0.25), keys)
    return outputs, labels, torch.arange(first_id, first_id + len(labels))


def some_keys(n, seed=0, length=5):
    return entries(n, seed, length)[0].keys


def probabilities(memory, queries, thetas=THETAS, cache=None):
    return memory.recall(queries, thetas, cache)[0].probabilities


def test_recalling_after_an_insert_costs_the_new_entries_alone():
    memory, queries = CacheMemory(4), some_keys(5, seed=9)
    memory.insert(*entries(40, 0))
    _, first, full = memory.recall(queries, THETAS)
    memory.insert(*entries(4, 1, first_id=40))
    second, _, new = memory.recall(queries, THETAS, first)
    assert new.flops * 10 == full.flops
    torch.testing.assert_close(second.probabilities, probabilities(memory, queries), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("keys", "labels", "message"),
    [
        (
            torch.ones(2, 5),
            torch.tensor([0]),
            "expected a label and an id for each key, got 2 keys, 1 labels and 1 ids",
        ),
        (torch.ones(1, 6), torch.tensor([0]), "expected keys of 5 numbers like those stored, got 6"),
        (torch.ones(1, 5), torch.tensor([4]), r"expected labels in 0\.\.3, got 4\.\.4"),
        (torch.full((1, 5), torch.nan), torch.tensor([0]), "expected finite keys, got NaN or infinity"),
    ],
)
@pytest.mark.parametrize("make", [CacheMemory, RidgeMemory])
def test_bad_entries_are_refused_and_leave_the_memory_as_it_was(make, keys, labels, message):
    memory = make(4)
    memory.insert(*entries(3))
    before = memory.state()
    with pytest.raises(InvalidSetting, match=message):
        memory.insert(*stored(keys, labels, 3))
    assert same(memory.state(), before)


@pytest.mark.parametrize("theta", [0.0, -1.0, float("nan"), float("inf"), 1e39])
def test_bad_thetas_are_refused(theta):
    memory = CacheMemory(4)
    with pytest.raises(InvalidSetting, match="expected finite θ above 0"):
        memory.recall(some_keys(1), ({"theta": theta},))


def test_bad_queries_are_refused():
    memory = CacheMemory(4)
    memory.insert(*entries(3))
    with pytest.raises(InvalidSetting, match="expected finite keys"):
        memory.recall(torch.full((1, 5), torch.inf), THETAS)
    with pytest.raises(InvalidSetting, match="expected keys of 5 numbers"):
        memory.recall(torch.ones(1, 6), THETAS)


def test_the_grid_is_wide_and_holds_the_prior():
    assert cache.THETA_GRID[0] <= 1
    assert cache.THETA_GRID[-1] >= 1000
    assert np.allclose(np.diff(np.log(cache.THETA_GRID)), np.log(2) / 2)


def test_ids_and_labels_lie_side_by_side():
    memory = CacheMemory(4)
    outputs, labels, _ = entries(5)
    memory.insert(outputs, labels, torch.tensor([7, 0, 2**31 - 1, 3, 9]))
    asked = []
    memory.rekey(lambda ids: asked.extend(ids.tolist()) or outputs)
    assert asked == [7, 0, 2**31 - 1, 3, 9]
    assert memory.nbytes == 5 * (5 * 4 + 8)
    again = CacheMemory(4)
    again.insert(outputs, labels, torch.arange(5))
    assert torch.equal(probabilities(memory, some_keys(3)), probabilities(again, some_keys(3)))


# Orhan's cache, against NumPy


def plain_cache(keys, labels, queries, theta, n_classes):
    """Orhan 2018, equations 1 to 3, in double precision, with the whole matrix of similarities."""

    def unit(rows):
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

    similarity = unit(queries) @ unit(keys).T
    weights = np.exp(theta * (similarity - similarity.max(axis=1, keepdims=True)))
    mass = weights @ np.eye(n_classes)[labels]
    return mass / mass.sum(axis=1, keepdims=True)


@settings(max_examples=60, deadline=None)
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
    labels, at = rng.integers(0, n_classes, n_entries), tuple({"theta": theta} for theta in thetas)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "TILE", tile)
        patch.setattr(entry_store, "BLOCK_BYTES", block_bytes)
        memory, known = CacheMemory(n_classes), None
        for rows in np.array_split(np.arange(n_entries), n_inserts):
            memory.insert(
                *stored(torch.from_numpy(keys[rows]), torch.from_numpy(labels[rows]), int(rows[0]) if len(rows) else 0)
            )
            by_and_by, known, _ = memory.recall(torch.from_numpy(queries), at, known)
        at_once = memory.recall(torch.from_numpy(queries), at)[0]
    for theta, incremental, found in zip(thetas, by_and_by.probabilities, at_once.probabilities, strict=True):
        expected = plain_cache(keys.astype(float), labels, queries.astype(float), theta, n_classes)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        np.testing.assert_allclose(incremental, expected, atol=1e-5)


@pytest.mark.parametrize("theta", [1e-6, 1e3, 1e6, 1e30])
def test_no_theta_overflows(theta):
    memory = CacheMemory(4)
    outputs, labels, ids = entries(50)
    memory.insert(outputs, labels, ids)
    found = probabilities(memory, torch.cat([outputs.keys, -outputs.keys]), ({"theta": theta},))
    assert torch.isfinite(found).all()
    if theta >= 1e3:
        assert torch.equal(found[0, :50].argmax(dim=1), labels)


def test_keys_of_any_length_are_normalized():
    memory = CacheMemory(2)
    memory.insert(*stored(torch.tensor([[1e30, 0.0], [0.0, 1e-30]]), torch.tensor([0, 1])))
    found = probabilities(memory, torch.eye(2), ({"theta": 50.0},))
    torch.testing.assert_close(found[0], torch.eye(2))


def test_a_memory_keeps_its_own_labels():
    memory = CacheMemory(2)
    labels = torch.tensor([0, 1])
    memory.insert(*stored(torch.eye(2), labels))
    labels.zero_()
    torch.testing.assert_close(probabilities(memory, torch.eye(2), ({"theta": 50.0},))[0], torch.eye(2))


def test_a_key_of_zeros_is_similar_to_nothing():
    memory = CacheMemory(2)
    memory.insert(*stored(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1])))
    found = probabilities(memory, torch.tensor([[2.0, 0.0]]), ({"theta": 3.0},))
    np.testing.assert_allclose(found[0, 0], [1 / (1 + np.e**3), np.e**3 / (1 + np.e**3)], rtol=1e-6)


def test_half_precision_comes_close():
    exact, half = CacheMemory(4), CacheMemory(4, storage="float16")
    queries = some_keys(50, seed=1, length=64)
    for memory in (exact, half):
        memory.insert(*entries(200, length=64))
    assert half.nbytes < 0.6 * exact.nbytes
    torch.testing.assert_close(probabilities(half, queries), probabilities(exact, queries), atol=0.01, rtol=0)


def test_the_matrix_of_similarities_never_exists():
    memory = CacheMemory(4)
    memory.insert(*entries(20_000, length=8))
    with Largest() as largest:
        memory.recall(some_keys(2_000, length=8), ({"theta": 10.0},))
    assert 0 < largest.numel <= max(cache.TILE[0] * cache.TILE[1], 20_000 * 8)
