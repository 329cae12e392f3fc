"""Predictions of the test set that a plan lets trajectories have: those that were scored, and of the end alone."""

from dataclasses import replace

import pytest

from agent.evaluation.plan import EvaluationPlan
from agent.evaluation.scores import accuracies
from agent.lifetime import measuring
from agent.lifetime.loop import run_lifetime, run_lifetimes
from agent.policies import InterleavedPolicy, LossPolicy, StaticPolicy
from tests.agent.toys import Alternate, cooldown, online, toy_agent, toy_images, toy_stream

PLAN = EvaluationPlan(toy_images(12, seed=50), toy_images(15, seed=60), every=2)
KEEPING = replace(PLAN, keeps_predictions=True)
STREAM = toy_stream([6, 5, 6, 4])


@pytest.mark.parametrize("make", [online, cooldown])
def test_the_prediction_of_a_trajectory_gave_its_last_scores_to_the_bit(make):
    trajectory = run_lifetime(toy_agent(make), STREAM, Alternate(), KEEPING)
    assert trajectory.prediction is not None
    assert trajectory.prediction.memory is not None
    assert accuracies(trajectory.prediction, PLAN.test.labels) == trajectory.accuracy


@pytest.mark.parametrize("make", [online, cooldown])
def test_keeping_changes_nothing_else(make):
    kept, plain = (run_lifetime(toy_agent(make), STREAM, Alternate(), plan) for plan in (KEEPING, PLAN))
    assert plain.prediction is None
    assert [step.as_json() for step in kept.steps] == [step.as_json() for step in plain.steps]
    assert replace(kept, prediction=None) == replace(plain, seconds=kept.seconds, steps=kept.steps)


def test_an_empty_memory_predicts_nothing():
    trajectory = run_lifetime(toy_agent(), STREAM, StaticPolicy(100), KEEPING)
    assert trajectory.prediction is not None
    assert trajectory.prediction.memory is None
    assert trajectory.prediction.agent is trajectory.prediction.learner or bool(
        (trajectory.prediction.agent == trajectory.prediction.learner).all()
    )


def test_lifetimes_that_share_an_agent_to_the_end_and_those_that_part_have_each_their_own(monkeypatch):
    finish, calls = measuring.finish, []
    monkeypatch.setattr("agent.lifetime.loop.finish", lambda *args: calls.append(1) or finish(*args))
    policies = {
        "half": StaticPolicy(50),
        "half too": StaticPolicy(50),
        "turns": InterleavedPolicy(50),
        "loss": LossPolicy(0.9),
    }
    ended = {name: trajectory for name, trajectory, _ in run_lifetimes(toy_agent(), STREAM, policies, KEEPING)}
    assert ended.keys() == policies.keys()
    assert ended["half"].prediction is ended["half too"].prediction  # computed once
    assert len(calls) < len(policies)
    for trajectory in ended.values():
        assert accuracies(trajectory.prediction, PLAN.test.labels) == trajectory.accuracy
