"""The network of airbench against a plain implementation of its description, and its whitening."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agent.errors import InvalidSetting
from agent.networks import Airbench
from agent.networks.flops import flops_per_sample


def made(size=94, n_classes=10, seed=0):
    return Airbench(size, n_classes=n_classes, generator=torch.Generator().manual_seed(seed))


def images(n: int, side: int = 32, seed: int = 1) -> Tensor:
    smooth = torch.randn(n, 3, side // 4, side // 4, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(smooth, scale_factor=4, mode="bilinear") + 0.1


def plain(network: Airbench) -> nn.Sequential:
    """The modules of the paper in a row, with the weights of a network."""
    a, b, c = (group.conv1.out_channels for group in network.groups)
    layers: list[nn.Module] = [nn.Conv2d(3, 24, 2), nn.GELU()]
    for n_in, n_out in ((24, a), (a, b), (b, c)):
        norms = [nn.BatchNorm2d(n_out, eps=1e-12, momentum=0.4) for _ in range(2)]
        first = [nn.Conv2d(n_in, n_out, 3, padding="same", bias=False), nn.MaxPool2d(2), norms[0], nn.GELU()]
        layers += [*first, nn.Conv2d(n_out, n_out, 3, padding="same", bias=False), norms[1], nn.GELU()]
    layers += [nn.MaxPool2d(3), nn.Flatten(), nn.Linear(c, network.n_classes, bias=False)]
    copy = nn.Sequential(*layers).train(network.training)
    ones = [module.weight for module in copy.modules() if isinstance(module, nn.BatchNorm2d)]
    theirs = [each for each in copy.parameters() if not any(each is one for one in ones)]
    for parameter, values in zip(theirs, network.parameters(), strict=True):
        parameter.data.copy_(values.data)
    return copy


@pytest.mark.parametrize(("size", "parameters", "mflop"), [(93, 0.569e6, 108), (94, 1.97e6, 236)])
def test_it_has_the_published_size(size, parameters, mflop):
    network = made(size)
    assert sum(each.numel() for each in network.parameters()) == pytest.approx(parameters, rel=0.01)
    assert flops_per_sample(network, (3, 32, 32)).forward / 1e6 == pytest.approx(mflop, rel=0.01)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [93, 94])
def test_forward_and_backward_equal_a_plain_implementation(size, training):
    network = made(size).train(training)
    twin, batch, labels = plain(network), images(6), torch.arange(6)
    logits, expected = network(batch), twin(batch) / network.head.in_features
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-6)
    F.cross_entropy(logits, labels).backward()
    F.cross_entropy(expected, labels).backward()
    ones = [module.weight for module in twin.modules() if isinstance(module, nn.BatchNorm2d)]
    theirs = [each.grad for each in twin.parameters() if not any(each is one for one in ones)]
    for parameter, gradient in zip(network.parameters(), theirs, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-6)


def test_filters_begin_as_identities_and_the_head_with_unit_spread():
    network, x = made(), images(2, 16)
    for group in network.groups:
        for convolution in (group.conv1, group.conv2):
            n = convolution.in_channels
            inputs = torch.randn(1, n, 5, 5, generator=torch.Generator().manual_seed(2))
            torch.testing.assert_close(convolution(inputs)[:, :n], inputs)
    assert float(network.head.weight.std().detach()) == pytest.approx(1)
    assert network(x).shape == (2, 10)


def test_whitened_patches_have_unit_variance_and_no_correlation():
    network, batch = made(), images(400, 12)
    network.whiten(batch)
    patches = F.unfold(batch, 2).movedim(1, 2).reshape(-1, 12)
    filters = network.whitening.weight.detach().reshape(24, 12)
    assert torch.equal(filters[:12], -filters[12:])
    moments = (patches @ filters[:12].T).T @ (patches @ filters[:12].T) / len(patches)
    variances = torch.linalg.eigvalsh(patches.T @ patches / len(patches)).flip(0)
    torch.testing.assert_close(moments, torch.diag(variances / (variances + 5e-4)), rtol=1e-2, atol=2e-3)
    assert not network.whitening.weight.requires_grad
    assert network.whitening.bias.requires_grad


def test_whitening_does_not_depend_on_the_signs_of_eigenvectors(monkeypatch):
    one, other, batch = made(), made(), images(50, 12)
    one.whiten(batch)
    eigh = torch.linalg.eigh

    def negated(matrix):
        values, vectors = eigh(matrix)
        return values, -vectors

    monkeypatch.setattr(torch.linalg, "eigh", negated)
    other.whiten(batch)
    assert torch.equal(one.whitening.weight, other.whitening.weight)


def test_constant_images_are_whitened_to_finite_weights():
    network = made()
    network.whiten(torch.full((3, 3, 8, 8), 0.5))
    assert bool(torch.isfinite(network.whitening.weight).all())


@pytest.mark.parametrize("size", [92, 95, 0])
def test_other_sizes_are_refused(size):
    with pytest.raises(InvalidSetting, match="expected a size of 93 or 94"):
        made(size)
