import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from agent.errors import InvalidSetting
from agent.memory import LogisticMemory, logistic
from agent.memory.softmax_regression import SoftmaxRegression
from tests.agent.memory.samples import drawn, fill, recalled, unit


def blobs(rng, n, length=8, n_classes=4):
    """Keys that lie around a point for each class."""
    labels = rng.integers(0, n_classes, n)
    return (np.eye(length)[labels] + 0.7 * rng.standard_normal((n, length))).astype(np.float32), labels


def plain_logistic(keys, labels, queries, penalty):
    """scikit-learn's, on keys with a 1 appended: it minimizes C Σ loss + ‖W‖² / 2."""

    def design(rows):
        return np.append(unit(rows), np.ones((len(rows), 1)), axis=1)

    x = design(keys)
    relative = penalty * (x**2).mean()
    plain = LogisticRegression(C=1 / (relative * len(x)), fit_intercept=False, tol=1e-10, max_iter=10_000)
    return plain.fit(x, labels).predict_proba(design(queries))


@pytest.mark.parametrize(("penalty", "tile"), [(1e-4, 8192), (1e-2, 70), (0.1, 8192)])
def test_it_is_that_of_scikit_learn(monkeypatch, penalty, tile):
    monkeypatch.setattr(logistic, "TILE", tile)
    rng = np.random.default_rng(0)
    (keys, labels), (queries, _) = blobs(rng, 300), blobs(rng, 20)
    memory = fill(LogisticMemory(4), keys, labels, 3)
    found = recalled(memory, queries, {"lambda": penalty})[0]
    np.testing.assert_allclose(found, plain_logistic(keys, labels, queries, penalty), atol=5e-3)


def test_it_trains_once_until_the_entries_change(monkeypatch):
    trained = []
    train = SoftmaxRegression.weights

    def noted(self, gram, ridge):
        trained.append(float(ridge / gram.diagonal().mean()))
        return train(self, gram, ridge)

    monkeypatch.setattr(SoftmaxRegression, "weights", noted)
    rng = np.random.default_rng(0)
    memory, queries = fill(LogisticMemory(4), *blobs(rng, 40)), blobs(rng, 3)[0]
    works = [memory.recall(torch.from_numpy(queries), (memory.prior,))[2].flops for _ in range(2)]
    assert trained == pytest.approx([1e-4])
    assert works[0] == works[1] == memory.recall_flops(3)  # each recall is billed for the training
    recalled(memory.fork(), queries, memory.prior)
    assert len(trained) == 1
    memory.evict(torch.tensor([0]))
    recalled(memory, queries, memory.prior, {"lambda": 0.1})
    assert trained[1:] == pytest.approx([1e-4, 0.1])


def test_weights_do_not_depend_on_the_other_settings_to_the_bit():
    rng = np.random.default_rng(0)
    memory, queries = fill(LogisticMemory(4), *blobs(rng, 300)), blobs(rng, 20)[0]
    together = recalled(memory, queries, *memory.settings)
    for setting, expected in zip(memory.settings, together, strict=True):
        alone = LogisticMemory(4)
        alone.load_state(memory.state())
        np.testing.assert_array_equal(recalled(alone, queries, setting)[0], expected)


def test_its_work_is_what_the_formula_says():
    memory = fill(LogisticMemory(4, steps=10), *drawn(np.random.default_rng(0), 30, 5))
    training = 2 * 30 * 6**2 + 6**3 // 3 + 10 * (4 * 30 * 6 * 4 + 2 * 6**2 * 4)
    assert memory.recall_flops(0) == training
    assert memory.recall_flops(7) == training + 2 * 7 * 6 * 4


def test_bad_arguments_are_refused():
    with pytest.raises(InvalidSetting, match="expected at least 1 step"):
        LogisticMemory(4, steps=0)
    with pytest.raises(InvalidSetting, match="at most 4,096 numbers for --memory logistic, got 12,288"):
        LogisticMemory(10).estimate_insert(1, 12_288)
    with pytest.raises(InvalidSetting, match="expected finite λ above 0"):
        recalled(LogisticMemory(4), np.ones((1, 5), dtype=np.float32), {"lambda": -1.0})
