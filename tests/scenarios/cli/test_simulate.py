"""`lifetime simulate`, and what becomes of it when it is killed, starved and spoilt."""

import json
import os
import random
import resource
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agent.policies.registry import POLICIES
from agent.storage.record import open_run
from scenarios.running.code_digest import digest_of
from scenarios.streams.catalog import SCENARIOS
from tests.scenarios.commands import (
    TINY,
    Done,
    assert_advises_to_resume,
    assert_refused,
    ended,
    kept,
    lifetime,
    living,
    points,
    stopped,
    strictly,
    within,
)

LONG = (
    "--device cpu --train-size 800 --validation-size 40 --test-size 60 --chunks 40"
    " --learner online:epochs=2 --network resnet:width=4 "
    "--evaluate-every 8 --checkpoint-every 4 --policy disagreement:threshold=0.8 --rekey every:7 --name run"
).split()
"""Chunks of a few hundredths of a second, so that a kill can come between any two of them."""

EXAMPLES = {
    "static": "static:k=50",
    "interleaved": "interleaved:k=50",
    "periodic": "periodic:period=3",
    "budget": "budget:gflop=0.02",
}
"""Policies that must be told something."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A long run that nobody disturbed."""
    runs = tmp_path_factory.mktemp("whole")
    done = lifetime("simulate", *LONG, "--runs", runs)
    return runs / "simulate/run", done


@pytest.fixture
def finished(tmp_path):
    """A short one."""
    done = within("simulate", *TINY, "--runs", tmp_path / "short", "--name", "run")
    return tmp_path / "short/simulate/run", done


def assert_same(run, whole):
    assert kept(run) == kept(whole)
    assert points(run) == points(whole)


def test_a_clean_run_shows_what_was_decided_reached_and_paid(tmp_path):
    command = ["simulate", *TINY, "--policy", "disagreement:threshold=0.8", "--rekey", "every:4", "--name", "run"]
    done, run = within(*command, "--runs", tmp_path), tmp_path / "simulate/run"
    assert (done.returncode, done.stderr) == (0, "")
    for expected in ("textures, iid, policy disagreement:threshold=0.8, seed 0", "6 chunks:", "at the end, on the"):
        assert expected in done.stdout
    for expected in ("prequential", "rekey", "calibrate", "decide", "total", str(run / "summary.json"), "view --runs"):
        assert expected in done.stdout
    names = {"config.json", "scenario.json", "summary.json", "trajectory.jsonl", "weights.pt"}
    assert kept(run).keys() == names
    decisions = [json.loads(line)["action"] for line in (run / "trajectory.jsonl").read_text().splitlines()]
    assert {"learn", "memorize"} == set(decisions)
    assert "".join("L" if action == "learn" else "M" for action in decisions) in done.stdout.replace("\n", "")
    assert len(points(run)[".:memory/entries"]) == 6
    assert len(points(run)[".:accuracy/agent"]) == 3


@pytest.mark.slow
def test_killed_interrupted_and_spoilt_a_run_ends_in_the_same_bytes(whole, tmp_path):
    run, generator = tmp_path / "simulate/run", random.Random(0)
    digest_of()  # once in this process, so that the second of two at the same time comes before the first has ended
    arguments = ["simulate", *LONG, "--runs", tmp_path]
    for how in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
        done = stopped(run, how, generator, *arguments)
        assert not (run / "summary.json").exists()
        if how is not signal.SIGKILL:
            assert_advises_to_resume(done, run)
        arguments = ["resume", run]
    checkpoint = run / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1000])
    with living(run, *arguments) as process:  # one more, and a second at the same time
        assert_refused(within("resume", run), "another process is running in it; wait for it")
        errors = ended(process.returncode, *process.communicate(timeout=120)).stderr
    assert process.returncode == 0
    assert errors.startswith(f"warning: expected a checkpoint at {checkpoint}, got: ")
    assert errors.endswith("going on from the checkpoint before it\n")
    assert errors.count("\n") == 1
    assert_same(run, whole[0])


@pytest.mark.slow
def test_a_full_disk_ends_a_run_in_one_line_and_with_room_it_goes_on(whole, tmp_path):
    """Files cannot grow beyond a limit: the trajectory soon meets it, while checkpoints are as small as ever."""
    run = tmp_path / "simulate/run"
    limit = len((whole[0] / "trajectory.jsonl").read_bytes()) // 3

    def starve():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = lifetime("simulate", *LONG, "--runs", tmp_path, preexec_fn=starve)
    assert_refused(done, "File too large")
    assert not (run / "summary.json").exists()
    assert not list(run.rglob(".*.part"))
    n_lived = (run / "trajectory.jsonl").read_bytes().count(b"\n")
    assert 0 < n_lived < 40
    resumed = within("resume", run)
    assert (resumed.returncode, resumed.stderr) == (0, "")
    assert_same(run, whole[0])


def test_stopped_and_resumed_as_often_as_one_likes(finished, tmp_path):
    run, _ = finished
    other = tmp_path / "again/simulate/run"
    done = within("simulate", *TINY, "--runs", tmp_path / "again", "--name", "run", stop_after=1)
    for _ in range(4):
        assert done.returncode == 143
        assert_advises_to_resume(done, other)
        done = within("resume", other, stop_after=1)
    assert within("simulate", *TINY, "--runs", tmp_path / "again", "--name", "run").returncode == 0
    assert_same(other, run)


def test_without_a_usable_checkpoint_one_is_told_to_start_anew(finished, tmp_path):
    run, command = tmp_path / "x/simulate/run", ["simulate", *TINY, "--runs", tmp_path / "x", "--name", "run"]
    assert within(*command, stop_after=3).returncode == 143
    for path in run.glob("checkpoint*.pt"):
        path.write_bytes(b"\x80\x04years of work")
    before = kept(run)
    for arguments in (command, ["resume", run]):
        assert_refused(within(*arguments), "no other is left: start anew, with --force")
        assert kept(run) == before
    assert within(*command, "--force").returncode == 0
    assert_same(run, finished[0])


def test_a_finished_run_is_not_lived_again_unless_forced(finished):
    run, done = finished
    command = ["simulate", *TINY, "--runs", run.parents[1], "--name", "run"]
    before, stamp = kept(run), (run / "trajectory.jsonl").stat().st_mtime_ns
    assert within(*command).stdout == done.stdout
    assert within("resume", run).stdout == done.stdout
    assert (run / "trajectory.jsonl").stat().st_mtime_ns == stamp
    assert within(*command, "--force").stdout == done.stdout
    assert (run / "trajectory.jsonl").stat().st_mtime_ns != stamp
    assert kept(run) == before


def test_settings_that_cannot_be_lived_drop_nothing_even_if_forced(finished):
    run, _ = finished
    before = kept(run)
    command = ["simulate", *TINY, "--runs", run.parents[1], "--name", "run", "--force"]
    assert_refused(within(*command, "--chunks", 1000), "expected 1 to 120 chunks for 120 training images, got 1000")
    assert_refused(within(*command, "--keys", "stage7"), "expected keys from places of ResNet(depth=8")
    assert kept(run) == before


def test_another_configuration_under_the_same_name_is_refused(finished):
    run, _ = finished
    command = ["simulate", *TINY, "--runs", run.parents[1], "--name", "run"]
    assert_refused(within(*command, "--rekey", "on-learn"), "settings.rekey was 'never' and is now 'on-learn'")
    assert_refused(within(*command, "--policy", "novelty"), "settings.policy was 'loss' and is now 'novelty'")


def test_a_second_process_is_refused(tmp_path):
    with open_run(tmp_path / "simulate/run", {}):
        done = within("simulate", *TINY, "--runs", tmp_path, "--name", "run")
    assert_refused(done, "another process is running in it; wait for it")


@pytest.mark.parametrize("runs", ["/dev/null/runs", "/proc/nowhere", "{tmp}/file"])
def test_a_place_that_cannot_be_written_is_one_line(tmp_path, runs):
    (tmp_path / "file").write_text("not a folder")
    assert_refused(within("simulate", *TINY, "--runs", runs.format(tmp=tmp_path)), "expected to write in")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    assert_refused(within("simulate", *TINY, "--runs", tmp_path / "runs"), "Permission denied")


@pytest.fixture
def folder(tmp_path):
    """Forty small pictures in two classes."""
    generator = np.random.default_rng(0)
    for part, n in (("train", 14), ("test", 6)):
        for level, name in enumerate(("dark", "light")):
            place = tmp_path / "pictures" / part / name
            place.mkdir(parents=True)
            for i in range(n):
                pixels = generator.integers(0, 100, (32, 32, 3)) + 120 * level
                Image.fromarray(pixels.astype(np.uint8)).save(place / f"{i}.png")
    return tmp_path / "pictures"


def test_a_data_set_that_vanishes_is_one_line_and_when_it_is_back_the_run_goes_on(folder, tmp_path):
    few = (
        "--device cpu --validation-size 6 --chunks 6"
        " --learner online:epochs=1 --network resnet:width=2 --checkpoint-every 2"
    ).split()
    data = ["--dataset", f"folder:{folder}", "--data-dir", tmp_path / "cache"]
    command = ["simulate", *few, *data, "--name", "run", "--runs"]
    assert within(*command, tmp_path / "a").returncode == 0
    assert within(*command, tmp_path / "b", stop_after=3).returncode == 143
    run, before = tmp_path / "b/simulate/run", kept(tmp_path / "b/simulate/run")
    folder.rename(tmp_path / "elsewhere")
    for arguments in (["resume", run, "--data-dir", tmp_path / "cache"], [*command, tmp_path / "b"]):
        assert_refused(within(*arguments), str(folder))
        assert kept(run) == before
    (tmp_path / "elsewhere").rename(folder)
    changed = folder / "train/dark/0.png"
    shutil.copy2(changed, tmp_path / "0.png")
    Image.new("RGB", (32, 32)).save(changed)
    assert_refused(within("resume", run, "--data-dir", tmp_path / "cache"), "but data was")
    shutil.copy2(tmp_path / "0.png", changed)
    resumed = within("resume", run, "--data-dir", tmp_path / "cache")
    assert (resumed.returncode, resumed.stderr) == (0, "")
    assert_same(run, tmp_path / "a/simulate/run")


# What is printed


def test_json_is_strict_and_nothing_else_is_printed(finished):
    run, _ = finished
    for command in (["simulate", *TINY, "--runs", run.parents[1], "--name", "run"], ["resume", run]):
        done = within(*command, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        shown = strictly(done.stdout)
        assert shown.pop("run") == str(run)
        assert shown == json.loads((run / "summary.json").read_text())
    for name in ("config.json", "summary.json", "scenario.json", "seconds.json"):
        strictly((run / name).read_text())
    for line in (run / "trajectory.jsonl").read_text().splitlines():
        strictly(line)


def test_quiet_prints_nothing_but_errors(finished):
    run, _ = finished
    command = ["simulate", *TINY, "--runs", run.parents[1], "--name", "run", "--quiet"]
    for arguments in (command, ["resume", run, "--quiet"], [*command, "--force"]):
        assert within(*arguments) == Done(0, "", "")
    assert_refused(within(*command, "--policy", "nope"), "expected a policy out of")


# What can be lived


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_lives(tmp_path, policy):
    offer = ("--consolidate", "10") if policy == "sleep" else ()
    command = ("simulate", *TINY, "--runs", tmp_path, "--policy", EXAMPLES.get(policy, policy), *offer)
    done = within(*command, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    summary = strictly(done.stdout)
    assert summary["policy"].partition(":")[0] == policy
    assert summary["n_chunks"] == 6
    assert 0 <= summary["metrics"]["learned_fraction"] <= 1
    if policy in ("static", "interleaved"):
        assert summary["metrics"]["learned_fraction"] == 0.5


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("learner", ["online", "refit"])
def test_every_scenario_is_lived_by_either_learner(tmp_path, scenario, learner):
    given = ["--scenario", scenario, "--learner", f"{learner}:epochs=1", "--chunks", 10, "--policy", "interleaved:k=50"]
    done = within("simulate", *TINY, "--runs", tmp_path, *given, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    summary = strictly(done.stdout)
    run = Path(summary["run"])
    truth = strictly((run / "scenario.json").read_text())
    assert truth["scenario"] == scenario
    assert len(truth["by_chunk"]["experience"]) == len(truth["by_chunk"]["price"]) == 10
    in_one_experience = scenario in ("iid", "noisy-labels", "long-tailed", "zipf")
    if in_one_experience:
        assert summary["accuracy_matrix"] == []
    else:
        assert np.shape(summary["accuracy_matrix"]) == (1 + len(summary["visited"]), 5)
        assert summary["metrics"]["forgetting"] is not None
    table = within("resume", run).stdout
    assert f"textures, {scenario}, policy interleaved:k=50, seed 0" in table
    assert ("forgetting" in table) != in_one_experience


@pytest.mark.parametrize("rekey", ["never", "on-learn", "every:2"])
def test_every_rekeying_is_lived_and_paid(tmp_path, rekey):
    given = ["--rekey", rekey, "--policy", "periodic:period=2"]
    metrics = strictly(within("simulate", *TINY, "--runs", tmp_path, *given, "--json").stdout)["metrics"]
    assert (metrics["rekey_gflop"] > 0) == (rekey != "never")


@pytest.mark.parametrize(
    ("cost", "unit"),
    [("flops", "GFLOP"), ("cloud", "EUR"), ("energy", "J"), ("prices:gflop=2,megabyte_chunk=0.5,unit=beans", "beans")],
)
def test_every_cost_model_is_paid_in_its_unit(tmp_path, cost, unit):
    command = ["simulate", *TINY, "--runs", tmp_path, "--cost", cost, "--policy", "interleaved:k=50"]
    done = within(*command)
    assert done.returncode == 0
    assert unit in done.stdout
    summary = strictly(within(*command, "--json").stdout)
    assert summary["cost_unit"] == unit
    metrics = summary["metrics"]
    if unit == "GFLOP":
        assert metrics["total_cost"] == pytest.approx(metrics["total_gflop"])
    if unit == "beans":
        assert metrics["total_cost"] == pytest.approx(2 * metrics["total_gflop"] + metrics["storage_cost"])


def test_chunks_of_a_size_and_a_budget(tmp_path):
    few = [argument for argument in TINY if argument not in ("--chunks", "6")]
    given = ["--chunk-size", 50, "--budget", 0.1, "--policy", "budget:gflop=0.05", "--tariff", "day-night:period=2"]
    done = within("simulate", *few, "--runs", tmp_path, *given, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    summary = strictly(done.stdout)
    lines = (Path(summary["run"]) / "trajectory.jsonl").read_text().splitlines()
    assert [json.loads(line)["samples"] for line in lines] == [50, 100, 120]
    assert [json.loads(line)["price"] for line in lines] == [1.5, 0.5, 1.5]
    assert summary["metrics"]["learn_gflop"] <= 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policy", "nope"], "expected a policy out of static, interleaved"),
        (["--policy", "static"], "expected a setting k for static, as in static:k=20"),
        (["--policy", "static:k=many"], "expected k of static to be a number, got many"),
        (["--policy", "static:k=101"], "expected k in 0..100, got 101"),
        (["--policy", "static:k=20,j=3"], "j"),
        (["--policy", "loss:threshold=nan"], "expected a finite threshold of at least 0, got nan"),
        (["--policy", "random:p=2"], "expected p in 0..1, got 2"),
        (
            ["--policy", "budget"],
            "expected a budget, got none; set gflop or cost of the policy",
        ),
        (["--policy", "uncertainty:measure=doubt"], "expected measure of uncertainty to be one of entropy, margin"),
        (["--policy", "nowhere.Mine"], "expected a module nowhere in the current directory"),
        (["--policy", "json.JSONDecoder"], "expected json.JSONDecoder to be a subclass of agent.policies.Policy"),
        (["--policy", "os.path"], "expected os.path to be a subclass of agent.policies.Policy"),
        (["--policy", ""], "expected a name, with settings as in static:k=20"),
        (["--scenario", "nope"], "expected a scenario out of iid, class-incremental, blurred, recurring, drift"),
        (["--scenario", "class-incremental:experiences=100"], "expected 1 to"),
        (["--scenario", "recurring:visits=0"], "expected at least 1 visit"),
        (["--scenario", "drift:kind=smell"], "expected kind of drift to be one of contrast, hue, corruption"),
        (["--tariff", "nope"], "expected a tariff out of constant"),
        (["--tariff", "day-night:period=1"], "expected a period of at least 2 chunks, got 1"),
        (["--cost", "nope"], "expected a cost model out of flops, cloud, energy, prices"),
        (["--cost", "cloud:tflops=0"], "expected tflops above 0, got 0"),
        (["--cost", "prices:gflop=-1"], "expected prices that are finite and at least 0"),
        (["--rekey", "every:0"], "expected never, on-learn or every:n with n of 1 chunk or more, got 'every:0'"),
        (["--rekey", "always"], "expected never, on-learn or every:n"),
        (["--chunks", "500"], "expected 1 to 120 chunks for 120 training images, got 500"),
        (["--chunks", "0"], "expected --chunks to be greater than or equal to 1, got 0"),
        (["--chunk-size", "0"], "expected --chunk-size to be greater than or equal to 1, got 0"),
        (["--chunk-size", "50"], "expected 1 to 2 chunks of 50 for 120 training images, got 6"),
        (["--budget", "-1"], "expected --budget to be greater than or equal to 0, got -1"),
        (["--budget", "nan"], "expected --budget to be a finite number, got nan"),
        (["--checkpoint-every", "0"], "expected --checkpoint-every to be greater than or equal to 1, got 0"),
        (["--seed", "-1"], "expected --seed to be greater than or equal to 0, got -1"),
        (["--seeds", "2"], "--seeds"),
        (["--preset", "cifar10-small"], "expected a preset out of quick, cifar10, got cifar10-small"),
        (["--name", "a/b"], "expected --name to be a plain folder name, got 'a/b'"),
        (["--recipe", "sgd:lr=1e30", "--policy", "static:k=100"], "expected a finite training loss"),
        (["--dataset", "folder:/nowhere"], "/nowhere"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(tmp_path, arguments, message):
    assert_refused(within("simulate", *TINY, "--runs", tmp_path, *arguments), message)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "found no config.json there; give the folder of a run"),
        ("{", "expected JSON in"),
        ("[]", "expected a JSON object in"),
        ("{}", "expected a run of this program at"),
        ('{"experiment": "simulate", "preset": "quick", "settings": 3}', "expected a run of this program at"),
        ('{"experiment": "simulate", "preset": "quick", "settings": {"chunks": -1}}', "expected --chunks"),
        (
            '{"experiment": "simulate", "preset": "quick", "settings": {"depth": 8}}',
            "got --depth, as it was called before (in the settings of the run at",
        ),
        ('{"experiment": "dance", "preset": "quick", "settings": {}}', "expected a run of simulate, compare, "),
    ],
)
def test_only_a_run_can_be_resumed(tmp_path, config, message):
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    assert_refused(within("resume", tmp_path), message)


@pytest.mark.cifar
def test_a_life_on_real_cifar10_in_experiences_under_a_tariff(cifar_folder, tmp_path):
    few = (
        "--train-size 500 --validation-size 100 --test-size 200 --chunks 10 --network resnet:width=4"
        " --learner online:epochs=1"
    ).split()
    world = ["--dataset", f"folder:{cifar_folder}", "--scenario", "class-incremental", "--tariff", "day-night"]
    done = lifetime("simulate", *few, *world, "--policy", "tariff", "--runs", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert len(summary["accuracy_matrix"]) == 6
    assert summary["metrics"]["learned_fraction"] == 0.5
