"""Networks, the places where keys are read in them, and their FLOPs."""

from agent.networks.airbench import Airbench as Airbench
from agent.networks.convnet import ConvNet as ConvNet
from agent.networks.mlp import MLP as MLP
from agent.networks.protocol import Network as Network
from agent.networks.registry import NETWORKS as NETWORKS
from agent.networks.resnet import ResNet as ResNet
from agent.networks.resnet18 import ResNet18 as ResNet18
from agent.networks.resnet18 import SlimResNet18 as SlimResNet18
