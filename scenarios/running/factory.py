"""Build an agent from settings."""

from collections.abc import Mapping

import torch

from agent.abilities import missing_members
from agent.agent import Agent
from agent.data.augmentation import Augmentation
from agent.errors import InvalidSetting
from agent.learners import Learner
from agent.learners.protocol import Preparable
from agent.learners.training import Progress, Training, unreported
from agent.memory import Memory
from agent.memory.rekeying import Rekeying
from agent.networks.keys import KeyPlaces, check_takes
from agent.randomness import named_generator
from scenarios.config.method import AgentSettings, MethodSettings
from scenarios.config.settings import AgentConfig
from scenarios.datasets.load import Dataset


def choose_device(name: str) -> torch.device:
    """The device called `name`; `auto` is the first of CUDA, Apple's MPS and CPU that this machine has.

    Raises:
        InvalidSetting: this machine does not have the device.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, found in available.items() if found)
    if not available[name]:
        raise InvalidSetting(f"expected a device of this machine, got {name}, which torch does not find; --device auto")
    return torch.device(name)


def choose_augmentation(config: AgentConfig, dataset: Dataset) -> Augmentation:
    """The augmentation of the settings; where they are None, the one that suits the data set."""
    suits = dataset.augmentation
    return Augmentation(
        shift=suits.shift if config.shift is None else config.shift,
        mirror=suits.mirror if config.mirror is None else config.mirror,
    )


def build_agents(
    config: AgentConfig,
    methods: Mapping[str, AgentSettings],
    dataset: Dataset,
    *,
    seed: int,
    progress: Progress = unreported,
) -> dict[str, Agent]:
    """Agents at initialization, by name: untrained network, empty memory.

    Args:
        config: settings of data and machine.
        methods: settings of each agent, which differ in no part of the learner; equal ones give one agent.
        dataset: gives the number of classes, normalization and augmentation.
        seed: seeds the initial weights, the learner and the memory.
        progress: called with the learner's work.

    Raises:
        InvalidSetting: settings contradict each other, or this machine does not allow them.
    """
    first, *_ = methods.values()
    agent = build_agent(config, dataset, seed=seed, progress=progress, method=first)
    return dict.fromkeys(methods, agent)


def build_agent(
    config: AgentConfig,
    dataset: Dataset,
    *,
    seed: int,
    progress: Progress,
    method: AgentSettings,
) -> Agent:
    """TEMP."""
    device = choose_device(config.device)
    training = Training(
        method.recipe.make(),
        normalization=dataset.normalization,
        suited=choose_augmentation(config, dataset),
        device=device,
        compiled=device.type == "cuda" if config.compile is None else config.compile,
        progress=progress,
    )
    shape = tuple(dataset.train.inputs.shape[1:])
    generator = named_generator(seed, "weights")
    network = method.network.make(n_classes=dataset.n_classes, input_shape=shape, generator=generator)
    check_takes(network, shape, dataset.n_classes)
    keys = KeyPlaces(method.keys or (), bool(method.pool))
    memory = method.memory.make(n_classes=dataset.n_classes, device=device, seed=seed)
    learner = method.learner.make(network=network, training=training, keys=keys, seed=seed)
    for member, component, contract in ((method.memory, memory, Memory), (method.learner, learner, Learner)):
        if lacks := missing_members(component, contract):
            raise InvalidSetting(
                f"expected {member} to offer all that agent.{contract.__name__} names, got one without "
                f"{', '.join(lacks)}"
            )
    if training.recipe.prepare and not isinstance(learner, Preparable):
        raise InvalidSetting(
            f"expected a learner that can prepare its network (agent.learners.protocol.Preparable) for --recipe "
            f"{method.recipe}, got {method.learner}; another recipe, or another learner"
        )
    rekeying = method.rekey if isinstance(method, MethodSettings) else Rekeying()
    return Agent(learner, memory, rekeying=rekeying)
