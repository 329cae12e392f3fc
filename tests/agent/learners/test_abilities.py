"""What networks are prepared for, what forks share, and what learners without further abilities can do."""

import io
import math
from dataclasses import replace

import pytest
import torch

from agent.agent import Agent
from agent.data.augmentation import Augmentation, Normalization
from agent.data.chunk import Chunk, LabelledInputs
from agent.errors import InvalidSetting
from agent.evaluation.plan import EvaluationPlan
from agent.learners import OnlineLearner
from agent.learners.recipe import ParameterGroup, Recipe, sgd
from agent.learners.training import Training
from agent.lifetime.loop import Lifetimes, run_lifetime, run_lifetimes
from agent.memory import CacheMemory
from agent.memory.rekeying import Rekeying
from agent.networks import MLP
from agent.networks.keys import KeyPlaces
from agent.policies import Action, BudgetPolicy, InterleavedPolicy, LossPolicy, StaticPolicy
from agent.testing import check_learner
from tests.agent.learners.prototypes import Prototypes
from tests.agent.networks.whitening import WhitenedNet, whitening
from tests.agent.toys import (
    N_CLASSES,
    WHOLE,
    cooldown_prepared,
    teach,
    toy_chunk,
    toy_images,
    toy_network,
    toy_stream,
    toy_training,
)

PLAN = EvaluationPlan(toy_images(12, seed=50), toy_images(15, seed=60))


def prepared(kind, seed=0, **settings):
    network = WhitenedNet(n_classes=N_CLASSES, generator=torch.Generator().manual_seed(seed))
    return kind(network, replace(toy_training(), recipe=whitening()), KeyPlaces(), seed=seed, **settings)


# Preparation


@pytest.mark.parametrize("action", ["learn", "memorize"])
@pytest.mark.parametrize("kind", WHOLE.values(), ids=WHOLE)
def test_a_network_is_prepared_from_the_first_chunk_whatever_is_done_with_it(kind, action):
    agent, chunks = Agent(prepared(kind), CacheMemory(N_CLASSES)), toy_stream([12, 8])
    bill = getattr(agent, action)(chunks[0])
    assert bill[0].account == "learn"
    n_patches = 12 * 7 * 7
    assert bill[0].work.flops == 2 * n_patches * 12 * 12  # the covariance of the patches
    assert bill[0].work.samples == 12
    later = getattr(agent, action)(chunks[1])
    assert all(charge.work.samples != 12 or charge.work.flops != bill[0].work.flops for charge in later)


def test_what_is_whitened_has_unit_variance():
    learner, chunk = prepared(OnlineLearner), toy_chunk(60)
    learner.prepare(chunk.inputs)
    whitened = learner.network.whiten(learner.training.normalization(chunk.inputs)).transpose(0, 1).flatten(1)
    covariance = whitened.detach().cov()
    assert torch.allclose(covariance, torch.eye(12), atol=0.25)
    fork = learner.fork()
    teach(fork, chunk)
    assert torch.equal(fork.network.whiten.weight, learner.network.whiten.weight)


def test_a_life_pays_for_the_preparation_once():
    policies = {"k0": StaticPolicy(0), "loss": LossPolicy(0.97), "interleaved": InterleavedPolicy(50)}
    agent = Agent(cooldown_prepared(), CacheMemory(N_CLASSES))
    ended = {name: each for name, each, _ in run_lifetimes(agent, toy_stream([8, 8, 8]), policies, PLAN)}
    flops = 2 * 8 * 7 * 7 * 12 * 12
    assert [step.work["learn"].flops for step in ended["k0"].steps] == [flops] * 3
    assert all(trajectory.steps[0].work["learn"].flops >= flops for trajectory in ended.values())


# Parameters that never change


def test_constants_are_shared_by_forks_and_stored_once():
    learner = cooldown_prepared()
    learner.prepare(toy_chunk(8).inputs)
    fork = learner.fork()
    networks = [learner.trunk.network, learner.trunk.predictor, learner.predictor, fork.trunk.network, fork.predictor]
    assert len({each.whiten.weight.data_ptr() for each in networks}) == 1
    assert len({each.linear.weight.data_ptr() for each in networks}) == 4  # a fork shares what was cooled down, too
    together = io.BytesIO()
    states = [learner.state(), fork.state()]
    places = {
        state[part]["whiten.weight"].data_ptr()
        for state in (each["trunk"] for each in states)
        for part in ("network", "predictor")
    }
    assert len(places) == 1
    torch.save(states, together)
    together.seek(0)
    loaded = torch.load(together, weights_only=True)
    restored = [cooldown_prepared(9), cooldown_prepared(9).fork()]
    for each, state in zip(restored, loaded, strict=True):
        each.load_state(state)
    assert len({each.trunk.network.whiten.weight.data_ptr() for each in restored}) == 1
    assert torch.equal(restored[0].predictor.whiten.weight, learner.predictor.whiten.weight)
    teach(restored[0], toy_chunk(8, seed=3))
    assert torch.equal(restored[1].predictor.whiten.weight, learner.predictor.whiten.weight)


def test_a_fork_that_is_prepared_leaves_the_others():
    learner = cooldown_prepared()
    fork, before = learner.fork(), learner.predictor.whiten.weight.clone()
    fork.prepare(toy_chunk(8).inputs)
    assert torch.equal(learner.predictor.whiten.weight, before)
    assert not torch.equal(fork.predictor.whiten.weight, before)


def freezing(network, inputs):
    """Sets the first weights from data, and trains them no more."""
    first = next(network.parameters())
    first.mul_(1 + inputs.std())
    first.requires_grad_(False)


@pytest.mark.slow
@pytest.mark.parametrize("kind", WHOLE.values(), ids=WHOLE)
def test_a_preparation_may_freeze_what_it_has_set(kind):
    training = replace(toy_training(), recipe=replace(sgd(batch=8), prepare=freezing))

    def make(seed):
        return kind(toy_network(seed, n_classes=4), training, KeyPlaces(), seed=seed)

    check_learner(make, learns=False)
    learner, chunk = make(0), toy_chunk(8)
    before = learner.forward_flops(1, (3, 8, 8)), learner.estimate(chunk.inputs)
    learner.prepare(chunk.inputs)
    after = learner.estimate(chunk.inputs)
    assert learner.forward_flops(1, (3, 8, 8)) == before[0]
    whole = [sum(work.flops for work in each) for each in (before[1], after)]
    assert whole[1] < whole[0]  # the gradient of what is frozen is not computed, and not billed


def test_a_network_is_prepared_in_evaluation_mode_and_goes_on_in_its_own():
    modes = []
    training = replace(toy_training(), recipe=replace(sgd(), prepare=lambda net, _: modes.append(net.training)))
    for mode in (True, False):
        network, _ = training.prepared(toy_network().train(mode), toy_chunk(8).inputs)
        assert network.training == mode
    assert modes == [False, False]


def test_floats_of_any_shape_are_normalized_by_channel():
    for shape in ((3, 4), (3, 8, 8)):
        inputs = 5 + 2 * torch.randn(50, *shape, generator=torch.Generator().manual_seed(0))
        found = Normalization.of(inputs)(inputs).transpose(0, 1).flatten(1)
        torch.testing.assert_close(found.mean(dim=1), torch.zeros(3), atol=1e-4, rtol=0)
        torch.testing.assert_close(found.std(dim=1, correction=0), torch.ones(3))


# Recipes


def test_groups_take_their_parameters_in_order():
    recipe = Recipe(
        (
            ParameterGroup(torch.optim.AdamW, {"lr": 0.01}, names=r"linear\..*"),
            ParameterGroup(torch.optim.SGD, {"lr": 0.2}, names=r".*\.weight"),
            ParameterGroup(torch.optim.SGD, {"lr": 0.3}),
        )
    )
    network = toy_network()
    optimizers = recipe.optimizers(network)
    assert [type(each).__name__ for each in optimizers] == ["AdamW", "SGD", "SGD"]
    assert [len(each.param_groups[0]["params"]) for each in optimizers] == [2, 14, 7]
    head_alone = Recipe(recipe.groups[:1])
    with pytest.raises(InvalidSetting, match=r"a group for each parameter of ResNet, got none for conv1\.weight, bn1"):
        head_alone.optimizers(network)


def test_a_factor_scales_the_rate_of_every_group():
    training = Training(whitening(), toy_training().normalization)
    network = WhitenedNet(n_classes=N_CLASSES, generator=torch.Generator().manual_seed(0))
    optimizers, data = training.optimizers(network), toy_images(4)
    moves = training.augmentation.draw(1, 4, torch.Generator())[0]
    training.step(network, optimizers, data.inputs, data.labels, moves, factor=0.5)
    assert [each.param_groups[0]["lr"] for each in optimizers] == [0.0025, 0.025]


def test_views_are_averaged_and_billed_and_keys_come_from_the_plain_image():
    plain, mirrored = toy_training(), replace(toy_training(), recipe=sgd(views="mirror", batch=8))
    network, images = toy_network().eval(), toy_images(7).inputs
    one, work = plain.look(network, images, KeyPlaces())
    two, twice = mirrored.look(network, images, KeyPlaces())
    flipped, _ = plain.look(network, images.flip(3), KeyPlaces())
    torch.testing.assert_close(two.probabilities, (one.probabilities + flipped.probabilities) / 2)
    assert torch.equal(two.keys, one.keys)
    assert twice.flops == 2 * work.flops == 7 * mirrored.flops_of_looking(network, images.shape[1:])
    keys_alone, once = mirrored.look(network, images, KeyPlaces(), plain=True)
    assert torch.equal(keys_alone.keys, two.keys)
    assert torch.equal(keys_alone.probabilities, one.probabilities)
    assert once.flops == work.flops
    of_vectors = MLP(4, n_classes=3, input_shape=(5,), generator=torch.Generator())
    training = replace(mirrored, normalization=Normalization((0.0,) * 5, (1.0,) * 5))
    with pytest.raises(InvalidSetting, match=r"expected images .* to shift or mirror, got inputs of shape \(5,\)"):
        training.look(of_vectors, torch.randn(2, 5), KeyPlaces())


def test_what_is_memorized_or_rekeyed_passes_through_the_network_once_whatever_the_views():
    training = replace(toy_training(), recipe=sgd(views="mirror", batch=8))
    learner = OnlineLearner(toy_network(), training, KeyPlaces(), epochs=1)
    agent = Agent(learner, CacheMemory(N_CLASSES), rekeying=Rekeying(on_learn=True))
    chunks = toy_stream([8, 8])
    estimated = agent.estimate_memorizing(chunks[0], looked=False)
    [stored] = agent.memorize(chunks[0])
    assert stored.work.flops == 8 * training.flops_of_looking(learner.predictor, (3, 8, 8), plain=True)
    assert estimated.bill[-1].work.flops == stored.work.flops
    assert 2 * stored.work.flops == agent.answering(8, (3, 8, 8)).flops - agent.memory.recall_flops(8)
    estimate = agent.estimate_learning(chunks[1])
    learned, rekeyed = agent.learn(chunks[1])
    assert rekeyed.work.flops == stored.work.flops
    assert estimate.flops == learned.work.flops + rekeyed.work.flops


def test_bfloat16_is_another_precision_and_keys_stay_float32():
    network, images = toy_network().eval(), toy_images(7).inputs
    plain, _ = toy_training().look(network, images, KeyPlaces())
    coarse, _ = replace(toy_training(), recipe=sgd(precision="bfloat16")).look(network, images, KeyPlaces())
    assert coarse.keys.dtype == torch.float32
    assert not torch.equal(coarse.probabilities, plain.probabilities)
    torch.testing.assert_close(coarse.probabilities, plain.probabilities, atol=0.05, rtol=0.1)


# Feature vectors


def vectors(n, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(N_CLASSES, (n,), generator=generator)
    inputs = torch.randn(n, 5, generator=generator)
    inputs[torch.arange(n), labels] += 4
    return LabelledInputs(3 + 2 * inputs, labels)


@pytest.mark.parametrize("rekeying", [Rekeying(), Rekeying(on_learn=True)], ids=["stale", "rekeyed"])
@pytest.mark.parametrize("kind", WHOLE.values(), ids=WHOLE)
def test_feature_vectors_are_lived_as_images_are(kind, rekeying):
    data = vectors(200, 0)
    normalization = Normalization.of(data.inputs)
    torch.testing.assert_close(normalization(data.inputs).mean(dim=0), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalization(data.inputs).std(dim=0, correction=0), torch.ones(5))
    network = MLP(16, 1, n_classes=N_CLASSES, input_shape=(5,), generator=torch.Generator().manual_seed(0))
    learner = kind(network, Training(sgd(batch=8), normalization, Augmentation()), KeyPlaces(("input", "hidden0")))
    agent = Agent(learner, CacheMemory(N_CLASSES), rekeying=rekeying)
    stream = [
        Chunk(step, rows, data.inputs[rows], data.labels[rows]) for step, rows in enumerate(torch.arange(200).split(50))
    ]
    trajectory = run_lifetime(agent, stream, InterleavedPolicy(50), EvaluationPlan(vectors(40, 1), vectors(60, 2)))
    assert trajectory.accuracy.agent > 0.85
    assert trajectory.accuracy.memory > 0.85


# A learner that can be given samples and asked, and nothing else


def test_a_learner_without_further_abilities_keeps_its_promises():
    check_learner(lambda seed: Prototypes(toy_network(n_classes=4), toy_training()), n_classes=4)


def test_it_lives_a_life_and_is_told_of_nothing_that_it_cannot_say():
    agent = Agent(Prototypes(toy_network(), toy_training()), CacheMemory(N_CLASSES))
    lifetimes = Lifetimes(agent, toy_stream([20, 20, 20]), {"": LossPolicy()}, replace(PLAN, every=1))
    observed = []
    while lifetimes:
        observed.append(lifetimes.observe()[""])
        lifetimes.act({"": Action.LEARN})
    assert all(math.isnan(each.learn_gflop) and math.isnan(each.learn_cost) for each in observed)
    assert all(each.memorize_gflop >= 0 for each in observed)
    [(_, trajectory, _)] = lifetimes.ended()
    assert trajectory.accuracy.learner > 0.5


def test_what_it_cannot_do_is_refused_by_name():
    agent = Agent(Prototypes(toy_network(), toy_training()), CacheMemory(N_CLASSES))
    stream = toy_stream([8, 8])
    with pytest.raises(InvalidSetting, match=r"Prototypes to be forkable \(agent\.abilities\.Forkable\) .* got one"):
        Lifetimes(agent, stream, {"a": StaticPolicy(0), "b": StaticPolicy(100)}, PLAN)
    with pytest.raises(InvalidSetting, match=r"a learner that can estimate .* for BudgetPolicy, got Prototypes"):
        Lifetimes(agent, stream, {"a": BudgetPolicy(gflop=1.0)}, PLAN)
    one = Lifetimes(agent, stream, {"a": StaticPolicy(0)}, PLAN)
    assert not one.resumable
    with pytest.raises(InvalidSetting, match="Prototypes to be resumable"):
        one.state()
