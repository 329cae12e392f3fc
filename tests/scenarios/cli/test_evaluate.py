"""`lifetime evaluate`: policies on the trees of a run."""

import csv
import io
import json

import pytest
from PIL import Image
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agent.policies import PolicyFile, policy_file_text
from scenarios.cli import show
from scenarios.oracle.regret import static_schedules
from tests.scenarios.commands import Done, assert_refused, kept, strictly, within
from tests.scenarios.tables import GAIN, GFLOP, paying, planted, synthetic


@pytest.fixture
def evaluated(trees, tmp_path):
    """Evaluates on those trees, in a run called x."""
    where = [trees, "--runs", tmp_path / "runs", "--name", "x"]
    return lambda *arguments: (within("evaluate", *where, *arguments), tmp_path / "runs/evaluate/x")


@pytest.fixture
def by_night(tmp_path):
    """A policy file, made by hand, that learns where compute is cheap."""
    path = tmp_path / "by-night/policy.json"
    path.parent.mkdir()
    path.write_text(policy_file_text(PolicyFile("linear", {"features": ["price"], "weights": [-1.0], "bias": 1.0})))
    return f"file:{path}"


def test_an_evaluation_shows_a_table_and_leaves_files(evaluated, trees):
    done, run = evaluated("--policies", "static:k=30; random:p=0.4")
    assert (done.returncode, done.stderr) == (0, "")
    for expected in (f"{trees}: 3 chunks, constant tariff, seeds 0 to 3", "oracle", "random:p=0.4", "static:k=30"):
        assert expected in done.stdout
    assert kept(run).keys() == {"config.json", "evaluation.json", "evaluation.csv", "evaluation.png", "differences.csv"}
    for name in kept(run).keys() - {"config.json"}:
        assert str(run / name) in done.stdout
    assert Image.open(run / "evaluation.png").size[0] > 300
    content = strictly((run / "evaluation.json").read_text())
    labels = [schedule["label"] for schedule in content["schedules"]]
    assert set(labels) >= {*map(str, static_schedules(3)), "oracle", "best fixed schedule", "linucb:cost_weight=0.01"}
    rows = list(csv.DictReader(io.StringIO((run / "evaluation.csv").read_text())))
    assert [row["schedule"] for row in rows] == labels
    differences = list(csv.DictReader(io.StringIO((run / "differences.csv").read_text())))
    assert len(differences) == len(content["differences"])
    assert [float(row["utility"]) for row in differences] == [
        difference["utility"]["estimate"] for difference in content["differences"]
    ]
    board = EventAccumulator(str(run)).Reload()
    assert board.Tags()["images"] == ["evaluation"]


def test_an_evaluation_says_what_its_trees_were_tuned_on(tmp_path):
    tuned = {
        "run": "0123abcd",
        "trials": 3,
        "maximized": "final_accuracy",
        "first_seed": 10**6,
        "seeds": 2,
        "dataset": "textures",
        "scenario": "iid",
        "own_test": False,
        "train_images": 60,
        "held_out": 12,
        "parts": {"memory": "ridge:limit=9"},
    }
    trees = [synthetic(seed, 3, memory="ridge:limit=9", tuned=tuned) for seed in range(2)]
    done = within("evaluate", planted(tmp_path / "trees", trees), "--runs", tmp_path, "--name", "x")
    assert done.returncode == 0, done.stderr
    content = strictly((tmp_path / "evaluate/x/evaluation.json").read_text())
    [note] = [note for note in content["notes"] if "tuned" in note]
    assert note.startswith("memory was tuned on seeds 1000000 to 1000001 of textures, iid")
    assert note in " ".join(done.stdout.split())


@pytest.mark.slow
def test_who_learns_by_night_is_ahead_and_that_is_said(tmp_path, by_night):
    run = planted(tmp_path / "trees", [paying(seed, 4) for seed in range(3)])
    done = within("evaluate", run, "--runs", tmp_path, "--name", "x", "--policies", by_night)
    assert (done.returncode, done.stderr) == (0, "")
    content = json.loads((tmp_path / "evaluate/x/evaluation.json").read_text())
    assert (content["best_fixed_schedule"], content["left_out"]) == ("MLML", [])
    found = {schedule["label"]: schedule["means"] for schedule in content["schedules"]}
    assert found[by_night]["regret"]["estimate"] == pytest.approx(0)
    assert found[by_night]["utility"]["estimate"] == pytest.approx(0.1 + 2 * GAIN - 2 * GFLOP * 0.5 * GAIN / GFLOP)
    assert "file:…/by-night" in done.stdout
    assert by_night not in done.stdout
    again = within("evaluate", run, "--runs", tmp_path, "--name", "x", "--policies", by_night, "--cost-weight", 0)
    assert_refused(again, "expected to continue the run")
    free = within("evaluate", run, "--runs", tmp_path, "--name", "free", "--policies", by_night, "--cost-weight", 0)
    assert free.returncode == 0
    assert json.loads((tmp_path / "evaluate/free/evaluation.json").read_text())["best_fixed_schedule"] == "LLLL"


@pytest.mark.slow
def test_the_same_again_json_and_quiet(evaluated):
    first, run = evaluated()
    before = kept(run)
    assert evaluated()[0] == first
    done, _ = evaluated("--json")
    assert strictly(done.stdout) == json.loads((run / "evaluation.json").read_text())
    assert evaluated("--quiet")[0] == Done(0, "", "")
    assert kept(run) == before


def test_an_infinite_budget_is_none(evaluated):
    done, _ = evaluated("--budget", "inf", "--json")
    assert strictly(done.stdout)["pricing"]["budget"] is None


@pytest.mark.slow
@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_a_table_fits_its_window(evaluated, monkeypatch, width):
    monkeypatch.setattr(show, "results_console", lambda: Console(width=width))
    done, _ = evaluated()
    table = done.stdout.partition("note:")[0].splitlines()
    assert max(map(len, table)) <= width
    heading = done.stdout.partition("──")[0]
    assert ("accuracy" in heading) == (width >= 100)
    assert ("at equal" in heading) == (width >= 160)
    assert ("in a wider window" in " ".join(done.stdout.split())) == (width < 160)


def test_a_single_tree_has_no_intervals(tmp_path):
    run = planted(tmp_path / "trees", [synthetic(7, 2)])
    done = within("evaluate", run, "--runs", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "seeds 7" in done.stdout
    assert "±" not in done.stdout.partition("means")[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policies", "lucky"], "expected a policy out of static"),
        (["--policies", "static:k=300"], "expected"),
        (["--policies", "file:/nowhere.json"], "expected a policy file at /nowhere.json, got none"),
        (["--policies", " ; "], "expected names with their settings"),
        (["--cost-weight", "nan"], "expected --cost-weight to be a finite number, got nan"),
        (["--cost-weight", "-1"], "expected --cost-weight to be greater than or equal to 0, got -1"),
        (["--cost", "prices:gflop=1e300"], "expected prices of at most 1e+15, got per_flop = 1e+291; lower it"),
        (["--policies", "forecast:noise=1e200"], "expected noise of at most 1e+30, got 1e+200"),
        (["--budget", "nan"], "expected --budget to be"),
        (["--confidence", "1.5"], "expected --confidence to be less than or equal to 0.999999, got 1.5"),
        (
            ["--confidence", "0.99999999999999994"],
            "expected --confidence to be less than or equal to 0.999999, got 0.99999999999999994",
        ),
        (["--confidence", "nan"], "expected --confidence to be a finite number, got nan"),
        (["--tariff", "free"], "expected a tariff out of constant"),
        (["--cost", "love"], "expected a cost model out of flops"),
        (["--name", "../x"], "expected --name to be a plain folder name"),
    ],
)
def test_what_cannot_be_leaves_nothing_behind(evaluated, arguments, message):
    done, run = evaluated(*arguments)
    assert_refused(done, message)
    assert not run.parent.parent.exists()


def test_runs_without_whole_trees_are_refused(tmp_path):
    assert_refused(within("evaluate", tmp_path / "none"), "expected a run of `lifetime tree` at")
    run = planted(tmp_path / "a", [synthetic(0, 2), synthetic(1, 2, network="resnet:width=2")])
    assert_refused(within("evaluate", run), "expected trees that differ in their seeds alone, got another network")
    table = run / "seed1/table.npz"
    content = bytearray(synthetic(1, 2).as_npz())
    content[len(content) // 3] ^= 255
    for damage in (bytes(content), b"", b"PK", content[:-50]):
        table.write_bytes(damage)
        assert_refused(within("evaluate", run), f"expected a schedule table at {table}, got: ")
    assert not list(tmp_path.glob("runs"))


def test_policies_that_saw_every_tree_are_refused(evaluated, tmp_path):
    path = tmp_path / "policy.json"
    settings = {"features": ["price"], "weights": [-1.0], "bias": 1.0}
    training = {"settings": {"dataset": "textures"}, "seeds": [0, 1, 2, 3]}
    path.write_text(policy_file_text(PolicyFile("linear", settings, training)))
    done, run = evaluated("--policies", f"file:{path}")
    assert_refused(
        done, "expected trees of seeds that no policy was trained on, got only those of 0, 1, 2, 3; grow more"
    )
    assert not run.exists()


@pytest.mark.slow
def test_a_resume_of_an_evaluation_shows_it_again(evaluated):
    done, run = evaluated()
    assert within("resume", run).stdout == done.stdout
