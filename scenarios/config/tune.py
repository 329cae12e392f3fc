"""The settings of a search for the parts of a method."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from scenarios.config.families import BASELINE, LEARNER, POLICY
from scenarios.config.fields import COSTS, DATA, MEASURING, SEARCH, STREAM, Of, setting
from scenarios.config.members import Member
from scenarios.config.method import POLICY_HELP, Method, is_lazy
from scenarios.config.presets import LIFETIME_PRESETS, PRESETS, resolve
from scenarios.config.search_space import SEARCHED, SearchText, Space, read_search, space_of
from scenarios.config.settings import UTILITY_HELP, LifetimeConfig, check_enforced

UTILITY = "utility"


class TuneConfig(LifetimeConfig):
    """Settings of a search: those of one lifetime, what is searched, and on what.

    The methods of trials are made from `base`, so that what depends on a searched part, such as the keys that suit a
    memory, is decided for each trial.
    """

    unused: ClassVar[frozenset[str]] = frozenset({"search", "base", "probes", "tuned", "keep_predictions", "evaluate"})
    """Those that are made from other settings or have no use; `search` is an option of the command itself."""

    policy: Annotated[Member, Of(POLICY)] = setting("loss", POLICY_HELP, STREAM, "method")
    search: SearchText = setting({}, "ranges or choices by name: a part of a method, or part.key", SEARCH, "free")
    base: dict[str, Any] = setting({}, "the given parts of all methods, as plain values", SEARCH, "free")
    trials: int = setting(20, "trials in all; a larger number later goes on", SEARCH, "free", ge=1, le=10**5)
    at_a_time: int = setting(
        1,
        "trials that are suggested together, and so can be lived side by side; --trials is a multiple of it",
        SEARCH,
        "free",
        ge=1,
        le=1000,
    )
    sampler: Literal["tpe", "random"] = setting(
        "tpe", "tpe: random for ten trials, then where the better ones were; random: always", SEARCH, "free"
    )
    sampler_seed: int = setting(0, "seed of the suggestions", SEARCH, "free", ge=0)
    maximize: Literal["final_accuracy", "average_anytime_accuracy", "prequential_accuracy", "utility"] = setting(
        "final_accuracy", "what the mean over the seeds is taken of; utility needs --cost-weight", SEARCH, "free"
    )
    cost_weight: float | None = setting(None, f"of {UTILITY_HELP}", COSTS, "free", ge=0, le=1e30)
    held_out: float = setting(
        0.2,
        "training images that the stream lacks and that take the place of the test set: a share below 1, or a number",
        DATA,
        "free",
        gt=0,
        le=1e9,
    )
    seeds: int = setting(
        3,
        "lifetimes of each trial, each with its own split, order and initial weights",
        STREAM,
        "free",
        ge=1,
        le=10**6,
    )
    first_seed: int = setting(
        1_000_000,
        "first seed; the others count up from it, and runs that are reported use none of them",
        STREAM,
        "free",
        ge=0,
    )
    confidence: float = setting(0.95, "level of all intervals", MEASURING, "free", gt=0, le=0.999999)
    probes: tuple[Method, ...] = Field(default=(), exclude=True, description="methods with every choice and end")

    @property
    def space(self) -> Space:
        """What is searched, read and checked."""
        return space_of(self.search, self.base)

    @property
    def on_seeds(self) -> range:
        """The seeds of the lifetimes of each trial."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @model_validator(mode="before")
    @classmethod
    def _remember_base(cls, values: Any) -> Any:
        """Keep the given parts of methods before defaults are filled in; a lazy learner decides some for all trials."""
        if not isinstance(values, dict):
            return values
        values = {**values, "search": read_search(values.get("search") or {})}
        if values.get("base") is None:
            given = {name: values[name] for name in SEARCHED if values.get(name) is not None}
            values["base"] = Method.of(given).model_dump(mode="json", include=set(given))
        searched = {family: values["search"].get(family.name, []) for family in (LEARNER, BASELINE)}
        read = [
            Member.read(text, family) for family, each in searched.items() if isinstance(each, list) for text in each
        ]
        if any(map(is_lazy, read)):
            values = {**{"prequential": False, "queries": 0}, **{k: v for k, v in values.items() if v is not None}}
        return values

    @model_validator(mode="after")
    def _agree_on_search(self) -> "TuneConfig":
        if self.tuned is not None:
            raise ValueError("expected no tuned settings to search from, got some; search all parts at once")
        if self.held_out >= 1 and not self.held_out.is_integer():
            raise ValueError(f"expected --held-out of a share below 1, or a number of images, got {self.held_out:g}")
        if self.trials % self.at_a_time:
            raise ValueError(
                f"expected --trials as a multiple of --at-a-time {self.at_a_time}, got {self.trials}: each suggestion "
                "depends on those before it"
            )
        if (self.maximize == UTILITY) != (self.cost_weight is not None):
            got = "none" if self.cost_weight is None else f"it for {self.maximize}"
            raise ValueError(f"expected --cost-weight for --maximize utility, and only for it, got {got}")
        if self.maximize == "prequential_accuracy" and not self.prequential:
            raise ValueError("expected --prequential for --maximize prequential_accuracy, got none")
        object.__setattr__(self, "probes", tuple(self.space.probes()))
        check_enforced(self, self.probes)
        return self


PRESETS[TuneConfig] = LIFETIME_PRESETS


def read_tune(preset: str, *overrides: dict[str, Any]) -> TuneConfig:
    """The settings of a search: a preset with overrides, of which the last counts; each may add to what is searched.

    Raises:
        InvalidSetting: an unknown or invalid setting, or a search that cannot be read; in one line.
    """
    search: dict[str, Any] = {}
    for override in overrides:
        search |= read_search(override.get("search", {}))
    return resolve(TuneConfig, preset, *overrides, {"search": search})
