"""The figure of what memories rescue: what it shows, of how much, and that no text covers another."""

import numpy as np
import pytest

from scenarios.analysis.rescues import Rescues, RescueSeries, count_rescues, rescues_by_group
from scenarios.figures.rescues import MOST_CLASSES, MOST_ROWS, MOST_SERIES, rescues_figure
from tests.scenarios.figures.legible import assert_legible, each_of, texts

LONG = "a memory with a name that goes on and on: capacity:1000 | eviction:herding | transform:pca:dim=64 | pool:true"


def rescues(by="memory", labels=("cache",), ks=(None,), seeds=3, names=("cat", "dog", "eel"), n=400):
    """Made-up lifetimes, whose memory helps."""
    series = []
    for i, (label, k) in enumerate((label, k) for label in labels for k in ks):
        counts = []
        for seed in range(seeds):
            generator = np.random.default_rng(100 * i + seed)
            labels_of = generator.integers(0, len(names), n)
            truth = np.eye(len(names))[labels_of]
            parts = [
                generator.dirichlet(np.full(len(names), 0.7), n) + 3 / len(names) * each * truth
                for each in (0.2, 0.5, 0.4)
            ]
            counts.append(count_rescues(labels_of, *(part / part.sum(1, keepdims=True) for part in parts)))
        series.append(RescueSeries(label, k, rescues_by_group(counts, names)))
    return Rescues("data, learner", by, tuple(range(seeds)), 0.95, tuple(series))


KS = tuple(range(10, 100, 10))
CASES = {
    "a lifetime": rescues("policy", ("static:k=20",), seeds=1),
    "a hundred classes": rescues(ks=(10, 50), names=[f"a class of name {i}" for i in range(100)], n=2000),
    "schedules": rescues("schedule", ("static:k=20", "loss", "a dollar $ and another $")),
    "nine k's, two memories": rescues(labels=("cache", LONG), ks=KS, names=[f"class {i}" for i in range(10)]),
    "one k, several seeds": rescues(ks=(20,)),
    "two seeds, two classes": rescues(ks=KS, seeds=2, names=("no", "yes")),
    "one class": rescues("policy", ("loss",), seeds=1, names=("all",)),
    "many of everything": rescues(labels=[f"memory {i}" for i in range(7)], ks=range(5, 100, 5), seeds=2, n=60),
}


@pytest.mark.parametrize("case", each_of(CASES))
def test_no_text_covers_another_or_leaves_the_figure(case):
    assert_legible(rescues_figure(case))


@pytest.mark.parametrize("case", each_of(CASES))
def test_axes_have_units_and_room_for_every_mean(case):
    left, right, below = rescues_figure(case).axes[:3]
    assert left.get_ylabel() == "points of all test images of the class"
    assert right.get_ylabel() == "points of the images of that margin"
    assert below.get_ylabel() == "% of all\nimages"
    assert below.get_xlabel() == "learner's margin: probability of its first class minus that of its second"
    for axes in (left, right):
        low, high = axes.get_ylim()
        assert low < 0 < high
        for bar in axes.patches:
            assert np.isnan(bar.get_height()) or low < bar.get_y() + bar.get_height() < high
    assert below.get_ylim()[0] == 0


def test_nets_of_classes_are_drawn_where_they_are():
    case = CASES["a lifetime"]
    left = rescues_figure(case).axes[0]
    assert [label.get_text() for label in left.get_xticklabels()] == ["cat", "dog", "eel"]
    [markers] = [line for line in left.lines if line.get_marker() == "o"]
    nets = [100 * each.net.estimate for each in case.series[0].of("class")]
    assert list(markers.get_ydata()) == pytest.approx(nets)
    heights = [bar.get_height() for bar in left.patches]
    rescued, lost = (
        [getattr(each, name).estimate for each in case.series[0].of("class")] for name in ("rescued", "lost")
    )
    assert heights == pytest.approx([*(100 * value for value in rescued), *(-100 * value for value in lost)])


def test_of_many_classes_the_highest_and_lowest_are_drawn_and_the_title_says_so():
    case = CASES["a hundred classes"]
    left = rescues_figure(case).axes[0]
    shown = [label.get_text() for label in left.get_xticklabels()]
    assert len(shown) == MOST_CLASSES
    assert "the 10 classes of highest and the 10 of lowest net, of 100" in left.get_title(loc="left")
    nets = [np.mean([series.of("class")[i].net.estimate for series in case.series]) for i in range(100)]
    order = np.argsort(-np.array(nets), kind="stable")
    names = [f"a class of name {i}" for i in order]
    assert [(text[:10], text[-2:]) for text in shown] == [
        (name[:10], name[-2:]) for name in [*names[:10], *names[-10:]]
    ]
    assert len({f"{net:.9f}" for net in nets}) > 20


@pytest.mark.slow
def test_of_many_memories_and_k_s_some_are_drawn_and_the_title_says_so():
    figure = rescues_figure(CASES["many of everything"])
    assert len(figure.axes) == 3 * MOST_ROWS
    said = " ".join(figure.get_suptitle().split())
    assert f"the first {MOST_ROWS} of 7 memories" in said
    assert f"{MOST_SERIES} of 19 k's" in said
    entries = [text for text, _ in texts(figure) if text.startswith("k = ")]
    assert (len(entries), entries[0], entries[-1]) == (MOST_SERIES, "k = 5%", "k = 95%")
