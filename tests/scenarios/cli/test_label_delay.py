"""`--label-delay`: lifetimes whose labels come later than their images."""

import csv
import json

import pytest

from scenarios.experiments import sweep_report
from tests.scenarios.commands import TINY, assert_refused, kept, points, strictly, within

NOTE = "labels come 2 chunks after their images: prequential accuracy is of each image when it comes; the test set is"
TOO_LATE = "expected labels that come fewer chunks later than the 6 of the stream"
LATE = (*TINY, "--label-delay", 2)
METHODS = ("--methods", "cache = policy:loss", "--methods", "ridge = memory:ridge | policy:interleaved:k=50")


def steps_of(folder):
    return [json.loads(line) for line in (folder / "trajectory.jsonl").read_text().splitlines()]


def test_a_lifetime_with_late_labels(tmp_path):
    given = ("simulate", "--policy", "interleaved:k=50", "--cost", "cloud", "--runs", tmp_path, "--name")
    done = {name: within(*given, name, *options) for name, options in (("late", LATE), ("prompt", TINY))}
    assert all(each.returncode == 0 for each in done.values()), done
    late, prompt = tmp_path / "simulate/late", tmp_path / "simulate/prompt"
    steps, before = steps_of(late), steps_of(prompt)
    assert [step["newest"] for step in steps] == [60, 20, 20, 20, 0, 0]
    assert [step["held_nbytes"] - plain["held_nbytes"] for step, plain in zip(steps, before, strict=True)] == [
        3 * 32 * 32 * n for n in (40, 40, 40, 40, 20, 0)
    ]
    for step, plain in zip(steps, before, strict=True):
        assert (step["action"], step.get("accuracy")) == (plain["action"], plain.get("accuracy"))
        assert ("prequential" in step) == (step["newest"] > 0)
    metrics = json.loads((late / "summary.json").read_text())["metrics"]
    correct = sum(step["prequential"]["agent"] * step["newest"] for step in steps[:4])
    assert metrics["prequential_accuracy"] == pytest.approx(correct / 120)
    assert json.loads((late / "scenario.json").read_text())["label_delay"] == 2
    assert "textures, iid, labels 2 chunks late, policy interleaved:k=50" in done["late"].stdout
    assert "prequential: each chunk when it comes" in done["late"].stdout
    assert f"note: {NOTE}" in done["late"].stderr + done["late"].stdout
    # and nothing of that without a delay
    assert not any("newest" in step for step in before)
    assert "textures, iid, policy interleaved:k=50" in done["prompt"].stdout
    assert "labels come" not in done["prompt"].stdout + done["prompt"].stderr
    assert json.loads((prompt / "scenario.json").read_text()).keys() == {"scenario", "by_chunk"}
    assert_refused(within(*given, "prompt", *LATE), "settings.label_delay was 0 and is now 2")


@pytest.mark.slow
def test_a_comparison_is_the_same_if_interrupted_and_in_any_company(tmp_path):
    given = ("compare", *LATE, "--scenario", "class-incremental:experiences=2", "--runs", tmp_path, "--name")
    whole = within(*given, "whole", *METHODS, "--seeds", 2, "--json")
    assert whole.returncode == 0, whole.stderr
    content = strictly(whole.stdout)
    assert content["title"] == "textures, class-incremental:experiences=2, labels 2 chunks late"
    assert any(note.startswith(NOTE) for note in content["notes"])
    done, n_stopped = within(*given, "run", *METHODS, "--seeds", 2, stop_after=5), 0
    while done.returncode == 143 and n_stopped < 20:
        n_stopped += 1
        done = within("resume", tmp_path / "compare/run", stop_after=5 + 6 * n_stopped)
    assert n_stopped >= 2
    assert done.returncode == 0, done.stderr
    assert kept(tmp_path / "compare/run") == kept(tmp_path / "compare/whole")
    assert points(tmp_path / "compare/run") == points(tmp_path / "compare/whole")
    assert within(*given, "alone", *METHODS[:2], "--seeds", 1).returncode == 0
    assert kept(tmp_path / "compare/alone/seed0/cache") == kept(tmp_path / "compare/whole/seed0/cache")


@pytest.mark.slow
def test_a_sweep_over_delays(tmp_path, monkeypatch):
    drawn, draw = [], sweep_report.sweep_figure
    monkeypatch.setattr(sweep_report, "sweep_figure", lambda *a, **on: drawn.append(on["accuracy"]) or draw(*a, **on))
    axes = ("--axis", "label_delay = 0 | 3", "--axis", "policy = static:k=50 | loss")
    done = within("sweep", *TINY, *axes, "--seeds", 1, "--executor", "serial", "--runs", tmp_path, "--name", "x")
    assert done.returncode == 0, done.stderr
    assert "prequential" in done.stdout
    found = {}
    with (tmp_path / "sweep/x/sweep.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["schedule"], {})[row["label_delay"]] = row
    assert len(found) == 2
    for by_delay in found.values():
        assert by_delay["0"]["final_accuracy"] == by_delay["3"]["final_accuracy"]
        assert by_delay["0"]["prequential_accuracy"] != by_delay["3"]["prequential_accuracy"]
    mixed = within("compare", tmp_path / "sweep/x", "--runs", tmp_path)
    assert_refused(mixed, "got label_delay 0 in")
    chosen = within("compare", tmp_path / "sweep/x", "--where", "label_delay = 3", "--runs", tmp_path)
    assert "labels 3 chunks late" in chosen.stdout
    plain = within("sweep", *TINY, *axes[2:], "--seeds", 1, "--executor", "serial", "--runs", tmp_path, "--name", "y")
    assert "prequential" not in plain.stdout
    assert drawn == ["prequential_accuracy", "final_accuracy"]


@pytest.mark.slow
def test_baselines_have_late_labels_too(tmp_path):
    def steps(delay):
        own = TINY.index("--learner")  # a baseline takes the learner's place
        given = (*TINY[:own], *TINY[own + 2 :], "--baseline", "naive", "--label-delay", delay, "--runs", tmp_path)
        done = within("simulate", *given, "--name", f"d{delay}")
        assert done.returncode == 0, done.stderr
        return steps_of(tmp_path / f"simulate/d{delay}")

    prompt, late = steps(0), steps(2)
    assert [step.get("accuracy") for step in prompt] == [step.get("accuracy") for step in late]
    assert [step["work"]["learn"] for step in prompt] == [step["work"]["learn"] for step in late]
    assert [step["newest"] for step in late] == [60, 20, 20, 20, 0, 0]


def test_a_learner_for_which_nothing_is_asked_says_so(tmp_path):
    lazy = [*TINY, "--learner", "refit:epochs=1", "--policy", "static:k=0", "--label-delay", 2]
    done = within("simulate", *lazy, "--runs", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "only prequential accuracy shows what that costs, and it is not measured (--prequential)" in done.stdout


@pytest.mark.parametrize(
    ("command", "delay", "message"),
    [
        ("simulate", 6, f"{TOO_LATE}, got 6; change --label-delay or --chunks"),
        ("compare", 9, f"{TOO_LATE}, got 9; change --label-delay or --chunks"),
        ("simulate", -1, "expected --label-delay to be greater than or equal to 0, got -1"),
        ("tree", 1, "No such option: --label-delay"),
        ("train-policy", 1, "No such option: --label-delay"),
        ("curve", 1, "No such option: --label-delay"),
    ],
)
def test_what_cannot_be_late_is_one_line_and_exit_code_2(tmp_path, command, delay, message):
    tiny = TINY if command in ("simulate", "compare") else ()
    assert_refused(within(command, *tiny, "--label-delay", delay, "--runs", tmp_path), message)


def test_trees_in_a_file_of_settings_have_no_late_labels(tmp_path):
    (tmp_path / "tree.toml").write_text("label_delay = 2\n")
    done = within("tree", "--config", tmp_path / "tree.toml", "--runs", tmp_path)
    assert_refused(done, "expected labels that come at once for trees, which ask nothing on the way, got a delay of 2")
