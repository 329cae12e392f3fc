"""`lifetime tune`: a search on held-out training images, and the runs that use what it found."""

import csv
import dataclasses
import json
import signal
from importlib.util import find_spec

import numpy as np
import pytest

from agent.data.chunk import LabelledInputs
from scenarios.config.presets import from_toml
from tests.scenarios import commands
from tests.scenarios.commands import assert_refused, kept, lifetime, living, n_lines

WORLD = (
    "--device cpu --train-size 60 --validation-size 10 --test-size 20 --chunks 4 --learner online:epochs=1"
    " --network resnet:width=2 --evaluate-every 2 --checkpoint-every 2"
).split()
SEARCH = ["--search", "recipe.lr = 0.01 .. 0.3 log", "--search", "memory = cache | ridge"]
TUNE = ["tune", *WORLD, *SEARCH, "--seeds", 2, "--trials", 4, "--at-a-time", 2]


@pytest.fixture
def within():
    """The command line within this process, one task after the other."""

    def call(*arguments, **how):
        here = ["--executor", "serial"] if arguments[0] in ("tune", "resume", "sweep") else []
        return commands.within(*arguments, *here, **how)

    return call


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A search that nobody disturbed."""
    runs = tmp_path_factory.mktemp("whole")
    done = commands.within(*TUNE, "--executor", "serial", "--runs", runs, "--name", "run")
    assert done.returncode == 0
    return runs / "tune/run"


def results(run):
    """All bytes of a search but those of the journal, which has times."""
    return {name: content for name, content in kept(run).items() if name != "journal.log"}


def assert_equal(run, other):
    here, there = results(run), results(other)
    assert here.keys() == there.keys()
    assert {name for name in here if here[name] != there[name]} == set()


def rows(run):
    with (run / "tune.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_trial_is_worth_the_mean_of_its_lifetimes_and_the_best_is_written(whole, within, tmp_path):
    found = rows(whole)
    assert [row["trial"] for row in found] == ["0", "1", "2", "3"]
    for row in found:
        lived = [
            json.loads((whole / row["folder"] / f"seed{seed}/summary.json").read_text()) for seed in (10**6, 10**6 + 1)
        ]
        accuracies = [each["metrics"]["final_accuracy"] for each in lived]
        assert float(row["final_accuracy"]) == pytest.approx(np.mean(accuracies), abs=1e-12)
        assert {each["n_test"] for each in lived} == {12}, "a fifth of the training images"
    best = max(found, key=lambda row: float(row["final_accuracy"]))
    settings = from_toml(whole / "best.toml")
    assert settings["memory"] == best["memory"]
    assert f"lr={best['recipe.lr']}" in settings["recipe"]
    assert settings["tuned"]["parts"] == {name: settings[name] for name in ("recipe", "memory")}
    assert (whole / "tune.png").stat().st_size > 10_000
    shown = within("resume", whole, "--json")
    assert json.loads(shown.stdout)["best"] == int(best["trial"])
    assert shown.stderr == ""


def test_no_test_image_is_seen(whole, within, tmp_path, monkeypatch):
    from scenarios.running import world

    def garbage(*arguments, **settings):
        dataset = load(*arguments, **settings)
        inputs, labels = dataset.test.inputs, dataset.test.labels
        return dataclasses.replace(dataset, test=LabelledInputs(255 - inputs, (labels + 3) % dataset.n_classes))

    load = world.load_dataset
    monkeypatch.setattr(world, "load_dataset", garbage)
    assert within(*TUNE, "--runs", tmp_path, "--name", "run").returncode == 0
    assert_equal(tmp_path / "tune/run", whole)


def test_no_test_image_of_a_file_is_seen(within, tmp_path):
    generator = np.random.default_rng(0)
    x_train = generator.integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
    y_train = np.arange(60) % 3
    tables = []
    for number in range(2):
        x_test, y_test = generator.integers(0, 256, (9, 8, 8, 3), dtype=np.uint8), generator.integers(0, 3, 9)
        path = tmp_path / f"data{number}.npz"
        np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
        small = "--validation-size 6 --chunks 3 --network mlp --device cpu --seeds 1 --trials 2 --held-out 10".split()
        command = ["tune", "--dataset", f"npz:{path}", *small, "--search", "recipe.lr = 0.01 .. 0.3 log"]
        done = within(*command, "--runs", tmp_path, "--name", f"run{number}", "--json")
        assert done.returncode == 0, done.stderr
        run = tmp_path / f"tune/run{number}"
        tables.append((rows(run), [path.read_bytes() for path in sorted(run.rglob("trajectory.jsonl"))]))
        assert json.loads(done.stdout)["tuned"]["own_test"]
    assert tables[0] == tables[1]


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", [1, 5, 9, 14, 20, 31])
def test_an_interrupted_search_goes_on(whole, within, tmp_path, stop_after):
    stopped = within(*TUNE, "--runs", tmp_path, "--name", "run", stop_after=stop_after)
    assert stopped.returncode == 143
    run = tmp_path / "tune/run"
    assert within("resume", run).returncode == 0
    assert_equal(run, whole)


@pytest.mark.slow
def test_a_killed_search_goes_on_and_workers_change_nothing(whole, tmp_path):
    command = [*TUNE, "--runs", tmp_path, "--name", "run", "--workers", 2]
    run = tmp_path / "tune/run"
    for after in (3, 5):
        with living(run, *command, after=after) as process:
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert 0 < n_lines(run) < n_lines(whole)
    done = lifetime(*command)
    assert (done.returncode, done.stderr) == (0, ""), "nothing of Optuna is printed"
    assert_equal(run, whole)


@pytest.mark.slow
def test_a_search_that_grows_goes_on_in_its_folder(whole, within, tmp_path):
    command = [*TUNE[:-4], "--at-a-time", 2, "--runs", tmp_path, "--trials"]
    assert within(*command, 2).returncode == 0
    [run] = (tmp_path / "tune").iterdir()
    before = {path: path.stat().st_mtime_ns for path in run.rglob("summary.json")}
    assert len(rows(run)) == 2
    assert within(*command, 4, stop_after=3).returncode == 143
    assert within(*command, 4).returncode == 0
    assert [*(tmp_path / "tune").iterdir()] == [run]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert_equal(run, whole)
    assert_refused(within(*command, 2), "expected at least the 4 trials that the run has, got 2; give --trials 4")


@pytest.mark.slow
def test_suggestions_depend_on_the_seed_of_the_sampler_alone(whole, within, tmp_path):
    command = ["tune", *WORLD, *SEARCH, "--seeds", 1, "--trials", 2, "--runs", tmp_path, "--name"]
    assert within(*command, "same", "--chunks", 2).returncode == 0
    assert within(*command, "other", "--chunks", 2, "--sampler-seed", 1).returncode == 0
    points = [[row["recipe.lr"] for row in rows(run)[:2]] for run in (whole, *(tmp_path / "tune").glob("*"))]
    assert sorted(map(str, points)).count(str(points[0])) == 2


def test_trials_that_suggest_the_same_share_their_lifetimes(within, tmp_path):
    command = ["tune", *WORLD, "--search", "memory = cache | ridge", "--seeds", 1, "--trials", 5]
    assert within(*command, "--runs", tmp_path, "--name", "run").returncode == 0
    run = tmp_path / "tune/run"
    assert len([*run.glob("trial*")]) == 2
    folders = {(row["memory"], row["folder"], row["final_accuracy"]) for row in rows(run)}
    assert len(folders) == 2


def test_a_trial_that_fails_is_listed_and_the_search_goes_on(within, tmp_path):
    command = ["tune", *WORLD, "--search", "recipe.lr = 0.05 | 1e30", "--seeds", 1, "--trials", 6, "--runs", tmp_path]
    done = within(*command, "--name", "run")
    assert (done.returncode, done.stderr) == (0, "")
    assert "failed" in done.stdout
    run = tmp_path / "tune/run"
    errors = {row["recipe.lr"]: row["error"] for row in rows(run)}
    assert errors["0.05"] == ""
    assert errors["1e30"].startswith("expected a finite training loss, got NaN or infinity")
    [failed] = run.rglob("failed.json")
    assert "TrainingDiverged" in json.loads(failed.read_text())["traceback"]
    before = failed.stat().st_mtime_ns
    assert within(*command, "--name", "run").returncode == 0
    assert failed.stat().st_mtime_ns == before
    assert "recipe" in from_toml(run / "best.toml")


def test_without_any_trial_that_succeeds_there_is_an_error(within, tmp_path):
    search = ["--search", "recipe.lr = 1e20 .. 1e30 log"]
    done = within("tune", *WORLD, *search, "--seeds", 1, "--trials", 2, "--runs", tmp_path, "--name", "run")
    assert done.returncode == 2
    assert done.stderr.startswith("error: expected a trial to succeed, but all 2 failed, as trial 0: expected a finite")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "tune/run/best.toml").exists()


@pytest.mark.slow
def test_a_damaged_journal_is_one_line_and_can_be_made_again(whole, within, tmp_path):
    command = [*TUNE, "--runs", tmp_path, "--name", "run"]
    assert within(*command, stop_after=9).returncode == 143
    journal = tmp_path / "tune/run/journal.log"
    with journal.open("ab") as file:  # a line that a process did not write to its end
        file.write(b'{"op_code": 4, "wor')
    assert within(*command, stop_after=5).returncode == 143
    lines = journal.read_bytes().splitlines(keepends=True)
    for damaged in (
        [lines[0], b"nonsense\n", *lines[1:]],
        [lines[0], b'{"op_code": 4}\n', *lines[1:]],
        [lines[0], *lines[2:]],
    ):
        journal.write_bytes(b"".join(damaged))
        assert_refused(within(*command), "expected the journal of an Optuna study in")
    journal.unlink()
    assert within(*command).returncode == 0
    assert_equal(tmp_path / "tune/run", whole)


@pytest.mark.slow
def test_reports_of_runs_say_what_was_tuned_on_what(whole, within, tmp_path):
    digest = from_toml(whole / "best.toml")["tuned"]["run"]
    note = (
        "memory and recipe were tuned on seeds 1000000 to 1000001 of textures, iid (12 of 60 training images held "
        f"out), 4 trials, for final accuracy, run {digest}; no test image was seen"
    )
    simulate = ["simulate", *WORLD, "--config", whole / "best.toml", "--runs", tmp_path]
    done = within(*simulate, "--name", "run")
    assert f"note: {note}\n" in done.stdout, done
    described = json.loads((tmp_path / "simulate/run/config.json").read_text())
    assert json.loads(described["settings"]["tuned"])["run"] == digest
    methods = ["--methods", f"tuned = tuned:{whole} | policy:loss", "--methods", "not = policy:loss"]
    assert within("compare", *WORLD, *methods, "--seeds", 2, "--runs", tmp_path, "--name", "run").returncode == 0
    compared = json.loads((tmp_path / "compare/run/comparison.json").read_text())
    assert f"tuned: {note}" in compared["notes"]
    tuned, other = json.loads((tmp_path / "compare/run/config.json").read_text())["settings"]["methods"]
    assert tuned["recipe"] == from_toml(whole / "best.toml")["recipe"] != other["recipe"]
    assert other["tuned"] is None
    again = within("compare", tmp_path / "compare/run", "--runs", tmp_path, "--json")
    assert f"tuned: {note}" in json.loads(again.stdout)["notes"]
    assert within("simulate", *WORLD, "--seed", 7, "--runs", tmp_path, "--name", "other").returncode == 0
    wide = ["--tuned", whole, "--network", "resnet:width=3", "--seed", 7, "--name", "wide"]
    done = within("simulate", *WORLD, *wide, "--runs", tmp_path)
    assert "4 trials, for final accuracy with another network, run" in done.stdout
    beside = within("compare", *((tmp_path / "simulate").glob("[ow]*")), "--runs", tmp_path, "--json")
    labels = [each["label"] for each in json.loads(beside.stdout)["schedules"]]
    assert any(f"tuned={digest}" in label and len(label) < 100 for label in labels)
    assert within("simulate", *WORLD, "--tuned", whole, "--runs", tmp_path, "--name", "run").returncode == 0, "the same"


@pytest.mark.slow
def test_a_sweep_and_a_curve_say_it_too(whole, within, tmp_path):
    config = ["--config", whole / "best.toml", "--runs", tmp_path, "--seeds", 1, "--json"]
    swept = within("sweep", *WORLD, *config, "--axis", "policy = loss | static:k=50")
    curve = within("curve", *WORLD[:-2], *config, "--learner", "cooldown:epochs=1", "--k", 50)
    for done in (swept, curve):
        assert any("were tuned on seeds 1000000 to 1000001" in note for note in json.loads(done.stdout)["notes"]), done


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--recipe", "sgd:lr=0.5"], "expected recipe as it was tuned, sgd:lr="),
        (["--seed", 1_000_001], "expected other seeds than seeds 1000000 to 1000001, on which run "),
        (
            ["--tuned", "nowhere"],
            "expected the folder of a finished run of `lifetime tune`, or its best.toml, got nowhere",
        ),
        (["--tuned", '{"run": 1}'], "expected what settings were tuned on, as `lifetime tune` writes it, got"),
    ],
)
def test_what_would_make_the_provenance_a_lie_is_refused(whole, within, tmp_path, options, message):
    assert_refused(within("simulate", *WORLD, "--config", whole / "best.toml", *options, "--runs", tmp_path), message)
    assert not list(tmp_path.iterdir())


def test_what_was_tuned_can_be_left_out(whole, within, tmp_path):
    options = [*WORLD, "--runs", tmp_path, "--name", "run"]
    assert within("simulate", *options, "--config", whole / "best.toml", "--tuned", "none").returncode == 0
    assert within("simulate", *options).returncode == 0, "the same run"


def test_test_images_that_the_seed_draws_are_said_to_be_seen(within, tmp_path):
    world = "--dataset digits --train-size 60 --validation-size 10 --test-size 20 --chunks 2 --network mlp --device cpu"
    tune = [
        "tune",
        *world.split(),
        "--search",
        "recipe.lr = 0.01 .. 0.1",
        "--seeds",
        1,
        "--trials",
        1,
        "--runs",
        tmp_path,
    ]
    for name, seed, sees in (("apart", [], True), ("one", ["--data-seed", 3], False)):
        assert ("has no test part of its own" in within(*tune, *seed, "--name", name).stdout) is sees
        tuned = ["--tuned", tmp_path / "tune" / name, "--runs", tmp_path, "--name", name]
        done = within("simulate", *world.split(), *seed, *tuned)
        assert ("some of the test images here are among those" in done.stdout) is sees, done
        assert ("no test image was seen" in done.stdout) is not sees


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "expected something to search"),
        (["--search", "memry = cache | ridge"], "did you mean memory?"),
        (["--search", "chunks = 2 | 3"], "got chunks: in another world"),
        ([*SEARCH, "--trials", 0], "expected --trials to be greater than or equal to 1"),
        (
            [*SEARCH, "--held-out", 60],
            "expected --held-out to leave some of the 60 training images to the stream, got 60",
        ),
        (["--search", "recipe.lr = -1 .. 1"], "expected a finite learning rate above 0"),
        ([*SEARCH, "--sampler", "grid"], "--sampler"),
        ([*SEARCH, "--data-seed", -1], "--data-seed"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_is_lived(within, tmp_path, options, message):
    assert_refused(within("tune", *WORLD, *options, "--seeds", 1, "--runs", tmp_path), message)
    assert not list(tmp_path.rglob("trajectory.jsonl"))


def test_without_optuna_there_is_one_line(within, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "scenarios.experiments.optuna_study.find_spec", lambda name: None if name == "optuna" else find_spec(name)
    )
    assert_refused(within(*TUNE, "--runs", tmp_path), "found none; pip install 'learn-or-memorize[tune]'")


def test_a_search_from_a_file(within, tmp_path):
    path = tmp_path / "search.toml"
    path.write_text(
        'trials = 2\nseeds = 1\nmaximize = "utility"\ncost-weight = 0.1\n[search]\nmemory = ["cache", "ridge"]\n'
    )
    done = within("tune", *WORLD, "--config", path, "--runs", tmp_path, "--search", "recipe.lr = 0.01 .. 0.1", "--json")
    content = json.loads(done.stdout)
    assert content["search"] == {"memory": ["cache", "ridge"], "recipe.lr": "0.01 .. 0.1"}
    for trial in content["trials"]:
        [metrics], [value] = trial["metrics"].values(), trial["values"].values()
        assert value == metrics["final_accuracy"] - 0.1 * metrics["total_cost"]
