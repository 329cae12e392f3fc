"""`lifetime compare --methods`: methods that differ in any of their parts, side by side."""

import json

import pytest

from tests.scenarios.commands import TINY, assert_refused, kept, points, within

METHODS = {
    "cache": "memory:cache | policy:static:k=50",
    "ridge": "memory:ridge | policy:static:k=50",
    "stem": "keys:stem | pool:true | policy:loss",
    "rekeyed": "rekey:on-learn | policy:interleaved:k=50",
    "wide": "network:resnet:width=3 | policy:interleaved:k=50",
}
OPTIONS = [word for label, parts in METHODS.items() for word in ("--methods", f"{label} = {parts}")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A comparison of methods that nobody disturbed."""
    runs = tmp_path_factory.mktemp("whole")
    done = within("compare", *TINY, *OPTIONS, "--seeds", 2, "--runs", runs, "--name", "run")
    return runs / "compare/run", done


def test_methods_are_compared_by_label(whole):
    run, done = whole
    assert done.returncode == 0, done.stderr
    assert all(f" {label} " in done.stdout for label in METHODS)
    comparison = json.loads((run / "comparison.json").read_text())
    assert [each["label"] for each in comparison["schedules"]] == list(METHODS)
    assert {path.name for path in (run / "seed1").iterdir() if path.is_dir()} == METHODS.keys()
    summary = json.loads((run / "seed0/ridge/summary.json").read_text())
    assert (summary["method"], summary["policy"]) == ("ridge", "static:k=50")
    config = json.loads((run / "config.json").read_text())
    assert [method["label"] for method in config["settings"]["methods"]] == list(METHODS)


@pytest.mark.slow
def test_a_method_lives_as_it_does_alone(whole, tmp_path):
    run, _ = whole
    for label, parts in METHODS.items():
        alone = ("compare", *TINY, "--methods", f"{label} = {parts}", "--seeds", 1, "--runs", tmp_path, "--name", label)
        assert within(*alone).returncode == 0
        assert kept(tmp_path / "compare" / label / "seed0" / label) == kept(run / "seed0" / label)


def test_a_policy_is_the_method_of_its_own_agent(whole, tmp_path):
    run, _ = whole
    arguments = (*TINY, "--memory", "ridge", "--policies", "static:k=50", "--seeds", 1, "--runs", tmp_path)
    assert within("compare", *arguments, "--name", "x").returncode == 0
    for name in ("trajectory.jsonl", "weights.pt"):
        expected = (run / "seed0/ridge" / name).read_bytes()
        assert (tmp_path / "compare/x/seed0/static-k50" / name).read_bytes() == expected


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", [5, 11])
def test_an_interrupted_comparison_of_methods_goes_on_to_the_same_bytes(whole, tmp_path, stop_after):
    expected, _ = whole
    command = ("compare", *TINY, *OPTIONS, "--seeds", 2, "--runs", tmp_path, "--name", "run")
    run, done, n_stopped = tmp_path / "compare/run", within(*command, stop_after=stop_after), 0
    while done.returncode == 143 and n_stopped < 20:
        n_stopped += 1
        done = within("resume", run, stop_after=stop_after + 12 * n_stopped)
    assert n_stopped >= 2
    assert done.returncode == 0, done.stderr
    assert kept(run) == kept(expected)
    assert points(run) == points(expected)


def test_methods_may_stand_in_a_file(tmp_path):
    path = tmp_path / "methods.toml"
    path.write_text(
        'seeds = 1\n[methods.ridge]\nmemory = {name = "ridge", limit = 9}\npolicy = "static:k=50"\n'
        '[methods."no memory"]\npolicy = "static:k=100"\n'
    )
    done = within("compare", *TINY, "--config", path, "--runs", tmp_path, "--name", "x")
    assert done.returncode == 0, done.stderr
    settings = json.loads((tmp_path / "compare/x/config.json").read_text())["settings"]
    assert [method["label"] for method in settings["methods"]] == ["ridge", "no memory"]
    assert settings["methods"][0]["memory"] == "ridge:limit=9"


def test_runs_of_methods_are_compared_by_label(whole, tmp_path):
    run, _ = whole
    arguments = (*TINY, "--methods", "ridge = memory:ridge | network:mlp", "--seeds", 2, "--runs", tmp_path)
    assert within("compare", *arguments, "--name", "mlp").returncode == 0
    done = within("compare", run, tmp_path / "compare/mlp", "--runs", tmp_path / "both", "--name", "x")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "both/compare/x/comparison.json").read_text())["schedules"]
    labels = [each["label"] for each in found]
    assert len(labels) == 6
    assert {"cache", "stem", "rekeyed", "wide"} <= set(labels)
    assert any(label.startswith("ridge ") and "network=mlp" in label for label in labels)


def test_what_methods_replace_is_no_part_of_a_comparison(tmp_path):
    one = [*TINY, "--seeds", 1, "--quiet", "--runs", tmp_path, "--methods"]
    assert within("compare", *one, "mlp = network:mlp | memory:ridge").returncode == 0
    again = ["mlp = network:mlp", "--memory", "ridge", "--recipe", "sgd:batch=64", "--network", "convnet"]
    assert within("compare", *one, *again).returncode == 0
    assert len(list((tmp_path / "compare").iterdir())) == 1


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (["static:k=50"], "expected parts of a method out of network, recipe, learner, memory, keys"),
        (
            ["a = memory:foo"],
            "expected a memory out of cache, knn, ann, residual, logistic, ridge, slda, ncm or package.module.Class, "
            "got foo",
        ),
        (["a = policy:loss", "a = policy:random"], "expected a label for each method, got a and a; label them apart"),
        (["a = keys:stage9"], "expected keys from places of ResNet(depth=8"),
        (["good = policy:loss", "bad = network:resnet:depth=9"], "(in the method bad)"),
        (["a = policy:file:/nowhere.json"], "expected a policy file at /nowhere.json, got none"),
        (["a = recipe:sgd:batch=0"], "expected a batch"),
    ],
)
def test_a_method_that_cannot_live_leaves_nothing_behind(tmp_path, methods, message):
    options = [word for method in methods for word in ("--methods", method)]
    assert_refused(within("compare", *TINY, *options, "--seeds", 1, "--runs", tmp_path / "runs"), message)
    assert not (tmp_path / "runs").exists()
