"""`--consolidate` on the command line: lived, compared, tabulated, trained for, swept, interrupted and refused."""

import json
from importlib.util import find_spec

import numpy as np
import pytest

from agent.policies import read_policy_file
from scenarios.config.settings import TreeConfig
from scenarios.oracle.grow import check
from scenarios.oracle.table import n_nodes, read_table
from scenarios.policy_training.environment import LifetimeEnv
from tests.scenarios.commands import TINY, assert_refused, kept, points, strictly, within

NIGHTS = "--tariff day-night:period=2,day=2,night=0.5"
SMALL = (
    "--device cpu --train-size 60 --validation-size 20 --chunks 3 --network resnet:width=2"
    f" --learner online:epochs=1 {NIGHTS} --workers 1"
).split()


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """Small trees of three actions."""
    runs = tmp_path_factory.mktemp("trees")
    done = within("tree", *SMALL, "--consolidate", "30", "--seeds", 3, "--runs", runs, "--name", "x")
    assert (done.returncode, done.stderr) == (0, "")
    return runs / "tree/x", done.stdout


# Lifetimes


@pytest.mark.parametrize(
    ("consolidate", "entries", "learned"),
    [pytest.param("30", 120, 90, marks=pytest.mark.slow), ("release:30", 30, 90)],
)
def test_simulate_sleeps_at_night_shows_it_and_goes_on(tmp_path, consolidate, entries, learned):
    command = ["simulate", *TINY, *NIGHTS.split(), "--policy", "sleep", "--consolidate", consolidate]
    command += ["--runs", tmp_path, "--name", "x"]
    done, run = within(*command), tmp_path / "simulate/x"
    assert (done.returncode, done.stderr) == (0, "")
    assert "6 chunks: 3 consolidated (C), 0 learned (L), 3 memorized (M)\nMCMCMC\n" in done.stdout
    summary = strictly((run / "summary.json").read_text())
    assert (summary["learned"], summary["memory_entries"]) == (learned, entries)
    assert summary["metrics"]["learned_fraction"] == learned / 120
    assert strictly((run / "config.json").read_text())["settings"]["consolidate"] == consolidate
    shown = points(run)
    assert [step for step, _ in shown[".:decision/consolidate"]] == [40, 80, 120]
    whole = kept(run)
    stopped = within(*command, "--force", stop_after=3)
    assert stopped.returncode == 143
    resumed = within("resume", run)
    assert (resumed.returncode, resumed.stdout) == (0, done.stdout)
    assert kept(run) == whole


@pytest.mark.slow
def test_methods_with_and_without_it_are_compared(tmp_path):
    methods = [
        ("asleep", "consolidate:30 | policy:sleep"),
        ("forgetful", "consolidate:release:30 | policy:sleep"),
        ("awake", "policy:tariff"),
        ("bandit", "consolidate:30 | policy:thompson:observes=learner"),
    ]
    options = [word for label, parts in methods for word in ("--methods", f"{label} = {parts}")]
    command = ["compare", *TINY, *NIGHTS.split(), "--seeds", 1, "--runs", tmp_path]
    done = within(*command, *options, "--name", "x", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    compared = strictly(done.stdout)
    assert [each["label"] for each in compared["schedules"]] == [label for label, _ in methods]
    assert within(*command, *options[:2], "--name", "y").returncode == 0
    together, apart = (kept(tmp_path / "compare" / name) for name in "xy")
    shared = [name for name in apart if name.endswith("trajectory.jsonl")]
    assert shared
    assert all(apart[name] == together[name] for name in shared)


@pytest.mark.slow
def test_a_sweep_has_it_as_an_axis(tmp_path):
    axis = ["--axis", "consolidate = 10 | 30 | release:30", "--policies", "sleep", "--seeds", 2]
    command = ["sweep", *TINY, *NIGHTS.split(), *axis, "--runs", tmp_path, "--name", "x"]
    planned = within(*command, "--dry-run")
    assert (planned.returncode, planned.stderr) == (0, "")
    done = within(*command)
    assert (done.returncode, done.stderr) == (0, "")
    for shown in ("consolidate:10", "consolidate:30", "consolidate:release:30"):
        assert shown in done.stdout


# Trees


def test_a_tree_has_six_chunks_unless_more_are_asked_for():
    assert TreeConfig.model_validate({}).chunks == 8
    config = TreeConfig.model_validate({"consolidate": "500"})
    assert (config.chunks, config.actions) == (6, ("memorize", "learn", "consolidate"))
    assert 1 + n_nodes(5, 3) == 364, "decisions: the root, and the nodes after one to five chunks"
    check(TreeConfig.model_validate({"consolidate": "500", "chunks": 8}))


def test_larger_trees_are_refused_before_anything_is_done(tmp_path):
    done = within("tree", *SMALL, "--chunks", 9, "--consolidate", 30, "--runs", tmp_path)
    assert_refused(done, "expected at most 8 chunks for --search all, got 9, which have 3^9 schedules; lower --chunks")


@pytest.mark.slow
def test_trees_of_three_actions_are_grown_and_go_on(trees, tmp_path):
    run, shown = trees
    table = read_table(run / "seed0/table.npz")
    assert table.actions == ("memorize", "learn", "consolidate")
    assert int(table.learned.max()) == 60
    assert "trainings" in shown
    command = ["tree", *SMALL, "--chunks", 4, "--consolidate", "release:20", "--runs", tmp_path, "--name", "x"]
    whole = within(*command)
    assert (whole.returncode, whole.stderr) == (0, "")
    before = kept(tmp_path / "tree/x")
    assert within(*command, "--force", stop_after=2).returncode == 143
    done = within("resume", tmp_path / "tree/x")
    assert (done.returncode, done.stdout) == (0, whole.stdout)
    assert kept(tmp_path / "tree/x") == before


@pytest.mark.slow
def test_a_beam_searches_three_actions(tmp_path):
    done = within("tree", *SMALL, "--consolidate", 30, "--search", "beam", "--runs", tmp_path, "--name", "x", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    [oracle] = strictly(done.stdout)["oracle"]
    assert len(oracle["schedule"]) == 3
    assert set(oracle["schedule"]) <= set("MLC")


@pytest.mark.slow
def test_policies_are_evaluated_on_them(trees, tmp_path):
    run, _ = trees
    done = within("evaluate", run, "--runs", tmp_path, "--name", "x", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    labels = [each["label"] for each in strictly(done.stdout)["schedules"]]
    assert {"sleep", "tariff", "oracle", "linucb"} <= set(labels)


METHODS = ["cma", pytest.param("reinforce", marks=pytest.mark.slow)]
METHODS += [pytest.param("ppo", marks=pytest.mark.slow)] * (find_spec("stable_baselines3") is not None)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_policies_are_trained_for_three_actions_and_lived(trees, tmp_path, method):
    run, _ = trees
    small = ["--seeds", 2, "--population", 4, "--iterations", 3, "--hidden", 4, "--cost-weight", 0.1]
    command = ["train-policy", "--trees", run, "--method", method, *small, "--runs", tmp_path, "--name", "x"]
    done = within(*command)
    assert (done.returncode, done.stderr) == (0, "")
    path = tmp_path / "train-policy/x/policy.json"
    assert read_policy_file(path).settings["actions"] == ["memorize", "learn", "consolidate"]
    evaluated = within("evaluate", run, "--policies", f"file:{path}", "--runs", tmp_path, "--name", "x")
    assert (evaluated.returncode, evaluated.stderr) == (0, "")
    alive = ["simulate", *TINY, "--policy", f"file:{path}", "--runs", tmp_path, "--name", "x"]
    assert_refused(within(*alive), "expected an agent that offers consolidate for")
    done = within(*alive, "--consolidate", "30")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_a_policy_is_trained_in_lifetimes_of_three_actions(tmp_path):
    small = ["--seeds", 2, "--population", 4, "--iterations", 2]
    done = within("train-policy", *SMALL, "--consolidate", 30, *small, "--runs", tmp_path, "--name", "x")
    assert (done.returncode, done.stderr) == (0, "")
    policy = json.loads((tmp_path / "train-policy/x/policy.json").read_text())
    assert np.shape(policy["settings"]["weights"])[0] == 2


@pytest.mark.slow
def test_environments_have_a_third_action(trees):
    run, _ = trees
    env = LifetimeEnv(run / "seed0/table.npz", observes="nothing")
    assert env.action_space.n == 3
    alive = LifetimeEnv(
        train_size=60, validation_size=20, chunks=3, network="resnet:width=2", device="cpu", consolidate="30",
        learner="online:epochs=1", observes="nothing", tariff="day-night:period=2,day=2,night=0.5",
        recipe="sgd:batch=16",
    )  # fmt: skip
    found = []
    for each in (env, alive):
        each.reset(seed=0, options={"world": 0})
        for action in (2, 0, 2):
            *_, info = each.step(action)
        found.append(info)
    assert found[0]["schedule"] == found[1]["schedule"] == "CMC"
    assert found[0]["spent"] == pytest.approx(found[1]["spent"])


# What cannot be


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--policy", "sleep"],
            "expected an agent that offers consolidate for SleepPolicy, got one of memorize, learn",
        ),
        (["--consolidate", "0"], "expected never, a number of images from 1 to 1,000,000,000 (500), or release"),
        (["--consolidate", "release"], "expected never, a number of images"),
        (["--consolidate", "release:5", "--memory", "slda"], "expected a memory whose entries can be removed"),
        (
            ["--consolidate", "5", "--capacity", "shared:10MB", "--learner", "online:stored=9"],
            "expected neither re-keying nor consolidation with a capacity of 10,000,000 bytes",
        ),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, options, message):
    assert_refused(within("simulate", *TINY, "--runs", tmp_path, *options), message)


def test_a_curve_has_no_third_action(tmp_path):
    memories = ["--with-memories", "asleep = memory:knn | consolidate:5"]
    done = within("curve", *TINY, "--k", "50", "--seeds", 1, "--runs", tmp_path, *memories)
    assert_refused(done, "got consolidate in asleep")


@pytest.mark.slow
def test_two_actions_and_three_are_not_one_set_of_trees(trees, tmp_path):
    run, _ = trees
    two = within("tree", *SMALL, "--runs", tmp_path, "--name", "two")
    assert two.returncode == 0
    refused = within("evaluate", tmp_path / "tree/two", "--policies", "sleep", "--runs", tmp_path)
    assert_refused(refused, "expected one of the actions memorize, learn, as the table has them, got consolidate; grow")
    assert "another table with --consolidate 500" in refused.stderr
    both = within("frontier", run, tmp_path / "tree/two", "--runs", tmp_path)
    assert_refused(both, "actions")
