"""Baselines keep the contract of learners, and leave the rest of the process alone."""

import random
from functools import partial

import numpy as np
import pytest
import torch

from agent.abilities import Forkable, Resumable
from agent.accounting.work import Work
from agent.testing import check_learner
from scenarios.baselines.randomness import OwnRandomness
from tests.agent.toys import N_CLASSES, toy_images
from tests.scenarios.baselines.toys import TOYS, made

SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in TOYS if name not in ("naive", "slda")]


@pytest.mark.parametrize("name", ["naive", "slda", *SLOW])
def test_it_is_a_learner(name):
    check_learner(partial(made, name), n_classes=N_CLASSES)


@pytest.mark.parametrize("name", TOYS)
def test_it_prints_nothing_and_draws_from_no_global_generator(name, capfd, recwarn):
    def drawn():  # without Python's own generator, from which checks of types draw
        return np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002

    before, learner = drawn(), made(name)
    for seed in range(2):
        data = toy_images(12, seed)
        learner.learn(data.inputs, data.labels)
        learner.flush()
    assert drawn() == before
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_a_stream_of_its_own_goes_on_where_it_was_left():
    def draw():
        return random.random(), np.random.rand(), float(torch.rand(1))  # noqa: NPY002

    own, python = OwnRandomness(5, torch.device("cpu")), random.getstate()
    with own:
        first = draw()
    fork = own.fork()
    with own:
        second = draw()
    assert random.getstate() == python
    with fork:
        assert draw() == second != first
    with OwnRandomness(5, torch.device("cpu")):
        assert (draw(), draw()) == (first, second)


@pytest.mark.parametrize("name", TOYS)
def test_it_lives_once_and_forward_unless_it_is_trained_anew(name):
    learner = made(name)
    assert not isinstance(learner, Resumable)
    assert isinstance(learner, Forkable) == learner.lazy


@pytest.mark.parametrize("name", ["replay", "er-ace", "er-aml", "der++", "mir", "gdumb"])
def test_what_is_stored_is_billed_and_has_a_bound(name):
    learner, written, held = made(name, mem=10), [], []
    for seed in range(4):
        written.append(learner.learn(toy_images(12, seed).inputs, torch.arange(12) % N_CLASSES).nbytes)
        held.append(learner.nbytes)
    each = 3 * 8 * 8 + 8 + (4 * N_CLASSES if name == "der++" else 0)
    assert held == [10 * each] * 4
    assert written[0] == 10 * each
    assert all(n % each == 0 and 0 <= n <= 10 * each for n in written[1:])


def test_teachers_and_fisher_information_are_billed_too():
    data, n_weights = toy_images(12), sum(each.numel() for each in made("naive").predictor.parameters())
    lwf, ewc, separate = made("lwf"), made("ewc"), made("ewc", mode="separate")
    for number in (1, 2):
        for learner in (lwf, ewc, separate):
            learner.learn(data.inputs, data.labels)
        assert ewc.nbytes == 2 * 4 * n_weights
        assert separate.nbytes == number * ewc.nbytes
    assert lwf.nbytes == sum(values.nbytes for values in lwf.predictor.state_dict().values())
    assert made("naive").learn(data.inputs, data.labels).nbytes == 0


def test_a_training_on_the_way_changes_nothing():
    for name in ("gdumb", "cumulative"):
        undisturbed, other = made(name, epochs=2), made(name, epochs=2)
        for seed in range(3):
            data = toy_images(12, seed)
            for learner in (undisturbed, other):
                learner.learn(data.inputs, data.labels)
            assert other.fork().flush().flops > 0
        assert undisturbed.flush() == other.flush() != Work()
        query = toy_images(9, 50).inputs
        assert torch.equal(undisturbed.forward(query)[0].probabilities, other.forward(query)[0].probabilities)
