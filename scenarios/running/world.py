"""The world of the settings, and lifetimes about to begin in it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any

from agent.accounting.costs import CostModel
from agent.data.chunk import LabelledInputs
from agent.errors import InvalidSetting
from agent.evaluation.plan import EvaluationPlan
from agent.learners.training import unreported
from agent.lifetime.episode import Episode, Undecided
from agent.lifetime.loop import Lifetimes
from agent.memory.rekeying import Rekeying
from agent.policies import Policy
from agent.policies.protocol import Observes
from scenarios.config.families import COST_MODEL, POLICY, SCENARIO, TARIFF
from scenarios.config.members import canonical, make
from scenarios.config.settings import LifetimeConfig
from scenarios.config.specs import FILE, parse, split_specs
from scenarios.datasets.load import Dataset, load_dataset
from scenarios.running.factory import build_agent, resolve_agent
from scenarios.running.progress import ProgressReporter, SilentReporter
from scenarios.running.provenance import seeds_trained_on
from scenarios.streams.chunking import Chunking
from scenarios.streams.scenario import Scenario


def resolve_policies(text: str, seed: int) -> tuple[str, ...]:
    """The policies that a text specifies, each in its one spelling.

    Args:
        text: specs, separated by blanks or semicolons.
        seed: to try them with.

    Raises:
        InvalidSetting: no policy, an unknown name or setting, or a policy twice.
    """
    policies = [resolve_policy(spec, seed) for spec in split_specs(text)]
    for policy in policies:
        if policies.count(policy) > 1:
            raise InvalidSetting(f"expected each policy once, got {policy} {policies.count(policy)} times")
    return tuple(policies)


def resolve_policy(spec: str, seed: int) -> str:
    """One policy in its one spelling; see `resolve_policies`."""
    make(spec, POLICY, seed=seed)
    if parse(spec).name == FILE:
        seeds_trained_on(Path(parse(spec).settings["path"]), "", None)  # refused now, not when all is lived
    return canonical(spec, POLICY)


def resolve_specs(config: LifetimeConfig) -> dict[str, Any]:
    """Scenario, tariff, cost model and the parts of the agent in their one spelling, each tried as far as can be.

    Raises:
        InvalidSetting: an unknown name or setting.
    """
    Rekeying.parse(config.rekey)
    make(config.cost, COST_MODEL)
    make(config.tariff, TARIFF, n_chunks=1, seed=0)
    return {
        "scenario": canonical(config.scenario, SCENARIO),
        "tariff": canonical(config.tariff, TARIFF),
        "cost": canonical(config.cost, COST_MODEL),
        **resolve_agent(config),
    }


def cost_model(config: LifetimeConfig) -> CostModel:
    """The prices of the settings."""
    return make(config.cost, COST_MODEL)


def load_world(
    config: LifetimeConfig, seed: int, *, data_dir: Path | None, download: bool, reporter: ProgressReporter
) -> tuple[Dataset, Scenario]:
    """The data set, and the scenario with its tariff.

    Raises:
        DatasetError: from loading.
        InvalidSetting: settings that the data set does not allow.
    """
    dataset = load_dataset(
        config.dataset,
        seed=seed if config.data_seed is None else config.data_seed,
        n_train=config.train_size,
        n_validation=config.validation_size,
        n_test=config.test_size,
        data_dir=data_dir,
        download=download,
        progress=reporter.reach,
        max_megapixels=config.max_megapixels,
    )
    tell_of(dataset, reporter)
    chunking = Chunking(config.chunks, config.chunk_size)
    given = {"dataset": dataset, "chunking": chunking, "seed": seed, "data_seed": config.data_seed}
    scenario = make(config.scenario, SCENARIO, **given)
    prices = make(config.tariff, TARIFF, n_chunks=len(scenario.stream), seed=seed)
    return dataset, scenario.priced(prices).asked(config.queries or 0)


def tell_of(dataset: Dataset, reporter: ProgressReporter) -> None:
    """Say which classes and how many images there are, and what was passed over."""
    reporter.tell(f"data: {dataset.overview()}")
    for note in dataset.notes:
        reporter.tell(f"data: {note}")


def try_world(
    config: LifetimeConfig, seed: int, policies: Sequence[str], *, data_dir: Path | None, download: bool
) -> None:
    """Try whether lifetimes could begin: load the data, cut the stream, build the agent.

    Raises:
        DatasetError: from loading.
        InvalidSetting: settings that the data set or the machine do not allow.
    """
    world = load_world(config, seed, data_dir=data_dir, download=download, reporter=SilentReporter())
    make_lifetimes(config, seed, world, make_policies(policies, seed))


def make_lifetimes(
    config: LifetimeConfig,
    seed: int,
    world: tuple[Dataset, Scenario],
    policies: Mapping[str, Policy],
    plan: EvaluationPlan | None = None,
) -> Lifetimes:
    """Lifetimes about to begin.

    Args:
        config: resolved settings.
        seed: of the agent.
        world: of the same seed.
        policies: by name.
        plan: None for the one of the settings, on the test set.

    Raises:
        InvalidSetting: settings that the data set or the machine do not allow.
    """
    dataset, scenario = world
    agent = build_agent(config, dataset, seed=seed, progress=unreported, rekeying=Rekeying.parse(config.rekey))
    return Lifetimes(
        agent,
        scenario.stream,
        policies,
        plan or _evaluation_plan(config, scenario),
        costs=cost_model(config),
        budget=inf if config.budget is None else config.budget,
        calibrate_every=config.calibrate_every or 0,
    )


def make_episode(config: LifetimeConfig, seed: int, world: tuple[Dataset, Scenario], observes: Observes) -> Episode:
    """A lifetime about to begin, to be decided from outside and examined on validation data after every chunk.

    Half of the validation images fit the mixture, the others serve nothing else than the examinations; the test images
    are not used. See `halved_plan`.

    Args:
        config: resolved settings.
        seed: of the agent.
        world: of the same seed.
        observes: what whoever decides asks to see.

    Raises:
        InvalidSetting: settings that the data set or the machine do not allow.
    """
    return Episode(make_lifetimes(config, seed, world, {"": Undecided(observes)}, halved_plan(world[1], every=1)))


def halved_plan(scenario: Scenario, *, every: int = 0) -> EvaluationPlan:
    """Examinations on one half of the validation images, while the other half fits the mixture.

    Args:
        scenario: gives the validation images.
        every: chunks between examinations; 0 for one at the end alone.

    Raises:
        InvalidSetting: fewer than two validation images.
    """
    fitting, examining = halves(scenario.validation)
    return EvaluationPlan(
        fitting, examining, every=every, shown=None if scenario.shown is None else scenario.shown[::2]
    )


def halves(images: LabelledInputs) -> tuple[LabelledInputs, LabelledInputs]:
    """Every other image, and the others.

    Raises:
        InvalidSetting: fewer than two.
    """
    if len(images) < 2:
        raise InvalidSetting(
            f"expected 2 validation images or more, half of which fit the mixture while the others examine, got "
            f"{len(images)}; raise --validation-size"
        )
    return (
        LabelledInputs(images.inputs[::2], images.labels[::2]),
        LabelledInputs(images.inputs[1::2], images.labels[1::2]),
    )


def _evaluation_plan(config: LifetimeConfig, scenario: Scenario) -> EvaluationPlan:
    several = scenario.n_experiences > 1
    return EvaluationPlan(
        scenario.validation,
        scenario.test,
        every=config.evaluate_every,
        after=frozenset(scenario.ends) if several else frozenset(),
        groups=scenario.group if several else None,
        prequential=bool(config.prequential),
        shown=scenario.shown,
    )


def write_truth(scenario: Scenario) -> str:
    """What the experimenter knows of a scenario and the agent does not, as JSON."""
    truth = {"experience": scenario.experience, "price": scenario.stream.prices, **scenario.truth}
    return json.dumps({"scenario": scenario.name, "by_chunk": truth}) + "\n"


def make_policies(specs: Iterable[str], seed: int) -> dict[str, Policy]:
    """The policies that specs name, by spec; raises what `members.make` raises."""
    return {spec: make(spec, POLICY, seed=seed) for spec in specs}
