"""Networks by name."""

from agent.networks.convnet import ConvNet
from agent.networks.mlp import MLP
from agent.networks.protocol import Network
from agent.networks.resnet import ResNet

NETWORKS: dict[str, type[Network]] = {"resnet": ResNet, "convnet": ConvNet, "mlp": MLP}
"""Every network, by the name it has on the command line; made with the number of classes and a generator."""
