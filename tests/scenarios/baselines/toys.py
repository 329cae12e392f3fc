"""Baselines on toy images."""

from typing import Any

from agent.data.augmentation import Augmentation
from agent.learners import Learner
from agent.networks.keys import KeyPlaces
from scenarios.baselines.protocol import Given
from scenarios.baselines.registry import BASELINES
from tests.agent.toys import N_CLASSES, toy_network, toy_training

TOYS: dict[str, dict[str, Any]] = {
    "naive": {},
    "replay": {"mem": 100},
    "gdumb": {"mem": 100, "epochs": 8},
    "er-ace": {"mem": 20, "passes": 3},
    "er-aml": {"mem": 20},
    "der++": {"mem": 100, "lr": 0.01, "passes": 3},
    "mir": {"mem": 20, "subsample": 12},
    "lwf": {},
    "ewc": {"passes": 3},
    "cumulative": {"epochs": 3},
    "slda": {},
}
"""Settings that suit toy images, by name: those of the baseline, and of `toy_training`."""


def made(name: str, seed: int = 0, *, further: Any = (), n_classes: int = N_CLASSES, **changed: Any) -> Learner:
    """A learner of a baseline; settings that are not its own are those of `toy_training` and `Given`."""
    factory, changed = BASELINES[name], {**TOYS[name], **changed}
    own = {key: changed.pop(key) for key in list(changed) if key in factory.__dataclass_fields__}
    if not factory.augments:
        changed["augmentation"] = Augmentation()
    network = changed.pop("network", None) or toy_network(seed, n_classes=n_classes)
    given = Given(network, toy_training(**changed), KeyPlaces(), n_classes, seed, further)
    return factory(**own).learner(given)
