"""Small things that the tests of the agent are made of: tiny networks, easy images, and ways to compare states."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from agent.accounting.work import Work
from agent.agent import Agent
from agent.data.augmentation import Augmentation, Normalization
from agent.data.chunk import Chunk, LabelledInputs
from agent.learners import LEARNERS as KINDS
from agent.learners import CooldownLearner, HeadLearner, Learner, OnlineLearner, RefitLearner
from agent.learners.recipe import muon, sgd
from agent.learners.replay import AsymmetricReplayLearner, ReplayLearner
from agent.learners.training import Training
from agent.memory import CacheMemory, Memory, RidgeMemory
from agent.networks import MLP, ConvNet
from agent.networks.keys import KeyPlaces
from agent.networks.resnet import ResNet
from agent.policies import Action, Observation, Policy
from tests.agent.memory.nearest import NearestMemory
from tests.agent.networks.frozen import FrozenNet
from tests.agent.networks.whitening import WhitenedNet, whitening

N_CLASSES = 3
NORMALIZATION = Normalization((0.4, 0.5, 0.6), (0.2, 0.3, 0.25))


def toy_network(seed: int = 0, *, depth: int = 8, width: int = 2, n_classes: int = N_CLASSES) -> ResNet:
    return ResNet(depth, width, n_classes=n_classes, generator=torch.Generator().manual_seed(seed))


def toy_images(n: int, seed: int = 0, *, size: int = 8) -> LabelledInputs:
    """Noise in which the colour of the class is a little brighter: learnt in a few steps, but not at first sight."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(N_CLASSES, (n,), generator=generator)
    images = torch.randint(160, (n, 3, size, size), generator=generator)
    images[torch.arange(n), labels] += 90
    return LabelledInputs(images.to(torch.uint8), labels)


def toy_chunk(n: int, seed: int = 0, *, step: int = 0, size: int = 8) -> Chunk:
    data = toy_images(n, seed, size=size)
    return Chunk(step, torch.arange(n), data.inputs, data.labels)


def toy_stream(sizes: list[int], seed: int = 100) -> list[Chunk]:
    return [toy_chunk(n, seed + step, step=step) for step, n in enumerate(sizes)]


def toy_training(**changed: Any) -> Training:
    """A recipe of SGD at work; what is changed belongs to either."""
    of_recipe = {name: changed.pop(name) for name in ("lr", "momentum", "weight_decay", "batch") if name in changed}
    recipe = changed.pop("recipe", None) or sgd(**{"batch": 8} | of_recipe)
    settings: dict[str, Any] = {
        "recipe": recipe,
        "normalization": NORMALIZATION,
        "augmentation": recipe.augmentation_on(Augmentation(shift=1, mirror=True)),
    }
    return Training(**settings | changed)


def online(seed: int = 0, *, network: ResNet | None = None, epochs: float = 2, **changed: Any) -> OnlineLearner:
    own = {
        name: changed.pop(name)
        for name in ("rehearsal", "keeps", "ema_decay", "timescale", "stored")
        if name in changed
    }
    network = network or toy_network(seed)
    return OnlineLearner(
        network, toy_training(**changed), KeyPlaces(), epochs=epochs, seed=seed, **{"ema_decay": 0.995, **own}
    )


def refit(
    seed: int = 0, *, network: ResNet | None = None, epochs: float = 2, warm: bool = False, **changed: Any
) -> RefitLearner:
    training = toy_training(**changed)
    return RefitLearner(network or toy_network(seed), training, KeyPlaces(), epochs=epochs, warm=warm, seed=seed)


def refit_warm(seed: int = 0, **changed: Any) -> RefitLearner:
    return refit(seed, warm=True, **changed)


def cooldown(seed: int = 0, *, share: float = 0.5, **changed: Any) -> CooldownLearner:
    own = {name: changed.pop(name) for name in ("rehearsal", "epochs", "timescale", "stored") if name in changed}
    network = changed.pop("network", None) or toy_network(seed)
    return CooldownLearner(
        network, toy_training(**changed), KeyPlaces(), share=share, seed=seed, **{"epochs": 2, **own}
    )


def online_mlp(seed: int = 0) -> OnlineLearner:
    generator = torch.Generator().manual_seed(seed)
    return online(seed, network=MLP(8, n_classes=N_CLASSES, input_shape=(3, 8, 8), generator=generator))


def cooldown_prepared(seed: int = 0) -> CooldownLearner:
    """With parameters that never change once the first images have set them, and two optimizers."""
    network = WhitenedNet(n_classes=N_CLASSES, generator=torch.Generator().manual_seed(seed))
    training = replace(toy_training(), recipe=whitening())
    return CooldownLearner(network, training, KeyPlaces(("features", "input")), epochs=2, share=0.5, seed=seed)


def cooldown_muon(seed: int = 0) -> CooldownLearner:
    """With Muon, whose matrix products are billed, mirroring that alternates, a rate that falls, and two views."""
    network = ConvNet(2, 2, n_classes=N_CLASSES, generator=torch.Generator().manual_seed(seed))
    training = toy_training(recipe=muon(batch=8, views="mirror"))
    return CooldownLearner(network, training, KeyPlaces(), epochs=2, share=0.5, timescale=3.0, seed=seed)


def refit_muon(seed: int = 0) -> RefitLearner:
    """With Muon, and mirroring that alternates."""
    network = ConvNet(2, 2, n_classes=N_CLASSES, generator=torch.Generator().manual_seed(seed))
    return RefitLearner(network, toy_training(recipe=muon(batch=8)), KeyPlaces(), epochs=2, seed=seed)


def online_bounded(seed: int = 0, **changed: Any) -> OnlineLearner:
    """With fewer samples in store than were learned."""
    return online(seed, stored=7, **changed)


def cooldown_bounded(seed: int = 0) -> CooldownLearner:
    """The same, with mirroring that alternates."""
    network = ConvNet(2, 2, n_classes=N_CLASSES, generator=torch.Generator().manual_seed(seed))
    training = toy_training(recipe=muon(batch=8))
    return CooldownLearner(network, training, KeyPlaces(), epochs=2, share=0.5, stored=7, seed=seed)


def er(seed: int = 0, *, kind: type[ReplayLearner] = ReplayLearner, **changed: Any) -> ReplayLearner:
    """With a reservoir of fewer samples than were learned."""
    names = ("stored", "rehearsal", "passes", "apart", "sampling")
    own = {name: changed.pop(name) for name in names if name in changed}
    network = changed.pop("network", None) or toy_network(seed)
    return kind(network, toy_training(**changed), KeyPlaces(), seed=seed, **{"stored": 7, "passes": 2, **own})


def er_ace(seed: int = 0, **changed: Any) -> ReplayLearner:
    return er(seed, kind=AsymmetricReplayLearner, **{"apart": True, **changed})


def er_class_balanced(seed: int = 0, **changed: Any) -> ReplayLearner:
    return er(seed, sampling="class-balanced", **changed)


def er_recent(seed: int = 0, **changed: Any) -> ReplayLearner:
    """With batches of stored samples alone, out of all."""
    return er(seed, sampling="recent", rehearsal=1, stored=None, **changed)


def er_herding(seed: int = 0, **changed: Any) -> ReplayLearner:
    """With batches of stored samples alone, out of a reservoir and the chunk."""
    return er(seed, sampling="herding", rehearsal=1, **changed)


def head(seed: int = 0, **changed: Any) -> HeadLearner:
    """On features of random filters, which stay as they are."""
    network = FrozenNet(n_classes=N_CLASSES, generator=torch.Generator().manual_seed(seed))
    training = toy_training(augmentation=Augmentation())
    return HeadLearner(network, training, KeyPlaces(), epochs=2, seed=seed, **changed)


WHOLE = {name: kind for name, kind in KINDS.items() if kind is not HeadLearner}
"""Learners that train all of a network."""

ON_RESNETS: dict[str, Callable[..., Learner]] = {
    "online": online,
    "online-bounded": online_bounded,
    "cooldown": cooldown,
    "refit-cold": refit,
    "refit-warm": refit_warm,
    "er": er,
    "er-ace": er_ace,
    "er-class-balanced": er_class_balanced,
    "er-recent": er_recent,
    "er-herding": er_herding,
}
"""Every learner on a ResNet, by a function of the seed: adding one means adding a line."""

LEARNERS = {
    **ON_RESNETS,
    "online-mlp": online_mlp,
    "cooldown-prepared": cooldown_prepared,
    "cooldown-muon": cooldown_muon,
    "cooldown-bounded": cooldown_bounded,
    "refit-muon": refit_muon,
    "head": head,
}
"""With other networks and recipes."""


MEMORIES: dict[str, Callable[[int], Memory[Any]]] = {
    "cache": CacheMemory,
    "ridge": RidgeMemory,
    "nearest": NearestMemory,
}
"""Every memory, by a function of the number of classes: adding one means adding a line."""


def toy_agent(
    make_learner: Callable[..., Learner] = online, seed: int = 0, *, memory: str = "cache", **changed: Any
) -> Agent:
    return Agent(make_learner(seed), MEMORIES[memory](N_CLASSES), **changed)


def teach(learner: Learner, chunk: Chunk) -> Work:
    return learner.learn(chunk.inputs, chunk.labels)


class Alternate(Policy):
    """Memorizes every other chunk; remembers nothing but its own turn."""

    def __init__(self) -> None:
        self.turn = 0

    def decide(self, observation: Observation) -> Action:
        self.turn += 1
        return Action.LEARN if self.turn % 2 else Action.MEMORIZE


def same(a: Any, b: Any) -> bool:
    """Equal to the bit, through dictionaries, lists and tuples."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b
