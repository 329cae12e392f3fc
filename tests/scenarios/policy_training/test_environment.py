"""Lifetimes as a Gymnasium environment: lived and looked up, they are one environment."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from math import inf
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.utils.env_checker import check_env

import scenarios
from agent.data.chunk import LabelledInputs
from agent.errors import InvalidSetting, RunError
from agent.policies.observation import Observation
from scenarios.config.settings import TreeConfig
from scenarios.datasets.source import Access
from scenarios.oracle.priced_table import PricedTable
from scenarios.oracle.search import Rows, assemble, grow
from scenarios.oracle.table import schedule_of
from scenarios.policy_training import environment
from scenarios.policy_training.environment import ENVIRONMENT_ID, LifetimeEnv
from scenarios.running import world as worlds
from scenarios.running.progress import SilentReporter
from scenarios.running.world import load_world, make_episode

ROOT = Path(__file__).parents[3]
TINY = {
    "train_size": 60,
    "validation_size": 20,
    "chunks": 3,
    "network": "resnet:width=2",
    "learner": "online:epochs=1",
    "device": "cpu",
    "calibrate_every": 2,
    "rekey": "on-learn",
    "tariff": "random-walk",
    "cost": "cloud",
    "budget": 2e-10,
}
BY_NAME = f"scenarios.policy_training.environment:{ENVIRONMENT_ID}"
COST_WEIGHT = 1e9
FIELDS = Observation.names()


pytestmark = pytest.mark.usefixtures("one_thread")


def planted(seed, **changed):
    """A tree, grown as `lifetime tree` grows it, but by this process."""
    config = TreeConfig.model_validate(TINY | changed)
    world = load_world(config, seed, Access(), SilentReporter())
    rows = Rows()
    grow(make_episode(config, seed, world, "memory"), 1, rows)
    facts = {"settings": config.model_dump(mode="json"), "seed": seed, "prices": list(world[1].stream.prices)}
    facts["actions"] = list(config.actions)
    return assemble([rows.as_arrays()], facts, [len(chunk) for chunk in world[1].stream])


@pytest.fixture(scope="module")
def tables():
    return [planted(0), planted(3), planted(5, chunks=2)]


@pytest.fixture
def made(request, tables):
    return {"live": TINY | {"seeds": (0, 3)}, "tables": {"tables": tables}}[request.param]


both = pytest.mark.parametrize("made", ["live", "tables"], indirect=True)


def life(env, actions, **begin):
    """Everything that comes of some decisions, plain."""
    observation, info = env.reset(**begin)
    story = [(observation.tobytes(), info)]
    for action in actions:
        observation, *rest = env.step(action)
        story.append((observation.tobytes(), *rest))
    return story


@both
def test_gymnasium_finds_nothing_amiss(made):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make(BY_NAME, render_mode="ansi", **made)
        check_env(env.unwrapped)
        env.reset()
        env.render()
        assert not env.step(env.action_space.sample())[2]
        env.close()


@both
def test_the_same_seed_lives_the_same_life(made):
    actions = (1, 0)
    one, other = (LifetimeEnv(**made, observes="learner", cost_weight=COST_WEIGHT) for _ in range(2))
    seeds = (0, None, 1, None, 0, None)
    stories = [life(one, actions, seed=seed) for seed in seeds]
    assert stories == [life(other, actions, seed=seed) for seed in seeds]
    assert stories[:2] == stories[4:]
    assert len({story[0][1]["world"] for story in stories}) > 1


@both
def test_rewards_sum_to_the_utility_of_the_end(made):
    env = LifetimeEnv(**made, cost_weight=COST_WEIGHT)
    story = life(env, (0, 1, 1), options={"world": 3})
    *_, terminated, truncated, info = story[-1]
    assert (terminated, truncated) == (True, False)
    assert not any(step[2] for step in story[1:-1])
    assert info["utility"] == info["accuracy"] - COST_WEIGHT * info["spent"] < 0 <= info["accuracy"]
    assert sum(step[1] for step in story[1:]) == pytest.approx(info["utility"], rel=1e-12)
    assert (info["world"], info["step"], info["schedule"]) == (3, 3, "MLL")
    at_birth = dict(story[0][1])
    assert np.isnan(at_birth.pop("accuracy"))  # nothing has been measured
    assert at_birth == {"world": 3, "step": 0, "spent": 0.0, "utility": 0.0}


@pytest.mark.slow
@pytest.mark.parametrize("observes", ["nothing", "learner", "memory"])
@pytest.mark.parametrize("prices", [{}, {"tariff": "day-night", "cost": "flops", "budget": inf}], ids=["own", "others"])
def test_living_and_looking_up_are_the_same_to_the_bit(tables, observes, prices):
    asked = {"observes": observes, "cost_weight": COST_WEIGHT}
    lived, looked_up = LifetimeEnv(**TINY | {"seeds": (3,)} | prices, **asked), LifetimeEnv(tables, **asked, **prices)
    for leaf in range(8, 16):
        actions = ["ML".index(letter) for letter in schedule_of(leaf)]
        story = life(lived, actions, options={"world": 3})
        assert story == life(looked_up, actions, options={"world": 3})
        assert story[-1][-1]["schedule"] == schedule_of(leaf)


def test_a_table_says_what_its_tree_does(tables):
    env = LifetimeEnv(tables[1], observes="nothing", cost_weight=0.5, tariff="constant", cost="flops")
    priced: PricedTable = PricedTable(tables[1], (1.0,) * 3, worlds.cost_model(TreeConfig()))
    for leaf in range(8, 16):
        *_, last = life(env, ["ML".index(letter) for letter in schedule_of(leaf)])
        assert last[-1]["utility"] == priced.utility(0.5)[leaf]


def test_what_is_not_there_is_minus_one(tables):
    env = LifetimeEnv(tables, budget=inf)
    first, _ = env.reset(options={"world": 3})
    assert first.dtype == np.float32
    there = dict(zip(FIELDS, first.tolist(), strict=True))
    assert there["left"] == there["memory_loss"] == there["mean_novelty"] == -1
    assert there["learner_loss"] > 0
    assert (there["step"], there["n_chunks"], there["memory_entries"]) == (0, 3, 0)
    second, *_ = env.step(0)
    assert (second >= 0).sum() == len(FIELDS) - 4  # left, the speed, and the estimates of what is not offered
    env.step(0)
    last, _, terminated, *_ = env.step(0)
    assert terminated
    assert (last == -1).all()
    blind, _ = LifetimeEnv(tables, observes="nothing").reset(options={"world": 3})
    there = dict(zip(FIELDS, blind.tolist(), strict=True))
    assert there["learner_loss"] == there["mean_learner_loss"] == -1
    assert there["left"] == np.float32(TINY["budget"])


def test_test_images_are_not_looked_at(monkeypatch):
    class Sealed(LabelledInputs):
        """Images whose pixels and labels nobody may ask for."""

        def __init__(self):
            pass

        def __getattribute__(self, name):
            raise AssertionError(f"{name} of a test image")

    def load(*arguments, **named):
        dataset, scenario = load_world(*arguments, **named)
        return replace(dataset, test=Sealed()), replace(scenario, test=Sealed())

    actions = (1, 0, 1)
    expected = life(LifetimeEnv(**TINY), actions, options={"world": 0})
    monkeypatch.setattr(environment, "load_world", load)
    environment._loaded.cache_clear()
    assert life(LifetimeEnv(**TINY), actions, options={"world": 0}) == expected
    environment._loaded.cache_clear()


def test_a_world_is_loaded_once(monkeypatch):
    loaded = []
    monkeypatch.setattr(environment, "load_world", lambda config, seed, *_: loaded.append(seed) or load(config, seed))

    def load(config, seed):
        return load_world(config, seed, Access(), SilentReporter())

    environment._loaded.cache_clear()
    for _ in range(2):
        env = LifetimeEnv(**TINY)
        for world in (0, 2, 0):
            env.reset(options={"world": world})
    assert loaded == [0, 2]
    environment._loaded.cache_clear()


@both
def test_environments_live_side_by_side(made):
    alone = [LifetimeEnv(**made) for _ in range(2)]
    envs = gymnasium.make_vec(BY_NAME, num_envs=2, vectorization_mode="sync", **made)
    seen, info = envs.reset(seed=[4, 9])
    for each, seed, row in zip(alone, (4, 9), seen, strict=True):
        np.testing.assert_array_equal(each.reset(seed=seed)[0], row)
    seen, rewards, *_ = envs.step(np.array([0, 1]))
    for each, action, row, reward in zip(alone, (0, 1), seen, rewards, strict=True):
        expected, evaluates_after, *_ = each.step(action)
        np.testing.assert_array_equal(expected, row)
        assert evaluates_after == reward
    schedules = set()
    for _ in range(6):
        *_, info = envs.step(np.array([0, 1]))
        schedules.update(each for each in info.get("schedule", ()) if each)
    assert all(len(each) in (2, 3) for each in schedules)
    assert schedules
    envs.close()


def test_environments_live_in_processes(tables, tmp_path):
    path = tmp_path / "table.npz"
    path.write_bytes(tables[0].as_npz())
    envs = gymnasium.make_vec(BY_NAME, num_envs=2, vectorization_mode="async", tables=[str(path)])
    alone = LifetimeEnv(path)
    np.testing.assert_array_equal(envs.reset(seed=1)[0], np.stack([alone.reset()[0]] * 2))
    rewards = envs.step(np.array([1, 0]))[1]
    assert alone.step(1)[1] == rewards[0] != rewards[1]
    envs.close()


WORKERS = """
import json, sys
import gymnasium, torch

BY_NAME, made, vector_kwargs, n_threads = json.loads(sys.argv[1])


def numbers(**vectorization):
    envs = gymnasium.make_vec(BY_NAME, num_envs=2, **vectorization, **made)
    told = [envs.reset(seed=[4, 9])[0].tolist()]
    for actions in ([1, 0], [0, 1], [1, 1]):
        told += [part.tolist() for part in envs.step(actions)[:3]]
    envs.close()
    return told


if __name__ == "__main__":
    torch.set_num_threads(n_threads)
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 3), torch.nn.BatchNorm2d(64), torch.nn.Conv2d(64, 64, 3))
    for _ in range(2):
        layers(torch.randn(32, 3, 32, 32)).sum().backward()
    torch.randn(600, 600) @ torch.randn(600, 600)
    expected = numbers(vectorization_mode="sync")
    try:
        given = numbers(vectorization_mode="async", vector_kwargs=vector_kwargs)
    except ValueError as refusal:
        print(type(refusal).__name__, refusal)
    else:
        print("equal" if given == expected else f"expected {expected}, got {given}")
"""
"""A user's script: torch runs with several threads, then lifetimes go on in worker processes."""


def in_workers(folder, made, vector_kwargs):
    """What the script prints; one that hangs fails."""
    script, n_threads = folder / "workers.py", 2
    script.write_text(WORKERS)
    process = subprocess.Popen(
        [sys.executable, str(script), json.dumps([BY_NAME, made, vector_kwargs, n_threads])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(n_threads), "OMP_WAIT_POLICY": "passive"},
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=240)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # the workers too, which hold its output open
        raise
    assert process.returncode == 0, err
    return out.strip()


WIDE = TINY | {"train_size": 30, "network": "resnet:width=4", "seeds": (0, 3)}
"""Wide enough for torch to use its threads."""
REFUSAL = (
    "InvalidSetting expected lifetimes to run in a process that loads torch itself, got a fork of one that had, "
    'where torch can hang; start workers anew, as in gymnasium.make_vec(..., vectorization_mode="async", '
    'vector_kwargs={"context": "spawn"}), or look lifetimes up in tables'
)


@pytest.mark.slow
def test_workers_as_they_come_live_lifetimes_or_refuse(tmp_path):
    forked = multiprocessing.get_context().get_start_method() == "fork"
    assert in_workers(tmp_path, WIDE, {}) == (REFUSAL if forked else "equal")


@pytest.mark.slow
@pytest.mark.parametrize("context", ["spawn", "forkserver"])
def test_workers_that_load_torch_themselves_live_lifetimes(tmp_path, context):
    assert in_workers(tmp_path, WIDE, {"context": context}) == "equal"


@pytest.mark.slow
def test_forked_workers_look_lifetimes_up(tables, tmp_path):
    path = tmp_path / "table.npz"
    path.write_bytes(tables[0].as_npz())
    assert in_workers(tmp_path, {"tables": [str(path)]}, {"context": "fork"}) == "equal"


def test_a_lifetime_neither_begins_nor_goes_on_in_a_fork():
    env = LifetimeEnv(**TINY)
    env.reset(seed=0)
    ours, theirs = multiprocessing.Pipe(duplex=False)

    def try_both():
        for ask in (lambda: env.step(1), env.reset):
            try:
                ask()
            except InvalidSetting as refusal:
                theirs.send(f"InvalidSetting {refusal}")

    process = multiprocessing.get_context("fork").Process(target=try_both, daemon=True)
    process.start()
    for _ in range(2):
        assert ours.poll(60)
        assert ours.recv() == REFUSAL
    process.join(60)
    env.step(1)


def test_what_float32_cannot_hold_stays_within_the_space(tables):
    env = LifetimeEnv(tables, cost="prices:gflop=1e15", tariff="constant:price=1e15", budget=1e300)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        observation, _ = env.reset(seed=0)
        assert env.observation_space.contains(observation)
        assert env.observation_space.contains(env.step(1)[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"chunk": 3}, "expected settings out of network, .*, got chunk"),
        ({"test_size": 3}, "expected settings out of .*, got test_size"),
        ({"chunks": 0}, "expected --chunks to be greater than or equal to 1, got 0"),
        ({"tariff": "free"}, "expected a tariff out of constant, .*, got free"),
        ({"cost_weight": -1.0}, "expected --cost-weight to be greater than or equal to 0, got -1"),
        ({"preset": "slow"}, "expected a preset out of quick, cifar10, got slow"),
        ({"seeds": ()}, r"expected a list of seeds, .*, got \(\)"),
        ({"seeds": (1, 1)}, r"each once, got \(1, 1\)"),
        ({"seeds": (-1,)}, r"whole numbers from 0 on .*, got \(-1,\)"),
        ({"render_mode": "human"}, "expected a render_mode of ansi or None, got 'human'"),
        ({"tables": []}, "expected one or more tables, got none"),
        ({"tables": ["x.npz"], "seeds": (0, 1, 2)}, "got both: tables and seeds; leave out either"),
        (
            {"tables": ["x.npz"], "network": "resnet", "seeds": (1,)},
            "got both: tables and seeds, network; leave out either",
        ),
        ({"tables": ["x.npz"], "download": True}, "got both: tables and download"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(arguments, message):
    with pytest.raises(InvalidSetting, match=message) as refused:
        LifetimeEnv(**arguments)
    assert "\n" not in str(refused.value)


def test_bad_prices_of_tables_are_refused(tables, tmp_path):
    for arguments in ({"cost_weight": float("nan")}, {"budget": -1.0}, {"tariff": "free"}, {"cost": "love"}):
        with pytest.raises(InvalidSetting, match="expected"):
            LifetimeEnv(tables, **arguments)
    with pytest.raises(RunError, match="expected a schedule table"):
        LifetimeEnv(tmp_path / "none.npz")


def test_worlds_that_are_not_there_are_refused(tables):
    env = LifetimeEnv([*tables, tables[0]])
    with pytest.raises(InvalidSetting, match="expected a world that is once among 0, 3, 5, 0, got 1"):
        env.reset(options={"world": 1})
    with pytest.raises(InvalidSetting, match="once among 0, 3, 5, 0, got 0"):
        env.reset(options={"world": 0})
    with pytest.raises(InvalidSetting, match="expected no option but world, got seed"):
        env.reset(options={"seed": 0})


def test_order_is_enforced(tables):
    env = LifetimeEnv(tables[2], render_mode="ansi")
    for ask in (lambda: env.step(0), env.render):
        with pytest.raises(ResetNeeded, match="call reset"):
            ask()
    env.reset()
    assert env.render() == "seed 5:   U 0.0"
    for action in (2, -1, 0.5):
        with pytest.raises(InvalidAction, match=r"expected 0 \(MEMORIZE\) or 1 \(LEARN\)"):
            env.step(action)
    env.step(np.int64(1))
    *_, info = env.step(0)
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(0)
    assert env.render() == f"seed 5: LM  U {100 * info['utility']:.1f}"
    assert LifetimeEnv(tables[2]).render_mode is None


@pytest.mark.slow
def test_the_name_is_registered_by_the_import_and_but_once():
    code = (
        "import warnings; warnings.simplefilter('error')\n"
        "import gymnasium, sys, importlib\n"
        "assert 'torch' not in sys.modules\n"
        "import scenarios\n"
        f"assert {ENVIRONMENT_ID!r} not in gymnasium.registry\n"
        "import scenarios.policy_training.environment as module\n"
        f"assert gymnasium.spec({ENVIRONMENT_ID!r}).entry_point == module.__name__ + ':LifetimeEnv'\n"
        "importlib.reload(module)\n"
        f"env = gymnasium.make({ENVIRONMENT_ID!r})\n"
        "assert type(env.unwrapped) is scenarios.LifetimeEnv"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_it_is_exported():
    assert scenarios.LifetimeEnv is LifetimeEnv
    with pytest.raises(AttributeError, match="no attribute 'lifetime'"):
        scenarios.lifetime  # noqa: B018
