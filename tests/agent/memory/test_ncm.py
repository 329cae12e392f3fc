import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import InvalidSetting
from agent.memory import NcmMemory
from tests.agent.memory.samples import drawn, fill, recalled, unit


def plain_ncm(keys, labels, queries, temperature, n_classes):
    """A query and a class at a time."""
    scores = np.full((len(queries), n_classes), -np.inf)
    for i, query in enumerate(unit(queries)):
        for c in set(labels):
            mean = unit(keys)[labels == c].mean(axis=0)
            scores[i, c] = query @ mean / np.linalg.norm(mean) / temperature
    likely = np.exp(scores - scores.max(axis=1, keepdims=True))
    return likely / likely.sum(axis=1, keepdims=True)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 40),
    length=st.integers(4, 12),
    temperature=st.floats(0.05, 10),
    n_inserts=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_chunk_by_chunk_it_is_the_plain_one(n, length, temperature, n_inserts, seed):
    rng = np.random.default_rng(seed)
    (keys, labels), (queries, _) = drawn(rng, n, length), drawn(rng, 6, length)
    memory = fill(NcmMemory(4), keys, labels, n_inserts)
    found = recalled(memory, queries, {"temperature": temperature})[0]
    np.testing.assert_allclose(found, plain_ncm(keys, labels, queries, temperature, 4), atol=1e-3)


def test_classes_without_samples_are_impossible():
    keys, _ = drawn(np.random.default_rng(0), 6, 5)
    memory = fill(NcmMemory(4), keys, np.array([0, 2, 2, 0, 2, 0]))
    found = recalled(memory, keys, *memory.settings)
    assert (found[..., [1, 3]] == 0).all()
    assert (found[..., [0, 2]] > 0).any(axis=(1, 2)).all()


def test_its_bytes_and_recall_do_not_grow():
    rng, memory = np.random.default_rng(0), NcmMemory(4)
    for _ in range(3):
        fill(memory, *drawn(rng, 30, 5))
        assert memory.nbytes == 8 * 4 * 6
        assert memory.recall_flops(7) == 2 * 7 * 4 * 5
    assert memory.n_entries == 90


def test_a_bad_temperature_is_refused():
    with pytest.raises(InvalidSetting, match="expected finite temperature above 0"):
        recalled(NcmMemory(4), np.ones((1, 5), dtype=np.float32), {"temperature": 0.0})
