"""How a setting is declared: its help, its place in `--help`, what it decides, and the types that read text."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, GetCoreSchemaHandler, PlainSerializer, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from agent.errors import InvalidSetting
from scenarios.config.families import BASELINE, COST_MODEL, POLICY, Family
from scenarios.config.families import MEMORY as MEMORY_FAMILY
from scenarios.config.members import Member
from scenarios.config.specs import spelled, split_specs

if TYPE_CHECKING:
    from agent.memory.bounded import Capacity as Capacity
    from agent.memory.consolidation import Consolidation as Consolidation
    from agent.memory.rekeying import Rekeying as Rekeying
else:
    Capacity = Consolidation = Rekeying = Any  # agent.memory imports torch

DATA, STREAM, LEARNER, MEMORY, MEASURING = "Data", "Stream", "Learner", "Memory", "Measuring"
COSTS, SEARCH, TRAINING = "Costs", "Search", "Training the policy"
PANELS = (DATA, STREAM, LEARNER, MEMORY, COSTS, SEARCH, TRAINING, MEASURING)
"""The panels of `--help`, in their order."""

Part = Literal["world", "method", "machine", "free", "idle"]
"""What a setting decides, and so whether compared lifetimes may differ in it.

world: the data, the prices and the measurements; all lifetimes must agree. method: a part of `Method`; the labels of
lifetimes show differences. machine: where tensors are computed, which decides their last digits. free: which lifetimes
run, and how their results are read. idle: no number; an idle setting is not part of a run's identity.
"""


def setting(default: Any, description: str, panel: str, part: Part = "world", **limits: Any) -> Any:
    """A field of a configuration.

    Args:
        default: its default.
        description: its help.
        panel: the panel of `--help` that shows it.
        part: what it decides.
        limits: of Pydantic, such as `ge` and `le`.
    """
    return Field(default, description=description, json_schema_extra={"panel": panel, "part": part}, **limits)


def panel_of(field: FieldInfo) -> str:
    """The panel of a field that `setting` declared."""
    assert isinstance(field.json_schema_extra, dict)
    return str(field.json_schema_extra["panel"])


def _listed(value: Any) -> Any:
    """A list, also from text such as `10,20,40`, or from a single number."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return [value] if isinstance(value, int | float) else value


def _each_once(values: Any) -> Any:
    if isinstance(values, list | tuple) and (twice := [value for value in values if values.count(value) > 1]):
        raise ValueError(f"expected each measurement once, got {twice[0]} {len(twice)} times")
    return values


@dataclass(frozen=True)
class Of:
    """Marks a field as a member of a family: it reads a spec, also from a table `{name = "static", k = 20}`."""

    family: Family

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The schema for Pydantic; a member is written as its canonical spec."""
        to_text = core_schema.plain_serializer_function_ser_schema(str, return_schema=core_schema.str_schema())
        return core_schema.no_info_plain_validator_function(self.read, serialization=to_text)

    def read(self, value: Any) -> Member:
        """The member of a spec, a table or a member.

        Raises:
            InvalidSetting: a malformed spec, an unknown name or setting, or a value of another kind.
        """
        if isinstance(value, Member):
            return value
        text = spelled(value)
        if not isinstance(text, str):
            raise InvalidSetting(f"expected {self.family.option} to be a valid string, got {value}")
        return Member.read(text, self.family)


def read_policies(value: Any) -> tuple[Member, ...]:
    """Policies, from text, or from a list of texts, tables and members; each once."""
    return tuple(_listed_members(value, POLICY).values())


def read_memories(value: Any) -> dict[str, Member]:
    """Memories in the same way, by the text that gives them."""
    return _listed_members(value, MEMORY_FAMILY)


def _listed_members(value: Any, family: Family) -> dict[str, Member]:
    if isinstance(value, str):
        value = split_specs(value)
    if not isinstance(value, list | tuple):
        value = [value]
    members = [Of(family).read(each) for each in value]
    if not members:
        raise InvalidSetting(f"expected at least one {family.name}, got an empty list")
    for member in members:
        if members.count(member) > 1:
            raise InvalidSetting(f"expected each {family.name} once, got {member} {members.count(member)} times")
    return {str(spelled(each)): member for each, member in zip(value, members, strict=True)}


def _read_costs(value: Any) -> tuple[Member, ...]:
    """Cost models in the same way."""
    return tuple(_listed_members(value, COST_MODEL).values())


def _labels(value: Any) -> Any:
    """Labels, from text that separates them by semicolons, or from a list; each once, in order."""
    if isinstance(value, str):
        value = [part.strip() for part in value.split(";")]
        if not any(value):
            raise ValueError("expected labels separated by semicolons, got none")
    return list(dict.fromkeys(value)) if isinstance(value, list | tuple) else value


def _places(value: Any) -> Any:
    """Places of keys, from text that joins them by `+`, or from a list."""
    if isinstance(value, list | tuple):
        value = "+".join(map(str, value))
    if not isinstance(value, str):
        return value
    if "," in value:
        raise ValueError(f"expected --keys of places joined by + ({value.replace(',', '+')}), got {value}")
    places = tuple(place.strip() for place in value.split("+"))
    if not all(places):
        raise ValueError(f"expected --keys of places joined by +, as in stem+features, got {value or 'nothing'}")
    return places


def _rekeying(value: Any) -> Any:
    """When keys are renewed, from `never`, `on-learn` or `every:n`."""
    from agent.memory.rekeying import Rekeying

    if isinstance(value, Rekeying):
        return value
    if not isinstance(value, str):
        raise ValueError("Input should be a valid string")
    return Rekeying.parse(value)


def _consolidation(value: Any) -> Any:
    """What is consolidated, from `never`, a number of images, or `release:` and a number."""
    from agent.memory.consolidation import Consolidation

    if isinstance(value, Consolidation):
        return value
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("Input should be a valid string")
    return Consolidation.parse(str(value))


def _capacity(value: Any) -> Any:
    """What a memory may hold, from entries or bytes: `1000`, `10MB`."""
    from agent.memory.bounded import Capacity

    if value is None or isinstance(value, Capacity):
        return value
    if value == "none":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("Input should be a valid string")
    return Capacity.parse(str(value))


def listed_choices(value: Any) -> Any:
    """Values by name, from texts such as `memory = cache | ridge`, or from a table of lists; each name once."""
    if isinstance(value, Mapping):
        pairs = [(str(name), list(of) if isinstance(of, list | tuple) else [of]) for name, of in value.items()]
    elif isinstance(value, str | list | tuple):
        pairs = [_choice(text) for text in ([value] if isinstance(value, str) else value)]
    else:
        raise InvalidSetting(f"expected names with their values, as in 'memory = cache | ridge', got {value!r}")
    names = [name.strip().replace("-", "_") for name, _ in pairs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InvalidSetting(f"expected each name once, got {twice[0]} twice")
    return dict(zip(names, (values for _, values in pairs), strict=True))


def _choice(text: Any) -> tuple[str, list[str]]:
    name, equals, values = str(text).partition("=")
    listed = [value.strip() for value in values.split("|")]
    if not (name.strip() and equals and all(listed)):
        raise InvalidSetting(f"expected a name with its values, as in 'memory = cache | ridge', got {text!r}")
    return name, listed


Choices = Annotated[dict[str, tuple[str, ...]], BeforeValidator(listed_choices)]
"""Values by name; as text `name = value | value`."""
PolicyList = Annotated[
    tuple[Member, ...],
    BeforeValidator(read_policies),
    PlainSerializer(lambda policies: list(map(str, policies)), return_type=list[str]),
]
"""Policies, separated by blanks or semicolons."""
MemoryList = Annotated[tuple[Member, ...], BeforeValidator(lambda value: tuple(read_memories(value).values()))]
"""Memories, in the same way."""
CostList = Annotated[
    tuple[Member, ...],
    BeforeValidator(_read_costs),
    PlainSerializer(lambda costs: list(map(str, costs)), return_type=list[str]),
]
"""Cost models, separated by blanks or semicolons."""
Labels = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_labels)]
"""Labels, separated by semicolons."""
Counts = Annotated[tuple[Annotated[int, Field(ge=0, le=10**12)], ...], BeforeValidator(_listed)]
"""Whole numbers of 0 or more, as in `0,10000`."""
Places = Annotated[
    tuple[str, ...], BeforeValidator(_places), PlainSerializer(lambda places: "+".join(places), return_type=str)
]
"""Places of keys, joined by `+`."""
RekeyingText = Annotated[Rekeying, BeforeValidator(_rekeying), PlainSerializer(str, return_type=str)]
"""`never`, `on-learn` or `every:n`."""
ConsolidationText = Annotated[Consolidation, BeforeValidator(_consolidation), PlainSerializer(str, return_type=str)]
"""`never`, `500` or `release:500`."""
CapacityText = Annotated[
    Capacity | None,
    BeforeValidator(_capacity),
    PlainSerializer(lambda capacity: None if capacity is None else str(capacity), return_type=str | None),
]
"""A number of entries, bytes such as `10MB`, or `none`."""
BaselineText = Annotated[
    Annotated[Member, Of(BASELINE)] | None, BeforeValidator(lambda value: None if value == "none" else value)
]
"""A baseline, or `none`."""
Limit = BeforeValidator(lambda value: None if value in (math.inf, "inf") else value)
"""Reads `inf` as None, for no limit."""
Unlimited = BeforeValidator(lambda value: "inf" if value == math.inf else value)
"""Reads infinity as "inf", where None means something else."""
MixtureRule = Literal["author", "calibrated"]
"""As `agent.memory.mixture.Rule`, but for `fixed`, which `--calibration none` means."""
MixtureRules = Annotated[tuple[MixtureRule, ...], BeforeValidator(_listed)]
Measurements = Annotated[
    tuple[Literal["linear-probe"], ...],
    BeforeValidator(lambda value: () if value in ("", "none") else _each_once(_listed(value))),
]
"""Further measurements, separated by commas; none for no further ones."""
Percents = Annotated[tuple[Annotated[float, Field(ge=0, le=100)], ...], BeforeValidator(_listed)]


def one_line(error: ValidationError, kind: type[BaseModel], former: Mapping[str, str] | None = None) -> str:
    """An error of Pydantic as the command line shows it.

    Args:
        error: of a validation.
        kind: the settings that were validated.
        former: the option that replaces each setting of earlier versions.
    """
    first = error.errors()[0]
    message = str(first["msg"]).removeprefix("Value error, ")
    if not first["loc"] or message.startswith("expected "):
        return message
    name, got = str(first["loc"][0]), first["input"]
    flag = "--" + name.replace("_", "-")
    if first["type"] == "extra_forbidden" and name in (former or {}):
        return f"expected {(former or {})[name]}, got {flag}, as it was called before"
    if first["type"] == "extra_forbidden":
        return f"expected settings out of {', '.join(kind.model_fields)}, got {name}"
    wanted = message.replace("Input should be", "to be").replace("Input should have", "to have")
    return f"expected {flag} {wanted}, got {format(got, 'g') if isinstance(got, float) else got}"
