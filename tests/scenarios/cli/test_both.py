"""`--both` on the command line: lived, compared, tabulated, searched, trained for, swept, interrupted and refused."""

import numpy as np
import pytest

from agent.policies.observation import Observation
from scenarios.config.settings import TreeConfig
from scenarios.oracle.priced_table import PricedTable
from scenarios.oracle.table import read_table
from scenarios.policy_training.environment import LifetimeEnv
from scenarios.running.world import cost_model
from tests.scenarios.commands import TINY, assert_refused, kept, points, strictly, within

SMALL = (
    "--device cpu --train-size 60 --validation-size 20 --chunks 3 --network resnet:width=2"
    " --learner online:epochs=1 --workers 1 --both"
).split()


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """A small tree of all four actions."""
    runs = tmp_path_factory.mktemp("trees")
    done = within("tree", *SMALL, "--consolidate", "30", "--rekey", "on-learn", "--runs", runs, "--name", "x")
    assert (done.returncode, done.stderr) == (0, "")
    return runs / "tree/x"


# Lifetimes


@pytest.mark.parametrize("learner", ["online", pytest.param("refit:epochs=1", marks=pytest.mark.slow)])
def test_simulate_does_both_shows_it_and_goes_on(tmp_path, learner):
    command = ["simulate", *TINY, "--learner", learner, "--both", "--policy", "periodic:period=3,both=true"]
    command += ["--runs", tmp_path, "--name", "x"]
    done, run = within(*command), tmp_path / "simulate/x"
    assert (done.returncode, done.stderr) == (0, "")
    assert "6 chunks: 2 learned and memorized (B), 0 learned (L), 4 memorized (M)\nBMMBMM\n" in done.stdout
    summary = strictly((run / "summary.json").read_text())
    assert (summary["learned"], summary["memory_entries"]) == (40, 120)
    assert strictly((run / "config.json").read_text())["settings"]["both"] is True
    shown = points(run)
    assert [step for step, _ in shown[".:decision/both"]] == [20, 80]
    whole = kept(run)
    assert within(*command, "--force", stop_after=4).returncode == 143
    resumed = within("resume", run)
    assert (resumed.returncode, resumed.stdout) == (0, done.stdout)
    assert kept(run) == whole


@pytest.mark.slow
def test_methods_with_and_without_it_are_compared(tmp_path):
    methods = [("with", "both:true | policy:static:k=100,both=true"), ("without", "policy:static:k=100")]
    options = [word for label, parts in methods for word in ("--methods", f"{label} = {parts}")]
    command = ["compare", *TINY, "--calibrate-every", 0, "--seeds", 1, "--runs", tmp_path]
    done = within(*command, *options, "--name", "x", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    one, other = (
        {k: v["estimate"] for k, v in each["means"].items() if v} for each in strictly(done.stdout)["schedules"]
    )
    assert one["learner_accuracy"] == other["learner_accuracy"], "the memory changes no weight"
    assert one["learn_gflop"] == other["learn_gflop"]
    assert (one["memory_entries"], other["memory_entries"]) == (120, 0)
    assert within(*command, *options[:2], "--name", "y").returncode == 0
    together, apart = (kept(tmp_path / "compare" / name) for name in "xy")
    shared = [name for name in apart if name.endswith("trajectory.jsonl")]
    assert shared
    assert all(apart[name] == together[name] for name in shared)


@pytest.mark.slow
def test_a_sweep_has_it_as_an_axis(tmp_path):
    axis = ["--axis", "both = false | true", "--policies", "interleaved:k=50", "--seeds", 2]
    command = ["sweep", *TINY, *axis, "--runs", tmp_path, "--name", "x"]
    done = within(*command)
    assert (done.returncode, done.stderr) == (0, "")
    assert "both:true" in done.stdout


@pytest.mark.slow
def test_an_enforced_budget_falls_back_to_learning(tmp_path):
    command = ["simulate", *TINY, "--both", "--policy", "static:k=100,both=true", "--queries", 0, "--runs", tmp_path]
    learned = within(*command[:-4], "--queries", 0, "--json", "--runs", tmp_path, "--name", "free")
    spent = strictly(learned.stdout)["metrics"]["total_cost_without_calibration"]
    done = within(*command, "--budget", 0.9 * spent, "--enforce", "--name", "poor")
    assert done.returncode == 0, done.stderr
    [schedule] = [line for line in done.stdout.splitlines() if line and set(line) <= set("BLMP")]
    assert schedule.startswith("B")
    assert len(schedule) == 6
    assert set(schedule) > {"B"}


# Trees


def test_trees_of_three_and_four_actions_have_fewer_chunks():
    chunks = [
        TreeConfig.model_validate(given).chunks
        for given in ({"both": False}, {"both": True}, {"both": "true"}, {"both": True, "consolidate": "500"})
    ]
    assert chunks == [8, 6, 6, 5]


@pytest.mark.slow
def test_a_table_of_four_actions_tells_what_a_lifetime_would(trees):
    table = read_table(trees / "seed0/table.npz")
    assert table.actions == ("memorize", "learn", "consolidate", "both")
    config = TreeConfig.model_validate(table.facts["settings"])
    alive = LifetimeEnv(
        seeds=[0], observes="nothing", **{
            name: str(table.facts["settings"][name])
            for name in ("train_size", "validation_size", "chunks", "network", "device", "consolidate", "learner",
                         "recipe", "rekey", "both")
        },
    )  # fmt: skip
    tabulated = LifetimeEnv(trees / "seed0/table.npz", observes="nothing")
    assert tabulated.action_space.n == alive.action_space.n == 4
    names = Observation.names(table.actions)
    for schedule in [(3, 0, 3), (0, 3, 2), (1, 3, 1)]:
        seen = []
        for each in (tabulated, alive):
            vectors = [each.reset(options={"world": 0})[0]]
            for number in schedule:
                vector, *_, info = each.step(number)
                vectors.append(vector)
            seen.append((np.array(vectors), info))
        np.testing.assert_allclose(seen[0][0], seen[1][0], rtol=1e-5)
        assert seen[0][0].shape == (4, len(names))
        assert seen[0][0][0, names.index("both_gflop")] > 0
        assert seen[0][1]["schedule"] == seen[1][1]["schedule"] == "".join("MLCB"[i] for i in schedule)
        assert seen[0][1]["spent"] == pytest.approx(seen[1][1]["spent"])
    priced = PricedTable(table, (1.0,) * 3, cost_model(config))
    assert 0 < priced.best(config.cost_weight) < 2 * 4**3


@pytest.mark.slow
def test_a_beam_searches_it_policies_are_evaluated_and_a_frontier_is_drawn(trees, tmp_path):
    done = within("tree", *SMALL, "--search", "beam", "--runs", tmp_path, "--name", "x", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert set(strictly(done.stdout)["oracle"][0]["schedule"]) <= set("MLB")
    policies = ["--policies", "static:k=50,both=true"]
    done = within("evaluate", trees, *policies, "--runs", tmp_path, "--name", "x", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "static:k=50,both=true" in {each["label"] for each in strictly(done.stdout)["schedules"]}
    done = within("frontier", trees, "--runs", tmp_path, "--name", "x")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["cma", "reinforce"])
def test_policies_are_trained_for_it_and_lived(trees, tmp_path, method):
    small = ["--seeds", 1, "--population", 4, "--iterations", 2, "--hidden", 4]
    done = within("train-policy", "--trees", trees, "--method", method, *small, "--runs", tmp_path, "--name", "x")
    assert (done.returncode, done.stderr) == (0, "")
    path = tmp_path / "train-policy/x/policy.json"
    alive = ["simulate", *TINY, "--policy", f"file:{path}", "--consolidate", 30, "--runs", tmp_path, "--name", "x"]
    assert_refused(within(*alive), "expected an agent that offers both for")
    assert within(*alive, "--both").returncode == 0


# What cannot be


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ["simulate", *TINY, "--policy", "static:k=50,both=true"],
            "agent that offers both for StaticPolicy, got one of memorize, learn; --both, or another policy",
        ),
        (
            ["curve", *TINY, "--k", 50, "--seeds", 1, "--with-memories", "also = memory:knn | both:true"],
            "got both in also",
        ),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, command, message):
    assert_refused(within(*command, "--runs", tmp_path), message)
