"""Experience replay against a loop written out, and what its reservoir and its asymmetric loss do."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.data.augmentation import Augmentation
from agent.errors import InvalidSetting
from agent.learners.recipe import muon
from agent.randomness import bottom, named_generator, named_seed
from tests.agent.toys import NORMALIZATION, er, er_ace, same, teach, toy_chunk, toy_network, toy_stream

PLAIN = {"augmentation": Augmentation(), "batch": 8, "momentum": 0.0, "weight_decay": 0.0, "lr": 0.1}


def slow_replay(chunks, *, stored, passes, apart, asymmetric, seed=0, n_new=4):
    """One network, one list of samples, and one loop."""
    network = toy_network(seed).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=PLAIN["lr"])
    order, known, everything = named_generator(seed, "order"), set(), []
    for chunk in chunks:
        for first in range(0, len(chunk.labels), n_new):
            new = NORMALIZATION(chunk.inputs[first : first + n_new])
            labels = chunk.labels[first : first + n_new]
            staying = torch.arange(len(everything))
            if len(everything) > stored:
                staying = bottom(staying, stored, named_seed(seed, "stored"))
            reservoir = [everything[i] for i in staying.tolist()]
            rows = torch.cat([torch.randperm(len(labels), generator=order) for _ in range(passes)]).split(len(labels))
            n_rehearsed = n_new if reservoir else 0
            drawn = torch.randint(max(1, len(reservoir)), (passes * n_rehearsed,), generator=order)
            for step in range(passes):
                inputs, targets = new[rows[step]], labels[rows[step]]
                old = [reservoir[i] for i in drawn[step * n_rehearsed : (step + 1) * n_rehearsed].tolist()]
                if not old:
                    logits, of_old = network(inputs), torch.zeros(0, 3)
                elif apart:
                    logits, of_old = network(inputs), network(torch.cat([each[0] for each in old]))
                else:
                    whole = network(torch.cat([inputs, *(each[0] for each in old)]))
                    logits, of_old = whole[: len(inputs)], whole[len(inputs) :]
                loss = torch.zeros(())
                for row, target in zip(logits, targets.tolist(), strict=True):
                    classes = [c for c in range(3) if not asymmetric or c not in known or c in labels.tolist()]
                    loss = loss + F.cross_entropy(row[classes][None], torch.tensor([classes.index(target)]))
                for row, (_, label) in zip(of_old, old, strict=True):
                    loss = loss + F.cross_entropy(row[None], label)
                optimizer.zero_grad()
                (loss / (len(inputs) + len(old))).backward()
                optimizer.step()
            everything += [(new[i : i + 1], labels[i : i + 1]) for i in range(len(labels))]
            known |= set(labels.tolist())
    return network


def sorted_by_class(sizes, seed=100):
    """Chunks whose classes come one after the other."""
    chunks = toy_stream(sizes, seed)
    order = torch.cat([chunk.labels for chunk in chunks]).argsort(stable=True)
    inputs, labels = (torch.cat([getattr(each, name) for each in chunks])[order] for name in ("inputs", "labels"))
    parts = zip(chunks, inputs.split(sizes), labels.split(sizes), strict=True)
    return [replace(chunk, inputs=some, labels=of_some) for chunk, some, of_some in parts]


@pytest.mark.parametrize("asymmetric", [False, True])
@pytest.mark.parametrize("apart", [False, True])
def test_it_is_the_loop_of_the_paper(apart, asymmetric):
    chunks = sorted_by_class([10, 7, 9])
    learner = (er_ace if asymmetric else er)(stored=6, passes=2, apart=apart, **PLAIN)
    for chunk in chunks:
        teach(learner, chunk)
    expected = slow_replay(chunks, stored=6, passes=2, apart=apart, asymmetric=asymmetric)
    for name, values in expected.state_dict().items():
        torch.testing.assert_close(learner.network.state_dict()[name], values, rtol=1e-3, atol=1e-5, msg=name)


def test_er_and_er_ace_differ_only_once_a_known_class_is_missing():
    chunks = sorted_by_class([4, 20])
    one, other = er(apart=True, **PLAIN), er_ace(apart=True, **PLAIN)
    for learner in (one, other):
        teach(learner, chunks[0])
    assert same(one.weights(), other.weights())
    for learner in (one, other):
        teach(learner, chunks[1])
    assert not same(one.weights(), other.weights())


@pytest.mark.parametrize("make", [er, er_ace])
def test_the_predictor_is_the_network(make):
    learner = make()
    teach(learner, toy_chunk(13))
    trained = learner.network.state_dict()
    for name, values in learner.predictor.state_dict().items():
        assert name.endswith("num_batches_tracked") or torch.equal(values, trained[name]), name


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 11), max_size=4), st.integers(1, 3), st.sampled_from([0.2, 0.5, 0.8]))
def test_an_estimate_is_what_is_done(sizes, passes, rehearsal):
    learner = er(passes=passes, rehearsal=rehearsal, batch=6)
    for chunk in toy_stream(sizes):
        expected = learner.estimate(chunk.inputs)
        work = learner.learn(chunk.inputs, chunk.labels)
        assert (work.flops, work.nbytes, work.samples) == (
            expected.at_once.flops,
            expected.at_once.nbytes,
            expected.at_once.samples,
        )
        assert learner.most_nbytes(chunk.inputs) >= learner.nbytes


def test_chunks_of_whole_minibatches_may_be_cut_anywhere():
    whole, cut = er(), er()
    chunk = toy_chunk(24)
    teach(whole, chunk)
    for first in range(0, 24, 8):
        cut.learn(chunk.inputs[first : first + 8], chunk.labels[first : first + 8])
    assert same(whole.weights(), cut.weights())


def test_the_reservoir_is_a_uniform_sample_of_all():
    learner = er(stored=5)
    chunks = toy_stream([9, 8, 7])
    for chunk in chunks:
        teach(learner, chunk)
    staying = bottom(torch.arange(24), 5, named_seed(0, "stored"))
    inputs = torch.cat([chunk.inputs for chunk in chunks])
    assert torch.equal(learner.samples.rows, inputs[staying])
    assert learner.nbytes == 5 * (3 * 8 * 8 + 8)


def test_a_fork_knows_its_own_classes():
    learner = er_ace()
    chunks = sorted_by_class([8, 8])
    teach(learner, chunks[0])
    fork, known = learner.fork(), copy.deepcopy(learner.known)
    teach(fork, chunks[1])
    assert torch.equal(learner.known, known)
    assert not torch.equal(fork.known, known)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"passes": 0}, "expected from 1 to 1,000 passes over new samples, got 0"),
        ({"rehearsal": 0.0}, "expected a rehearsed share above 0, at most 1, got 0"),
        ({"rehearsal": 1.1}, "expected a rehearsed share above 0, at most 1, got 1.1"),
        ({"rehearsal": 1, "apart": True}, "expected a rehearsed share below 1 where new samples are treated otherwise"),
        ({"sampling": "herding"}, "expected a rehearsed share of 1 for herding, .* got 0.5; choose rehearsal=1 or "),
        ({"stored": 0}, "expected from 1 to 1,000,000,000 samples stored for rehearsal, got 0"),
        ({"batch": 1}, "expected a batch of at least 2, new samples and rehearsed ones, got 1"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(InvalidSetting, match=message):
        er(**setting)


def test_an_asymmetric_loss_needs_new_samples():
    with pytest.raises(InvalidSetting, match=r"\(apart=true, er-ace\), got 1"):
        er_ace(rehearsal=1, apart=False)


def test_a_loss_that_cannot_leave_out_classes_is_refused():
    smoothed = muon(batch=8)
    er(recipe=smoothed)
    with pytest.raises(InvalidSetting, match="expected a loss that can leave out classes, as cross-entropy without"):
        er_ace(recipe=smoothed)
