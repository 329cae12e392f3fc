import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from agent.agent import Agent
from agent.errors import InvalidSetting
from agent.memory import CacheMemory, KnnMemory, Rekeyable, RidgeMemory
from agent.memory.bounded import Capacity, bounded
from agent.memory.eviction import Fifo
from agent.memory.transform import Centre, Pca, Projection, Unchanged
from agent.memory.transformed import TransformedMemory, transformed
from agent.testing import check_memory
from tests.agent.memory.samples import drawn, fill, recalled, stored, unit
from tests.agent.toys import LEARNERS, N_CLASSES, toy_stream

TRANSFORMS = {"centre": Centre, "pca": lambda: Pca(3), "projection": lambda: Projection(7, seed=2)}
MEMORIES = {
    "cache": CacheMemory,
    "ridge": RidgeMemory,
    "bounded": lambda n_classes: bounded(KnnMemory(n_classes), Capacity(13), Fifo()),
}


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_transformed_memories_keep_their_promises(memory, transform):
    made = transformed(MEMORIES[memory](4), TRANSFORMS[transform]())
    assert isinstance(made, Rekeyable) == (memory != "ridge")
    # A memory is re-keyed under the map of its first keys, a new one would fit another: the promise is that of the
    # projection alone, which looks at no key.
    if transform == "projection" or memory == "ridge":
        check_memory(lambda: transformed(MEMORIES[memory](4), TRANSFORMS[transform]()), n_classes=4)
    else:
        check_memory(lambda: TransformedMemory(MEMORIES[memory](4), TRANSFORMS[transform]()), n_classes=4)


def answered(transform, n_fitted=40, length=6):
    """Probabilities of a transformed cache whose map was fitted to other keys, and all arrays."""
    rng = np.random.default_rng(0)
    fitted, (keys, labels), queries = drawn(rng, n_fitted, length)[0], drawn(rng, 30, length), drawn(rng, 9, length)[0]
    memory = TransformedMemory(CacheMemory(4), transform)
    memory.fit_keys(torch.from_numpy(fitted))
    fill(_Filling(memory), keys, labels, 2)
    return recalled(memory, queries, {"theta": 8.0})[0], fitted, keys, labels, queries


class _Filling:
    """What `fill` needs."""

    n_classes = 4

    def __init__(self, memory):
        self.insert = memory.insert


def plainly(mapped, labels, queries):
    return recalled(fill(CacheMemory(4), mapped.astype(np.float32), labels), queries.astype(np.float32), {"theta": 8.0})


def test_centred_keys_are_those_minus_the_mean_of_what_was_fitted():
    found, fitted, keys, labels, queries = answered(Centre())
    mean = unit(fitted).mean(axis=0)
    np.testing.assert_allclose(found, plainly(unit(keys) - mean, labels, unit(queries) - mean)[0], atol=1e-4)


@pytest.mark.parametrize("n_fitted", [40, 5])  # more and fewer than numbers in a key
def test_the_components_are_those_of_scikit_learn(n_fitted):
    found, fitted, keys, labels, queries = answered(Pca(3), n_fitted)
    plain = PCA(3).fit(unit(fitted))
    expected = plainly(plain.transform(unit(keys)), labels, plain.transform(unit(queries)))[0]
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_with_few_samples_the_other_directions_are_random():
    keys = torch.from_numpy(drawn(np.random.default_rng(0), 3, 8)[0])
    fitted = Pca(6).fit(keys)
    plane = keys[1:] - keys[:1]  # three points span a plane, which the first two components keep
    torch.testing.assert_close((plane @ fitted.matrix[:, :2]).norm(dim=1), plane.norm(dim=1))
    for matrix in (fitted.matrix, Pca(6).fit(keys[:1]).matrix):
        torch.testing.assert_close(matrix.T @ matrix, torch.eye(6), atol=1e-5, rtol=0)


def test_a_projection_is_that_of_its_seed():
    keys = torch.zeros(1, 8)
    one, same, other = (Projection(5, seed).fit(keys).matrix for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    wide = Projection(4000, 0).fit(keys)
    rng = np.random.default_rng(0)
    a, b = (torch.from_numpy(unit(drawn(rng, 1, 8)[0])).float() for _ in range(2))
    near = torch.nn.functional.cosine_similarity(wide.of(a), wide.of(b))
    torch.testing.assert_close(near, torch.nn.functional.cosine_similarity(a, b), atol=0.1, rtol=0)


def test_unchanged_keys_need_no_decorator():
    memory = CacheMemory(4)
    assert transformed(memory, Unchanged()) is memory


def test_the_map_is_fitted_once():
    rng = np.random.default_rng(0)
    memory = TransformedMemory(CacheMemory(4), Pca(2))
    assert memory.wants_keys
    work = memory.fit_keys(torch.from_numpy(drawn(rng, 20, 6)[0]))
    assert work.flops == 2 * 20 * 6 * 6 + 9 * 6**3
    assert work.nbytes == 4 * 6 * 3
    assert not memory.wants_keys
    assert not memory.fit_keys(torch.from_numpy(drawn(rng, 20, 6)[0])).flops
    assert memory.nbytes == 0  # nothing is stored yet
    keys, labels = drawn(rng, 10, 6)
    memory.insert(*stored(keys, labels))
    assert memory.nbytes == 10 * (2 * 4 + 8) + 4 * 6 * 3
    with pytest.raises(InvalidSetting, match="expected keys of 6 numbers"):
        memory.insert(*stored(drawn(rng, 2, 5)[0], labels[:2], 10))


def test_wrong_arguments_are_refused():
    filled = fill(CacheMemory(4), *drawn(np.random.default_rng(0), 3, 5))
    with pytest.raises(InvalidSetting, match="expected an empty memory for a transform, got one of 3 entries"):
        TransformedMemory(filled, Centre())
    with pytest.raises(InvalidSetting, match="expected at least 1 component, got 0"):
        Pca(0)
    with pytest.raises(InvalidSetting, match="expected from 1 to 65,536 numbers in a projected key, got 0"):
        Projection(0)


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("n_learned", [0, 2])
def test_an_agent_fits_it_to_learned_samples_and_is_billed_as_estimated(learner, n_learned):
    agent = Agent(LEARNERS[learner](0), TransformedMemory(CacheMemory(N_CLASSES), Pca(2)))
    *learned, chunk = toy_stream([8] * (n_learned + 1))
    for each in learned:
        agent.learn(each)
    agent.flush()
    estimate = agent.estimate_memorizing(chunk, looked=False)
    charge = agent.fork().memorize(chunk)[-1]  # the first chunk may prepare the network
    assert (charge.work.flops, charge.work.nbytes) == (estimate.bill[-1].work.flops, estimate.bill[-1].work.nbytes)
    fork = agent.fork()
    fork.memorize(chunk)
    plain = Agent(LEARNERS[learner](0), CacheMemory(N_CLASSES))
    n_read = 8 + len(getattr(agent.learner, "samples", ()))
    per_image = plain.reading_flops(1, chunk.inputs.shape[1:])
    assert charge.work.flops > n_read * per_image
    assert fork.memory.state()["map"]["matrix"].shape[1] == 2
