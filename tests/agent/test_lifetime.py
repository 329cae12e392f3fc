from dataclasses import replace

import pytest
import torch

from agent.chunk import LabelledImages
from agent.errors import InvalidSetting
from agent.exam import Exam, accuracy_of
from agent.lifetime import live, live_many
from agent.policies import StaticPolicy
from agent.training import Training
from agent.work import ACCOUNTS
from tests.agent.toys import LEARNERS, Alternate, Coin, same, toy_agent, toy_images, toy_stream

STREAM = toy_stream([8, 8, 8, 8, 5])
EXAM = Exam(toy_images(12, seed=50), toy_images(15, seed=60))
POLICIES = {
    "k0": lambda: StaticPolicy(0),
    "k20": lambda: StaticPolicy(20),
    "k60": lambda: StaticPolicy(60),
    "k60 again": lambda: StaticPolicy(60),
    "k100": lambda: StaticPolicy(100),
    "alternate": Alternate,
    "coin": lambda: Coin(3),
}
"""Every family of policy: adding one means adding a line."""


@pytest.fixture(params=LEARNERS)
def make(request):
    return LEARNERS[request.param]


@pytest.mark.parametrize("every", [0, 2])
def test_living_together_is_living_alone(make, every):
    exam = replace(EXAM, every=every)
    policies = {name: policy() for name, policy in POLICIES.items()}
    together = {
        name: (trajectory, agent.state())
        for name, trajectory, agent in live_many(toy_agent(make), STREAM, policies, exam)
    }
    assert together.keys() == POLICIES.keys()
    for name, policy in POLICIES.items():
        [(_, alone, agent)] = live_many(toy_agent(make), STREAM, {name: policy()}, exam)
        trajectory, state = together[name]
        assert trajectory.steps == alone.steps
        assert same(state, agent.state())


def test_what_lifetimes_share_is_lived_once(monkeypatch):
    steps = []
    step = Training.step
    monkeypatch.setattr(Training, "step", lambda *a, **k: steps.append(1) or step(*a, **k))
    list(live_many(toy_agent(), STREAM, {str(k): StaticPolicy(k) for k in (0, 20, 40, 60, 80)}, EXAM))
    assert len(steps) == 4 * 2  # four chunks learned by the longest, two passes in batches of eight


def test_a_trajectory_tells_the_life():
    exam = replace(EXAM, every=2)
    told = []
    trajectory = live(toy_agent(), STREAM, StaticPolicy(40), exam, on_step=told.append)
    assert told == list(trajectory.steps)
    assert [step.step for step in trajectory.steps] == [0, 1, 2, 3, 4]
    assert [step.action for step in trajectory.steps] == ["learn", "learn", "memorize", "memorize", "memorize"]
    assert [step.samples for step in trajectory.steps] == [8, 16, 24, 32, 37]
    assert [step.learned for step in trajectory.steps] == [8, 16, 16, 16, 16]
    assert [step.memory_entries for step in trajectory.steps] == [0, 0, 8, 16, 21]
    assert [step.accuracy is not None for step in trajectory.steps] == [False, True, False, True, True]
    assert trajectory.steps[1].mixture.w == 1
    for account in ACCOUNTS:
        flops = [step.work[account].flops for step in trajectory.steps]
        assert flops == sorted(flops)
        assert (trajectory.seconds[account] > 0) == (account not in ("rekey", "decide"))
    assert [step.work["recall"].flops > 0 for step in trajectory.steps] == [False] * 4 + [True]


def test_an_examination_leaves_no_trace(make):
    def life(every):
        exam = replace(EXAM, every=every)
        [(_, trajectory, agent)] = live_many(toy_agent(make), STREAM, {"": StaticPolicy(40)}, exam)
        paid = {account: amounts for account, amounts in trajectory.steps[-1].work.items() if account != "observe"}
        return trajectory.accuracy, paid, agent.state()

    assert same(life(0), life(1))


def test_no_policies_are_refused():
    with pytest.raises(InvalidSetting, match="expected at least 1 policy, got none"):
        list(live_many(toy_agent(), STREAM, {}, EXAM))


def test_a_learner_of_everything_is_its_own_agent():
    accuracy = live(toy_agent(), STREAM, StaticPolicy(100), EXAM).accuracy
    assert accuracy.agent == accuracy.learner


def test_test_labels_are_for_scoring_alone():
    wrong = LabelledImages(EXAM.test.images, (EXAM.test.labels + 1) % 3)
    one = live(toy_agent(), STREAM, StaticPolicy(40), replace(EXAM, every=1))
    other = live(toy_agent(), STREAM, StaticPolicy(40), replace(EXAM, every=1, test=wrong))
    assert [replace(step, scores=None) for step in one.steps] == [replace(step, scores=None) for step in other.steps]
    assert one.accuracy != other.accuracy


def test_validation_data_are_neither_learned_nor_memorized():
    other = Exam(toy_images(12, seed=51), EXAM.test)
    states = [
        agent.state()
        for exam in (EXAM, other)
        for _, _, agent in live_many(toy_agent(), STREAM, {"": StaticPolicy(40)}, exam)
    ]
    for state in states:
        del state["mixture"]
    assert same(*states)


def test_lives_are_told_as_they_end_and_to_all_they_belong_to():
    told = []
    policies = {"a": StaticPolicy(0), "b": StaticPolicy(40), "c": StaticPolicy(40)}
    ended = [
        name
        for name, _, _ in live_many(
            toy_agent(), STREAM, policies, EXAM, on_step=lambda name, step: told.append((step.step, name))
        )
    ]
    assert ended == ["a", "b", "c"]
    assert told == [(step, "a") for step in range(5)] + [(step, name) for step in range(5) for name in ("b", "c")]


@pytest.mark.parametrize(
    ("stream", "exam", "message"),
    [
        ([], lambda: EXAM, "expected a stream of at least 1 chunk, got an empty one"),
        (STREAM, lambda: replace(EXAM, validation=toy_images(0)), "expected at least 1 validation image, got none"),
        (STREAM, lambda: replace(EXAM, test=toy_images(0)), "expected at least 1 test image, got none"),
        (STREAM, lambda: replace(EXAM, every=-1), "expected 0 or more chunks between examinations, got -1"),
    ],
)
def test_impossible_lives_are_refused(stream, exam, message):
    with pytest.raises(InvalidSetting, match=message):
        live(toy_agent(), stream, StaticPolicy(50), exam())


def test_accuracy():
    probabilities = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2]])
    assert accuracy_of(probabilities, torch.tensor([0, 1, 1])) == 2 / 3
