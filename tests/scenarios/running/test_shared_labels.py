"""`--calibration shared`: a baseline has each label when an agent may use it."""

from dataclasses import replace

import torch

from agent.agent import Agent
from agent.memory import CacheMemory
from scenarios.config.families import SCENARIO
from scenarios.config.members import make
from scenarios.running.shared_labels import further_labels
from scenarios.streams.chunking import Chunking
from tests.agent.toys import online_mlp
from tests.scenarios.worlds import colours


def scenario_of(spec, **settings):
    return make(spec, SCENARIO, dataset=colours(**settings), chunking=Chunking(n_chunks=4), seed=0, data_seed=None)


def usable(scenario, step):
    """The rows of validation images that an agent which has met so many chunks may fit a mixture on."""
    seen = {int(label) for number in range(step + 1) for label in scenario.stream[number].labels}
    shown = torch.ones(len(scenario.validation)) if scenario.shown is None else scenario.shown <= step
    rows = range(len(scenario.validation))
    return [row for row in rows if shown[row] and int(scenario.validation.labels[row]) in seen]


def test_each_label_is_given_once_and_as_early_as_an_agent_may_use_it():
    for spec in ("iid", "class-incremental:experiences=3", "drift:experiences=2"):
        scenario = scenario_of(spec)
        given, so_far = further_labels(scenario), []
        assert len(given) == 4
        for step, further in enumerate(given):
            so_far += list(further.inputs)
            expected = scenario.validation.inputs[usable(scenario, step)]
            assert len(so_far) == len(expected)
            assert {each.numpy().tobytes() for each in so_far} == {each.numpy().tobytes() for each in expected}
            assert set(further.labels.tolist()) <= {*scenario.validation.labels.tolist()}
        assert sum(map(len, given)) <= len(scenario.validation)


def test_a_fixed_mixture_needs_no_label():
    data = colours().validation
    agent = Agent(online_mlp(), CacheMemory(3), rule="fixed", calibrate_every=1)
    assert (agent.mixture.w, agent.mixture.fitted) == (1, False)
    chunk = scenario_of("iid").stream[0]
    small = torch.nn.functional.interpolate(chunk.inputs.float(), 8).to(torch.uint8)
    agent.memorize(replace(chunk, inputs=small))
    assert (agent.mixture.w, agent.mixture.setting, agent.mixture.temperature) == (0.5, CacheMemory(3).prior, 1)
    before = agent.mixture
    cached, work = agent.calibrate(data)
    assert (agent.mixture, cached, work.flops) == (before, None, 0)
