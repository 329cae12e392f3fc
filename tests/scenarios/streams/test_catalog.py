import colorsys
import inspect
import math
import typing
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import InvalidSetting
from scenarios.streams.catalog import SCENARIOS, Chunking, blurred, class_incremental, drift, iid, iid_stream, recurring
from scenarios.streams.drift import drifted
from tests.scenarios.worlds import colours

every_scenario = pytest.mark.parametrize("name", SCENARIOS)

FOR_THREE = {
    "class-incremental": {"experiences": 3},
    "blurred": {"experiences": 3},
    "recurring": {"experiences": 3},
    "drift": {"experiences": 3},
    "domains": {"experiences": 3},
    "label-drift": {"experiences": 2},
    "long-tailed": {"imbalance": 2.0},
}
"""Settings that fit three classes."""
FOR_ONE = {
    **{name: {"experiences": 1} for name in FOR_THREE if name != "long-tailed"},
    "recurring": {"experiences": 1, "visits": 1},
    "noisy-labels": {"rate": 0.0},
}
"""Settings that fit one class."""
PARTIAL = {"long-tailed", "zipf"}
"""Those whose streams do not have every training image once."""
APART = {"class-incremental", "recurring", "domains", "label-drift"}
"""Those in which no chunk spans two experiences."""


def sizes(scenario):
    return [len(chunk) for chunk in scenario.stream]


def all_ids(scenario):
    return torch.cat([chunk.sample_ids for chunk in scenario.stream]).tolist()


def classes_by_experience(scenario):
    """The classes of the test images of each experience."""
    return [set(scenario.test.labels[scenario.group == number].tolist()) for number in range(scenario.n_experiences)]


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 40), data=st.data(), seed=st.integers(0, 5))
def test_a_stream_holds_every_training_image_once_in_chunks_of_equal_size(n, data, seed):
    n_chunks = data.draw(st.integers(1, n))
    dataset = colours(n_train=n)
    stream = iid_stream(dataset, n_chunks, seed=seed)
    chunks = list(stream)
    assert len(stream) == len(chunks) == n_chunks
    assert [chunk.step for chunk in chunks] == list(range(n_chunks))
    assert max(map(len, chunks)) - min(map(len, chunks)) <= 1
    ids = torch.cat([chunk.sample_ids for chunk in chunks])
    assert sorted(ids.tolist()) == list(range(n))
    assert torch.equal(torch.cat([chunk.inputs for chunk in chunks]), dataset.train.inputs[ids])
    assert torch.equal(torch.cat([chunk.labels for chunk in chunks]), dataset.train.labels[ids])


@pytest.mark.slow
def test_chunks_agree_with_what_avalanche_serves_sample_by_sample():
    dataset = colours()
    stream = iid_stream(dataset, 5, seed=0)
    for chunk, experience in zip(stream, stream.as_avalanche(), strict=True):
        images, labels = zip(*experience.dataset, strict=True)
        assert torch.equal(torch.tensor(labels), chunk.labels)
        torch.testing.assert_close(torch.stack(images), dataset.normalization(chunk.inputs))


def test_the_order_comes_from_the_seed_alone():
    dataset = colours()

    def order(seed):
        return torch.cat([chunk.sample_ids for chunk in iid_stream(dataset, 4, seed=seed)]).tolist()

    first = order(1)
    torch.manual_seed(99)
    assert order(1) == first
    assert order(2) != first


def test_a_stream_can_be_read_again_and_sliced():
    stream = iid_stream(colours(), 4, seed=0)
    assert torch.equal(stream[1].sample_ids, list(stream)[1].sample_ids)
    assert [chunk.step for chunk in stream[2:]] == [2, 3]
    assert stream[-1].step == 3
    with pytest.raises(IndexError):
        stream[4]


@pytest.mark.parametrize("n_chunks", [0, -1, 41])
def test_more_chunks_than_samples_is_an_error(n_chunks):
    with pytest.raises(InvalidSetting, match=rf"expected 1 to 40 chunks for 40 training images, got {n_chunks}"):
        iid_stream(colours(), n_chunks, seed=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_avalanche_trains_naive_on_the_same_stream():
    from avalanche.training.plugins import EvaluationPlugin
    from avalanche.training.supervised import Naive

    from agent.networks.resnet import ResNet

    dataset = colours(n_train=60)
    stream = iid_stream(dataset, 6, seed=0)
    network = ResNet(8, 4, n_classes=dataset.n_classes, generator=torch.Generator().manual_seed(0))
    strategy = Naive(
        model=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9),
        criterion=torch.nn.CrossEntropyLoss(),
        train_mb_size=10,
        train_epochs=4,
        evaluator=EvaluationPlugin(),
    )
    strategy.train(stream.as_avalanche())
    network.eval()
    predicted = network(dataset.normalization(dataset.test.inputs)).argmax(dim=1)
    assert (predicted == dataset.test.labels).float().mean() > 0.6


# What holds for every scenario


@every_scenario
@pytest.mark.parametrize("chunking", [Chunking(12), Chunking(chunk_size=7), Chunking(10, 4)], ids=str)
def test_contract(name, chunking):
    dataset = five_colours()
    scenario = of_five(name, dataset, chunking, seed=1)
    n = len(scenario.stream)
    assert scenario.name == name
    assert (sorted(Counter(all_ids(scenario)).values())[-1] == 1) == (name != "zipf")
    assert len(scenario.experience) == n
    assert set(scenario.experience) == set(range(scenario.n_experiences)) == set(scenario.group.tolist())
    assert all(len(values) == n for values in scenario.truth.values())
    assert scenario.ends == tuple(
        step for step in range(n) if step == n - 1 or scenario.experience[step] != scenario.experience[step + 1]
    )
    assert scenario.shown is None or len(scenario.shown) == len(scenario.validation) == len(dataset.validation)
    for step, (chunk, experience) in enumerate(zip(scenario.stream, scenario.stream.as_avalanche(), strict=True)):
        again = scenario.stream[step - n]
        assert chunk.step == again.step == step
        assert torch.equal(chunk.inputs, again.inputs)
        assert chunk.inputs.dtype == torch.uint8
        assert torch.equal(chunk.labels, scenario.stream.data.labels[chunk.sample_ids])
        images, labels = zip(*experience.dataset, strict=True)
        assert list(experience.dataset.sample_id) == chunk.sample_ids.tolist()
        assert torch.equal(torch.tensor(labels), chunk.labels)
        torch.testing.assert_close(torch.stack(images), dataset.normalization(chunk.inputs))


def five_colours():
    return colours(n_train=64, n_test=31, n_classes=5)


def of_five(name, dataset, chunking, **given):
    """A scenario of five classes, with default settings where they fit few images of them."""
    own = {"label-drift": {"experiences": 3}, "long-tailed": {"imbalance": 2.0}}
    return SCENARIOS[name](dataset, chunking, **given, **own.get(name, {}))


@every_scenario
def test_only_drift_and_domains_change_images(name):
    dataset = five_colours()
    scenario = of_five(name, dataset, Chunking(12), seed=1)
    stream = torch.cat([chunk.inputs for chunk in scenario.stream])
    same = torch.equal(stream, dataset.train.inputs[all_ids(scenario)])
    assert same == torch.equal(scenario.test.inputs, dataset.test.inputs) == (name not in ("drift", "domains"))
    assert same == torch.equal(scenario.validation.inputs, dataset.validation.inputs)


@every_scenario
def test_only_label_drift_and_noise_change_labels(name):
    dataset = five_colours()
    scenario = of_five(name, dataset, Chunking(12), seed=1)
    stream = torch.cat([chunk.labels for chunk in scenario.stream])
    own = name not in ("label-drift", "noisy-labels")
    assert torch.equal(stream, dataset.train.labels[all_ids(scenario)]) == own
    assert torch.equal(scenario.validation.labels, dataset.validation.labels) == own
    assert torch.equal(scenario.test.labels, dataset.test.labels) == (name != "label-drift")
    assert (scenario.validation_truth is None) == (name != "noisy-labels")


@every_scenario
def test_a_scenario_leaves_the_data_set_alone(name):
    dataset, untouched = five_colours(), five_colours()
    of_five(name, dataset, Chunking(12), seed=1)
    for part in ("train", "validation", "test"):
        assert torch.equal(getattr(dataset, part).inputs, getattr(untouched, part).inputs)
        assert torch.equal(getattr(dataset, part).labels, getattr(untouched, part).labels)


@every_scenario
def test_a_scenario_comes_from_the_seed_alone(name):
    dataset = five_colours()

    def fingerprint(seed):
        scenario = of_five(name, dataset, Chunking(12), seed=seed)
        images = torch.cat([chunk.inputs for chunk in scenario.stream])
        labels = torch.cat([chunk.labels for chunk in scenario.stream])
        return (
            all_ids(scenario),
            images.tolist(),
            labels.tolist(),
            scenario.test.inputs.tolist(),
            scenario.test.labels.tolist(),
            scenario.validation.inputs.tolist(),
            scenario.validation.labels.tolist(),
            scenario.group.tolist(),
            scenario.experience,
            scenario.truth,
        )

    first = fingerprint(1)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    before = torch.get_rng_state()
    assert fingerprint(1) == first
    assert torch.equal(torch.get_rng_state(), before)
    assert fingerprint(2)[0] != first[0]


@settings(max_examples=12, deadline=None)
@every_scenario
@given(n=st.integers(20, 90), chunks=st.integers(6, 20), seed=st.integers(0, 99))
def test_a_number_of_chunks_partitions_the_training_images(name, n, chunks, seed):
    chunks = 6 if name == "long-tailed" else chunks  # its stream is shorter than the training part
    scenario = SCENARIOS[name](colours(n_train=n), Chunking(chunks), seed=seed, **FOR_THREE.get(name, {}))
    assert len(scenario.stream) == chunks
    if name not in PARTIAL:
        assert sorted(all_ids(scenario)) == list(range(n))
    if name not in APART:
        assert max(sizes(scenario)) - min(sizes(scenario)) <= 1


@settings(max_examples=12, deadline=None)
@every_scenario
@given(n=st.integers(24, 90), size=st.integers(1, 6), seed=st.integers(0, 99))
def test_a_chunk_size_partitions_the_training_images(name, n, size, seed):
    scenario = SCENARIOS[name](colours(n_train=n), Chunking(chunk_size=size), seed=seed, **FOR_THREE.get(name, {}))
    if name not in PARTIAL:
        assert sorted(all_ids(scenario)) == list(range(n))
    ends = scenario.ends if name in APART else (len(scenario.stream) - 1,)
    for step, length in enumerate(sizes(scenario)):
        assert 1 <= length <= size
        assert length == size or step in ends


@settings(max_examples=12, deadline=None)
@every_scenario
@given(chunks=st.integers(6, 10), size=st.integers(1, 5), seed=st.integers(0, 99))
def test_number_and_size_of_chunks_hold_exactly(name, chunks, size, seed):
    scenario = SCENARIOS[name](colours(n_train=90), Chunking(chunks, size), seed=seed, **FOR_THREE.get(name, {}))
    assert sizes(scenario) == [size] * chunks
    ids = all_ids(scenario)
    assert len(set(ids)) == chunks * size or name == "zipf"
    if name not in {"class-incremental", "recurring", *PARTIAL}:
        assert sorted(ids) == list(range(chunks * size))


@every_scenario
def test_one_class_and_one_sample_are_enough(name):
    dataset = colours(n_train=1, n_validation=1, n_test=1, n_classes=1)
    for chunking in (Chunking(1), Chunking(chunk_size=5), Chunking(1, 1)):
        scenario = SCENARIOS[name](dataset, chunking, seed=0, **FOR_ONE.get(name, {}))
        assert (sizes(scenario), scenario.ends, scenario.group.tolist()) == ([1], (0,), [0])


@every_scenario
def test_settings_are_documented_and_plain(name):
    build = SCENARIOS[name]
    document, signature = inspect.getdoc(build), inspect.signature(build)
    assert document.splitlines()[0].endswith(".")
    assert list(signature.parameters)[:3] == ["dataset", "chunking", "seed"]
    for setting, parameter in signature.parameters.items():
        if setting not in ("dataset", "chunking", "seed"):
            assert f"\n    {setting}: " in document
            plain = typing.get_origin(parameter.annotation) is typing.Literal
            assert plain or parameter.annotation in (int, float, str, bool, int | None)


# Prices


def test_prices_reach_the_chunks_and_leave_the_first_scenario_alone():
    scenario = iid(colours(), Chunking(4), seed=0)
    priced = scenario.priced([1, 2.5, 0, 4])
    assert [chunk.price for chunk in priced.stream] == [1, 2.5, 0, 4]
    assert [chunk.price for chunk in priced.stream[1:3]] == [2.5, 0]
    assert priced.stream[-1].price == 4
    assert {chunk.price for chunk in scenario.stream} == {1.0}
    assert all_ids(priced) == all_ids(scenario)


@pytest.mark.parametrize(
    ("prices", "message"),
    [
        ([1.0], r"expected 2 prices, one for each chunk, got 1; make the tariff for as many chunks"),
        ([1.0, -1.0], r"expected finite prices of 0 or more, got -1 at chunk 1; change the tariff"),
        ([math.inf, 1.0], r"expected finite prices of 0 or more, got inf at chunk 0; change the tariff"),
        ([math.nan, 1.0], r"expected finite prices of 0 or more, got nan at chunk 0; change the tariff"),
    ],
)
def test_unsound_prices(prices, message):
    with pytest.raises(InvalidSetting, match=message):
        iid(colours(), Chunking(2), seed=0).priced(prices)


# Chunkings


def test_iid_is_the_stream_of_before():
    dataset = colours()
    scenario = iid(dataset, Chunking(7), seed=3)
    expected = [chunk.sample_ids.tolist() for chunk in iid_stream(dataset, 7, seed=3)]
    assert [chunk.sample_ids.tolist() for chunk in scenario.stream] == expected


@pytest.mark.parametrize(
    ("n_chunks", "chunk_size", "message"),
    [
        (None, None, r"expected a number of chunks, a chunk size or both, got neither; give --chunks or --chunk-size"),
        (None, 0, r"expected chunks of at least 1 sample, got 0; change --chunk-size"),
        (
            5,
            10,
            r"expected 1 to 4 chunks of 10 for 40 training images, got 5; change --chunks, --chunk-size or --train",
        ),
        (0, 10, r"expected 1 to 4 chunks of 10 for 40 training images, got 0"),
        (1, 41, r"expected 41 or more training images for a chunk of 41, got 40; change --chunks"),
    ],
)
def test_chunkings_that_do_not_fit(n_chunks, chunk_size, message):
    with pytest.raises(InvalidSetting, match=message):
        iid(colours(), Chunking(n_chunks, chunk_size), seed=0)


@pytest.mark.parametrize(
    ("build", "chunking", "own", "message"),
    [
        (class_incremental, Chunking(2), {}, "expected 3 to 40 chunks for 40 training images and 3 visits.*, got 2"),
        (class_incremental, Chunking(3, 14), {}, "expected 14 or more training images for each of 3 visits.*, got 13"),
        (class_incremental, Chunking(10, 4), {}, "expected 3 to 9 chunks of 4 for 40 training images and 3 .*, got 10"),
        (recurring, Chunking(5), {}, "expected 6 to 40 chunks for 40 training images and 6 visits.*, got 5"),
        (recurring, Chunking(9), {"visits": 0}, "expected at least 1 visit to each experience, got 0"),
        (
            recurring,
            Chunking(99),
            {"visits": 15},
            "expected at most as many visits to experiences as the 40 training images, got 45",
        ),
        (class_incremental, Chunking(9), {"experiences": 4}, "expected 1 to 3 experiences for 3 classes, got 4"),
        (blurred, Chunking(9), {"experiences": 0}, "expected 1 to 3 experiences for 3 classes, got 0"),
        (blurred, Chunking(2), {}, "expected a chunk of each of 3 experiences, got none of experience 1 in 2 chunks"),
        (blurred, Chunking(2, 1), {}, "expected training images of each of 3 experiences, got none of experience"),
        (blurred, Chunking(9), {"width": 1.1}, "expected a width of 0 to 1, got 1.1"),
        (drift, Chunking(9), {"strength": -1.0}, "expected a strength from 0 to 1,000,000, got -1"),
        (drift, Chunking(9), {"strength": math.nan}, "expected a strength from 0 to 1,000,000, got nan"),
        (drift, Chunking(9), {"experiences": 0}, "expected at least 1 experience, got 0"),
        (
            drift,
            Chunking(9),
            {"experiences": 10},
            "expected a chunk of each of 10 experiences, got none of .* 9 chunks",
        ),
        (drift, Chunking(20), {"experiences": 17}, "expected a test image of each of 17 experiences, got none of"),
    ],
)
def test_settings_outside_their_range(build, chunking, own, message):
    with pytest.raises(InvalidSetting, match=message + r".*; .*(change|raise|lower)"):
        build(colours(), chunking, seed=0, **({"experiences": 3} | own))


def test_chunks_are_shared_out_in_proportion_to_the_samples():
    dataset = colours(n_train=70, n_classes=7)
    scenario = class_incremental(dataset, Chunking(14), seed=0, experiences=3)
    assert Counter(scenario.experience) == {0: 6, 1: 4, 2: 4}
    assert set(sizes(scenario)) == {5}
    # One more than there are experiences: everyone gets one, the longest two.
    scenario = class_incremental(dataset, Chunking(4), seed=0, experiences=3)
    assert sizes(scenario) == [15, 15, 20, 20]


@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6), data=st.data())
def test_no_other_sharing_out_has_smaller_chunks(lengths, data):
    n_chunks = data.draw(st.integers(len(lengths), sum(lengths)))
    rows = list(torch.arange(sum(lengths)).split(lengths))
    visits = Chunking(n_chunks).cut(rows)
    assert sum(map(len, visits)) == n_chunks
    assert torch.equal(torch.cat([torch.cat(chunks) for chunks in visits]), torch.cat(rows))
    largest = max(len(chunk) for chunks in visits for chunk in chunks)
    # Chunks of one sample less would be too many: the slow way to see that the largest could not be smaller.
    assert largest == 1 or sum(-(-length // (largest - 1)) for length in lengths) > n_chunks


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 60), experiences=st.integers(1, 6), chunks=st.integers(1, 20), size=st.integers(1, 6))
def test_experiences_that_follow_each_other_are_of_one_length(n, experiences, chunks, size):
    order = torch.randperm(n)
    for chunking in (Chunking(chunks), Chunking(chunk_size=size), Chunking(chunks, size)):
        n_used = chunking.n_used(n)
        fits = n >= experiences and chunking.n_chunks is None
        if chunking.n_chunks is not None:
            fits = experiences <= chunks and n >= chunks * (chunking.chunk_size or 1)
        if not fits:
            with pytest.raises(InvalidSetting, match=r"expected .*, got .*; change --chunks"):
                chunking.cut_evenly(order, experiences)
            continue
        visits = chunking.cut_evenly(order, experiences)
        lengths = [sum(map(len, some)) for some in visits]
        assert torch.equal(torch.cat([torch.cat(some) for some in visits]), order[:n_used])
        assert len(visits) == experiences
        assert max(lengths) - min(lengths) <= (size if chunking == Chunking(chunks, size) else 1)
        if chunking.n_chunks is not None:
            assert sum(map(len, visits)) == chunks


def test_no_experience_is_an_error():
    with pytest.raises(InvalidSetting, match="expected at least 1 experience, got 0; change the scenario's exp"):
        Chunking(3).cut_evenly(torch.arange(9), 0)


def test_one_long_visit_among_many_short_ones():
    visits = Chunking(60).cut([torch.arange(1000), *torch.arange(50).split(1)])
    assert list(map(len, visits)) == [10] + [1] * 50


# Each world for itself


@settings(max_examples=12, deadline=None)
@given(n_classes=st.integers(1, 7), seed=st.integers(0, 99), data=st.data())
def test_class_incremental_experiences_share_no_class(n_classes, seed, data):
    experiences = data.draw(st.integers(1, n_classes))
    dataset = colours(n_train=30, n_test=14, n_classes=n_classes)
    scenario = class_incremental(dataset, Chunking(chunk_size=4), seed=seed, experiences=experiences)
    groups = classes_by_experience(scenario)
    assert sorted(label for group in groups for label in group) == list(range(n_classes))
    assert max(map(len, groups)) - min(map(len, groups)) <= 1
    assert list(scenario.experience) == sorted(scenario.experience)
    for number, chunk in zip(scenario.experience, scenario.stream, strict=True):
        assert set(chunk.labels.tolist()) <= groups[number]


def test_classes_come_in_an_order_of_the_seed():
    dataset = colours(n_train=60, n_test=60, n_classes=6)
    orders = {
        str(classes_by_experience(class_incremental(dataset, Chunking(6), seed=seed, experiences=3)))
        for seed in range(5)
    }
    assert len(orders) > 1


def test_recurring_experiences_come_back_with_new_images():
    dataset = colours(n_train=60, n_classes=4)
    scenario = recurring(dataset, Chunking(12), seed=0, experiences=2, visits=3)
    assert scenario.experience == (0, 0, 1, 1) * 3
    assert scenario.ends == (1, 3, 5, 7, 9, 11)
    assert sizes(scenario) == [5] * 12
    groups = classes_by_experience(scenario)
    assert all(set(c.labels.tolist()) <= groups[e] for e, c in zip(scenario.experience, scenario.stream, strict=True))
    origins = [experience.logging().origin_experience for experience in scenario.stream.as_avalanche()]
    assert [len(origin.dataset) for origin in origins] == [10] * 12


def test_recurring_once_and_blurred_without_width_are_class_incremental():
    dataset = colours(n_train=60, n_classes=4)
    expected = class_incremental(dataset, Chunking(12), seed=5, experiences=2)
    for scenario in (
        recurring(dataset, Chunking(12), seed=5, experiences=2, visits=1),
        blurred(dataset, Chunking(12), seed=5, experiences=2, width=0.0),
    ):
        assert all_ids(scenario) == all_ids(expected)
        assert scenario.experience == expected.experience
        assert torch.equal(scenario.group, expected.group)


@settings(max_examples=12, deadline=None)
@given(width=st.floats(0, 1), n_classes=st.integers(3, 7), seed=st.integers(0, 9))
def test_blurred_experiences_fade_linearly(width, n_classes, seed):
    n, experiences = 600, 3
    dataset = colours(n_train=n, n_test=30, n_classes=n_classes)
    scenario = blurred(dataset, Chunking(60), seed=seed, experiences=experiences, width=width)
    groups = classes_by_experience(scenario)
    of = torch.tensor([next(e for e in range(experiences) if label in groups[e]) for label in range(n_classes)])
    lengths = torch.bincount(of[dataset.train.labels]).tolist()
    boundaries = [lengths[0], lengths[0] + lengths[1]]
    stretches = [width * min(pair) for pair in pairwise(lengths)]

    def share_of_later(boundary, stretch, position):
        if abs(position - boundary) >= stretch / 2:
            return float(position > boundary)
        return (position - boundary) / stretch + 0.5

    for step, chunk in enumerate(scenario.stream):
        mixture = torch.bincount(of[chunk.labels], minlength=experiences) / len(chunk)
        shares = [scenario.truth[f"share{number}"][step] for number in range(experiences)]
        assert shares == pytest.approx(mixture.tolist())
        # The slow way: the mean over the chunk's positions of what the definition says.
        later = [
            np.mean([share_of_later(b, s, 10 * step + i + 0.5) for i in range(10)])
            for b, s in zip(boundaries, stretches, strict=True)
        ]
        assert shares == pytest.approx([1 - later[0], later[0] - later[1], later[1]], abs=0.21)
        middle = 10 * step + 5
        assert scenario.experience[step] == sum(middle >= boundary for boundary in boundaries)


def test_drift_grows_through_the_stream_and_over_the_phases_of_the_test():
    dataset = colours(n_train=100, n_validation=30, n_test=60)
    scenario = drift(dataset, Chunking(10), seed=0, experiences=5)
    assert scenario.experience == (0, 0, 1, 1, 2, 2, 3, 3, 4, 4)
    amount = np.array(scenario.truth["amount"])
    assert amount == pytest.approx((10 * np.arange(10) + 4.5) / 99)
    before = dataset.train.inputs[scenario.stream[0].sample_ids][0]
    assert torch.equal(scenario.stream[0].inputs[0], before)  # the first sample is as it was
    # Each phase of the test has 12 images, the classes in proportion, and less contrast than the one before.
    contrasts = []
    for phase in range(5):
        rows = scenario.group == phase
        assert torch.bincount(scenario.test.labels[rows]).tolist() == [4, 4, 4]
        spread = [part[rows].double().std(dim=(2, 3)).mean() for part in (scenario.test.inputs, dataset.test.inputs)]
        contrasts.append(float(spread[0] / spread[1]))
    middles = [10 ** -((phase + 0.5) / 5) for phase in range(5)]
    assert contrasts == pytest.approx(middles, rel=0.1)
    assert not torch.equal(scenario.validation.inputs, dataset.validation.inputs)


def test_drift_of_no_strength_changes_nothing():
    dataset = colours(n_train=30, n_test=15)
    for kind in ("contrast", "hue", "corruption"):
        scenario = drift(dataset, Chunking(6), seed=0, strength=0.0, kind=kind, experiences=3)
        assert torch.equal(scenario.stream.data.inputs, dataset.train.inputs)
        assert torch.equal(scenario.test.inputs, dataset.test.inputs)
        assert scenario.experience == (0, 0, 1, 1, 2, 2)


def test_drift_knows_its_kinds():
    with pytest.raises(InvalidSetting, match="expected a kind of contrast, hue or corruption, got 'blur'; change"):
        inspect.unwrap(drift)(colours(), Chunking(5), seed=0, kind="blur")


def test_a_scenario_has_a_true_label_for_each_validation_image():
    scenario = iid(colours(), Chunking(5), seed=0)
    with pytest.raises(InvalidSetting, match="expected a true label for each of 12 validation images, got 3; correct"):
        replace(scenario, validation_truth=torch.zeros(3, dtype=torch.int64))


# Images that change


def random_images(n, side=32):
    images = torch.randint(0, 256, (n, 3, side, side), generator=torch.Generator().manual_seed(n)).byte()
    images[0, :, 0] = 7  # grey, which has no hue
    images[0, :, 1] = torch.tensor([255, 0, 255])[:, None]
    return images


def test_contrast_shrinks_towards_the_mean_of_each_channel():
    images, amounts = random_images(5), torch.tensor([0.0, 0.3, 1.0, 2.0, 0.5])
    changed = drifted(images, amounts, "contrast", torch.Generator())
    assert torch.equal(changed[0], images[0])
    for image, amount, result in zip(images.numpy().astype(float), amounts.tolist(), changed.numpy(), strict=True):
        for channel, got in zip(image, result, strict=True):
            expected = channel.mean() + (channel - channel.mean()) * 10**-amount
            np.testing.assert_allclose(got, expected, atol=0.501)


def test_hue_turns_as_colorsys_does_pixel_by_pixel():
    images, amounts = random_images(6, side=8), torch.tensor([0.0, 0.25, 0.5, 1.0, 1.7, 2.0])
    changed = drifted(images, amounts, "hue", torch.Generator())
    assert torch.equal(changed[0], images[0])
    assert torch.equal(changed[5], images[5])  # a whole turn
    for image, amount, result in zip(images, amounts.tolist(), changed, strict=True):
        for pixel, got in zip(image.flatten(1).T.tolist(), result.flatten(1).T.tolist(), strict=True):
            hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
            expected = colorsys.hsv_to_rgb((hue + amount / 2) % 1, saturation, value)
            assert got == pytest.approx(expected, abs=0.502)


def test_corruption_is_noise_of_the_strength_it_names():
    images, amounts = torch.full((4, 3, 64, 64), 128, dtype=torch.uint8), torch.tensor([0.0, 0.5, 1.0, 0.5])
    changed = drifted(images, amounts, "corruption", torch.Generator().manual_seed(0))
    assert torch.equal(changed[0], images[0])
    noise = changed.double() - 128
    assert noise.mean(dim=(1, 2, 3)).tolist() == pytest.approx([0, 0, 0, 0], abs=0.8)
    assert noise.std(dim=(1, 2, 3)).tolist() == pytest.approx([0, 12.75, 25.5, 12.75], rel=0.03)
    assert not torch.equal(changed[1], changed[3])
    again = drifted(images, amounts, "corruption", torch.Generator().manual_seed(0))
    assert torch.equal(again, changed)


@pytest.mark.parametrize("kind", ["contrast", "hue", "corruption"])
def test_images_change_alike_in_any_number(kind):
    images, amounts = random_images(1030, side=4), torch.linspace(0, 3, 1030)

    def change(n):
        return drifted(images[:n], amounts[:n], kind, torch.Generator().manual_seed(0))

    whole = change(1030)
    assert whole.shape == images.shape
    assert torch.equal(whole[:1024], change(1024))
    assert drifted(images[:0], amounts[:0], kind, torch.Generator()).shape == (0, 3, 4, 4)
