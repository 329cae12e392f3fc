"""`--policy file:PATH`: policies from files on the command line."""

import json
import shutil

import pytest

from agent.policies import PolicyFile, policy_file_text
from scenarios import run_lifetime
from tests.scenarios.commands import TINY, assert_refused, kept, lifetime, within

RISING = {"features": ["loss_rise", "disagreement"], "weights": [1.0, 0.1], "bias": 0.01}


def written(path, **changed):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(policy_file_text(PolicyFile("linear", {**RISING, **changed})))
    return path


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """A folder with a policy file, and a life that was lived there under it, in a process of its own."""
    folder = tmp_path_factory.mktemp("lived")
    written(folder / "a b/policy,k=1.json")
    command = ["simulate", *TINY, "--runs", "runs", "--policy", "file:./a b/policy,k=1.json", "--json"]
    return folder, lifetime(*command, cwd=folder)


@pytest.mark.slow
def test_a_life_is_lived_as_a_file_says(lived):
    folder, done = lived
    assert (done.returncode, done.stderr) == (0, "")
    summary = json.loads(done.stdout)
    assert summary["policy"] == "file:a b/policy,k=1.json"
    run = folder / summary["run"]
    assert "file-path_a-b-policy-k-1.json" in run.name
    config = json.loads((run / "config.json").read_text())
    assert config["settings"]["policy"] == "file:a b/policy,k=1.json"
    assert config["own_code"].keys() == {"file:a b/policy,k=1.json"}
    assert all("memory_entries" in json.loads(line) for line in (run / "trajectory.jsonl").open())


@pytest.mark.slow
def test_it_is_resumed_while_the_file_is_the_same_and_another_run_once_it_changed(lived, monkeypatch):
    folder, done = lived
    monkeypatch.chdir(folder)
    [run] = (folder / "runs/simulate").iterdir()
    path, before = folder / "a b/policy,k=1.json", kept(run)
    again = within("resume", run, "--json")
    assert json.loads(again.stdout) == {**json.loads(done.stdout), "run": str(run)}
    original = path.read_text()
    written(path, bias=-9.0)
    assert_refused(within("resume", run), "own_code")
    command = ["simulate", *TINY, "--runs", "runs", "--policy", "file:a b/policy,k=1.json", "--json"]
    other = json.loads(within(*command).stdout)
    assert other["run"] != json.loads(done.stdout)["run"]
    assert other["metrics"]["learned_fraction"] == 0
    shutil.rmtree(other["run"])
    path.unlink()
    assert_refused(within("resume", run), "expected a policy file at a b/policy,k=1.json, got none; give its path")
    path.write_text(original)
    assert kept(run) == before


def test_an_interrupted_life_under_a_file_goes_on_to_the_same_bytes(tmp_path):
    path = written(tmp_path / "policy.json")
    runs = []
    for name, stop_after in ("whole", None), ("stopped", 3):
        command = ["simulate", *TINY, "--runs", tmp_path / name, "--name", "run", "--policy", f"file:{path}", "--quiet"]
        assert within(*command, stop_after=stop_after).returncode == (143 if stop_after else 0)
        runs.append(tmp_path / name / "simulate/run")
    assert within("resume", runs[1], "--quiet").returncode == 0
    assert kept(runs[0]) == kept(runs[1])


@pytest.mark.slow
def test_policies_from_files_are_compared(tmp_path):
    one, other = written(tmp_path / "a/policy.json"), written(tmp_path / "b/policy.json", bias=-9.0)
    policies = f"file:{one}; linucb:alpha=1,cost_weight=0.002 file:{other}"
    command = ["compare", *TINY, "--seeds", 1, "--name", "run", "--runs", tmp_path, "--policies"]
    done = within(*command, policies, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    labels = [schedule["label"] for schedule in json.loads(done.stdout)["schedules"]]
    assert labels == [f"file:{one}", "linucb:cost_weight=0.002,alpha=1", f"file:{other}"]
    config = json.loads((tmp_path / "compare/run/config.json").read_text())
    assert config["own_code"].keys() == {f"file:{one}", f"file:{other}"}
    assert len(set(config["own_code"].values())) == 2
    twice = f"file:{one} file:{one.parent}/./policy.json"
    assert_refused(within(*command, twice, "--force"), f"expected each policy once, got file:{one} 2 times")


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("file:", "expected the path of a policy file, as in file:policy.json, got file:"),
        ("file:/nowhere/policy.json", "expected a policy file at /nowhere/policy.json, got none; give its path"),
        ("file:/", "expected a policy file at /, got a folder"),
        (f"file:{__file__}", f"in policy file {__file__}: expected JSON of a policy, got: "),
    ],
)
def test_no_policy_in_a_file_is_one_line(tmp_path, policy, message):
    assert_refused(within("simulate", *TINY, "--runs", tmp_path, "--policy", policy), message)
    command = ["compare", *TINY, "--seeds", 1, "--runs", tmp_path, "--policies"]
    assert_refused(within(*command, f"loss {policy}"), message)
    assert_refused(within(*command, "loss file:my runs/a.json"), "got runs/a.json beside file:my; link or rename")


def test_a_training_that_nobody_understands_is_refused_before_anything_is_lived(tmp_path):
    path = written(tmp_path / "policy.json", bias=-9.0)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"training": {"settings": 5, "seeds": [1]}}))
    command = ["compare", *TINY, "--seeds", 1, "--runs", tmp_path / "runs", "--policies", f"loss file:{path}"]
    assert_refused(within(*command), "to name the data set and the seeds that it was trained on, got none or invalid")
    assert not (tmp_path / "runs").exists()


def test_policies_from_files_are_listed():
    members = json.loads(within("list", "policies", "--json").stdout)
    assert [each["name"] for each in members][-4:] == ["linucb", "thompson", "forecast", "file"]
    assert members[-1]["summary"] == (
        "Decides as the policy in a file: file:PATH, for any policy file that a training wrote."
    )
    assert [parameter["name"] for parameter in members[-2]["parameters"]] == ["cost_weight", "noise", "observes"]
    assert "file:PATH" in within("list", "policies").stdout


def test_a_file_is_lived_from_python(tmp_path):
    settings = {"device": "cpu", "train_size": 60, "test_size": 20, "validation_size": 20, "chunks": 3}
    path = written(tmp_path / "my policy.json", bias=-9.0)
    trajectory = run_lifetime(f"file:{path}", network="resnet:width=2", learner="online:epochs=1", **settings)
    assert [step.action for step in trajectory.steps] == ["memorize"] * 3
