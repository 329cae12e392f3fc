import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import InvalidSetting
from agent.memory import ResidualMemory
from agent.memory.mixture import Mixture
from agent.networks.outputs import Outputs
from tests.agent.memory.samples import drawn, fill, recalled, unit


def probabilities(rng, n, n_classes=4):
    """Of a learner."""
    likely = rng.random((n, n_classes)).astype(np.float32) + 0.01
    return likely / likely.sum(axis=1, keepdims=True)


def plain_resmem(keys, labels, learner, queries, k, sigma, n_classes):
    """The residual of each query (ResMem, section 3), a query and a neighbour at a time."""
    residuals = np.eye(n_classes)[labels] - learner
    found = np.zeros((len(queries), n_classes))
    for query, added in zip(unit(queries), found, strict=True):
        distances = np.linalg.norm(unit(keys) - query, axis=1)
        nearest = np.argsort(distances)[:k]
        weights = np.exp(-(distances[nearest] - distances[nearest].min()) / sigma)
        for i, weight in zip(nearest, weights / weights.sum(), strict=True):
            added += weight * residuals[i]
    return found


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 40),
    length=st.integers(2, 12),
    k=st.integers(1, 50),
    sigma=st.floats(0.05, 10),
    n_inserts=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_agent_predicts_as_the_paper_says(n, length, k, sigma, n_inserts, seed):
    rng = np.random.default_rng(seed)
    (keys, labels), (queries, _) = drawn(rng, n, length), drawn(rng, 6, length)
    of_entries, of_queries = probabilities(rng, n), probabilities(rng, 6)
    memory = fill(ResidualMemory(4), keys, labels, n_inserts, of_entries)
    at = {"k": float(k), "sigma": sigma}
    read_out = torch.from_numpy(recalled(memory, queries, at)[0])
    combined = memory.combine(torch.from_numpy(of_queries), read_out, Mixture(1.0, at))
    added = np.maximum(of_queries + plain_resmem(keys, labels, of_entries, queries, k, sigma, 4), 0)
    np.testing.assert_allclose(combined, added / added.sum(axis=1, keepdims=True), atol=1e-3)


def test_it_corrects_what_the_learner_gets_wrong():
    keys = np.eye(4, 6, dtype=np.float32)
    wrong = np.full((4, 4), 0.1, dtype=np.float32)
    wrong[np.arange(4), (np.arange(4) + 1) % 4] = 0.7
    memory = fill(ResidualMemory(4), keys, np.arange(4), probabilities=wrong)
    read_out = torch.from_numpy(recalled(memory, keys, *memory.settings))
    fitted = memory.fit(torch.from_numpy(wrong), read_out, torch.arange(4))
    assert fitted.w == 1
    combined = memory.combine(torch.from_numpy(wrong), read_out[memory.settings.index(fitted.setting)], fitted)
    np.testing.assert_allclose(combined, np.eye(4), atol=1e-5)


def test_before_the_first_fit_the_agent_predicts_as_its_learner():
    rng = np.random.default_rng(0)
    memory, learner = fill(ResidualMemory(4), *drawn(rng, 9, 5)), torch.from_numpy(probabilities(rng, 3))
    read_out = torch.from_numpy(recalled(memory, drawn(rng, 3, 5)[0], memory.prior)[0])
    assert torch.equal(memory.combine(learner, read_out, Mixture()), learner)


def test_an_entry_takes_its_key_and_its_residual():
    memory = fill(ResidualMemory(4, storage="float16"), *drawn(np.random.default_rng(0), 9, 5))
    assert memory.nbytes == 9 * (2 * (5 + 4) + 8)
    assert memory.recall_flops(3) == 2 * 3 * 9 * 5


def test_renewed_keys_bring_renewed_residuals():
    rng = np.random.default_rng(0)
    (keys, labels), (queries, _) = drawn(rng, 9, 5), drawn(rng, 3, 5)
    memory = fill(ResidualMemory(4), keys, labels, probabilities=probabilities(rng, 9))
    other, new = drawn(rng, 9, 5)[0], probabilities(rng, 9)
    memory.rekey(lambda ids: Outputs(torch.from_numpy(new)[ids], torch.from_numpy(other)[ids]))
    fresh = fill(ResidualMemory(4), other, labels, probabilities=new)
    np.testing.assert_array_equal(*(recalled(each, queries, *each.settings) for each in (memory, fresh)))


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ({"k": 2.5, "sigma": 1.0}, "expected k in whole numbers"),
        ({"k": 1.0, "sigma": 0.0}, "expected finite σ above 0"),
    ],
)
def test_bad_settings_are_refused(at, message):
    with pytest.raises(InvalidSetting, match=message):
        recalled(ResidualMemory(4), np.ones((1, 5), dtype=np.float32), at)
