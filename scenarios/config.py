"""Every setting of an experiment, documented and checked, and the presets."""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from agent.errors import InvalidSetting

DATA, STREAM, LEARNER, MEMORY, MEASURING = "Data", "Stream and protocol", "Learner", "Memory", "Measuring"


def _setting(default: Any, description: str, panel: str, **limits: Any) -> Any:
    return Field(default, description=description, json_schema_extra={"panel": panel}, **limits)


def _listed(value: Any) -> Any:
    """A list, also from `10,20,40` as typed, or from a single number."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return [value] if isinstance(value, int | float) else value


Percent = Annotated[float, Field(ge=0, le=100)]
Percents = Annotated[tuple[Percent, ...], BeforeValidator(_listed)]


class CurveConfig(BaseModel):
    """Settings of the relative-value curve; the defaults are those of the preset `quick`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    dataset: str = _setting(
        "textures", "textures, digits, cifar10, cifar100, or folder:PATH (train/<class>/, test/<class>/)", DATA
    )
    train_size: int | None = _setting(None, "training images, drawn by the seed (default: all)", DATA, ge=1, le=10**9)
    validation_size: int | None = _setting(
        None, "validation images (default: what suits the data set)", DATA, ge=1, le=10**9
    )
    test_size: int | None = _setting(None, "test images (default: all)", DATA, ge=1, le=10**9)
    shift: int | None = _setting(
        None, "augmentation: shifts of up to so many pixels (default: by data set)", DATA, ge=0
    )
    mirror: bool | None = _setting(None, "augmentation: mirror left and right (default: by data set)", DATA)

    protocol: Literal["online", "original"] = _setting(
        "online",
        "online: one pass, every k on one shared trunk; original: every k-learner trained to convergence",
        STREAM,
    )
    k: Percents = _setting(
        (10, 20, 30, 40, 50, 60, 70, 80, 90),
        "percent of the stream to learn from, as in 10,20,40",
        STREAM,
        min_length=1,
    )
    chunks: int = _setting(20, "chunks in the stream; each k must be a whole number of them", STREAM, ge=1)
    seeds: int = _setting(
        5, "lifetimes for each k, each with its own split, order and initial weights", STREAM, ge=1, le=10**6
    )
    first_seed: int = _setting(0, "seeds count up from here", STREAM, ge=0)
    warm: bool = _setting(False, "also report y trained on from the k%-learner (original protocol)", STREAM)

    depth: int = _setting(8, "ResNet depth, 6n + 2", LEARNER, ge=8, le=1202)
    width: int = _setting(8, "channels of the ResNet's first stage", LEARNER, ge=1, le=10**5)
    epochs: float = _setting(6, "passes over the samples learned from", LEARNER, gt=0, le=1e5)
    batch: int = _setting(64, "samples in a gradient step", LEARNER, ge=1)
    lr: float = _setting(0.05, "learning rate (at the schedule's peak)", LEARNER, gt=0)
    schedule: Literal["constant", "one-cycle", "steps"] | None = _setting(
        None, "of the learning rate, over one training (default: constant if online, one-cycle if original)", LEARNER
    )
    momentum: float = _setting(0.9, "Nesterov momentum", LEARNER, ge=0, lt=1)
    weight_decay: float = _setting(1e-4, "L2 penalty", LEARNER, ge=0)
    rehearsal: float = _setting(0.5, "online: share of a batch drawn from chunks learned before", LEARNER, ge=0, lt=1)
    ema_decay: float = _setting(0.99, "online: decay of the averaged weights that predict", LEARNER, ge=0, lt=1)
    device: Literal["auto", "cpu", "cuda", "mps"] = _setting("auto", "where tensors live", LEARNER)

    keys: str = _setting(
        "stage2.block0", "places read as keys: cache3, features, or stage1.block0,stage2.block0.relu", MEMORY
    )
    pool: bool = _setting(False, "average keys over space", MEMORY)

    evaluate_every: int = _setting(5, "chunks between evaluations on the test set; 0: only at the end", MEASURING, ge=0)
    confidence: float = _setting(0.95, "level of all intervals", MEASURING, gt=0, lt=1)

    @property
    def lr_schedule(self) -> str:
        """The schedule as chosen, or as suits the protocol."""
        return self.schedule or ("constant" if self.protocol == "online" else "one-cycle")

    @model_validator(mode="after")
    def _agree(self) -> "CurveConfig":
        parts = [k * self.chunks / 100 for k in self.k]
        for k, part in zip(self.k, parts, strict=True):
            if abs(part - round(part)) > 1e-3:
                below, above = (100 * (math.floor(part) + i) / self.chunks for i in (0, 1))
                raise ValueError(
                    f"expected each k to be a whole number of the {self.chunks} chunks, got {k:g}; the nearest are "
                    f"{below:g} and {above:g}: change --k or --chunks"
                )
        if len({round(part) for part in parts}) < len(parts):
            raise ValueError("expected each k once, got one twice; change --k")
        if self.protocol == "online" and self.schedule not in (None, "constant"):
            raise ValueError(f"expected --schedule constant with --protocol online, got {self.schedule}")
        if self.warm and self.protocol == "online":
            raise ValueError(
                "expected --protocol original with --warm: an online learner's y always continues its k%-learner"
            )
        if (self.depth - 2) % 6:
            raise ValueError(f"expected --depth 6n + 2 (8, 14, 20, 26, 32, ...), got {self.depth}")
        return self


@dataclass(frozen=True)
class Preset:
    """Settings that belong together, and what they are for."""

    description: str
    settings: dict[str, Any]


PRESETS: dict[str, Preset] = {
    "quick": Preset("textures, ResNet-8, online; about a minute on two cores", {}),
    "cifar10-small": Preset(
        "10,000 images of CIFAR-10, ResNet-8, original protocol; 4 to 8 minutes a seed on two cores",
        {
            "dataset": "cifar10",
            "train_size": 10_000,
            "validation_size": 2_000,
            "protocol": "original",
            "k": (20, 40, 60, 80),
            "chunks": 20,
            "depth": 8,
            "width": 16,
            "epochs": 12,
            "batch": 125,
            "lr": 0.1,
            "schedule": "one-cycle",
            "momentum": 0.9,
            "weight_decay": 1e-4,
            # Those places of Cache3 that a last stage of a single block has.
            "keys": "stage2.block0.relu,stage2.block0",
            "pool": False,
            "evaluate_every": 0,
        },
    ),
    "cifar10-paper": Preset(
        "all of CIFAR-10, ResNet-32, 180 epochs, Cache3 keys, original protocol; for a GPU",
        {
            "dataset": "cifar10",
            "train_size": 45_000,
            "validation_size": 5_000,
            "protocol": "original",
            "k": (10, 20, 30, 40, 50, 60, 70, 80, 90),
            "chunks": 100,
            "depth": 32,
            "width": 16,
            "epochs": 180,
            "batch": 125,
            "lr": 0.09,
            "schedule": "steps",
            "momentum": 0.9,
            "weight_decay": 1e-4,
            "keys": "cache3",
            "pool": False,
            "evaluate_every": 0,
        },
    ),
}


def resolve(preset: str, *overrides: dict[str, Any]) -> CurveConfig:
    """The settings of a preset with others laid over it, the last winning.

    Raises:
        InvalidSetting: an unknown preset or setting, or a value outside its range; in one line.
    """
    if preset not in PRESETS:
        raise InvalidSetting(f"expected a preset out of {', '.join(PRESETS)}, got {preset}")
    settings = dict(PRESETS[preset].settings)
    for override in overrides:
        settings |= override
    try:
        return CurveConfig.model_validate(settings)
    except ValidationError as error:
        raise InvalidSetting(_one_line(error)) from None


def from_toml(path: Path) -> dict[str, Any]:
    """Settings from a TOML file of `name = value` lines.

    Raises:
        InvalidSetting: a file that is missing or not TOML.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return {name.replace("-", "_"): value for name, value in tomllib.loads(path.read_text()).items()}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidSetting(f"expected a TOML file at {path}, got: {reason}") from None


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    message = str(first["msg"]).removeprefix("Value error, ")
    if not first["loc"]:
        return message
    name = str(first["loc"][0])
    got = first["input"]
    if first["type"] == "extra_forbidden":
        return f"expected settings out of {', '.join(CurveConfig.model_fields)}, got {name}"
    wanted = message.replace("Input should be", "to be").replace("Input should have", "to have")
    return (
        f"expected --{name.replace('_', '-')} {wanted}, got {got if not isinstance(got, float) else format(got, 'g')}"
    )
