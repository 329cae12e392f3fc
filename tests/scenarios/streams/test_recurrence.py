import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.data.chunk import LabelledInputs
from agent.errors import InvalidSetting
from scenarios.config.families import POLICY
from scenarios.config.members import make
from scenarios.config.settings import SimulateConfig
from scenarios.datasets.source import Access
from scenarios.running.progress import SilentReporter
from scenarios.running.world import load_world, make_alike
from scenarios.streams.chunking import Chunking
from scenarios.streams.recurrence import long_tailed, zipf
from tests.scenarios.worlds import colours


def labels_of(scenario):
    return torch.cat([chunk.labels for chunk in scenario.stream])


def all_ids(scenario):
    return torch.cat([chunk.sample_ids for chunk in scenario.stream]).tolist()


# Classes with long tails


@settings(max_examples=30, deadline=None)
@given(
    each=st.integers(3, 60),
    extra=st.integers(0, 20),
    n_classes=st.integers(1, 8),
    imbalance=st.floats(1, 300),
    seed=st.integers(0, 99),
)
def test_classes_have_a_share_by_rank_and_as_many_images_as_there_are(each, extra, n_classes, imbalance, seed):
    dataset = colours(n_train=each * n_classes + extra % n_classes, n_classes=n_classes)
    scenario = long_tailed(dataset, Chunking(chunk_size=5), seed=seed, imbalance=imbalance)
    counts = sorted(torch.bincount(labels_of(scenario), minlength=n_classes).tolist(), reverse=True)
    ideal = [imbalance ** (-rank / max(1, n_classes - 1)) for rank in range(n_classes)]
    by_count = torch.bincount(labels_of(scenario), minlength=n_classes).argsort(descending=True, stable=True)
    available = torch.bincount(dataset.train.labels, minlength=n_classes)
    largest = counts[0]
    assert all(abs(count - largest * share) <= 1 + share for count, share in zip(counts, ideal, strict=True))
    assert min(counts) >= 1
    assert all(counts[place] <= available[label] for place, label in enumerate(by_count))
    if extra % n_classes == 0:
        assert largest == each
    assert len(set(all_ids(scenario))) == sum(counts)


def test_a_hundred_to_one_as_in_the_paper():
    dataset = colours(n_train=5000, n_classes=10)
    scenario = long_tailed(dataset, Chunking(10), seed=0)
    counts = sorted(torch.bincount(labels_of(scenario)).tolist(), reverse=True)
    assert counts == [math.ceil(round(500 * 100 ** (-rank / 9), 6)) for rank in range(10)]
    assert torch.equal(scenario.test.labels, dataset.test.labels)
    assert torch.equal(scenario.validation.labels, dataset.validation.labels)


@settings(max_examples=20, deadline=None)
@given(chunks=st.integers(1, 10), size=st.integers(1, 10), imbalance=st.floats(1, 50), seed=st.integers(0, 9))
def test_a_shorter_stream_has_the_same_shares(chunks, size, imbalance, seed):
    dataset = colours(n_train=500, n_classes=5)
    n = chunks * size
    scenario = long_tailed(dataset, Chunking(chunks, size), seed=seed, imbalance=imbalance)
    counts = sorted(torch.bincount(labels_of(scenario), minlength=5).tolist(), reverse=True)
    ideal = np.array([imbalance ** (-rank / 4) for rank in range(5)])
    assert sum(counts) == n
    assert np.abs(counts - n * ideal / ideal.sum()).max() <= 5  # up to a sample a class, and what they leave over


def test_ranks_and_images_belong_to_the_data_and_order_to_the_seed():
    dataset = colours(n_train=200, n_classes=5)
    one, other, third = (
        long_tailed(dataset, Chunking(10), seed=seed, data_seed=data) for seed, data in ((1, 7), (2, 7), (1, 8))
    )
    assert sorted(all_ids(one)) == sorted(all_ids(other))
    assert all_ids(one) != all_ids(other)
    assert sorted(all_ids(one)) != sorted(all_ids(third))
    ranks = {tuple(torch.bincount(labels_of(long_tailed(dataset, Chunking(5), seed=s))).tolist()) for s in range(5)}
    assert len(ranks) > 1


@pytest.mark.parametrize("imbalance", [0.5, -1.0, math.inf, math.nan])
def test_no_tail_is_shorter_than_its_head(imbalance):
    with pytest.raises(InvalidSetting, match=r"expected an imbalance of 1 or more, got .*; change the scenario's imb"):
        long_tailed(colours(), Chunking(5), seed=0, imbalance=imbalance)


def test_every_class_needs_a_training_image():
    dataset = colours(n_classes=3)
    rows = dataset.train.labels != 1
    train = LabelledInputs(dataset.train.inputs[rows], dataset.train.labels[rows])
    with pytest.raises(
        InvalidSetting, match="expected training images of each of 3 classes, got none of class1; raise"
    ):
        long_tailed(replace(dataset, train=train), Chunking(5), seed=0)


def test_more_chunks_than_a_long_tailed_stream_has_images():
    with pytest.raises(
        InvalidSetting, match="expected chunks of at most 16 images together, as many as 40 training images"
    ):
        long_tailed(colours(), Chunking(40), seed=0)
    with pytest.raises(InvalidSetting, match="give with imbalance=100, got 20; lower --chunks, --chunk-size or the"):
        long_tailed(colours(), Chunking(4, 5), seed=0)
    with pytest.raises(InvalidSetting, match="expected 1 to 16 chunks for 16 training images, got 0"):
        long_tailed(colours(), Chunking(0), seed=0)


# Images that come again


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 40),
    exponent=st.floats(0, 3),
    seed=st.integers(0, 99),
    chunking=st.sampled_from([Chunking(1), Chunking(chunk_size=4), Chunking(9, 7)]),
    data=st.data(),
)
def test_chunks_say_which_of_their_images_came_before(n, exponent, seed, chunking, data):
    items = data.draw(st.none() | st.integers(1, n))
    dataset = colours(n_train=n)
    scenario = zipf(dataset, chunking, seed=seed, exponent=exponent, items=items)
    assert len(all_ids(scenario)) == (63 if chunking.n_chunks == 9 else n)
    assert len(set(all_ids(scenario))) <= (items or n)
    before: set[int] = set()
    for step, chunk in enumerate(scenario.stream):
        ids = chunk.sample_ids.tolist()
        assert scenario.truth["seen"][step] == pytest.approx(sum(each in before for each in ids) / len(ids))
        before |= set(ids)
        assert torch.equal(chunk.inputs, dataset.train.inputs[chunk.sample_ids])
        assert torch.equal(chunk.labels, dataset.train.labels[chunk.sample_ids])
    assert scenario.stream.data is dataset.train  # no copy


@pytest.mark.parametrize("exponent", [0.0, 1.0, 1.5])
def test_frequencies_follow_the_law(exponent):
    dataset = colours(n_train=20)
    n = 20_000
    counts = np.bincount(all_ids(zipf(dataset, Chunking(n // 10, 10), seed=0, exponent=exponent)), minlength=20)
    expected = np.arange(1, 21.0) ** -exponent
    expected *= n / expected.sum()
    assert np.abs(np.sort(counts)[::-1] - expected).max() < 5 * np.sqrt(expected.max())
    # Ranks are drawn by the seed of the data.
    order = np.argsort(-counts)[:3].tolist()
    again, other = (
        np.bincount(all_ids(zipf(dataset, Chunking(2000, 10), seed=3, data_seed=d, exponent=1.5)), minlength=20)
        for d in (0, 1)
    )
    if exponent > 1:
        assert np.argsort(-again)[:3].tolist() == order
        assert np.argsort(-other)[:3].tolist() != order


def test_a_single_item_and_a_steep_law_repeat_one_image():
    assert set(all_ids(zipf(colours(), Chunking(5), seed=0, items=1))) < set(range(40))
    assert len(set(all_ids(zipf(colours(), Chunking(5), seed=0, items=1)))) == 1
    assert len(set(all_ids(zipf(colours(), Chunking(5), seed=0, exponent=900.0)))) == 1


@pytest.mark.parametrize(
    ("chunking", "own", "message"),
    [
        (Chunking(5), {"exponent": -1.0}, "expected a finite exponent of 0 or more, got -1; change the scenario's exp"),
        (Chunking(5), {"exponent": math.inf}, "expected a finite exponent of 0 or more, got inf"),
        (Chunking(5), {"items": 0}, "expected 1 to 40 items for 40 training images, got 0; change the scenario's it"),
        (Chunking(5), {"items": 41}, "expected 1 to 40 items for 40 training images, got 41"),
        (Chunking(41), {}, "expected 1 to 40 chunks for 40 training images, got 41; change --chunks"),
        (Chunking(0, 3), {}, "expected 1 to 13 chunks of 3 for 40 training images, got 0"),
        (Chunking(10**6, 10**4), {}, "expected a stream of at most 1,000,000,000 images, got 10,000,000,000; lower"),
    ],
)
def test_settings_outside_their_range(chunking, own, message):
    with pytest.raises(InvalidSetting, match=message):
        zipf(colours(), chunking, seed=0, **own)


@pytest.mark.parametrize(
    "own",
    [
        {"memory": "cache", "capacity": "12", "rekey": "on-learn"},
        {"memory": "knn", "consolidate": "release:10", "eviction": "reservoir"},
        {"memory": "ridge", "consolidate": "10"},
        {"memory": "residual", "learner": "online:epochs=1,stored=9", "capacity": "12", "eviction": "class-balanced"},
    ],
    ids=lambda own: own["memory"],
)
def test_images_that_come_again_are_entries_of_their_own(own):
    """Also twice in a chunk: agents number what they memorize and learn, and do not look at rows of the data set."""
    config = SimulateConfig.model_validate(
        {
            "dataset": "textures",
            "train_size": 60,
            "validation_size": 20,
            "test_size": 20,
            "chunks": 8,
            "network": "resnet:width=2",
            "learner": "online:epochs=1",
            "recipe": "sgd:batch=8",
            "device": "cpu",
            "scenario": "zipf:items=6",
            **own,
        }
    )
    world = load_world(config, 0, Access(), SilentReporter())
    assert any(len(chunk.sample_ids.unique()) < len(chunk) for chunk in world[1].stream)
    policy = "sleep" if config.consolidate.images else "interleaved:k=50"
    lifetimes = make_alike(config, 0, world, {policy: make(policy, POLICY, seed=0)})
    while lifetimes:
        lifetimes.advance()
    [(_, trajectory, agent)] = lifetimes.ended()
    assert trajectory.steps[-1].samples == 60
    if "capacity" in own:
        assert agent.memory.n_entries == min(12, agent.n_memorized)
    elif own["memory"] == "ridge":
        assert agent.memory.n_entries == agent.n_memorized == 60
