"""What a memory rescues: the test images that the learner alone gets wrong and the agent right, by groups of images.

An image is rescued if the learner is wrong and the agent, which mixes learner and memory, is right; it is lost if the
learner is right and the agent wrong. Net, rescued minus lost, is z - x restricted to the group.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int64

from scenarios.analysis.statistics import Interval, mean_interval

N_BINS = 10
"""Bins of the learner's margin, of equal width: [0, 0.1), [0.1, 0.2), ..., [0.9, 1]."""

Kind = Literal["all", "lowest third", "margin", "class"]


class Group(NamedTuple):
    """A group of test images.

    Attributes:
        kind: all images; the third with the lowest margins of the learner; a bin of its margin; or a class.
        name: of the bin or the class; empty for the others.
    """

    kind: Kind
    name: str = ""


def groups_of(class_names: Sequence[str]) -> tuple[Group, ...]:
    """All groups, in the order of the counts."""
    bins = [f"{i / N_BINS:.1f} to {(i + 1) / N_BINS:.1f}" for i in range(N_BINS)]
    margins, classes = [Group("margin", name) for name in bins], [Group("class", name) for name in class_names]
    return Group("all"), Group("lowest third"), *margins, *classes


@dataclass(frozen=True)
class RescueCounts:
    """Numbers of test images of one lifetime, by group."""

    n: Int64[np.ndarray, " groups"]
    """In the group."""
    rescued: Int64[np.ndarray, " groups"]
    lost: Int64[np.ndarray, " groups"]
    memory_right: Int64[np.ndarray, " groups"] | None
    """Of which the learner is wrong and the memory right; None if the memory was empty."""


def count_rescues(
    labels: Int64[np.ndarray, " n"],
    learner: Float[np.ndarray, "n classes"],
    agent: Float[np.ndarray, "n classes"],
    memory: Float[np.ndarray, "n classes"] | None,
) -> RescueCounts:
    """Count rescued and lost images in each group of `groups_of`.

    Args:
        labels: classes of the images, at least one image.
        learner: class probabilities of the learner alone.
        agent: those of learner and memory, mixed.
        memory: those of the memory alone; None if it was empty.
    """
    of_margin = margins(learner)
    in_third = np.zeros(len(labels), dtype=bool)
    in_third[np.argsort(of_margin, kind="stable")[: max(1, round(len(labels) / 3))]] = True
    bins, n_classes = margin_bins(of_margin), learner.shape[1]

    def tally(chosen: Bool[np.ndarray, " n"]) -> Int64[np.ndarray, " groups"]:
        by_bin = np.bincount(bins[chosen], minlength=N_BINS)
        by_class = np.bincount(labels[chosen], minlength=n_classes)
        return np.concatenate([[chosen.sum(), (chosen & in_third).sum()], by_bin, by_class]).astype(np.int64)

    learner_right, agent_right = _right(learner, labels), _right(agent, labels)
    return RescueCounts(
        tally(np.ones(len(labels), dtype=bool)),
        tally(~learner_right & agent_right),
        tally(learner_right & ~agent_right),
        None if memory is None else tally(~learner_right & _right(memory, labels)),
    )


def margins(probabilities: Float[np.ndarray, "n classes"]) -> Float[np.ndarray, " n"]:
    """The probability of the first class minus that of the second, for each row; of one class, its probability."""
    exact = probabilities.astype(np.float64)
    if exact.shape[1] == 1:
        return exact[:, 0]
    second, first = np.partition(exact, -2, axis=1)[:, -2:].T
    return first - second


def margin_bins(of_margin: Float[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """The bin of each margin, from 0; a margin at an edge belongs to the bin above."""
    return np.searchsorted(np.arange(1, N_BINS) / N_BINS, of_margin, side="right").astype(np.int64)


def _right(probabilities: Float[np.ndarray, "n classes"], labels: Int64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    return probabilities.argmax(axis=1) == labels


@dataclass(frozen=True)
class GroupRescues:
    """Rescues in a group of test images: means over the seeds that have images in it, as shares of these images."""

    group: Group
    seeds: int
    """That have an image in the group."""
    n: float
    """Images in the group, the mean over all seeds."""
    share: Interval
    """Of all test images, those in the group; over all seeds."""
    rescued: Interval | None
    """None, like the others, if no seed has an image in the group."""
    lost: Interval | None
    net: Interval | None
    memory_right: Interval | None
    """Images of which the learner is wrong and the memory right, over the seeds whose memory was not empty: the most
    that a choice between the answers of the two could rescue."""


def rescues_by_group(
    counts: Sequence[RescueCounts], class_names: Sequence[str], confidence: float = 0.95
) -> tuple[GroupRescues, ...]:
    """Statistics of each group over seeds.

    Args:
        counts: of each seed, at least one.
        class_names: by label.
        confidence: level of every interval, in (0, 1).
    """
    n = np.stack([each.n for each in counts])
    found = []
    for i, group in enumerate(groups_of(class_names)):
        there = [each for each in counts if each.n[i]]

        def mean(values: Sequence[float]) -> Interval | None:
            return mean_interval(values, confidence) if values else None

        memories = [each.memory_right[i] / each.n[i] for each in there if each.memory_right is not None]
        found.append(
            GroupRescues(
                group,
                len(there),
                float(n[:, i].mean()),
                mean_interval(n[:, i] / n[:, 0], confidence),
                mean([each.rescued[i] / each.n[i] for each in there]),
                mean([each.lost[i] / each.n[i] for each in there]),
                mean([(each.rescued[i] - each.lost[i]) / each.n[i] for each in there]),
                mean(memories),
            )
        )
    return tuple(found)


@dataclass(frozen=True)
class RescueSeries:
    """The rescues of the same lifetime under several seeds."""

    label: str
    """Of the memory, schedule or policy."""
    k: float | None
    """Percent of the stream that was learned, of a k%-learner."""
    groups: tuple[GroupRescues, ...]

    def of(self, kind: Kind) -> tuple[GroupRescues, ...]:
        """The groups of a kind."""
        return tuple(each for each in self.groups if each.group.kind == kind)


@dataclass(frozen=True)
class Rescues:
    """What memories rescue in the lifetimes of a run."""

    title: str
    """Of tables and figures."""
    by: Literal["memory", "schedule", "policy"]
    """What the labels of the series name."""
    seeds: tuple[int, ...]
    confidence: float
    """Level of every interval, in (0, 1)."""
    series: tuple[RescueSeries, ...]
    """At least one; those of a label after each other."""
