"""Parts of an agent from the command line: our own, and those that know a contract alone, by their import paths."""

import json
import sys
from pathlib import Path

import pytest

from scenarios.config.families import FAMILIES
from tests.agent.learners import prototypes
from tests.agent.memory import nearest
from tests.agent.networks import whitening
from tests.scenarios import commands
from tests.scenarios.commands import TINY, assert_refused

OWN = "my_memory.NearestMemory"
POLICY = """
from agent.policies import Action, Policy

class Patient(Policy):
    observes = "learner"

    def __init__(self, patience: float = 1.0):
        self.patience = patience

    def decide(self, observation):
        learns = observation.learner_loss > self.patience * observation.mean_learner_loss
        return Action.LEARN if learns or observation.step == 0 else Action.MEMORIZE
"""
BROKEN = """

def without_rate():
    return Recipe((ParameterGroup(torch.optim.SGD, {"momentum": 0.9}),))


def unknown_setting():
    return Recipe((ParameterGroup(torch.optim.SGD, {"lr": 0.1, "speed": 3}),))


class Silent(WhitenedNet):
    def tapped(self, inputs, places):
        return super().tapped(inputs, places)[0], {}
"""
FAILING = """

class Failing(NearestMemory):
    def insert(self, *arguments):
        {}
"""
MODULES = {"my_memory": nearest, "my_network": whitening, "my_learner": prototypes, "my_policy": None}
"""Of the user's own, by name."""


@pytest.fixture
def lifetime(monkeypatch, tmp_path):
    """The command line, in a folder that holds parts of the user's own."""
    for name, module in MODULES.items():
        text = Path(module.__file__).read_text() if module else POLICY
        (tmp_path / f"{name}.py").write_text(text + (BROKEN if name == "my_network" else ""))
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.chdir(tmp_path)
    return commands.within


def settings_of(run):
    return json.loads((run / "config.json").read_text())["settings"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("memory", "names"), [("ridge:limit=4096", {"lambda"}), (f"{OWN}:capacity=20", {"k", "temperature"})]
)
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
@pytest.mark.parametrize(
    "parts",
    [
        {"network": "my_network.WhitenedNet:width=3", "recipe": "my_network.whitening:lr=0.02"},
        {"network": "convnet:width=2", "recipe": "adamw:lr=0.01", "keys": "features+block0"},
        {"network": "mlp:hidden=8", "recipe": "adamw", "memory": OWN},
        {"learner": "refit:epochs=1", "network": "my_network.WhitenedNet", "recipe": "my_network.whitening"},
    ],
    ids=["own network and recipe", "convnet", "mlp", "refitted"],
)
def test_parts_live_in_a_lifetime_a_comparison_and_a_curve(lifetime, tmp_path, parts):
    given = [word for name, spec in parts.items() for word in (f"--{name}", spec)]
    few = [*TINY, *given, "--runs", tmp_path / "runs", "--name", "x"]
    done = lifetime("simulate", *few, "--policy", "my_policy.Patient:patience=0.9")
    assert (done.returncode, done.stderr) == (0, "")
    run = tmp_path / "runs/simulate/x"
    for name, spec in parts.items():
        assert settings_of(run)[name].startswith(spec.partition(":")[0])
    own = json.loads((run / "config.json").read_text())["own_code"]
    assert len(own) == 1 + sum("my_" in spec for spec in parts.values())
    before = (run / "trajectory.jsonl").read_bytes()
    done = lifetime("simulate", *few, "--policy", "my_policy.Patient:patience=0.9", "--force")
    assert (done.returncode, done.stderr, (run / "trajectory.jsonl").read_bytes()) == (0, "", before)
    done = lifetime("compare", *few, "--seeds", 1, "--policies", "my_policy.Patient static:50")
    assert (done.returncode, done.stderr) == (0, "")
    done = lifetime("curve", *few, "--k", "50", "--seeds", 2)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_learner_without_further_abilities_lives_alone(lifetime, tmp_path):
    few = [*TINY, "--learner", "my_learner.Prototypes:50", "--runs", tmp_path / "runs", "--name", "x"]
    done = lifetime("simulate", *few, "--policy", "interleaved:k=50")
    assert done.returncode == 0
    assert (
        done.stderr
        == "warning: interleaved:k=50: the learner cannot be saved on the way; if interrupted, it begins anew\n"
    )
    run = tmp_path / "runs/simulate/x"
    assert settings_of(run)["learner"] == "my_learner.Prototypes:temperature=50"
    summary = json.loads((run / "summary.json").read_text())
    assert summary["accuracy"]["learner"] > 0.12
    for command in (["compare", *few, "--policies", "loss static:50"], ["curve", *few, "--k", "50"]):
        assert_refused(lifetime(*command), "expected Prototypes to be forkable (agent.abilities.Forkable)")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--network", "my_network.Network"], "expected my_network.Network to define places, spec, tapped"),
        (["--network", "my_memory.NearestMemory"], "to be a subclass of agent.networks.Network, got another class"),
        (["--network", "resnet:9"], "expected depth = 6n + 2 (8, 14, 20, 26, 32, ... up to 1202), got 9"),
        (["--network", "resnet:input_shape=3"], "expected settings of resnet out of depth, width, got input_shape"),
        (["--recipe", "my_network.F"], "expected my_network.F to be a callable, got an object of type module"),
        (["--recipe", "my_network.whiten"], "expected a setting inputs for my_network.whiten"),
        (["--recipe", "my_policy.Patient"], "to return agent.learners.Recipe, got an object of type Patient"),
        (["--network", "resnet:width=100000000000"], "expected a width of 1 to 100000"),
        (["--network", "mlp:hidden=99999999999999999999"], "expected hidden of 1 to 100000"),
        (["--network", "convnet:blocks=40"], "1 to 8 blocks"),
        (["--recipe", "adamw:lr=1e300"], "expected a finite learning rate above 0, at most 1e+30"),
        (["--learner", "online:epochs=1e12"], "expected a number of epochs above 0, at most 100000"),
        (["--keys", "+"], "expected --keys of places joined by +, as in stem+features, got +"),
        (["--learner", "my_learner.Prototypes", "--policy", "forecast"], "expected a learner that can estimate"),
        (
            [
                "--learner",
                "my_learner.Prototypes",
                "--network",
                "my_network.WhitenedNet",
                "--recipe",
                "my_network.whitening",
            ],
            "expected a learner that can prepare its network (agent.learners.protocol.Preparable) for --recipe",
        ),
        (["--recipe", "my_network.without_rate"], "expected a finite learning rate above 0 for each group"),
        (["--recipe", "my_network.unknown_setting"], "expected settings that SGD takes, got"),
        (["--network", "my_network.Silent"], "expected a network that takes inputs of shape (3, 32, 32), got Silent"),
        (["--recipe", "sgd:momentum=1"], "expected a momentum from 0 to below 1, got 1.0"),
        (
            ["--learner", "my_memory.NearestMemory"],
            "expected my_memory.NearestMemory to take its settings, got TypeError",
        ),
        (["--learner", "my_policy.Patient"], "to offer all that agent.Learner names, got one without flush, forward"),
        (["--keys", "stem,features"], "expected --keys of places joined by + (stem+features), got stem,features"),
        (["--network", "mlp", "--keys", "stem"], "expected keys from places of MLP(hidden=128, layers=2"),
        (["--lr", "0.1"], "expected --recipe sgd:lr=..., got --lr, as it was called before"),
        (["--protocol", "original"], "expected --learner online, cooldown or refit"),
    ],
)
def test_what_is_no_part_is_refused_in_one_line(lifetime, tmp_path, given, message):
    assert_refused(lifetime("simulate", *TINY, *given, "--runs", tmp_path / "runs"), message)
    assert not list((tmp_path / "runs").glob("*/*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("failure", "shown"),
    [
        ("raise ValueError('no room')", "ValueError: no room in insert, line "),
        ("raise StopIteration", "StopIteration in insert, line "),
        ("open('nowhere')", "FileNotFoundError: [Errno 2] No such file or directory: 'nowhere' in insert, line "),
        ("sys.exit('bye')", "SystemExit: bye in insert, line "),
    ],
)
def test_a_part_that_fails_is_named_in_one_line_and_leaves_no_run(lifetime, tmp_path, failure, shown):
    module = tmp_path / "my_memory.py"
    module.write_text("import sys\n" + module.read_text() + FAILING.format(failure))
    few = [*TINY, "--memory", "my_memory.Failing", "--runs", tmp_path / "runs", "--name", "x"]
    assert_refused(
        lifetime("simulate", *few, "--policy", "interleaved:k=0"), f"expected my_memory.py to work, got {shown}"
    )
    assert not (tmp_path / "runs/simulate/x").exists()


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (
            "return super().recall(*arguments)[0]",
            "expected my_memory.Wrong to return what the contract says, got TypeError",
        ),
        (
            "read_out, cache, work = super().recall(*arguments); "
            "return type(read_out)(read_out.probabilities * float('nan'), read_out.novelty), cache, work",
            "expected finite class probabilities of the ",
        ),
        (
            "return *super().recall(*arguments)[:2], Work(flops=-5)",
            "expected a whole number of FLOPs of 0 or more on the",
        ),
    ],
    ids=["another type", "NaN", "a negative bill"],
)
def test_a_part_that_returns_what_it_must_not_is_named_in_one_line(lifetime, tmp_path, body, shown):
    module = tmp_path / "my_memory.py"
    module.write_text(
        "from agent.accounting.work import Work\n"
        + module.read_text()
        + f"\n\nclass Wrong(NearestMemory):\n    def recall(self, *arguments):\n        {body}\n"
    )
    few = [*TINY, "--memory", "my_memory.Wrong", "--runs", tmp_path / "runs", "--policy", "interleaved:k=0"]
    assert_refused(lifetime("simulate", *few), shown)


def test_the_memory_is_given_the_seed_of_the_lifetime(lifetime, tmp_path):
    module = tmp_path / "my_memory.py"
    module.write_text(
        module.read_text() + "\n\nclass Seeded(NearestMemory):\n"
        "    def __init__(self, n_classes, *, seed=-1):\n        super().__init__(n_classes, capacity=seed)\n"
    )
    few = [*TINY, "--memory", "my_memory.Seeded", "--runs", tmp_path / "runs", "--name", "x", "--seed", 7]
    assert lifetime("simulate", *few, "--policy", "interleaved:k=0").returncode == 0
    assert json.loads((tmp_path / "runs/simulate/x/summary.json").read_text())["memory_entries"] == 7


@pytest.mark.slow
def test_a_part_that_fails_in_a_worker_is_named_in_one_line(lifetime, tmp_path):
    module = tmp_path / "my_memory.py"
    module.write_text(module.read_text() + FAILING.format("raise ValueError('no room')"))
    few = [*TINY, "--memory", "my_memory.Failing", "--runs", tmp_path / "runs", "--name", "x"]
    message = "expected my_memory.py to work, got ValueError: no room in insert, line "
    assert_refused(lifetime("curve", *few, "--k", "0,50", "--seeds", 2, "--workers", 2), message)


@pytest.mark.slow
def test_the_code_of_a_memory_is_part_of_its_run(lifetime, tmp_path):
    command = ["simulate", *TINY, "--memory", OWN, "--runs", tmp_path / "runs", "--name", "x"]
    assert lifetime(*command).returncode == 0
    run = tmp_path / "runs/simulate/x"
    assert json.loads((run / "config.json").read_text())["own_code"].keys() == {f"{OWN}:capacity=12"}
    assert lifetime("resume", run).returncode == 0
    module = tmp_path / "my_memory.py"
    module.write_text(module.read_text().replace("capacity=12", "capacity=13"))
    assert_refused(lifetime("resume", run), "own_code")


@pytest.mark.parametrize(
    ("memory", "message"),
    [
        (
            "nope",
            "expected a memory out of cache, knn, ann, residual, logistic, ridge, slda, ncm or package.module.Class, "
            "got nope; `lifetime list memories`",
        ),
        ("cache:limit=3", "expected settings of cache out of storage, got limit"),
        ("cache:n_classes=3", "expected settings of cache out of storage, got n_classes"),
        ("ridge:limit=many", "expected limit of ridge to be an integer, got many"),
        ("ridge:limit=0", "expected a limit of at least 1 number in a key, got 0"),
        ("ridge:limit=3", "expected keys of at most 3 numbers for --memory ridge, got 8"),
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


@pytest.mark.parametrize("family", [*FAMILIES, "datasets"])
def test_families_are_listed(lifetime, family):
    members = json.loads(lifetime("list", family, "--json").stdout)
    assert len(members) >= 2
    assert all(each["summary"].endswith(".") for each in members)
    shown = lifetime("list", family).stdout
    assert all(each["name"] in shown for each in members)


@pytest.mark.parametrize("former", ["policies", "scenarios", "costs"])
def test_a_former_command_says_what_it_is_called_now(lifetime, former):
    assert_refused(lifetime(former), f"expected `lifetime list {former}`")
