"""Networks by name."""

from agent.networks.airbench import Airbench
from agent.networks.convnet import ConvNet
from agent.networks.mlp import MLP
from agent.networks.protocol import Network
from agent.networks.resnet import ResNet

NETWORKS: dict[str, type[Network]] = {"resnet": ResNet, "convnet": ConvNet, "mlp": MLP, "airbench": Airbench}
"""Networks by their names on the command line; called with the number of classes and a generator."""
