"""Lifetimes decided from outside: equal to the bit to those of policies that decide likewise."""

from dataclasses import replace

import pytest
import torch

from agent.accounting.costs import COST_MODELS
from agent.errors import LifetimeError
from agent.lifetime.episode import Episode, Undecided
from agent.lifetime.loop import Lifetimes, run_lifetime
from agent.memory.rekeying import Rekeying
from agent.policies import Action, Policy
from tests.agent.lifetime.test_loop import PLAN, POLICIES, PRICED, STREAM, lifetimes, lived
from tests.agent.toys import LEARNERS, online, same, toy_agent

WAYS = {
    "plain": {},
    "calibrating": {"calibrate_every": 2},
    "rekeying": {"rekeying": Rekeying(on_learn=True), "calibrate_every": 2},
    "rekeying now and then": {"rekeying": Rekeying(every=2), "prequential": True},
}


class Scripted(Policy):
    """Decides as it was told beforehand, and looks on as it is told to."""

    def __init__(self, schedule, observes="nothing"):
        self.schedule, self.observes = schedule, observes

    def decide(self, observation):
        return Action.LEARN if self.schedule[observation.step] == "L" else Action.MEMORIZE


def as_actions(schedule):
    return [Action.LEARN if decision == "L" else Action.MEMORIZE for decision in schedule]


def begun(make=online, observes="memory", **how):
    """An episode that is examined after every chunk."""
    return Episode(lifetimes(make, {"": Undecided(observes)}, every=1, **how))


def alone(schedule, make=online, observes="memory", **how):
    """The steps of a lifetime under a policy of its own."""
    [(trajectory, _)] = lived(lifetimes(make, {"": Scripted(schedule, observes)}, every=1, **how)).values()
    return trajectory.steps


def went_on(episode, schedule):
    for action in as_actions(schedule):
        episode.act(action)
    return episode.steps


@pytest.fixture(params=LEARNERS)
def make(request):
    return LEARNERS[request.param]


@pytest.mark.slow
@pytest.mark.parametrize("how", WAYS)
def test_an_episode_is_the_lifetime_of_a_policy_that_decides_alike(make, how):
    for observes, schedule in (("nothing", "LMLMM"), ("memory", "MMLLM")):
        episode = begun(make, observes, **WAYS[how])
        assert went_on(episode, schedule) == alone(schedule, make, observes, **WAYS[how])
        assert episode.ended


def test_what_policies_observe_is_what_an_episode_shows():
    class Recording(Scripted):
        def __init__(self, schedule):
            super().__init__(schedule, "memory")
            self.seen = []

        def decide(self, observation):
            self.seen.append(repr(observation))
            return super().decide(observation)

    policy, episode, shown = Recording("MLMLM"), begun(), []
    lived(lifetimes(online, {"": policy}, every=1))
    for action in as_actions("MLMLM"):
        shown.append(repr(episode.observe()))
        episode.act(action)
    assert shown == policy.seen


def test_looking_again_is_free(make):
    once, often = begun(make), begun(make)
    for action in as_actions("MLMLM"):
        first = once.observe()
        assert [repr(often.observe()) for _ in range(3)] == [repr(first)] * 3
        assert once.act(action) == often.act(action)


@pytest.mark.slow
@pytest.mark.parametrize("how", WAYS)
def test_forks_go_their_own_ways(make, how):
    episode = begun(make, **WAYS[how])
    for n, decision in enumerate("MLM"):
        if n == 1:
            episode.observe()  # a fork knows what has been looked at
        rest = "LMLLM"[: 5 - n]
        assert went_on(episode.fork(), rest) == alone("MLM"[:n] + rest, make, **WAYS[how])
        episode.act(*as_actions(decision))
    assert went_on(episode, "LL") == alone("MLMLL", make, **WAYS[how])


@pytest.mark.slow
@pytest.mark.parametrize("how", WAYS)
def test_an_episode_goes_on_from_its_state(make, how, tmp_path):
    whole = alone("LMMLM", make, **WAYS[how])
    for n in (0, 2, 3):
        episode = begun(make, **WAYS[how])
        went_on(episode, "LMMLM"[:n])
        torch.save(episode.state(), tmp_path / "state.pt")
        resumed = begun(make, **WAYS[how])
        resumed.load_state(torch.load(tmp_path / "state.pt", weights_only=True))
        assert resumed.steps == whole[:n]
        assert went_on(resumed, "LMMLM"[n:]) == whole


def test_a_chunk_that_has_been_met_must_be_lived_before_anything_is_saved():
    episode = begun()
    episode.observe()
    with pytest.raises(AssertionError, match="a chunk has been observed"):
        episode.state()
    episode.act(Action.LEARN)
    episode.state()


def test_nobody_is_asked_to_decide():
    with pytest.raises(LifetimeError, match=r"expected actions through Episode\.act"):
        run_lifetime(toy_agent(), STREAM, Undecided(), PLAN)


@pytest.mark.slow
def test_several_lifetimes_forked_in_the_middle_of_life_live_on_as_they_would(make):
    """Parted already, with some that wait for their turn and some that have ended."""
    policies = ("k0", "k60", "random", "loss", "disagreement", "alternate")
    how = {"calibrate_every": 2, "every": 2}
    whole = lived(lifetimes(make, {name: POLICIES[name]() for name in policies}, **how))
    forked = lifetimes(make, {name: POLICIES[name]() for name in policies}, **how)
    forks = []
    while forked:
        forked.observe()
        forks.append(forked.fork())
        forked.advance()
    for fork in forks[3::7]:
        ended = {name: (trajectory, agent.state()) for name, trajectory, agent in fork.ended()} | lived(fork)
        assert ended.keys() == whole.keys()
        for name, (trajectory, state) in ended.items():
            assert trajectory.steps == whole[name][0].steps
            assert same(state, whole[name][1])


def test_lives_that_ended_are_told_by_forks_too():
    either = Lifetimes(toy_agent(), PRICED[:1], {"": Scripted("L")}, replace(PLAN), costs=COST_MODELS["flops"]())
    either.advance()
    fork = either.fork()
    assert [name for name, _, _ in fork.ended()] == [name for name, _, _ in either.ended()] == [""]
