"""Baselines on streams that do not wait: they answer as before until they have learned."""

import pytest

from agent.evaluation.plan import EvaluationPlan
from agent.lifetime.loop import run_lifetime
from agent.policies import StaticPolicy
from tests.agent.toys import toy_agent, toy_images, toy_stream
from tests.scenarios.baselines.toys import TOYS, made

SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in TOYS if name not in ("naive", "slda")]
PLAN = EvaluationPlan(toy_images(4, seed=50), toy_images(40, seed=60), every=1, prequential=True)
CHUNKS = toy_stream([12, 12, 12, 12, 12, 12, 12])


def lived(name, **how):
    return run_lifetime(toy_agent(lambda seed: made(name, seed)), CHUNKS, StaticPolicy(100), PLAN, **how).steps


@pytest.mark.parametrize("name", ["naive", "slda", *SLOW])
def test_it_learns_what_it_does_not_miss_and_answers_as_before_meanwhile(name):
    by_hand, tests, arrivals, work, taken = made(name), [], [], [], []
    free = [step.work["learn"].flops for step in lived(name)]
    speed = max(free[0], free[-1] / len(free)) / 1.9
    busy_until, after = 0, None
    for t, chunk in enumerate(CHUNKS):
        arrivals.append(accuracy(by_hand, chunk))
        if t >= busy_until:
            before = by_hand.answers()
            flops = (by_hand.learn(chunk.inputs, chunk.labels) + by_hand.flush()).flops
            takes = max(1, -int(-flops // speed))
            busy_until, after = t + takes, by_hand.answer_with(before)
            work.append(sum(work[-1:]) + flops)
            taken.append(takes)
        else:
            work.append(work[-1])
            taken.append(None)
        if t + 1 == min(busy_until, len(CHUNKS)):
            by_hand.answer_with(after)
        tests.append(accuracy(by_hand, PLAN.test))
    steps = lived(name, speed=speed)
    assert taken.count(None) > 1
    assert [step.takes or 1 if not step.missed else None for step in steps] == taken
    assert [step.prequential.agent for step in steps] == pytest.approx(arrivals)
    assert [step.scores.accuracy.agent for step in steps] == pytest.approx(tests)
    assert [step.work["learn"].flops for step in steps] == work
    assert len(set(tests)) > 1


def accuracy(learner, data):
    outputs, _ = learner.forward(data.inputs)
    return (outputs.probabilities.argmax(dim=1) == data.labels).float().mean().item()


@pytest.mark.parametrize("name", ["naive", "slda", "gdumb"])
def test_answers_do_not_change_as_it_learns(name):
    learner = made(name)
    learner.learn(CHUNKS[0].inputs, CHUNKS[0].labels)
    learner.flush()
    answers, before, version = learner.answers(), accuracy(learner, PLAN.test), learner.version
    probabilities = learner.forward(PLAN.test.inputs)[0].probabilities
    for chunk in CHUNKS[1:5]:
        learner.learn(chunk.inputs, chunk.labels)
    learner.flush()
    learned, newer = learner.forward(PLAN.test.inputs)[0].probabilities, learner.version
    assert not learned.equal(probabilities)
    after = learner.answer_with(answers)
    assert learner.forward(PLAN.test.inputs)[0].probabilities.equal(probabilities)
    assert (accuracy(learner, PLAN.test), learner.version) == (before, version)
    learner.answer_with(after)
    assert learner.forward(PLAN.test.inputs)[0].probabilities.equal(learned)
    assert learner.version == newer
