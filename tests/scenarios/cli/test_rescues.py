"""`--keep-predictions`: what lifetimes predict at their end, and what their memories rescue."""

import csv
import io
import json
import shutil

import numpy as np
import pytest

import scenarios
from tests.scenarios.commands import TINY, assert_refused, kept, points, strictly, within

KEEP = "--keep-predictions"
CURVE = ["curve", *TINY, "--k", "0,50,100", "--no-surface", "--evaluate-every", 0]
POLICIES = ["--policies", "static:k=50 static:k=100 loss", "--seeds", 2]
RESULTS = ("rescues.png", "rescues.csv", "rescues.json")


def accuracy(probabilities, labels):
    return float((probabilities.argmax(axis=1) == labels).mean())


def assert_consistent(run):
    """Accuracies that the predictions of each lifetime give are those of its summary, to the bit; returns the files."""
    files = sorted(run.rglob("predictions.npz"))
    assert [path.parent for path in files] == sorted(path.parent for path in run.rglob("summary.json"))
    for path in files:
        found, summary = np.load(path), json.loads((path.parent / "summary.json").read_text())
        assert found["labels"].shape == found["ids"].shape == (60,)
        for name in ("learner", "memory", "agent"):
            wanted = summary["accuracy"][name]
            assert (None if name not in found else accuracy(found[name], found["labels"])) == wanted
    return files


def rows_of(run):
    return list(csv.DictReader(io.StringIO((run / "rescues.csv").read_text())))


def without(files, *names):
    return {name: content for name, content in files.items() if not name.endswith(("config.json", *names))}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A lifetime that keeps its predictions, and the same without."""
    runs = tmp_path_factory.mktemp("simulated")
    done = within("simulate", *TINY, KEEP, "--policy", "static:k=50", "--runs", runs, "--name", "kept")
    plain = within("simulate", *TINY, "--policy", "static:k=50", "--runs", runs, "--name", "plain")
    return runs / "simulate", done, plain


@pytest.fixture(scope="module")
def curve(tmp_path_factory):
    """A curve of two memories that keeps predictions."""
    runs = tmp_path_factory.mktemp("curve")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("scenarios.running.results.figure_png", lambda figure: PNG)
        done = within(
            *CURVE, "--seeds", 2, KEEP, "--with-memories", "ridge = memory:ridge", "--runs", runs, "--name", "x"
        )
    assert (done.returncode, done.stderr) == (0, "")
    return runs / "curve/x", done


def _png():
    from matplotlib.figure import Figure

    from scenarios.figures.style import figure_png

    return figure_png(Figure(figsize=(1, 1)))


PNG = _png()


def test_a_lifetime_keeps_what_it_predicts_and_is_otherwise_as_it_was(simulated):
    runs, done, plain = simulated
    assert (done.returncode, done.stderr, plain.returncode) == (0, "", 0)
    [path] = assert_consistent(runs / "kept")
    assert path == runs / "kept/predictions.npz"
    assert without(kept(runs / "kept"), "predictions.npz", *RESULTS) == without(kept(runs / "plain"))
    assert points(runs / "kept") == points(runs / "plain")
    before, of_rescues = done.stdout.split("what memory rescues")
    assert before.rstrip() == plain.stdout.replace("/plain", "/kept").partition("memory: ")[0].rstrip()
    assert "learner wrong" in of_rescues
    assert all(str(runs / "kept" / name) in of_rescues for name in RESULTS)


def test_the_rescues_of_a_lifetime_are_those_of_its_predictions(simulated):
    runs, _, _ = simulated
    found = scenarios.read_predictions(runs / "kept")
    learner, memory, agent = (part.argmax(1) == found.labels for part in (found.learner, found.memory, found.agent))
    rows = rows_of(runs / "kept")
    whole = rows[0]
    assert (whole["policy"], whole["group"], whole["n_seeds"]) == ("static:k=50", "all", "1")
    assert float(whole["rescued"]) == pytest.approx((~learner & agent).mean())
    assert float(whole["lost"]) == pytest.approx((learner & ~agent).mean())
    assert float(whole["memory_right"]) == pytest.approx((~learner & memory).mean())
    assert [row["name"] for row in rows if row["group"] == "class"] == list(found.class_names)
    assert (runs / "kept/rescues.png").read_bytes().startswith(b"\x89PNG")
    shown = strictly(within("resume", runs / "kept", "--json").stdout)["rescues"]
    assert shown == json.loads((runs / "kept/rescues.json").read_text())["series"]


@pytest.mark.slow
def test_a_finished_lifetime_without_predictions_is_not_said_to_have_them(simulated):
    runs, _, _ = simulated
    command = ["simulate", *TINY, "--policy", "static:k=50", "--runs", runs.parent]
    before = kept(runs / "plain")
    refused = within(*command, "--name", "plain", KEEP)
    assert_refused(refused, "settings.keep_predictions was False and is now True")
    assert kept(runs / "plain") == before
    names = [within(*command, "--json", *more).stdout for more in ((), (KEEP,))]
    assert strictly(names[0])["run"] != strictly(names[1])["run"]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("how", [pytest.param("removed", marks=pytest.mark.slow), "damaged"])
def test_predictions_that_were_lost_are_one_line_that_says_how_they_are_lived_again(simulated, tmp_path, how):
    shutil.copytree(simulated[0] / "kept", tmp_path / "simulate/kept")
    run, before = tmp_path / "simulate/kept", kept(tmp_path / "simulate/kept")
    path = run / "predictions.npz"
    if how == "removed":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-100])
    assert_refused(within("resume", run), f"expected predictions at {path}, got: ")
    (run / "summary.json").unlink()
    assert within("resume", run).returncode == 0
    assert without(kept(run), "rescues.png") == without(before, "rescues.png")


@pytest.mark.usefixtures("undrawn")
def test_stopped_and_resumed_a_lifetime_keeps_the_same_bytes(simulated, tmp_path):
    runs, _, _ = simulated
    command = ["simulate", *TINY, KEEP, "--policy", "static:k=50", "--runs", tmp_path, "--name", "kept"]
    assert within(*command, stop_after=3).returncode == 143
    run = tmp_path / "simulate/kept"
    assert not list(run.rglob("predictions.npz"))
    assert within("resume", run).returncode == 0
    assert without(kept(run), "rescues.png") == without(kept(runs / "kept"), "rescues.png")


@pytest.mark.usefixtures("undrawn")
def test_an_empty_memory_has_no_predictions_and_rescues_nothing(tmp_path):
    done = within("simulate", *TINY, KEEP, "--policy", "static:k=100", "--runs", tmp_path, "--name", "x")
    assert (done.returncode, done.stderr) == (0, "")
    [path] = assert_consistent(tmp_path / "simulate/x")
    assert "memory" not in np.load(path)
    whole = rows_of(tmp_path / "simulate/x")[0]
    assert (float(whole["rescued"]), float(whole["lost"]), whole["memory_right"]) == (0, 0, "")


@pytest.mark.usefixtures("undrawn")
def test_a_curve_has_the_rescues_of_each_memory_at_each_k(curve):
    run, done = curve
    files = assert_consistent(run)
    assert len(files) == 2 * (3 + 2)
    rows = [row for row in rows_of(run) if row["group"] == "all"]
    assert [(row["memory"], float(row["k"])) for row in rows] == [
        ("cache", 0), ("cache", 50), ("cache", 100), ("ridge", 0), ("ridge", 50)
    ]  # fmt: skip
    points_of = json.loads((run / "memories.json").read_text())["memories"]
    for row in rows:
        [point] = [each for each in points_of[row["memory"]] if each["k"] == float(row["k"])]
        gained = point["z_minus_x"]
        assert [float(row[name]) for name in ("net", "net_low", "net_high")] == pytest.approx(
            [gained[name] for name in ("estimate", "low", "high")], abs=1e-12
        )
    assert "what memory rescues" in done.stdout
    loaded = scenarios.load(run)
    assert run / "rescues.png" in loaded.figures
    assert len(loaded.frame("rescues")) == len(rows_of(run))


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_curve_of_runs_that_all_kept_predictions_has_rescues(curve, tmp_path):
    run, _ = curve
    more = [*CURVE, "--with-memories", "ridge = memory:ridge", "--seeds", 1, "--first-seed", 2, "--runs", tmp_path]
    assert within(*more, "--name", "kept", KEEP).returncode == 0
    assert within(*more, "--name", "plain").returncode == 0
    for name in ("kept", "plain"):
        done = within("curve", "--join", run, tmp_path / "curve" / name, "--runs", tmp_path, "--name", f"with-{name}")
        assert done.returncode == 0, done.stderr
        assert ("what memory rescues" in done.stdout) == (name == "kept")
    assert rows_of(tmp_path / "curve/with-kept")[0]["n_seeds"] == "3"


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_comparison_has_the_rescues_of_each_schedule(tmp_path):
    done = within("compare", *TINY, *POLICIES, KEEP, "--runs", tmp_path, "--name", "x")
    assert (done.returncode, done.stderr) == (0, "")
    run = tmp_path / "compare/x"
    assert len(assert_consistent(run)) == 6
    rows = [row for row in rows_of(run) if row["group"] == "all"]
    assert [row["schedule"] for row in rows] == ["static:k=50", "static:k=100", "loss"]
    assert {row["n_seeds"] for row in rows} == {"2"}
    assert set(RESULTS) <= kept(run).keys()
    assert "what memory rescues" in done.stdout
    assert within("resume", run).stdout == done.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_test_images_have_the_same_ids_in_runs_of_other_sizes_and_seeds(tmp_path):
    few = [argument for argument in TINY if argument not in ("--test-size", "60")]
    found = {}
    for seed, size in ((0, 60), (1, 60), (0, 30)):
        command = ["simulate", *few, "--dataset", "digits:vectors=true", "--network", "mlp", "--test-size", size]
        done = within(*command, "--seed", seed, KEEP, "--runs", tmp_path, "--name", f"{seed}-{size}")
        assert done.returncode == 0, done.stderr
        found[seed, size] = scenarios.read_predictions(tmp_path / f"simulate/{seed}-{size}")
    labels = {}
    for kept_of in found.values():
        assert len(set(kept_of.ids.tolist())) == len(kept_of.ids)
        for number, label in zip(kept_of.ids.tolist(), kept_of.labels.tolist(), strict=True):
            assert labels.setdefault(number, label) == label
    assert set(found[0, 30].ids) <= set(found[0, 60].ids)


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_sweep_that_asks_for_predictions_later_lives_in_folders_of_their_own(tmp_path):
    command = ["sweep", *TINY, "--axis", "policy = static:k=50 | loss", "--seeds", 1, "--executor", "serial"]
    command += ["--runs", tmp_path, "--name", "x"]
    assert within(*command).returncode == 0
    run = tmp_path / "sweep/x"
    assert not list(run.rglob("predictions.npz"))
    assert within(*command, KEEP).returncode == 0
    assert len(list(run.rglob("predictions.npz"))) == 2
    assert len(list(run.rglob("summary.json"))) == 4
    stamps = [path.stat().st_mtime_ns for path in sorted(run.rglob("summary.json"))]
    assert within(*command).returncode == within(*command, KEEP).returncode == 0
    assert [path.stat().st_mtime_ns for path in sorted(run.rglob("summary.json"))] == stamps


def test_trees_and_trainings_of_policies_have_no_such_option(tmp_path):
    for command in ("tree", "train-policy", "tune"):
        done = within(command, KEEP, "--runs", tmp_path)
        assert done.returncode == 2
        assert "No such option" in done.stderr


OWN = """
from dataclasses import replace

from agent.data.chunk import LabelledInputs
from scenarios.streams.catalog import iid


def half(dataset, chunking, *, seed: int):
    whole = iid(dataset, chunking, seed=seed)
    test = LabelledInputs(whole.test.inputs[::2], whole.test.labels[::2])
    return replace(whole, test=test, group=whole.group[::2])
"""


def test_a_scenario_with_other_test_images_is_refused_and_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "halving.py").write_text(OWN)
    command = ["simulate", *TINY, "--scenario", "halving.half", "--runs", tmp_path]
    assert within(*command).returncode == 0
    refused = within(*command, KEEP)
    assert_refused(refused, "expected a scenario with the test images of its data set in their order")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["curve", "compare"])
def test_workers_interruptions_and_resumes_give_the_same_bytes(tmp_path, name):
    command = [*CURVE, "--seeds", 2] if name == "curve" else ["compare", *TINY, *POLICIES]
    command += [KEEP, "--runs", tmp_path]
    assert within(*command, "--executor", "serial", "--name", "whole").returncode == 0
    assert within(*command, "--workers", 2, "--name", "two").returncode == 0
    done = within(*command, "--executor", "serial", "--name", "cut", stop_after=2)
    for _ in range(40):
        if done.returncode == 0:
            break
        assert done.returncode == 143, done.stderr
        done = within("resume", tmp_path / name / "cut", "--executor", "serial", stop_after=4)
    whole = kept(tmp_path / name / "whole")
    assert sum(path.endswith("predictions.npz") for path in whole) >= 6
    assert kept(tmp_path / name / "two") == whole
    assert kept(tmp_path / name / "cut") == whole
