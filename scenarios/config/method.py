"""A method: what decides one lifetime in a given world, as a value."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError, model_validator

from agent.errors import InvalidSetting
from scenarios.config.families import (
    EVICTION,
    FAMILIES,
    LEARNER,
    MEMORY,
    NETWORK,
    POLICY,
    RECIPE,
    TRANSFORM,
    Family,
)
from scenarios.config.fields import (
    COSTS,
    STREAM,
    BaselineText,
    CapacityText,
    ConsolidationText,
    Limit,
    MixtureRule,
    Of,
    Places,
    RekeyingText,
    one_line,
    setting,
)
from scenarios.config.fields import LEARNER as LEARNERS
from scenarios.config.fields import MEMORY as MEMORIES
from scenarios.config.members import Member, merged
from scenarios.config.specs import file_name, label_file_name, parse, shown, spelled
from scenarios.config.tuned import Tuned, TunedText, with_tuned_parts, without_tuned_parts

SPECS = {each.option.removeprefix("--"): each for each in FAMILIES.values()}
"""The family of each setting that holds one member; a later source of settings may override single keys of it."""

RECIPE_HELP = "how the network is trained, name:key=value,...; `lifetime list recipes` shows them"
LEARNER_HELP = (
    "online: one pass, with rehearsal; cooldown: the same, but a copy is cooled down before each use; refit: trained "
    "anew on all learned chunks; head: a linear head on features of a frozen network; er, er-ace: experience replay "
    "from a reservoir; name:key=value,..., `lifetime list learners` shows them"
)
POLICY_HELP = "name:key=value,...; `lifetime list policies` shows them"

ALWAYS_LEARN = "static:k=100"
"""The policy of baselines."""
NOT_OF_BASELINES = (
    "learner",
    "memory",
    "keys",
    "pool",
    "transform",
    "capacity",
    "eviction",
    "mixture",
    "rekey",
    "consolidate",
    "both",
    "calibrate_every",
    "policy",
)
"""The parts of a method that a baseline takes the place of."""


class Settings(BaseModel):
    """Settings that are documented, checked and immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)
    unused: ClassVar[frozenset[str]] = frozenset()
    """Settings that decide nothing in an experiment, so that its command has no option for them."""


class AgentSettings(Settings):
    """The parts of an agent."""

    network: Annotated[Member, Of(NETWORK)] = setting(
        "resnet", "name:key=value,...; `lifetime list networks` shows them", LEARNERS, "method"
    )
    recipe: Annotated[Member, Of(RECIPE)] = setting("sgd", RECIPE_HELP, LEARNERS, "method")
    learner: Annotated[Member, Of(LEARNER)] = setting("online", LEARNER_HELP, LEARNERS, "method")
    memory: Annotated[Member, Of(MEMORY)] = setting(
        "cache", "name:key=value,...; `lifetime list memories` shows them", MEMORIES, "method"
    )
    keys: Places | None = setting(
        None,
        "places whose activations are keys, joined by +: input, or places of the network, as in "
        "stage1.block0+features; with weights, as in input*0.2+features*0.8, each place is normalized by itself "
        "(default: by network)",
        MEMORIES,
        "method",
    )
    pool: bool | None = setting(
        None, "average keys over space, but not the input (default: by memory)", MEMORIES, "method"
    )
    transform: Annotated[Member, Of(TRANSFORM)] = setting(
        "none",
        "a linear map of the keys, fitted once to images that the learner has stored, or else to the first memorized "
        "ones; `lifetime list transforms` shows them",
        MEMORIES,
        "method",
    )
    capacity: CapacityText = setting(
        None,
        "the most that the memory may hold: entries, as 1000, bytes of entries, as 10MB, or what the learner's stored "
        "samples leave of some bytes, as shared:10MB (default: none, no limit)",
        MEMORIES,
        "method",
    )
    eviction: Annotated[Member, Of(EVICTION)] = setting(
        "reservoir",
        "which entries a memory with --capacity keeps; `lifetime list evictions` shows them",
        MEMORIES,
        "method",
    )
    mixture: MixtureRule = setting(
        "author",
        "how w and the memory's setting are fitted to validation data: author, by accuracy; calibrated, with a "
        "temperature of the learner first, and by likelihood where accuracies are within a standard error of the best",
        MEMORIES,
        "method",
    )
    tuned: TunedText = setting(
        None,
        "run of `lifetime tune`, or its best.toml: sets the parts that it tuned, and says on what (none: nothing)",
        LEARNERS,
        "method",
    )

    @model_validator(mode="before")
    @classmethod
    def _suit(cls, values: Any) -> Any:
        """Fill in the keys that suit the network and the memory, so that config.json records them."""
        if not isinstance(values, dict) or names_baseline(values):
            return values
        network, memory = member_in(cls, values, "network"), member_in(cls, values, "memory")
        suited: dict[str, Any] = {}
        if network is not None and values.get("keys") is None:
            places = getattr(network.factory, "key_places", None)
            suited["keys"] = places if isinstance(places, tuple) else None
        if memory is not None and values.get("pool") is None:
            suited["pool"] = bool(getattr(memory.factory, "pools_keys", False))
        return {**values, **suited}

    @model_validator(mode="after")
    def _as_tuned(self) -> "AgentSettings":
        """Refuse parts that were changed after they were tuned, and an eviction of nothing."""
        if self.capacity is None and str(self.eviction) != "reservoir":
            raise ValueError(f"expected --capacity with --eviction {self.eviction}, got none, which evicts nothing")
        if self.tuned is not None:
            self.tuned.check(self.model_dump(mode="json", include=set(self.tuned.parts)))
        return self


class MethodSettings(AgentSettings):
    """The parts of an agent, when its keys are renewed and its mixture is fitted, and what it may spend."""

    rekey: RekeyingText = setting(
        "never", "when stale keys are computed again: never, on-learn or every:n (chunks)", MEMORIES, "method"
    )
    consolidate: ConsolidationText = setting(
        "never",
        "offer a third action, CONSOLIDATE (C): memorize the chunk, then learn from up to so many images in memory "
        "that were not learned yet, as 500, or also have the memory forget these, as release:500 (never: no such "
        "action)",
        MEMORIES,
        "method",
    )
    both: bool = setting(
        False,
        "offer a further action, BOTH (B): learn the chunk, and then memorize it under the keys of the network after "
        "that; static:k=50,both=true takes it",
        MEMORIES,
        "method",
    )
    calibrate_every: int | None = setting(
        None,
        "chunks between calibrations, which fit w and the memory's setting; 0: only at the end (default: 5, or 0 for a "
        "lazy learner such as refit)",
        MEMORIES,
        "method",
        ge=0,
    )
    baseline: BaselineText = setting(
        None,
        "a strategy of Avalanche in place of learner, memory and policy, name:key=value,...; `lifetime list baselines` "
        "shows them (none: no baseline)",
        LEARNERS,
        "method",
    )
    budget: Annotated[float | None, Limit] = setting(
        None,
        "the most that a lifetime may spend, in the unit of the cost model (inf: no limit); policies see it, "
        "and may overdraw it without --enforce",
        COSTS,
        "method",
        ge=0,
    )

    @property
    def actions(self) -> tuple[str, ...]:
        """The names of the actions that the agent offers, by number."""
        from agent.operations import offered  # imports torch

        return offered(self.consolidate, both=self.both)

    @property
    def is_lazy(self) -> bool:
        """Whether it trains only before a forward pass."""
        return is_lazy(self.learner if self.baseline is None else self.baseline)

    @model_validator(mode="before")
    @classmethod
    def _calibrate(cls, values: Any) -> Any:
        """Fill in the defaults that depend on learner and baseline, so that config.json records them."""
        if isinstance(values, dict) and names_baseline(values):
            decides = "policy" in cls.model_fields and values.get("policy") is None
            return {**values, "policy": ALWAYS_LEARN} if decides else values
        if not isinstance(values, dict) or values.get("calibrate_every") is not None:
            return values
        learner = member_in(cls, values, "learner")
        return {**values, "calibrate_every": 0 if learner is not None and is_lazy(learner) else 5}

    @model_validator(mode="after")
    def _agree_on_baseline(self) -> "MethodSettings":
        """Refuse the parts that a baseline takes the place of."""
        if self.baseline is None:
            return self
        found, plain = (each.model_dump(mode="json") for each in (self, AgentSettings()))
        usual = {
            **plain,
            "keys": None,
            "pool": None,
            "rekey": "never",
            "consolidate": "never",
            "both": False,
            "policy": ALWAYS_LEARN,
        }
        for name in NOT_OF_BASELINES:
            if found.get(name) != usual.get(name) and name in found:
                raise ValueError(
                    f"expected no {name} with the baseline {self.baseline.name}, which takes its place, got "
                    f"{found[name]}; leave it out"
                )
        return self


class Method(MethodSettings):
    """A method: network, recipe, learner, memory, keys and policy, or a baseline, under a label.

    Methods are compared in one world: each field is a setting in which compared lifetimes may differ. What is left out
    is as in the preset `quick`, until `under` completes the method by other settings.

        Method(label="ridge", memory="ridge:limit=512", policy="static:k=50")
    """

    label: str = ""
    """Its name in figures and tables; by default made from the parts that were given."""
    policy: Annotated[Member, Of(POLICY)] = setting("loss", POLICY_HELP, STREAM, "method")
    _given: dict[str, Any] = PrivateAttr(default_factory=dict)

    def __init__(self, **parts: Any) -> None:
        try:
            super().__init__(**parts)
        except ValidationError as error:
            raise InvalidSetting(one_line(error, type(self))) from None

    @model_validator(mode="wrap")
    @classmethod
    def _remember(cls, values: Any, handler: Any) -> "Method":
        """Keep what was given, and label the method by it."""
        if isinstance(values, Method):
            return values
        if not isinstance(values, Mapping):
            raise ValueError(f"expected a method, as in 'ridge = memory:ridge | policy:loss', got {values!r}")
        given = {name: value for name, value in values.items() if name != "label"}
        label = values.get("label") or ""
        if not isinstance(label, str) or label != label.strip() or not label.isprintable():
            raise ValueError(f"expected a label of printable characters, without blanks at its ends, got {label!r}")
        if not label:
            with suppress(ValueError):  # of a part that cannot be read, which the handler reports
                label = _label(given)
        given = with_tuned_parts(given, _parts())
        method: Method = handler({**given, "label": label})
        method._given = given
        return method

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Method) and self.label == other.label and not self.differences(other)

    def __hash__(self) -> int:
        return hash((self.label, *(getattr(self, name) for name in _parts())))

    @classmethod
    def read(cls, text: str) -> "Method":
        """The method of a text, `label = part:spec | part:spec ...`; the label may be left out.

        Raises:
            InvalidSetting: a malformed text, an unknown part, or a part that cannot be read.
        """
        labelled = re.match(r"(?P<label>.*?)\s*=\s*(?=[\w-]+\s*:)", text, re.DOTALL)
        label, rest = (labelled["label"], text[labelled.end() :]) if labelled else ("", text)
        if _part_name(label) in _parts() and ":" in label:  # this = belongs to a spec
            label, rest = "", text
        parts: dict[str, str] = {}
        for written in rest.split("|"):
            name, value = _part_name(written), written.partition(":")[2].strip()
            if not value or name == "label":
                raise InvalidSetting(
                    f"expected a method as in 'ridge = memory:ridge | policy:static:k=50', with parts out of "
                    f"{', '.join(_parts())}, got {shown(text.strip())}"
                )
            if name in parts:
                raise InvalidSetting(f"expected each part of a method once, got {name} twice in {shown(text.strip())}")
            parts[name] = value
        return cls.of({**parts, "label": label.strip()})

    @classmethod
    def of(cls, value: Any) -> "Method":
        """A method of a text, a table or a method.

        Raises:
            InvalidSetting: it cannot be read; in one line.
        """
        if isinstance(value, str):
            return cls.read(value)
        named = ""
        if isinstance(value, Mapping):
            names = [_part_name(name) for name in value]
            label = str(value.get("label") or "")
            named = f" (in the method {label})" if label and label.isprintable() else ""
            if twice := [name for name in names if names.count(name) > 1]:
                raise InvalidSetting(f"expected each part of a method once, got {twice[0]} twice{named}")
            value = dict(zip(names, value.values(), strict=True))
            if unknown := [name for name in value if name not in (*_parts(), "label")]:
                raise InvalidSetting(
                    f"expected parts of a method out of {', '.join(_parts())}, got {shown(unknown[0])}{named}"
                )
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise InvalidSetting(f"{one_line(error, cls)}{named}") from None

    @classmethod
    def of_policy(cls, policy: Member) -> "Method":
        """The method of a policy alone."""
        return cls.of({"policy": policy})

    @property
    def given(self) -> Mapping[str, Any]:
        """The parts that were given, without the label and what was filled in."""
        return self._given

    def under(self, base: Mapping[str, Any]) -> "Method":
        """This method, with what it leaves out as in other settings.

        A spec of the same member as in `base` changes only the keys that it names; another network drops the keys.
        """
        return Method.of({**overridden(Method, dict(base), self._given), "label": self.label})

    @property
    def file_name(self) -> str:
        """A name for its files."""
        return file_name(self.policy.spec) if self.label == str(self.policy) else label_file_name(self.label)

    def differences(self, *others: "Method") -> list[str]:
        """The names of the parts in which this method differs from any of the others."""
        return [name for name in _parts() if any(getattr(self, name) != getattr(each, name) for each in others)]


def _parts() -> list[str]:
    return [name for name in Method.model_fields if name != "label"]


def _part_name(text: Any) -> str:
    """The name of a part at the beginning of a text, with _ for -."""
    return str(text).partition(":")[0].strip().replace("-", "_")


def _label(given: Mapping[str, Any]) -> str:
    """The label of a method without one: its parts as they were given; that of a policy alone is the policy."""
    tuned = Tuned.read(given.get("tuned"))
    named = {**given, "tuned": tuned.run} if tuned else given
    texts = {name: str(spelled(value)) for name, value in named.items() if name in _parts()}
    if texts.keys() == {"policy"}:
        return str(Of(POLICY).read(given["policy"]))
    return " | ".join(f"{name}:{text}" for name, text in texts.items())


def overridden(kind: type[BaseModel], settings: dict[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with others in their place, of which specs keep the keys that they do not set.

    Places of keys belong to a network: another network removes earlier places. What settings were tuned on sets the
    tuned parts, and removes those of an earlier tuning. A baseline removes what it takes the place of.

    Args:
        kind: gives the defaults of `settings`.
        settings: as texts, tables or values.
        override: in the same way.
    """
    if names_baseline(override):
        settings = {name: value for name, value in settings.items() if name not in NOT_OF_BASELINES}
    if "tuned" in override:
        settings, override = without_tuned_parts(settings), with_tuned_parts(override, kind.model_fields)
    specs = dict(override)
    for name in SPECS.keys() & override.keys() & kind.model_fields.keys():
        base, text = (_text(each) for each in (settings.get(name, kind.model_fields[name].default), override[name]))
        if text is None or base is None:
            continue  # invalid; validation reports it
        specs[name] = merged(base, text, SPECS[name])
        if name == "network" and parse(text).name != parse(base).name and "keys" not in override:
            settings = {each: value for each, value in settings.items() if each != "keys"}
    return settings | specs


def _text(value: Any) -> str | None:
    """A spec as text; None for a value that is none."""
    text = str(value) if isinstance(value, Member) else spelled(value)
    return text if isinstance(text, str) else None


def listed_methods(value: Any) -> list[Method]:
    """Methods from a text, a table, a method, or a list of them; a table of tables gives labels as keys."""
    labelled = isinstance(value, Mapping) and all(isinstance(each, Mapping) for each in value.values())
    if labelled and not all(_part_name(name) in _parts() for name in value):
        if inner := [label for label, each in value.items() if "label" in each]:
            raise InvalidSetting(
                f"expected no label in the table of the method {inner[0]}, which has one; leave it out"
            )
        value = [{"label": label, **each} for label, each in value.items()]
    return [Method.of(each) for each in (value if isinstance(value, list | tuple) else [value])]


def completed(methods: Iterable[Method], base: Mapping[str, Any]) -> tuple[Method, ...]:
    """Methods with what they leave out as in `base`.

    Raises:
        InvalidSetting: two methods of one label.
    """
    return distinct(tuple(method.under(base) for method in methods))


def distinct(found: tuple[Method, ...]) -> tuple[Method, ...]:
    """The same methods.

    Raises:
        InvalidSetting: two methods of one label.
    """
    labels, file_names = Counter(each.label for each in found), Counter(each.file_name for each in found)
    for method in found:
        if labels[method.label] > 1 or file_names[method.file_name] > 1:
            alike = [each.label for each in found if each.label == method.label or each.file_name == method.file_name]
            raise InvalidSetting(f"expected a label for each method, got {' and '.join(alike)}; label them apart")
    return found


def member_in(kind: type[BaseModel], values: Mapping[str, Any], name: str) -> Member | None:
    """The member in raw values, or the default of its field; None if it cannot be read, which validation reports."""
    family: Family = SPECS[name]
    text = _text(values.get(name, kind.model_fields[name].default))
    return None if text is None else Member.read(text, family)


def names_baseline(values: Mapping[str, Any]) -> bool:
    """Whether raw values name a baseline."""
    return values.get("baseline") not in (None, "none")


def is_lazy(learner: Member) -> bool:
    """Whether a learner or a baseline trains only before a forward pass."""
    return getattr(learner.factory, "lazy", False) is True
