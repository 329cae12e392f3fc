"""Strategies against slow, plain code."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from agent.data.augmentation import Augmentation
from agent.learners.training import even_sizes
from agent.memory.slda import SldaMemory
from agent.networks.flops import flops_per_sample
from agent.networks.outputs import Outputs
from agent.randomness import named_seed
from scenarios.baselines import strategies
from scenarios.baselines.counter import FlopCount
from scenarios.baselines.learner import transform_of
from scenarios.baselines.randomness import OwnRandomness
from tests.agent.networks.frozen import FrozenNet
from tests.agent.toys import N_CLASSES, toy_images, toy_network, toy_training
from tests.scenarios.baselines.toys import made

PLAIN = Augmentation()


def _pair(data):
    return data.inputs, data.labels


def test_naive_is_a_plain_loop():
    learner, training, network = made("naive", augmentation=PLAIN, passes=2), toy_training(), toy_network().train()
    [optimizer] = training.optimizers(network)
    own = OwnRandomness(named_seed(0, "baseline"), torch.device("cpu"))
    for seed, n in enumerate((11, 16)):
        data = toy_images(n, seed)
        sizes = even_sizes(n, 8)
        with own:
            for _ in range(2):
                for inputs, labels in DataLoader(TensorDataset(*_pair(data)), batch_size=max(sizes), shuffle=True):
                    optimizer.zero_grad()
                    F.cross_entropy(network(training.normalization(inputs)), labels).backward()
                    optimizer.step()
        work = learner.learn(data.inputs, data.labels)
        assert work.flops == 2 * n * flops_per_sample(network, (3, 8, 8)).training
        assert work.samples == 2 * n
    assert learner.n_steps == 2 * (2 + 2)
    for name, values in network.state_dict().items():
        assert torch.allclose(values, learner.weights()[name], atol=1e-6), name


def test_flops_are_those_of_pytorch_s_counter():
    network, inputs = toy_network(), torch.randn(5, 3, 8, 8)
    with FlopCount() as ours, FlopCounterMode(display=False) as theirs:
        network(inputs).sum().backward()
    assert ours.flops == theirs.get_total_flops() > 0
    with FlopCount({torch.ops.aten.linalg_pinv: lambda matrix, *_: len(matrix)}) as counter:
        torch.pinverse(torch.eye(7))
    assert counter.flops == 7


def test_images_are_augmented_one_by_one_as_in_batches():
    augmentation, image = Augmentation(shift=2, mirror=True), toy_images(1).inputs[0]
    torch_seed = torch.Generator().manual_seed(3)
    moves = augmentation.draw(1, 1, torch_seed)[0]
    own = OwnRandomness(3, torch.device("cpu"))
    with own:
        found = transform_of(augmentation)(image)
    assert torch.equal(found, augmentation(image[None], moves)[0])
    assert transform_of(PLAIN) is None


def test_a_reservoir_is_a_uniform_sample():
    counts = np.zeros(40)
    for seed in range(60):
        buffer = strategies.ReservoirSamplingBuffer(max_size=10)
        with OwnRandomness(seed, torch.device("cpu")):
            for first in range(0, 40, 8):
                data = toy_images(8, first)
                buffer.update_from_dataset(strategies.dataset_of(*_pair(data), range(first, first + 8), None))
        counts[strategies.ids_in(buffer)] += 1
    assert counts.sum() == 600
    assert abs(counts - 15).max() < 4 * (60 * 0.25 * 0.75) ** 0.5


@pytest.mark.parametrize("name", ["replay", "der++", "gdumb"])
def test_copies_in_a_buffer_change_nothing(name, monkeypatch):
    found = []
    for every in (1, 10**6):
        monkeypatch.setattr(strategies, "COMPACTED_EVERY", every)
        learner = made(name, mem=10, lr=0.001)  # at higher rates the logits of der++ explode
        for seed in range(4):
            data = toy_images(12, seed)
            learner.learn(data.inputs, data.labels)
        learner.flush()
        found.append(learner.forward(toy_images(9, 50).inputs)[0].probabilities)
    assert torch.equal(*found)


def test_the_metric_loss_of_er_aml_is_that_of_the_paper():
    generator = torch.Generator().manual_seed(0)
    anchors, features = (F.normalize(torch.randn(6, 4, generator=generator), dim=1) for _ in range(2))
    of_anchors, targets = torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([0, 1, 2, 1, 2, 0])
    loss = strategies.MendedAml(None, temp=0.1)._AMLCriterion__sup_con_loss(anchors, features, of_anchors, targets)
    total = 0.0
    for anchor, label in zip(anchors, of_anchors, strict=True):
        scores = [float(anchor @ feature) / 0.1 for feature in features]
        every = sum(np.exp(scores))
        of_class = [np.log(np.exp(s) / every) for s, each in zip(scores, targets, strict=True) if each == label]
        total += -(0.1 / 0.07) * sum(of_class) / len(of_class) / len(anchors)
    assert float(loss) == pytest.approx(total, rel=1e-4)


def test_er_aml_ends_where_a_class_has_few_samples_or_no_other_is_there():
    data = toy_images(12)
    for labels in (data.labels, torch.zeros(12, dtype=torch.int64)):
        learner = made("er-aml", mem=4, batch_mem=2)
        for _ in range(3):
            assert learner.learn(data.inputs, labels).flops > 0


def test_mir_replays_on_a_stream_that_mixes_classes():
    learner = made("mir", batch_mem=4)
    samples = [learner.learn(*_pair(toy_images(12, seed))).samples for seed in range(2)]
    assert samples[0] == 12
    assert samples[1] >= 12 + 2 * (2 * 4 + 4)  # two steps, each with two looks at more than 4 samples, and 4 replayed


def test_slda_is_that_of_the_paper():
    learner, own = made("slda", shrinkage=0.01), OwnRandomness(named_seed(0, "baseline"), torch.device("cpu"))
    sigma, means, counts = np.zeros((8, 8)), np.zeros((N_CLASSES, 8)), np.zeros(N_CLASSES)
    for seed, n in enumerate((20, 13)):
        data = toy_images(n, seed)
        learner.learn(data.inputs, data.labels)
        features = learner.forward(data.inputs)[0].keys.double().numpy()
        with own:
            [[order]] = DataLoader(TensorDataset(torch.arange(n)), batch_size=n, shuffle=True)
        for row in order.tolist():
            x, label, n_seen = features[row], int(data.labels[row]), counts.sum()
            deviation = x - means[label]
            sigma = (n_seen * sigma + n_seen / (n_seen + 1) * np.outer(deviation, deviation)) / (n_seen + 1)
            means[label] += (x - means[label]) / (counts[label] + 1)
            counts[label] += 1
    found = learner.weights()
    assert np.allclose(means, found["means"], atol=1e-4)
    assert np.allclose(sigma, found["covariance"], atol=1e-4)
    weights = np.linalg.inv(0.99 * sigma + 0.01 * np.eye(8)) @ means.T
    scores = torch.tensor(features @ weights - (means.T * weights).sum(axis=0) / 2)
    probabilities = learner.forward(data.inputs)[0].probabilities
    assert torch.allclose(probabilities, scores.softmax(dim=1).float(), atol=1e-2)


def test_slda_comes_close_to_our_own_memory():
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(N_CLASSES, 6, generator=generator)
    labels = torch.arange(300) % N_CLASSES
    features = F.normalize(centres[labels] + 0.6 * torch.randn(300, 6, generator=generator), dim=1)
    theirs, memory = strategies.streaming_lda(6, N_CLASSES, 1e-4, torch.device("cpu")), SldaMemory(N_CLASSES)
    with OwnRandomness(0, torch.device("cpu")):
        samples = strategies.dataset_of(features[:200], labels[:200], range(200), None)
        strategies.Strategy(theirs).train(samples, 0, 50)
    memory.insert(Outputs(torch.zeros(200, N_CLASSES), features[:200]), labels[:200], torch.arange(200))
    ours = memory.recall(features[200:], ({"shrinkage": 1e-4, "temperature": 1.0},))[0].probabilities[0].argmax(dim=1)
    predicted = theirs.predict(features[200:]).argmax(dim=1)
    assert (predicted == labels[200:]).float().mean() > 0.7
    assert (predicted == ours).float().mean() > 0.95


def test_slda_leaves_out_unseen_classes():
    learner, data = made("slda", n_classes=N_CLASSES + 1), toy_images(30)
    assert learner.forward(data.inputs)[0].probabilities[0].tolist() == [1 / (N_CLASSES + 1)] * (N_CLASSES + 1)
    learner.learn(data.inputs, data.labels)
    assert learner.forward(data.inputs)[0].probabilities[:, -1].max() == 0


def test_slda_takes_a_frozen_network():
    network = FrozenNet(n_classes=N_CLASSES, generator=torch.Generator().manual_seed(0))
    learner, data = made("slda", network=network), toy_images(10)
    first = learner.learn(data.inputs, data.labels)
    reading = 10 * 2 * 8 * 27 * 8 * 8
    updates, weights = 10 * 2 * 8 * 8, 2 * 2 * 8 * 8 * N_CLASSES  # Avalanche's own, and ours
    assert first.flops == reading + updates + 24 * 8**3 + weights + 2 * 8 * N_CLASSES
    outputs, work = learner.forward(data.inputs)
    assert first.samples == work.samples == 10
    assert work.flops == learner.forward_flops(10, (3, 8, 8))
    assert outputs.keys.shape == (10, learner.key_length((3, 8, 8)))


def test_er_aml_learns_where_a_class_has_no_sample_in_the_buffer():
    learner = made("er-aml", mem=1, batch_mem=1)
    for seed in range(3):
        data = toy_images(12, seed)
        assert learner.learn(data.inputs, data.labels).flops > 0
    assert bool(learner.forward(data.inputs)[0].probabilities.isfinite().all())
