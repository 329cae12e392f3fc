"""`--evaluate linear-probe`: in every experiment of lifetimes, for our learners and for baselines."""

import json

import pytest

import scenarios
from tests.scenarios.commands import TINY, assert_refused, kept, points, strictly, within

PROBE = ("--evaluate", "linear-probe")
METHODS = ("--methods", "a = policy:static:k=50", "--methods", "b = memory:ridge | policy:static:k=50")


def described(folder, name):
    return json.loads((folder / name).read_text())


def test_a_lifetime_has_one_more_metric_and_is_else_as_before(tmp_path):
    given = ("simulate", *TINY, "--policy", "static:k=50", "--runs", tmp_path, "--name")
    plain, probed = within(*given, "plain"), within(*given, "probed", *PROBE)
    assert (probed.returncode, probed.stderr) == (0, "")
    assert "linear probe" in probed.stdout
    assert "probe" not in plain.stdout
    before, run = tmp_path / "simulate/plain", tmp_path / "simulate/probed"
    assert "evaluate" not in described(before, "config.json")["settings"]
    assert described(run, "config.json")["settings"]["evaluate"] == ["linear-probe"]
    one, other = (described(each, "summary.json") for each in (before, run))
    share = other["metrics"].pop("linear_probe")
    assert 0 <= share == other.pop("linear_probe") <= 1
    n_flops = other["metrics"]["evaluate_gflop"] - one["metrics"]["evaluate_gflop"]
    assert n_flops > 0
    for each in (one, other):
        del each["work"]["evaluate"], each["costs"]["evaluate"]
        del each["metrics"]["evaluate_gflop"], each["metrics"]["evaluate_cost"]
    assert one == other
    assert points(run)[".:final/linear_probe"][0][1] == pytest.approx(share)
    assert strictly(within(*given, "probed", *PROBE, "--json").stdout)["metrics"]["linear_probe"] == share
    assert_refused(within(*given, "plain", *PROBE), "settings.evaluate was None and is now ['linear-probe']")


@pytest.mark.slow
def test_methods_and_baselines_beside_each_other_also_if_interrupted(tmp_path):
    given = ("compare", *TINY, *PROBE, *METHODS, "--methods", "naive = baseline:naive", "--seeds", 2)
    given += ("--methods", "dumb = baseline:gdumb:mem=20,epochs=2", "--runs", tmp_path, "--name")
    whole = within(*given, "whole")
    assert whole.returncode == 0, whole.stderr
    assert "note: the linear probe measures what the features keep" in whole.stdout
    run = tmp_path / "compare/part"
    done = within(*given, "part", stop_after=9)
    assert done.returncode == 143
    done = within("resume", run)
    assert done.returncode == 0, done.stderr
    assert kept(run) == kept(tmp_path / "compare/whole")
    means = {each["label"]: each["means"] for each in described(run, "comparison.json")["schedules"]}
    assert means["a"]["linear_probe"] == means["b"]["linear_probe"]  # the same learner
    assert means["naive"]["linear_probe"]["estimate"] is not None
    frame = scenarios.load(run).lifetimes()
    assert frame.linear_probe.between(0, 1).all()


def test_runs_with_and_without_are_compared(tmp_path):
    given = ("compare", *TINY, "--seeds", 2, "--runs", tmp_path)
    assert within(*given, "--methods", "a = policy:static:k=50", "--name", "plain").returncode == 0
    assert within(*given, *PROBE, "--methods", "b = policy:static:k=100", "--name", "probed").returncode == 0
    done = within("compare", tmp_path / "compare/plain", tmp_path / "compare/probed", "--runs", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    of_a, of_b = (each["means"]["linear_probe"] for each in strictly(done.stdout)["schedules"])
    assert of_a is None
    assert 0 <= of_b["estimate"] <= 1
    where = ("--where", "evaluate = none")
    done = within("compare", tmp_path / "compare/plain", *where, "--runs", tmp_path, "--json")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_sweep_has_a_column(tmp_path):
    given = ("sweep", *TINY, "--seeds", 1, "--policies", "static:k=50", "--runs", tmp_path)
    given += ("--axis", "scenario = iid | long-tailed", "--name")
    assert within(*given, "plain").returncode == 0
    done = within(*given, "probed", *PROBE)
    assert done.returncode == 0, done.stderr
    assert within("resume", tmp_path / "sweep/probed").stdout == done.stdout
    assert " probe " in done.stdout
    headers = {
        name: (tmp_path / "sweep" / name / "sweep.csv").read_text().splitlines()[0].split(",")
        for name in ("plain", "probed")
    }
    further = [name for name in headers["probed"] if name not in headers["plain"]]
    assert further == [f"linear_probe{end}" for end in ("", "_low", "_high", "_seeds")]
    tables = {name: scenarios.load(tmp_path / "sweep" / name).lifetimes().columns for name in headers}
    assert "evaluate" not in tables["plain"]
    assert "linear_probe" in tables["probed"]


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("simulate", ["--evaluate", "probe"], "expected --evaluate to be 'linear-probe', got probe"),
        ("simulate", ["--evaluate", "linear-probe,linear-probe"], "expected each measurement once, got linear-probe 2"),
        ("curve", PROBE, "No such option: --evaluate"),
        ("tree", PROBE, "No such option: --evaluate"),
    ],
)
def test_what_cannot_be_measured_is_one_line_and_exit_code_2(tmp_path, command, arguments, message):
    assert_refused(within(command, *arguments, "--runs", tmp_path), message)


def test_trees_in_a_file_of_settings_measure_nothing_further(tmp_path):
    (tmp_path / "tree.toml").write_text('evaluate = ["linear-probe"]\n')
    done = within("tree", "--config", tmp_path / "tree.toml", "--runs", tmp_path)
    assert_refused(done, "expected no further measurements of trees, got linear-probe; leave evaluate out")
