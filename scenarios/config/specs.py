"""Specs: the text `name:key=value,...` of a member of a family and its settings.

A value without a key sets the first parameter; `+` joins the parts of a list. Nothing here knows the families.
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
"""The name of policies from a file."""
PATHS = {
    FILE: "a policy file, as in file:policy.json",
    "folder": "a folder of images, as in folder:photos",
    "npz": "an archive of arrays, as in npz:data.npz",
    "parquet": "a Parquet file or a folder of them, as in parquet:data",
}
"""Names whose first setting is a path: everything after the colon, or all before the first of `AFTER_PATH`."""
AFTER_PATH: dict[str, tuple[str, ...]] = {"parquet": ("image", "label")}
"""Settings that may follow a path, as in `parquet:data,label=fine_label`, by name."""

_NAME = re.compile(r"[^\W\d][\w-]*(\+\+|(\.[^\W\d]\w*)*)")

KEY = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True)
class Spec:
    """A parsed spec; its name and settings may be unknown."""

    name: str
    settings: dict[str, str]
    """By key; the key "" stands for the first parameter."""

    def __str__(self) -> str:
        if self.name in PATHS:
            after = "".join(f",{key}={value}" for key, value in self.settings.items() if key != "path")
            return f"{self.name}:{self.settings.get('path', '')}{after}"
        pairs = ",".join(f"{key}={value}" if key else value for key, value in self.settings.items())
        return f"{self.name}:{pairs}" if pairs else self.name


def split_specs(text: str) -> list[str]:
    """The specs in a text, separated by spaces or semicolons: `static:k=20; interleaved:k=20 loss`.

    Raises:
        InvalidSetting: no spec, or the path of a policy file contains a separator.
    """
    specs = [spec for spec in re.split(r"[;\s]+", text) if spec]
    if not specs:
        raise InvalidSetting("expected names with their settings, separated by blanks or semicolons, got none")
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
    """Parse `name` or `name:key=value,...`; spaces around names, keys and values are ignored.

    The first value may lack its key. `file:PATH` and other `PATHS` have a path, in its shortest spelling, and may have
    the settings `AFTER_PATH`.

    Raises:
        InvalidSetting: any other text, or a key that occurs twice.
    """
    name, colon, rest = (part.strip() for part in text.partition(":"))
    if not _NAME.fullmatch(name):
        raise InvalidSetting(f"expected a name, with settings as in static:k=20, got {shown(text)}")
    if name in PATHS:
        return _with_path(name, rest, text)
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


def _with_path(name: str, rest: str, text: str) -> Spec:
    """The spec of a path and the settings that may follow it; the path may contain commas."""
    settings: dict[str, str] = {}
    keys = "|".join(AFTER_PATH.get(name, ()))
    while keys and (last := re.fullmatch(rf"(.*),\s*({keys})\s*=\s*([^,]+)", rest)):
        rest, key, value = (part.strip() for part in last.groups())
        if key in settings:
            raise InvalidSetting(f"expected each setting of {name} once, got {key} twice")
        if not value or not value.isprintable():
            raise InvalidSetting(f"expected a column's name for {key} of {name}, got {shown(text)}")
        settings[key] = value
    path = Path(rest).as_posix()  # .. stays, since it may follow a link
    if not rest or not path.isprintable() or path != path.strip():
        raise InvalidSetting(f"expected the path of {PATHS[name]}, got {shown(text)}")
    return Spec(name, {"path": path} | {key: settings[key] for key in AFTER_PATH.get(name, ()) if key in settings})


def file_name(spec: Spec) -> str:
    """A name for files and folders, such as `static-k20`, different for different specs on any file system.

    It ends in a digest of the spec if the spec contains more than small letters and plain numbers.
    """
    parts, plain = [spec.name], re.fullmatch(r"[a-z]+(-[a-z]+)*", spec.name) is not None
    for key, value in spec.settings.items():
        # unambiguous: a part that ends in a digit is a key and a number, any other is a key, _ and a word
        number = re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) is not None
        parts.append(f"{key}{value}" if number else f"{key}_{value}")
        plain &= re.fullmatch(r"[a-z]+(_[a-z]+)*", key) is not None
        plain &= number or re.fullmatch(r"[a-z]+", value) is not None
    name = "-".join(parts)
    return name if plain and len(name) <= 80 else _shortened(name, repr((spec.name, list(spec.settings.items()))))


def label_file_name(label: str) -> str:
    """A name for the files of a label, different for different labels on any file system."""
    plain = re.fullmatch(r"[a-z0-9]+([_-][a-z0-9]+)*", label) is not None
    return label if plain and len(label) <= 80 else _shortened(label, label)


def _shortened(name: str, whole: str) -> str:
    """The plain characters of a name, and a digest of the whole."""
    digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
    return f"{re.sub(r'[^a-z0-9_.]+', '-', name.lower())[:80].strip('-.')}-{digest}".lstrip("-")


def spelled(value: Any) -> Any:
    """The spec of a table: `{name = "static", k = 20}` becomes `static:k=20`; other values stay as they are.

    Raises:
        InvalidSetting: a table without a name, or a value that no spec can contain.
    """
    if not isinstance(value, Mapping):
        return value
    settings = {str(key): written(part) for key, part in value.items() if key != "name"}
    after = AFTER_PATH.get(str(value.get("name")), ())
    if value.get("name") in PATHS and "path" in settings and settings.keys() <= {"path", *after}:
        columns = {key: settings[key] for key in after if key in settings and "," not in settings[key]}
        if len(columns) + 1 == len(settings):
            return str(Spec(value["name"], {"path": settings["path"]} | columns))
    invalid = [key for key, text in settings.items() if not KEY.fullmatch(key) or re.search(r"[,;\s]", text)]
    if not isinstance(value.get("name"), str) or invalid:
        raise InvalidSetting(
            f"expected a table with a name and settings without commas and blanks, got {shown(repr(dict(value)))}"
        )
    return str(Spec(value["name"], settings))


def shown(text: str) -> str:
    """Any text on one line."""
    return (text if text.isprintable() else repr(text)) or "nothing"
