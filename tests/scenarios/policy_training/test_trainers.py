"""Learners of policies: the same from the same seed, from any state, and on the way to what is known to be best."""

import io
import subprocess
import sys
import warnings
from dataclasses import replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from agent.policies import Action, PolicyFile, StaticPolicy, policy_file_text
from agent.policies.forecast import ForecastPolicy
from agent.randomness import named_generator
from agent.storage.record import RunDirectory
from scenarios.config.families import POLICY, TARIFF
from scenarios.config.members import Member, make
from scenarios.config.settings import TrainConfig
from scenarios.oracle.table import schedule_of
from scenarios.oracle.tables import Pricing, TableSet, with_tariffs_drawn
from scenarios.policy_training import forecast, reinforce
from scenarios.policy_training.cma import CmaTrainer
from scenarios.policy_training.forecast import ForecastTrainer
from scenarios.policy_training.reinforce import ReinforceTrainer, SamplingPolicy, layers_of, small_network
from scenarios.policy_training.simulators import LifetimeSimulator, TableSimulator
from scenarios.policy_training.trainers import make_trainer
from scenarios.running.progress import Interrupted, SilentReporter
from scenarios.running.tasks import Run
from tests.scenarios.policy_training.test_environment import TINY, planted
from tests.scenarios.tables import BETA, PAYING, paying, synthetic

ROOT = Path(__file__).parents[3]
without_ppo = pytest.mark.skipif(find_spec("stable_baselines3") is None, reason="needs Stable-Baselines3 (extra ppo)")
METHODS = ["cma", "reinforce", pytest.param("ppo", marks=without_ppo), "forecast"]
every = pytest.mark.parametrize("method", METHODS)
PRICING = Pricing.read("random-walk", "cloud", 1e9, 2e-10)
SPECS = ["static:k=50", "random", "loss", "novelty", "disagreement", "linucb", "thompson", "forecast"]


def configured(method, **settings):
    small = {"population": 4, "hidden": 4, "chunks": 3, "device": "cpu"}
    return TrainConfig.model_validate(small | {"method": method} | settings)


@lru_cache(maxsize=1)
def simulator():
    """Some random trees."""
    return TableSimulator(
        TableSet([synthetic(seed, 3) for seed in (2, 5)], Pricing.read("day-night:period=2", "flops", 0.01))
    )


def paid():
    """Trees in which learning pays by night."""
    return TableSimulator(TableSet([paying(seed) for seed in (0, 1)], Pricing.read(**PAYING)))


def written(trainer):
    return policy_file_text(trainer.policy())


def through_a_file(state):
    content = io.BytesIO()
    torch.save(state, content)
    content.seek(0)
    return torch.load(content, weights_only=True)


pytestmark = pytest.mark.usefixtures("one_thread")


@every
@pytest.mark.parametrize("observes", ["learner", "memory"])
def test_the_same_seed_learns_the_same_policy(method, observes):
    def learned(seed):
        trainer = make_trainer(configured(method, observes=observes, policy_seed=seed), simulator())
        return [trainer.iterate() for _ in range(2)], written(trainer)

    assert learned(3) == learned(3) != learned(4)


@every
def test_who_goes_on_from_a_state_does_what_was_never_stopped(method):
    whole = make_trainer(configured(method), simulator())
    history = [whole.iterate() for _ in range(4)]
    trainer = make_trainer(configured(method), simulator())
    for i in range(4):
        assert trainer.iterate() == history[i]
        state = through_a_file(trainer.state())
        trainer = make_trainer(configured(method), simulator())
        trainer.load_state(state)
    assert written(trainer) == written(whole)


@every
def test_a_state_stays_as_it_was(method):
    trainer = make_trainer(configured(method), simulator())
    trainer.iterate()
    state, before = trainer.state(), written(trainer)
    expected = trainer.iterate()
    again = [make_trainer(configured(method), simulator()) for _ in range(2)]
    for each in again:
        each.load_state(state)
        assert written(each) == before
        assert each.iterate() == expected
    assert written(again[0]) == written(again[1]) == written(trainer)


@every
def test_global_generators_are_left_alone_and_nothing_is_said(method, capfd):
    torch.manual_seed(1)
    before = str(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for population in (4, 5):  # lifetimes of an odd number of steps in all
            trainer = make_trainer(configured(method, population=population), simulator())
            trainer.iterate()
            trainer.policy()
    assert (str(np.random.get_state()), torch.get_rng_state().tolist()) == before  # noqa: NPY002
    assert tuple(capfd.readouterr()) == ("", "")


@pytest.mark.slow
@without_ppo
def test_ppo_is_silent_in_a_process_of_its_own():
    code = (
        "import random, warnings; warnings.simplefilter('error', UserWarning)\n"
        "from tests.scenarios.policy_training.test_trainers import make_trainer, configured, simulator\n"
        "before = random.getstate()\n"  # which the run-time checks of shapes draw from, in the tests' own process
        "trainer = make_trainer(configured('ppo'), simulator())\n"
        "trainer.iterate(); trainer.policy()\n"
        "assert random.getstate() == before"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# What is known to be best


@pytest.mark.parametrize(
    ("method", "iterations", "settings"),
    [
        ("cma", 8, {}),
        ("reinforce", 40, {"policy_lr": 0.1}),
        pytest.param("ppo", 12, {"policy_lr": 0.03}, marks=without_ppo),
    ],
)
def test_learning_by_night_is_found(method, iterations, settings):
    worlds = paid()
    config = configured(method, chunks=4, population=8, observes="nothing", **settings)
    trainer = make_trainer(config, worlds)
    history = [trainer.iterate() for _ in range(iterations)]
    policy = trainer.policy().make()
    assert policy.observes == "nothing"
    for seed in worlds.seeds:
        assert schedule_of(worlds.table_set.leaf(seed, policy)) == "MLML"
    assert history[-1]["utility"] > history[0]["utility"]
    best = {"cma": "best_utility", "reinforce": "best_of_population", "ppo": "best_life"}[method]
    assert history[-1][best] == pytest.approx(0.4 - 2 * 0.05 + 0.0 - 0.1 + 0.0)


def test_a_forecaster_learns_how_accuracy_grows():
    trainer = ForecastTrainer(configured("forecast", chunks=4, population=8, cost_weight=0.05), paid())
    values = trainer.iterate()
    mean = np.array(trainer.policy().settings["mean"])
    assert mean[:3] == pytest.approx(BETA[:3], abs=0.02)
    assert values["error"] < 0.01
    policy = trainer.policy().make()
    assert (policy.observes, policy.cost_weight) == ("learner", 0.05)


def test_a_forecaster_without_a_life_has_the_generic_prior():
    policy = ForecastTrainer(configured("forecast", cost_weight=0.1), simulator()).policy().make()
    assert policy.state() == ForecastPolicy(cost_weight=0.1, observes="learner").state()


def test_cma_keeps_the_best_policy_that_it_has_met():
    trainer = CmaTrainer(configured("cma"), simulator())
    best = [trainer.iterate()["best_utility"] for _ in range(4)]
    assert best == sorted(best)
    policy = trainer.policy()
    assert simulator().utilities([lambda _: policy.make()]).utilities.mean() == best[-1]


def test_reinforce_follows_the_gradient_of_slow_code(monkeypatch):
    """The advantage of each life is over the others of its seed; the step is Adam's on the mean of all lives."""
    config = configured("reinforce", entropy=0.0, observes="nothing", population=5)
    trainer = ReinforceTrainer(config, simulator())
    lived, made = [], reinforce.SamplingPolicy

    def spied(network, generator):
        lived.append(made(network, generator))
        return lived[-1]

    monkeypatch.setattr(reinforce, "SamplingPolicy", spied)
    before = trainer.network.state_dict()
    slow = small_network(len(trainer.features), config.hidden, 1, torch.Generator())
    slow.load_state_dict(before)
    optimizer = torch.optim.Adam(slow.parameters(), lr=config.policy_lr)
    trainer.iterate()
    utilities = [
        simulator().table_set.metrics(seed, "nothing", int("1" + "".join(map(str, policy.chosen)), 2))
        for policy, seed in zip(lived, [2] * 5 + [5] * 5, strict=True)
    ]
    reached = np.array([each["utility"] for each in utilities]).reshape(2, 5)
    advantages = [row[i] - np.delete(row, i).mean() for row in reached for i in range(5)]
    advantages = np.array(advantages) / np.std(advantages, ddof=1)
    loss = 0.0
    for policy, advantage in zip(lived, advantages, strict=True):
        for x, learns in zip(policy.x, policy.chosen, strict=True):
            probability = torch.sigmoid(slow(torch.from_numpy(x)))[0]
            loss = loss - advantage * torch.log(probability if learns else 1 - probability)
    (loss / 10).backward()
    optimizer.step()
    for name, values in trainer.network.state_dict().items():
        torch.testing.assert_close(values, slow.state_dict()[name])


def test_a_checkpoint_of_another_population_is_refused():
    trainer = CmaTrainer(configured("cma", population=5), simulator())
    trainer.iterate()
    with pytest.raises(ValueError, match="zip"):
        CmaTrainer(configured("cma"), simulator()).load_state(trainer.state())


def test_a_network_in_a_file_is_the_one_that_was_trained():
    network = small_network(3, 4, 1, named_generator(0, "policy"))
    policy = PolicyFile("network", {"features": ["price", "seen", "learned"], "layers": layers_of(network)}).make()
    x = np.random.default_rng(0).normal(size=(6, 3))
    np.testing.assert_allclose(policy.scores(x)[:, 1], network(torch.from_numpy(x)).detach().numpy()[:, 0])


@without_ppo
def test_a_policy_of_ppo_in_a_file_is_the_one_that_was_trained():
    trainer = make_trainer(configured("ppo"), simulator())
    trainer.iterate()
    policy = trainer.policy().make()
    x = np.random.default_rng(0).normal(size=(6, len(trainer.features))).astype(np.float32)
    probabilities = trainer._ppo.policy.get_distribution(torch.from_numpy(x)).distribution.probs[:, 1]
    np.testing.assert_allclose(1 / (1 + np.exp(-policy.scores(x)[:, 1])), probabilities.detach().numpy(), atol=1e-5)


# Where policies are tried


@every
def test_policies_decide_at_all_nodes_as_they_do_one_by_one(method):
    trainer = make_trainer(configured(method, observes="memory"), simulator())
    trainer.iterate()
    file = trainer.policy()
    found = simulator().utilities([lambda _: file.make(), lambda _: StaticPolicy(50)]).utilities
    for column, seed in enumerate(simulator().seeds):
        for row, policy in enumerate((file.make(), StaticPolicy(50))):
            leaf = simulator().table_set.leaf(seed, policy)
            assert found[row, column] == simulator().table_set.metrics(seed, policy.observes, leaf)["utility"]


@pytest.fixture(scope="module")
def simulators():
    """The same worlds as tables and to be lived in."""
    config = TrainConfig.model_validate(TINY | {"cost_weight": PRICING.cost_weight})
    tables = TableSimulator(TableSet([planted(seed) for seed in (0, 3)], PRICING))
    return tables, LifetimeSimulator(config, (0, 3), Run(RunDirectory(Path("unused")), SilentReporter()))


def test_living_is_looking_up_to_the_bit(simulators):
    tables, lifetimes = simulators
    assert (tables.seeds, tables.n_chunks) == (lifetimes.seeds, lifetimes.n_chunks)
    policies = [lambda seed, spec=spec: make(spec, POLICY, seed=seed) for spec in SPECS]
    linear = PolicyFile("linear", {"features": ["loss_rise", "seen"], "weights": [1.0, -0.5], "bias": 0.1})
    policies.append(lambda _: linear.make())
    assert tables.utilities(policies).utilities.tolist() == lifetimes.utilities(policies).utilities.tolist()


@every
def test_training_in_lives_is_training_on_tables_to_the_bit(simulators, method):
    config = configured(method, **TINY, cost_weight=PRICING.cost_weight, observes="memory")
    tabulated, lived = (make_trainer(config, each) for each in simulators)
    assert tabulated.iterate() == lived.iterate()
    assert written(tabulated) == written(lived)


class StopsSoon(SilentReporter):
    """Asks to stop at the n-th look."""

    def __init__(self, n):
        self.left = n

    @property
    def stopping(self):
        self.left -= 1
        return self.left <= 0


class Told(SilentReporter):
    """Remembers what it is told of."""

    def __init__(self):
        self.advances = []

    def advance(self, done):
        self.advances.append(done)


@pytest.mark.slow
@every
def test_an_iteration_that_was_stopped_is_lived_again(simulators, method, monkeypatch):
    lifetimes = simulators[1]
    config = configured(method, **TINY, cost_weight=PRICING.cost_weight)
    trainer, undisturbed = (make_trainer(config, lifetimes) for _ in range(2))
    soon = StopsSoon(3)
    monkeypatch.setattr(lifetimes, "run", replace(lifetimes.run, reporter=soon))
    monkeypatch.setattr(lifetimes, "reporter", soon)
    with pytest.raises(Interrupted):
        trainer.iterate()
    monkeypatch.undo()
    resumed = make_trainer(config, lifetimes)
    resumed.load_state(through_a_file(trainer.state()))
    expected = undisturbed.iterate()
    assert resumed.iterate() == expected
    assert written(resumed) == written(undisturbed)


def test_a_sampling_policy_learns_as_often_as_its_network_says():
    network = PolicyFile("network", {"features": ["price"], "layers": [{"weight": [[0.0]], "bias": [1.0]}]}).make()
    policy = SamplingPolicy(network, torch.Generator().manual_seed(0))
    observation = simulator().table_set.priced(2, "nothing").observation(1)
    learned = [policy.decide(observation) == Action.LEARN for _ in range(2000)]
    assert np.mean(learned) == pytest.approx(1 / (1 + np.exp(-1)), abs=0.03)
    assert policy.chosen == learned


def test_a_tariff_that_is_drawn_is_drawn_several_times_for_each_tree():
    tables = [synthetic(seed) for seed in (0, 1)]
    config = configured("cma", tariff="random-walk:sigma=0.5", tariff_draws=3)
    drawn = with_tariffs_drawn(tables, config.tariff, config.tariff_draws)
    assert [table.facts["seed"] for table in drawn[::3]] == [0, 1]
    table_set = TableSet(drawn, Pricing(config.tariff, config.cost, 0.0))
    paths = [table_set.priced(table.facts["seed"], "nothing").prices for table in drawn]
    assert len(set(paths)) == 6
    assert list(TableSimulator(table_set).worlds.values()) == [0, 0, 0, 1, 1, 1]
    assert with_tariffs_drawn(tables, Member.read("day-night", TARIFF), 3) == tables


def test_a_prior_counts_worlds_and_not_the_paths_of_their_tariffs(monkeypatch):
    """Paths of one world differ in their prices alone: they are no witnesses of how much worlds differ."""
    drawn = with_tariffs_drawn([synthetic(seed) for seed in (0, 1)], Member.read("random-walk:sigma=0.5", TARIFF), 3)
    trainer = ForecastTrainer(
        configured("forecast"), TableSimulator(TableSet(drawn, Pricing.read("random-walk:sigma=0.5", "flops", 0.0)))
    )
    worlds = []
    monkeypatch.setattr(forecast, "fit_prior", lambda x, y, of, **_: worlds.extend(of.tolist()) or ((0.0,) * 4, ()))
    trainer.iterate()
    assert set(worlds) == {0, 1}


@every
def test_living_is_told_of_chunk_by_chunk(simulators, method, monkeypatch):
    told = Told()
    monkeypatch.setattr(simulators[1], "reporter", told)
    monkeypatch.setattr(simulators[1], "run", replace(simulators[1].run, reporter=told))
    config = configured(method, **TINY, cost_weight=PRICING.cost_weight)
    make_trainer(config, simulators[1]).iterate()
    worlds = 1 if method == "ppo" else len(simulators[1].seeds)
    assert sum(told.advances) == config.population * worlds * simulators[1].n_chunks
    assert len(told.advances) >= simulators[1].n_chunks
