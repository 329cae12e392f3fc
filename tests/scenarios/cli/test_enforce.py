"""`--enforce`: lifetimes that are held to their budgets."""

import json

import pytest

from tests.scenarios.commands import TINY, assert_refused, kept, lifetime, points, strictly, within

LEARNING = (*TINY, "--queries", 0, "--no-prequential", "--calibrate-every", 0)
"""Nothing but what policies decide costs anything before the end."""
METHODS = {
    "poor": "policy:static:k=100 | budget:0.02",
    "some": "policy:static:k=100 | budget:0.08",
    "rich": "policy:static:k=100 | budget:100",
    "free": "policy:static:k=100",
}
OPTIONS = ["--enforce", "--seeds", 2]
OPTIONS += [word for label, parts in METHODS.items() for word in ("--methods", f"{label} = {parts}")]


def steps_of(folder):
    return [json.loads(line) for line in (folder / "trajectory.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_a_lifetime_keeps_to_its_budget(tmp_path):
    given = ("simulate", *LEARNING, "--budget", 0.08, "--policy", "static:k=100", "--runs", tmp_path, "--name")
    free = within(*given, "x", "--json")
    assert strictly(free.stdout)["metrics"].keys() & {"refused_fraction"} == set()
    assert all("wanted" not in step for step in steps_of(tmp_path / "simulate/x"))
    run, done = tmp_path / "simulate/y", lifetime(*given, "y", "--enforce")
    assert (done.returncode, done.stderr) == (0, "")
    steps, summary = steps_of(run), json.loads((run / "summary.json").read_text())
    n_passed = sum(step["action"] == "pass" for step in steps)
    n_refused = sum(step.get("wanted") == "learn" for step in steps)
    assert n_refused >= n_passed > 0
    assert summary["n_refused"] == n_refused
    assert summary["metrics"]["refused_fraction"] == pytest.approx(n_refused / 6)
    assert summary["metrics"]["total_cost_without_calibration"] <= 0.08
    assert f"{n_passed} passed (P); {n_refused} refused by the budget" in done.stdout
    assert "of 0.08 GFLOP spent" in done.stdout
    assert len(points(run)[".:decision/refused"]) == n_refused
    assert_refused(within(*given, "x", "--enforce"), "settings.enforce was False and is now True")


@pytest.mark.slow
def test_methods_keep_to_their_own_budgets_also_if_interrupted(tmp_path):
    whole = within("compare", *LEARNING, *OPTIONS, "--runs", tmp_path, "--name", "whole")
    assert whole.returncode == 0, whole.stderr
    run, done, n_stopped = tmp_path / "compare/run", None, 0
    done = within("compare", *LEARNING, *OPTIONS, "--runs", tmp_path, "--name", "run", stop_after=5)
    while done.returncode == 143 and n_stopped < 20:
        n_stopped += 1
        done = within("resume", run, stop_after=5 + 12 * n_stopped)
    assert n_stopped >= 2
    assert done.returncode == 0, done.stderr
    assert kept(run) == kept(tmp_path / "compare/whole")
    assert points(run) == points(tmp_path / "compare/whole")
    assert "refused" in done.stdout
    comparison = json.loads((run / "comparison.json").read_text())
    shares = {each["label"]: each["means"]["refused_fraction"]["estimate"] for each in comparison["schedules"]}
    assert shares["poor"] > shares["some"] > shares["rich"] == shares["free"] == 0
    one = ("--methods", f"some = {METHODS['some']}", "--enforce", "--seeds", 1)
    assert within("compare", *LEARNING, *one, "--runs", tmp_path, "--name", "alone").returncode == 0
    assert kept(tmp_path / "compare/alone/seed0/some") == kept(run / "seed0/some")


@pytest.mark.slow
def test_a_sweep_has_worlds_with_and_without(tmp_path):
    axes = ("--axis", "enforce = false | true", "--axis", "policy = static:k=100 | static:k=0")
    given = (*LEARNING, "--seeds", 1, "--budget", 0.08, "--runs", tmp_path, "--name", "x")
    done = within("sweep", *given, *axes)
    assert done.returncode == 0, done.stderr
    again = within("resume", tmp_path / "sweep/x")
    assert again.returncode == 0, again.stderr
    header, *rows = (tmp_path / "sweep/x/sweep.csv").read_text().splitlines()
    column = header.split(",").index("refused_fraction")
    assert sorted(row.split(",")[column] != "" for row in rows) == [False, False, True, True]


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("simulate", [], "expected a finite --budget with --enforce, got none; give one, or leave --enforce out"),
        ("simulate", ["--budget", "inf"], "expected a finite --budget with --enforce, got none"),
        ("compare", ["--methods", "a = policy:loss"], "expected a finite --budget with --enforce, got none"),
        ("tune", ["--search", "memory = cache | ridge"], "expected a finite --budget with --enforce, got none"),
        ("tree", ["--budget", "1"], "No such option: --enforce"),
        ("train-policy", ["--budget", "1"], "No such option: --enforce"),
        ("curve", [], "No such option: --enforce"),
    ],
)
def test_what_cannot_be_enforced_is_one_line_and_exit_code_2(tmp_path, command, arguments, message):
    assert_refused(within(command, "--enforce", *arguments, "--runs", tmp_path), message)


def test_trees_in_a_file_of_settings_enforce_nothing(tmp_path):
    (tmp_path / "tree.toml").write_text("enforce = true\nbudget = 1\n")
    done = within("tree", "--config", tmp_path / "tree.toml", "--runs", tmp_path)
    assert_refused(done, "expected no enforced budget for trees, which hold every schedule; leave --enforce out")
