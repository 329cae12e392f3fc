"""`--speed`: streams that do not wait for the agent."""

import json

import pytest

from tests.scenarios.commands import TINY, assert_refused, kept, lifetime, points, within

METHODS = {
    "slow": "policy:static:k=100 | learner:online:epochs=4",
    "fast": "policy:static:k=100 | learner:online:epochs=0.2",
    "stores": "policy:static:k=0",
    "trains anew": "policy:static:k=50 | learner:refit:epochs=1",
    "fine-tuned": "baseline:naive:passes=4",
}
OPTIONS = ["--speed", 0.02, "--seeds", 2]
OPTIONS += [word for label, parts in METHODS.items() for word in ("--methods", f"{label} = {parts}")]


@pytest.mark.slow
def test_a_lifetime_misses_what_arrives_while_it_learns(tmp_path):
    given = ("simulate", *TINY, "--policy", "static:k=100", "--runs", tmp_path, "--name")
    free = within(*given, "x", "--json")
    assert free.returncode == 0, free.stderr
    summary = json.loads(free.stdout)
    assert not {"n_missed", "missed_fraction"} & (summary.keys() | summary["metrics"].keys())
    speed = summary["metrics"]["learn_gflop"] / 6 / 1.5
    run, done = tmp_path / "simulate/y", lifetime(*given, "y", "--speed", speed)
    assert (done.returncode, done.stderr) == (0, "")
    steps = [json.loads(line) for line in (run / "trajectory.jsonl").read_text().splitlines()]
    assert [step["action"] for step in steps] == ["learn", "pass"] * 3
    assert [step.get("takes") for step in steps] == [2, None] * 3
    assert [step.get("missed", False) for step in steps] == [False, True] * 3
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["n_missed"], summary["metrics"]["missed_fraction"]) == (3, 0.5)
    assert summary["metrics"]["prequential_accuracy"] is not None
    assert "3 passed (P); 3 missed" in done.stdout
    assert f"{speed:g} GFLOP per chunk" in done.stdout
    assert len(points(run)[".:decision/missed"]) == 3
    assert_refused(within(*given, "x", "--speed", 1), "settings.speed was None and is now 1.0")


@pytest.mark.slow
def test_methods_miss_what_they_are_too_slow_for_also_if_interrupted(tmp_path):
    whole = within("compare", *TINY, *OPTIONS, "--runs", tmp_path, "--name", "whole")
    assert whole.returncode == 0, whole.stderr
    run, n_stopped = tmp_path / "compare/run", 0
    done = within("compare", *TINY, *OPTIONS, "--runs", tmp_path, "--name", "run", stop_after=5)
    while done.returncode == 143 and n_stopped < 20:
        n_stopped += 1
        done = within("resume", run, stop_after=5 + 14 * n_stopped)
    assert n_stopped >= 2
    assert done.returncode == 0, done.stderr
    assert kept(run) == kept(tmp_path / "compare/whole")
    assert "missed" in done.stdout
    comparison = json.loads((run / "comparison.json").read_text())
    shares = {each["label"]: each["means"]["missed_fraction"]["estimate"] for each in comparison["schedules"]}
    assert shares["slow"] > shares["fast"] == shares["stores"] == 0
    assert shares["fine-tuned"] > 0
    assert shares["trains anew"] > 0


@pytest.mark.slow
def test_a_sweep_has_speeds(tmp_path):
    axes = ("--axis", "speed = 0.01 | inf", "--axis", "policy = static:k=100 | static:k=0")
    done = within("sweep", *TINY, *axes, "--seeds", 1, "--runs", tmp_path, "--name", "x")
    assert done.returncode == 0, done.stderr
    assert " missed " in done.stdout
    assert "null" not in done.stdout
    header, *rows = (tmp_path / "sweep/x/sweep.csv").read_text().splitlines()
    assert {row.split(",")[header.split(",").index("speed")] for row in rows} == {"0.01", "inf"}
    column = header.split(",").index("missed_fraction")
    missed = [row.split(",")[column] for row in rows]
    assert sorted(value == "" for value in missed) == [False, False, True, True]
    assert max(float(value) for value in missed if value) > 0


@pytest.mark.parametrize(
    ("command", "given", "message"),
    [
        ("simulate", ["--speed", 0], "expected --speed to be greater than 0, got 0"),
        ("compare", ["--speed", "nan"], "expected --speed to be"),
        (
            "simulate",
            ["--speed", 1, "--calibration", "shared", "--baseline", "naive"],
            "expected a stream that waits with --calibration shared, whose labels naive:passes=1 would miss",
        ),
        (
            "compare",
            ["--speed", 1, "--calibration", "shared", "--methods", "a = baseline:slda"],
            "whose labels slda:shrinkage=0.0001 would miss, got --speed 1; leave one of them out",
        ),
        ("tree", ["--speed", 1], "No such option: --speed"),
        ("train-policy", ["--speed", 1], "No such option: --speed"),
    ],
)
def test_what_is_no_speed_is_one_line_and_exit_code_2(command, given, message, tmp_path):
    needed = ["trees"] if command == "train-policy" else []
    done = within(command, *needed, *given, "--runs", tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
