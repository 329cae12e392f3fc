"""A network and a recipe that know the contracts alone: first weights are set from the first images, and stay."""

import torch
import torch.nn.functional as F
from torch import nn

from agent.learners import ParameterGroup, Recipe
from agent.networks import Network


class WhitenedNet(Network):
    """2 × 2 patches, whitened by weights that are never trained; one trained convolution; a linear head.

    Args:
        width: channels.
    """

    key_places = ("features",)

    def __init__(self, width=4, *, n_classes, generator):
        super().__init__()
        self.spec_of = {"width": width, "n_classes": n_classes}
        self.whiten = nn.Conv2d(3, 12, 2, bias=False, device="meta").to_empty(device="cpu").requires_grad_(False)
        self.convolution = nn.Conv2d(12, width, 3, padding=1, device="meta").to_empty(device="cpu")
        self.linear = nn.Linear(width, n_classes, device="meta").to_empty(device="cpu")
        for parameter in self.parameters():
            parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)

    @property
    def spec(self):
        return self.spec_of

    @property
    def places(self):
        return ("whitened", "features")

    def tapped(self, inputs, places):
        x = self.whiten(inputs)
        found = {"whitened": x} if "whitened" in places else {}
        features = F.relu(self.convolution(x)).mean(dim=(2, 3))
        if "features" in places:
            found["features"] = features
        return self.linear(features), found


def whiten(network, inputs):
    """Eigenvectors of the patches' covariance, scaled to unit variance."""
    patches = F.unfold(inputs, 2).transpose(1, 2).flatten(0, 1)
    patches = patches - patches.mean(dim=0)
    values, vectors = torch.linalg.eigh(patches.T @ patches / max(len(patches), 1))
    network.whiten.weight.copy_((vectors / (values + 1e-2).sqrt()).T.reshape(12, 3, 2, 2))


def whitening(lr=0.05, batch=8):
    """AdamW for the convolution, SGD for the rest, after whitening.

    Args:
        lr: of both.
        batch: samples in a step.
    """
    return Recipe(
        (
            ParameterGroup(torch.optim.AdamW, {"lr": lr / 10}, names=r"convolution\..*"),
            ParameterGroup(torch.optim.SGD, {"lr": lr, "momentum": 0.9}),
        ),
        batch_size=batch,
        prepare=whiten,
    )
