import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agent.errors import InvalidSetting
from agent.networks.keys import KeyPlaces
from agent.networks.resnet import ResNet
from tests.agent.toys import toy_network


class PlainBlock(nn.Module):
    """The block of akamaster/pytorch_resnet_cifar10 (option A)."""

    def __init__(self, in_planes: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.changes = stride != 1 or in_planes != planes

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.changes:
            planes = out.shape[1]
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, planes // 4, planes // 4), "constant", 0)
        return F.relu(out + x)


class PlainResNet(nn.Module):
    """The network of akamaster/pytorch_resnet_cifar10, with its names."""

    def __init__(self, n_blocks: int, width: int, n_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = self.stage(width, width, n_blocks, 1)
        self.layer2 = self.stage(width, 2 * width, n_blocks, 2)
        self.layer3 = self.stage(2 * width, 4 * width, n_blocks, 2)
        self.linear = nn.Linear(4 * width, n_classes)

    def stage(self, in_planes: int, planes: int, n_blocks: int, stride: int) -> nn.Sequential:
        blocks = [PlainBlock(in_planes, planes, stride)]
        blocks += [PlainBlock(planes, planes, 1) for _ in range(n_blocks - 1)]
        return nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        out = F.avg_pool2d(out, out.shape[2:])
        return self.linear(out.flatten(1))


def plain_copy(network: ResNet) -> PlainResNet:
    plain = PlainResNet((network.depth - 2) // 6, network.width, network.n_classes)
    plain.load_state_dict(network.state_dict(), strict=True)  # also checks the names
    return plain.train(network.training)


def images(n: int, height: int = 8, width: int = 8) -> Tensor:
    return torch.randn(n, 3, height, width, generator=torch.Generator().manual_seed(1))


def test_resnet32_has_the_published_number_of_parameters() -> None:
    network = toy_network(depth=32, width=16, n_classes=10)
    assert sum(parameter.numel() for parameter in network.parameters()) == 464_154


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("depth", "width", "height", "breadth"), [(8, 2, 8, 8), (14, 4, 32, 32), (8, 2, 9, 7)])
def test_forward_and_backward_equal_a_plain_implementation(
    depth: int, width: int, height: int, breadth: int, training: bool
) -> None:
    network = toy_network(depth=depth, width=width).train(training)
    plain = plain_copy(network)
    batch = images(4, height, breadth)
    logits, expected = network(batch), plain(batch)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    F.cross_entropy(logits, torch.tensor([0, 1, 2, 0])).backward()
    F.cross_entropy(expected, torch.tensor([0, 1, 2, 0])).backward()
    gradients = {name: parameter.grad for name, parameter in plain.named_parameters()}
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-3, atol=1e-5, msg=name)
    for name, buffer in network.named_buffers():
        torch.testing.assert_close(buffer, dict(plain.named_buffers())[name], rtol=1e-4, atol=1e-6, msg=name)


def test_every_place_is_tapped_where_its_name_says() -> None:
    network = toy_network(depth=14, width=2).eval()
    plain, captured = plain_copy(network), {}

    def capture_input(place: str) -> object:
        return lambda _, inputs: captured.__setitem__(place, inputs[0])

    plain.layer1.register_forward_pre_hook(capture_input("stem"))
    plain.linear.register_forward_pre_hook(capture_input("features"))
    for number, stage in enumerate((plain.layer1, plain.layer2, plain.layer3)):
        for index, block in enumerate(stage):
            block.conv2.register_forward_pre_hook(capture_input(f"stage{number}.block{index}.relu"))
            block.register_forward_hook(
                lambda _, __, output, place=f"stage{number}.block{index}": captured.__setitem__(place, output)
            )
    batch = images(3)
    expected = plain(batch)
    logits, found = network.tapped(batch, network.places)
    assert tuple(found) == network.places
    assert set(captured) == set(network.places)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    for place, activation in found.items():
        torch.testing.assert_close(activation, captured[place], rtol=1e-4, atol=1e-5, msg=place)
    assert network.tapped(batch, ())[1] == {}


@pytest.mark.parametrize(("pooled", "length"), [(False, 12_288), (True, 192)])
def test_cache3_keys_of_resnet32_have_the_published_length(pooled: bool, length: int) -> None:
    network = toy_network(depth=32, width=16, n_classes=10).eval()
    places = KeyPlaces(("cache3",), pooled=pooled)
    assert places.of(network) == ("stage2.block0", "stage2.block2.relu", "stage2.block3")
    activations = network.tapped(images(1, 32, 32), places.of(network))[1]
    assert places.read(activations).shape == (1, length)


def test_keys_lie_side_by_side_pooled_or_flattened() -> None:
    network = toy_network(depth=8, width=2).eval()
    batch = images(2)
    for pooled in (True, False):
        places = KeyPlaces(("stem", "stage1.block0.relu", "features"), pooled=pooled)
        activations = network.tapped(batch, places.of(network))[1]
        parts = [activations["stem"], activations["stage1.block0.relu"]]
        parts = [part.mean(dim=(2, 3)) if pooled else part.flatten(1) for part in parts]
        assert torch.equal(places.read(activations), torch.cat([*parts, activations["features"]], dim=1))


@pytest.mark.parametrize("depth", [-4, 2, 7, 9, 21])
def test_a_depth_that_is_not_6n_plus_2_is_refused(depth: int) -> None:
    with pytest.raises(InvalidSetting, match=rf"expected depth = 6n \+ 2 \(8, 14, .* up to 1202\), got {depth}"):
        toy_network(depth=depth)


def test_a_width_or_number_of_classes_below_1_is_refused() -> None:
    for width, n_classes in ((0, 3), (2, 0)):
        with pytest.raises(InvalidSetting, match=f"got width {width}, {n_classes} classes"):
            toy_network(width=width, n_classes=n_classes)


def test_places_that_the_network_lacks_are_refused() -> None:
    with pytest.raises(
        InvalidSetting, match=r"of ResNet\(.*\) \(input, stem, .*features\), got stage0.block1, nowhere$"
    ):
        KeyPlaces(("stem", "stage0.block1", "nowhere")).of(toy_network())
    with pytest.raises(InvalidSetting, match=r"got stage2\.block2\.relu, stage2\.block3, which cache3 stands for"):
        KeyPlaces(("cache3",)).of(toy_network())
    with pytest.raises(InvalidSetting, match="which cache3 stands for"):
        KeyPlaces(("cache3",)).of(toy_network(depth=20))
    assert KeyPlaces(("cache3",)).of(toy_network(depth=26))


def test_weights_come_from_the_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = toy_network(1), toy_network(1), toy_network(2)
    assert torch.equal(torch.get_rng_state(), before)
    weights, others = first.state_dict(), other.state_dict()
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in weights.items())
    assert not any(torch.equal(value, others[name]) for name, value in weights.items() if "conv" in name)


def test_initial_weights_are_he_normal() -> None:
    network = toy_network(depth=8, width=32)
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            assert float(module.weight.detach().std() * (fan_in / 2) ** 0.5) == pytest.approx(1, abs=0.12), name
    assert not network.linear.bias.detach().any()
    fresh = nn.BatchNorm2d(32)
    for value, expected in zip(network.bn1.state_dict().values(), fresh.state_dict().values(), strict=True):
        assert torch.equal(value, expected)


@pytest.mark.parametrize(("height", "width"), [(5, 5), (7, 9), (11, 6), (33, 31)])
def test_other_image_sizes_work(height: int, width: int) -> None:
    network = toy_network().eval()
    logits, found = network.tapped(images(2, height, width), network.places)
    assert logits.shape == (2, 3)
    assert found["stage2.block0"].shape[2:] == (-(-height // 4), -(-width // 4))


def test_one_image_gives_in_evaluation_what_it_gives_in_a_batch() -> None:
    network = copy.deepcopy(toy_network()).eval()
    batch = images(3)
    torch.testing.assert_close(network(batch)[1:2], network(batch[1:2]), rtol=1e-4, atol=1e-6)
