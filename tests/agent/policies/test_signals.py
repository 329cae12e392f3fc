"""What learner and memory make of a chunk, against slow code that is plainly right."""

import math
import re

import numpy as np
import pytest
import torch

from agent.lifetime.loop import run_lifetime
from agent.memory import CacheMemory, ReadOut
from agent.memory.cache import PRIOR_THETA
from agent.networks.outputs import Outputs
from agent.policies import Action, Policy
from agent.policies.observation import Observation
from agent.policies.signals import DECAY, RunningAverages, learner_signals, memory_signals
from tests.agent.lifetime.test_loop import PLAN, STREAM
from tests.agent.toys import N_CLASSES, toy_agent


def outputs_of(probabilities, keys=None):
    probabilities = torch.as_tensor(probabilities, dtype=torch.float32)
    keys = torch.ones(len(probabilities), 2) if keys is None else torch.as_tensor(keys, dtype=torch.float32)
    return Outputs(probabilities, keys)


def some_probabilities(n, classes, seed=0):
    return torch.randn(n, classes, generator=torch.Generator().manual_seed(seed)).softmax(dim=1)


def slowly(probabilities, labels):
    """Loss, accuracy, entropy and margin, a sample at a time."""
    losses, rights, entropies, margins = [], [], [], []
    for row, label in zip(np.asarray(probabilities, dtype=float), labels.tolist(), strict=True):
        losses.append(-math.log(max(row[label], 1e-12)))
        rights.append(float(max(range(len(row)), key=lambda c: row[c]) == label))
        entropies.append(-sum(p * math.log(p) for p in row if p > 0))
        highest = sorted([*row, 0.0], reverse=True)
        margins.append(highest[0] - highest[1])
    return {
        "loss": np.mean(losses),
        "accuracy": np.mean(rights),
        "entropy": np.mean(entropies),
        "margin": np.mean(margins),
    }


def slow_recall(keys, labels, queries, theta):
    """Class probabilities and largest cosine of each query, an entry at a time."""

    def cosine(a, b):
        return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))

    probabilities, peaks = np.zeros((len(queries), N_CLASSES)), []
    for i, query in enumerate(queries):
        cosines = [cosine(query, key) for key in keys]
        for value, label in zip(cosines, labels, strict=True):
            probabilities[i, label] += math.exp(theta * value)
        peaks.append(max(cosines))
    return probabilities / probabilities.sum(axis=1, keepdims=True), peaks


@pytest.mark.parametrize(("n", "classes"), [(17, 5), (1, 5), (6, 2), (4, 1), (1, 1)])
def test_signals_of_the_learner_are_those_of_slow_code(n, classes):
    probabilities, labels = some_probabilities(n, classes), torch.arange(n) % classes
    found = learner_signals(outputs_of(probabilities), labels)
    expected = {f"learner_{name}": value for name, value in slowly(probabilities, labels).items()}
    assert found == pytest.approx(expected, abs=1e-9)


def test_a_single_class_leaves_nothing_to_doubt():
    found = learner_signals(outputs_of([[1.0], [1.0]]), torch.tensor([0, 0]))
    expected = {"learner_loss": 0, "learner_accuracy": 1, "learner_entropy": 0, "learner_margin": 1}
    assert found == expected


def test_a_certain_error_has_a_finite_loss():
    found = learner_signals(outputs_of([[1.0, 0.0]]), torch.tensor([1]))
    assert found["learner_loss"] == pytest.approx(-math.log(1e-12))
    assert found["learner_entropy"] == 0


@pytest.mark.parametrize(("n", "n_entries"), [(7, 9), (1, 9), (7, 1), (1, 1)])
def test_signals_of_the_memory_are_those_of_slow_code(n, n_entries):
    generator = torch.Generator().manual_seed(1)
    keys, queries = torch.randn(n_entries, 4, generator=generator), torch.randn(n, 4, generator=generator)
    stored, labels = torch.arange(n_entries) % N_CLASSES, torch.arange(n) % N_CLASSES
    memory = CacheMemory(N_CLASSES)
    memory.insert(outputs_of(some_probabilities(n_entries, N_CLASSES), keys), stored, torch.arange(n_entries))
    probabilities = some_probabilities(n, N_CLASSES)
    read_out = memory.recall(queries, ({"theta": 3.0},))[0]
    found = memory_signals(outputs_of(probabilities, queries), read_out, labels)
    recalled, peaks = slow_recall(keys.numpy(), stored.tolist(), queries.numpy(), 3.0)
    expected = {f"memory_{name}": value for name, value in slowly(recalled, labels).items()}
    expected["disagreement"] = np.mean(recalled.argmax(axis=1) != probabilities.numpy().argmax(axis=1))
    expected["novelty"] = np.mean([1 - peak for peak in peaks])
    assert found == pytest.approx(expected, abs=1e-5)


def test_an_empty_memory_has_nothing_to_say():
    queries, labels = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.arange(6) % N_CLASSES
    assert memory_signals(outputs_of(some_probabilities(6, N_CLASSES), queries), None, labels) == {}


def test_a_memory_without_novelty_tells_the_rest():
    queries, labels = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.arange(6) % N_CLASSES
    read_out = ReadOut(some_probabilities(6, N_CLASSES)[None], None)
    found = memory_signals(outputs_of(some_probabilities(6, N_CLASSES), queries), read_out, labels)
    assert found.keys() == {"memory_loss", "memory_accuracy", "memory_entropy", "memory_margin", "disagreement"}


def test_averages_begin_where_there_is_something_to_average():
    averages = RunningAverages()
    assert averages.observe({"loss": 1.0}) == {"mean_loss": 1.0}
    assert averages.observe({"loss": 3.0, "novelty": 0.2}) == pytest.approx({"mean_loss": 1.0, "mean_novelty": 0.2})
    assert averages.observe({"novelty": 0.6})["mean_novelty"] == pytest.approx(0.2)


def test_running_averages_weigh_earlier_chunks_less():
    values = [2.0, 0.5, 3.0, 3.0, 1.0]
    averages = RunningAverages()
    found = [averages.observe({"loss": value})["mean_loss"] for value in values]
    assert found[0] == values[0]
    for n in range(1, len(values)):
        weights = [DECAY ** (n - 1 - i) for i in range(n)]
        assert found[n] == pytest.approx(np.average(values[:n], weights=weights))


def test_a_constant_is_its_own_running_average():
    averages = RunningAverages()
    assert [averages.observe({"x": 0.7})["mean_x"] for _ in range(50)] == pytest.approx([0.7] * 50)


def test_running_averages_go_on_from_their_state():
    whole, resumed = RunningAverages(), RunningAverages()
    for value in (1.0, 2.0, 4.0):
        whole.observe({"a": value, "b": -value})
    resumed.load_state(whole.state())
    for value in (8.0, 0.1):
        assert resumed.observe({"a": value, "b": value}) == whole.observe({"a": value, "b": value})
    saved = whole.state()
    whole.observe({"a": 1.0, "b": 1.0})
    assert resumed.state() == saved  # a state is no window on what goes on


NOTED: list[Observation] = []


class NotingPolicy(Policy):
    """Learns from every other chunk, and notes what it was shown."""

    def decide(self, observation):
        NOTED.append(observation)
        return Action.MEMORIZE if observation.step % 2 else Action.LEARN


class NotingLearner(NotingPolicy):
    observes = "learner"


class NotingMemory(NotingPolicy):
    observes = "memory"


@pytest.fixture
def noted():
    NOTED.clear()
    return NOTED


def test_an_observation_is_what_slow_code_sees(noted):
    run_lifetime(toy_agent(), STREAM, NotingMemory(), PLAN)
    agent, keys, labels, means = toy_agent(), [], [], {}
    for observation, chunk in zip(noted, STREAM, strict=True):
        outputs, _ = agent.learner.forward(chunk.inputs)
        expected = {f"learner_{name}": v for name, v in slowly(outputs.probabilities, chunk.labels).items()}
        if keys:
            recalled, peaks = slow_recall(keys, labels, outputs.keys.numpy(), PRIOR_THETA)
            expected |= {f"memory_{name}": v for name, v in slowly(recalled, chunk.labels).items()}
            expected["disagreement"] = np.mean(recalled.argmax(axis=1) != outputs.probabilities.numpy().argmax(axis=1))
            expected["novelty"] = np.mean([1 - peak for peak in peaks])
        else:
            assert math.isnan(observation.novelty)
            assert math.isnan(observation.mean_memory_loss)
        shown = {name: getattr(observation, name) for name in expected}
        assert shown == pytest.approx(expected, abs=1e-4)
        for name, value in expected.items():
            before = means.setdefault(name, [])
            weights = [DECAY ** (len(before) - 1 - i) for i in range(len(before))]
            mean = np.average(before, weights=weights) if before else value
            assert getattr(observation, f"mean_{name}") == pytest.approx(mean, abs=1e-5)
            before.append(value)
        if observation.step % 2:
            keys += list(outputs.keys.numpy())
            labels += chunk.labels.tolist()
            agent.memorize(chunk)
        else:
            agent.learn(chunk)
            agent.flush()


def test_the_stream_the_memory_and_the_costs_are_always_shown(noted):
    trajectory = run_lifetime(toy_agent(), STREAM, NotingPolicy(), PLAN, budget=0.01)
    for step, (observation, chunk) in enumerate(zip(noted, STREAM, strict=True)):
        before = trajectory.steps[step - 1] if step else None
        assert (observation.step, observation.n_chunks, observation.n_samples) == (step, 5, len(chunk))
        assert observation.seen == step / 5
        assert observation.learned == (before.learned / before.samples if before else 0)
        assert observation.memorized == pytest.approx(1 - observation.learned if before else 0)
        assert observation.memory_entries == (before.memory_entries if before else 0)
        assert observation.memory_nbytes == (before.memory_nbytes if before else 0)
        assert observation.spent == pytest.approx(before.spent if before else 0)
        assert observation.left == pytest.approx(max(0, 0.01 - observation.spent))
        assert observation.price == 1
        assert observation.learn_cost == pytest.approx(observation.learn_gflop)
        assert 0 < observation.memorize_gflop < observation.learn_gflop
        learning = sum(before.work[account].flops for account in ("learn", "rekey")) / 1e9 if before else 0
        assert observation.learning_spent_gflop == pytest.approx(learning)


@pytest.mark.parametrize(("policy", "seen"), [(NotingPolicy, ()), (NotingLearner, ("learner",)), (NotingMemory, None)])
def test_only_what_was_asked_for_is_shown(noted, policy, seen):
    run_lifetime(toy_agent(), STREAM, policy(), PLAN)
    costly = Observation.names()[Observation.names().index("learner_loss") :]
    for observation in noted:
        for name, value in zip(Observation.names(), observation.vector(), strict=True):
            if name.startswith("consolidate"):
                assert math.isnan(value), "it is not offered"
                continue
            if seen is None and not observation.memory_entries and "learner" not in name:
                continue  # an empty memory has nothing to say
            asked = name not in costly or seen is None or any(part in name for part in seen)
            assert math.isnan(value) != asked, name


def test_help_tells_what_every_field_is():
    import pydoc

    told = pydoc.render_doc(Observation)
    for name in Observation.names():
        assert re.search(rf"\| +{name}: \w", told), name
