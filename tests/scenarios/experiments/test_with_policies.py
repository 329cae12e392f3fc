"""`lifetime curve --with-policies`: policies on the streams of the k%-learners."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.scenarios.cli.test_compare import OWN
from tests.scenarios.commands import TINY, assert_advises_to_resume, assert_refused, kept, lifetime, points, within

CURVE = ["curve", *TINY, "--k", "50", "--seeds", "2", "--no-surface", "--name", "run"]
WITH = [*CURVE, "--with-policies", "loss:threshold=0.5; static:k=50.0 interleaved:k=50"]
POLICIES = {
    "loss:threshold=0.5": "loss-threshold0.5",
    "static:k=50": "static-k50",
    "interleaved:k=50": "interleaved-k50",
}
REFIT = ["--learner", "refit:epochs=1", "--warm"]
OWN_FILES = {"policies.json", "policies.csv", "policies.png"}


@pytest.fixture(scope="module", params=[["--learner", "online:epochs=1"], REFIT], ids=["online", "refit"])
def learner(request):
    return request.param


@pytest.fixture(scope="module")
def finished(tmp_path_factory, learner):
    """A run that nobody disturbed, and how it ended."""
    runs = tmp_path_factory.mktemp("finished")
    done = lifetime(*WITH, *learner, "--runs", runs)
    assert (done.returncode, done.stderr) == (0, "")
    return runs / "curve/run", done


def statics(run):
    """Everything that is not of the policies, without the settings and what hangs on them."""
    of_policies = tuple(f"seed{seed}/{folder}/" for seed in (0, 1) for folder in POLICIES.values())
    own = {name: content for name, content in kept(run).items() if not name.startswith(of_policies)}
    return {name: content for name, content in own.items() if name not in OWN_FILES | {"config.json"}}


@pytest.mark.slow
def test_k_learners_and_curve_are_those_of_a_run_without_policies(finished, tmp_path, learner):
    run, _ = finished
    alone = within(*CURVE, *learner, "--runs", tmp_path, "--json")
    without = tmp_path / "curve/run"
    assert alone.stdout == (without / "curve.json").read_text()
    assert statics(run) == statics(without)
    assert not OWN_FILES & kept(without).keys()
    settings, others = (json.loads((path / "config.json").read_text())["settings"] for path in (run, without))
    assert settings.pop("with_policies") == list(POLICIES)
    assert others.pop("with_policies") is None
    assert settings == others


@pytest.mark.slow
def test_table_files_and_lifetimes_agree(finished):
    run, done = finished
    found = json.loads((run / "policies.json").read_text())
    rows = list(csv.DictReader(io.StringIO((run / "policies.csv").read_text())))
    assert [each["policy"] for each in found["policies"]] == [row["policy"] for row in rows] == list(POLICIES)
    for each, row in zip(found["policies"], rows, strict=True):
        assert each["policy"] in done.stdout
        assert float(row["learned"]) == each["learned"]["estimate"]
        for seed, lived in enumerate(each["by_seed"]):
            folder = run / f"seed{seed}" / POLICIES[each["policy"]]
            steps = [json.loads(line) for line in (folder / "trajectory.jsonl").read_text().splitlines()]
            summary = json.loads((folder / "summary.json").read_text())
            assert lived["learned_by_chunk"] == [step["learned"] / 120 for step in steps]
            assert [mark["chunks"] for mark in lived["evaluations"]] == [2, 4, 6]
            assert lived["evaluations"][-1]["agent"] == summary["accuracy"]["agent"]
            assert lived["gflop"] == summary["spent_gflop"]
            assert (summary["policy"], summary["seed"]) == (each["policy"], seed)
    static = found["policies"][1]
    assert static["learned"]["estimate"] == 0.5
    assert static["difference"] == {"estimate": 0.0, "low": 0.0, "high": 0.0}
    assert str(run / "policies.png") in done.stdout
    assert Image.open(run / "policies.png").size == (1875, 750)


@pytest.mark.slow
def test_tensorboard_gets_the_figure_and_the_paths(finished):
    run, _ = finished
    board = EventAccumulator(str(run), size_guidance={"images": 0, "scalars": 0}).Reload()
    assert board.Tags()["images"] == ["curve", "policies"]
    scalars = points(run)
    assert [step for step, _ in scalars[".:by_images_learned/accuracy_static"]] == [60, 120]
    for policy, folder in POLICIES.items():
        [placed] = [p for p in json.loads((run / "policies.json").read_text())["policies"] if p["policy"] == policy]
        path = scalars[f".:by_images_learned/accuracy_{folder}"]
        assert path[-1] == (round(120 * placed["learned"]["estimate"]), pytest.approx(placed["accuracy"]["estimate"]))
        assert 1 <= len(path) == len({step for step, _ in path}) <= 3
        assert len(scalars[f"seed1/{folder}:decision/learned_fraction"]) == 6
        by_chunk = np.mean([lived["learned_by_chunk"] for lived in placed["by_seed"]], axis=0)
        assert scalars[f".:by_chunk/learned_{folder}"] == list(enumerate(map(pytest.approx, by_chunk), start=1))
    assert [share for _, share in scalars[".:by_chunk/learned_static-k50"]] == pytest.approx(
        [1 / 6, 2 / 6, 3 / 6, 3 / 6, 3 / 6, 3 / 6]
    )


@pytest.mark.slow
def test_json_has_the_policies(finished, learner):
    run, _ = finished
    shown = json.loads(within(*WITH, *learner, "--runs", run.parent.parent, "--json").stdout)
    assert shown.pop("policies") == json.loads((run / "policies.json").read_text())["policies"]
    assert shown == json.loads((run / "curve.json").read_text())
    assert json.loads(within("resume", run, "--json").stdout).keys() == {*shown, "policies"}


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 13, 31])
def test_a_stopped_run_resumes_to_the_bytes_of_an_uninterrupted_one(finished, tmp_path, learner, after):
    whole, done = finished
    run = tmp_path / "curve/run"
    stopped = within(*WITH, *learner, "--runs", tmp_path, stop_after=after)
    assert stopped.returncode == 143
    assert_advises_to_resume(stopped, run)
    resumed = within("resume", run)
    assert (resumed.returncode, resumed.stderr) == (0, "")
    assert kept(run) == kept(whole)
    assert resumed.stdout.partition("figure:")[0] == done.stdout.partition("figure:")[0]


@pytest.mark.slow
def test_with_policies_is_another_run_than_without(tmp_path):
    assert within(*CURVE, "--runs", tmp_path).returncode == 0
    message = "settings.with_policies was None and is now ['loss']"
    assert_refused(within(*CURVE, "--with-policies", "loss", "--runs", tmp_path), message)


@pytest.mark.slow
def test_only_ends_without_evaluations_on_the_way_and_no_static_below_the_least_k(tmp_path):
    few = ["--seeds", "1", "--evaluate-every", "0", "--with-policies", "static:k=0"]
    done = within(*CURVE, *few, "--runs", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Only ends are drawn" in done.stdout
    assert "less was learned than by any k%-learner (50%)" in done.stdout
    [policy] = json.loads((tmp_path / "curve/run/policies.json").read_text())["policies"]
    assert policy["difference"] is policy["by_seed"][0]["static"] is None
    assert len(policy["by_seed"][0]["evaluations"]) == 1


@pytest.mark.slow
def test_a_policy_of_ones_own_is_part_of_the_identity(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_beside.py").write_text(OWN)
    given = ["--seeds", "1", "--with-policies", "own_beside.Mine:threshold=0.5", "--runs", "runs"]
    assert within(*CURVE, *given).returncode == 0
    config = json.loads((tmp_path / "runs/curve/run/config.json").read_text())
    assert config["own_code"].keys() == {"own_beside.Mine:threshold=0.5"}
    bad = ["--seeds", "1", "--with-policies", "own_beside.Unhelpful", "--runs", "bad"]
    assert_refused(within(*CURVE, *bad), "expected Unhelpful.decide to give an Action out of memorize, learn")


@pytest.mark.parametrize(
    ("policies", "message"),
    [
        ("", "expected names with their settings, separated by blanks or semicolons"),
        ("lossy", "expected a policy out of static, "),
        ("loss:treshold=1", "expected settings of loss out of "),
        ("static", "expected a setting k for static, as in static:k="),
        ("static:k=120", "expected k "),
        ("loss loss", "expected each policy once, got loss 2 times"),
        ("static:k=50 static:k=50.0", "expected each policy once, got static:k=50 2 times"),
    ],
)
def test_bad_policies_are_one_line_and_leave_no_run(tmp_path, policies, message):
    assert_refused(within(*CURVE, "--with-policies", policies, "--runs", tmp_path), message)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_record_that_lost_steps_is_one_line(tmp_path):
    one = [*CURVE, "--seeds", "1", "--with-policies", "loss", "--runs", tmp_path]
    assert within(*one).returncode == 0
    (tmp_path / "curve/run/seed0/loss/trajectory.jsonl").write_text("")
    assert_refused(within(*one), "--force starts anew")
    assert within(*one, "--force").returncode == 0
