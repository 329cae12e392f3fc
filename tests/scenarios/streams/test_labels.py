import inspect
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import InvalidSetting
from scenarios.running.world import halved_plan
from scenarios.streams.catalog import iid
from scenarios.streams.chunking import Chunking
from scenarios.streams.labels import label_drift, noisy_labels
from tests.scenarios.worlds import colours

# Labels that change their meaning


def meanings(scenario, dataset):
    """For each experience, the label that its chunks give to each class, read off the stream."""
    found = [dict[int, int]() for _ in range(scenario.n_experiences)]
    for chunk, experience in zip(scenario.stream, scenario.experience, strict=True):
        for row, label in zip(chunk.sample_ids.tolist(), chunk.labels.tolist(), strict=True):
            own = int(dataset.train.labels[row])
            assert found[experience].setdefault(own, label) == label  # one meaning throughout an experience
    return found


@settings(max_examples=25, deadline=None)
@given(
    n_classes=st.integers(3, 12),
    experiences=st.integers(1, 5),
    share=st.floats(0.01, 0.5),
    seed=st.integers(0, 99),
)
def test_other_classes_swap_their_labels_at_each_boundary_and_keep_them(n_classes, experiences, share, seed):
    dataset = colours(n_train=40 * n_classes, n_validation=2 * n_classes, n_test=3 * n_classes, n_classes=n_classes)
    size = max(2, round(share * n_classes))
    given = {"seed": seed, "experiences": experiences, "share": share}
    if experiences > 1 and size * (experiences - 1) >= n_classes:
        with pytest.raises(InvalidSetting, match=rf"expected fewer than {n_classes} classes to .*, got {size} at each"):
            label_drift(dataset, Chunking(10), **given)
        return
    scenario = label_drift(dataset, Chunking(10), **given)
    found = meanings(scenario, dataset)
    assert found[0] == {label: label for label in range(n_classes)}
    since = dict.fromkeys(range(n_classes), 0)
    for experience in range(1, experiences):
        before, after = found[experience - 1], found[experience]
        changed = {own for own in after if after[own] != before[own]}
        assert len(changed) == size
        assert {after[own] for own in changed} == changed  # they take each other's labels
        assert all(since[own] == 0 for own in changed)
        since |= dict.fromkeys(changed, experience)
    for part, own in ((scenario.test, dataset.test), (scenario.validation, dataset.validation)):
        assert part.labels.tolist() == [found[-1][label] for label in own.labels.tolist()]
        assert part.inputs is own.inputs
    assert scenario.group.tolist() == [since[label] for label in dataset.test.labels.tolist()]
    first = [scenario.experience.index(experience) for experience in range(experiences)]
    assert scenario.shown.tolist() == [first[since[label]] for label in dataset.validation.labels.tolist()]
    for step, chunk in enumerate(scenario.stream):
        others = (chunk.labels != dataset.train.labels[chunk.sample_ids]).double().mean()
        assert scenario.truth["changed"][step] == pytest.approx(float(others))


def test_from_its_experience_on_the_label_of_a_test_image_is_true():
    dataset = colours(n_train=300, n_test=30, n_classes=10)
    scenario = label_drift(dataset, Chunking(10), seed=0)
    found = meanings(scenario, dataset)
    for own, label, group in zip(
        dataset.test.labels.tolist(), scenario.test.labels.tolist(), scenario.group.tolist(), strict=True
    ):
        assert [found[experience][own] == label for experience in range(5)] == [e >= group for e in range(5)]


def test_the_data_seed_draws_the_meanings_and_the_seed_the_order():
    dataset = colours(n_train=60, n_test=30, n_classes=10)
    one, other = (label_drift(dataset, Chunking(10), seed=seed, data_seed=7) for seed in (1, 2))
    assert torch.equal(one.test.labels, other.test.labels)
    assert torch.equal(one.group, other.group)
    assert not torch.equal(one.stream[0].sample_ids, other.stream[0].sample_ids)
    assert not torch.equal(one.test.labels, label_drift(dataset, Chunking(10), seed=1, data_seed=8).test.labels)


def test_without_boundaries_labels_stay():
    dataset = colours()
    scenario = label_drift(dataset, Chunking(8), seed=5, experiences=1)
    assert torch.equal(scenario.test.labels, dataset.test.labels)
    assert scenario.truth == {"changed": (0.0,) * 8}
    ids = [chunk.sample_ids.tolist() for chunk in scenario.stream]
    assert ids == [chunk.sample_ids.tolist() for chunk in iid(dataset, Chunking(8), seed=5).stream]


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"share": 0.0}, "expected a share above 0, at most 1, got 0; change the scenario's share"),
        ({"share": math.nan}, "expected a share above 0, at most 1, got nan"),
        ({"share": 1.5}, "expected a share above 0, at most 1, got 1.5"),
        ({"experiences": 0}, "expected at least 1 experience, got 0; change the scenario's experiences"),
        (
            {"experiences": 6},
            "expected fewer than 10 classes to change their labels, got 2 at each of 5 bound.*; lower",
        ),
        (
            {"experiences": 2, "share": 1.0},
            "expected fewer than 10 classes to change their labels, got 10 at each of 1",
        ),
    ],
)
def test_drifts_outside_their_range(own, message):
    with pytest.raises(InvalidSetting, match=message):
        label_drift(colours(n_classes=10), Chunking(10), seed=0, **own)


# Labels that are wrong


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 80),
    n_classes=st.integers(2, 6),
    rate=st.floats(0, 1),
    kind=st.sampled_from(["symmetric", "pairs"]),
    seed=st.integers(0, 99),
)
def test_a_share_of_the_labels_is_wrong_to_the_sample(n, n_classes, rate, kind, seed):
    dataset = colours(n_train=n, n_validation=23, n_test=9, n_classes=n_classes)
    scenario = noisy_labels(dataset, Chunking(chunk_size=7), seed=seed, rate=rate, kind=kind)
    n_wrong = 0
    for step, chunk in enumerate(scenario.stream):
        own = dataset.train.labels[chunk.sample_ids].tolist()
        wrong = [label != true for label, true in zip(chunk.labels.tolist(), own, strict=True)]
        n_wrong += sum(wrong)
        assert scenario.truth["wrong"][step] == pytest.approx(sum(wrong) / len(chunk))
        if kind == "pairs":
            for label, true in zip(chunk.labels.tolist(), own, strict=True):
                assert label in (true, (true + 1) % n_classes)
    assert n_wrong == round(rate * n)
    labels = scenario.stream.data.labels
    assert labels.min() >= 0
    assert labels.max() < n_classes
    for label in range(n_classes):  # the classes are in proportion
        of_class = (dataset.train.labels == label).sum()
        assert int((labels != dataset.train.labels)[dataset.train.labels == label].sum()) == pytest.approx(
            rate * float(of_class), abs=2
        )
    assert int((scenario.validation.labels != dataset.validation.labels).sum()) == round(rate * 23)
    assert torch.equal(scenario.validation_truth, dataset.validation.labels)
    assert torch.equal(scenario.test.labels, dataset.test.labels)


def test_the_share_is_of_the_images_that_are_used():
    dataset = colours(n_train=90, n_classes=3)
    scenario = noisy_labels(dataset, Chunking(4, 5), seed=0, rate=0.35)
    wrong = [
        int((chunk.labels != dataset.train.labels[chunk.sample_ids]).sum()) for chunk in scenario.stream
    ]  # of 20 images
    assert sum(wrong) == 7


def test_symmetric_noise_takes_the_other_classes_alike():
    dataset = colours(n_train=3000, n_classes=5)
    labels = noisy_labels(dataset, Chunking(10), seed=0, rate=0.9).stream.data.labels
    for label in range(5):
        counts = torch.bincount(labels[dataset.train.labels == label], minlength=5).tolist()
        assert counts.pop(label) == pytest.approx(60, abs=2)
        assert counts == pytest.approx([135] * 4, abs=50)


def test_images_and_their_order_are_those_of_iid():
    dataset = colours()
    scenario, without = noisy_labels(dataset, Chunking(8), seed=5), iid(dataset, Chunking(8), seed=5)
    for chunk, expected in zip(scenario.stream, without.stream, strict=True):
        assert torch.equal(chunk.sample_ids, expected.sample_ids)
        assert torch.equal(chunk.inputs, expected.inputs)
    assert scenario.stream.data.inputs.data_ptr() == dataset.train.inputs.data_ptr()  # no copy
    again = noisy_labels(dataset, Chunking(8), seed=6, data_seed=5)
    assert torch.equal(again.stream.data.labels, scenario.stream.data.labels)
    assert not torch.equal(again.stream[0].sample_ids, scenario.stream[0].sample_ids)


def test_what_is_measured_on_validation_images_is_by_true_labels():
    dataset = colours(n_validation=13)
    scenario = noisy_labels(dataset, Chunking(8), seed=0, rate=0.9)
    plan = halved_plan(scenario)
    assert torch.equal(plan.validation.labels, scenario.validation.labels[::2])  # fits the mixture
    assert not torch.equal(plan.validation.labels, dataset.validation.labels[::2])
    assert torch.equal(plan.test.labels, dataset.validation.labels[1::2])
    assert torch.equal(plan.test.inputs, dataset.validation.inputs[1::2])
    assert torch.equal(halved_plan(iid(dataset, Chunking(8), seed=0)).test.labels, dataset.validation.labels[1::2])


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"rate": -0.1}, "expected a rate of wrong labels from 0 to 1, got -0.1; change the scenario's rate"),
        ({"rate": 1.1}, "expected a rate of wrong labels from 0 to 1, got 1.1"),
        ({"rate": math.nan}, "expected a rate of wrong labels from 0 to 1, got nan"),
        ({"kind": "triples"}, "expected a kind of symmetric or pairs, got 'triples'; change the scenario's kind"),
    ],
)
def test_noise_outside_its_range(own, message):
    with pytest.raises(InvalidSetting, match=message):
        inspect.unwrap(noisy_labels)(colours(), Chunking(8), seed=0, **own)


def test_a_single_class_has_no_wrong_label():
    with pytest.raises(InvalidSetting, match="expected 2 or more classes for wrong labels, got 1; choose another --d"):
        noisy_labels(colours(n_classes=1), Chunking(8), seed=0)
