"""The space of a search: parts of a method, or keys of their specs, each with a range or with choices."""

import difflib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator

from agent.errors import InvalidSetting
from scenarios.config.members import Member, merged
from scenarios.config.method import SPECS, Method, member_in
from scenarios.config.parameters import in_words, options_of, read_as, settable_of, written
from scenarios.config.settings import SimulateConfig
from scenarios.config.specs import Spec, parse, shown, spelled

SEARCHED = tuple(name for name in Method.model_fields if name not in ("label", "tuned"))
"""The parts of a method that can be searched."""

_EXAMPLE = "'recipe.lr = 0.01 .. 0.3 log' or 'memory = cache | ridge'"
_RANGE = re.compile(r"(?P<low>\S+?)\s*\.\.\s*(?P<high>\S+)(?P<log>\s+log)?")


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False
    """Whether their logarithms are searched."""
    is_integer: bool = False

    @classmethod
    def read(cls, text: str, name: str) -> "Range":
        """The range of a text `low .. high`, with `log` after it for a search of logarithms.

        Raises:
            InvalidSetting: any other text, or an empty range.
        """
        found = _RANGE.fullmatch(text.strip())
        try:
            low, high = map(float, found.group("low", "high")) if found else (math.nan, math.nan)
        except ValueError:
            low = high = math.nan
        if found is None or not (math.isfinite(low) and math.isfinite(high)):
            raise InvalidSetting(f"expected a range of numbers for {name}, as in {_EXAMPLE}, got {shown(text)}")
        if not low < high:
            raise InvalidSetting(f"expected a range from a lower to a higher number for {name}, got {shown(text)}")
        log = found["log"] is not None
        if log and low <= 0:
            raise InvalidSetting(f"expected a range above 0 for the logarithms of {name}, got {shown(text)}")
        return cls(low, high, log)

    def __str__(self) -> str:
        return f"{written(self.low)} .. {written(self.high)}{' log' * self.log}"


Values = Range | tuple[str, ...]
"""What is searched under one name: a range, or choices as texts."""


def read_search(value: Any) -> dict[str, Any]:
    """The values of each name, as canonical text of a range or as a list of choices.

    Args:
        value: a text such as `recipe.lr = 0.01 .. 0.3 log` or `memory = cache | ridge`, a list of them, or a table,
            whose choices may be a list too.

    Raises:
        InvalidSetting: a text that cannot be read, a name that is no part of a method, or a name twice.
    """
    if isinstance(value, Mapping):
        pairs = list(_flat(value))
    elif isinstance(value, str | list | tuple):
        pairs = [_pair(text) for text in ([value] if isinstance(value, str) else value)]
    else:
        raise InvalidSetting(f"expected names with their values, as in {_EXAMPLE}, got {value!r}")
    search: dict[str, Any] = {}
    for written_name, values in pairs:
        name = written_name.strip().replace("-", "_")
        _check_name(name)
        if name in search:
            raise InvalidSetting(f"expected each name to be searched once, got {name} twice")
        search[name] = _values(name, values)
    return search


SearchText = Annotated[dict[str, str | tuple[str, ...]], BeforeValidator(read_search)]
"""What is searched, by name: the text of a range, or choices."""


def _flat(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names and values of a table; TOML makes a table of `recipe.lr` without quotes."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{key}", each) for key, each in value.items())
        else:
            yield str(name), value


def _pair(text: Any) -> tuple[str, str]:
    name, equals, values = str(text).partition("=")
    if not (name.strip() and equals and values.strip()):
        raise InvalidSetting(f"expected a name with its values, as in {_EXAMPLE}, got {shown(str(text))}")
    return name, values.strip()


def _check_name(name: str) -> None:
    part, dot, key = name.partition(".")
    if part in SEARCHED and (not dot or (part in SPECS and key)):
        return
    if part in SEARCHED:
        raise InvalidSetting(f"expected {part}, which has no keys, or a key of another part, got {name} to search")
    if part in SimulateConfig.model_fields:
        raise InvalidSetting(
            f"expected parts of a method to search, out of {', '.join(SEARCHED)}, got {name}: in another world or with "
            "another measure the question is another one"
        )
    close = difflib.get_close_matches(part, SEARCHED, 1)
    meant = f" (did you mean {close[0]}?)" if close else ""
    raise InvalidSetting(
        f"expected parts of a method to search, out of {', '.join(SEARCHED)}, got {shown(name)}{meant}"
    )


def _values(name: str, value: Any) -> str | list[str]:
    if isinstance(value, str) and "|" not in value and ".." in value:
        return str(Range.read(value, name))
    listed = value.split("|") if isinstance(value, str) else value
    if not isinstance(listed, list | tuple):
        raise InvalidSetting(f"expected a range or choices of {name}, as in {_EXAMPLE}, got {shown(str(value))}")
    choices = [each.strip() if isinstance(each, str) else _choice(each) for each in listed]
    if len(choices) < 2 or not all(choices):
        raise InvalidSetting(
            f"expected a range, or two or more choices of {name}, as in {_EXAMPLE}, got {shown(' | '.join(choices))}"
        )
    if twice := [each for each in choices if choices.count(each) > 1]:
        raise InvalidSetting(f"expected each choice of {name} once, got {shown(twice[0])} twice")
    return choices


def _choice(value: Any) -> str:
    return str(spelled(value)) if isinstance(value, Mapping) else written(value)


@dataclass(frozen=True)
class Space:
    """What is searched, and the parts of a method that are not."""

    values: Mapping[str, Values]
    """By name: a part of a method, or `part.key`."""
    base: Mapping[str, Any]
    """The given parts of every method, as plain values."""

    def method(self, point: Mapping[str, Any], label: str) -> Method:
        """The method of a point: a number or a choice for each name.

        Raises:
            InvalidSetting: a part cannot be read.
        """
        parts = {name: value if isinstance(value, str) else written(value) for name, value in point.items()}
        for name in [name for name in parts if "." in name]:
            text, (part, _, key) = parts.pop(name), name.partition(".")
            spec = parts.get(part) or self.members(part)[0].name
            parts[part] = merged(spec, str(Spec(parse(spec).name, {key: text})), SPECS[part])
        return Method.of({**parts, "label": label}).under(self.base)

    def probes(self) -> Iterator[Method]:
        """Methods in which each choice and each end of a range occurs; raises InvalidSetting for one that does not."""
        ends = {
            name: values if isinstance(values, tuple) else (values.low, values.high)
            for name, values in self.values.items()
        }
        first = {name: each[0] for name, each in ends.items()}
        for name, each in ends.items():
            for value in each:
                yield self.method({**first, name: value}, "")

    def members(self, part: str) -> list[Member]:
        """The members that a part may be."""
        values = self.values.get(part)
        if isinstance(values, tuple):
            return [Member.read(each, SPECS[part]) for each in values]
        member = member_in(Method, self.base, part)
        if member is None:
            raise InvalidSetting(f"expected --{part} beside a search of its settings, got none; name one")
        return [member]

    @property
    def parts(self) -> list[str]:
        """The parts of a method in which its methods may differ, in the order of `Method`."""
        names = {name.partition(".")[0] for name in self.values}
        return [name for name in SEARCHED if name in names]


def space_of(search: Mapping[str, str | tuple[str, ...]], base: Mapping[str, Any]) -> Space:
    """The space of a search.

    Args:
        search: from `read_search`.
        base: the given parts of every method, as plain values.

    Raises:
        InvalidSetting: nothing to search, a part or key that has no numbers but a range, a choice that cannot be read,
            or a key that a member, which may be chosen, does not have.
    """
    if not search:
        raise InvalidSetting(f"expected something to search, as in --search {_EXAMPLE}, got nothing")
    values: dict[str, Values] = {
        name: Range.read(each, name) if isinstance(each, str) else tuple(each) for name, each in search.items()
    }
    rough = Space(values, base)
    typed: dict[str, Values] = {}
    for name, each in values.items():
        options = _options(rough, name)
        typed[name] = _typed(name, each, options) if isinstance(each, Range) else _read(name, each, options)
    space = Space(typed, base)
    for _ in space.probes():
        pass
    return space


def _options(space: Space, name: str) -> list[list[Any]]:
    """What a value under a name may be: the options of the annotation, for each member that has the key."""
    part, dot, key = name.partition(".")
    if not dot:
        return [[] if part in SPECS else options_of(Method.model_fields[part].annotation)]
    found = []
    for member in space.members(part):
        settable = settable_of(member.factory)
        if key not in settable:
            raise InvalidSetting(f"expected settings of {member.name}, out of {', '.join(settable)}, got {name}")
        chosen = space.values.get(part, ())
        if isinstance(chosen, tuple) and any(_sets(text, key, member) for text in chosen):
            raise InvalidSetting(f"expected {name} to be searched or to be set by {part}, got both in {member}")
        found.append(options_of(settable[key][0]))
    return found


def _sets(text: str, key: str, member: Member) -> bool:
    """Whether the spec of a choice of this member sets a key."""
    spec = parse(text)
    named = {each or next(iter(settable_of(member.factory)), "") for each in spec.settings}
    return spec.name == member.name and key in named


def _typed(name: str, values: Range, options: list[list[Any]]) -> Range:
    """A range of the numbers that a setting takes."""
    whole = values.low.is_integer() and values.high.is_integer()
    for each in options:
        if int not in each and float not in each:
            wanted = f", each {in_words(each)}" if each else ", each name:key=value,..."
            raise InvalidSetting(f"expected choices of {name}{wanted}, got the range {values}")
        if float not in each and not whole:
            raise InvalidSetting(f"expected a range of whole numbers for {name}, got {values}")
    kinds = [next(option for option in each if option in (int, float)) for each in options]
    return Range(values.low, values.high, values.log, is_integer=whole and int in kinds)


def _read(name: str, choices: tuple[str, ...], options: list[list[Any]]) -> tuple[str, ...]:
    """Choices that can be read; those of a part are checked as parts of a method."""
    for text in choices if "." in name else ():
        for each in options:
            try:
                read_as(text, each)
            except ValueError:
                wanted = in_words(each)
                raise InvalidSetting(f"expected choices of {name} to be {wanted}, got {shown(text)}") from None
    return choices
