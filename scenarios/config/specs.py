"""Specs: members of families with their settings, as text `name:key=value,...`, unchecked against any family.

A value without a key is the first parameter; the parts of a list are joined by `+`.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import InvalidSetting
from scenarios.config.parameters import written

FILE = "file"
"""The name of policies that are read from a file: `file:PATH`, where all that follows the colon is the path."""

_NAME = re.compile(r"[^\W\d][\w-]*(\.[^\W\d]\w*)*")

KEY = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True)
class Spec:
    """What `name:key=value,...` says, unchecked against any family."""

    name: str
    settings: dict[str, str]
    """By key; the first may be under "", which stands for whatever parameter comes first."""

    def __str__(self) -> str:
        pairs = ",".join(f"{key}={value}" if key else value for key, value in self.settings.items())
        return f"{self.name}:{pairs}" if pairs else self.name


def split_specs(text: str) -> list[str]:
    """The specs in a text, separated by blanks or semicolons: `static:k=20; interleaved:k=20 loss`.

    Raises:
        InvalidSetting: a text without any; a path of a policy file that was split.
    """
    specs = [spec for spec in re.split(r"[;\s]+", text) if spec]
    if not specs:
        raise InvalidSetting(
            "expected names with their settings, separated by blanks or semicolons, as in 'static:k=20 loss', got none"
        )
    from_file = next((spec for spec in specs if spec.startswith(f"{FILE}:")), "")
    for spec in specs if from_file else ():
        name = spec.partition(":")[0]
        if "/" in name or name.endswith(".json"):
            raise InvalidSetting(
                f"expected paths without blanks and semicolons in a list of policies, got {shown(spec)} beside "
                f"{shown(from_file)}; link or rename the policy file"
            )
    return specs


def parse(text: str) -> Spec:
    """Read `name` or `name:key=value,...`; blanks around names, keys and values do not count.

    The first value may come without its key.

    `file:PATH` has one setting, path: all of the rest, in its shortest spelling.

    Raises:
        InvalidSetting: any other text, or a key that comes twice.
    """
    name, colon, rest = (part.strip() for part in text.partition(":"))
    if not _NAME.fullmatch(name):
        raise InvalidSetting(f"expected a name, with settings as in static:k=20, got {shown(text)}")
    if name == FILE:
        path = Path(rest).as_posix()  # without .. taken away, which may lead through a link
        if not rest or not path.isprintable() or path != path.strip():
            raise InvalidSetting(f"expected the path of a policy file, as in file:policy.json, got {shown(text)}")
        return Spec(FILE, {"path": path})
    settings: dict[str, str] = {}
    for pair in rest.split(",") if colon else ():
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not equals and not settings:
            key, value = "", key
        named = bool(KEY.fullmatch(key)) if equals else not settings
        if not named or not value or not value.isprintable():
            raise InvalidSetting(
                f"expected settings key=value, separated by commas, after '{name}:', got {shown(pair.strip())}"
            )
        if key in settings:
            raise InvalidSetting(f"expected each setting of {name} once, got {key} twice")
        settings[key] = value
    return Spec(name, settings)


def file_name(text: str) -> str:
    """A name for files and folders, like `static-k20`: different specs have different ones on any file system.

    Give it the canonical spelling. What is not made of small letters and plain numbers ends in a digest of the spec.

    Raises:
        InvalidSetting: a malformed spec.
    """
    spec = parse(text)
    parts, plain = [spec.name], re.fullmatch(r"[a-z]+(-[a-z]+)*", spec.name) is not None
    for key, value in spec.settings.items():
        # read backwards without doubt: a part that ends in a digit is key and number, another is key, _ and word
        number = re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) is not None
        parts.append(f"{key}{value}" if number else f"{key}_{value}")
        plain &= re.fullmatch(r"[a-z]+(_[a-z]+)*", key) is not None
        plain &= number or re.fullmatch(r"[a-z]+", value) is not None
    name = "-".join(parts)
    if plain and len(name) <= 80:
        return name
    digest = hashlib.sha256(repr((spec.name, list(spec.settings.items()))).encode()).hexdigest()[:8]
    return f"{re.sub(r'[^a-z0-9_.]+', '-', name.lower())[:80].strip('-.')}-{digest}".lstrip("-")


def spelled(value: Any) -> Any:
    """The text of a spec that is given as a table: `{name = "static", k = 20}` is `static:k=20`; other values as is.

    Raises:
        InvalidSetting: a table without a name, or with a value that no spec can hold.
    """
    if not isinstance(value, Mapping):
        return value
    settings = {str(key): written(part) for key, part in value.items() if key != "name"}
    odd = [key for key, text in settings.items() if not KEY.fullmatch(key) or re.search(r"[,;\s]", text)]
    if not isinstance(value.get("name"), str) or odd:
        raise InvalidSetting(
            f"expected a table with a name and settings without commas and blanks, got {shown(repr(dict(value)))}"
        )
    return str(Spec(value["name"], settings))


def shown(text: str) -> str:
    """Text that may be anything, on one line."""
    return (text if text.isprintable() else repr(text)) or "nothing"
