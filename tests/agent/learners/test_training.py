import math
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from agent.data.augmentation import Augmentation
from agent.errors import InvalidSetting, TrainingDiverged
from agent.learners import training
from agent.learners.training import check_finite, constant, one_cycle, passes, steps, warm_restarts
from tests.agent.toys import toy_images, toy_network, toy_training


def test_schedules():
    assert [constant(t) for t in (0.0, 0.5, 0.999)] == [1, 1, 1]
    assert [steps(t) for t in (0.0, 0.49, 0.5, 0.74, 0.75, 0.999)] == [1, 1, 1 / 9, 1 / 9, 1 / 90, 1 / 90]
    assert warm_restarts(0.0) == warm_restarts(0.9 / 256) == 0.1
    assert [warm_restarts(part / 256) for part in (1, 2, 4, 64, 128)] == [1.0] * 5
    assert warm_restarts(192 / 256) == pytest.approx(0.505)
    assert warm_restarts(127.999 / 256) == pytest.approx(0.01, abs=1e-6)
    assert warm_restarts(1.0) == pytest.approx(0.01)
    assert one_cycle(0.0) == pytest.approx(0.04)
    assert one_cycle(0.3) == 1
    assert one_cycle(0.65) == pytest.approx(0.5)
    assert one_cycle(1.0) == pytest.approx(0)


@pytest.mark.parametrize(("n", "n_drawn"), [(1, 5), (7, 3), (7, 7), (7, 20), (4, 8)])
def test_passes_draw_no_row_twice_before_all(n, n_drawn):
    rows = passes(n, n_drawn, torch.Generator().manual_seed(0))
    assert len(rows) == n_drawn
    counts = torch.bincount(rows, minlength=n)
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"lr": math.nan}, r"expected a finite learning rate above 0, at most 1e\+30, got nan"),
        ({"lr": 0.0}, r"expected a finite learning rate above 0, at most 1e\+30, got 0"),
        ({"momentum": 1.0}, "expected a momentum from 0 to below 1, got 1"),
        ({"weight_decay": -1.0}, r"expected a finite weight decay from 0 to 1e\+30, got -1"),
        ({"batch": 0}, "expected a batch of at least 1 sample, at most 1000000, got 0"),
    ],
)
def test_bad_settings_are_refused(setting, message):
    with pytest.raises(InvalidSetting, match=message):
        toy_training(**setting)


def test_a_step_is_plain_sgd_with_nesterov_momentum():
    training = toy_training(augmentation=Augmentation(), lr=0.1, weight_decay=0.01)
    network, plain = toy_network().train(), toy_network().train()
    optimizers = training.optimizers(network)
    velocity = [torch.zeros_like(p) for p in plain.parameters()]
    for step in range(3):
        data = toy_images(8, seed=step)
        moves = training.augmentation.draw(1, 8, torch.Generator())[0]
        loss = training.step(network, optimizers, data.inputs, data.labels, moves, factor=1 - step / 3)
        expected = F.cross_entropy(plain(training.normalization(data.inputs)), data.labels)
        plain.zero_grad()
        expected.backward()
        torch.testing.assert_close(loss, expected.detach())
        with torch.no_grad():
            for p, v in zip(plain.parameters(), velocity, strict=True):
                gradient = p.grad + 0.01 * p
                v.copy_(gradient if step == 0 else 0.9 * v + gradient)
                p -= 0.1 * (1 - step / 3) * (gradient + 0.9 * v)
    for p, expected in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(p, expected, rtol=1e-4, atol=1e-6)


def test_a_batch_of_one_number_for_each_channel_is_refused():
    training, network = toy_training(augmentation=Augmentation()), toy_network().train()
    data = toy_images(1, size=4)
    moves = training.augmentation.draw(1, 1, torch.Generator())[0]
    with pytest.raises(InvalidSetting, match=r"expected at least 2 samples in each gradient step .* got 1, .*; larger"):
        training.step(network, training.optimizers(network), data.inputs, data.labels, moves)


COMPILED_STEPS = """
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from agent.learners import training
from tests.agent.toys import toy_images, toy_network, toy_training

counter = CompileCounterWithBackend("aot_eager")  # traced as always, and run without the minute of a C++ compiler
compiled_loss = torch.compile(training._loss, dynamic=False, backend=counter)
training._compiler = lambda: compiled_loss
plain, compiled = toy_training(), toy_training(compiled=True)
for seed in range(3):
    data = toy_images(8, seed=seed)
    moves = plain.augmentation.draw(1, 8, torch.Generator().manual_seed(seed))[0]
    losses, weights = [], []
    for how in (plain, compiled):
        network = toy_network(seed).train()
        losses.append(how.step(network, how.optimizers(network), data.inputs, data.labels, moves))
        weights.append(network.state_dict())
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*weights)
assert counter.frame_count == 1, counter.frame_count
"""


@pytest.mark.slow
def test_a_compiled_step_is_the_same_step_and_is_compiled_once_for_all_networks():
    """In a process of its own: the shape checks of tests are nothing that torch can compile."""
    done = subprocess.run([sys.executable, "-c", COMPILED_STEPS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


COMPILED_AIRBENCH = """
import torch
from dataclasses import replace
from torch._dynamo.testing import CompileCounterWithBackend
from agent.learners import training
from agent.learners.recipe import muon
from agent.networks import Airbench
from tests.agent.toys import toy_images, toy_training

counter = CompileCounterWithBackend("aot_eager")
compiled_loss = torch.compile(training._loss, dynamic=False, backend=counter)
training._compiler = lambda: compiled_loss
data = toy_images(8, size=16)
for precision, tolerance in (("float32", {}), ("bfloat16", {"rtol": 0.05, "atol": 0.1})):
    losses, heads = [], []
    for compiled in (False, True):
        how = replace(toy_training(compiled=compiled), recipe=muon(precision=precision))
        network = Airbench(93, n_classes=3, generator=torch.Generator().manual_seed(0)).train()
        network, _ = how.prepared(network, data.inputs)
        moves = how.augmentation.draw(1, 8, torch.Generator().manual_seed(1))[0]
        losses.append(how.step(network, how.optimizers(network), data.inputs, data.labels, moves))
        heads.append(network.head.weight.detach())
    torch.testing.assert_close(*losses, **tolerance)
    torch.testing.assert_close(*heads, **tolerance)
assert counter.frame_count == 2, counter.frame_count
"""


@pytest.mark.slow
def test_airbench_under_its_recipe_can_be_compiled():
    done = subprocess.run([sys.executable, "-c", COMPILED_AIRBENCH], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_machine_that_cannot_compile_says_so(monkeypatch):
    def broken(*_):
        raise RuntimeError("no compiler\nof any kind")

    monkeypatch.setattr(training, "_compiler", lambda: torch.compile(training._loss, backend=broken))
    torch._dynamo.reset()
    data, how, network = toy_images(4), toy_training(compiled=True), toy_network().train()
    moves = how.augmentation.draw(1, 4, torch.Generator())[0]
    with pytest.raises(InvalidSetting, match=r"to work here, got: .*; --no-compile does without$"):
        how.step(network, how.optimizers(network), data.inputs, data.labels, moves)


def test_the_first_step_that_is_not_finite_is_named():
    losses = [torch.tensor(value) for value in (1.0, math.nan, math.inf)]
    with pytest.raises(TrainingDiverged, match=r"gradient step 11 with learning rate 0\.2") as error:
        check_finite(toy_network(), losses, [0.1, 0.2, 0.3], first_step=10)
    assert (error.value.step, error.value.lr) == (11, 0.2)
    check_finite(toy_network(), losses[:1], [0.1], first_step=0)


def test_weights_that_are_not_finite_belong_to_the_last_step():
    network = toy_network()
    with torch.no_grad():
        network.linear.weight[0, 0] = math.inf
    with pytest.raises(TrainingDiverged, match=r"gradient step 6 with learning rate 0\.2"):
        check_finite(network, [torch.tensor(1.0)] * 2, [0.1, 0.2], first_step=5)
