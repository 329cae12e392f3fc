import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import ShrunkCovariance
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from agent.errors import InvalidSetting
from agent.memory import SldaMemory
from tests.agent.memory.samples import drawn, fill, recalled, unit


@settings(max_examples=60, deadline=None)
@given(
    n_each=st.integers(2, 15),
    length=st.integers(2, 12),
    shrinkage=st.floats(0.05, 1),
    n_inserts=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_chunk_by_chunk_it_is_that_of_scikit_learn(n_each, length, shrinkage, n_inserts, seed):
    rng = np.random.default_rng(seed)
    keys, _ = drawn(rng, 4 * n_each, length)
    labels = np.arange(4 * n_each) % 4  # scikit-learn weights classes alike, here they are weighted by their samples
    queries, _ = drawn(rng, 6, length)
    memory = fill(SldaMemory(4), keys, labels, n_inserts)
    found = recalled(memory, queries, {"shrinkage": shrinkage, "temperature": 1.0})[0]
    covariance = ShrunkCovariance(shrinkage=shrinkage)
    plain = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=covariance, priors=[0.25] * 4)
    np.testing.assert_allclose(found, plain.fit(unit(keys), labels).predict_proba(unit(queries)), atol=1e-3)


def test_the_order_of_samples_does_not_matter():
    rng = np.random.default_rng(0)
    (keys, labels), (queries, _) = drawn(rng, 50, 6), drawn(rng, 9, 6)
    one, other = fill(SldaMemory(4), keys, labels, 5), fill(SldaMemory(4), keys[::-1].copy(), labels[::-1].copy(), 3)
    found = [recalled(memory, queries, *memory.settings) for memory in (one, other)]
    np.testing.assert_allclose(*found, atol=1e-4)


def test_one_sample_of_a_class_is_a_nearest_mean():
    rng = np.random.default_rng(1)
    keys, queries = drawn(rng, 4, 8)[0], drawn(rng, 20, 8)[0]
    memory = fill(SldaMemory(4), keys, np.arange(4))
    found = recalled(memory, queries, memory.prior)[0]
    np.testing.assert_array_equal(found.argmax(axis=1), (unit(queries) @ unit(keys).T).argmax(axis=1))


def test_classes_without_samples_are_impossible():
    keys, _ = drawn(np.random.default_rng(0), 20, 5)
    memory = fill(SldaMemory(4), keys, np.arange(20) % 2 * 3)
    assert (recalled(memory, keys, *memory.settings)[..., [1, 2]] == 0).all()


def test_what_it_takes_does_not_grow():
    rng, memory = np.random.default_rng(0), SldaMemory(4)
    for _ in range(3):
        fill(memory, *drawn(rng, 30, 5))
        assert memory.nbytes == 8 * (5 * (5 + 4) + 4)
        assert memory.recall_flops(7) == 5**3 // 3 + 4 * 5**2 * 4 + 2 * 7 * 5 * 4
    assert memory.n_entries == 90


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ({"shrinkage": 0.0, "temperature": 1.0}, "expected finite shrinkage above 0"),
        ({"shrinkage": 1.5, "temperature": 1.0}, "expected shrinkage of at most 1"),
        ({"shrinkage": 0.1, "temperature": -1.0}, "expected finite temperature above 0"),
    ],
)
def test_bad_settings_are_refused(at, message):
    with pytest.raises(InvalidSetting, match=message):
        recalled(SldaMemory(4), np.ones((1, 5), dtype=np.float32), at)


def test_long_keys_are_refused():
    with pytest.raises(InvalidSetting, match=r"at most 4,096 numbers for --memory slda, got 12,288: .* 1\.2 GB"):
        SldaMemory(10).estimate_insert(1, 12_288)
