"""Comparison of policies with static k%-learners that learn the same share of the stream."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from agent.errors import CheckpointError, RunError
from agent.storage.record import LifetimeRecord
from scenarios.analysis.csv_table import interval_columns
from scenarios.analysis.statistics import Interval, mean_interval


@dataclass(frozen=True)
class Mark:
    """One evaluation of a lifetime.

    Attributes:
        chunks: number of chunks seen so far.
        learned: share of the whole stream learned so far, in [0, 1].
        agent: accuracy of learner and memory on the test set, in [0, 1].
        learner: accuracy of the learner alone on the test set, in [0, 1].
    """

    chunks: int
    learned: float
    agent: float
    learner: float


@dataclass(frozen=True)
class Course:
    """The share learned and the accuracies in the course of a lifetime.

    Attributes:
        learned: share of the whole stream learned so far, in [0, 1], after each chunk.
        marks: the evaluations; the last one is at the end of the lifetime.
        gflop: total compute of the agent, in GFLOP.
    """

    learned: tuple[float, ...]
    marks: tuple[Mark, ...]
    gflop: float

    @property
    def end(self) -> Mark:
        """The evaluation at the end of the lifetime."""
        return self.marks[-1]


@dataclass(frozen=True)
class Placed:
    """A policy over seeds, compared with static k%-learners that learn the same share.

    Attributes:
        policy: its spec.
        courses: its lifetimes, one for each seed.
        learned: share of the stream learned by the end of the lifetime, in [0, 1].
        accuracy: accuracy of the agent at the end of the lifetime, in [0, 1].
        by_static: for each seed, the accuracy of a k%-learner at the share that the policy learned; see `accuracy_at`.
        static: mean of `by_static`; None if the value of any seed is None.
        difference: `accuracy` minus `static`, paired by seed; None if `static` is None.
        gflop: total compute of the agent, in GFLOP.
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
    """Policies and static k%-learners on the same streams, with the same seeds in the same order."""

    statics: dict[float, tuple[Course, ...]]
    """By k, ascending."""
    policies: tuple[Placed, ...]


def course_of(record: LifetimeRecord) -> Course:
    """Read a finished lifetime.

    Raises:
        RunError: the record is incomplete or damaged.
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
            raise ValueError("a trajectory without a final evaluation")
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
        statics: by k in percent, one course for each seed.
        policies: by spec, one course for each seed, in the same order of seeds.
        confidence: level of all intervals, in (0, 1).
    """
    placed = []
    for policy, courses in policies.items():
        by_static = tuple(
            accuracy_at(course.end.learned, {of_k[i].end.learned: of_k[i].end.agent for of_k in statics.values()})
            for i, course in enumerate(courses)
        )
        accuracies = [course.end.agent for course in courses]
        static = difference = None
        matched = [accuracy for accuracy in by_static if accuracy is not None]
        if matched and len(matched) == len(courses):
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
    """Accuracy of a k%-learner of any k, by linear interpolation between the k%-learners that were run.

    Args:
        learned: share of the stream learned, in [0, 1].
        static: the accuracies of the k%-learners that were run, by share learned.

    Returns:
        None below the smallest share and above the largest.
    """
    shares = sorted(static)
    if not shares[0] <= learned <= shares[-1]:
        return None
    return float(np.interp(learned, shares, [static[share] for share in shares]))


def mean_marks(courses: Sequence[Course]) -> tuple[Mark, ...]:
    """The means over seeds of the share learned and the accuracies at each evaluation."""
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
    """All values of the figure as plain values: shares and accuracies in [0, 1], compute in GFLOP.

    Args:
        matched: the policies and the k%-learners.
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


def matched_share_rows(matched: MatchedShares) -> list[dict[str, object]]:
    """The means over seeds and the ends of their intervals, a row for each policy."""
    rows = []
    for placed in matched.policies:
        row: dict[str, object] = {"policy": placed.policy, "n_seeds": len(placed.courses)}
        for name, interval in _intervals(placed).items():
            row |= interval_columns(name, interval)
        rows.append(row)
    return rows


def _intervals(placed: Placed) -> dict[str, Interval | None]:
    return {name: getattr(placed, name) for name in ("learned", "accuracy", "static", "difference", "gflop")}
