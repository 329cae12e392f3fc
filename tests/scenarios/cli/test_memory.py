"""Memories from the command line: our own, and one that knows the contract alone, by its import path."""

import json
import sys
from pathlib import Path

import pytest

from tests.agent.memory import nearest
from tests.scenarios import commands
from tests.scenarios.commands import TINY, assert_refused

OWN = "my_memory.NearestMemory"


@pytest.fixture
def lifetime(monkeypatch, capsys, tmp_path):
    """The command line, in a folder that holds a memory of the user's own."""
    (tmp_path / "my_memory.py").write_text(Path(nearest.__file__).read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_memory", raising=False)
    return lambda *arguments: commands.within(monkeypatch, capsys, *arguments)


def settings_of(run):
    return json.loads((run / "config.json").read_text())["settings"]


@pytest.mark.slow
@pytest.mark.parametrize(("memory", "names"), [("ridge", {"lambda"}), (f"{OWN}:capacity=20", {"k", "temperature"})])
def test_a_memory_lives_in_a_lifetime_a_comparison_and_a_curve(lifetime, tmp_path, memory, names):
    few = [*TINY, "--memory", memory, "--runs", tmp_path / "runs", "--name", "x"]
    done = lifetime("simulate", *few, "--policy", "interleaved:k=50")
    assert (done.returncode, done.stderr) == (0, "")
    run = tmp_path / "runs/simulate/x"
    assert (settings_of(run)["memory"], settings_of(run)["pool"]) == (memory, True)
    summary = json.loads((run / "summary.json").read_text())
    assert summary["mixture"]["setting"].keys() == names
    assert summary["memory_entries"] == (20 if memory.startswith(OWN) else 60)
    done = lifetime("compare", *few, "--seeds", 1, "--policies", "static:k=50 disagreement")
    assert (done.returncode, done.stderr) == (0, "")
    done = lifetime("curve", *few, "--k", "50", "--seeds", 2)
    assert (done.returncode, done.stderr) == (0, "")
    [point] = json.loads((tmp_path / "runs/curve/x/curve.json").read_text())["points"]
    assert point["k"] == 50
    assert point["by_seed"]["setting"].keys() == names
    header = (tmp_path / "runs/curve/x/curve.csv").read_text().splitlines()[0].split(",")
    assert {f"setting_{name}" for name in names} <= set(header)


@pytest.mark.slow
def test_the_code_of_a_memory_is_part_of_its_run(lifetime, tmp_path):
    command = ["simulate", *TINY, "--memory", OWN, "--runs", tmp_path / "runs", "--name", "x"]
    assert lifetime(*command).returncode == 0
    run = tmp_path / "runs/simulate/x"
    assert json.loads((run / "config.json").read_text())["own_code"].keys() == {OWN}
    assert lifetime("resume", run).returncode == 0
    module = tmp_path / "my_memory.py"
    module.write_text(module.read_text().replace("capacity=12", "capacity=13"))
    assert_refused(lifetime("resume", run), "own_code")


@pytest.mark.parametrize(
    ("memory", "message"),
    [
        (
            "knn",
            "expected a memory out of cache, ridge or package.module.Class, got knn; `lifetime list memories`",
        ),
        ("cache:limit=3", "expected no settings for cache, got limit"),
        ("cache:n_classes=3", "expected no settings for cache, got n_classes"),
        ("ridge:limit=many", "expected limit of ridge to be an integer, got many"),
        ("ridge:limit=0", "expected a limit of at least 1 number in a key, got 0"),
        ("ridge:limit=3", "expected keys of at most 3 numbers for a ridge regression, got 8"),
        ("my_memory.Nothing", "expected a class Nothing in module my_memory, got none of that name"),
        (
            "my_memory.Lineage",
            "expected my_memory.Lineage to offer all that agent.Memory names, got one without",
        ),
        ("my_memory.copy", "expected my_memory.copy to be a class, got an object of type module"),
        ("no_such_module.Memory", "expected a module no_such_module in the current directory"),
    ],
)
def test_what_is_no_memory_is_refused_in_one_line(lifetime, tmp_path, memory, message):
    done = lifetime("simulate", *TINY, "--memory", memory, "--runs", tmp_path / "runs")
    assert_refused(done, message)


def test_a_ridge_is_not_rekeyed(lifetime, tmp_path):
    done = lifetime("simulate", *TINY, "--memory", "ridge", "--rekey", "on-learn", "--runs", tmp_path / "runs")
    assert_refused(done, "whose entries can be renewed")


@pytest.mark.parametrize("family", ["policies", "memories", "scenarios", "tariffs", "costs", "datasets"])
def test_families_are_listed(lifetime, family):
    members = json.loads(lifetime("list", family, "--json").stdout)
    assert len(members) >= 2
    assert all(each["summary"].endswith(".") for each in members)
    shown = lifetime("list", family).stdout
    assert all(each["name"] in shown for each in members)


@pytest.mark.parametrize("former", ["policies", "scenarios", "costs"])
def test_a_former_command_says_what_it_is_called_now(lifetime, former):
    assert_refused(lifetime(former), f"expected `lifetime list {former}`")
