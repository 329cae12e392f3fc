"""The learner of heads: what is computed, kept, stored and billed."""

import importlib
import sys
from dataclasses import replace

import pytest
import torch

from agent.agent import Agent
from agent.data.augmentation import Augmentation
from agent.errors import InvalidSetting
from agent.learners import HeadLearner, OnlineLearner
from agent.learners.recipe import muon, sgd
from agent.memory import CacheMemory
from agent.memory.transform import Pca
from agent.memory.transformed import TransformedMemory
from agent.networks.efficientnet_lite import EfficientNetLite0
from agent.networks.flops import flops_per_sample
from agent.networks.keys import JointKeys, KeyPlaces
from tests.agent.networks.frozen import FrozenNet
from tests.agent.toys import N_CLASSES, same, teach, toy_chunk, toy_images, toy_network, toy_training

SHAPE = (3, 8, 8)
SHAPED = torch.empty(0, *SHAPE)
PLAIN = {"augmentation": Augmentation()}


def frozen(seed=0, width=8):
    return FrozenNet(width, n_classes=N_CLASSES, generator=torch.Generator().manual_seed(seed))


def head(seed=0, *, network=None, keys=KeyPlaces(), features_dir=None, training=None, **settings):  # noqa: B008
    training = training or toy_training(**PLAIN)
    return HeadLearner(network or frozen(seed), training, keys, features_dir=features_dir, seed=seed, **settings)


def shifted(network):
    """With other weights below the head."""
    network.convolution.bias.data += 1
    return network


def computed(learner):
    """Images whose features were computed, as the meter counts them."""
    work, of_head = learner.reader.training.meter.work["forward"], 2 * learner.reader.like(SHAPED).shape[1] * N_CLASSES
    return (work.flops - work.samples * of_head) / learner.reader.flops(1, SHAPE)


def test_a_head_is_trained_as_an_online_learner_trains_the_whole_network():
    settings = {"epochs": 3, "rehearsal": 0.5, "ema_decay": 0.9, "stored": 30}
    training, keys = toy_training(**PLAIN), KeyPlaces()
    whole = OnlineLearner(frozen(), training, keys, seed=4, **settings)
    learner = HeadLearner(frozen(), training, keys, seed=4, **settings)
    for seed, n in enumerate((20, 7, 16)):
        teach(whole, toy_chunk(n, seed))
        teach(learner, toy_chunk(n, seed))
    inputs = toy_images(50, 9).inputs
    expected, found = whole.forward(inputs)[0], learner.forward(inputs)[0]
    assert learner.n_steps == whole.n_steps
    torch.testing.assert_close(found.probabilities, expected.probabilities, atol=3e-3, rtol=0)  # float16
    torch.testing.assert_close(found.keys, expected.keys, atol=2e-3, rtol=0)
    assert not torch.allclose(found.probabilities, head(4).forward(inputs)[0].probabilities, atol=3e-3)


def test_what_was_kept_is_what_was_computed(tmp_path):
    inputs = toy_images(41, 1).inputs
    keys = KeyPlaces(("input", "filtered"))
    fresh, writing, reading = head(keys=keys), *(head(keys=keys, features_dir=tmp_path) for _ in range(2))
    one = fresh.forward(inputs)
    writing.forward(inputs[[5, 3, 40]])
    writing.forward(inputs[7:30])
    writing.forward(inputs.flip(0))
    other = reading.forward(inputs)
    assert same(tuple(one[0]), tuple(other[0]))
    assert computed(fresh) == computed(writing) == 41
    assert computed(reading) == 0


def test_kept_features_are_billed_as_if_they_were_computed(tmp_path):
    chunk = toy_chunk(20)
    first, second = head(features_dir=tmp_path), head(features_dir=tmp_path)
    assert first.forward(chunk.inputs)[1] == second.forward(chunk.inputs)[1]
    assert first.estimate(chunk.inputs).at_once == second.estimate(chunk.inputs).at_once
    one, other = teach(first, chunk), teach(second, chunk)
    assert one == other
    forward = flops_per_sample(frozen(), SHAPE).forward
    of_head = 2 * 8 * N_CLASSES
    n_trained = 6 * 20
    # Each image passes the frozen part once; the head's gradient needs no gradient of its inputs.
    assert one.flops == 20 * (forward - of_head) + n_trained * 2 * of_head
    assert one.samples == 20
    assert one.nbytes == first.nbytes == 20 * (2 * 8 + 8)
    assert first.forward(chunk.inputs)[1].flops == 20 * forward == first.forward_flops(20, SHAPE)
    assert first.forward(chunk.inputs)[1].samples == 20


def test_features_are_kept_apart_by_weights_and_places(tmp_path):
    inputs = toy_images(10).inputs
    learners = [
        head(0, features_dir=tmp_path),
        head(0, network=shifted(frozen()), features_dir=tmp_path),
        head(0, network=frozen(0, width=4), features_dir=tmp_path),
        head(0, keys=KeyPlaces(("filtered",)), features_dir=tmp_path),
        head(0, training=toy_training(**PLAIN, normalization=EfficientNetLite0.normalization), features_dir=tmp_path),
    ]
    for learner in learners:
        learner.forward(inputs)
        assert computed(learner) == 10
    assert len(list(tmp_path.iterdir())) == len(learners)
    again = head(0, features_dir=tmp_path, epochs=2)
    again.forward(inputs)
    assert computed(again) == 0


def test_the_first_pass_may_be_interrupted(tmp_path, monkeypatch):
    monkeypatch.setattr("agent.learners.frozen_features.WRITTEN_AT_ONCE", 16)
    inputs, learner = toy_images(60).inputs, head(features_dir=tmp_path)
    calls = []

    def computing(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*arguments)

    original = learner.reader._computed
    monkeypatch.setattr(learner.reader, "_computed", computing)
    with pytest.raises(KeyboardInterrupt):
        learner.forward(inputs)
    again = head(features_dir=tmp_path)
    again.forward(inputs)
    assert computed(again) == 60 - 32


def test_progress_counts_images_and_three_times_those_that_are_learned(tmp_path):
    for _ in range(2):  # computed, then kept
        done = []
        learner = head(features_dir=tmp_path, training=toy_training(**PLAIN, progress=done.append))
        learner.forward(toy_images(20).inputs)
        assert sum(done) == 20
        teach(learner, toy_chunk(12, 5))
        assert sum(done) == 20 + 36


def test_a_state_belongs_to_its_frozen_network():
    learner = head()
    teach(learner, toy_chunk(20))
    state = learner.state()
    head(1).load_state(state)
    with pytest.raises(InvalidSetting, match="same frozen network"):
        head(network=shifted(frozen())).load_state(state)
    assert sum(values.numel() for values in learner.weights().values()) == 8 * N_CLASSES + N_CLASSES


class Tokens(FrozenNet):
    """With a place of three dimensions, and a buffer."""

    def __init__(self, gain=1.0, **given):
        super().__init__(**given)
        self.register_buffer("gain", torch.tensor(gain), persistent=False)

    @property
    def places(self):
        return ("filtered", "tokens", "features")

    def tapped(self, inputs, places):
        logits, found = super().tapped(inputs * self.gain, {*places, "filtered"})
        tokens = {"tokens": found["filtered"].flatten(2)[:, :, :5]}
        return logits, {place: (found | tokens)[place] for place in self.places if place in places}


def tokens(gain=1.0):
    return Tokens(gain, n_classes=N_CLASSES, generator=torch.Generator().manual_seed(0))


def test_places_of_any_dimension_are_keys(tmp_path):
    keys, inputs = KeyPlaces(("tokens", "features")), toy_images(9).inputs
    expected = OnlineLearner(tokens(), toy_training(**PLAIN), keys).forward(inputs)[0].keys
    for _ in range(2):
        found = head(network=tokens(), keys=keys, features_dir=tmp_path).forward(inputs)[0].keys
        torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-3)


def test_features_belong_to_the_code_and_the_buffers_of_a_network(tmp_path, monkeypatch):
    source = tmp_path / "own_frozen.py"
    inputs, found = toy_images(9).inputs, []
    monkeypatch.syspath_prepend(tmp_path)
    for place, gain in (("features", 1.0), ("features", 2.0), ("features * 3", 2.0)):
        source.write_text(
            "from tests.agent.learners.test_head import Tokens\n\n\nclass Own(Tokens):\n    def tapped(self, *given):\n"
            "        logits, found = super().tapped(*given)\n"
            "        features = found.get('features', 0)\n"
            f"        return logits, found | ({{'features': {place}}} if 'features' in found else {{}})\n"
        )
        monkeypatch.delitem(sys.modules, "own_frozen", raising=False)
        importlib.invalidate_caches()
        made = importlib.import_module("own_frozen").Own
        network = made(gain, n_classes=N_CLASSES, generator=torch.Generator().manual_seed(0))
        learner = head(network=network, features_dir=tmp_path / "features")
        found.append(learner.forward(inputs)[0].keys)
        assert computed(learner) == 9
    torch.testing.assert_close(found[2], 3 * found[1], rtol=2e-3, atol=2e-3)
    assert not torch.allclose(found[0], found[1], rtol=1e-2)


def test_a_network_whose_code_is_in_no_file_keeps_no_features_and_says_so_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(Tokens, "__module__", "a_notebook")
    learner = head(network=tokens(), features_dir=tmp_path)
    for n in (9, 18):
        learner.forward(toy_images(9).inputs)
        assert computed(learner) == n
    assert not list(tmp_path.iterdir())
    [warning] = caplog.messages
    assert warning.startswith("expected the code of Tokens in a file")


def test_activations_beyond_float16_are_refused():
    with pytest.raises(InvalidSetting, match="within float16"):
        head(network=tokens(gain=1e7)).forward(toy_images(3).inputs)


def test_a_recipe_prepares_the_head_from_features_once():
    def halved(network, inputs):
        assert inputs.shape[1:] == (8,)
        network.linear.weight.mul_(0.5)

    recipe = replace(sgd(batch=8), prepare=halved)
    learner, plain = head(training=replace(toy_training(**PLAIN), recipe=recipe)), head()
    inputs = toy_images(10).inputs
    assert learner.prepare(inputs).flops >= learner.reader.flops(10, SHAPE)
    assert learner.prepare(inputs).flops == 0
    weight = plain.trainer.network.linear.weight
    assert torch.equal(learner.trainer.network.linear.weight, 0.5 * weight)
    assert plain.prepare(inputs).flops == 0


def test_joint_keys_are_read_from_one_pass():
    parts = KeyPlaces(("features",)), KeyPlaces(("input", "filtered"))
    inputs = toy_images(6).inputs
    joint = head(keys=JointKeys(parts)).forward(inputs)[0].keys
    alone = [head(keys=part).forward(inputs)[0].keys for part in parts]
    assert torch.equal(joint, torch.cat(alone, dim=1))
    assert joint.shape[1] == head(keys=JointKeys(parts)).key_length(SHAPE)


def test_a_transform_is_fitted_to_the_first_memorized_chunk_as_no_images_are_stored():
    agent = Agent(head(), TransformedMemory(CacheMemory(N_CLASSES), Pca(3)))
    agent.learn(toy_chunk(20))
    agent.memorize(toy_chunk(20, 1))
    assert agent.memory.n_entries == 20


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"network": toy_network()}, "expected a network that is frozen below its head for the learner head"),
        ({"training": toy_training()}, "expected no augmentation for the learner head"),
        (
            {"training": replace(toy_training(**PLAIN), recipe=sgd(views="mirror"))},
            "expected a recipe with views=plain for the learner head",
        ),
        ({"keys": KeyPlaces(("filtered",), pooled=False)}, "expected pooled keys for the learner head, got filtered"),
        ({"keys": KeyPlaces(("nowhere",))}, "nowhere"),
        ({"stored": 0}, "stored for rehearsal"),
    ],
)
def test_what_it_cannot_do_is_refused(changed, message):
    with pytest.raises(InvalidSetting, match=message):
        head(**changed)


def test_keys_of_features_and_inputs_need_no_pooling():
    keys = head(keys=KeyPlaces(("input", "features"), pooled=False)).forward(toy_images(2).inputs)[0].keys
    assert keys.shape == (2, 3 * 8 * 8 + 8)


def test_any_recipe_trains_a_head():
    learner = head(training=replace(toy_training(**PLAIN), recipe=muon(batch=8, lr=0.02)))
    before = learner.forward(toy_images(60, 3).inputs)[0].probabilities
    for seed in range(8):
        teach(learner, toy_chunk(40, seed))
    images = toy_images(60, 3)
    after = learner.forward(images.inputs)[0].probabilities
    right = [float((each.argmax(dim=1) == images.labels).float().mean()) for each in (before, after)]
    assert right[1] > max(right[0], 0.5)


@pytest.mark.parametrize("n_at_once", [1, 3, 8])
def test_features_do_not_depend_on_what_is_asked_for_at_once(n_at_once):
    network = EfficientNetLite0(32, n_classes=N_CLASSES, generator=torch.Generator().manual_seed(0))
    training = toy_training(**PLAIN, normalization=network.normalization)
    inputs = toy_images(19, size=32).inputs
    learner = head(network=network, training=training)
    whole = learner.reader.read(inputs)[0]["features"]
    order = torch.randperm(19, generator=torch.Generator().manual_seed(n_at_once))
    parts = torch.cat([learner.reader.read(part)[0]["features"] for part in inputs[order].split(n_at_once)])
    assert torch.equal(parts, whole[order])
