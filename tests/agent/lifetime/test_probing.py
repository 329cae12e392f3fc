"""Linear probes at the end of lifetimes: trained once, billed to each, and without influence on anything else."""

from dataclasses import replace

import pytest

from agent.agent import Agent
from agent.errors import InvalidSetting
from agent.evaluation.linear_probe import linear_probe
from agent.evaluation.plan import EvaluationPlan
from agent.evaluation.trajectory import Step
from agent.lifetime import measuring
from agent.lifetime.loop import Lifetimes, run_lifetimes
from agent.memory import CacheMemory, RidgeMemory
from agent.policies import InterleavedPolicy, StaticPolicy
from tests.agent.learners.prototypes import Prototypes
from tests.agent.toys import N_CLASSES, online, refit, toy_images, toy_network, toy_stream, toy_training

PLAN = EvaluationPlan(toy_images(12, seed=50), toy_images(15, seed=60), every=2)
PROBING = replace(PLAN, probed=toy_images(40, seed=70))
STREAM = toy_stream([8, 8, 8, 8])


@pytest.fixture
def probes(monkeypatch):
    """The results of the probes that are trained."""
    made = []

    def noted(*arguments):
        made.append(linear_probe(*arguments))
        return made[-1]

    monkeypatch.setattr(measuring, "linear_probe", noted)
    return made


def lived(agents, policies, plan=PROBING):
    return {name: (trajectory, agent) for name, trajectory, agent in run_lifetimes(agents, STREAM, policies, plan)}


@pytest.mark.parametrize("make", [online, refit], ids=["online", "refit"])
def test_nothing_else_changes(make, probes):
    policies = {"": StaticPolicy(50)}
    [(plain, _)] = lived(Agent(make(), CacheMemory(N_CLASSES)), policies, PLAN).values()
    assert not probes
    [(found, agent)] = lived(Agent(make(), CacheMemory(N_CLASSES)), {"": StaticPolicy(50)}).values()
    [probe] = probes
    *before, last = found.steps
    assert tuple(before) == plain.steps[:-1]
    assert last.scores.linear_probe == probe.accuracy == linear_probe(agent.learner, PROBING.probed, PLAN.test).accuracy
    flops = last.work["evaluate"].flops - plain.steps[-1].work["evaluate"].flops
    assert flops == probe.work.flops > 0
    unprobed = replace(
        last,
        scores=replace(last.scores, linear_probe=None),
        work={**last.work, "evaluate": plain.steps[-1].work["evaluate"]},
        costs={**last.costs, "evaluate": plain.steps[-1].costs["evaluate"]},
    )
    assert unprobed.as_json() == plain.steps[-1].as_json()
    assert Step.from_json(last.as_json()).scores == last.scores


def test_lifetimes_of_one_learner_share_the_probe_and_each_is_billed(probes):
    learner = online()
    agents = {"cache": Agent(learner, CacheMemory(N_CLASSES)), "ridge": Agent(learner, RidgeMemory(N_CLASSES))}
    found = lived(agents, {"cache": StaticPolicy(50), "ridge": StaticPolicy(50)})
    [probe] = probes
    for name, agent in (("cache", CacheMemory), ("ridge", RidgeMemory)):
        [(alone, _)] = lived(Agent(online(), agent(N_CLASSES)), {"": StaticPolicy(50)}).values()
        assert found[name][0].steps == alone.steps
    assert len(probes) == 3
    assert {each.accuracy for each in probes} == {probe.accuracy}


def test_lifetimes_that_parted_have_probes_of_their_own(probes):
    policies = {"a": StaticPolicy(0), "b": StaticPolicy(100), "c": InterleavedPolicy(50), "d": StaticPolicy(0)}
    found = lived(Agent(online(), CacheMemory(N_CLASSES)), policies)
    assert len(probes) == 3
    shares = {name: trajectory.steps[-1].scores.linear_probe for name, (trajectory, _) in found.items()}
    assert shares["a"] == shares["d"]
    assert all(0 <= share <= 1 for share in shares.values())


def test_a_learner_without_a_representation_is_refused_before_the_first_chunk():
    agent = Agent(Prototypes(toy_network(), toy_training()), CacheMemory(N_CLASSES))
    with pytest.raises(InvalidSetting, match=r"expected a learner with a representation .*, got Prototypes"):
        Lifetimes(agent, STREAM, {"": StaticPolicy(50)}, PROBING)


def test_a_probe_needs_images():
    with pytest.raises(InvalidSetting, match="expected at least 1 probed image, got none"):
        replace(PLAN, probed=toy_images(0))
