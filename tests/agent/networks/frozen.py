"""A network that is frozen below its head, and small enough for toys."""

import torch
import torch.nn.functional as F
from torch import nn

from agent.networks import Network
from agent.networks.linear_head import LinearHead


class FrozenNet(Network):
    """3 × 3 filters, the same for every seed, averaged over space, and a linear head.

    Args:
        width: channels.
    """

    key_places = ("features",)

    def __init__(self, width=8, *, n_classes, generator):
        super().__init__()
        self.spec_of = {"width": width, "n_classes": n_classes}
        self.convolution = nn.Conv2d(3, width, 3, padding=1, device="meta").to_empty(device="cpu")
        pretrained = torch.Generator().manual_seed(7)
        for parameter in self.convolution.parameters():
            parameter.data = 0.3 * torch.randn(parameter.shape, generator=pretrained)
        self.convolution.requires_grad_(False)
        self.head = LinearHead(width, 4.0, n_classes=n_classes, generator=generator)

    @property
    def spec(self):
        return self.spec_of

    @property
    def places(self):
        return ("filtered", "features")

    def tapped(self, inputs, places):
        x = F.relu(self.convolution(inputs))
        found = {"filtered": x} if "filtered" in places else {}
        features = x.mean(dim=(2, 3))
        if "features" in places:
            found["features"] = features
        return self.head(features), found
