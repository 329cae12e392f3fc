"""`lifetime curve --join`: one curve of seeds that were lived in several runs."""

import json
import re
import shutil

import pytest

import scenarios
from tests.scenarios.commands import assert_refused, kept, strictly, within

SETTINGS = {
    "device": "cpu",
    "train_size": 80,
    "validation_size": 20,
    "test_size": 30,
    "chunks": 4,
    "k": "25,75",
    "learner": "online:epochs=1",
    "network": "resnet:width=2",
    "with_memories": "pooled = pool:true",
    "with_mixtures": "calibrated",
}
CURVE = ["curve", *(text for name, value in SETTINGS.items() for text in (f"--{name.replace('_', '-')}", value))]
RESULTS = [f"{name}.{kind}" for name in ("curve", "surface", "memories", "strength") for kind in ("json", "csv")]


@pytest.fixture(scope="module")
def lived(tmp_path_factory, undrawn_module):
    """Folders of runs: seed 0, seeds 1 and 2, and all of them."""
    runs = tmp_path_factory.mktemp("lived")
    scenarios.curve(**SETTINGS, seeds=1, name="first", runs=runs)
    scenarios.curve(**SETTINGS, seeds=2, first_seed=1, name="others", runs=runs)
    scenarios.curve(**SETTINGS, seeds=3, name="whole", runs=runs)
    return runs / "curve"


def joined(lived, tmp_path, *names, more=()):
    paths = [path for name in names for path in ([lived / name] if isinstance(name, str) else [name])]
    return within("curve", "--join", *paths, "--runs", tmp_path, "--name", "joined", *more)


def test_seeds_lived_apart_give_the_curve_of_one_run(lived, tmp_path):
    before = {name: kept(lived / name) for name in ("first", "others")}
    done = joined(lived, tmp_path, "others", "first")
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 seeds" in done.stdout
    for name in RESULTS:
        assert (tmp_path / "curve/joined" / name).read_bytes() == (lived / "whole" / name).read_bytes()
    assert {name: kept(lived / name) for name in before} == before


def test_a_joined_curve_is_shown_again_and_says_how_many_seeds_it_needs(lived, tmp_path):
    assert joined(lived, tmp_path, "first", "others").returncode == 0
    again = joined(lived, tmp_path, "first", "others", more=["--want-width", 3, "--json"])
    wanted = json.loads(again.stdout)["wanted_width"]
    shutil.copytree(lived / "whole", tmp_path / "curve/whole")
    whole = within(*CURVE, "--seeds", 3, "--name", "whole", "--runs", tmp_path, "--want-width", 3, "--json")
    assert wanted["intervals"] == json.loads(whole.stdout)["wanted_width"]["intervals"]
    shown = within("resume", tmp_path / "curve/joined")
    assert (shown.returncode, shown.stderr) == (0, "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("keys", ["stem"]),
        ("chunks", 8),
        ("test_size", 20),
        ("evaluate_every", 1),
        ("pool", True),
        ("surface", False),
    ],
)
def test_runs_that_differ_in_a_setting_are_refused_by_its_name(lived, tmp_path, name, value):
    other = changed(lived / "others", tmp_path / "other", {name: value})
    assert_refused(joined(lived, tmp_path, "first", other), f"differ in their seeds alone, got {name} ")
    assert not (tmp_path / "curve/joined").exists()


def changed(run, copy, settings=(), **parts):
    """A copy of a run that says other things of itself."""
    path = shutil.copytree(run, copy) / "config.json"
    described = json.loads(path.read_text())
    described["settings"] |= dict(settings)
    for name, values in parts.items():
        described[name] |= values
    path.write_text(json.dumps(described))
    return copy


def test_the_order_of_runs_is_of_no_effect(lived, tmp_path):
    for order in (["first", "others"], ["others", "first"]):
        assert within("curve", "--join", *(lived / name for name in order), "--runs", tmp_path).returncode == 0
    assert len(list((tmp_path / "curve").iterdir())) == 1


def test_seeds_without_a_record_of_their_costs_are_said(lived, tmp_path):
    shutil.copytree(lived / "whole", tmp_path / "curve/whole")
    whole = within(*CURVE, "--seeds", 3, "--name", "whole", "--runs", tmp_path, "--show-costs")
    assert "Computed for a seed" in whole.stdout
    assert "no record of others" not in whole.stdout
    other = shutil.copytree(lived / "others", tmp_path / "other")
    record = other / "seed2/seconds.json"
    of_lifetime = other / "seed2/k025/seconds.json"
    options = ["--show-costs", "--want-width", 3, "--json"]
    for number in ("1e999", "NaN"):
        record.write_text(re.sub(r'"(flops|seconds)": [-\w.]+', rf'"\1": {number}', record.read_text()))
        of_lifetime.write_text(re.sub(r'"learn": [-\w.]+', f'"learn": {number}', of_lifetime.read_text()))
        found = strictly(joined(lived, tmp_path / "again", "first", other, more=options).stdout)
        assert all(part["seconds"] >= 0 for part in found["computed_for_a_seed"].values())
        assert found["wanted_width"]["costs"]["one_seed"]["seconds"] is not None
    done = joined(lived, tmp_path / "again", "first", other, more=options[:1])
    assert "The mean of 2 of 3 seeds: no record of others." in done.stdout


def test_a_seed_in_two_runs_is_refused(lived, tmp_path):
    assert_refused(joined(lived, tmp_path, "first", "whole"), "expected each seed in one run, got seed 0 in")


@pytest.mark.parametrize("parts", [{"machine": {"threads": 99}}, {"settings": {"compile": True}}])
def test_runs_of_other_versions_are_noted(lived, tmp_path, parts):
    other = changed(lived / "others", tmp_path / "other", **parts)
    done = joined(lived, tmp_path, "first", other)
    assert done.returncode == 0
    assert "other ran with other versions, other code, another --compile or another machine than" in " ".join(
        done.stdout.split()
    )


def test_seeds_of_another_precision_are_refused(lived, tmp_path):
    other = shutil.copytree(lived / "others", tmp_path / "other")
    path = other / "seed1/k100/summary.json"
    summary = json.loads(path.read_text())
    path.write_text(json.dumps({**summary, "training": {**summary["training"], "precision": "bfloat16"}}))
    done = joined(lived, tmp_path, "first", other)
    assert_refused(done, "expected runs of curve of one precision, got float32 in")


@pytest.mark.parametrize("more", [[], ["--force"]])
def test_a_run_that_is_read_is_not_written(lived, tmp_path, more):
    shutil.copytree(lived, tmp_path / "curve")
    (tmp_path / "link").symlink_to(tmp_path / "curve/first")
    for path in ("curve/first", "curve/../curve/first/", "link"):
        done = within("curve", "--join", f"{tmp_path}/{path}", "--runs", tmp_path, "--name", "first", *more)
        assert_refused(done, "expected a folder of its own for the result, got")
    assert kept(tmp_path / "curve/first") == kept(lived / "first")


def test_what_is_no_finished_curve_is_refused(lived, tmp_path):
    cut = shutil.copytree(lived / "others", tmp_path / "cut")
    (cut / "seed2/k025/summary.json").unlink()
    assert_refused(joined(lived, tmp_path, "first", cut), "seed2/k025, got none; `lifetime resume")
    (cut / "config.json").write_text(json.dumps({"experiment": "tree"}))
    assert_refused(joined(lived, tmp_path, "first", cut), "got one of tree")
    (cut / "config.json").write_text(json.dumps({"experiment": "curve", "settings": {}}))
    assert_refused(joined(lived, tmp_path, "first", cut), "expected a run of this program at")
    assert_refused(joined(lived, tmp_path, tmp_path / "none"), "found no config.json there")
    assert_refused(within("curve", lived / "first"), "expected --join before folders of finished runs")
    assert_refused(joined(lived, tmp_path, "first", more=["--chunks", 4]), "expected no settings beside finished runs")
