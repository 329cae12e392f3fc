import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import InvalidSetting
from agent.memory import KnnMemory
from tests.agent.memory.samples import drawn, fill, recalled, stored, unit


def plain_vote(keys, labels, queries, k, temperature, n_classes):
    """A vote in double precision, a query at a time; no temperature for a majority."""
    votes = np.zeros((len(queries), n_classes))
    for query, vote in zip(unit(queries), votes, strict=True):
        cosines = unit(keys) @ query
        nearest = np.argsort(-cosines)[:k]
        weights = np.ones(len(nearest)) if temperature is None else np.exp((cosines[nearest] - 1) / temperature)
        for label, weight in zip(labels[nearest], weights / weights.sum(), strict=True):
            vote[label] += weight
    return votes


@settings(max_examples=60, deadline=None)
@given(
    n_entries=st.integers(1, 40),
    length=st.integers(2, 20),
    k=st.integers(1, 50),
    temperature=st.none() | st.floats(0.05, 10),
    n_inserts=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_it_is_the_plain_vote(n_entries, length, k, temperature, n_inserts, seed):
    rng = np.random.default_rng(seed)
    (keys, labels), (queries, _) = drawn(rng, n_entries, length), drawn(rng, 7, length)
    vote = "majority" if temperature is None else "softmax"
    memory = fill(KnnMemory(4, vote=vote), keys, labels, n_inserts)
    at = {"k": float(k)} if temperature is None else {"k": float(k), "temperature": temperature}
    expected = plain_vote(keys, labels, queries, k, temperature, 4)
    np.testing.assert_allclose(recalled(memory, queries, at)[0], expected, atol=1e-4)


def test_recalling_after_an_insert_costs_the_new_entries_alone():
    rng = np.random.default_rng(0)
    keys, labels = drawn(rng, 44, 5)
    memory = fill(KnnMemory(4), keys[:40], labels[:40])
    queries = next(memory.entries.tiles_after(0, 3)).keys
    _, before, full = memory.recall(queries, memory.settings)
    memory.insert(*stored(keys[40:], labels[40:], 40))
    again, _, new = memory.recall(queries, memory.settings, before)
    assert full.flops == 2 * 3 * 40 * 5
    assert new.flops * 10 == full.flops
    np.testing.assert_array_equal(again.probabilities, memory.recall(queries, memory.settings)[0].probabilities)


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ({"k": 0.0, "temperature": 1.0}, "expected finite k above 0"),
        ({"k": 1.5, "temperature": 1.0}, "expected k in whole numbers"),
        ({"k": 1.0, "temperature": 0.0}, "expected finite temperature above 0"),
        ({"k": 1.0, "temperature": float("nan")}, "expected finite temperature above 0"),
    ],
)
def test_bad_settings_are_refused(at, message):
    with pytest.raises(InvalidSetting, match=message):
        recalled(KnnMemory(4), np.ones((1, 5), dtype=np.float32), at)


def test_another_vote_is_refused(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # its check of the type would come first
    with pytest.raises(InvalidSetting, match="expected a vote by softmax or majority, got mean"):
        KnnMemory(4, vote="mean")
