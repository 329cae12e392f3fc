"""Networks by name."""

from agent.networks.airbench import Airbench
from agent.networks.convnet import ConvNet
from agent.networks.efficientnet_lite import EfficientNetLite0, EfficientNetLite1, EfficientNetLite2
from agent.networks.mlp import MLP
from agent.networks.protocol import Network
from agent.networks.resnet import ResNet
from agent.networks.resnet18 import ResNet18, SlimResNet18

NETWORKS: dict[str, type[Network]] = {
    "resnet": ResNet,
    "resnet18": ResNet18,
    "slim-resnet18": SlimResNet18,
    "convnet": ConvNet,
    "mlp": MLP,
    "airbench": Airbench,
    "efficientnet-lite0": EfficientNetLite0,
    "efficientnet-lite1": EfficientNetLite1,
    "efficientnet-lite2": EfficientNetLite2,
}
"""Networks by their names on the command line; called with the number of classes and a generator."""
