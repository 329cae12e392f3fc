"""Policies beside static k%-learners: what share of the stream they learn, and how accurate they become for it."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from agent.errors import CheckpointError, RunError
from agent.storage.record import LifetimeRecord
from scenarios.analysis.statistics import Interval, mean_interval


@dataclass(frozen=True)
class Mark:
    """A lifetime at an examination.

    Attributes:
        chunks: met so far.
        learned: share of the whole stream learned so far, in [0, 1].
        agent: accuracy of learner and memory on the test set, in [0, 1].
        learner: accuracy of the learner alone, likewise.
    """

    chunks: int
    learned: float
    agent: float
    learner: float


@dataclass(frozen=True)
class Course:
    """What a lifetime went through.

    Attributes:
        learned: share of the whole stream learned so far, in [0, 1], after each chunk.
        marks: the examinations; the last is at the end of life.
        gflop: what the agent computed in all, in GFLOP.
    """

    learned: tuple[float, ...]
    marks: tuple[Mark, ...]
    gflop: float

    @property
    def end(self) -> Mark:
        """At the end of life."""
        return self.marks[-1]


@dataclass(frozen=True)
class Placed:
    """A policy over seeds, and the static k%-learners that learn as much as it does.

    Attributes:
        policy: as specified.
        courses: its lifetimes, one a seed.
        learned: share of the stream learned in all, in [0, 1].
        accuracy: of the agent at the end of life.
        by_static: by seed, accuracy of a k%-learner at the share that the policy learned; see `accuracy_at`.
        static: their mean; None where one of them is.
        difference: `accuracy` less `static`, paired by seed; None likewise.
        gflop: what the agent computed in all, in GFLOP.
    """

    policy: str
    courses: tuple[Course, ...]
    learned: Interval
    accuracy: Interval
    by_static: tuple[float | None, ...]
    static: Interval | None
    difference: Interval | None
    gflop: Interval


@dataclass(frozen=True)
class MatchedShares:
    """Policies and the static k%-learners that lived the same streams, with the same seeds in the same order."""

    statics: dict[float, tuple[Course, ...]]
    """By k, ascending."""
    policies: tuple[Placed, ...]


def course_of(record: LifetimeRecord) -> Course:
    """Read a finished lifetime.

    Raises:
        RunError: its record is not whole.
    """
    try:
        summary = record.summary() or {}
        steps = record.steps(summary["step"] + 1)
        n_samples = steps[-1].samples
        marks = tuple(
            Mark(step.step + 1, step.learned / n_samples, step.accuracy.agent, step.accuracy.learner)
            for step in steps
            if step.accuracy
        )
        if not marks or marks[-1].chunks != len(steps):
            raise ValueError("a trajectory without a last examination")
        return Course(tuple(step.learned / n_samples for step in steps), marks, steps[-1].spent_gflop)
    except (CheckpointError, KeyError, TypeError, ValueError, ZeroDivisionError, IndexError) as error:
        raise RunError(
            f"expected a whole lifetime in {record.path}, got: {str(error) or type(error).__name__}; "
            "--force starts anew"
        ) from error


def place(
    statics: Mapping[float, Sequence[Course]], policies: Mapping[str, Sequence[Course]], confidence: float
) -> MatchedShares:
    """Compare policies with static k%-learners at equal shares learned, seed by seed.

    Args:
        statics: by k in percent, one course a seed.
        policies: by specification, one course a seed, in the same order of seeds.
        confidence: level of all intervals, in (0, 1).
    """
    placed = []
    for policy, courses in policies.items():
        by_static = tuple(
            accuracy_at(course.end.learned, {lived[i].end.learned: lived[i].end.agent for lived in statics.values()})
            for i, course in enumerate(courses)
        )
        accuracies = [course.end.agent for course in courses]
        static, difference = None, None
        if (matched := [each for each in by_static if each is not None]) and len(matched) == len(courses):
            static = mean_interval(matched, confidence)
            difference = mean_interval(np.subtract(accuracies, matched), confidence)
        placed.append(
            Placed(
                policy,
                tuple(courses),
                mean_interval([course.end.learned for course in courses], confidence),
                mean_interval(accuracies, confidence),
                by_static,
                static,
                difference,
                mean_interval([course.gflop for course in courses], confidence),
            )
        )
    return MatchedShares({k: tuple(statics[k]) for k in sorted(statics)}, tuple(placed))


def accuracy_at(learned: float, static: Mapping[float, float]) -> float | None:
    """Accuracy of a k%-learner of any k, linear between the two neighbours that were lived.

    Args:
        learned: share of the stream learned, in [0, 1].
        static: accuracy by share learned.

    Returns:
        None below the least k and above the greatest, where nothing is known.
    """
    shares = sorted(static)
    if not shares[0] <= learned <= shares[-1]:
        return None
    return float(np.interp(learned, shares, [static[share] for share in shares]))


def mean_marks(courses: Sequence[Course]) -> tuple[Mark, ...]:
    """The means over seeds at each examination, of both the share learned and the accuracies."""
    return tuple(
        Mark(
            marks[0].chunks,
            *(float(np.mean([getattr(mark, name) for mark in marks])) for name in ("learned", "agent", "learner")),
        )
        for marks in zip(*(course.marks for course in courses), strict=True)
    )


def mean_learned(courses: Sequence[Course]) -> tuple[float, ...]:
    """The mean over seeds of the share of the stream learned, in [0, 1], after each chunk."""
    return tuple(np.mean([course.learned for course in courses], axis=0).tolist())


def matched_share_json(matched: MatchedShares, seeds: Sequence[int]) -> dict[str, Any]:
    """Everything that is drawn, as plain values: shares and accuracies in [0, 1], work in GFLOP.

    Args:
        matched: what to write.
        seeds: in the order of the courses.
    """
    statics = [
        {"k": k, "by_seed": [{"seed": seed, **asdict(c.end)} for seed, c in zip(seeds, courses, strict=True)]}
        for k, courses in matched.statics.items()
    ]
    policies = [
        {
            "policy": placed.policy,
            **{name: asdict(interval) if interval else None for name, interval in _intervals(placed).items()},
            "by_seed": [
                {
                    "seed": seed,
                    "static": static,
                    "gflop": course.gflop,
                    "learned_by_chunk": course.learned,
                    "evaluations": [asdict(mark) for mark in course.marks],
                }
                for seed, course, static in zip(seeds, placed.courses, placed.by_static, strict=True)
            ],
        }
        for placed in matched.policies
    ]
    return {"statics": statics, "policies": policies}


def matched_share_csv(matched: MatchedShares) -> str:
    """One line for each policy: means over seeds, and the ends of their intervals."""
    rows = []
    for placed in matched.policies:
        row: dict[str, Any] = {"policy": placed.policy, "n_seeds": len(placed.courses)}
        for name, interval in _intervals(placed).items():
            estimate, low, high = (interval.estimate, interval.low, interval.high) if interval else (None, None, None)
            row |= {name: estimate, f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _intervals(placed: Placed) -> dict[str, Interval | None]:
    return {
        "learned": placed.learned,
        "accuracy": placed.accuracy,
        "static": placed.static,
        "difference": placed.difference,
        "gflop": placed.gflop,
    }
