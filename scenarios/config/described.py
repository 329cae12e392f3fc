"""Members of families described for people, from their signatures and docstrings."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from scenarios.config.parameters import HIDDEN, settable_of, type_of, written


@dataclass(frozen=True)
class Parameter:
    """A setting, described for people."""

    name: str
    type: str
    default: str
    """As it would be written; "required" where there is none."""
    help: str


@dataclass(frozen=True)
class Described:
    """A member of a family, described for people."""

    name: str
    summary: str
    source: str
    """From the section `References:` of the docstring; empty where there is none."""
    parameters: tuple[Parameter, ...]


def describe(family: Mapping[str, Callable[..., Any]], hidden: tuple[str, ...] = HIDDEN) -> list[Described]:
    """Every member of a family with its docstring's first line, source and settings.

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
    """The parts of a Google-style docstring by their headings, dedented; what comes before the first is under ""."""
    sections: dict[str, list[str]] = {"": []}
    heading = ""
    for line in docstring.splitlines():
        if re.fullmatch(r"[A-Z]\w+:", line):
            heading = line[:-1]
            sections[heading] = []
        elif line and not line.startswith(" ") and heading:
            heading = ""  # text after a section belongs to none
        else:
            sections[heading].append(line)
    return {heading: inspect.cleandoc("\n".join(["", *lines])) for heading, lines in sections.items()}


def _entries(section: str) -> dict[str, str]:
    """Help by parameter, from the section Args."""
    entries: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        started = re.match(r"(\w+)(?: \(.*?\))?: *(.*)", line)
        if started:
            name, entries[started[1]] = started[1], started[2]
        elif name:
            entries[name] = f"{entries[name]} {line.strip()}".strip()
    return entries
