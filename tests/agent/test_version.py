import copy
import pickle

import pytest

from agent.version import Lineage, Version
from tests.agent.toys import LEARNERS, teach, toy_agent, toy_chunk


def test_no_two_versions_are_equal():
    lineages = [Lineage(), Lineage()]
    versions = [lineage.next() for _ in range(3) for lineage in lineages]
    assert len(set(versions)) == 6


def test_versions_cross_a_process_boundary_as_values():
    version = Lineage().next()
    assert pickle.loads(pickle.dumps(version)) == version == Version(*version)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_a_copy_of_a_lineage_goes_its_own_way(duplicate):
    lineage = Lineage()
    lineage.next()
    assert duplicate(lineage).next() != lineage.next()


@pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS)
def test_forks_share_a_version_until_one_of_them_changes(make):
    learner = make()
    teach(learner, toy_chunk(8))
    learner.flush()
    fork, version = learner.fork(), learner.version
    assert fork.version == version
    for each in (learner, fork):
        teach(each, toy_chunk(8, seed=1))
        each.flush()
    assert len({version, learner.version, fork.version}) == 3


def test_cached_outputs_that_were_sent_to_another_process_still_hold():
    agent = toy_agent()
    agent.memorize(toy_chunk(8))
    images = toy_chunk(5, seed=2).inputs
    at = (agent.memory.prior,)
    cached, _, _ = agent.look(images, at)
    sent = pickle.loads(pickle.dumps(cached))
    assert agent.look(images, at, sent)[2].flops == 0
    agent.learn(toy_chunk(8, seed=3))
    assert agent.look(images, at, sent)[2].flops > 0
