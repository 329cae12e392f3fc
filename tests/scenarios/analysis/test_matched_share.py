"""Policies among k%-learners: what is read, and how they are compared at equal shares learned."""

import csv
import io
import json
import math
from dataclasses import astuple

import numpy as np
import pytest

from agent.errors import RunError
from agent.storage.record import LifetimeRecord
from scenarios.analysis.csv_table import csv_table
from scenarios.analysis.matched_share import (
    Course,
    Mark,
    accuracy_at,
    course_of,
    matched_share_json,
    matched_share_rows,
    mean_marks,
    place,
)
from scenarios.analysis.statistics import mean_interval


def course(learned, agent, learner=0.1, gflop=5.0):
    return Course(
        (learned / 2, learned), (Mark(1, learned / 2, agent / 2, learner / 2), Mark(2, learned, agent, learner)), gflop
    )


def slowly(at, static):
    """Between the neighbours, found by looking at all pairs."""
    for left in static:
        for right in static:
            between = [share for share in static if left < share < right]
            if left <= at <= right and left != right and not between:
                return static[left] + (static[right] - static[left]) * (at - left) / (right - left)
    return static.get(at)


def test_interpolation_is_that_of_slow_code():
    generator = np.random.default_rng(0)
    for n in range(1, 8):
        static = dict(zip(generator.permutation(20)[:n] / 20, generator.random(n), strict=True))
        for at in [*generator.random(20), *static, 0.0, 1.0]:
            expected = slowly(at, static)
            found = accuracy_at(at, static)
            assert found is expected is None or math.isclose(found, expected, rel_tol=1e-12)


def test_at_a_k_that_was_lived_the_accuracy_is_its_own_and_outside_nothing_is_known():
    static = {0.1: 0.3, 0.7: 0.1 + 0.2, 1.0: 0.9}
    assert [accuracy_at(share, static) for share in static] == list(static.values())
    assert accuracy_at(0.0999, static) is None
    assert accuracy_at(1.0001, static) is None


STATICS = {20: [course(0.2, 0.4), course(0.2, 0.5)], 100: [course(1.0, 0.8), course(1.0, 0.7)]}


def test_the_lead_is_paired_by_seed():
    policy = [course(0.6, 0.65, gflop=3), course(0.2, 0.5, gflop=4)]
    [placed] = place(STATICS, {"loss": policy}, 0.9).policies
    assert placed.by_static == pytest.approx((0.6, 0.5))
    assert placed.static == mean_interval(placed.by_static, 0.9)
    assert placed.difference.estimate == pytest.approx(0.025)
    assert placed.difference == mean_interval([0.65 - placed.by_static[0], 0.0], 0.9)
    assert (placed.learned.estimate, placed.gflop.estimate) == (0.4, 3.5)


def test_a_seed_that_learned_less_than_every_static_learner_leaves_no_lead():
    [placed] = place(STATICS, {"loss": [course(0.6, 0.65), course(0.1, 0.5)]}, 0.95).policies
    assert placed.by_static == (pytest.approx(0.6), None)
    assert placed.static is placed.difference is None


def test_means_over_seeds_are_of_both_coordinates():
    half, end = mean_marks([course(0.2, 0.4, 0.0), course(0.6, 0.8, 0.2)])
    assert astuple(half) == pytest.approx((1, 0.2, 0.3, 0.05))
    assert astuple(end) == pytest.approx((2, 0.4, 0.6, 0.1))


def test_json_and_csv_hold_what_is_drawn():
    matched = place(STATICS, {"loss": [course(0.6, 0.65), course(0.1, 0.5)], "tariff": STATICS[20]}, 0.95)
    found = json.loads(json.dumps(matched_share_json(matched, [7, 8]), allow_nan=False))
    assert [(each["k"], each["by_seed"][1]["seed"], each["by_seed"][1]["agent"]) for each in found["statics"]] == [
        (20, 8, 0.5),
        (100, 8, 0.7),
    ]
    loss, tariff = found["policies"]
    assert (loss["policy"], loss["difference"], tariff["difference"]["estimate"]) == ("loss", None, 0.0)
    assert loss["by_seed"][0]["learned_by_chunk"] == [0.3, 0.6]
    assert loss["by_seed"][0]["evaluations"][-1] == {"chunks": 2, "learned": 0.6, "agent": 0.65, "learner": 0.1}
    rows = list(csv.DictReader(io.StringIO(csv_table(matched_share_rows(matched)))))
    assert [(row["policy"], row["n_seeds"], row["difference"]) for row in rows] == [
        ("loss", "2", ""),
        ("tariff", "2", "0.0"),
    ]
    assert float(rows[0]["accuracy_low"]) == loss["accuracy"]["low"]


@pytest.mark.parametrize("lines", ["", "{}\n", "odd\n"])
def test_a_record_that_is_not_whole_is_an_error(tmp_path, lines):
    (tmp_path / "summary.json").write_text('{"step": 0, "accuracy": {}, "work": {}}')
    (tmp_path / "trajectory.jsonl").write_text(lines)
    with pytest.raises(RunError, match=r"expected a whole lifetime in .*--force starts anew"):
        course_of(LifetimeRecord(tmp_path))
