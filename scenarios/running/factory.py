"""From settings to an agent."""

from typing import Any

import torch

from agent.agent import Agent
from agent.data.augmentation import Augmentation
from agent.errors import InvalidSetting
from agent.learners import CooldownLearner, Learner, OnlineLearner, RefitLearner
from agent.learners.protocol import Progress
from agent.learners.sgd import SCHEDULES, Training
from agent.memory import MEMORIES
from agent.memory.protocol import missing_members
from agent.memory.rekeying import Rekeying
from agent.networks.keys import KeyPlaces
from agent.networks.resnet import ResNet
from agent.randomness import named_generator
from scenarios.config.settings import AgentConfig
from scenarios.config.specs import canonical, find, make
from scenarios.datasets.load import Dataset


def choose_device(name: str) -> torch.device:
    """The device called `name`; `auto` is CUDA where there is one, else Apple's MPS, else the CPU.

    Raises:
        InvalidSetting: a device that this machine lacks.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, there in available.items() if there)
    if not available[name]:
        raise InvalidSetting(f"expected a device of this machine, got {name}, which torch does not find; --device auto")
    return torch.device(name)


def choose_augmentation(config: AgentConfig, dataset: Dataset) -> Augmentation:
    """What suits the data set, where the settings do not say otherwise."""
    suits = dataset.augmentation
    return Augmentation(
        shift=suits.shift if config.shift is None else config.shift,
        mirror=suits.mirror if config.mirror is None else config.mirror,
    )


def choose_schedule(config: AgentConfig) -> str:
    """The schedule of the learning rate as set, or as suits the protocol."""
    return config.schedule or ("one-cycle" if config.protocol == "original" else "constant")


def resolve_memory(config: AgentConfig) -> dict[str, Any]:
    """The memory of the settings in its one spelling, and whether keys are pooled for it.

    Raises:
        InvalidSetting: an unknown memory, or an unknown setting of it.
    """
    memory = canonical(config.memory, MEMORIES, "memory")
    pools = bool(getattr(find(memory, MEMORIES, "memory"), "pools_keys", False))
    return {"memory": memory, "pool": pools if config.pool is None else config.pool}


def build_agent(
    config: AgentConfig,
    dataset: Dataset,
    *,
    seed: int,
    progress: Progress,
    rekeying: Rekeying = Rekeying(),  # noqa: B008 (frozen)
) -> Agent:
    """An agent at birth: untrained network, empty memory.

    Args:
        config: its settings.
        dataset: gives the number of classes, normalization and augmentation.
        seed: of the initial weights and of all that the learner draws.
        progress: told of the learner's work.
        rekeying: what is done about stale keys.

    Raises:
        InvalidSetting: settings that contradict each other or this machine.
    """
    device = choose_device(config.device)
    training = Training(
        normalization=dataset.normalization,
        augmentation=choose_augmentation(config, dataset),
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        batch_size=config.batch,
        schedule=SCHEDULES[choose_schedule(config)],
        device=device,
        compiled=device.type == "cuda" if config.compile is None else config.compile,
    )
    network = ResNet(config.depth, config.width, dataset.n_classes, generator=named_generator(seed, "weights"))
    of_memory = resolve_memory(config)
    keys = KeyPlaces(config.keys, of_memory["pool"])
    memory = make(of_memory["memory"], MEMORIES, "memory", n_classes=dataset.n_classes, device=device)
    if lacks := missing_members(memory):
        raise InvalidSetting(
            f"expected {of_memory['memory']} to offer all that agent.memory.Memory names, got one without "
            f"{', '.join(lacks)}"
        )
    learner: Learner
    if config.protocol == "original":
        learner = RefitLearner(network, training, keys, epochs=config.epochs, seed=seed, progress=progress)
    else:
        learner = OnlineLearner(
            network,
            training,
            keys,
            passes=config.epochs,
            rehearsal=config.rehearsal,
            keeps=config.protocol == "cooldown",
            ema_decay=config.ema_decay if config.protocol == "online" else 0.0,
            seed=seed,
            progress=progress,
        )
        if config.protocol == "cooldown":
            learner = CooldownLearner(learner, share=config.cooldown, seed=seed)
    return Agent(learner, memory, rekeying=rekeying)
