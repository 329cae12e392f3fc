"""Memories, transforms of keys and capacities as users type them."""

import json

import pytest

from tests.scenarios.commands import TINY, assert_refused, kept, within

METHODS = {
    "knn": "memory:knn:storage=float16",
    "residual": "memory:residual | rekey:every:2",
    "logistic": "memory:logistic:steps=20 | transform:centre",
    "slda": "memory:slda",
    "ncm": "memory:ncm | transform:projection:dim=5",
    "random features": "memory:ridge:dim=20",
    "bounded": "memory:cache:storage=int8 | capacity:30 | eviction:class-balanced | rekey:on-learn",
    "herded": "memory:knn | transform:pca:dim=3 | capacity:1kB | eviction:herding",
    "useful": "memory:residual | capacity:25 | eviction:least-useful",
    "weighted": "keys:input*0.3+features*0.7",
}
OPTIONS = [
    word for label, parts in METHODS.items() for word in ("--methods", f"{label} = {parts} | policy:static:k=40")
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A comparison that nobody disturbed."""
    runs = tmp_path_factory.mktemp("whole")
    done = within("compare", *TINY, *OPTIONS, "--seeds", 1, "--runs", runs, "--name", "run")
    assert done.returncode == 0, done.stderr
    return runs / "compare/run"


def test_each_lives_and_is_billed(whole):
    entries = {}
    for folder in (whole / "seed0").iterdir():
        if folder.is_dir():
            summary = json.loads((folder / "summary.json").read_text())
            entries[summary["method"]] = summary["memory_entries"], summary["memory_nbytes"]
            assert summary["answer_flops"] > 0
            assert summary["accuracy"]["memory"] is not None
    assert entries.keys() == METHODS.keys()
    assert entries["knn"][0] == entries["slda"][0] == 80  # four of six chunks of 20 images
    assert entries["bounded"][0] == 30
    assert entries["useful"][0] == 25
    assert entries["herded"][1] <= 1000 + 4 * 8 * 4  # the capacity, and the map of keys of 8 numbers


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", [3, 5])
def test_an_interrupted_lifetime_goes_on_to_the_same_bytes(whole, tmp_path, stop_after):
    arguments = ("compare", *TINY, *OPTIONS, "--seeds", 1, "--runs", tmp_path, "--name", "run")
    assert within(*arguments, stop_after=stop_after).returncode == 143
    assert within(*arguments).returncode == 0
    assert kept(tmp_path / "compare/run") == kept(whole)


def test_learner_and_memory_may_share_a_number_of_bytes(tmp_path):
    learner, capacity = ["--learner", "online:epochs=1,stored=12"], ["--capacity", "shared:40kB"]
    done = within("simulate", *TINY, *learner, *capacity, "--policy", "static:k=50", "--runs", tmp_path, "--name", "s")
    assert done.returncode == 0, done.stderr
    steps = [json.loads(line) for line in (tmp_path / "simulate/s/trajectory.jsonl").read_text().splitlines()]
    assert all(step["held_nbytes"] <= 40_000 for step in steps)
    assert steps[-1]["held_nbytes"] - steps[-1]["memory_nbytes"] == 12 * (3 * 32 * 32 + 8)
    assert steps[-1]["memory_entries"] > 0


@pytest.mark.slow
def test_a_curve_holds_memories_beside_each_other(tmp_path):
    further = ["--with-memories", "few = memory:knn | pool:true | capacity:20 | eviction:fifo"]
    further += ["--with-memories", "mapped = transform:pca:dim=3"]
    done = within("curve", *TINY, "--k", 50, "--no-surface", *further, "--seeds", 1, "--runs", tmp_path, "--name", "c")
    assert done.returncode == 0, done.stderr
    assert "few" in done.stdout
    memories = json.loads((tmp_path / "curve/c/memories.json").read_text())["memories"]
    assert {"few", "mapped"} <= memories.keys()


@pytest.mark.usefixtures("undrawn")
def test_memories_by_name_share_the_learners(tmp_path):
    arguments = ("curve", *TINY, "--chunks", 5, "--k", "20,60", "--memories", "cache knn; slda", "--seeds", 2)
    arguments += ("--runs", tmp_path)
    done = within(*arguments, "--name", "c")
    assert done.returncode == 0, done.stderr
    assert "the best memory at each k" in done.stdout
    assert "the best memory at equal bytes, k = 20" in done.stdout
    folder = tmp_path / "curve/c"
    assert all((folder / f"{name}.png").is_file() for name in ("curve", "memories", "strength"))
    again = within(*arguments, "--name", "c", "--json")
    content = json.loads(again.stdout)
    written = json.loads((folder / "memories.json").read_text())
    assert content["memories"] == written["memories"]
    assert content["best_memories"] == written["best"]
    assert list(content["memories"]) == ["cache", "knn", "slda"]
    assert_refused(within(*arguments, "--memories", "knn knn"), "expected each memory once, got knn")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--memory", "ridge", "--capacity", "10"], "expected a memory whose entries can be removed"),
        (["--capacity", "ten"], "expected a capacity of 1 or more in entries (1000) or in B, kB, MB or GB (10MB)"),
        (["--capacity", "100B"], "expected a capacity of at least"),
        (["--eviction", "fifo"], "expected --capacity with --eviction fifo, got none"),
        (["--eviction", "oldest", "--capacity", "5"], "expected an eviction out of reservoir, class-balanced, fifo"),
        (["--transform", "pca:dim=0"], "expected at least 1 component, got 0"),
        (["--transform", "whiten"], "expected a transform out of none, centre, pca, projection"),
        (["--keys", "stem*much"], "expected a weight after the * of a place"),
        (["--memory", "cache:storage=int4"], "expected storage of cache to be one of float32, float16, int8"),
        (["--memory", "knn:vote=mean"], "expected vote of knn to be one of softmax, majority"),
        (["--memory", "ridge:dim=0"], "expected from 1 to 4,096 random features, got 0"),
        (["--memory", "ann", "--capacity", "5"], "expected a memory whose entries can be removed"),
        (["--capacity", "shared:50"], "expected bytes to be shared, as in shared:10MB, got 50 entries"),
        (["--capacity", "shared:10MB"], "expected a learner that stores less than the 10,000,000 bytes that it shares"),
        (
            ["--capacity", "shared:10MB", "--rekey", "on-learn"],
            "expected neither re-keying nor consolidation with a capacity of 10,000,000 bytes",
        ),
        (["--learner", "online:stored=0"], "expected from 1 to 1,000,000,000 samples stored for rehearsal, got 0"),
        (["--learner", "online:stored=9,rehearsal=0"], "expected rehearsal of what is stored, got 9 samples stored"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, options, message):
    assert_refused(within("simulate", *TINY, *options, "--runs", tmp_path / "runs"), message)
    assert not (tmp_path / "runs").exists()
