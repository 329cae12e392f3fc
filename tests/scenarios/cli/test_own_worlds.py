"""Data sets, scenarios, tariffs and cost models of the user's own, by import path; feature vectors in every command."""

import json
import sys

import pytest

from scenarios.config.families import FAMILIES
from tests.scenarios import commands
from tests.scenarios.commands import TINY, assert_refused

WORLD = """
from dataclasses import replace

import torch

import prices
from agent.accounting.costs import CostModel
from agent.data.augmentation import Augmentation
from agent.data.chunk import LabelledInputs
from scenarios.datasets.source import Source
from scenarios.streams.catalog import iid


def rising(first: float = 1.0, *, n_chunks):
    return [first + prices.STEP * i for i in range(n_chunks)]


def short(*, n_chunks):
    return [1.0]


def unknown(*, n_chunks):
    return [float("nan")] * n_chunks


def none():
    return None


def carbon(gram_gflop: float = 2.0):
    return CostModel("carbon", "gCO2", per_flop=gram_gflop * 1e-9)


def reversed_stream(dataset, chunking, *, seed):
    return replace(iid(dataset, chunking, seed=seed), name="reversed")


def blobs(spread: float = 0.2, *, loading):
    drawn = torch.Generator().manual_seed(loading.seed)
    labels = torch.arange(200) % 4
    centers = torch.eye(4).repeat(1, 2)
    samples = centers[labels] + spread * torch.randn(200, 8, generator=drawn)
    return Source(tuple("abcd"), LabelledInputs(samples, labels), Augmentation())


def mislabelled():
    return Source(("a",), LabelledInputs(torch.zeros(9, 8), torch.arange(9)), Augmentation())
"""
SMALL = ["--train-size", 60, "--chunks", 3, "--network", "mlp:hidden=8"]
SIZES = ["--validation-size", 30, "--test-size", 30]


@pytest.fixture
def lifetime(monkeypatch, tmp_path):
    """The command line, in a folder that holds `world` and the module that it imports."""
    (tmp_path / "world.py").write_text(WORLD)
    (tmp_path / "prices.py").write_text("STEP = 1\n")
    for name in ("world", "prices"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.chdir(tmp_path)
    return commands.within


def succeeded(done):
    assert (done.returncode, done.stderr) == (0, "")


def test_a_world_of_ones_own(lifetime, tmp_path):
    own = ["--dataset", "world.blobs:0.1", "--scenario", "world.reversed_stream", "--tariff", "world.rising:2"]
    succeeded(lifetime("simulate", *SMALL, *SIZES, *own, "--cost", "world.carbon", "--name", "x"))
    run = tmp_path / "runs/simulate/x"
    steps = [json.loads(line) for line in (run / "trajectory.jsonl").read_text().splitlines()]
    assert [step["price"] for step in steps] == [2, 3, 4]
    described = json.loads((run / "config.json").read_text())
    assert described["settings"]["dataset"] == "world.blobs:spread=0.1"
    assert len(described["own_code"]) == 4
    summary = json.loads((run / "summary.json").read_text())
    assert summary["classes"] == list("abcd")


def test_a_module_that_ones_own_imports_is_part_of_the_run(lifetime, tmp_path, monkeypatch):
    few = [*TINY, "--tariff", "world.rising"]
    succeeded(lifetime("simulate", *few, "--quiet"))
    succeeded(lifetime("simulate", *few, "--quiet"))
    (tmp_path / "prices.py").write_text("STEP = 2  # dearer\n")
    for name in ("world", "prices"):
        monkeypatch.delitem(sys.modules, name)
    succeeded(lifetime("simulate", *few, "--quiet"))
    runs = sorted((tmp_path / "runs/simulate").iterdir())
    assert len(runs) == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ["--tariff", "world.short"],
            "expected 3 prices, one for each chunk, got 1; make the tariff for as many chunks",
        ),
        (["--tariff", "world.unknown"], "expected finite prices of 0 or more, got nan at chunk 0"),
        (["--tariff", "world.none"], "expected world.none to return collections.abc.Sequence, got an object of type"),
        (["--cost", "world.none"], "expected world.none to return agent.accounting.costs.CostModel, got an object"),
        (["--scenario", "world.none"], "expected world.none to return scenarios.streams.scenario.Scenario, got"),
        (["--dataset", "world.none"], "expected world.none to return scenarios.datasets.source.Source, got"),
        (["--dataset", "world.mislabelled"], "expected labels from 0 to 0, as many as class names, got 0 to 8"),
        (
            ["--dataset", "world.blobs", "--scenario", "drift"],
            "expected RGB images to drift, got samples of shape (8,)",
        ),
        (
            ["--dataset", "world.blobs", "--network", "resnet"],
            "choose another --network (mlp takes inputs of any shape)",
        ),
        (["--dataset", "digits:vector=true"], "expected settings of digits out of vectors, got vector"),
    ],
)
def test_what_no_world_can_be_is_refused(lifetime, given, message):
    assert_refused(lifetime("simulate", *SMALL, *SIZES, *given), message)


@pytest.mark.slow
def test_feature_vectors_live_in_every_command(lifetime, tmp_path):
    few = [*SMALL, "--dataset", "digits:vectors=true", "--name", "x", "--quiet"]
    succeeded(lifetime("simulate", *few, *SIZES, "--policy", "loss", "--rekey", "on-learn"))
    succeeded(
        lifetime("compare", *few, *SIZES, "--seeds", 2, "--policies", "static:33.3 disagreement", "--memory", "ridge")
    )
    succeeded(lifetime("curve", *few, *SIZES, "--k", "33.3333", "--seeds", 2, "--learner", "cooldown"))
    succeeded(lifetime("tree", *few, "--validation-size", 30, "--seeds", 3))
    succeeded(lifetime("train-policy", "--trees", "runs/tree/x", "--seeds", 1, "--name", "x", "--quiet"))
    succeeded(lifetime("evaluate", "runs/tree/x", "--policies", "file:runs/train-policy/x/policy.json", "--quiet"))
    assert (
        json.loads((tmp_path / "runs/curve/x/config.json").read_text())["settings"]["dataset"] == "digits:vectors=true"
    )


def test_a_table_says_the_same_as_a_path(lifetime, tmp_path):
    (tmp_path / "c.toml").write_text(
        'dataset = {name = "folder", path = "a, b"}\npolicy = {name = "file", path = "p.json"}'
    )
    assert_refused(lifetime("simulate", *TINY[2:], "--config", "c.toml"), "expected a policy file at p.json")
    (tmp_path / "c.toml").write_text('dataset = {name = "folder", path = "a, b"}')
    assert "a, b" in lifetime("simulate", "--config", "c.toml").stderr


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_takes_ones_own(lifetime, family):
    listed = lifetime("list", family)
    succeeded(listed)
    assert f"Of your own: {FAMILIES[family].option} package.module.Class:key=value,..., " in listed.stdout
