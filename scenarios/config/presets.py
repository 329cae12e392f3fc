"""Presets of settings, and how the settings of a run are resolved from several sources."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from agent.errors import InvalidSetting
from scenarios.config.fields import one_line
from scenarios.config.method import Settings, overridden
from scenarios.config.settings import (
    BesideCurvesConfig,
    CompareConfig,
    CompareRunsConfig,
    CurveConfig,
    EvaluateConfig,
    FrontierConfig,
    JoinCurvesConfig,
    SimulateConfig,
    TrainConfig,
    TreeConfig,
)

Config = TypeVar("Config", bound=Settings)

FORMER_OPTIONS = {
    "protocol": "--learner online, cooldown or refit (which was called original)",
    "depth": "--network resnet:depth=...",
    "width": "--network resnet:width=...",
    "epochs": "--learner online:epochs=..., cooldown:epochs=... or refit:epochs=...",
    "batch": "--recipe sgd:batch=...",
    "lr": "--recipe sgd:lr=...",
    "momentum": "--recipe sgd:momentum=...",
    "weight_decay": "--recipe sgd:weight_decay=...",
    "schedule": "--learner refit:schedule=...",
    "rehearsal": "--learner online:rehearsal=... or cooldown:rehearsal=...",
    "ema_decay": "--learner online:ema_decay=...",
    "cooldown": "--learner cooldown:share=...",
}
"""The options that replace each former one."""


@dataclass(frozen=True)
class Preset:
    """Settings that belong together, with a description."""

    description: str
    settings: dict[str, Any]


SMALL: dict[str, Any] = {
    "dataset": "cifar10",
    "train_size": 10_000,
    "validation_size": 2_000,
    "chunks": 20,
    "network": "resnet:depth=8,width=16",
    # The places of Cache3 that exist in a last stage of one block.
    "keys": "stage2.block0.relu+stage2.block0",
    "evaluate_every": 0,
    "seeds": 5,
}
"""A part of CIFAR-10 that two cores can learn in minutes."""

WHOLE: dict[str, Any] = {
    "dataset": "cifar10",
    "train_size": 45_000,
    "validation_size": 5_000,
    "k": (10, 20, 30, 40, 50, 60, 70, 80, 90),
    "chunks": 100,
    "network": "resnet:depth=32,width=16",
    "keys": "cache3",
    "evaluate_every": 0,
}
"""All of CIFAR-10, with the network and the keys of the paper."""

CURVE_PRESETS: dict[str, Preset] = {
    "quick": Preset("textures, ResNet-8 with cool-downs; about a minute on two cores", {}),
    "cifar10-cooldown": Preset(
        "10,000 images of CIFAR-10, ResNet-8 with cool-downs; 4 to 8 minutes a seed on two cores",
        {**SMALL, "recipe": "sgd:lr=0.05,batch=125", "learner": "cooldown:share=0.1,epochs=12"},
    ),
    "cifar10-small": Preset(
        "the same, but trained from scratch, four k's; 4 to 8 minutes a seed on two cores",
        {
            **SMALL,
            "k": (20, 40, 60, 80),
            "recipe": "sgd:lr=0.1,batch=125",
            "learner": "refit:epochs=12,schedule=one-cycle",
        },
    ),
    "cifar10-features": Preset(
        "10,000 images of CIFAR-10, a head on frozen features of EfficientNet-lite0 (extra: pretrained); 4 minutes for "
        "the features of a seed, which are kept, and then one on two cores",
        {
            "dataset": "cifar10",
            "train_size": 10_000,
            "validation_size": 2_000,
            "chunks": 20,
            "network": "efficientnet-lite0:side=128",
            "recipe": "sgd:lr=0.05",
            "learner": "head:epochs=12",
            "evaluate_every": 0,
            "seeds": 5,
        },
    ),
    "cifar10-full": Preset(
        "all of CIFAR-10, the network and the recipe of airbench with cool-downs; 10 to 40 minutes a seed on two cores "
        "that multiply in bfloat16",
        {
            "dataset": "cifar10",
            "train_size": 45_000,
            "validation_size": 5_000,
            "chunks": 20,
            "network": "airbench:size=94",
            "recipe": "muon:lr=0.16,batch=500,views=mirror",
            "learner": "cooldown:share=0.15,epochs=8,timescale=150",
            "mixture": "calibrated",
            "with_mixtures": ("author",),
            "checkpoint_every": 4,
            "seeds": 3,
        },
    ),
    "cifar10-gpu": Preset(
        "all of CIFAR-10, ResNet-32, 60 epochs, Cache3 keys, with cool-downs; for a GPU, best with --workers",
        {**WHOLE, "recipe": "sgd:lr=0.09,batch=125", "learner": "cooldown:share=0.2,epochs=60", "seeds": 3},
    ),
    "cifar10-paper": Preset(
        "all of CIFAR-10, ResNet-32, 180 epochs from scratch, Cache3 keys; for a GPU",
        {**WHOLE, "recipe": "sgd:lr=0.09,batch=125", "learner": "refit:epochs=180,schedule=steps", "seeds": 5},
    ),
}

LIFETIME_PRESETS: dict[str, Preset] = {
    "quick": Preset("textures, ResNet-8; ten seconds a lifetime on two cores", {}),
    "cifar10": Preset(
        "10,000 images of CIFAR-10 in 50 chunks, ResNet-8; half a minute a lifetime on two cores",
        {
            "dataset": "cifar10",
            "train_size": 10_000,
            "validation_size": 1_000,
            "test_size": 2_000,
            "chunks": 50,
            "network": "resnet:depth=8,width=16",
            "learner": "online:epochs=6,ema_decay=0.995",
            "evaluate_every": 10,
            "calibrate_every": 10,
        },
    ),
}

TREE_PRESETS: dict[str, Preset] = {
    "quick": Preset("textures, 8 chunks, ResNet-8; about two minutes a tree on two cores", {}),
    "cifar10": Preset(
        "1,800 images of CIFAR-10, 6 chunks, ResNet-8; about two minutes a tree on two cores",
        {
            "dataset": "cifar10",
            "train_size": 1_800,
            "validation_size": 1_000,
            "chunks": 6,
            "network": "resnet:depth=8,width=16",
            "learner": "online:epochs=4",
            "recipe": "sgd:batch=16",
        },
    ),
}

TRAIN_PRESETS: dict[str, Preset] = {
    name: Preset(preset.description.partition(";")[0], preset.settings) for name, preset in TREE_PRESETS.items()
}
"""The settings of trees, without the times, which depend on the method."""

NO_PRESETS: dict[str, Preset] = {"quick": Preset("the defaults", {})}

PRESETS: dict[type[Settings], dict[str, Preset]] = {
    CurveConfig: CURVE_PRESETS,
    SimulateConfig: LIFETIME_PRESETS,
    CompareConfig: LIFETIME_PRESETS,
    TreeConfig: TREE_PRESETS,
    TrainConfig: TRAIN_PRESETS,
    EvaluateConfig: NO_PRESETS,
    CompareRunsConfig: NO_PRESETS,
    JoinCurvesConfig: NO_PRESETS,
    BesideCurvesConfig: NO_PRESETS,
    FrontierConfig: NO_PRESETS,
}
"""The presets of each experiment."""


def resolve(kind: type[Config], preset: str, *overrides: dict[str, Any]) -> Config:
    """The settings of a preset with overrides, of which the last counts.

    Raises:
        InvalidSetting: an unknown preset or setting, or an invalid value; in one line.
    """
    presets = PRESETS[kind]
    if preset not in presets:
        raise InvalidSetting(f"expected a preset out of {', '.join(presets)}, got {preset}")
    settings = dict(presets[preset].settings)
    for override in overrides:
        for one, other in (("chunks", "chunk_size"), ("chunk_size", "chunks")):
            if one in override and other not in override:
                settings.pop(other, None)  # each divides the stream into chunks: the last override counts
        settings = overridden(kind, settings, override)
    return validate(kind, settings)


def validate(kind: type[Config], settings: Any) -> Config:
    """A configuration with these settings, a dictionary by name.

    Raises:
        InvalidSetting: something else, an unknown setting, or an invalid value; in one line.
    """
    if not isinstance(settings, dict):
        raise InvalidSetting(f"expected settings by name, got {settings!r}")
    try:
        return kind.model_validate(settings)
    except ValidationError as error:
        raise InvalidSetting(one_line(error, kind, FORMER_OPTIONS)) from None


def from_toml(path: Path) -> dict[str, Any]:
    """Settings from a TOML file of `name = value` lines, with or without a byte-order mark.

    Raises:
        InvalidSetting: the file is missing or not TOML.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return {
            name.replace("-", "_"): value for name, value in tomllib.loads(path.read_text(encoding="utf-8-sig")).items()
        }
    except (OSError, UnicodeDecodeError, RecursionError, tomllib.TOMLDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidSetting(f"expected a TOML file at {path}, got: {reason}") from None
