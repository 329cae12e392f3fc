"""`lifetime train-policy`: on tables and in lifetimes, interrupted, resumed and refused."""

import json
import random
import shutil
import signal
import subprocess
import time
from importlib.util import find_spec

import pytest

from agent.policies import read_policy_file
from scenarios.policy_training import ppo
from tests.scenarios.commands import (
    LIFETIME,
    TINY,
    Done,
    assert_advises_to_resume,
    assert_refused,
    kept,
    points,
    strictly,
    within,
)
from tests.scenarios.tables import planted, synthetic

LIVE = (
    "--device cpu --train-size 60 --validation-size 20 --chunks 3 --network resnet:width=2"
    " --learner online:epochs=1 --population 4 --iterations 2 "
    "--seeds 2 --hidden 4"
).split()
SHORT = "--seeds 2 --population 4 --iterations 5 --hidden 4".split()
without_ppo = pytest.mark.skipif(find_spec("stable_baselines3") is None, reason="needs Stable-Baselines3 (extra ppo)")
METHODS = ["cma", "reinforce", pytest.param("ppo", marks=without_ppo), "forecast"]


@pytest.fixture
def train(trees, tmp_path):
    """Trains on tables, in a run called by its name."""

    def trained(name, *arguments, **how):
        where = ["--trees", trees, "--runs", tmp_path / "runs", "--name", name]
        return within("train-policy", *where, *SHORT, *arguments, **how), tmp_path / "runs/train-policy" / name

    return trained


def test_a_training_tells_what_it_learned_and_where_the_policy_is(train, trees):
    done, run = train("x")
    assert (done.returncode, done.stderr) == (0, "")
    for expected in ("training seeds 0, 1", "of 5 iterations", "learns where", f"--policy file:{run / 'policy.json'}"):
        assert expected in done.stdout
    assert kept(run).keys() == {"config.json", "policy.json", "training.json"}
    assert {step for step, _ in points(run)[".:training/utility"]} == set(range(5))
    training = read_policy_file(run / "policy.json").training
    assert (training["method"], training["seeds"], training["on"]) == ("cma", [0, 1], "tables")
    config = json.loads((run / "config.json").read_text())
    assert (config["experiment"], config["settings"]["trees"]) == ("train-policy", str(trees))
    assert training["trees_digest"] == config["trees_digest"]
    assert {**training["settings"], "trees": str(trees)} == config["settings"]
    assert config["settings"]["cost_weight"] == 0.01
    assert str(trees) not in (run / "policy.json").read_text(), "a policy is the same wherever the tables lie"


def test_a_finished_training_is_shown_again_and_by_resume(train):
    first, run = train("x")
    stamp = (run / "policy.json").stat().st_mtime_ns
    assert train("x")[0] == first
    assert within("resume", run) == first
    assert (run / "policy.json").stat().st_mtime_ns == stamp
    assert train("x", "--force")[0] == first
    assert (run / "policy.json").stat().st_mtime_ns != stamp


def test_json_and_quiet(train):
    done, run = train("x", "--json")
    expected = {"run": str(run), **json.loads((run / "training.json").read_text())}
    assert strictly(done.stdout) == expected
    assert strictly(within("resume", run, "--json").stdout) == expected
    assert train("x", "--quiet")[0] == Done(0, "", "")


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_stopped_and_resumed_as_often_as_one_likes(train, method):
    whole, expected = train("whole", "--method", method)
    assert (whole.returncode, whole.stderr) == (0, "")
    done, run = train("stopped", "--method", method, stop_after=2)
    n_stopped = 0
    while done.returncode == 143:
        n_stopped += 1
        assert_advises_to_resume(done, run, "iteration")
        assert not (run / "policy.json").exists()
        done = within("resume", run, stop_after=2) if n_stopped % 2 else train(run.name, "--method", method)[0]
    assert (done.returncode, done.stderr) == (0, "")
    assert n_stopped == 2
    assert kept(run).keys() == kept(expected).keys()
    for name in ("policy.json", "training.json"):
        assert (run / name).read_bytes() == (expected / name).read_bytes()
    assert points(run) == points(expected)
    assert [step for step, _ in points(run)[".:training/utility"]] == list(range(5))


def test_a_stop_at_the_last_iteration_loses_nothing(train):
    done, run = train("x", stop_after=5)
    assert_advises_to_resume(done, run, "iteration")
    assert within("resume", run).returncode == 0
    assert (run / "policy.json").read_bytes() == (train("y")[1] / "policy.json").read_bytes()


@pytest.mark.slow
def test_killed_it_goes_on_from_its_last_checkpoint(train, trees, tmp_path):
    settings = ["--method", "reinforce", "--iterations", "120"]
    run = tmp_path / "killed/train-policy/x"
    where = ["--trees", str(trees), "--runs", str(tmp_path / "killed"), "--name", "x"]
    command = [LIFETIME, "train-policy", *where, *SHORT, *settings]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while process.poll() is None and not (run / "checkpoint.pt").exists():
            time.sleep(0.002)
        time.sleep(random.Random(1).uniform(0, 0.02))
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (run / "training.json").exists()
    done = within("resume", run)
    assert (done.returncode, done.stderr) == (0, "")
    undisturbed = train("whole", *settings)[1]
    assert (run / "policy.json").read_bytes() == (undisturbed / "policy.json").read_bytes()
    assert points(run) == points(undisturbed)


def test_a_damaged_checkpoint_costs_time_alone(train):
    done, run = train("x", stop_after=3)
    assert done.returncode == 143
    content = (run / "checkpoint.pt").read_bytes()
    (run / "checkpoint.pt").write_bytes(content[:-100])
    done = within("resume", run)
    assert done.returncode == 0
    assert done.stderr.startswith("warning: expected a")
    assert done.stderr.count("\n") == 1
    assert (run / "policy.json").read_bytes() == (train("y")[1] / "policy.json").read_bytes()


def test_tables_that_have_changed_or_are_gone_are_one_line(trees, tmp_path):
    there = shutil.copytree(trees, tmp_path / "trees")
    command = ["train-policy", "--trees", there, "--runs", tmp_path, "--name", "x", *SHORT]
    run = tmp_path / "train-policy/x"
    assert within(*command, stop_after=2).returncode == 143
    (there / "seed1/table.npz").write_bytes(synthetic(1, 3, cost_weight=0.01).as_npz()[:-40])
    assert_refused(within("resume", run), f"expected a schedule table at {there / 'seed1/table.npz'}")
    shutil.rmtree(there / "seed3")
    (there / "seed1/table.npz").write_bytes(synthetic(1, 3, cost_weight=0.01).as_npz())
    assert_refused(within("resume", run), "expected to continue the run in")
    assert_refused(within(*command), "expected to continue the run")
    shutil.rmtree(there)
    assert_refused(within("resume", run), f"expected a run of `lifetime tree` at {there}, found no seed")
    shutil.copytree(trees, there)
    assert within("resume", run).returncode == 0


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("policy.json", lambda content: content[:-30]),
        ("policy.json", lambda content: None),
        ("training.json", lambda content: content[:-30]),
        ("training.json", lambda content: b"[]"),
        ("training.json", lambda content: content.split(b'"history"')[0] + b'"history": []}'),
        ("training.json", lambda content: content.replace(b'"history": [', b'"history": [3,')),
        ("training.json", lambda content: content.replace(b'"utility": ', b'"utility": "x", "was": ')),
        ("training.json", lambda content: content.replace(b'"utility": ', b'"utility": NaN, "was": ')),
    ],
)
def test_a_finished_run_that_was_damaged_is_one_line(train, name, change):
    _, run = train("x")
    content = change((run / name).read_bytes())
    if content is None:
        (run / name).unlink()
    else:
        (run / name).write_bytes(content)
    for done in (within("resume", run), train("x")[0]):
        assert_refused(done, "expected")
        assert "--force starts anew" in done.stderr


def test_a_damaged_run_is_begun_anew_by_force(train):
    _, run = train("x")
    whole = kept(run)
    (run / "policy.json").write_bytes(b"{")
    assert train("x", "--force")[0].returncode == 0
    assert kept(run) == whole


# In lifetimes


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_training_in_lifetimes_goes_on_where_it_was_stopped(tmp_path, method):
    command = ["train-policy", *LIVE, "--method", method, "--name", "x", "--runs"]
    whole = within(*command, tmp_path / "a")
    assert (whole.returncode, whole.stderr) == (0, "")
    run, n_stopped = tmp_path / "b/train-policy/x", 0
    done = within(*command, tmp_path / "b", stop_after=9)
    while done.returncode == 143 and n_stopped < 9:
        n_stopped += 1
        assert done.stderr.startswith("error: interrupted; `")
        done = within("resume", run, stop_after=9 + 12 * n_stopped)
    assert n_stopped >= 1
    assert (done.returncode, done.stderr) == (0, "")
    expected = tmp_path / "a/train-policy/x"
    assert kept(run) == kept(expected)
    assert points(run) == points(expected)
    assert read_policy_file(run / "policy.json").training["on"] == "lifetimes"


@pytest.mark.slow
def test_training_in_lifetimes_starts_anew_if_told_to(tmp_path):
    command = ["train-policy", *LIVE, "--method", "cma", "--name", "x", "--runs", tmp_path]
    assert within(*command).returncode == 0
    before = kept(tmp_path / "train-policy/x")
    assert_refused(within(*command, "--force", "--validation-size", 1), "")
    done = within(*command, "--force")
    assert (done.returncode, done.stderr) == (0, "")
    assert kept(tmp_path / "train-policy/x") == before


def test_what_was_learned_lives_and_is_not_evaluated_where_it_was_trained(train, trees, tmp_path):
    _, run = train("x")
    policy = f"file:{run / 'policy.json'}"
    assert within("simulate", *TINY, "--policy", policy, "--runs", tmp_path).returncode == 0
    done = within("evaluate", trees, "--policies", policy, "--runs", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "seeds 2, 3; left out, as trained on: 0, 1" in done.stdout
    assert "file:…/x" in done.stdout


# Refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", 5], "expected trees of seeds 0 to 4 to train on, got those of 0, 1, 2, 3; change --seeds or"),
        (["--first-seed", 3], "expected trees of seeds 3 to 4 to train on"),
        (["--population", 3], "expected --population to be greater than or equal to 4, got 3"),
        (
            ["--keys", "features"],
            "expected no settings of the world beside --trees, which have their own, got --keys; leave",
        ),
        (["--chunks", 3, "--dataset", "digits"], "got --dataset, --chunks; leave"),
        (["--preset", "cifar10"], "expected no --preset beside --trees"),
        (["--method", "sgd"], "expected --method to be 'cma', 'reinforce', 'ppo' or 'forecast', got sgd"),
        (["--cost-weight", "nan"], "expected --cost-weight to be a finite number, got nan"),
        (["--tariff", "free"], "expected a tariff out of constant"),
        (["--iterations", 0], "expected --iterations to be greater than or equal to 1, got 0"),
        (["--policy-lr", "inf"], "expected --policy-lr to be"),
        (["--trees", "/nowhere"], "expected a run of `lifetime tree` at /nowhere, found no seed*/table.npz there"),
        (["--name", "a/b"], "expected --name to be a plain folder name"),
    ],
)
def test_what_cannot_be_leaves_nothing_behind(trees, tmp_path, arguments, message):
    command = ["train-policy", "--trees", trees, "--runs", tmp_path / "runs", *SHORT]
    assert_refused(within(*command, *arguments), message)
    assert not (tmp_path / "runs/train-policy").exists() or not list((tmp_path / "runs/train-policy").iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--train-size", 2], "expected"),
        (["--keys", "stage9"], "expected"),
        (["--validation-size", 1], "expected --validation-size to be greater than or equal to 2, got 1"),
        (["--scenario", "never"], "expected a scenario out of"),
        (["--rekey", "sometimes"], "expected"),
        (["--dataset", "folder:/nowhere"], "expected"),
    ],
)
def test_lifetimes_that_cannot_be_leave_nothing_behind(tmp_path, arguments, message):
    assert_refused(within("train-policy", "--runs", tmp_path / "runs", *LIVE, *arguments), message)
    assert not (tmp_path / "runs/train-policy").exists() or not list((tmp_path / "runs/train-policy").iterdir())


def test_a_folder_of_another_experiment_is_refused(trees, tmp_path, train):
    (tmp_path / "digits").mkdir()
    for folder in (tmp_path, tmp_path / "digits", trees / "seed0"):
        assert_refused(train("x", "--trees", folder)[0], f"expected a run of `lifetime tree` at {folder}")
    odd = tmp_path / "odd/seedx/table.npz"
    odd.parent.mkdir(parents=True)
    odd.write_bytes(synthetic(0, 2).as_npz())
    assert_refused(train("x", "--trees", tmp_path / "odd")[0], "expected the tree of that seed at")


def test_without_its_library_ppo_is_refused(train, monkeypatch):
    monkeypatch.setattr(ppo, "find_spec", lambda name: None)
    done, run = train("x", "--method", "ppo")
    assert_refused(
        done, "expected Stable-Baselines3 for --method ppo, found none; pip install 'learn-or-memorize[ppo]'"
    )
    assert not run.exists()


def test_settings_beside_tables_may_come_from_a_file(train, tmp_path):
    (tmp_path / "mine.toml").write_text("observes = 'nothing'\ncost_weight = 0.02\n")
    done, run = train("x", "--config", tmp_path / "mine.toml", "--json")
    assert done.returncode == 0, done
    settings = json.loads((run / "config.json").read_text())["settings"]
    assert (settings["observes"], settings["cost_weight"], settings["chunks"]) == ("nothing", 0.02, 3)
    (tmp_path / "mine.toml").write_text("keys = 'features'\n")
    assert_refused(train("y", "--config", tmp_path / "mine.toml")[0], "got --keys; leave")


def test_tables_of_another_machine_s_device_can_be_trained_on(tmp_path):
    run = planted(tmp_path / "trees", [synthetic(0, 2, device="cuda")])
    done = within("train-policy", "--trees", run, "--runs", tmp_path, "--iterations", 1, "--seeds", 1)
    assert (done.returncode, done.stderr) == (0, "")
