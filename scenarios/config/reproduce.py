"""The settings of a reproduction: those that are recorded, and the few that may be changed."""

from typing import Annotated, Any, ClassVar

from agent.errors import InvalidSetting
from scenarios.config.families import DATASET
from scenarios.config.fields import DATA, STREAM, Of, setting
from scenarios.config.members import Member
from scenarios.config.presets import NO_PRESETS, PRESETS, validate
from scenarios.config.reproductions import Reproduction, find_reproduction
from scenarios.config.settings import CompareConfig

CHANGEABLE = (
    "short",
    "dataset",
    "seeds",
    "first_seed",
    "confidence",
    "device",
    "threads",
    "compile",
    "max_megapixels",
    "checkpoint_every",
)
"""The settings that a reproduction does not record, or of which others may take the place of the recorded ones."""


class ReproduceConfig(CompareConfig):
    """Settings of a published setting that is lived: those of a comparison, and which one it is."""

    unused: ClassVar[frozenset[str]] = frozenset(CompareConfig.model_fields) - set(CHANGEABLE) | {
        "reproduction",
        "preset",
        "config",
    }
    """What is recorded; `reproduction` is an argument of the command itself."""

    reproduction: str = setting(..., "its name; `lifetime list reproductions` shows them", STREAM, "free")
    short: bool = setting(
        False,
        "live a shortened form, which takes minutes: the report says what is shortened, and does not compare it with "
        "the published figures",
        STREAM,
        "free",
    )
    dataset: Annotated[Member, Of(DATASET)] = setting(
        ...,
        "where the images are, if not in the lossless data set of the source: folder:PATH, npz:PATH or parquet:PATH; "
        "the report says so",
        DATA,
    )
    seeds: int = setting(
        ...,
        "lifetimes for each method, each with its own split, order and initial weights (default: as many as the source "
        "has runs)",
        STREAM,
        "free",
        ge=1,
        le=10**6,
    )

    @property
    def recorded(self) -> Reproduction:
        """What is recorded under the name.

        Raises:
            InvalidSetting: there is none of that name.
        """
        return find_reproduction(self.reproduction)


PRESETS[ReproduceConfig] = NO_PRESETS
_ELSEWHERE = ("folder", "npz", "parquet")
"""Data sets that may hold the images of another one."""


def read_reproduce(preset: str, *overrides: dict[str, Any]) -> ReproduceConfig:
    """The settings of a reproduction: the recorded ones, with those in their place that may be changed.

    Args:
        preset: only quick; a reproduction records all settings.
        overrides: by name, of which the last counts; one of them names the `reproduction`.

    Raises:
        InvalidSetting: an unknown reproduction, a setting that cannot be changed, or an invalid value; in one line.
    """
    given = {name: value for override in overrides for name, value in override.items()}
    name = given.pop("reproduction", None)
    found = find_reproduction(name)
    others = [f"--{each.replace('_', '-')}" for each in given if each not in CHANGEABLE]
    others += [f"--preset {preset}"] if preset != "quick" else []
    if others:
        raise InvalidSetting(
            f"expected the settings that {name} records, and beside them only "
            f"{', '.join('--' + each.replace('_', '-') for each in CHANGEABLE)}, got {', '.join(others)}; "
            "`lifetime compare` takes any settings"
        )
    chosen = validate(ReproduceConfig, {**found.settings, **given, "reproduction": name})
    usual = found.settings["dataset"]
    if str(chosen.dataset) != usual and chosen.dataset.name not in _ELSEWHERE:
        raise InvalidSetting(
            f"expected the images of {usual} for {name}, as --dataset folder:PATH, npz:PATH or parquet:PATH if they "
            f"are elsewhere, got {chosen.dataset}"
        )
    if not chosen.short:
        return chosen
    return validate(ReproduceConfig, {**found.settings, **found.short, **given, "reproduction": name})
