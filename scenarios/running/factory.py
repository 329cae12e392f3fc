"""Build an agent from settings."""

from typing import Any

import torch

from agent.abilities import missing_members
from agent.agent import Agent
from agent.data.augmentation import Augmentation
from agent.errors import InvalidSetting
from agent.learners import Learner
from agent.learners.protocol import Preparable
from agent.learners.training import Progress, Training
from agent.memory import Memory
from agent.memory.rekeying import Rekeying
from agent.networks.keys import KeyPlaces, check_takes
from agent.randomness import named_generator
from scenarios.config.families import DATASET, LEARNER, MEMORY, NETWORK, RECIPE
from scenarios.config.members import canonical, find, make
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


def resolve_agent(config: AgentConfig) -> dict[str, Any]:
    """The specs of network, recipe, learner and memory with all their settings, the places of keys, and the pooling.

    Raises:
        InvalidSetting: an unknown member or setting.
    """
    specs = {
        family.name: canonical(getattr(config, family.name), family, full=True)
        for family in (NETWORK, RECIPE, LEARNER, MEMORY)
    }
    specs["dataset"] = canonical(config.dataset, DATASET)
    make(config.recipe, RECIPE)  # rejects an invalid recipe before the run begins
    suited = getattr(find(config.network, NETWORK), "key_places", None)
    keys = "+".join(suited) if config.keys is None and isinstance(suited, tuple) else config.keys
    return {**specs, "keys": keys, "pool": _pools(config)}


def _pools(config: AgentConfig) -> bool:
    return bool(getattr(find(config.memory, MEMORY), "pools_keys", False)) if config.pool is None else config.pool


def build_agent(
    config: AgentConfig,
    dataset: Dataset,
    *,
    seed: int,
    progress: Progress,
    rekeying: Rekeying = Rekeying(),  # noqa: B008 (frozen)
    calibrate_every: int = 0,
) -> Agent:
    """An agent at initialization: untrained network, empty memory.

    Args:
        config: its settings.
        dataset: gives the number of classes, normalization and augmentation.
        seed: seeds the initial weights, the learner and the memory.
        progress: called with the learner's work.
        rekeying: when stale keys are computed again.
        calibrate_every: chunks between fits of the mixture that the agent pays for.

    Raises:
        InvalidSetting: settings contradict each other, or this machine does not allow them.
    """
    device = choose_device(config.device)
    training = Training(
        make(config.recipe, RECIPE),
        normalization=dataset.normalization,
        suited=choose_augmentation(config, dataset),
        device=device,
        compiled=device.type == "cuda" if config.compile is None else config.compile,
        progress=progress,
    )
    shape = tuple(dataset.train.inputs.shape[1:])
    generator = named_generator(seed, "weights")
    network = make(config.network, NETWORK, n_classes=dataset.n_classes, input_shape=shape, generator=generator)
    check_takes(network, shape, dataset.n_classes)
    places = () if config.keys is None else tuple(place.strip() for place in config.keys.split("+"))
    keys = KeyPlaces(places, _pools(config))
    memory = make(config.memory, MEMORY, n_classes=dataset.n_classes, device=device, seed=seed)
    learner = make(config.learner, LEARNER, network=network, training=training, keys=keys, seed=seed)
    for spec, component, contract in ((config.memory, memory, Memory), (config.learner, learner, Learner)):
        if lacks := missing_members(component, contract):
            raise InvalidSetting(
                f"expected {spec} to offer all that agent.{contract.__name__} names, got one without {', '.join(lacks)}"
            )
    if training.recipe.prepare and not isinstance(learner, Preparable):
        raise InvalidSetting(
            f"expected a learner that can prepare its network (agent.learners.protocol.Preparable) for --recipe "
            f"{config.recipe}, got {config.learner}; another recipe, or another learner"
        )
    return Agent(learner, memory, rekeying=rekeying, calibrate_every=calibrate_every)
