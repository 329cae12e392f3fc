"""What parts of a method were tuned on: the provenance that `lifetime tune` gives with its best settings."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError

from agent.errors import InvalidSetting
from scenarios.config.specs import shown

BEST = "best.toml"
"""The file of the best settings of a run of `lifetime tune`."""

NONE = "none"

Plain = str | int | float | bool | None


class Tuned(BaseModel):
    """The parts of a method that were tuned, their values, and on what they were tuned.

    As text it is JSON on one line. It is read from that text, from a table, or from the folder or `best.toml` of a run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    run: str
    """Digest of the identity of the run of `lifetime tune`."""
    trials: int = Field(ge=1)
    maximized: str
    first_seed: int = Field(ge=0)
    seeds: int = Field(ge=1)
    dataset: str
    scenario: str
    data: str | None = None
    """Fingerprint of the files of the data set."""
    own_test: bool
    """Whether the data set has a test part of its own; else the seed draws it from all images."""
    train_images: int = Field(ge=1)
    """Training images of each seed, those held out included."""
    held_out: int = Field(ge=1)
    """The training images that took the place of the test set."""
    split: dict[str, int] = {}
    """The settings of the split that were given, such as the seed of the data."""
    parts: dict[str, Plain] = Field(min_length=1)
    """The tuned parts, as config.json spells them."""
    beside: dict[str, Plain] = {}
    """The other parts of the method."""

    @classmethod
    def read(cls, value: Any) -> "Tuned | None":
        """The provenance of a text, a table or a path; None for `none`.

        Raises:
            InvalidSetting: it cannot be read.
        """
        if value is None or isinstance(value, Tuned):
            return value
        if isinstance(value, Path) or (isinstance(value, str) and not value.lstrip().startswith("{")):
            if str(value).strip() == NONE:
                return None
            return cls._of_file(Path(value))
        try:
            return cls.model_validate(json.loads(value) if isinstance(value, str) else value)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "a table"
            reason = f"{where}: {first['msg']}"
        except ValueError as error:
            reason = str(error)
        raise InvalidSetting(f"expected what settings were tuned on, as `lifetime tune` writes it, got {reason}")

    @classmethod
    def _of_file(cls, path: Path) -> "Tuned":
        from scenarios.config.presets import from_toml  # which imports the settings, and so this module

        path = path.expanduser()
        file = path / BEST if path.is_dir() else path
        found = from_toml(file).get("tuned") if file.exists() else None
        tuned = cls.read(found)
        if tuned is None:
            raise InvalidSetting(
                f"expected the folder of a finished run of `lifetime tune`, or its {BEST}, got {shown(str(path))}"
            )
        return tuned

    def __str__(self) -> str:
        return json.dumps(self.model_dump(exclude_defaults=True), sort_keys=True)

    def __hash__(self) -> int:
        return hash(str(self))

    @property
    def on_seeds(self) -> range:
        """The seeds that it was tuned on."""
        return range(self.first_seed, self.first_seed + self.seeds)

    def others(self, found: Mapping[str, Any]) -> list[str]:
        """The names of settings that differ from what the method had beside the tuned parts."""
        return [name for name, value in self.beside.items() if name in found and found[name] != value]

    def check(self, found: Mapping[str, Any]) -> None:
        """Check that settings are as they were tuned; those that are not among them count as such.

        Raises:
            ValueError: a tuned part was changed.
        """
        for name, value in self.parts.items():
            if name in found and found[name] != value:
                raise ValueError(
                    f"expected {name} as it was tuned, {value}, got {found[name]}; leave it out, or say tuned = none"
                )


TunedText = Annotated[
    Tuned | None,
    BeforeValidator(Tuned.read),
    PlainSerializer(lambda tuned: None if tuned is None else str(tuned), return_type=str | None),
]
"""What settings were tuned on, as JSON on one line."""


def with_tuned_parts(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Settings with the tuned parts that they leave out, out of those with these names.

    Raises:
        InvalidSetting: what they were tuned on cannot be read.
    """
    tuned = Tuned.read(values.get("tuned"))
    if tuned is None:
        return dict(values)
    return {**{name: tuned.parts[name] for name in names if name in tuned.parts}, **values, "tuned": tuned}


def without_tuned_parts(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without what they were tuned on and the parts that were tuned."""
    tuned = Tuned.read(values.get("tuned"))
    return {name: value for name, value in values.items() if tuned is None or name not in {"tuned", *tuned.parts}}
