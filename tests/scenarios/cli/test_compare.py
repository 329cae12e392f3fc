"""`lifetime compare`: policies lived side by side, and finished runs."""

import csv
import io
import json
import random
import signal

import pytest
from PIL import Image

from agent.storage.record import open_run
from tests.scenarios.commands import (
    TINY,
    Done,
    assert_advises_to_resume,
    assert_refused,
    kept,
    lifetime,
    points,
    stopped,
    strictly,
    within,
)

LONG = (
    "--device cpu --train-size 400 --validation-size 40 --test-size 60 --chunks 20"
    " --learner online:epochs=2 --network resnet:width=4 --seeds 2 "
    "--evaluate-every 6 --checkpoint-every 4 --name run"
).split()
LONG += ["--policies", "static:k=50 loss:threshold=0.9"]
TWO = [*TINY, "--policies", "static:k=50 loss", "--seeds", "2"]

OWN = """
from agent.policies import Action, Policy


class Mine(Policy):
    observes = "learner"

    def __init__(self, threshold: float, patience: int = 2) -> None:
        self.threshold, self.patience, self.waited = threshold, patience, 0

    def decide(self, observation):
        self.waited += 1
        if observation.learner_loss < self.threshold or self.waited < self.patience:
            return Action.MEMORIZE
        self.waited = 0
        return Action.LEARN


class Unhelpful(Policy):
    def decide(self, observation):
        return "whatever"
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A long comparison that nobody disturbed."""
    runs = tmp_path_factory.mktemp("whole")
    done = lifetime("compare", *LONG, "--runs", runs)
    return runs / "compare/run", done


@pytest.fixture
def simulated(tmp_path):
    """Lives a short lifetime; returns its folder."""

    def live(name, *arguments, **how):
        done = within("simulate", *TINY, "--runs", tmp_path / "runs", "--name", name, *arguments, **how)
        assert done.returncode == (143 if how else 0), done.stderr
        return tmp_path / "runs/simulate" / name

    return live


@pytest.fixture
def compared(tmp_path):
    """Compares finished runs within a folder of their own; returns how it ended, and where it wrote."""

    def compare(*arguments):
        return within("compare", *arguments, "--runs", tmp_path / "compared", "--name", "x")

    compare.path = tmp_path / "compared/compare/x"
    return compare


def table(run):
    return {row["schedule"]: row for row in csv.DictReader(io.StringIO((run / "comparison.csv").read_text()))}


@pytest.mark.slow
def test_a_clean_comparison_shows_a_table_the_best_and_where_to_look(whole):
    run, done = whole
    assert (done.returncode, done.stderr) == (0, "")
    for expected in (
        "textures, iid",
        "static:k=50",
        "loss:threshold=0.9",
        "best final accuracy at each budget",
    ):
        assert expected in done.stdout
    for name in ("comparison.png", "comparison.csv", "comparison.json"):
        assert str(run / name) in done.stdout
    assert Image.open(run / "comparison.png").size[0] > 300
    lifetimes = {f"seed{seed}/{policy}" for seed in (0, 1) for policy in ("static-k50", "loss-threshold0.9")}
    files = {"trajectory.jsonl", "summary.json", "weights.pt"}
    own = {"config.json", "comparison.json", "comparison.csv", "comparison.png"}
    truths = {"seed0/scenario.json", "seed1/scenario.json"}
    assert kept(run).keys() == own | truths | {f"{life}/{name}" for life in lifetimes for name in files}


@pytest.mark.slow
def test_means_are_those_of_the_summaries(whole):
    run, _ = whole
    comparison = strictly((run / "comparison.json").read_text())
    assert comparison["seeds"] == [0, 1]
    assert comparison["unit"] == "GFLOP"
    assert set(comparison["front"]) <= {"static:k=50", "loss:threshold=0.9"}
    for schedule, folder in zip(comparison["schedules"], ("static-k50", "loss-threshold0.9"), strict=True):
        metrics = [json.loads((run / f"seed{s}" / folder / "summary.json").read_text())["metrics"] for s in (0, 1)]
        assert [schedule["by_seed"][str(seed)] for seed in (0, 1)] == metrics
        for name in ("final_accuracy", "total_cost", "prequential_accuracy", "learn_gflop"):
            mean = (metrics[0][name] + metrics[1][name]) / 2
            assert schedule["means"][name]["estimate"] == pytest.approx(mean)
            assert float(table(run)[schedule["label"]][name]) == pytest.approx(mean)


@pytest.mark.slow
def test_killed_and_interrupted_a_comparison_ends_in_the_same_bytes(whole, tmp_path):
    run, generator = tmp_path / "compare/run", random.Random(1)
    arguments = ["compare", *LONG, "--runs", tmp_path]
    for how in (signal.SIGKILL, signal.SIGTERM):
        done = stopped(run, how, generator, *arguments)
        assert not (run / "comparison.json").exists()
        if how is not signal.SIGKILL:
            assert_advises_to_resume(done, run)
        arguments = ["resume", run]
    resumed = within("resume", run)
    assert (resumed.returncode, resumed.stderr) == (0, "")
    assert kept(run) == kept(whole[0])
    assert points(run) == points(whole[0])


@pytest.mark.slow
def test_stopped_and_resumed_as_often_as_one_likes(tmp_path):
    command = ["compare", *TWO, "--name", "run", "--runs"]
    assert within(*command, tmp_path / "a").returncode == 0
    run, n_stopped = tmp_path / "b/compare/run", 0
    done = within(*command, tmp_path / "b", stop_after=3)
    while done.returncode == 143:
        n_stopped += 1
        assert_advises_to_resume(done, run)
        done = within("resume", run, stop_after=3)
    assert done.returncode == 0
    assert n_stopped > 3
    assert kept(run) == kept(tmp_path / "a/compare/run")
    assert points(run) == points(tmp_path / "a/compare/run")


@pytest.mark.slow
def test_a_finished_comparison_is_not_lived_again_unless_forced(tmp_path):
    command = ["compare", *TWO, "--name", "run", "--runs", tmp_path]
    first, run = within(*command), tmp_path / "compare/run"
    assert (first.returncode, first.stderr) == (0, "")
    lines = run / "seed1/loss/trajectory.jsonl"
    before, stamp = kept(run), lines.stat().st_mtime_ns
    for again in (within(*command), within("resume", run)):
        assert again == first
        assert lines.stat().st_mtime_ns == stamp
    assert within(*command, "--force") == first
    assert lines.stat().st_mtime_ns != stamp
    assert kept(run) == before


@pytest.mark.slow
def test_json_and_quiet(tmp_path):
    command = ["compare", *TWO, "--name", "run", "--runs", tmp_path]
    assert within(*command, "--quiet") == Done(0, "", "")
    run = tmp_path / "compare/run"
    for arguments in (command, ["resume", run]):
        done = within(*arguments, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        assert strictly(done.stdout) == json.loads((run / "comparison.json").read_text())


@pytest.fixture(scope="module")
def with_own(tmp_path_factory):
    """Where a module with a policy lies, and a comparison that was lived there, in a process of its own."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_policy.py").write_text(OWN)
    policies = ["--policies", "static:k=50 own_policy.Mine:threshold=1"]
    command = ["compare", *TINY, *policies, "--seeds", 1, "--name", "run", "--runs", folder, "--json"]
    return folder, lifetime(*command, cwd=folder)


@pytest.mark.slow
def test_a_policy_of_one_s_own_lives_beside_the_others(with_own):
    folder, done = with_own
    assert (done.returncode, done.stderr) == (0, "")
    labels = [schedule["label"] for schedule in strictly(done.stdout)["schedules"]]
    assert labels == ["static:k=50", "own_policy.Mine:threshold=1"]
    config = json.loads((folder / "compare/run/config.json").read_text())
    assert config["own_code"].keys() == {"own_policy.Mine:threshold=1"}


@pytest.mark.slow
def test_a_policy_of_one_s_own_is_found_again_by_resume(with_own):
    folder, done = with_own
    again = lifetime("resume", folder / "compare/run", "--json", cwd=folder)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == done.stdout


def test_a_policy_of_one_s_own_that_fails_or_changes_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "own_failing.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    command = ["compare", *TINY, "--seeds", 1, "--name", "run", "--runs", tmp_path, "--policies"]
    refused = {
        "own_failing.Mine": "expected a setting threshold for own_failing.Mine, as in own_failing.Mine:threshold=20",
        "own_failing.Yours": "expected a class Yours in module own_failing",
        "own_failing.Unhelpful": "expected Unhelpful.decide to give an Action out of memorize, learn, got 'whatever'",
    }
    for policy, message in refused.items():
        assert_refused(within(*command, policy, "--force"), message)
    assert within(*command, "own_failing.Mine:threshold=1", "--force").returncode == 0
    (tmp_path / "own_failing.py").write_text(OWN + "\n# the same one, with a comment\n")
    assert within(*command, "own_failing.Mine:threshold=1").returncode == 0
    (tmp_path / "own_failing.py").write_text(OWN + "\nANOTHER_ONE = True\n")
    assert_refused(within(*command, "own_failing.Mine:threshold=1"), "own_code")


# Finished runs


@pytest.mark.slow
def test_finished_runs_stand_beside_each_other(simulated, compared):
    runs = [
        simulated(f"{policy}{seed}", "--policy", policy, "--seed", seed)
        for policy in ("static:k=50", "novelty")
        for seed in (0, 1)
    ]
    before = [kept(run) for run in runs]
    done = compared(*runs)
    assert (done.returncode, done.stderr) == (0, "")
    assert "textures, iid" in done.stdout
    comparison = strictly((compared.path / "comparison.json").read_text())
    assert [schedule["label"] for schedule in comparison["schedules"]] == ["static:k=50", "novelty"]
    assert [note.partition(" ")[0] for note in comparison["notes"]] == ["each", "2"]  # what the intervals hold
    for run, schedule, seed in zip(runs, (0, 0, 1, 1), (0, 1, 0, 1), strict=True):
        metrics = json.loads((run / "summary.json").read_text())["metrics"]
        assert comparison["schedules"][schedule]["by_seed"][str(seed)] == metrics
    assert set(table(compared.path)) == {"static:k=50", "novelty"}
    assert Image.open(compared.path / "comparison.png").format == "PNG"
    assert [kept(run) for run in runs] == before
    shown = compared(*runs, "--json")
    assert (strictly(shown.stdout), shown.stderr) == (comparison, "")
    assert compared(*runs, "--quiet") == Done(0, "", "")


@pytest.mark.slow
def test_lived_together_or_alone_is_the_same_comparison(simulated, compared, tmp_path):
    runs = [simulated(policy, "--policy", policy) for policy in ("static:k=50", "loss")]
    assert compared(*runs).returncode == 0
    command = ["compare", *TINY, "--policies", "static:k=50 loss", "--seeds", 1, "--name", "run", "--runs", tmp_path]
    assert within(*command).returncode == 0
    together = tmp_path / "compare/run"
    for name in ("comparison.json", "comparison.csv", "comparison.png"):
        assert (together / name).read_bytes() == (compared.path / name).read_bytes(), name
    again = within("compare", together, "--runs", tmp_path / "once-more", "--json")
    assert again.stdout == (together / "comparison.json").read_text()


def test_runs_of_other_agents_are_other_schedules(simulated, compared):
    runs = [simulated(name, "--rekey", rekey) for name, rekey in (("a", "never"), ("b", "on-learn"), ("c", "every:2"))]
    assert compared(*runs).returncode == 0
    assert list(table(compared.path)) == ["loss rekey=never", "loss rekey=on-learn", "loss rekey=every:2"]


def test_a_level_of_confidence_can_be_asked_for(simulated, compared):
    runs = [simulated(str(seed), "--seed", seed) for seed in (0, 1)]
    assert compared(*runs, "--confidence", 0.5).returncode == 0
    assert strictly((compared.path / "comparison.json").read_text())["confidence"] == 0.5
    assert_refused(
        compared(*runs, "--confidence", 1), "expected --confidence to be less than or equal to 0.999999, got 1"
    )
    assert_refused(
        compared(*runs, "--recipe", "sgd:lr=0.1"), "expected no settings beside finished runs, which have their own"
    )


def test_utility_is_told_where_a_cost_weight_is_given(simulated, compared):
    runs = [simulated(policy, "--policy", policy) for policy in ("static:k=50", "loss")]
    assert "utility in points" not in compared(*runs).stdout
    done = compared(*runs, "--cost-weight", 0.5, "--force")
    assert "utility in points: final accuracy - 0.5 × total cost in GFLOP" in done.stdout
    for schedule in strictly((compared.path / "comparison.json").read_text())["schedules"]:
        [metrics] = schedule["by_seed"].values()
        assert metrics["utility"] == metrics["final_accuracy"] - 0.5 * metrics["total_cost"]
    assert_refused(compared(*runs, "--cost-weight", -1), "expected --cost-weight to be greater than or equal to 0")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("--dataset", "digits", "got dataset 'textures' in"),
        ("--scenario", "drift", "got scenario 'iid' in"),
        ("--tariff", "day-night", "got tariff 'constant' in"),
        ("--cost", "energy", "got cost 'flops' in"),
        ("--train-size", "100", "got train_size 120 in"),
        ("--chunks", "5", "got chunks 6 in"),
        ("--evaluate-every", "3", "got evaluate_every 2 in"),
        ("--seed", "1", "expected the same seeds for every schedule, got 0 for static:k=50 and 1 for loss"),
    ],
)
def test_runs_of_other_worlds_are_refused(simulated, compared, setting, value, message):
    runs = [simulated("a", "--policy", "static:k=50"), simulated("b", setting, value)]
    done = compared(*runs)
    assert_refused(done, message)
    assert not compared.path.exists()
    if setting != "--seed":
        assert "expected runs of one data set, scenario and measure" in done.stderr
        assert str(runs[1]) in done.stderr


def test_the_same_lifetime_twice_is_refused(simulated, compared):
    run = simulated("a")
    assert_refused(compared(run, run), "expected each schedule and seed once, got loss with seed 0 twice")


@pytest.mark.slow
def test_an_unfinished_run_is_refused_with_advice(simulated, compared, tmp_path):
    runs = [simulated("a"), simulated("b", "--policy", "novelty", stop_after=3)]
    done = compared(*runs)
    assert_refused(done, f"expected a finished lifetime at {runs[1]}, got one without summary.json")
    assert f"`lifetime resume {runs[1]}`" in done.stderr
    command = ["compare", *TWO, "--name", "half", "--runs", tmp_path]
    assert within(*command, stop_after=15).returncode == 143
    assert_refused(compared(tmp_path / "compare/half"), f"`lifetime resume {tmp_path / 'compare/half'}`")
    assert within("resume", runs[1]).returncode == 0
    assert compared(*runs).returncode == 0


def test_what_is_no_run_is_refused(simulated, compared, tmp_path):
    run = simulated("a")
    assert_refused(compared(run, tmp_path / "nowhere"), "found no config.json there; give the folder of a run")
    config = json.loads((run / "config.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    (other / "summary.json").write_bytes((run / "summary.json").read_bytes())
    spoilt = {
        "{": "expected JSON in",
        "{}": "expected a run of this program at",
        json.dumps(config | {"experiment": "curve"}): "expected a run of simulate, compare, reproduce or sweep at",
        json.dumps(config | {"settings": None}): "expected settings by name, got None (in the settings of the run at",
    }
    for text, message in spoilt.items():
        (other / "config.json").write_text(text)
        assert_refused(compared(other), message)
    (other / "config.json").write_text(json.dumps(config))
    for text in ("{}", '{"metrics": {"final_accuracy": "high"}}', '{"metrics": []}', "["):
        (other / "summary.json").write_text(text)
        assert_refused(compared(other), "summary")
    settings = config["settings"] | {"chunks": -1}
    (other / "config.json").write_text(json.dumps(config | {"settings": settings}))
    (other / "summary.json").write_bytes((run / "summary.json").read_bytes())
    assert_refused(compared(other), "expected --chunks to be greater than or equal to 1, got -1")


def test_runs_of_another_source_are_compared_with_a_note(simulated, compared):
    runs = [simulated("a"), simulated("b", "--policy", "novelty")]
    path = runs[1] / "config.json"
    config = json.loads(path.read_text())
    config["versions"]["torch"] = "0.4"
    path.write_text(json.dumps(config))
    done = compared(*runs)
    assert done.returncode == 0
    assert (
        f"{runs[1]} ran with other versions, other code, another --compile or another machine than {runs[0]}"
        in done.stdout
    )
    assert len(json.loads((compared.path / "comparison.json").read_text())["notes"]) == 3


# What cannot be


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policies", "nope"], "expected a policy out of static"),
        (["--policies", "static:k=20 static"], "expected a setting k for static"),
        (["--policies", "loss loss:threshold=1"], "expected each policy once, got loss 2 times"),
        (["--policies", " ; "], "separated by blanks or semicolons"),
        (["--policies", "static:k=20,k=30"], "expected each setting of static once, got k twice"),
        (["--scenario", "nope"], "expected a scenario out of"),
        (["--rekey", "every:0"], "expected never, on-learn or every:n"),
        (["--seeds", "0"], "expected --seeds to be greater than or equal to 1, got 0"),
        (["--confidence", "1.5"], "expected --confidence to be less than or equal to 0.999999, got 1.5"),
        (["--chunks", "500"], "expected 1 to 120 chunks for 120 training images, got 500"),
        (["--policy", "loss"], "--policy"),
        (["--runs", "/dev/null/runs"], "expected to write in /dev/null/runs"),
        (["--name", ".."], "expected --name to be a plain folder name"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(tmp_path, arguments, message):
    assert_refused(within("compare", *TWO, "--runs", tmp_path, *arguments), message)


def test_a_second_process_is_refused(tmp_path):
    with open_run(tmp_path / "compare/run", {}):
        done = within("compare", *TWO, "--runs", tmp_path, "--name", "run")
    assert_refused(done, "another process is running in it; wait for it")
