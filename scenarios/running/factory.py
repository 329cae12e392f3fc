"""Build an agent from settings."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from agent.abilities import missing_members
from agent.agent import Agent
from agent.data.augmentation import Augmentation
from agent.data.chunk import LabelledInputs
from agent.errors import InvalidSetting
from agent.learners import Learner
from agent.learners.protocol import Preparable
from agent.learners.recipe import Recipe
from agent.learners.training import Progress, Training, unreported
from agent.memory import CacheMemory, Memory
from agent.memory.bounded import Capacity, bounded
from agent.memory.consolidation import Consolidation
from agent.memory.eviction import Eviction
from agent.memory.mixture import Rule
from agent.memory.rekeying import Rekeying
from agent.memory.transform import KeyTransform
from agent.memory.transformed import transformed
from agent.networks.keys import KeyPlaces, check_takes, joint_keys
from agent.networks.protocol import Network
from agent.randomness import named_generator
from scenarios.baselines.protocol import Baseline, Given
from scenarios.config.members import Member
from scenarios.config.method import AgentSettings, MethodSettings
from scenarios.config.settings import AgentConfig
from scenarios.datasets.load import Dataset
from scenarios.running.machine import features_dir


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


def choose_augmentation(config: AgentConfig, recipe: Recipe, dataset: Dataset) -> Augmentation:
    """The recipe's augmentation for the data set, as far as the settings are None; one that it fixes stays as it is."""
    found = recipe.augmentation_on(dataset.augmentation)
    if isinstance(recipe.augmentation, Augmentation):
        return found
    return replace(
        found,
        shift=found.shift if config.shift is None else config.shift,
        mirror=found.mirror if config.mirror is None else config.mirror,
    )


def build_agents(
    config: AgentConfig,
    methods: Mapping[str, AgentSettings],
    dataset: Dataset,
    *,
    seed: int,
    progress: Progress = unreported,
) -> dict[str, Agent]:
    """Agents at initialization, by name, which share an untrained learner; their memories are empty.

    Args:
        config: settings of data and machine.
        methods: settings of each agent, which differ in no part of the learner; equal ones give the same agent.
        dataset: gives the number of classes, normalization and augmentation.
        seed: seeds the initial weights, the learner and the memories.
        progress: called with the learner's work.

    Raises:
        InvalidSetting: settings contradict each other, or this machine does not allow them.
    """
    first, shape = next(iter(methods.values())), tuple(dataset.train.inputs.shape[1:])
    network = _network(first, dataset, seed)
    training = _training(config, first, first.learner, network, dataset, progress)
    check_takes(network, shape, dataset.n_classes)
    fixed = getattr(config, "calibration", "") == "none"
    parts = {name: _agent_parts(method, fixed=fixed) for name, method in methods.items()}
    different = list(dict.fromkeys(parts.values()))
    keys, columns = joint_keys([each.keys for each in different], network, shape)
    kept = features_dir(dataset.cache_dir, training.device.type, config.threads)
    learner = first.learner.make(network=network, training=training, keys=keys, features_dir=kept, seed=seed)
    _check_learner(learner, first.learner, first, training)
    agents = {}
    for each, own in zip(different, columns, strict=True):
        agents[each] = Agent(
            learner,
            _memory(each, dataset.n_classes, training.device, seed),
            rekeying=each.rekey,
            consolidation=each.consolidate,
            both=each.both,
            calibrate_every=each.calibrate_every,
            keys=own,
            rule=each.mixture,
            meter=training.meter,
        )
    return {name: agents[each] for name, each in parts.items()}


def build_baseline(
    config: AgentConfig,
    method: MethodSettings,
    dataset: Dataset,
    *,
    seed: int,
    further: Sequence[LabelledInputs] = (),
) -> Agent:
    """The agent of a baseline at initialization: it has the baseline as its learner, and no memory.

    Args:
        config: settings of data and machine.
        method: has a baseline.
        dataset: gives the number of classes, normalization and augmentation.
        seed: seeds the initial weights, which are those of `build_agents`, and the baseline.
        further: labelled images that the baseline learns beside each chunk, by its position.

    Raises:
        InvalidSetting: settings contradict each other, or this machine does not allow them.
    """
    member = method.baseline
    assert member is not None, "a method without a baseline"
    shape, network = tuple(dataset.train.inputs.shape[1:]), _network(method, dataset, seed)
    training = _training(config, method, member, network, dataset, unreported)
    check_takes(network, shape, dataset.n_classes)
    keys = KeyPlaces(pooled=True)  # nothing reads them
    kept = features_dir(dataset.cache_dir, training.device.type, config.threads)
    baseline = member.make()
    if lacks := missing_members(baseline, Baseline):
        raise InvalidSetting(
            f"expected {member} to offer all that scenarios.baselines.protocol.Baseline names, got one without "
            f"{', '.join(lacks)}"
        )
    learner = baseline.learner(Given(network, training, keys, dataset.n_classes, seed, further, kept))
    _check_learner(learner, member, method, training)
    return Agent(learner, CacheMemory(dataset.n_classes, device=training.device), meter=training.meter)


def _network(method: AgentSettings, dataset: Dataset, seed: int) -> Network:
    """A network with its initial weights."""
    shape, generator = tuple(dataset.train.inputs.shape[1:]), named_generator(seed, "weights")
    network: Network = method.network.make(n_classes=dataset.n_classes, input_shape=shape, generator=generator)
    return network


def _check_learner(learner: object, member: Member, method: AgentSettings, training: Training) -> None:
    """Raise InvalidSetting for a learner that is none, or cannot prepare its network."""
    _check(learner, member, Learner)
    if training.recipe.prepare and not isinstance(learner, Preparable):
        raise InvalidSetting(
            f"expected a learner that can prepare its network (agent.learners.protocol.Preparable) for --recipe "
            f"{method.recipe}, got {member}; another recipe, or another learner"
        )


def _training(
    config: AgentConfig, method: AgentSettings, member: Member, network: Network, dataset: Dataset, progress: Progress
) -> Training:
    """The recipe for a learner or a baseline, bound to the data set and the device; raises as `build_agents` does."""
    recipe, shape, device = method.recipe.make(), tuple(dataset.train.inputs.shape[1:]), choose_device(config.device)
    if recipe.views and len(shape) != 3:
        raise InvalidSetting(
            f"expected images for the views of --recipe {method.recipe}, got inputs of shape {shape}; views=plain"
        )
    augments = getattr(member.factory, "augments", True)
    fixed = isinstance(recipe.augmentation, Augmentation) and recipe.augmentation != Augmentation()
    if not augments and (config.shift or config.mirror or fixed):
        what = f"augmentation in --recipe {method.recipe}" if fixed else "--shift and --mirror"
        raise InvalidSetting(
            f"expected no {what} with {member.family.option} {member.name}, which does not augment images; leave it out"
        )
    return Training(
        recipe,
        normalization=network.normalization or dataset.normalization,
        augmentation=choose_augmentation(config, recipe, dataset) if augments else Augmentation(),
        device=device,
        compiled=device.type == "cuda" if config.compile is None else config.compile,
        progress=progress,
    )


class _AgentParts(NamedTuple):
    """What makes an agent beside its learner."""

    memory: Member
    transform: Member
    capacity: Capacity | None
    eviction: Member
    keys: KeyPlaces
    mixture: Rule
    rekey: Rekeying
    consolidate: Consolidation
    both: bool
    calibrate_every: int


def _agent_parts(method: AgentSettings, *, fixed: bool) -> _AgentParts:
    keys = KeyPlaces.parse(method.keys or (), pooled=bool(method.pool))
    stored = method.memory, method.transform, method.capacity, method.eviction
    rule: Rule = "fixed" if fixed else method.mixture
    if not isinstance(method, MethodSettings):
        return _AgentParts(*stored, keys, rule, Rekeying(), Consolidation(), False, 0)
    when = method.rekey, method.consolidate, method.both, method.calibrate_every or 0
    return _AgentParts(*stored, keys, rule, *when)


def _memory(parts: _AgentParts, n_classes: int, device: torch.device, seed: int) -> Memory[Any]:
    """An empty memory, with the capacity and the transform of keys that the agent has."""
    memory: Memory[Any] = parts.memory.make(n_classes=n_classes, device=device, seed=seed)
    _check(memory, parts.memory, Memory)
    if parts.capacity is not None:
        eviction = parts.eviction.make(seed=seed)
        _check(eviction, parts.eviction, Eviction)
        memory = bounded(memory, parts.capacity, eviction)
    transform = parts.transform.make(seed=seed)
    _check(transform, parts.transform, KeyTransform)
    return transformed(memory, transform)


def _check(component: object, member: Member, contract: type) -> None:
    """Raise InvalidSetting for a component that lacks members of its contract."""
    if lacks := missing_members(component, contract):
        raise InvalidSetting(
            f"expected {member} to offer all that agent.{contract.__name__} names, got one without {', '.join(lacks)}"
        )
