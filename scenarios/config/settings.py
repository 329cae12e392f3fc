"""Every setting of every experiment, documented and checked."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from scenarios.config.families import COST_MODEL, DATASET, POLICY, RECIPE, SCENARIO, TARIFF
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
    Choices,
    CostList,
    Counts,
    Labels,
    Limit,
    Measurements,
    MemoryList,
    MixtureRules,
    Of,
    Part,
    Percents,
    PolicyList,
    Unlimited,
    read_memories,
    read_policies,
    setting,
)
from scenarios.config.members import Member
from scenarios.config.method import (
    LEARNER_HELP,
    POLICY_HELP,
    RECIPE_HELP,
    AgentSettings,
    Method,
    MethodSettings,
    Settings,
    completed,
    distinct,
    is_lazy,
    listed_methods,
    member_in,
    names_baseline,
)

DEFAULT_CHUNKS = 30
DEFAULT_POLICIES = "static:k=20 static:k=50 static:k=80 interleaved:k=20 interleaved:k=50 random:p=0.5 loss uncertainty"

UTILITY_HELP = "utility = accuracy - cost weight × cost: accuracy (0 to 1) that one unit of cost is worth"
_EVALUATE_HELP = "chunks between evaluations on the test set; 0: only at the end"
_CONFIDENCE_HELP = "level of all intervals"
_WIDTH_HELP = (
    "also say how many more seeds an interval this wide, from its low to its high end, needs and what they cost"
)
_FIRST_SEED_HELP = "first seed; the others count up from it"


def _want_width(unit: str) -> Any:
    """The wanted width of intervals; excluded from config.json, so that no file of a run depends on it."""
    return setting(None, f"{_WIDTH_HELP}, in {unit}", MEASURING, "idle", gt=0, le=1e6, exclude=True)


def _show_costs() -> Any:
    """Whether costs are shown; excluded from config.json, as wall-clock time differs between equal runs."""
    return setting(
        False,
        "also tell what a seed has computed, by part (training, cool-downs, forward passes, recall, calibration), in "
        "FLOPs and seconds",
        MEASURING,
        "idle",
        exclude=True,
    )


class AgentConfig(AgentSettings):
    """Settings of the data and the agent; the defaults are the preset `quick`."""

    dataset: Annotated[Member, Of(DATASET)] = setting(
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
        180.0,
        "images in files: largest one that is decoded, in millions of pixels (a JPEG counts at its reduced size)",
        DATA,
        "idle",
        gt=0,
        le=1e6,
    )
    shift: int | None = setting(
        None, "augmentation: largest shift in pixels (default: by data set)", DATA, ge=0, le=1000
    )
    mirror: bool | None = setting(None, "augmentation: mirror left and right (default: by data set)", DATA)

    device: Literal["auto", "cpu", "cuda", "mps"] = setting("auto", "device of all tensors", LEARNER, "machine")
    compile: bool | None = setting(
        None,
        "fuse the gradient step with torch.compile, which takes a minute at first (default: on cuda only)",
        LEARNER,
        "machine",
    )
    threads: int | None = setting(
        None,
        "threads of each task, which decide the last digits of results (default: 1 with --workers, with --executor and "
        "for trees, else all)",
        LEARNER,
        "machine",
        ge=1,
        le=1024,
    )

    evaluate_every: int = setting(5, _EVALUATE_HELP, MEASURING, ge=0)
    checkpoint_every: int = setting(20, "chunks between checkpoints", MEASURING, "idle", ge=1)
    keep_predictions: bool = setting(
        False,
        "keep the class probabilities of learner, memory and agent for every test image after the last chunk "
        "(predictions.npz of each lifetime)",
        MEASURING,
        "free",
    )


class CurveConfig(AgentConfig):
    """Settings of the relative-value curve."""

    k: Percents = setting(
        (10, 20, 30, 40, 50, 60, 70, 80, 90),
        "percentages of the stream to learn from, as in 10,20,40",
        STREAM,
        min_length=1,
    )
    chunks: int = setting(20, "chunks in the stream; each k must be a whole number of them", STREAM, ge=1)
    recipe: Annotated[Member, Of(RECIPE)] = setting("sgd:lr=0.1", RECIPE_HELP, LEARNER, "method")
    learner: Annotated[Member, Of(LEARNERS)] = setting("cooldown", LEARNER_HELP, LEARNER, "method")
    evaluate_every: int = setting(0, _EVALUATE_HELP, MEASURING, ge=0)
    seeds: int = setting(
        4, "lifetimes for each k, each with its own split, order and initial weights", STREAM, "free", ge=1, le=10**6
    )
    first_seed: int = setting(0, _FIRST_SEED_HELP, STREAM, "free", ge=0)
    warm: bool = setting(
        False, "also report y of a training that continues from the k%-learner (learner refit)", STREAM
    )
    with_policies: PolicyList | None = setting(
        None, "policies to run on the same streams as the k%-learners, separated by spaces or semicolons", STREAM
    )
    memories: MemoryList | None = setting(
        None,
        "memories of the same learners beside that of --memory, each with an R of its own, separated by spaces or "
        "semicolons, as in 'knn ridge residual'; the other settings are the same for all, but pool, if it is not given",
        MEMORY,
    )
    with_memories: tuple[Method, ...] = setting(
        (),
        "a further memory of the same learners, with an R of its own: 'label = memory:... | keys:... | pool:...', also "
        "with transform, capacity, eviction and mixture; what is left out is as in the other settings; once for each",
        MEMORY,
    )
    with_mixtures: MixtureRules = setting(
        (), "further rules for the mixture, with an R each: author, calibrated; see --mixture", MEMORY
    )
    surface: bool | None = setting(
        None,
        "measure z whenever another k's share of the stream has passed, too: R by the number of images learned and in "
        "all, for recall alone (default: yes, except with --with-policies)",
        MEASURING,
    )

    confidence: float = setting(0.95, _CONFIDENCE_HELP, MEASURING, "free", gt=0, le=0.999999)
    want_width: float | None = _want_width("the unit of R")
    show_costs: bool = _show_costs()

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        """Complete the memories by the other settings, so that config.json records them."""
        if not isinstance(values, dict):
            return values
        surface = values.get("surface")
        filled = {**values, "surface": not values.get("with_policies") if surface is None else surface}
        base = {name: values.get(name, cls.model_fields[name].default) for name in AgentSettings.model_fields}
        base["calibrate_every"] = 0
        listed = {} if values.get("memories") is None else read_memories(values["memories"])
        own = member_in(cls, values, "memory")
        named = [Method(label=label, memory=memory) for label, memory in listed.items() if memory != own]
        # Listed ones are as they are written: the settings of --memory are not theirs.
        found = completed(named, {name: value for name, value in base.items() if name != "memory"})
        found += completed(listed_methods(values.get("with_memories") or ()), base)
        return {**filled, "with_memories": distinct(found), "memories": None}

    @model_validator(mode="after")
    def _agree_on_memories(self) -> "CurveConfig":
        if self.surface and self.with_policies:
            raise ValueError("expected --no-surface with --with-policies, whose lifetimes it would measure as well")
        rules = (self.mixture, *self.with_mixtures)
        if len(set(rules)) < len(rules):
            raise ValueError(f"expected --with-mixtures to name each further rule once, got {', '.join(rules)}")
        taken = (*rules, *(f"{self.memory}, {rule}" for rule in self.with_mixtures), str(self.memory))
        for method in self.with_memories:
            if method.label in taken:
                raise ValueError(f"expected another label than {method.label} in --with-memories; it is taken")
        plain = Method(calibrate_every=0)
        for method in self.with_memories:
            fixed: dict[str, Any] = {"baseline": None}
            fixed |= {name: getattr(self, name) for name in ("network", "recipe", "learner")}
            fixed |= {
                name: getattr(plain, name)
                for name in ("rekey", "consolidate", "both", "calibrate_every", "budget", "policy")
            }
            own = [name for name, value in fixed.items() if getattr(method, name) != value]
            if own:
                raise ValueError(
                    "expected --with-memories to change memory, keys, pool, transform, capacity, eviction or mixture, "
                    f"got {own[0]} in {method.label}"
                )
        return self

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
        if self.warm and not hasattr(self.learner.factory, "warmed"):
            raise ValueError(
                f"expected --learner refit with --warm: with {self.learner.name} y always continues the k%-learner"
            )
        return self


class JoinCurvesConfig(Settings):
    """Settings of a curve of finished runs."""

    paths: tuple[Path, ...] = setting((), "folders of finished runs of curve", STREAM, "idle", min_length=1)
    confidence: float = setting(0.95, _CONFIDENCE_HELP, MEASURING, "free", gt=0, le=0.999999)
    want_width: float | None = _want_width("the unit of R")
    show_costs: bool = _show_costs()


class BesideCurvesConfig(Settings):
    """Settings of finished curves of different learners beside each other."""

    paths: tuple[Path, ...] = setting(
        (), "folders of two or more finished runs of curve or of curve --join", STREAM, "idle", min_length=2
    )
    confidence: float = setting(0.95, _CONFIDENCE_HELP, MEASURING, "free", gt=0, le=0.999999)


class LifetimeConfig(MethodSettings, AgentConfig):
    """Settings of lifetimes under any policy, in any scenario."""

    scenario: Annotated[Member, Of(SCENARIO)] = setting(
        "iid", "name:key=value,...; `lifetime list scenarios` shows them", STREAM
    )
    tariff: Annotated[Member, Of(TARIFF)] = setting(
        "constant", "price of compute over time; `lifetime list tariffs` shows them", COSTS
    )
    chunks: int | None = setting(
        None, f"chunks in the stream (default: {DEFAULT_CHUNKS}, or by --chunk-size)", STREAM, ge=1
    )
    chunk_size: int | None = setting(None, "samples in a chunk; the last chunk may be smaller", STREAM, ge=1)
    cost: Annotated[Member, Of(COST_MODEL)] = setting(
        "flops", "cost model, name:key=value,...; `lifetime list costs` shows them", COSTS
    )
    calibration: Literal["validation", "none", "shared"] = setting(
        "validation",
        "what labelled validation images are for: validation, to fit w and the memory's setting, while baselines see "
        "none of them; none, for nothing: w is 0.5, and the setting the memory's default; shared, as validation, and "
        "baselines learn each image as soon as a mixture may be fitted on it",
        MEASURING,
    )
    queries: Annotated[int, Field(ge=0, le=10**9)] | Literal["chunk"] | None = setting(
        None,
        "number of queries before each chunk, which the agent answers and pays, or chunk for one query on each of "
        "the chunk's images (default: chunk, or 0 for a lazy learner such as refit)",
        STREAM,
    )
    label_delay: int = setting(
        0,
        "chunks that come after a chunk before its labels do: the agent is asked about the newest images, and decides "
        "on those whose labels have just come; images that wait are billed as storage",
        STREAM,
        ge=0,
        le=10**6,
    )
    enforce: bool = setting(
        False,
        "hold lifetimes to --budget: no action begins that it does not last for, storage until the end included; "
        "instead of BOTH the agent learns, instead of learning or consolidating it memorizes, or else it passes (P), "
        "at no cost; queries, what the policy looks at, calibration, --rekey every:n and images that wait for labels "
        "are billed whatever is left",
        COSTS,
    )
    speed: Annotated[float | None, Limit] = setting(
        None,
        "GFLOP that an agent computes while a chunk arrives: chunks that arrive while an action still takes its time "
        "are missed, only queries about them are answered, by the agent as it was before (inf: the stream waits)",
        STREAM,
        gt=0,
    )
    prequential: bool | None = setting(
        None,
        "measure accuracy on each chunk before its use (default: yes, except for a lazy learner such as refit); with "
        "--calibrate-every 0 the agent's accuracy is the learner's alone, as w stays 1 until the end",
        MEASURING,
    )

    evaluate: Measurements = setting(
        (),
        "further measurements at the end, on the account evaluate: linear-probe, the accuracy on the test images of a "
        "linear classifier that is trained on the features of all images of the stream, with their labels",
        MEASURING,
        "free",
        exclude_if=lambda measurements: not measurements,  # so that runs without any stay as they were
    )

    @property
    def title(self) -> str:
        """Data set, scenario, delay of labels, tariff and speed, for titles of tables and figures."""
        tariff = "" if self.tariff.name == "constant" else f"{self.tariff} tariff"
        return ", ".join(filter(None, (str(self.dataset), str(self.scenario), self.lateness, tariff, self.pace)))

    @property
    def pace(self) -> str:
        """The speed of the agent, for titles; empty on a stream that waits."""
        return "" if self.speed is None else f"{self.speed:g} GFLOP per chunk"

    @property
    def lateness(self) -> str:
        """The delay of labels, for titles; empty without one."""
        delay = self.label_delay
        return f"labels {delay} chunk{'s' * (delay > 1)} late" if delay else ""

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        """Fill in the defaults that depend on other settings, so that config.json records them."""
        if not isinstance(values, dict):
            return values
        filled = dict(values)
        if filled.get("chunks") is None and filled.get("chunk_size") is None:
            filled["chunks"] = cls._default_chunks(filled)
        filled.setdefault("chunks", None)
        learner = member_in(cls, filled, "baseline" if names_baseline(filled) else "learner")
        lazy = [method.is_lazy for method in filled.get("methods", ()) if isinstance(method, Method)]
        lazy += [] if lazy or learner is None else [is_lazy(learner)]
        eager = not any(lazy)
        if filled.get("prequential") is None:
            filled["prequential"] = eager
        if filled.get("queries") is None:
            default = cls.model_fields["queries"].default
            filled["queries"] = ("chunk" if eager else 0) if default is None else default
        return filled

    @model_validator(mode="after")
    def _agree_on_calibration(self) -> "LifetimeConfig":
        methods: tuple[MethodSettings, ...] = getattr(self, "methods", ()) or (self,)
        fitted = [method for method in methods if method.mixture != "author"]
        if self.calibration == "none" and fitted:
            raise ValueError(
                f"expected no rule for the mixture with --calibration none, which fits none, got {fitted[0].mixture}; "
                "leave it out"
            )
        baselines = [str(method.baseline) for method in methods if method.baseline is not None]
        if self.calibration == "shared" and self.speed is not None and baselines:
            raise ValueError(
                f"expected a stream that waits with --calibration shared, whose labels {baselines[0]} would miss, got "
                f"--speed {self.speed:g}; leave one of them out"
            )
        return self

    @classmethod
    def _default_chunks(cls, values: dict[str, Any]) -> int:
        return cls.model_fields["chunks"].default or DEFAULT_CHUNKS


def check_enforced(world: LifetimeConfig, methods: Iterable[MethodSettings]) -> None:
    """Raise ValueError if a budget is to be enforced that no method has."""
    if world.enforce and all(method.budget is None for method in methods):
        raise ValueError("expected a finite --budget with --enforce, got none; give one, or leave --enforce out")


class SimulateConfig(LifetimeConfig):
    """Settings of one lifetime."""

    policy: Annotated[Member, Of(POLICY)] = setting("loss", POLICY_HELP, STREAM, "method")
    seed: int = setting(
        0, "seeds the split and the order of the data, the initial weights and the policy", STREAM, "free", ge=0
    )

    @model_validator(mode="after")
    def _agree_on_enforcing(self) -> "SimulateConfig":
        check_enforced(self, [self])
        return self

    @property
    def as_method(self) -> Method:
        """The method of the lifetime, labelled by its policy or its baseline."""
        parts = {name: getattr(self, name) for name in Method.model_fields if name != "label"}
        return Method.of({**parts, "label": str(self.policy if self.baseline is None else self.baseline)})


class CompareConfig(LifetimeConfig):
    """Settings of lifetimes side by side."""

    policies: PolicyList | None = setting(
        None,
        f"policies of one agent, separated by spaces or semicolons (default, without --methods: {DEFAULT_POLICIES})",
        STREAM,
        "free",
    )
    methods: tuple[Method, ...] = setting(
        (),
        "a method, 'label = network:... | recipe:... | learner:... | memory:... | keys:... | policy:...', or 'label = "
        "baseline:...'; what is left out is as in the other settings (policy: loss); once for each method",
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
    want_width: float | None = _want_width("points of accuracy")

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        """Complete the methods by the other settings; each policy of `policies` is a method too."""
        if not isinstance(values, dict):
            return values
        written = listed_methods(values.get("methods") or ())
        policies = values.get("policies")
        if policies is None and not written:
            policies = None if names_baseline(values) else DEFAULT_POLICIES
            written = [Method.of({"baseline": values["baseline"]})] if policies is None else []
        written += [Method.of_policy(policy) for policy in (read_policies(policies) if policies is not None else ())]
        base = {name: values[name] for name in MethodSettings.model_fields.keys() & values.keys()}
        return {**values, "policies": None, "methods": completed(written, base)}

    @model_validator(mode="after")
    def _agree_on_enforcing(self) -> "CompareConfig":
        check_enforced(self, self.methods)
        return self


class CompareRunsConfig(Settings):
    """Settings of a comparison of finished runs."""

    paths: tuple[Path, ...] = setting(
        (), "folders of finished runs of simulate, compare, reproduce or sweep", STREAM, "idle", min_length=1
    )
    where: Choices = setting(
        {}, "settings, label or seed of the lifetimes to compare, as in 'scenario = iid'", STREAM, "free"
    )
    confidence: float = setting(0.95, _CONFIDENCE_HELP, MEASURING, "free", gt=0, le=0.999999)
    cost_weight: float | None = setting(None, f"also report {UTILITY_HELP}", COSTS, "free", ge=0, le=1e30)
    want_width: float | None = _want_width("points of accuracy")


class TreeConfig(LifetimeConfig):
    """Settings of schedule tables: every schedule of a short stream."""

    unused: ClassVar[frozenset[str]] = frozenset(
        (
            *("test_size", "evaluate_every", "evaluate", "checkpoint_every", "keep_predictions", "prequential"),
            *("queries", "label_delay", "enforce", "speed", "baseline"),
        )
    )

    train_size: int | None = setting(1200, "training images, drawn by the seed (default: all)", DATA, ge=1, le=10**9)
    validation_size: int | None = setting(
        1000,
        "validation images: half of them fit the mixture, the others measure utility (default: by data set)",
        DATA,
        ge=2,
        le=10**9,
    )
    recipe: Annotated[Member, Of(RECIPE)] = setting("sgd:batch=16", RECIPE_HELP, LEARNER, "method")
    queries: int = setting(0, "trees have no queries", STREAM, ge=0, le=0)
    chunks: int | None = setting(
        None,
        "chunks in the stream, n: there are 2^n schedules, 3^n with --consolidate or --both, 4^n with the two of them; "
        "at most 14, 8 or 7, except for beam (default: 8, 6 or 5)",
        STREAM,
        ge=1,
    )
    seeds: int = setting(1, "trees, each with its own split, order and initial weights", STREAM, "free", ge=1, le=10**6)
    first_seed: int = setting(0, _FIRST_SEED_HELP, STREAM, "free", ge=0)
    search: Literal["all", "beam"] = setting(
        "all", "all: the whole tree, saved as a table; beam: only a good schedule", SEARCH
    )
    beam_width: int = setting(8, "beam: schedules that remain after each chunk", SEARCH, ge=1, le=10**6)
    cost_weight: float = setting(0.004, UTILITY_HELP, COSTS, "free", ge=0, le=1e30)

    @classmethod
    def _default_chunks(cls, values: dict[str, Any]) -> int:
        both = str(values.get("both", False)).lower() in ("true", "t", "yes", "y", "on", "1")  # what means yes
        return (8, 6, 5)[both + (str(values.get("consolidate", "never")) != "never")]

    @model_validator(mode="after")
    def _agree_on_searching(self) -> "TreeConfig":
        if self.baseline is not None or self.calibration == "shared":
            got = "--calibration shared" if self.baseline is None else f"the baseline {self.baseline.name}"
            raise ValueError(f"expected an agent that decides, for trees of its decisions, got {got}; leave it out")
        if is_lazy(self.learner):
            raise ValueError(
                f"expected a learner that learns at once, such as online, got {self.learner}: a lazy learner has no "
                "state at every decision"
            )
        if self.enforce:
            raise ValueError("expected no enforced budget for trees, which hold every schedule; leave --enforce out")
        if self.speed is not None:
            raise ValueError("expected a stream that waits for trees, which hold every schedule; leave --speed out")
        if self.evaluate:
            raise ValueError(f"expected no further measurements of trees, got {self.evaluate[0]}; leave evaluate out")
        if self.label_delay:
            raise ValueError(
                f"expected labels that come at once for trees, which ask nothing on the way, got a delay of "
                f"{self.label_delay} chunks; leave --label-delay out"
            )
        return self


class TrainConfig(TreeConfig):
    """Settings of training a policy."""

    unused: ClassVar[frozenset[str]] = TreeConfig.unused | {"search", "beam_width"}

    trees: Path | None = setting(
        None, "run of `lifetime tree` to train on, instead of lifetimes, which its settings describe", TRAINING, "idle"
    )
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


class EvaluateConfig(Settings):
    """Settings of an evaluation of policies on schedule tables."""

    unused: ClassVar[frozenset[str]] = frozenset(
        ("trees", "config", "data_dir", "download", "workers", "executor", "preset")
    )

    trees: Path = setting(..., "run of `lifetime tree`", STREAM, "idle")
    policies: PolicyList | None = setting(
        None,
        "more policies, separated by spaces or semicolons, as in 'file:PATH loss:threshold=0.9'",
        STREAM,
        "free",
    )
    tariff: Annotated[Member, Of(TARIFF)] | None = setting(
        None, "price of compute over time (default: the trees')", COSTS
    )
    cost: Annotated[Member, Of(COST_MODEL)] | None = setting(None, "cost model (default: the trees')", COSTS)
    cost_weight: float | None = setting(None, f"{UTILITY_HELP} (default: the trees')", COSTS, "free", ge=0, le=1e30)
    budget: Annotated[Annotated[float, Field(ge=0)] | Literal["inf"] | None, Unlimited] = setting(
        None, "the most that a lifetime may spend (inf: no limit); policies see it (default: the trees')", COSTS
    )
    tariff_draws: int = setting(
        8, "paths of a random tariff (random-walk) for each tree; the result is their mean", COSTS, ge=1, le=10**4
    )
    confidence: float = setting(0.95, _CONFIDENCE_HELP, MEASURING, "free", gt=0, le=0.999999)


class FrontierConfig(Settings):
    """Settings of the options that are best at some price, out of finished curves or schedule tables."""

    unused: ClassVar[frozenset[str]] = frozenset(
        ("paths", "config", "data_dir", "download", "workers", "executor", "preset")
    )

    paths: tuple[Path, ...] = setting(
        ..., "folders of finished runs of curve or of curve --join, or of runs of tree", STREAM, "idle", min_length=1
    )
    memories: Labels | None = setting(
        None, "labels of the memories to choose from, separated by semicolons (default: all)", MEMORY, "free"
    )
    queries: Counts | None = setting(
        None,
        "numbers of queries that the finished agent answers, each a scenario of its own (default: 0,10000,1000000; "
        "trees: 0, as they have no queries)",
        COSTS,
        "free",
        min_length=1,
    )
    costs: CostList = setting(
        "flops cloud energy",
        "cost models, name:key=value,..., separated by spaces or semicolons; `lifetime list costs` shows them",
        COSTS,
        "free",
    )
    tariff: Annotated[Member, Of(TARIFF)] | None = setting(
        None, "trees: price of compute over time (default: the trees')", COSTS
    )
    calibrating: bool = setting(True, "bill the calibration, too", COSTS, "free")
    confidence: float = setting(0.95, _CONFIDENCE_HELP, MEASURING, "free", gt=0, le=0.999999)

    @model_validator(mode="after")
    def _check_queries(self) -> "FrontierConfig":
        if self.queries and len(set(self.queries)) < len(self.queries):
            raise ValueError(f"expected each number of queries once, got {','.join(map(str, self.queries))}")
        return self


def settings_of(kind: type[Settings], part: Part) -> frozenset[str]:
    """The names of an experiment's settings that decide this part."""
    extras = {name: field.json_schema_extra for name, field in kind.model_fields.items()}
    return frozenset(name for name, extra in extras.items() if isinstance(extra, dict) and extra["part"] == part)
