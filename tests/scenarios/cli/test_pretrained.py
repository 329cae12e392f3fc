"""Frozen, pretrained features as users type them."""

import json

import pytest

from tests.scenarios.commands import TINY, assert_refused, kept, lifetime, within

ON_FEATURES = (*TINY, "--network", "efficientnet-lite0:side=32", "--learner", "head:epochs=2", "--threads", 1)


def lived(runs, data, *options, name="run", command="simulate", **how):
    return within(command, *ON_FEATURES, "--data-dir", data, "--runs", runs, "--name", name, *options, **how)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A lifetime that computes features, and the folder in which they are kept."""
    folder = tmp_path_factory.mktemp("first")
    done = lived(folder / "runs", folder / "data")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder


def test_another_lifetime_finds_the_features_and_ends_in_the_same_bytes(first, tmp_path):
    [file] = (first / "data/features").rglob("*.sqlite")
    before = file.stat().st_mtime_ns
    assert lived(tmp_path, first / "data").returncode == 0
    assert file.stat().st_mtime_ns == before
    assert kept(tmp_path / "simulate/run") == kept(first / "runs/simulate/run")


def test_a_lifetime_without_them_ends_in_the_same_bytes(first, tmp_path):
    assert lived(tmp_path / "runs", tmp_path / "other").returncode == 0
    assert kept(tmp_path / "runs/simulate/run") == kept(first / "runs/simulate/run")


def test_the_summary_tells_what_the_network_was_trained_on(first):
    prior = json.loads((first / "runs/simulate/run/summary.json").read_text())["prior_knowledge"]
    assert prior["pretrained"].startswith("ImageNet")
    assert prior["normalization"]["mean"] == [127 / 255] * 3
    training = json.loads((first / "runs/simulate/run/summary.json").read_text())["training"]
    assert training["augmentation"] == {"shift": 0, "mirror": False, "padding": "edge", "alternating": False}


@pytest.mark.slow
def test_a_lifetime_on_damaged_features_warns_and_ends_in_the_same_bytes(first, tmp_path):
    assert lived(tmp_path / "one", tmp_path / "data").returncode == 0
    [file] = (tmp_path / "data/features").rglob("*.sqlite")
    file.write_bytes(file.read_bytes()[:5000])
    done = lifetime("simulate", *ON_FEATURES, "--data-dir", tmp_path / "data", "--runs", tmp_path, "--name", "two")
    assert done.returncode == 0
    assert "computing them without keeping any" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    one, two = (kept(tmp_path / path) for path in ("one/simulate/run", "simulate/two"))
    assert one["trajectory.jsonl"] == two["trajectory.jsonl"]


@pytest.mark.slow
def test_workers_share_the_features_and_change_no_number(tmp_path):
    options = ("--seeds", 2, "--policies", "static:k=50 loss")
    assert lived(tmp_path / "a", tmp_path / "serial", *options, command="compare").returncode == 0
    done = lived(tmp_path / "b", tmp_path / "parallel", *options, "--workers", 2, command="compare")
    assert done.returncode == 0, done.stderr
    assert kept(tmp_path / "a/compare/run") == kept(tmp_path / "b/compare/run")


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", [1, 4])
def test_an_interrupted_lifetime_goes_on_to_the_same_bytes(first, tmp_path, stop_after):
    assert lived(tmp_path, tmp_path / "data", stop_after=stop_after).returncode == 143
    assert lived(tmp_path, tmp_path / "data").returncode == 0
    assert kept(tmp_path / "simulate/run") == kept(first / "runs/simulate/run")


@pytest.mark.parametrize("recipe", ["muon:batch=8", "adamw"])
def test_any_recipe_trains_a_head(tmp_path, recipe):
    done = lived(tmp_path, tmp_path, "--recipe", recipe)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("learner", ["online:epochs=1", "cooldown:epochs=1", "refit:epochs=1"])
def test_other_learners_train_the_head_alone(tmp_path, learner):
    done = lived(tmp_path, tmp_path, "--learner", learner, "--train-size", 24, "--test-size", 10)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "features").exists()


@pytest.mark.slow
def test_memories_are_read_from_several_places(tmp_path):
    methods = (
        "features = keys:features | policy:static:k=40",
        "blocks = keys:block3+block10 | memory:knn | policy:static:k=40",
        "pixels = keys:input | policy:static:k=40",
        "components = transform:pca:dim=8 | memory:ridge | policy:static:k=40",
        "sleeping = consolidate:10 | policy:sleep",
    )
    options = [word for method in methods for word in ("--methods", method)]
    done = lived(tmp_path, tmp_path / "data", *options, "--seeds", 1, command="compare")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--network", "resnet"], "expected a network that is frozen below its head for the learner head"),
        (["--mirror"], "expected no --shift and --mirror with --learner head"),
        (["--shift", 2], "expected no --shift and --mirror with --learner head"),
        (["--network", "efficientnet-lite0:side=500"], "expected a side of 32 to 224 pixels"),
        (["--recipe", "sgd:views=mirror"], "expected a recipe with views=plain for the learner head"),
        (["--keys", "block3", "--no-pool"], "expected pooled keys for the learner head, got block3"),
        (["--keys", "block99"], "expected keys from places of EfficientNetLite0"),
        (["--learner", "head:features_dir=here"], "expected settings of head out of epochs"),
        (["--learner", "head:epochs=0"], "expected a number of epochs above 0"),
        (["--dataset", "digits:vectors=true"], "expected a network that takes inputs of shape (64,)"),
    ],
)
def test_what_features_do_not_allow_is_refused(tmp_path, options, message):
    assert_refused(lived(tmp_path, tmp_path, *options), message)


def test_members_are_listed_with_their_sources():
    for family, name, source in (
        ("networks", "efficientnet-lite2", "1905.11946"),
        ("learners", "head", "1805.08974"),
    ):
        done = within("list", family)
        assert name in done.stdout
        assert source in done.stdout
