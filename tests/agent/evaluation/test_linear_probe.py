"""The linear probe against scikit-learn's logistic regression, and on the features of every learner."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from agent.accounting.work import Work
from agent.data.chunk import LabelledInputs
from agent.errors import ContractError
from agent.evaluation.linear_probe import linear_probe
from agent.learners.protocol import Representing
from agent.networks import MLP
from agent.networks.keys import features_of, tapped
from scenarios.baselines.registry import BASELINES
from tests.agent.toys import LEARNERS, N_CLASSES, online, teach, toy_chunk, toy_images
from tests.scenarios.baselines.toys import made


class Given:
    """Its features are its inputs."""

    def features(self, inputs):
        return inputs, Work(10 * len(inputs), samples=len(inputs))


def blobs(seed, n, n_features, n_classes, spread):
    """Noise around the means of classes; features of very different sizes, one of them without any change."""
    rng = np.random.default_rng(seed)
    centres = spread * rng.standard_normal((n_classes, n_features))
    size, shift = 10.0 ** rng.uniform(-3, 3, n_features), 10 * rng.standard_normal(n_features)

    def some(n):
        labels = rng.integers(0, n_classes, n)
        rows = (centres[labels] + rng.standard_normal((n, n_features)) + shift) * size
        rows[:, 0] = 7.5
        return LabelledInputs(torch.tensor(rows, dtype=torch.float32), torch.tensor(labels))

    return some(n), some(200)


def by_sklearn(train, test):
    """The accuracy of the same classifier, trained to its minimum; its offsets are penalized as weights of a 1."""
    scaler = StandardScaler().fit(train.inputs.double().numpy())
    rows = [np.c_[scaler.transform(each.inputs.double().numpy()), np.ones(len(each))] for each in (train, test)]
    classifier = LogisticRegression(C=1.0, max_iter=2000, tol=1e-6, fit_intercept=False)
    classifier.fit(rows[0], train.labels.numpy())
    return float((classifier.predict(rows[1]) == test.labels.numpy()).mean())


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(30, 400),
    st.integers(2, 12),
    st.integers(3, 6),  # of two, scikit-learn has one row of weights, and penalizes them more
    st.sampled_from([0.3, 1.0, 3.0]),
)
def test_it_is_the_logistic_regression_of_scikit_learn(seed, n, n_features, n_classes, spread):
    train, test = blobs(seed, n, n_features, n_classes, spread)
    found = linear_probe(Given(), train, test)
    assert found.accuracy == pytest.approx(by_sklearn(train, test), abs=0.02)
    d, c = n_features + 1, 1 + int(max(train.labels.max(), test.labels.max()))
    training = 2 * n * d * d + d**3 // 3 + 100 * (4 * n * d * c + 2 * d * d * c)
    assert found.work.flops == 10 * (n + 200) + training + 2 * 200 * d * c
    assert found.work.samples == n + 200
    assert linear_probe(Given(), train, test).accuracy == found.accuracy


def test_more_samples_than_are_passed_at_once_are_all_used():
    train, test = blobs(1, 20_000, 5, 3, 1.0)
    assert linear_probe(Given(), train, test).accuracy == pytest.approx(by_sklearn(train, test), abs=0.006)


@pytest.mark.parametrize("n", [1, 2])
def test_a_sample_or_a_class_is_enough(n):
    inputs, labels = torch.randn(n, 3), torch.ones(n, dtype=torch.int64)
    test = LabelledInputs(torch.randn(4, 3), torch.tensor([1, 1, 0, 2]))
    assert linear_probe(Given(), LabelledInputs(inputs, labels), test).accuracy == 0.5


@pytest.mark.parametrize("where", ["train", "test"])
def test_features_that_are_not_finite_are_one_clear_line(where):
    train, test = blobs(0, 30, 3, 2, 1.0)
    {"train": train, "test": test}[where].inputs[3, 1] = torch.nan
    with pytest.raises(ContractError, match="expected finite features of the learner, got NaN or infinity"):
        linear_probe(Given(), train, test)


EVERY = {**LEARNERS, **{f"baseline {name}": lambda seed, name=name: made(name, seed) for name in BASELINES}}


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_every_learner_has_features_and_keeps_its_weights(make):
    learner = make(0)
    assert isinstance(learner, Representing)
    teach(learner, toy_chunk(24, seed=3))
    learner.flush()
    version, weights = learner.version, {name: each.clone() for name, each in learner.weights().items()}
    train, test = toy_images(60, seed=5), toy_images(30, seed=6)
    found = linear_probe(learner, train, test)
    assert 0 <= found.accuracy <= 1
    assert learner.version == version
    assert all(torch.equal(each, weights[name]) for name, each in learner.weights().items())
    features, work = learner.features(test.inputs)
    assert (len(features), work.samples) == (30, 30)
    if hasattr(learner, "predictor"):
        places = features_of(learner.predictor)
        with torch.inference_mode():
            _, read = tapped(learner.predictor, learner.training.normalization(test.inputs), places.names)
        assert torch.allclose(features, places.read(read), atol=1e-4)


def test_a_network_without_hidden_layers_is_given_its_input():
    network = MLP(n_classes=N_CLASSES, input_shape=(3, 8, 8), layers=0, generator=torch.Generator().manual_seed(0))
    learner = online(network=network)
    features, _ = learner.features(toy_images(4).inputs)
    assert torch.allclose(features, learner.training.normalization(toy_images(4).inputs).flatten(1))
