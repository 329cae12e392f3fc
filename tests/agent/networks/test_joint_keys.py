"""Keys of several agents, read in one forward pass."""

import pytest
import torch

from agent.errors import InvalidSetting
from agent.networks import MLP
from agent.networks.keys import Columns, JointKeys, KeyPlaces, joint_keys
from agent.networks.resnet import ResNet
from tests.agent.toys import toy_images, toy_network, toy_training

SHAPE = (3, 8, 8)
WANTED = [
    KeyPlaces(),
    KeyPlaces(("stem", "features"), pooled=False),
    KeyPlaces(("features", "input")),
    KeyPlaces(("stage2.block0",)),  # the default, by its name
    KeyPlaces(pooled=False),
    KeyPlaces(("features", "stem"), weights=(0.2, 3.0)),
]


def test_each_agent_gets_the_keys_that_it_would_read_alone():
    network, images, training = toy_network().eval(), toy_images(7).inputs, toy_training()
    keys, columns = joint_keys(WANTED, network, SHAPE)
    together, work = training.look(network, images, keys)
    assert together.keys.shape[1] == keys.length(network, SHAPE)
    for wanted, own in zip(WANTED, columns, strict=True):
        alone, same_work = training.look(network, images, wanted.resolved(network))
        found = own.of(together.keys)
        assert torch.equal(found, alone.keys)
        assert found.is_contiguous()
        assert own.length == wanted.length(network, SHAPE)
        assert torch.equal(together.probabilities, alone.probabilities)
        assert work == same_work


def test_equal_keys_are_read_once():
    keys, columns = joint_keys(WANTED, toy_network(), SHAPE)
    assert isinstance(keys, JointKeys)
    assert len(keys.parts) == 5
    assert columns[0] == columns[3] == Columns(0, 8)
    assert keys.of(toy_network()) == ("stage2.block0", "stem", "features", "input")


def test_keys_that_are_all_equal_are_those_of_each():
    assert joint_keys([KeyPlaces(), WANTED[3]], toy_network(), SHAPE) == (KeyPlaces(), (None, None))


def test_aliases_stand_for_their_places():
    network = ResNet(26, 2, n_classes=3, generator=torch.Generator().manual_seed(0)).eval()
    keys, (cache3, _) = joint_keys([KeyPlaces(("cache3",)), KeyPlaces()], network, SHAPE)
    images = toy_images(3).inputs
    found = cache3.of(toy_training().look(network, images, keys)[0].keys)
    assert torch.equal(found, toy_training().look(network, images, KeyPlaces(("cache3",)))[0].keys)


def test_vectors_have_keys_too():
    network = MLP(4, n_classes=3, input_shape=(5,), generator=torch.Generator())
    _, columns = joint_keys([KeyPlaces(("input",)), KeyPlaces(("hidden0",))], network, (5,))
    assert columns == (Columns(0, 5), Columns(5, 9))


def test_a_place_that_the_network_lacks_is_named():
    with pytest.raises(InvalidSetting, match=r"expected keys from places of ResNet.*, got nowhere"):
        joint_keys([KeyPlaces(), KeyPlaces(("nowhere",))], toy_network(), SHAPE)


def test_weighted_places_count_by_their_weights():
    """The cosine of two keys is the weighted mean of the cosines at each place."""
    network, images, training = toy_network().eval(), toy_images(7).inputs, toy_training()
    keys, _ = joint_keys([KeyPlaces.parse(("stage2.block0*0.2", "input*0.6"), pooled=False)], network, SHAPE)
    assert keys.weights == (0.2, 0.6)

    def cosines(read):
        unit = torch.nn.functional.normalize(training.look(network, images, read)[0].keys, dim=1)
        return unit @ unit.T

    places = [cosines(KeyPlaces((place,), pooled=False)) for place in ("stage2.block0", "input")]
    torch.testing.assert_close(cosines(keys), 0.25 * places[0] + 0.75 * places[1])


def test_pooling_spares_the_input():
    images = toy_images(3).inputs
    network, training = toy_network().eval(), toy_training()
    found = [training.look(network, images, KeyPlaces(("input",), pooled=pooled))[0].keys for pooled in (True, False)]
    assert torch.equal(*found)
    assert found[0].shape == (3, images[0].numel())


def test_places_are_read_from_text():
    assert KeyPlaces.parse(("stem", "features"), pooled=True) == KeyPlaces(("stem", "features"))
    assert KeyPlaces.parse(("stem * 0.5", "features"), pooled=True).weights == (0.5, 1.0)


def test_an_alias_gives_its_weight_to_each_of_its_places():
    network = ResNet(26, 2, n_classes=3, generator=torch.Generator().manual_seed(0))
    weighted = KeyPlaces.parse(("cache3*2", "input"), pooled=True).resolved(network)
    assert len(weighted.names) == 4
    assert weighted.weights == (2, 2, 2, 1)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (("stem*",), r"expected a weight after the \* of a place, as in stem\*0\.5\+features, got stem\*"),
        (("stem*much",), r"got stem\*much"),
        (("stem*0",), "expected finite weights of keys above 0"),
        (("stem*nan",), "expected finite weights of keys above 0"),
        (("stem*1", "stem*2"), "expected each place once where places have weights, got stem, stem"),
    ],
)
def test_bad_weights_are_refused(texts, message):
    with pytest.raises(InvalidSetting, match=message):
        KeyPlaces.parse(texts, pooled=True)
