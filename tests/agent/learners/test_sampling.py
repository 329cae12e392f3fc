"""Samplings against slow, obvious code, and learners whose batches are drawn from the store alone against a loop."""

import math
from collections import Counter
from itertools import pairwise
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.data.herding import herding_flops
from agent.learners.replay import FEATURES
from agent.learners.sampling import Sampling, class_balanced, herded, recent
from agent.networks.flops import flops_per_sample
from agent.networks.keys import tapped
from agent.randomness import bottom, named_generator, named_seed
from tests.agent.learners.test_replay import PLAIN, sorted_by_class
from tests.agent.memory.test_eviction import slow_herding, slow_quotas
from tests.agent.toys import NORMALIZATION, er, same, teach, toy_chunk, toy_network, toy_stream

SAMPLINGS = get_args(Sampling)
LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=30).map(torch.tensor)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def slow_recent(n, n_drawn):
    """What BudgetCL's `sample_data` takes with `lastk`."""
    everything = list(range(n))
    if n >= n_drawn:
        return everything[n - n_drawn :]
    rows, remaining = list(everything), n_drawn - n
    while remaining > n:
        rows += everything
        remaining -= n
    return rows + everything[n - remaining :]


@given(st.integers(1, 40), st.integers(1, 130), st.integers(0, 99))
@settings(deadline=None)
def test_the_last_samples_are_those_of_the_source(n, n_drawn, seed):
    assert sorted(recent(n, n_drawn, seeded(seed)).tolist()) == sorted(slow_recent(n, n_drawn))


def test_the_last_samples_come_in_any_order():
    n_trials, n_drawn = 4000, 4
    orders = Counter(tuple(recent(9, n_drawn, seeded(seed)).tolist()) for seed in range(n_trials))
    share = 1 / math.factorial(n_drawn)
    assert len(orders) == 24
    deviation = math.sqrt(n_trials * share * (1 - share))
    assert max(abs(count - n_trials * share) for count in orders.values()) < 4.5 * deviation


@given(LABELS, st.integers(0, 50), st.integers(0, 99))
@settings(deadline=None)
def test_class_balanced_samples_are_rows_of_the_store(labels, n_drawn, seed):
    rows = class_balanced(labels, n_drawn, seeded(seed))
    assert rows.shape == (n_drawn,)
    assert set(rows.tolist()) <= set(range(len(labels)))


@pytest.mark.parametrize("sizes", [[1, 9, 0, 30], [7], [2, 2, 2], [100, 1]])
def test_each_class_is_drawn_equally_often_and_each_of_its_samples(sizes):
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    labels = labels[torch.randperm(len(labels), generator=seeded())]
    n_drawn = 60_000
    drawn = torch.bincount(class_balanced(labels, n_drawn, seeded(1)), minlength=len(labels))
    n_classes = sum(size > 0 for size in sizes)
    for row, label in enumerate(labels.tolist()):
        share = 1 / n_classes / sizes[label]
        deviation = math.sqrt(n_drawn * share * (1 - share))
        assert abs(int(drawn[row]) - n_drawn * share) <= 4.5 * deviation


@given(LABELS, st.integers(1, 70), st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_herding_is_algorithm_4_in_each_class(labels, n_drawn, seed):
    n = len(labels)
    features = torch.randn(n, 4, generator=seeded(seed))
    found = Counter(herded(features, labels, n_drawn, seeded(seed)).tolist())
    expected = Counter(list(range(n)) * (n_drawn // n))
    keys = F.normalize(features.double(), dim=1)
    for label, quota in enumerate(slow_quotas(torch.bincount(labels).tolist(), n_drawn % n)):
        rows = (labels == label).nonzero()[:, 0]
        if not len(rows):
            continue
        of_class = keys[rows].numpy()
        chosen = {i for i, row in enumerate(rows.tolist()) if found[row] > n_drawn // n}
        expected.update(rows[sorted(slow_herding(of_class, of_class.mean(axis=0), quota, chosen))].tolist())
    assert found == expected


def test_what_is_herded_comes_in_random_order():
    labels, features = torch.arange(40) % 4, torch.randn(40, 3, generator=seeded())
    rows = herded(features, labels, 24, seeded()).tolist()
    assert rows != herded(features, labels, 24, seeded(1)).tolist()
    assert any(later < earlier for earlier, later in pairwise(rows))
    assert any(later < earlier for earlier, later in pairwise(labels[rows].tolist()))


def slow_from_store(chunks, sampling, *, stored, passes, seed=0, batch=8):
    """Each chunk is stored, its draws are made, and the steps follow; one sample after the other where it matters."""
    network = toy_network(seed).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=PLAIN["lr"])
    order, ids, everything = named_generator(seed, "order"), [], []
    for chunk in chunks:
        ids += range(len(everything), len(everything) + len(chunk.labels))
        everything += list(zip(chunk.inputs, chunk.labels, strict=True))
        here = [everything[i] for i in ids]
        n, n_drawn, labels = len(here), passes * len(chunk.labels), torch.stack([label for _, label in here])
        if sampling == "uniform":
            rows = torch.randint(n, (n_drawn,), generator=order)
        elif sampling == "class-balanced":
            rows = class_balanced(labels, n_drawn, order)
        elif sampling == "recent":
            rows = torch.tensor(slow_recent(n, n_drawn))[torch.randperm(n_drawn, generator=order)]
        else:
            network.eval()
            with torch.no_grad():
                read = [tapped(network, NORMALIZATION(image[None]), FEATURES.of(network))[1] for image, _ in here]
            rows = herded(torch.cat([FEATURES.read(each) for each in read]), labels, n_drawn, order)
            network.train()
        n_steps = -(-n_drawn // batch)
        for step in range(n_steps):
            size = n_drawn // n_steps + (step < n_drawn % n_steps)
            some, rows = rows[:size], rows[size:]
            inputs = torch.cat([NORMALIZATION(here[i][0][None]) for i in some.tolist()])
            optimizer.zero_grad()
            F.cross_entropy(network(inputs), labels[some]).backward()
            optimizer.step()
        if stored is not None and len(ids) > stored:
            ids = [ids[i] for i in bottom(torch.tensor(ids), stored, named_seed(seed, "stored")).tolist()]
    return network


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("stored", [None, 11])
def test_batches_of_stored_samples_are_a_loop_over_chunks(sampling, stored):
    chunks = sorted_by_class([10, 7, 9])
    learner = er(stored=stored, passes=2, rehearsal=1, sampling=sampling, **PLAIN)
    for chunk in chunks:
        teach(learner, chunk)
    expected = slow_from_store(chunks, sampling, stored=stored, passes=2)
    for name, values in expected.state_dict().items():
        torch.testing.assert_close(learner.network.state_dict()[name], values, rtol=1e-3, atol=1e-5, msg=name)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 11), max_size=4), st.integers(1, 3), st.sampled_from(SAMPLINGS), st.booleans())
def test_an_estimate_is_what_is_done(sizes, passes, sampling, bounded):
    learner = er(passes=passes, rehearsal=1, sampling=sampling, stored=7 if bounded else None, batch=6)
    for chunk in toy_stream(sizes):
        expected = learner.estimate(chunk.inputs)
        assert (learner.learn(chunk.inputs, chunk.labels), 0) == (expected.at_once, expected.later.flops)
        assert learner.most_nbytes(chunk.inputs) >= learner.nbytes


def test_herding_pays_for_looking_at_the_store_beyond_the_steps_that_all_take():
    chunks, paid = toy_stream([8, 8, 8]), {}
    for sampling in SAMPLINGS:
        learner = er(passes=2, rehearsal=1, stored=None, sampling=sampling)
        paid[sampling] = [teach(learner, chunk) for chunk in chunks]
        assert learner.n_steps == 6
    assert paid["uniform"] == paid["class-balanced"] == paid["recent"]
    assert paid["herding"][:2] == paid["uniform"][:2]  # 16 out of 8, and 16 out of 16
    network = toy_network()
    looking = 24 * flops_per_sample(network, (3, 8, 8)).forward
    products = herding_flops(24, 16, FEATURES.length(network, (3, 8, 8)))
    assert paid["herding"][2].flops == paid["uniform"][2].flops + looking + products
    assert paid["herding"][2].samples == paid["uniform"][2].samples + 24
    assert products == 2 * 24 * 17 * 8


@pytest.mark.parametrize("sampling", ["class-balanced", "recent"])
def test_the_rehearsed_share_of_a_batch_is_drawn_so_too(sampling, monkeypatch):
    learner, drawn = er(sampling=sampling, stored=None, passes=1, **PLAIN), []
    step = type(learner.training).step

    def watched(training, network, optimizers, inputs, labels, moves, **how):
        drawn.append(inputs[4:])
        return step(training, network, optimizers, inputs, labels, moves, **how)

    monkeypatch.setattr(type(learner.training), "step", watched)
    chunk = toy_chunk(12)
    teach(learner, chunk)
    order, labels = named_generator(0, "order"), chunk.labels
    for i, found in enumerate(drawn):
        torch.randperm(4, generator=order)
        if not i:
            assert len(found) == 0
            continue
        expected = class_balanced(labels[: 4 * i], 4, order) if sampling != "recent" else recent(4 * i, 4, order)
        assert torch.equal(found, chunk.inputs[expected])
    assert len(drawn) == 3


def test_samplings_differ():
    chunks = sorted_by_class([8, 8, 8])
    weights = []
    for sampling in SAMPLINGS:
        learner = er(rehearsal=1, stored=None, passes=2, sampling=sampling, **PLAIN)
        for chunk in chunks:
            teach(learner, chunk)
        weights.append(learner.weights())
    assert not any(same(one, other) for one, other in pairwise(weights))
