"""Streams whose labels come later than their images."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import InvalidSetting
from scenarios.running.world import truth_as_json
from scenarios.streams.catalog import SCENARIOS, Chunking, iid
from scenarios.streams.scenario import ChunkStream
from tests.scenarios.streams.test_catalog import FOR_THREE
from tests.scenarios.worlds import colours


def late(stream, delay, queries="chunk"):
    return ChunkStream(stream.data, stream.visits, stream.normalization, stream.prices, queries, delay)


def ids_of(stream, inputs):
    """The rows of images, by their first pixels, which are all different."""
    rows = {tuple(image): row for row, image in enumerate(stream.data.inputs[:, :, 0, 0].tolist())}
    return [rows[tuple(image)] for image in inputs[:, :, 0, 0].tolist()]


def numbered(n):
    """A data set whose images have numbers for first pixels."""
    dataset = colours(n_train=n)
    inputs = dataset.train.inputs.clone()
    inputs[:, 0, 0, 0], inputs[:, 1, 0, 0] = torch.arange(n) % 256, torch.arange(n) // 256
    return replace(dataset, train=replace(dataset.train, inputs=inputs))


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 40), data=st.data(), queries=st.sampled_from(["chunk", 0, 3]))
def test_each_image_is_newest_once_and_each_label_comes_once(n, data, queries):
    n_chunks = data.draw(st.integers(1, n))
    delay = data.draw(st.integers(0, n_chunks - 1))
    plain = iid(numbered(n), Chunking(n_chunks), seed=0).stream
    stream = late(plain, delay, queries)
    come, labelled, n_asked = [], [], 0
    for now in range(-delay, n_chunks):  # time in chunks of images, so that the first labels come at 0
        come += plain[now + delay].sample_ids.tolist() if now + delay < n_chunks else []
        if now < 0:
            continue
        chunk = stream[now]
        assert (chunk.step, chunk.price) == (now, plain[now].price)
        assert torch.equal(chunk.inputs, plain[now].inputs)
        assert torch.equal(chunk.labels, plain[now].labels)
        newest = ids_of(plain, chunk.asked.inputs)
        assert newest == come[len(come) - len(newest) :]
        assert torch.equal(chunk.asked.labels, plain.data.labels[newest])
        assert (chunk.newest is None) == (delay == 0)
        n_asked += len(newest)
        assert n_asked == len(come)
        labelled += chunk.sample_ids.tolist()
        waiting = [row for row in come if row not in labelled]
        assert chunk.waiting_nbytes == sum(plain.data.inputs[row].nbytes for row in waiting)
        if queries == "chunk":
            assert chunk.queries == len(newest)
    assert sorted(come) == sorted(labelled) == list(range(n))
    assert sum(chunk.queries for chunk in stream) == (n if queries == "chunk" else queries * n_chunks)


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_has_the_same_chunks_with_a_delay(name):
    """So labels are used in the same order, and validation images may be used at the same steps."""
    dataset = colours(n_train=60, n_validation=30, n_test=60)
    plain = SCENARIOS[name](dataset=dataset, chunking=Chunking(12), seed=0, **FOR_THREE.get(name, {}))
    delayed = plain.priced(plain.stream.prices, "chunk", 3)
    assert delayed.stream.label_delay == 3
    assert (delayed.experience, delayed.ends, delayed.truth) == (plain.experience, plain.ends, plain.truth)
    assert delayed.shown is plain.shown
    assert [chunk.sample_ids.tolist() for chunk in delayed.stream] == [c.sample_ids.tolist() for c in plain.stream]
    assert torch.equal(delayed.stream[4].newest.inputs, plain.stream[7].inputs)
    assert len(delayed.stream[-1].newest) == delayed.stream[-1].queries == 0
    assert torch.equal(delayed.stream[-4].newest.inputs, plain.stream[-1].inputs)
    told, without = (json.loads(truth_as_json(scenario)) for scenario in (delayed, plain))
    assert told == without | {"label_delay": 3}


@pytest.mark.parametrize("delay", [-1, 5, 6])
def test_a_delay_is_shorter_than_the_stream(delay):
    stream = iid(colours(), Chunking(5), seed=0).stream
    assert late(stream, 4)[0].newest is not None
    message = f"expected labels that come fewer chunks later than the 5 of the stream, got {delay}; change --label-"
    with pytest.raises(InvalidSetting, match=message):
        late(stream, delay)
