"""Build the world and the lifetimes of the settings: the data set, the scenario, and the lifetimes in it."""

import json
from collections.abc import Iterable, Mapping
from math import inf

import torch

from agent.accounting.costs import CostModel
from agent.agent import Agent
from agent.data.chunk import LabelledInputs
from agent.errors import InvalidSetting
from agent.evaluation.linear_probe import LINEAR_PROBE
from agent.evaluation.plan import EvaluationPlan
from agent.lifetime.episode import Episode, Undecided
from agent.lifetime.loop import Lifetimes
from agent.operations import OPERATIONS
from agent.policies import Policy
from agent.policies.protocol import Observes
from scenarios.config.members import Member
from scenarios.config.method import Method
from scenarios.config.settings import AgentConfig, LifetimeConfig
from scenarios.config.tune import TuneConfig
from scenarios.datasets.load import Dataset, load_dataset
from scenarios.datasets.source import Access
from scenarios.running.factory import build_agents, build_baseline
from scenarios.running.progress import ProgressReporter, SilentReporter
from scenarios.running.provenance import seeds_trained_on
from scenarios.running.shared_labels import further_labels
from scenarios.streams.chunking import Chunking
from scenarios.streams.scenario import Scenario


def check_settings(config: AgentConfig, policies: Iterable[Member] = ()) -> None:
    """Make what can be made without data, so that invalid settings raise before a run begins.

    Raises:
        InvalidSetting: a setting is missing, out of its range, or refused by a user's own component.
    """
    config.recipe.make()
    if isinstance(config, LifetimeConfig):
        check_prices(config)
        if config.baseline is not None:
            config.baseline.make()
    check_policies(policies)


def check_parts(config: LifetimeConfig, methods: Iterable[Method]) -> None:
    """The same of the parts of methods, and of the prices in their world; raises InvalidSetting."""
    methods = list(methods)
    check_prices(config)
    check_policies(dict.fromkeys(method.policy for method in methods))
    for method in methods:
        if lacks := [name for name in method.policy.make(seed=0).needs_actions if name not in method.actions]:
            raise InvalidSetting(
                f"expected an agent that offers {', '.join(lacks)} for {method.policy}, got one of "
                f"{', '.join(method.actions)}; {' '.join(OPERATIONS[name].option for name in lacks)}, or another policy"
            )
    for recipe in dict.fromkeys(method.recipe for method in methods):
        recipe.make()
    for baseline in dict.fromkeys(method.baseline for method in methods):
        if baseline is not None:
            baseline.make()


def check_prices(config: LifetimeConfig) -> None:
    """Make the cost model and the tariff on trial; raises InvalidSetting."""
    config.cost.make()
    config.tariff.make(n_chunks=1, seed=0)


def check_policies(policies: Iterable[Member]) -> None:
    """Make policies on trial, and read their files; raises InvalidSetting."""
    for policy in policies:
        policy.make(seed=0)
        if policy.path is not None:
            seeds_trained_on(policy.path, None, None)


def cost_model(config: LifetimeConfig) -> CostModel:
    """The cost model of the settings."""
    return config.cost.make()


def speed_of(config: LifetimeConfig) -> float:
    """FLOPs that an agent computes while a chunk arrives; infinite if the stream waits."""
    return inf if config.speed is None else config.speed * 1e9


def load_data(config: AgentConfig, seed: int, access: Access, reporter: ProgressReporter) -> Dataset:
    """The data set of the settings; raises as `load_dataset` does."""
    return load_dataset(
        config.dataset,
        seed=seed if config.data_seed is None else config.data_seed,
        n_train=config.train_size,
        n_validation=config.validation_size,
        n_test=config.test_size,
        access=access,
        progress=reporter.reach,
        max_megapixels=config.max_megapixels,
        image_size=config.image_size,
    )


def load_world(
    config: LifetimeConfig, seed: int, access: Access, reporter: ProgressReporter
) -> tuple[Dataset, Scenario]:
    """The data set, and the scenario with its prices, queries and delay of labels.

    Raises:
        DatasetError: the data set cannot be loaded.
        InvalidSetting: the data set does not allow the settings.
    """
    dataset = load_data(config, seed, access, reporter)
    report_dataset(dataset, reporter)
    return dataset, scenario_of(config, seed, dataset)


def load_tuning_world(
    config: TuneConfig, seed: int, access: Access, reporter: ProgressReporter
) -> tuple[Dataset, Scenario]:
    """The data set without its test images, and its scenario: training images that are held out take their place.

    Raises as `load_world` does.
    """
    dataset = load_data(config, seed, access, reporter)
    n_train, share = len(dataset.train), config.held_out
    n = int(share) if share >= 1 else max(1, round(share * n_train))
    if n >= n_train:
        raise InvalidSetting(
            f"expected --held-out to leave some of the {n_train} training images to the stream, got {n}; hold out fewer"
        )
    dataset = dataset.holding_out(n, seed if config.data_seed is None else config.data_seed)
    reporter.tell(f"data: {n:,} of {n_train:,} training images are held out, in place of the test images")
    report_dataset(dataset, reporter)
    return dataset, scenario_of(config, seed, dataset)


def scenario_of(config: LifetimeConfig, seed: int, dataset: Dataset) -> Scenario:
    """The scenario of a data set, with its prices, queries and delay of labels; raises InvalidSetting."""
    chunking = Chunking(config.chunks, config.chunk_size)
    given = {"dataset": dataset, "chunking": chunking, "seed": seed, "data_seed": config.data_seed}
    scenario = config.scenario.make(**given)
    prices = config.tariff.make(n_chunks=len(scenario.stream), seed=seed)
    return scenario.priced(prices, config.queries or 0, config.label_delay)


def report_dataset(dataset: Dataset, reporter: ProgressReporter) -> None:
    """Report the classes, the numbers of images and the skipped files of a data set."""
    reporter.tell(f"data: {dataset.overview()}")
    for note in dataset.notes:
        reporter.tell(f"data: {note}")


def check_world(config: LifetimeConfig, seed: int, methods: Iterable[Method], access: Access) -> None:
    """Check that lifetimes can begin: load the data, cut the stream, build the agents.

    Raises:
        DatasetError: the data set cannot be loaded.
        InvalidSetting: the data set or the machine does not allow the settings.
    """
    check_methods(config, seed, methods, load_world(config, seed, access, SilentReporter()))


def check_methods(
    config: LifetimeConfig, seed: int, methods: Iterable[Method], world: tuple[Dataset, Scenario]
) -> None:
    """Check that each method can begin a lifetime in a world; raises InvalidSetting, which names it."""
    for method in methods:
        try:
            make_lifetimes(config, seed, world, {method.label: method})
        except InvalidSetting as error:
            named = "" if method.label == str(method.policy) else f" (in the method {method.label})"
            raise InvalidSetting(f"{error}{named}") from None


def make_lifetimes(
    config: LifetimeConfig, seed: int, world: tuple[Dataset, Scenario], methods: Mapping[str, Method]
) -> Lifetimes:
    """Lifetimes at initialization under methods that share a learner.

    Args:
        config: settings of the world.
        seed: seeds the agents and the policies.
        world: data set and scenario of the same seed.
        methods: of each lifetime, by its name; they differ in no part of the learner, and a baseline is alone.

    Raises:
        InvalidSetting: the data set or the machine does not allow the settings.
    """
    dataset, scenario = world
    baselines = [name for name, method in methods.items() if method.baseline is not None]
    agents: Mapping[str, Agent]
    if baselines:
        further = further_labels(scenario) if config.calibration == "shared" else ()
        agents = {
            name: build_baseline(config, methods[name], dataset, seed=seed, further=further) for name in baselines
        }
    else:
        agents = build_agents(config, methods, dataset, seed=seed)
    return Lifetimes(
        agents,
        scenario.stream,
        {name: method.policy.make(seed=seed) for name, method in methods.items()},
        _evaluation_plan(config, world),
        costs=cost_model(config),
        budget={name: inf if method.budget is None else method.budget for name, method in methods.items()},
        enforce=config.enforce,
        speed=speed_of(config),
    )


def make_alike(
    config: LifetimeConfig,
    seed: int,
    world: tuple[Dataset, Scenario],
    policies: Mapping[str, Policy],
    plan: EvaluationPlan | None = None,
) -> Lifetimes:
    """Lifetimes at initialization of the agent in the settings under several policies.

    Args:
        config: settings of the world and the agent.
        seed: seeds the agent.
        world: data set and scenario of the same seed.
        policies: by name.
        plan: None for the plan of the settings, on the test set.

    Raises:
        InvalidSetting: the data set or the machine does not allow the settings.
    """
    dataset, scenario = world
    if config.baseline is not None:
        raise InvalidSetting(
            f"expected an agent for policies of your own, got the baseline {config.baseline.name}, which always "
            "learns; scenarios.simulate(baseline=...) and compare run it"
        )
    [agent] = build_agents(config, {"": config}, dataset, seed=seed).values()
    return Lifetimes(
        agent,
        scenario.stream,
        policies,
        plan or _evaluation_plan(config, world),
        costs=cost_model(config),
        budget=inf if config.budget is None else config.budget,
        enforce=config.enforce,
        speed=speed_of(config),
    )


def make_episode(config: LifetimeConfig, seed: int, world: tuple[Dataset, Scenario], observes: Observes) -> Episode:
    """A lifetime at initialization that the caller decides, with an evaluation by `halved_plan` after every chunk.

    The caller sees what `observes` names before it decides. Raises as `make_alike` does.
    """
    return Episode(make_alike(config, seed, world, {"": Undecided(observes)}, halved_plan(world[1], every=1)))


def halved_plan(scenario: Scenario, *, every: int = 0) -> EvaluationPlan:
    """Evaluations on one half of the validation images, by true labels, while the other half fits the mixture.

    Args:
        scenario: gives the validation images; its test images are not used.
        every: chunks between evaluations; 0 for one evaluation at the end.

    Raises:
        InvalidSetting: there are fewer than two validation images.
    """
    fitting, evaluated = halves(scenario.validation)
    if scenario.validation_truth is not None:
        evaluated = LabelledInputs(evaluated.inputs, scenario.validation_truth[1::2])
    shown = None if scenario.shown is None else scenario.shown[::2]
    return EvaluationPlan(fitting, evaluated, every=every, shown=shown)


def halves(images: LabelledInputs) -> tuple[LabelledInputs, LabelledInputs]:
    """The images in even rows, and those in odd rows.

    Raises:
        InvalidSetting: there are fewer than two images.
    """
    if len(images) < 2:
        raise InvalidSetting(
            f"expected 2 or more validation images, half of them to fit the mixture and half to evaluate, got "
            f"{len(images)}; raise --validation-size"
        )
    even, odd = (LabelledInputs(images.inputs[first::2], images.labels[first::2]) for first in (0, 1))
    return even, odd


def _evaluation_plan(config: LifetimeConfig, world: tuple[Dataset, Scenario]) -> EvaluationPlan:
    dataset, scenario = world
    several = scenario.n_experiences > 1
    if config.keep_predictions and not torch.equal(scenario.test.labels, dataset.test.labels):
        raise InvalidSetting(
            "expected a scenario with the test images of its data set in their order for --keep-predictions, got "
            f"{config.scenario}; leave one of them out"
        )
    return EvaluationPlan(
        scenario.validation,
        scenario.test,
        every=config.evaluate_every,
        after=frozenset(scenario.ends) if several else frozenset(),
        groups=scenario.group if several else None,
        prequential=bool(config.prequential),
        shown=scenario.shown,
        keeps_predictions=config.keep_predictions,
        probed=scenario.images if LINEAR_PROBE in config.evaluate else None,
    )


def truth_as_json(scenario: Scenario) -> str:
    """What only the experimenter knows about a scenario, as JSON."""
    truth = {"experience": scenario.experience, "price": scenario.stream.prices, **scenario.truth}
    delay = {"label_delay": scenario.stream.label_delay} if scenario.stream.label_delay else {}
    return json.dumps({"scenario": scenario.name, **delay, "by_chunk": truth}) + "\n"
