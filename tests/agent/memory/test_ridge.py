import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as tried
from hypothesis import strategies as st

from agent.errors import InvalidSetting
from agent.memory import RidgeMemory
from agent.networks.outputs import Outputs


def stored(keys, labels, first_id=0):
    outputs = Outputs(torch.full((len(keys), 4), 0.25), torch.from_numpy(keys))
    return outputs, torch.from_numpy(labels), torch.arange(first_id, first_id + len(labels))


def plain_ridge(keys, labels, queries, penalty, n_classes):
    """All samples at once, by the normal equations of NumPy."""

    def design(rows):
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return np.append(unit, np.ones((len(unit), 1)), axis=1)

    x, y = design(keys), np.eye(n_classes)[labels]
    gram = x.T @ x
    weights = np.linalg.solve(gram + penalty * gram.diagonal().mean() * np.eye(len(gram)), x.T @ y)
    scores = np.maximum(design(queries) @ weights, 0) + 1e-6
    return scores / scores.sum(axis=1, keepdims=True), scores.sum(axis=1)


@tried(max_examples=100, deadline=None)
@given(
    n=st.integers(1, 40),
    length=st.integers(1, 12),
    n_classes=st.integers(2, 6),
    exponent=st.integers(-4, 2),
    n_inserts=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_chunk_by_chunk_it_is_the_regression_on_all_samples(n, length, n_classes, exponent, n_inserts, seed):
    rng = np.random.default_rng(seed)
    keys, queries = (rng.standard_normal((rows, length)).astype(np.float32) for rows in (n, 9))
    labels = rng.integers(0, n_classes, n)
    memory = RidgeMemory(n_classes)
    for rows in np.array_split(np.arange(n), n_inserts):
        memory.insert(*stored(keys[rows], labels[rows], int(rows[0]) if len(rows) else 0))
    found = memory.recall(torch.from_numpy(queries), ({"lambda": 10.0**exponent},))[0].probabilities[0]
    expected, total = plain_ridge(keys.astype(float), labels, queries.astype(float), 10.0**exponent, n_classes)
    found, expected = (each[total > 0.01] for each in (found.numpy(), expected))  # the rest divides rounding by little
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_random_features_are_those_of_the_paper():
    """max(kᵀ W, 0) in place of the key, with the W that the seed draws."""
    rng = np.random.default_rng(0)
    keys, queries = (rng.standard_normal((n, 6)).astype(np.float32) for n in (50, 9))
    labels = rng.integers(0, 4, 50)
    memory = RidgeMemory(4, dim=30, seed=3)
    for rows in np.array_split(np.arange(50), 3):
        memory.insert(*stored(keys[rows], labels[rows], int(rows[0])))
    drawn = memory._projection.numpy()
    assert drawn.shape == (6, 30)
    assert abs(drawn.mean()) < 0.3
    assert 0.8 < drawn.std() < 1.2

    def features(rows):
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return np.append(np.maximum(unit @ drawn, 0), np.ones((len(rows), 1)), axis=1).astype(float)

    x, y = features(keys), np.eye(4)[labels]
    gram = x.T @ x
    weights = np.linalg.solve(gram + 0.01 * gram.diagonal().mean() * np.eye(31), x.T @ y)
    scores = np.maximum(features(queries) @ weights, 0) + 1e-6
    found = memory.recall(torch.from_numpy(queries), (memory.prior,))[0].probabilities[0]
    np.testing.assert_allclose(found, scores / scores.sum(axis=1, keepdims=True), atol=2e-4)
    assert memory.nbytes == 8 * 31 * 35 + 4 * 6 * 30
    assert memory.recall_flops(7) == 31**3 // 3 + 2 * 31**2 * 4 + 2 * 7 * (6 * 30 + 31 * 4)
    with pytest.raises(InvalidSetting, match="expected from 1 to 4,096 random features, got 0"):
        RidgeMemory(4, dim=0)


def test_a_seed_draws_the_same_random_features_again():
    rng = np.random.default_rng(0)
    keys, labels = rng.standard_normal((20, 6)).astype(np.float32), rng.integers(0, 4, 20)
    found = []
    for seed in (1, 1, 2):
        memory = RidgeMemory(4, dim=8, seed=seed)
        memory.insert(*stored(keys, labels))
        found.append(memory.recall(torch.from_numpy(keys), (memory.prior,))[0].probabilities)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_random_features_take_keys_of_any_length():
    memory = RidgeMemory(10, dim=16)
    assert memory.estimate_insert(1, 12_288).held_nbytes == 8 * 17 * 27 + 4 * 12_288 * 16


def test_it_tells_classes_apart():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    keys = (np.eye(8)[labels] * 2 + 0.5 * rng.standard_normal((300, 8))).astype(np.float32)
    memory = RidgeMemory(3)
    memory.insert(*stored(keys[:200], labels[:200]))
    found = memory.recall(torch.from_numpy(keys[200:]), (memory.prior,))[0].probabilities[0]
    assert (found.argmax(dim=1).numpy() == labels[200:]).mean() > 0.9


def test_what_it_holds_does_not_grow():
    memory, rng = RidgeMemory(4), np.random.default_rng(0)
    sizes = []
    for first in range(0, 90, 30):
        keys, labels = rng.standard_normal((30, 5)).astype(np.float32), rng.integers(0, 4, 30)
        work, evicted = memory.insert(*stored(keys, labels, first))
        assert work.flops == 2 * 30 * 6 * (6 + 4)
        assert work.nbytes == memory.nbytes == 8 * 6 * (6 + 4)
        assert not len(evicted)
        sizes.append(memory.nbytes)
    assert len(set(sizes)) == 1
    assert memory.n_entries == 90
    assert memory.recall_flops(7) == 6**3 // 3 + 2 * 6**2 * 4 + 2 * 7 * 6 * 4


def test_long_keys_are_refused_before_anything_is_stored():
    message = r"expected keys of at most 4,096 numbers for --memory ridge, got 12,288: it would take 1\.2 GB"
    with pytest.raises(InvalidSetting, match=message):
        RidgeMemory(10).estimate_insert(1, 12_288)
    small = RidgeMemory(4, limit=4)
    with pytest.raises(
        InvalidSetting, match=r"at most 4 numbers .*, got 5: .* raise the limit \(--memory ridge:limit=5\)"
    ):
        small.insert(*stored(np.ones((2, 5), dtype=np.float32), np.zeros(2, dtype=np.int64)))
    assert (small.n_entries, small.nbytes) == (0, 0)
    with pytest.raises(InvalidSetting, match="expected a limit of at least 1"):
        RidgeMemory(4, limit=0)


@pytest.mark.parametrize("penalty", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_penalties_are_refused(penalty):
    memory = RidgeMemory(4)
    memory.insert(*stored(np.ones((2, 5), dtype=np.float32), np.zeros(2, dtype=np.int64)))
    with pytest.raises(InvalidSetting, match="expected finite λ above 0"):
        memory.recall(torch.ones(1, 5), ({"lambda": penalty},))
