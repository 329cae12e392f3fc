"""Every setting of every experiment, documented and checked."""

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from scenarios.config.families import LEARNER as LEARNERS
from scenarios.config.fields import (
    COSTS,
    DATA,
    LEARNER,
    MEASURING,
    MEMORY,
    SEARCH,
    STREAM,
    TRAINING,
    Limit,
    Part,
    Percents,
    Places,
    SpecList,
    SpecText,
    setting,
)
from scenarios.config.members import find
from scenarios.config.specs import parse, spelled

DEFAULT_CHUNKS = 30

UTILITY_HELP = "utility = accuracy - cost weight × cost: accuracy (0 to 1) that one unit of cost is worth"
_RECIPE_HELP = "how the network is trained, name:key=value,...; `lifetime list recipes` shows them"
_LEARNER_HELP = (
    "online: one pass, with rehearsal; cooldown: the same, but a copy is cooled down before each use; refit: trained "
    "anew on all learned chunks; name:key=value,..., `lifetime list learners` shows them"
)
_EVALUATE_HELP = "chunks between evaluations on the test set; 0: only at the end"
_CONFIDENCE_HELP = "level of all intervals"
_FIRST_SEED_HELP = "first seed; the others count up from it"


class AgentConfig(BaseModel):
    """Settings of the data and the agent, which every experiment has; the defaults are the preset `quick`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    unused: ClassVar[frozenset[str]] = frozenset()
    """Settings that decide nothing in this experiment, so that its command has no option for them."""

    dataset: SpecText = setting(
        "textures",
        "textures, digits, cifar10, cifar100, torchvision:NAME, folder:PATH (train/<class>/, test/<class>/), npz:PATH "
        "(x_train, y_train) or parquet:PATH (columns of images and labels); `lifetime list datasets` shows them",
        DATA,
    )
    image_size: int | None = setting(
        None, "side of the square images in pixels (default: 32; npz: the images' own size)", DATA, ge=8, le=512
    )
    train_size: int | None = setting(None, "training images, drawn by the seed (default: all)", DATA, ge=1, le=10**9)
    validation_size: int | None = setting(None, "validation images (default: by data set)", DATA, ge=1, le=10**9)
    test_size: int | None = setting(None, "test images (default: all)", DATA, ge=1, le=10**9)
    data_seed: int | None = setting(
        None,
        "seed of the data's split (textures: of the images), instead of each lifetime's seed: intervals over seeds "
        "then cover order, initial weights and policy alone",
        DATA,
        ge=0,
    )
    max_megapixels: float = setting(
        180.0, "folders: largest image that is decoded (a JPEG counts at its reduced size)", DATA, "idle", gt=0, le=1e6
    )
    shift: int | None = setting(
        None, "augmentation: largest shift in pixels (default: by data set)", DATA, ge=0, le=1000
    )
    mirror: bool | None = setting(None, "augmentation: mirror left and right (default: by data set)", DATA)

    network: SpecText = setting("resnet", "name:key=value,...; `lifetime list networks` shows them", LEARNER, "agent")
    recipe: SpecText = setting("sgd", _RECIPE_HELP, LEARNER, "agent")
    learner: SpecText = setting("online", _LEARNER_HELP, LEARNER, "agent")
    device: Literal["auto", "cpu", "cuda", "mps"] = setting("auto", "device of all tensors", LEARNER, "agent")
    compile: bool | None = setting(
        None,
        "fuse the gradient step with torch.compile, which takes a minute at first (default: on cuda only)",
        LEARNER,
        "agent",
    )

    memory: SpecText = setting("cache", "name:key=value,...; `lifetime list memories` shows them", MEMORY, "agent")
    keys: Annotated[str | None, Places] = setting(
        None,
        "places whose activations are keys, joined by +: input, or places of the network, as in "
        "stage1.block0+features (default: by network)",
        MEMORY,
        "agent",
    )
    pool: bool | None = setting(None, "average keys over space (default: by memory)", MEMORY, "agent")

    evaluate_every: int = setting(5, _EVALUATE_HELP, MEASURING, ge=0)
    checkpoint_every: int = setting(20, "chunks between checkpoints", MEASURING, "idle", ge=1)

    @property
    def learner_name(self) -> str:
        """The learner without its settings."""
        return parse(self.learner).name


class CurveConfig(AgentConfig):
    """Settings of the relative-value curve."""

    k: Percents = setting(
        (10, 20, 30, 40, 50, 60, 70, 80, 90),
        "percentages of the stream to learn from, as in 10,20,40",
        STREAM,
        min_length=1,
    )
    chunks: int = setting(20, "chunks in the stream; each k must be a whole number of them", STREAM, ge=1)
    recipe: SpecText = setting("sgd:lr=0.1", _RECIPE_HELP, LEARNER, "agent")
    learner: SpecText = setting("cooldown", _LEARNER_HELP, LEARNER, "agent")
    evaluate_every: int = setting(0, _EVALUATE_HELP, MEASURING, ge=0)
    seeds: int = setting(
        4, "lifetimes for each k, each with its own split, order and initial weights", STREAM, "free", ge=1, le=10**6
    )
    first_seed: int = setting(0, _FIRST_SEED_HELP, STREAM, "free", ge=0)
    warm: bool = setting(
        False, "also report y of a training that continues from the k%-learner (learner refit)", STREAM
    )
    with_policies: Annotated[str | None, SpecList] = setting(
        None, "policies to run on the same streams as the k%-learners, separated by spaces or semicolons", STREAM
    )

    confidence: float = setting(0.95, _CONFIDENCE_HELP, MEASURING, "free", gt=0, le=0.999999)

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
        if self.warm and not hasattr(find(self.learner, LEARNERS), "warmed"):
            raise ValueError(
                f"expected --learner refit with --warm: with {self.learner_name} y always continues the k%-learner"
            )
        return self


class LifetimeConfig(AgentConfig):
    """Settings of lifetimes under any policy, in any scenario."""

    scenario: SpecText = setting("iid", "name:key=value,...; `lifetime list scenarios` shows them", STREAM)
    tariff: SpecText = setting("constant", "price of compute over time; `lifetime list tariffs` shows them", COSTS)
    chunks: int | None = setting(
        None, f"chunks in the stream (default: {DEFAULT_CHUNKS}, or by --chunk-size)", STREAM, ge=1
    )
    chunk_size: int | None = setting(None, "samples in a chunk; the last chunk may be smaller", STREAM, ge=1)
    cost: SpecText = setting("flops", "cost model, name:key=value,...; `lifetime list costs` shows them", COSTS)
    budget: Annotated[float | None, Limit] = setting(
        None,
        "the most that a lifetime may spend, in the unit of the cost model (inf: no limit); policies see it",
        COSTS,
        "agent",
        ge=0,
    )
    rekey: str = setting(
        "never", "when stale keys are computed again: never, on-learn or every:n (chunks)", MEMORY, "agent"
    )
    calibrate_every: int | None = setting(
        None,
        "chunks between calibrations, which fit w and the memory's setting; 0: only at the end (default: 5, or 0 for a "
        "lazy learner such as refit)",
        MEMORY,
        "agent",
        ge=0,
    )
    queries: Annotated[int, Field(ge=0, le=10**9)] | Literal["chunk"] | None = setting(
        None,
        "number of queries before each chunk, which the agent answers and pays, or chunk for one query on each of "
        "the chunk's images (default: chunk, or 0 for a lazy learner such as refit)",
        STREAM,
    )
    prequential: bool | None = setting(
        None,
        "measure accuracy on each chunk before its use (default: yes, except for a lazy learner such as refit); with "
        "--calibrate-every 0 the agent's accuracy is the learner's alone, as w stays 1 until the end",
        MEASURING,
    )

    @property
    def title(self) -> str:
        """Data set, scenario and tariff, for titles of tables and figures."""
        return f"{self.dataset}, {self.scenario}" + ("" if self.tariff == "constant" else f", {self.tariff} tariff")

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        """Fill in the defaults that depend on other settings, so that config.json records them."""
        if not isinstance(values, dict):
            return values
        filled = dict(values)
        eager = not _is_lazy(str(spelled(filled.get("learner", cls.model_fields["learner"].default))))
        if filled.get("chunks") is None and filled.get("chunk_size") is None:
            filled["chunks"] = cls.model_fields["chunks"].default or DEFAULT_CHUNKS
        filled.setdefault("chunks", None)
        if filled.get("calibrate_every") is None:
            filled["calibrate_every"] = 5 if eager else 0
        if filled.get("prequential") is None:
            filled["prequential"] = eager
        if filled.get("queries") is None:
            default = cls.model_fields["queries"].default
            filled["queries"] = ("chunk" if eager else 0) if default is None else default
        return filled


class SimulateConfig(LifetimeConfig):
    """Settings of one lifetime."""

    policy: SpecText = setting("loss", "name:key=value,...; `lifetime list policies` shows them", STREAM, "free")
    seed: int = setting(
        0, "seeds the split and the order of the data, the initial weights and the policy", STREAM, "free", ge=0
    )


class CompareConfig(LifetimeConfig):
    """Settings of lifetimes side by side."""

    policies: Annotated[str, SpecList] = setting(
        "static:k=20 static:k=50 static:k=80 interleaved:k=20 interleaved:k=50 random:p=0.5 loss uncertainty",
        "policies, separated by spaces or semicolons",
        STREAM,
        "free",
    )
    seeds: int = setting(
        3,
        "lifetimes for each policy, each with its own split, order and initial weights",
        STREAM,
        "free",
        ge=1,
        le=10**6,
    )
    first_seed: int = setting(0, _FIRST_SEED_HELP, STREAM, "free", ge=0)
    confidence: float = setting(0.95, _CONFIDENCE_HELP, MEASURING, "free", gt=0, le=0.999999)
    cost_weight: float | None = setting(None, f"also report {UTILITY_HELP}", COSTS, "free", ge=0, le=1e30)


class TreeConfig(LifetimeConfig):
    """Settings of schedule tables: every schedule of a short stream."""

    unused: ClassVar[frozenset[str]] = frozenset(
        ("test_size", "evaluate_every", "checkpoint_every", "prequential", "queries")
    )

    train_size: int | None = setting(1200, "training images, drawn by the seed (default: all)", DATA, ge=1, le=10**9)
    validation_size: int | None = setting(
        1000,
        "validation images: half of them fit the mixture, the others measure utility (default: by data set)",
        DATA,
        ge=2,
        le=10**9,
    )
    recipe: SpecText = setting("sgd:batch=16", _RECIPE_HELP, LEARNER, "agent")
    queries: int = setting(0, "trees have no queries", STREAM, ge=0, le=0)
    chunks: int | None = setting(
        8, "chunks in the stream, n: there are 2^n schedules; at most 14, except for beam", STREAM, ge=1
    )
    seeds: int = setting(1, "trees, each with its own split, order and initial weights", STREAM, "free", ge=1, le=10**6)
    first_seed: int = setting(0, _FIRST_SEED_HELP, STREAM, "free", ge=0)
    search: Literal["all", "beam"] = setting(
        "all", "all: the whole tree, saved as a table; beam: only a good schedule", SEARCH
    )
    beam_width: int = setting(8, "beam: schedules that remain after each chunk", SEARCH, ge=1, le=10**6)
    cost_weight: float = setting(0.004, UTILITY_HELP, COSTS, "free", ge=0, le=1e30)

    @model_validator(mode="after")
    def _agree_on_searching(self) -> "TreeConfig":
        if _is_lazy(self.learner):
            raise ValueError(
                f"expected a learner that learns at once, such as online, got {self.learner}: a lazy learner has no "
                "state at every decision"
            )
        return self


class TrainConfig(TreeConfig):
    """Settings of training a policy."""

    unused: ClassVar[frozenset[str]] = TreeConfig.unused | {"search", "beam_width"}

    method: Literal["cma", "reinforce", "ppo", "forecast"] = setting(
        "cma",
        "cma: a linear threshold policy by CMA-ES; reinforce, ppo: a small network by policy gradient (ppo needs the "
        "extra `ppo`); forecast: the prior of a policy that forecasts accuracy",
        TRAINING,
    )
    observes: Literal["nothing", "learner", "memory"] = setting(
        "learner", "what the policy may observe of a chunk; the agent pays", TRAINING
    )
    seeds: int = setting(
        4, "worlds to train in; the policy is never evaluated in them", TRAINING, "free", ge=1, le=10**6
    )
    first_seed: int = setting(0, "first seed of the worlds; the others count up from it", TRAINING, "free", ge=0)
    tariff_draws: int = setting(
        8, "with --trees: paths of a random tariff (random-walk) for each tree", TRAINING, ge=1, le=10**4
    )
    iterations: int | None = setting(
        None,
        "generations or gradient steps (default: cma 60, reinforce 300, ppo 100, forecast 1)",
        TRAINING,
        ge=1,
        le=10**6,
    )
    population: int = setting(
        16,
        "policies in each iteration, each in every world; ppo: lifetimes in all, in random worlds",
        TRAINING,
        ge=4,
        le=10**5,
    )
    hidden: int = setting(16, "reinforce, ppo: units of the hidden layer", TRAINING, ge=1, le=4096)
    policy_lr: float | None = setting(
        None, "learning rate of Adam (default: reinforce 0.02, ppo 0.002)", TRAINING, gt=0, le=1e3
    )
    entropy: float = setting(0.01, "reinforce, ppo: weight of the entropy bonus", TRAINING, ge=0, le=1e3)
    policy_seed: int = setting(0, "seed of the training", TRAINING, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _fill_training(cls, values: Any) -> Any:
        """Fill in the method's defaults. PPO takes several steps on the same lifetimes, REINFORCE one."""
        if not isinstance(values, dict):
            return values
        defaults: dict[str, dict[str, Any]] = {
            "cma": {"iterations": 60},
            "reinforce": {"iterations": 300, "policy_lr": 0.02},
            "ppo": {"iterations": 100, "policy_lr": 0.002},
            "forecast": {"iterations": 1},
        }
        default = defaults.get(values.get("method", "cma"), {})
        return default | {name: value for name, value in values.items() if value is not None or name not in default}


def _is_lazy(learner: str) -> bool:
    """Whether a learner trains only before a forward pass; raises InvalidSetting for an unknown learner."""
    return getattr(find(learner, LEARNERS), "lazy", False) is True


def settings_of(kind: type[AgentConfig], part: Part) -> frozenset[str]:
    """The names of an experiment's settings that decide this part."""
    extras = {name: field.json_schema_extra for name, field in kind.model_fields.items()}
    return frozenset(name for name, extra in extras.items() if isinstance(extra, dict) and extra["part"] == part)
