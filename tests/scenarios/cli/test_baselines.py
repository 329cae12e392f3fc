"""Baselines as users type them."""

import json

import pytest

from tests.scenarios.commands import TINY, assert_refused, kept, lifetime, within

METHODS = {
    "ours": "policy:static:k=50",
    "er": "baseline:er-ace:mem=30,batch_mem=10",
    "dark": "baseline:der++:mem=30",
    "frozen": "baseline:slda",
}
OPTIONS = [word for label, parts in METHODS.items() for word in ("--methods", f"{label} = {parts}")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A comparison that nobody disturbed."""
    runs = tmp_path_factory.mktemp("whole")
    done = within("compare", *TINY, *OPTIONS, "--seeds", 1, "--runs", runs, "--name", "run")
    assert done.returncode == 0, done.stderr
    return runs / "compare/run", done


def test_baselines_stand_beside_our_methods(whole):
    run, done = whole
    assert all(f" {label} " in done.stdout for label in METHODS)
    assert "labels are not equal: er, dark, frozen did not learn the validation images" in " ".join(done.stdout.split())
    assert (run / "comparison.png").exists()
    summaries = {label: json.loads((run / f"seed0/{label}/summary.json").read_text()) for label in METHODS}
    for label in ("er", "dark", "frozen"):
        summary = summaries[label]
        assert summary["accuracy"]["agent"] == summary["accuracy"]["learner"]
        assert (summary["memory_entries"], summary["accuracy"]["memory"], summary["learned"]) == (0, None, 120)
        assert summary["held_nbytes"] > 0
    assert summaries["er"]["held_nbytes"] == 30 * (3 * 32 * 32 + 8)


def test_interrupted_it_begins_anew_and_says_so(whole, tmp_path):
    run, _ = whole
    few = ("compare", *TINY, *OPTIONS, "--seeds", 1, "--runs", tmp_path, "--name", "run")
    done = within(*few, stop_after=9)
    assert done.returncode == 143
    assert "warning: er: the learner cannot be saved on the way; if interrupted, it begins anew" in done.stderr
    assert "chunk that was saved, but baselines, which cannot be saved on the way, begin anew" in done.stderr
    done = within("resume", tmp_path / "compare/run")
    assert done.returncode == 0, done.stderr
    assert kept(tmp_path / "compare/run") == kept(run)


@pytest.mark.parametrize("calibration", ["none", "shared"])
def test_labels_can_be_equal(whole, tmp_path, calibration):
    run, _ = whole
    methods = [word for label in ("ours", "er") for word in ("--methods", f"{label} = {METHODS[label]}")]
    few = ("compare", *TINY, *methods, "--seeds", 1, "--runs", tmp_path, "--calibration", calibration)
    done = within(*few, "--name", "x")
    assert done.returncode == 0, done.stderr
    assert "labels are equal: " in done.stdout
    ours, er = (
        json.loads((tmp_path / f"compare/x/seed0/{label}/summary.json").read_text()) for label in ("ours", "er")
    )
    usual = json.loads((run / "seed0/er/summary.json").read_text())
    if calibration == "none":
        assert ours["mixture"] == {"w": 0.5, "setting": {"theta": 64.0}, "temperature": 1.0}
        assert ours["work"]["calibrate"]["flops"] == 0
        assert er["work"] == usual["work"]
    else:
        assert ours["mixture"]["w"] != 0.5 or ours["work"]["calibrate"]["flops"] > 0
        assert er["work"]["learn"]["flops"] > usual["work"]["learn"]["flops"]


@pytest.mark.parametrize("spec", ["gdumb:mem=30,epochs=2", "cumulative:epochs=1"])
def test_those_that_train_anew_can_be_evaluated_on_the_way(tmp_path, spec):
    few = [*TINY, "--baseline", spec, "--runs", tmp_path]
    done = within("simulate", *few, "--name", "x")
    assert done.returncode == 2  # --learner of TINY is not a baseline's
    assert "expected no learner with the baseline" in done.stderr
    few = [word for word in few if word not in ("--learner", "online:epochs=1")]
    done = within("simulate", *few, "--name", "often")
    assert done.returncode == 0, done.stderr
    done = within("simulate", *few, "--evaluate-every", 0, "--name", "once")
    often, once = (json.loads((tmp_path / f"simulate/{name}/summary.json").read_text()) for name in ("often", "once"))
    assert often["accuracy"] == once["accuracy"]
    assert often["work"]["learn"] == once["work"]["learn"]
    assert often["work"]["evaluate"]["flops"] > once["work"]["evaluate"]["flops"]


@pytest.mark.slow
def test_sweeps_and_new_classes_have_them(tmp_path):
    axes = ["--axis", "baseline = naive | lwf | ewc", "--axis", "scenario = iid | class-incremental"]
    few = [word for word in TINY if word not in ("--learner", "online:epochs=1")]
    done = within("sweep", *few, *axes, "--seeds", 1, "--workers", 1, "--runs", tmp_path, "--name", "s")
    assert done.returncode == 0, done.stderr
    done = within("compare", tmp_path / "sweep/s", "--where", "scenario = iid", "--runs", tmp_path, "--name", "again")
    assert done.returncode == 0, done.stderr
    assert "naive" in done.stdout


@pytest.mark.slow
def test_a_process_lives_and_lists_them(tmp_path):
    methods = ["--methods", "ours = policy:static:k=50", "--methods", "er = baseline:er-ace:mem=200"]
    done = lifetime("compare", "--train-size", 300, *methods, "--seeds", 2, "--runs", tmp_path, "--name", "x")
    assert done.returncode == 0, done.stderr
    assert " er " in done.stdout
    assert (tmp_path / "compare/x/comparison.png").exists()
    done = lifetime("list", "baselines", "--json")
    assert [each["name"] for each in json.loads(done.stdout)][:3] == ["naive", "replay", "gdumb"]
    assert all(each["source"] for each in json.loads(done.stdout))


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ("er = baseline:icarl", "expected a baseline out of naive, replay, gdumb, er-ace"),
        ("er = baseline:er-ace | memory:ridge", "expected no memory with the baseline er-ace, which takes its place"),
        ("er = baseline:er-ace | recipe:muon", "expected a recipe with the mean cross-entropy as its loss for the"),
        ("er = baseline:er-ace:mem=0", "expected mem from 1 to"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, methods, message):
    done = within("compare", *TINY, "--methods", methods, "--seeds", 1, "--runs", tmp_path / "runs")
    assert_refused(done, message)
    assert not (tmp_path / "runs").exists()
