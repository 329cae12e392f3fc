import pytest
import torch

import agent as agent_package
from agent.accounting.work import Work
from agent.agent import Agent
from agent.errors import InvalidSetting
from agent.memory.mixture import Mixture
from agent.memory.rekeying import Rekeying
from tests.agent.memory.nearest import NearestMemory
from tests.agent.toys import online, refit, same, toy_agent, toy_chunk, toy_images


def grown(make=None):
    agent = toy_agent(make) if make else toy_agent()
    agent.learn(toy_chunk(24))
    agent.memorize(toy_chunk(20, seed=1))
    return agent


def flops(bill):
    total = {}
    for account, work, _ in bill:
        total[account] = total.get(account, 0) + work.flops
    return total


def test_a_prediction_mixes_learner_and_memory():
    agent = grown()
    agent.mixture = Mixture(0.3, {"theta": 20.0})
    images = toy_images(6, seed=2).inputs
    found, _, _, spent = agent.answer(images)
    outputs, looked = agent.learner.forward(images)
    recall, _, work = agent.memory.recall(outputs.keys, ({"theta": 20.0},))
    assert torch.equal(found.learner, outputs.probabilities)
    assert torch.equal(found.memory, recall.probabilities[0])
    torch.testing.assert_close(found.agent, 0.3 * found.learner + 0.7 * found.memory)
    assert spent.flops == looked.flops + work.flops == agent.answering(6, images.shape[1:]).flops


def test_an_untouched_agent_predicts_with_its_learner_alone():
    found, *_ = toy_agent().answer(toy_images(3).inputs)
    assert torch.equal(found.agent, found.learner)
    assert found.memory is None  # it has nothing to say


def test_an_empty_memory_needs_no_calibration():
    agent = toy_agent()
    agent.learn(toy_chunk(8))
    assert agent.calibrate(toy_images(10)) == (None, Work())
    assert agent.mixture == Mixture(1.0, None)


def test_calibration_is_never_worse_on_validation_than_either_part():
    agent = grown()
    validation = toy_images(60, seed=5)
    _, work = agent.calibrate(validation)
    assert agent.mixture.setting in agent.memory.settings
    found, *_ = agent.answer(validation.inputs)
    right = [(p.argmax(dim=1) == validation.labels).sum() for p in (found.agent, found.learner, found.memory)]
    assert right[0] >= max(right[1:])
    assert work.flops > 0


def test_a_refitting_agent_trains_when_it_memorizes_and_pays_for_it():
    agent = toy_agent(refit)
    assert flops(agent.learn(toy_chunk(16)))["learn"] == 0
    bill = flops(agent.memorize(toy_chunk(4, seed=1)))
    assert bill["learn"] > 0
    assert bill["memorize"] > 0
    assert "learn" not in flops(agent.memorize(toy_chunk(4, seed=2)))


def test_looking_again_costs_only_what_has_changed():
    agent = grown()
    images, settings = toy_images(10, seed=3).inputs, ({"theta": 2.0}, {"theta": 8.0})
    first, _, spent = agent.look(images, settings)
    assert spent.flops == (first.looked + first.recalled).flops > 0
    again, _, nothing = agent.look(images, settings, first)
    assert nothing.flops == 0
    assert again.recalled.flops == first.recalled.flops
    agent.memorize(toy_chunk(4, seed=2))  # to the 20 entries there are
    more, updated, new = agent.look(images, settings, again)
    assert new.flops * 5 == first.recalled.flops
    anew, from_scratch, full = agent.look(images, settings)
    assert more.recalled.flops == anew.recalled.flops
    assert full.flops == (anew.looked + anew.recalled).flops
    torch.testing.assert_close(updated.probabilities, from_scratch.probabilities)
    agent.learn(toy_chunk(8, seed=4))
    moved, _, spent = agent.look(images, settings, more)
    assert spent.flops == full.flops
    assert not torch.equal(moved.outputs.keys, more.outputs.keys)


def test_other_thetas_are_asked_anew():
    agent = grown()
    images = toy_images(10, seed=3).inputs
    first, at_two, _ = agent.look(images, ({"theta": 2.0},))
    other, at_four, spent = agent.look(images, ({"theta": 4.0},), first)
    assert spent.flops == other.recalled.flops == first.recalled.flops
    assert not torch.equal(at_four.probabilities, at_two.probabilities)


def test_state_and_forks():
    agent = grown()
    agent.calibrate(toy_images(30, seed=5))
    restored = toy_agent(seed=8)
    restored.load_state(agent.state())
    assert same(restored.state(), agent.state())
    fork = agent.fork()
    before = agent.state()
    fork.memorize(toy_chunk(5, seed=6))
    fork.learn(toy_chunk(5, seed=6))
    fork.mixture = Mixture()
    assert same(agent.state(), before)


def test_raw_images_are_those_of_the_entries_in_memory():
    agent = Agent(online(), NearestMemory(3, capacity=5), rekeying=Rekeying(on_learn=True))
    for seed, n in enumerate((8, 3, 8)):
        estimate = agent.estimate_memorizing(toy_chunk(n, seed), looked=False)
        before = agent.memory_nbytes
        agent.memorize(toy_chunk(n, seed))
        assert agent.memory_nbytes - before == estimate.held_nbytes
        assert len(agent.raw_images) == agent.memory.n_entries == 5
    chunks = [toy_chunk(n, seed) for seed, n in enumerate((8, 3, 8))]
    images, labels = torch.cat([each.inputs for each in chunks]), torch.cat([each.labels for each in chunks])
    held = agent.raw_images.of(agent.memory.ids)
    assert torch.equal(held.inputs, images[agent.memory.ids])
    assert torch.equal(held.labels, labels[agent.memory.ids])
    with pytest.raises(InvalidSetting, match="expected ids of entries that are in memory, got 3; was it evicted"):
        agent.raw_images.of(torch.tensor([3]))


def test_keys_are_fresh_once_all_stale_ones_have_gone():
    agent = Agent(online(), NearestMemory(3, capacity=5))
    agent.memorize(toy_chunk(5))
    agent.learn(toy_chunk(8, seed=1))
    assert agent.stale
    agent.memorize(toy_chunk(3, seed=2))
    assert agent.stale
    agent.memorize(toy_chunk(5, seed=3))
    assert not agent.stale


def test_a_mixture_of_one_s_own_need_not_be_on_the_grid():
    agent = grown()
    agent.mixture = Mixture(0.3, {"theta": 20.0})
    images = toy_images(6, seed=2).inputs
    found = [agent.answer(images, at_every_setting=every)[0].agent for every in (False, True)]
    torch.testing.assert_close(*found)


def test_every_public_name_is_there():
    assert all(getattr(agent_package, name) for name in agent_package.__all__)
