"""The settings of a sweep: every combination of axes, each of which is a setting with several values."""

import difflib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from agent.errors import InvalidSetting
from scenarios.config.fields import STREAM, Limit, listed_choices, read_policies, setting
from scenarios.config.members import Member
from scenarios.config.method import SPECS, Method, Settings, listed_methods
from scenarios.config.presets import LIFETIME_PRESETS, PRESETS, resolve, validate
from scenarios.config.settings import CompareConfig, LifetimeConfig, settings_of
from scenarios.config.specs import spelled
from scenarios.config.tuned import NONE, Tuned

MOST_CELLS = 10_000
"""Most combinations of the axes of the world."""

NOT_SWEPT = frozenset({"want_width", "cost_weight"})
"""Settings of a comparison that a sweep does not have: `lifetime compare` reads its folder with them."""

MOST_METHODS = 1_000
"""Most methods in a world."""

OF_WORLD = settings_of(LifetimeConfig, "world")
OF_METHOD = frozenset(Method.model_fields) - {"label"}


class Cell(Settings):
    """One combination of the axes of the world, with all methods and seeds."""

    values: dict[str, str] = Field(default={}, description="the values of the axes, as texts")
    config: CompareConfig = Field(description="the settings of its lifetimes")


class SweepConfig(Settings):
    """Settings of a sweep.

    An axis over a part of `Method` multiplies the methods; an axis over a setting of the world multiplies the worlds in
    which they are lived.
    """

    preset: str = setting("quick", "where the settings start", STREAM, "idle")
    given: dict[str, Any] = setting({}, "settings that all lifetimes have, as plain values", STREAM, "idle")
    axes: dict[str, tuple[Any, ...]] = setting({}, "settings with their values, as plain values", STREAM, "idle")
    retry_failed: bool = Field(default=False, exclude=True, description="run failed tasks again")
    cells: tuple[Cell, ...] = Field(default=(), exclude=True, description="made from the other settings")

    @field_validator("given", mode="before")
    @classmethod
    def _plain_given(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        read = dict(value)  # what was tuned is read now, since its file may change
        if read.get("tuned") is not None:
            read["tuned"] = Tuned.read(read["tuned"])
        if read.get("methods"):
            read["methods"] = listed_methods(read["methods"])
        return _plain(read)

    @field_validator("axes", mode="before")
    @classmethod
    def _read_axes(cls, value: Any) -> Any:
        return read_axes(value)

    @model_validator(mode="after")
    def _combine(self) -> "SweepConfig":
        if not self.cells:
            object.__setattr__(self, "cells", tuple(_cells(self.preset, self.given, self.axes)))
            plain = self.first.model_dump(mode="json")
            numbers = {
                name: plain[name]
                for name, value in self.given.items()
                if isinstance(value, str) and isinstance(plain.get(name), int | float)
            }
            object.__setattr__(self, "given", {**self.given, **numbers})  # "3" and 3 are the same
        return self

    @property
    def first(self) -> CompareConfig:
        """The settings of the first cell; seeds, threads and device are those of all cells."""
        return self.cells[0].config

    @property
    def threads(self) -> int | None:
        """Threads of each task."""
        return self.first.threads

    @property
    def device(self) -> str:
        """The device of all tensors."""
        return self.first.device

    @property
    def seeds(self) -> range:
        """The seeds of every cell."""
        return range(self.first.first_seed, self.first.first_seed + self.first.seeds)

    @property
    def worlds(self) -> list[dict[str, Any]]:
        """The settings of each world, as plain values."""
        return [cell.config.model_dump(mode="json", include=set(OF_WORLD)) for cell in self.cells]

    def changed(self, change: Callable[[CompareConfig], CompareConfig]) -> "SweepConfig":
        """The sweep with changed settings of the machine in every cell."""
        cells = tuple(cell.model_copy(update={"config": change(cell.config)}) for cell in self.cells)
        machine = {name: getattr(cells[0].config, name) for name in ("device", "threads")}
        return self.model_copy(update={"cells": cells, "given": {**self.given, **machine}})


PRESETS[SweepConfig] = LIFETIME_PRESETS


def read_sweep(preset: str, *overrides: Mapping[str, Any]) -> SweepConfig:
    """The settings of a sweep.

    Args:
        preset: where the settings start; an override may name another one.
        overrides: settings of lifetimes, `axes` (see `read_axes`), `preset` and `retry_failed`; the last counts.

    Raises:
        InvalidSetting: an axis or a setting is unknown or invalid; in one line.
    """
    axes: dict[str, Any] = {}
    given: dict[str, Any] = {}
    for override in overrides:
        axes |= read_axes(override.get("axes", {}))
        given |= {name: value for name, value in override.items() if name != "axes"}
    if preset != "quick":
        given["preset"] = preset
    own: dict[str, Any] = {name: given.pop(name) for name in ("preset", "retry_failed") if name in given}
    return validate(SweepConfig, {**own, "axes": axes, "given": given})


_LIMITS = frozenset(name for name, field in CompareConfig.model_fields.items() if Limit in field.metadata)
"""Settings that are None for no limit, and shown as they are given: inf."""


def read_axes(value: Any) -> dict[str, tuple[Any, ...]]:
    """Axes from a table of lists, or from texts such as `memory = cache | ridge:limit=512`.

    Raises:
        InvalidSetting: an axis that is no setting of lifetimes, or one without values, or a value twice.
    """
    axes = {}
    for name, values in listed_choices(value).items():
        _check_axis(name)
        listed = tuple(_plain(Tuned.read(each) or NONE if name == "tuned" else each) for each in values)
        if not listed:
            raise InvalidSetting(f"expected values of the axis {name}, got an empty list")
        texts = [_text(each) for each in listed]
        if twice := [text for text in texts if texts.count(text) > 1]:
            raise InvalidSetting(f"expected each value of the axis {name} once, got {twice[0]} twice")
        axes[name] = listed
    return axes


def _check_axis(name: str) -> None:
    if name in OF_WORLD | OF_METHOD:
        return
    if name in ("seed", "seeds", "first_seed"):
        raise InvalidSetting(f"expected --seeds and --first-seed, or seeds and first_seed, got an axis {name}")
    if name in ("policies", "method", "methods"):
        raise InvalidSetting(f"expected an axis policy, or the setting {name} beside the axes, got an axis {name}")
    if name in CompareConfig.model_fields:
        raise InvalidSetting(
            f"expected an axis that decides what is lived, got {name}, which decides how; give it beside the axes"
        )
    known = sorted(OF_WORLD | OF_METHOD)
    close = difflib.get_close_matches(name, known, 1)
    meant = f" (did you mean {close[0]}?)" if close else ""
    raise InvalidSetting(f"expected axes out of {', '.join(known)}, got {name}{meant}")


def _cells(preset: str, given: Mapping[str, Any], axes: Mapping[str, Sequence[Any]]) -> Iterator[Cell]:
    of_world = {name: values for name, values in axes.items() if name in OF_WORLD}
    of_method = {name: values for name, values in axes.items() if name in OF_METHOD}
    if unused := given.keys() & NOT_SWEPT:
        raise InvalidSetting(
            f"expected no {min(unused)} for a sweep, got one; give it to `lifetime compare` with the sweep's folder"
        )
    for name in axes.keys() & given.keys():
        if name in OF_WORLD:
            raise InvalidSetting(f"expected {name} as a setting or as an axis, got both; leave out either")
    methods = _methods(given, of_method)
    shared = {name: value for name, value in given.items() if name not in ("methods", "policies")}
    n = math.prod(map(len, of_world.values()))
    if n > MOST_CELLS:
        raise InvalidSetting(f"expected at most {MOST_CELLS:,} combinations of settings of the world, got {n:,}")
    lived_in: list[dict[str, str]] = []
    for point in product(*of_world.values()):
        values = dict(zip(of_world, point, strict=True))
        lived = {"methods": methods} if methods else {}
        try:
            config = resolve(CompareConfig, preset, dict(shared), {**values, **lived})
        except InvalidSetting as error:
            raise InvalidSetting(f"{error}{at(values)}") from None
        plain = config.model_dump(mode="json", include=set(of_world))
        found = {name: "inf" if plain[name] is None and name in _LIMITS else _text(plain[name]) for name in of_world}
        if found in lived_in:
            raise InvalidSetting(f"expected each world once, got one twice{at(found)}")
        lived_in.append(found)
        yield Cell(values=found, config=config)


def _methods(given: Mapping[str, Any], axes: Mapping[str, Sequence[Any]]) -> list[Method]:
    """The given methods and policies, each with every combination of the axes; none given: the combinations alone."""
    methods = listed_methods(given.get("methods") or ())
    if given.get("policies") is not None:
        methods += [Method.of_policy(policy) for policy in read_policies(given["policies"])]
    if not axes:
        return methods
    n = math.prod(map(len, axes.values())) * max(1, len(methods))
    if n > MOST_METHODS:
        raise InvalidSetting(f"expected at most {MOST_METHODS:,} methods in a sweep, got {n:,}")
    points = [dict(zip(axes, point, strict=True)) for point in product(*axes.values())]
    if not methods:
        return [Method.of({**point, "label": _label(point)}) for point in points]
    found = []
    for method, point in product(methods, points):
        if both := [name for name in point if name in method.given]:
            raise InvalidSetting(
                f"expected {both[0]} as a part of methods or as an axis, got both in {method.label}; leave out either"
            )
        found.append(Method.of({**method.given, **point, "label": f"{method.label} | {_label(point)}"}))
    return found


def _label(point: Mapping[str, Any]) -> str:
    """The label of a combination: specs, whose names say what they are, and other settings with their names."""
    texts = {name: _text(spelled(value)) for name, value in point.items()}
    if tuned := Tuned.read(point.get("tuned")):
        texts["tuned"] = tuned.run
    return " | ".join(text if name in SPECS else f"{name}:{text}" for name, text in texts.items())


def at(values: Mapping[str, Any]) -> str:
    """Where in a sweep something happened, for messages."""
    return f" (at {', '.join(f'{name} = {_text(value)}' for name, value in values.items())})" if values else ""


def _text(value: Any) -> str:
    """A value as it is shown: plain text, or JSON."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Method):
        return {**{name: _plain(part) for name, part in value.given.items()}, "label": value.label}
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no number for it
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Member | Path | Tuned) or hasattr(type(value), "parse"):
        return str(value)
    raise InvalidSetting(f"expected a plain value, a member or a method, got {value!r}")
