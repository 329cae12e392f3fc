"""One action more is one line more: lived, tabulated, searched, trained for, and acted on through Gymnasium."""

import json
from dataclasses import replace
from functools import partial
from itertools import product
from math import inf

import numpy as np
import pytest
import torch
from gymnasium.error import InvalidAction

from agent.accounting.work import Charge, Work
from agent.errors import InvalidSetting, PolicyError
from agent.evaluation.plan import EvaluationPlan
from agent.lifetime.episode import Episode, Undecided
from agent.lifetime.loop import Lifetimes, run_lifetimes
from agent.memory.rekeying import Rekeying
from agent.operations import OPERATIONS, Action
from agent.policies import (
    ForecastPolicy,
    LinearPolicy,
    LinUCBPolicy,
    NetworkPolicy,
    Policy,
    StaticPolicy,
    ThompsonPolicy,
    policy_file_text,
    read_policy_file,
)
from agent.policies.observation import Observation
from agent.testing import check_policy
from scenarios.config.settings import TrainConfig
from scenarios.datasets.source import Access
from scenarios.oracle.priced_table import PricedTable
from scenarios.oracle.search import Rows, assemble, beam_search, grow
from scenarios.oracle.table import n_nodes, read_table, schedule_of
from scenarios.oracle.tables import Pricing, TableSet
from scenarios.policy_training.cma import CmaTrainer
from scenarios.policy_training.environment import LifetimeEnv
from scenarios.policy_training.ppo import PpoTrainer
from scenarios.policy_training.reinforce import ReinforceTrainer, drawn_by
from scenarios.policy_training.simulators import TableSimulator
from scenarios.policy_training.worlds_env import TableLifetime, World, WorldsEnv
from scenarios.running.progress import SilentReporter
from scenarios.running.world import load_world, make_episode
from tests.agent.three_actions import REHEARSE, rehearse  # noqa: F401 (a fixture)
from tests.agent.toys import same, toy_agent, toy_images, toy_stream
from tests.scenarios import commands
from tests.scenarios.commands import TINY, kept
from tests.scenarios.oracle.test_table import MODELS

pytestmark = pytest.mark.usefixtures("rehearse")

N = 3
STREAM = toy_stream([8, 7, 8])
PLAN = EvaluationPlan(toy_images(10, seed=50), toy_images(11, seed=60), every=1)
TARIFF = (0.5, 2.0, 1.0)
SETTINGS = {"train_size": 60, "validation_size": 20, "chunks": N, "network": "resnet:width=2", "device": "cpu"}


class Scheduled(Policy):
    """Decides as it is told."""

    def __init__(self, schedule, observes="nothing"):
        self.schedule, self.observes, self.seen = schedule, observes, []

    def decide(self, observation):
        self.seen.append(observation.vector().tolist())
        return Action({"M": "memorize", "L": "learn", "R": "rehearse"}[self.schedule[observation.step]])


def begun(policies, rekey="never"):
    agent = toy_agent(rekeying=Rekeying.parse(rekey))
    stream = [replace(chunk, price=price) for chunk, price in zip(STREAM, TARIFF, strict=True)]
    return Lifetimes(agent, stream, policies, PLAN, costs=MODELS["energy"], budget=1e-3)


def table_of(seed=0, rekey="never"):
    rows = Rows()
    grow(Episode(begun({"": Undecided("memory")}, rekey)), 1, rows)
    facts = {"seed": seed, "actions": list(OPERATIONS), "prices": [1.0] * N}
    facts["settings"] = {"rekey": rekey, "calibrate_every": 0}
    return assemble([rows.as_arrays()], facts, [len(chunk) for chunk in STREAM])


def lived(schedule, observes="nothing", rekey="never"):
    policy = Scheduled(schedule, observes)
    lifetimes = begun({"": policy}, rekey)
    while lifetimes:
        lifetimes.advance()
    [(_, trajectory, agent)] = lifetimes.ended()
    return trajectory, policy.seen, agent


SCHEDULES = ["".join(letters) for letters in product("MLR", repeat=N)]


def test_a_life_does_both_and_pays_for_both():
    trajectory, _, agent = lived("RMR")
    assert [step.action for step in trajectory.steps] == ["rehearse", "memorize", "rehearse"]
    assert [step.learned for step in trajectory.steps] == [8, 8, 16]
    assert agent.memory.n_entries == 23
    rehearsed, learned = (lived(schedule)[0].steps[0] for schedule in ("RMM", "LMM"))
    assert rehearsed.work["learn"] == learned.work["learn"]
    assert rehearsed.work["memorize"].flops > 0


def twice(agent, chunk, outputs):
    """Memorize, with the forward pass billed to its first half."""
    bill = agent.memorize(chunk, outputs)
    return [Charge("memorize", Work(nbytes=1), chunk.price), *bill]


def reading(agent, chunk, outputs):
    """Learn what the network is unsure of, so that the forward pass is a part of learning."""
    outputs, work = (outputs, Work()) if outputs else agent.learner.forward(chunk.inputs)
    unsure = (outputs.probabilities.amax(dim=1) < 0.9).nonzero()[:, 0]
    return [Charge("learn", work + agent.learner.learn(chunk.inputs[unsure], chunk.labels[unsure]), chunk.price)]


@pytest.mark.parametrize(("perform", "account"), [(twice, "memorize"), (reading, "learn")])
@pytest.mark.parametrize("observes", ["nothing", "learner"])
def test_who_measures_changes_no_bill_of_an_operation(monkeypatch, perform, account, observes):
    operation = replace(OPERATIONS["rehearse"], perform=perform, outputs_account=account)
    monkeypatch.setitem(OPERATIONS, "rehearse", operation)
    spent = []
    for plan in (PLAN, replace(PLAN, prequential=True)):
        lifetimes = Lifetimes(toy_agent(), STREAM, {"": Scheduled("RMR", observes)}, plan)
        while lifetimes:
            lifetimes.advance()
        [(_, trajectory, _)] = lifetimes.ended()
        spent.append([(step.work[account].flops, step.work["decide"].flops, step.spent) for step in trajectory.steps])
    assert spent[0] == spent[1]


@pytest.mark.parametrize("rekey", ["never", "every:2"])
def test_lifetimes_part_three_ways_and_stay_themselves(rekey):
    policies = {schedule: Scheduled(schedule) for schedule in ("RRR", "LRM", "MMM", "RLL", "LLL", "MRL")}
    together = begun(policies, rekey)
    ended = {}
    while together:
        together.advance()
        ended |= {name: (trajectory, agent) for name, trajectory, agent in together.ended()}
    assert ended.keys() == policies.keys()
    for schedule, (trajectory, agent) in ended.items():
        alone, _, alone_agent = lived(schedule, rekey=rekey)
        assert trajectory.steps == alone.steps
        assert same(agent.state(), alone_agent.state())


@pytest.mark.slow
@pytest.mark.parametrize(("observes", "rekey"), [("memory", "never"), ("nothing", "every:2")])
def test_a_three_way_table_tells_what_lifetimes_would(tmp_path, observes, rekey):
    table = table_of(rekey=rekey)
    (tmp_path / "table.npz").write_bytes(table.as_npz())
    table = read_table(tmp_path / "table.npz")
    assert table.actions == ("memorize", "learn", "rehearse")
    assert np.isfinite(table.accuracy[:, 0]).sum() == n_nodes(N, 3)
    priced = PricedTable(table, TARIFF, MODELS["energy"], 1e-3, observes)
    for schedule in SCHEDULES[::7]:
        trajectory, seen, _ = lived(schedule, observes, rekey)
        node = 1
        for step, vector in zip(trajectory.steps, seen, strict=True):
            np.testing.assert_allclose(priced.vectors[node], vector, rtol=1e-12, atol=1e-30)
            assert "rehearse_cost" in Observation.names()
            node = 3 * node + table.number_of(Action(step.action))
            assert priced.spent[node] == step.spent
            assert table.accuracy[node, 0] == step.accuracy.agent
        assert schedule_of(node, table.actions) == schedule


@pytest.mark.slow
def test_the_oracle_is_the_best_of_all_lifetimes():
    table, weight = table_of(), 200.0
    priced = PricedTable(table, TARIFF, MODELS["energy"], 1e-3)
    worth = {}
    for schedule in SCHEDULES:
        last = lived(schedule)[0].steps[-1]
        worth[schedule] = last.accuracy.agent - weight * last.spent
    best = max(worth.values())
    assert worth[schedule_of(priced.best(weight), table.actions)] == best
    searched = beam_search(Episode(begun({"": Undecided("nothing")})), weight, 3**N)
    assert searched.utility == pytest.approx(best)


def test_a_table_of_two_actions_is_still_one_of_two(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.delitem(__import__("agent.operations").operations.OPERATIONS, "rehearse")
        table = table_of()
    (tmp_path / "table.npz").write_bytes(table.as_npz())
    table = read_table(tmp_path / "table.npz")
    priced = PricedTable(table, TARIFF, MODELS["energy"], inf)
    assert table.actions == ("memorize", "learn")
    three_ways = LinearPolicy(("seen",), ((0.0,), (0.0,)), (0.0, 0.0))
    assert priced.vectors.shape == (8, len(Observation.names()))
    assert schedule_of(priced.run(StaticPolicy(50)), table.actions) in ("LMM", "LLM")
    refusal = "expected one of the actions memorize, learn, as the table has them, got rehearse; grow another table"
    with pytest.raises(InvalidSetting, match=refusal):
        TableSet([table_with_settings(table)], Pricing.read("constant", "energy", 1.0)).leaf(0, three_ways)
    with pytest.raises(PolicyError, match=r"to give an Action out of memorize, learn, got Action\(name='rehearse'\)$"):
        priced.run(Scheduled("RRR"))
    env = WorldsEnv([World(0, partial(TableLifetime, priced))], 1.0)
    env.reset(seed=0)
    with pytest.raises(InvalidAction, match=r"expected 0 \(MEMORIZE\) or 1 \(LEARN\), got 2"):
        env.step(2)


def test_an_environment_has_three_actions():
    table = table_of()
    env = LifetimeEnv(tables=[table_with_settings(table)], cost_weight=0.0)
    assert env.action_space.n == 3
    env.reset(seed=0)
    for number in (2, 0, 1):
        _, _, ended, _, info = env.step(number)
    assert ended
    assert info["schedule"] == "RML"
    alive = LifetimeEnv(seeds=(0,), **SETTINGS)
    _, begun_info = alive.reset(seed=0)
    rewards = [alive.step(number)[1] for number in (2, 2, 2)]
    assert alive.step is not None
    assert sum(rewards) == pytest.approx(alive._utility)
    assert begun_info["step"] == 0
    with pytest.raises(Exception, match=r"expected 0 \(MEMORIZE\) or 1 \(LEARN\) or 2 \(REHEARSE\), got 3"):
        alive.reset() and alive.step(3)


def table_with_settings(table):
    from scenarios.config.settings import TreeConfig

    config = TreeConfig.model_validate({"chunks": N, "device": "cpu"})
    return replace(table, facts={**table.facts, "settings": config.model_dump(mode="json")})


# Policies


def test_policies_with_weights_score_each_action():
    linear = LinearPolicy(("seen", "price"), ((1.0, 0.0), (0.0, 2.0)), (0.0, -1.0))
    x = np.array([[0.5, 0.1], [0.1, 0.9], [-1.0, 0.0]])
    np.testing.assert_allclose(linear.scores(x), [[0, 0.5, -0.8], [0, 0.1, 0.8], [0, -1.0, -1.0]])
    assert [linear.decide(Observation(0, 2, seen=a, price=b)).name for a, b in x] == ["learn", "rehearse", "memorize"]
    network = NetworkPolicy(("seen",), [{"weight": [[1.0], [3.0]], "bias": [0.0, -1.0]}])
    assert [network.decide(Observation(0, 2, seen=s)).name for s in (0.0, 0.2, 0.9)] == ["learn", "learn", "rehearse"]
    for policy in (linear, network):
        check_policy(lambda policy=policy: policy)
    with pytest.raises(InvalidSetting, match="of 1 to 2 actions out of memorize, learn, rehearse, got 3"):
        LinearPolicy(("seen",), ((1.0,), (1.0,), (1.0,)), (0.0, 0.0, 0.0))
    with pytest.raises(InvalidSetting, match="for 2 actions, and 1 biases"):
        LinearPolicy(("seen",), ((1.0,), (1.0,)), (0.0,))


@pytest.mark.parametrize("make", [LinUCBPolicy, ThompsonPolicy])
def test_bandits_try_every_action(make):
    policies = {"bandit": make(observes="learner"), "static": StaticPolicy(50), "forecast": ForecastPolicy()}
    agent = toy_agent()
    stream = toy_stream([6] * 12)
    found = {name: trajectory for name, trajectory, _ in run_lifetimes(agent, stream, policies, replace(PLAN, every=0))}
    assert {step.action for step in found["bandit"].steps} == {"memorize", "learn", "rehearse"}
    check_policy(make)


def test_numbers_are_drawn_by_their_probabilities():
    logits = np.array([0.0, 1.0, -0.5])
    expected = np.exp(logits) / np.exp(logits).sum()
    drawn = [drawn_by(logits, float(each)) for each in (np.arange(20_000) + 0.5) / 20_000]
    np.testing.assert_allclose(np.bincount(drawn) / len(drawn), expected, atol=2e-4)


def simulator():
    tables = [table_with_settings(table_of(seed)) for seed in (0, 1)]
    return TableSimulator(TableSet(tables, Pricing.read("constant", "energy", 200.0)))


@pytest.mark.slow
@pytest.mark.parametrize("trainer", [CmaTrainer, ReinforceTrainer, PpoTrainer])
def test_a_policy_is_trained_for_three_actions(trainer, tmp_path):
    if trainer is PpoTrainer:
        pytest.importorskip("stable_baselines3")
    method = {CmaTrainer: "cma", ReinforceTrainer: "reinforce", PpoTrainer: "ppo"}[trainer]
    small = {"population": 6, "hidden": 4, "chunks": N, "device": "cpu", "method": method, "cost_weight": 200.0}
    worlds = simulator()
    trained = trainer(TrainConfig.model_validate(small), worlds)
    found = [trained.iterate()["utility"] for _ in range(6)]
    assert np.isfinite(found).all()
    path = tmp_path / "policy.json"
    path.write_text(policy_file_text(trained.policy()))
    policy = read_policy_file(path).make()
    assert policy.scores(np.zeros((1, len(policy.features)))).shape == (1, 3)
    leaf = worlds.table_set.leaf(0, policy)
    assert leaf == worlds.table_set.priced(0, policy.observes).run(policy)
    if trainer is CmaTrainer:
        best = max(worlds.utilities([lambda _, k=k: StaticPolicy(k)]).utilities.mean() for k in (0, 100))
        assert found[-1] >= found[0] - 0.05
        assert trained._best >= best - 0.2


# The command line, and what a process knows of a world


OWN = """
from agent.operations import Action
from agent.policies import Policy

class ByTurns(Policy):
    def __init__(self):
        self.turn = -1

    def decide(self, observation):
        self.turn += 1
        return Action(("rehearse", "memorize", "learn")[self.turn % 3])
"""


def test_simulate_lives_it_shows_it_and_goes_on(monkeypatch, tmp_path):
    (tmp_path / "three_turns.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    command = ["simulate", *TINY, "--policy", "three_turns.ByTurns", "--runs", tmp_path / "runs", "--name", "x"]
    done = commands.within(*command)
    assert (done.returncode, done.stderr) == (0, "")
    assert "6 chunks: 2 rehearse (R), 2 learned (L), 2 memorized (M)\nRMLRML\n" in done.stdout
    run = tmp_path / "runs/simulate/x"
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["learned"], summary["memory_entries"]) == (80, 80)
    whole = kept(run)
    stopped = commands.within(*command, "--force", stop_after=3)
    assert stopped.returncode == 143
    assert commands.within("resume", run).returncode == 0
    assert kept(run) == whole


def test_an_episode_of_a_world_can_be_decided_three_ways():
    from scenarios.config.settings import TreeConfig

    config = TreeConfig.model_validate({**SETTINGS, "dataset": "textures"})
    world = load_world(config, 0, Access(), SilentReporter())
    torch.set_num_threads(1)
    episode = make_episode(config, 0, world, "learner")
    seen = episode.observe()
    assert seen.rehearse_gflop == pytest.approx(seen.learn_gflop + seen.memorize_gflop)
    step = episode.act(REHEARSE)
    assert (step.learned, step.memory_entries) == (20, 20)
