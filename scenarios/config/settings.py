"""Every setting of every experiment, documented and checked."""

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from scenarios.config.families import LEARNER as LEARNERS
from scenarios.config.members import find
from scenarios.config.specs import parse, spelled

DATA, STREAM, LEARNER, MEMORY, MEASURING = "Data", "Stream", "Learner", "Memory", "Measuring"
COSTS, SEARCH, TRAINING = "Costs", "Search", "Training the policy"
UTILITY_HELP = "utility = accuracy - cost weight × cost: accuracy (0 to 1) that one unit of cost is worth"
DEFAULT_CHUNKS = 30
Part = Literal["world", "agent", "free", "idle"]
"""What a setting is part of, and so whether lifetimes that are compared may differ in it.

world: of what the agent meets, pays and is measured on; all must agree. agent: of what the agent is; where lifetimes
differ in it, their labels say so. free: of which lifetimes there are, and of how they are read. idle: of nothing that
changes a number; it is no part of a run's identity either.
"""


def _setting(default: Any, description: str, panel: str, part: Part = "world", **limits: Any) -> Any:
    return Field(default, description=description, json_schema_extra={"panel": panel, "part": part}, **limits)


def _listed(value: Any) -> Any:
    """A list, also from `10,20,40` as typed, or from a single number."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return [value] if isinstance(value, int | float) else value


def _joined(value: Any) -> Any:
    """Specs in one text, also from a list of texts and tables."""
    return " ".join(str(spelled(each)) for each in value) if isinstance(value, list | tuple) else spelled(value)


def _bounded(value: Any) -> Any:
    """None for what knows no bound."""
    return None if value in (math.inf, "inf") else value


def _places(value: Any) -> Any:
    """Places joined by `+`, also from a list of them."""
    if isinstance(value, list | tuple):
        value = "+".join(map(str, value))
    if isinstance(value, str) and "," in value:
        raise ValueError(f"expected --keys of places joined by + ({value.replace(',', '+')}), got {value}")
    if isinstance(value, str) and not all(part.strip() for part in value.split("+")):
        raise ValueError(f"expected --keys of places joined by +, as in stem+features, got {value or 'nothing'}")
    return value


SpecText = Annotated[str, BeforeValidator(spelled)]
"""A spec, also from a table: `{name = "static", k = 20}`."""
Percent = Annotated[float, Field(ge=0, le=100)]
Percents = Annotated[tuple[Percent, ...], BeforeValidator(_listed)]


class AgentConfig(BaseModel):
    """Settings of the data and of the agent, which every experiment has; the defaults are those of `quick`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    unused: ClassVar[frozenset[str]] = frozenset()
    """Settings that decide nothing in this experiment, and are no options of its command."""

    dataset: str = _setting(
        "textures", "textures, digits, cifar10, cifar100, or folder:PATH (train/<class>/, test/<class>/)", DATA
    )
    train_size: int | None = _setting(None, "training images, drawn by the seed (default: all)", DATA, ge=1, le=10**9)
    validation_size: int | None = _setting(
        None, "validation images (default: what suits the data set)", DATA, ge=1, le=10**9
    )
    test_size: int | None = _setting(None, "test images (default: all)", DATA, ge=1, le=10**9)
    data_seed: int | None = _setting(
        None,
        "of the data's split (textures: of the images), in place of each lifetime's own seed: intervals over seeds "
        "are then over order, initial weights and policy alone",
        DATA,
        ge=0,
    )
    max_megapixels: float = _setting(
        180.0, "folders: largest picture that is decoded (a JPEG counts as it is reduced)", DATA, "idle", gt=0, le=1e6
    )
    shift: int | None = _setting(
        None, "augmentation: shifts of up to so many pixels (default: by data set)", DATA, ge=0, le=1000
    )
    mirror: bool | None = _setting(None, "augmentation: mirror left and right (default: by data set)", DATA)

    network: SpecText = _setting("resnet", "name:key=value,...; `lifetime list networks` shows them", LEARNER, "agent")
    recipe: SpecText = _setting(
        "sgd", "how the network is trained, name:key=value,...; `lifetime list recipes` shows them", LEARNER, "agent"
    )
    learner: SpecText = _setting(
        "online",
        "online: one pass, with rehearsal; cooldown: the same, and a copy cooled down wherever it is used; refit: "
        "trained anew on all that was learned from so far; name:key=value,..., `lifetime list learners` shows them",
        LEARNER,
        "agent",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = _setting("auto", "where tensors live", LEARNER, "agent")
    compile: bool | None = _setting(
        None,
        "fuse the gradient step with torch.compile, a minute's work at first (default: on cuda alone)",
        LEARNER,
        "agent",
    )

    memory: SpecText = _setting("cache", "name:key=value,...; `lifetime list memories` shows them", MEMORY, "agent")
    keys: Annotated[str | None, BeforeValidator(_places)] = _setting(
        None,
        "places read as keys, joined by +: input, or places of the network, as in stage1.block0+features (default: as "
        "suits the network)",
        MEMORY,
        "agent",
    )
    pool: bool | None = _setting(None, "average keys over space (default: as suits the memory)", MEMORY, "agent")

    evaluate_every: int = _setting(5, "chunks between evaluations on the test set; 0: only at the end", MEASURING, ge=0)
    checkpoint_every: int = _setting(20, "chunks between checkpoints", MEASURING, "idle", ge=1)

    @property
    def learner_name(self) -> str:
        """The learner without its settings."""
        return parse(self.learner).name

    @property
    def lazy(self) -> bool:
        """Whether what the learner learns waits until somebody looks.

        Raises:
            InvalidSetting: an unknown learner.
        """
        return is_lazy(self.learner)


class CurveConfig(AgentConfig):
    """Settings of the relative-value curve."""

    k: Percents = _setting(
        (10, 20, 30, 40, 50, 60, 70, 80, 90),
        "percent of the stream to learn from, as in 10,20,40",
        STREAM,
        min_length=1,
    )
    chunks: int = _setting(20, "chunks in the stream; each k must be a whole number of them", STREAM, ge=1)
    recipe: SpecText = _setting("sgd:lr=0.1", AgentConfig.model_fields["recipe"].description or "", LEARNER, "agent")
    learner: SpecText = _setting("cooldown", AgentConfig.model_fields["learner"].description or "", LEARNER, "agent")
    evaluate_every: int = _setting(0, "chunks between evaluations on the test set; 0: only at the end", MEASURING, ge=0)
    seeds: int = _setting(
        4, "lifetimes for each k, each with its own split, order and initial weights", STREAM, "free", ge=1, le=10**6
    )
    first_seed: int = _setting(0, "seeds count up from here", STREAM, "free", ge=0)
    warm: bool = _setting(False, "also report y trained on from the k%-learner (learner refit)", STREAM)
    with_policies: Annotated[str | None, BeforeValidator(_joined)] = _setting(
        None, "policies to live the same stream beside the k%-learners, separated by blanks or semicolons", STREAM
    )

    confidence: float = _setting(0.95, "level of all intervals", MEASURING, "free", gt=0, le=0.999999)

    @model_validator(mode="after")
    def _agree(self) -> "CurveConfig":
        parts = [k * self.chunks / 100 for k in self.k]
        for k, part in zip(self.k, parts, strict=True):
            if abs(part - round(part)) > 1e-3:
                below, above = (100 * (math.floor(part) + i) / self.chunks for i in (0, 1))
                raise ValueError(
                    f"expected each k to be a whole number of the {self.chunks} chunks, got {k:g}; the nearest are "
                    f"{below:g} and {above:g}: change --k or --chunks"
                )
        if len({round(part) for part in parts}) < len(parts):
            raise ValueError("expected each k once, got one twice; change --k")
        if self.warm and self.learner_name != "refit":
            raise ValueError(
                f"expected --learner refit with --warm: with {self.learner_name} y always continues the k%-learner"
            )
        return self


class LifetimeConfig(AgentConfig):
    """Settings of lifetimes under any policy, in any scenario."""

    scenario: SpecText = _setting("iid", "name:key=value,...; `lifetime list scenarios` shows them", STREAM)
    tariff: SpecText = _setting("constant", "price of compute over time; `lifetime list tariffs` shows them", COSTS)
    chunks: int | None = _setting(
        None, f"chunks in the stream (default: {DEFAULT_CHUNKS}, or what --chunk-size makes)", STREAM, ge=1
    )
    chunk_size: int | None = _setting(None, "samples in a chunk; the last may be short", STREAM, ge=1)
    cost: SpecText = _setting("flops", "cost model, name:key=value,...; `lifetime list costs` shows them", COSTS)
    budget: Annotated[float | None, BeforeValidator(_bounded)] = _setting(
        None,
        "what a lifetime may spend, in the unit of the cost model (inf: anything); shown to policies",
        COSTS,
        "agent",
        ge=0,
    )
    rekey: str = _setting(
        "never", "when stale keys are computed anew: never, on-learn or every:n (chunks)", MEMORY, "agent"
    )
    calibrate_every: int | None = _setting(
        None,
        "chunks between calibrations, which fit w and the memory's setting; 0: only at the end (default: 5, or 0 for a "
        "learner that trains when asked)",
        MEMORY,
        "agent",
        ge=0,
    )
    queries: Annotated[int, Field(ge=0, le=10**9)] | Literal["chunk"] | None = _setting(
        None,
        "put to the agent before each chunk is used, answered at its expense: a number, or chunk for one about each of "
        "the chunk's images (default: chunk, or 0 for a learner that trains before it answers)",
        STREAM,
    )
    prequential: bool | None = _setting(
        None,
        "measure accuracy on each chunk before it is used (default: unless the learner trains whenever it is asked); "
        "with --calibrate-every 0 the agent's is the learner's alone, as w stays 1 until the end",
        MEASURING,
    )

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        """What depends on other settings is written out, so that a run says what it did."""
        if not isinstance(values, dict):
            return values
        filled = dict(values)
        online = not is_lazy(str(spelled(filled.get("learner", cls.model_fields["learner"].default))))
        if filled.get("chunks") is None and filled.get("chunk_size") is None:
            filled["chunks"] = cls.model_fields["chunks"].default or DEFAULT_CHUNKS
        filled.setdefault("chunks", None)
        if filled.get("calibrate_every") is None:
            filled["calibrate_every"] = 5 if online else 0
        if filled.get("prequential") is None:
            filled["prequential"] = online
        if filled.get("queries") is None:
            asked = cls.model_fields["queries"].default
            filled["queries"] = ("chunk" if online else 0) if asked is None else asked
        return filled


class SimulateConfig(LifetimeConfig):
    """Settings of one lifetime."""

    policy: SpecText = _setting("loss", "name:key=value,...; `lifetime list policies` shows them", STREAM, "free")
    seed: int = _setting(0, "of the data's split, their order, initial weights and the policy", STREAM, "free", ge=0)


class CompareConfig(LifetimeConfig):
    """Settings of lifetimes side by side."""

    policies: Annotated[str, BeforeValidator(_joined)] = _setting(
        "static:k=20 static:k=50 static:k=80 interleaved:k=20 interleaved:k=50 random:p=0.5 loss uncertainty",
        "policies, separated by blanks or semicolons",
        STREAM,
        "free",
    )
    seeds: int = _setting(
        3,
        "lifetimes for each policy, each with its own split, order and initial weights",
        STREAM,
        "free",
        ge=1,
        le=10**6,
    )
    first_seed: int = _setting(0, "seeds count up from here", STREAM, "free", ge=0)
    confidence: float = _setting(0.95, "level of all intervals", MEASURING, "free", gt=0, le=0.999999)
    cost_weight: float | None = _setting(None, f"also tell {UTILITY_HELP}", COSTS, "free", ge=0, le=1e30)


class TreeConfig(LifetimeConfig):
    """Settings of schedule tables: every schedule of a short stream."""

    unused: ClassVar[frozenset[str]] = frozenset(
        ("test_size", "evaluate_every", "checkpoint_every", "prequential", "queries")
    )

    train_size: int | None = _setting(1200, "training images, drawn by the seed (default: all)", DATA, ge=1, le=10**9)
    validation_size: int | None = _setting(
        1000,
        "validation images: half of them fit the mixture, the others serve utility alone (default: by data set)",
        DATA,
        ge=2,
        le=10**9,
    )
    recipe: SpecText = _setting("sgd:batch=16", AgentConfig.model_fields["recipe"].description or "", LEARNER, "agent")
    queries: int = _setting(0, "trees ask nothing on the way", STREAM, ge=0, le=0)
    chunks: int | None = _setting(
        8, "chunks in the stream, n: there are 2^n schedules; at most 14, but for beam", STREAM, ge=1
    )
    seeds: int = _setting(
        1, "trees, each with its own split, order and initial weights", STREAM, "free", ge=1, le=10**6
    )
    first_seed: int = _setting(0, "seeds count up from here", STREAM, "free", ge=0)
    search: Literal["all", "beam"] = _setting(
        "all", "all: the whole tree, kept as a table; beam: a good schedule alone", SEARCH
    )
    beam_width: int = _setting(8, "beam: schedules kept at every chunk", SEARCH, ge=1, le=10**6)
    cost_weight: float = _setting(0.004, UTILITY_HELP, COSTS, "free", ge=0, le=1e30)

    @model_validator(mode="after")
    def _agree_on_searching(self) -> "TreeConfig":
        if self.lazy:
            raise ValueError(
                f"expected a learner that learns at once, such as online, got {self.learner}: one that waits has no "
                "state at every decision"
            )
        return self


class TrainConfig(TreeConfig):
    """Settings of training a policy."""

    unused: ClassVar[frozenset[str]] = TreeConfig.unused | {"search", "beam_width"}

    method: Literal["cma", "reinforce", "ppo", "forecast"] = _setting(
        "cma",
        "cma: a linear threshold policy by CMA-ES; reinforce, ppo: a small network by policy gradient (ppo needs the "
        "extra `ppo`); forecast: the prior of a policy that forecasts accuracy",
        TRAINING,
    )
    observes: Literal["nothing", "learner", "memory"] = _setting(
        "learner", "what the policy may see of a chunk, at the agent's expense", TRAINING
    )
    seeds: int = _setting(
        4, "worlds to train in; never those that it is evaluated in", TRAINING, "free", ge=1, le=10**6
    )
    first_seed: int = _setting(0, "seeds of the worlds count up from here", TRAINING, "free", ge=0)
    tariff_draws: int = _setting(
        8,
        "with --trees: paths of a tariff that is drawn (random-walk), for each tree",
        TRAINING,
        ge=1,
        le=10**4,
    )
    iterations: int | None = _setting(
        None,
        "generations or gradient steps (default: cma 60, reinforce 300, ppo 100, forecast 1)",
        TRAINING,
        ge=1,
        le=10**6,
    )
    population: int = _setting(
        16,
        "policies tried at each iteration, in every world; ppo: lifetimes in all, in worlds that are drawn",
        TRAINING,
        ge=4,
        le=10**5,
    )
    hidden: int = _setting(16, "reinforce, ppo: units of the hidden layer", TRAINING, ge=1, le=4096)
    policy_lr: float | None = _setting(
        None, "learning rate of Adam (default: reinforce 0.02, ppo 0.002)", TRAINING, gt=0, le=1e3
    )
    entropy: float = _setting(0.01, "reinforce, ppo: bonus for entropy", TRAINING, ge=0, le=1e3)
    policy_seed: int = _setting(0, "of what the training draws", TRAINING, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _fill_training(cls, values: Any) -> Any:
        """What suits the method is written out. PPO takes several steps on the same lifetimes, REINFORCE one."""
        if not isinstance(values, dict):
            return values
        suited: dict[str, dict[str, Any]] = {
            "cma": {"iterations": 60},
            "reinforce": {"iterations": 300, "policy_lr": 0.02},
            "ppo": {"iterations": 100, "policy_lr": 0.002},
            "forecast": {"iterations": 1},
        }
        suits = suited.get(values.get("method", "cma"), {})
        return {**suits, **{name: value for name, value in values.items() if value is not None or name not in suits}}


def is_lazy(learner: str) -> bool:
    """Whether a learner, given by its spec, trains only when somebody looks.

    Raises:
        InvalidSetting: an unknown learner.
    """
    return getattr(find(learner, LEARNERS), "lazy", False) is True


def settings_of(kind: type[AgentConfig], part: Part) -> frozenset[str]:
    """The settings of an experiment that are declared as part of the world, of the agent, or free."""
    extras = {name: field.json_schema_extra for name, field in kind.model_fields.items()}
    return frozenset(name for name, extra in extras.items() if isinstance(extra, dict) and extra["part"] == part)
