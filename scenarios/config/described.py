"""Descriptions of members of families, from their signatures and docstrings."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from scenarios.config.parameters import HIDDEN, settable_of, type_of, written


@dataclass(frozen=True)
class Parameter:
    """The description of a setting."""

    name: str
    type: str
    default: str
    """As in a spec; "required" if there is none."""
    help: str


@dataclass(frozen=True)
class Described:
    """The description of a member of a family."""

    name: str
    summary: str
    source: str
    """The section `References:` of the docstring; empty if there is none."""
    parameters: tuple[Parameter, ...]


def describe(family: Mapping[str, Callable[..., Any]], hidden: tuple[str, ...] = HIDDEN) -> list[Described]:
    """Describe every member of a family.

    Args:
        family: callables with Google-style docstrings, by name.
        hidden: parameters to leave out.
    """
    described = []
    for name, factory in family.items():
        sections = _sections(inspect.getdoc(factory) or "")
        helps = _entries(sections.get("Args", ""))
        parameters = tuple(
            Parameter(
                key,
                type_of(annotation),
                "required" if default is inspect.Parameter.empty else written(default),
                helps.get(key, ""),
            )
            for key, (annotation, default) in settable_of(factory).items()
            if key not in hidden
        )
        summary = sections[""].partition("\n")[0]
        described.append(Described(name, summary, " ".join(sections.get("References", "").split()), parameters))
    return described


def _sections(docstring: str) -> dict[str, str]:
    """The sections of a Google-style docstring by heading, dedented; the text before the first is under ""."""
    sections: dict[str, list[str]] = {"": []}
    heading = ""
    for line in docstring.splitlines():
        if re.fullmatch(r"[A-Z]\w+:", line):
            heading = line[:-1]
            sections[heading] = []
        elif line and not line.startswith(" ") and heading:
            heading = ""  # text after a section is not part of it
        else:
            sections[heading].append(line)
    return {heading: inspect.cleandoc("\n".join(["", *lines])) for heading, lines in sections.items()}


def _entries(section: str) -> dict[str, str]:
    """The help of each parameter in a section Args."""
    entries: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        started = re.match(r"(\w+)(?: \(.*?\))?: *(.*)", line)
        if started:
            name, entries[started[1]] = started[1], started[2]
        elif name:
            entries[name] = f"{entries[name]} {line.strip()}".strip()
    return entries
