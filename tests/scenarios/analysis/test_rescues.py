"""Counting of rescued and lost images, against a loop over them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.analysis.rescues import (
    N_BINS,
    RescueCounts,
    count_rescues,
    groups_of,
    margin_bins,
    margins,
    rescues_by_group,
)


def looped(labels, learner, agent, memory):
    """The same counts, image by image."""
    n_classes = len(learner[0])
    margin = [
        float(row[0]) if n_classes == 1 else sorted(map(float, row))[-1] - sorted(map(float, row))[-2]
        for row in learner
    ]
    third = sorted(range(len(labels)), key=lambda i: (margin[i], i))[: max(1, round(len(labels) / 3))]
    counts = {name: [0] * (2 + N_BINS + n_classes) for name in ("n", "rescued", "lost", "memory_right")}
    for i, label in enumerate(labels):
        by_bin = max(number for number in range(N_BINS) if margin[i] >= number / 10)
        mine = [0, 2 + by_bin, 2 + N_BINS + label] + ([1] if i in third else [])
        right = {
            name: None if part is None else max(range(n_classes), key=lambda c, row=part[i]: (row[c], -c)) == label
            for name, part in (("learner", learner), ("agent", agent), ("memory", memory))
        }
        for group in mine:
            counts["n"][group] += 1
            counts["rescued"][group] += not right["learner"] and right["agent"]
            counts["lost"][group] += right["learner"] and not right["agent"]
            counts["memory_right"][group] += not right["learner"] and bool(right["memory"])
    return counts


@st.composite
def worlds(draw):
    """Labels and predictions with ties, margins at the edges of bins, and perhaps an empty memory."""
    n, n_classes = draw(st.integers(1, 30)), draw(st.integers(1, 4))
    tenth = st.integers(0, 10).map(lambda number: number / 10)
    rows = st.lists(st.lists(tenth, min_size=n_classes, max_size=n_classes), min_size=n, max_size=n)
    labels = draw(st.lists(st.integers(0, n_classes - 1), min_size=n, max_size=n))
    parts = [np.array(draw(rows), np.float32) for _ in range(3)]
    return np.array(labels), parts[0], parts[1], parts[2] if draw(st.booleans()) else None


@settings(max_examples=40, deadline=None)
@given(worlds())
def test_counts_are_those_of_a_loop_over_images(world):
    found, wanted = count_rescues(*world), looped(*world)
    assert found.n.tolist() == wanted["n"]
    assert found.rescued.tolist() == wanted["rescued"]
    assert found.lost.tolist() == wanted["lost"]
    if world[3] is None:
        assert found.memory_right is None
    else:
        assert found.memory_right.tolist() == wanted["memory_right"]


@settings(max_examples=20, deadline=None)
@given(worlds())
def test_net_is_the_difference_of_accuracies_in_every_group(world):
    labels, learner, agent, _ = world
    found = count_rescues(*world)
    learner_right, agent_right = (part.argmax(1) == labels for part in (learner, agent))
    assert found.rescued[0] - found.lost[0] == agent_right.sum() - learner_right.sum()
    for number in range(learner.shape[1]):
        of_class = labels == number
        net = found.rescued[2 + N_BINS + number] - found.lost[2 + N_BINS + number]
        assert net == agent_right[of_class].sum() - learner_right[of_class].sum()
    assert found.rescued[2 : 2 + N_BINS].sum() == found.rescued[2 + N_BINS :].sum() == found.rescued[0]


def test_bins_are_closed_below_and_the_last_one_above():
    assert margin_bins(np.array([0.0, 0.0999, 0.1, 0.3, 0.7, 0.9, 1.0])).tolist() == [0, 0, 1, 3, 7, 9, 9]
    assert margins(np.array([[0.25, 0.5, 0.25], [0.5, 0.5, 0.0]], np.float32)).tolist() == [0.25, 0.0]
    names = [group.name for group in groups_of(["cat"]) if group.kind == "margin"]
    assert (names[0], names[-1]) == ("0.0 to 0.1", "0.9 to 1.0")


def counts(n, rescued, lost, memory_right=True):
    """Of a world of one class, all images with a margin in the last bin."""
    of = [np.array([value, value, *[0] * (N_BINS - 1), value, value]) for value in (n, rescued, lost)]
    return RescueCounts(*of, of[1] if memory_right else None)


def test_means_are_over_the_seeds_that_have_images_in_the_group():
    found = {each.group: each for each in rescues_by_group([counts(10, 4, 1), counts(20, 4, 0)], ["cat"])}
    whole, empty = found["all", ""], found["margin", "0.0 to 0.1"]
    assert whole.net.estimate == pytest.approx((0.3 + 0.2) / 2)
    assert (whole.seeds, whole.n, whole.share.estimate) == (2, 15, 1)
    assert whole.net.low < 0.2 < 0.3 < whole.net.high
    assert (empty.seeds, empty.n, empty.share.estimate) == (0, 0, 0)
    assert empty.rescued is empty.lost is empty.net is empty.memory_right is None


def test_a_seed_has_no_interval_and_an_empty_memory_is_never_right():
    [whole, *_] = rescues_by_group([counts(10, 0, 0, memory_right=False)], ["cat"])
    assert (whole.net.estimate, whole.net.low) == (0, None)
    assert whole.memory_right is None
    [whole, *_] = rescues_by_group([counts(10, 2, 0), counts(10, 0, 0, memory_right=False)], ["cat"])
    assert whole.memory_right.estimate == 0.2
