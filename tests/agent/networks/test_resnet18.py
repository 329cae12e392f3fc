"""ResNet-18 against a plain implementation with the published names and numbers."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agent.errors import InvalidSetting
from agent.networks import NETWORKS
from agent.networks.flops import flops_per_sample
from agent.networks.resnet18 import ResNet18, SlimResNet18


class PlainBlock(nn.Module):
    """The block of kuangliu/pytorch-cifar."""

    def __init__(self, in_planes: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_planes != planes:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_planes, planes, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(planes)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out)


class PlainResNet18(nn.Module):
    """The network of GEM: four stages, averaged over 4 × 4, and a linear head."""

    def __init__(self, nf: int, n_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, nf, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(nf)
        widths = [(nf, nf, 1), (nf, 2 * nf, 2), (2 * nf, 4 * nf, 2), (4 * nf, 8 * nf, 2)]
        for number, (n_in, n_out, stride) in enumerate(widths, start=1):
            setattr(self, f"layer{number}", nn.Sequential(PlainBlock(n_in, n_out, stride), PlainBlock(n_out, n_out, 1)))
        self.linear = nn.Linear(8 * nf, n_classes)

    def stages(self) -> list[nn.Module]:
        return [self.layer1, self.layer2, self.layer3, self.layer4]

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        for stage in self.stages():
            out = stage(out)
        return self.linear(F.avg_pool2d(out, 4).flatten(1))


def made(kind: type[ResNet18] = ResNet18, seed: int = 0, n_classes: int = 10, **settings: int) -> ResNet18:
    return kind(**settings, n_classes=n_classes, generator=torch.Generator().manual_seed(seed))


def plain_copy(network: ResNet18) -> PlainResNet18:
    plain = PlainResNet18(network.width, network.n_classes)
    plain.load_state_dict(network.state_dict(), strict=True)  # also checks the names
    return plain.train(network.training)


def images(n: int) -> Tensor:
    return torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("training", [True, False])
def test_forward_and_backward_equal_a_plain_implementation(training: bool) -> None:
    network = made(width=2, n_classes=4).train(training)
    plain, batch, labels = plain_copy(network), images(4), torch.tensor([0, 1, 2, 3])
    logits, expected = network(batch), plain(batch)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    F.cross_entropy(logits, labels).backward()
    F.cross_entropy(expected, labels).backward()
    gradients = {name: parameter.grad for name, parameter in plain.named_parameters()}
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-3, atol=1e-5, msg=name)


def test_every_place_is_tapped_where_its_name_says() -> None:
    network = made(width=2).eval()
    plain, captured = plain_copy(network), {}
    plain.layer1.register_forward_pre_hook(lambda _, inputs: captured.__setitem__("stem", inputs[0]))
    plain.linear.register_forward_pre_hook(lambda _, inputs: captured.__setitem__("features", inputs[0]))
    for number, stage in enumerate(plain.stages()):
        for index, block in enumerate(stage.children()):
            place = f"stage{number}.block{index}"
            block.register_forward_hook(lambda _, __, output, place=place: captured.__setitem__(place, output))
    plain(images(3))
    _, found = network.tapped(images(3), network.places)
    assert tuple(found) == network.places
    for place, activations in found.items():
        torch.testing.assert_close(activations, captured[place], rtol=1e-4, atol=1e-5, msg=place)
    assert network.tapped(images(3), ())[1] == {}


@pytest.mark.parametrize(
    ("kind", "n_classes", "parameters", "gflop"),
    [(SlimResNet18, 10, 1_094_750, 0.109), (SlimResNet18, 100, 1_109_240, 0.109), (ResNet18, 10, 11_173_962, 1.11)],
)
def test_published_sizes(kind: type[ResNet18], n_classes: int, parameters: int, gflop: float) -> None:
    network = made(kind, n_classes=n_classes)
    assert sum(each.numel() for each in network.parameters()) == parameters
    assert flops_per_sample(network, (3, 32, 32)).forward / 1e9 == pytest.approx(gflop, rel=0.02)


def test_the_names_on_the_command_line() -> None:
    assert NETWORKS["resnet18"] is ResNet18
    assert NETWORKS["slim-resnet18"] is SlimResNet18
    assert made(SlimResNet18).width == 20


def test_a_width_or_number_of_classes_below_1_is_refused() -> None:
    for width, n_classes in ((0, 3), (2, 0), (10**6, 3)):
        with pytest.raises(InvalidSetting, match=f"expected a width of 1 to 12500 .*got width {width}, {n_classes} cl"):
            made(width=width, n_classes=n_classes)
