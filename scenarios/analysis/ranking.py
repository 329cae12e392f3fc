"""Memories of the same learners ranked by accuracy: all of them, and those within a size."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scenarios.analysis.statistics import Interval, Values, mean_interval, paired_differences


@dataclass(frozen=True)
class Ranking:
    """The memory of highest mean accuracy, and by how much the others are behind it.

    Attributes:
        best: its label; the first given of several equal ones.
        behind: for every other label, in the order of mean accuracy: accuracy of the best minus its own, paired by
            seed, with the t interval. The intervals are not corrected for the fact that the same seeds chose the best,
            whose lead is therefore overestimated.
    """

    best: str
    behind: dict[str, Interval]

    @property
    def next(self) -> str | None:
        """The label of the second best; None if there is none."""
        return next(iter(self.behind), None)

    @property
    def equals(self) -> list[str]:
        """The labels whose interval does not tell them from the best, with a single seed all."""
        return [label for label, interval in self.behind.items() if interval.low is None or interval.low <= 0]


def rank(accuracies: Mapping[str, Values], confidence: float = 0.95) -> Ranking:
    """Rank memories by mean accuracy.

    Args:
        accuracies: by label, one for each seed, in the same order of seeds.
        confidence: level of the intervals, in (0, 1).

    Raises:
        ValueError: no memories, no seeds, or an accuracy that is not finite.
        InvalidSetting: confidence outside (0, 1).
    """
    samples = {label: np.asarray(values, dtype=np.float64) for label, values in accuracies.items()}
    if not samples:
        raise ValueError("expected at least one memory, got none")
    best, *others = sorted(samples, key=lambda label: -samples[label].mean())  # stable: equal ones stay in their order
    differences = {label: paired_differences(samples[best], samples[label]) for label in others}
    return Ranking(best, {label: mean_interval(values, confidence) for label, values in differences.items()})


def best_within(sizes: Mapping[str, float], accuracies: Mapping[str, float]) -> list[tuple[float, str]]:
    """The most accurate memory within each limit of a size, such as bytes or FLOPs.

    Args:
        sizes: by label.
        accuracies: mean accuracies by label.

    Returns:
        The limits at which another memory becomes the best, in ascending order, each with its label; of memories of
        one size and accuracy the first given.
    """
    found: list[tuple[float, str]] = []
    for label in sorted(sizes, key=lambda label: (sizes[label], -accuracies[label])):
        if not found or accuracies[label] > accuracies[found[-1][1]]:
            found.append((sizes[label], label))
    return found
