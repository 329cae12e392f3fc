"""Build the world and the lifetimes of the settings: the data set, the scenario, and the lifetimes in it."""

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
from scenarios.config.settings import AgentConfig, LifetimeConfig
from scenarios.config.specs import split_specs
from scenarios.datasets.load import Dataset, load_dataset
from scenarios.running.factory import build_agent, resolve_agent
from scenarios.running.progress import ProgressReporter, SilentReporter
from scenarios.running.provenance import policy_files, seeds_trained_on
from scenarios.streams.chunking import Chunking
from scenarios.streams.scenario import Scenario


def resolve_policies(text: str, seed: int) -> tuple[str, ...]:
    """The canonical specs of the policies in a text.

    Args:
        text: specs, separated by blanks or semicolons.
        seed: for a trial construction of each policy.

    Raises:
        InvalidSetting: no policy, an unknown name or setting, or a policy twice.
    """
    policies = [resolve_policy(spec, seed) for spec in split_specs(text)]
    for policy in policies:
        if policies.count(policy) > 1:
            raise InvalidSetting(f"expected each policy once, got {policy} {policies.count(policy)} times")
    return tuple(policies)


def resolve_policy(spec: str, seed: int) -> str:
    """The canonical spec of one policy; see `resolve_policies`."""
    make(spec, POLICY, seed=seed)
    for path in policy_files([spec]).values():
        seeds_trained_on(path, "", None)  # rejects an invalid file before the run begins
    return canonical(spec, POLICY)


def resolve_specs(config: LifetimeConfig) -> dict[str, Any]:
    """The canonical specs of scenario, tariff, cost model and the parts of the agent; all are checked without data.

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
    """The cost model of the settings."""
    return make(config.cost, COST_MODEL)


def load_data(
    config: AgentConfig, seed: int, *, data_dir: Path | None, download: bool, reporter: ProgressReporter
) -> Dataset:
    """The data set of the settings; raises as `load_dataset` does."""
    return load_dataset(
        config.dataset,
        seed=seed if config.data_seed is None else config.data_seed,
        n_train=config.train_size,
        n_validation=config.validation_size,
        n_test=config.test_size,
        data_dir=data_dir,
        download=download,
        progress=reporter.reach,
        max_megapixels=config.max_megapixels,
        image_size=config.image_size,
    )


def load_world(
    config: LifetimeConfig, seed: int, *, data_dir: Path | None, download: bool, reporter: ProgressReporter
) -> tuple[Dataset, Scenario]:
    """The data set, and the scenario with its prices and queries.

    Raises:
        DatasetError: the data set cannot be loaded.
        InvalidSetting: the data set does not allow the settings.
    """
    dataset = load_data(config, seed, data_dir=data_dir, download=download, reporter=reporter)
    report_dataset(dataset, reporter)
    chunking = Chunking(config.chunks, config.chunk_size)
    given = {"dataset": dataset, "chunking": chunking, "seed": seed, "data_seed": config.data_seed}
    scenario = make(config.scenario, SCENARIO, **given)
    prices = make(config.tariff, TARIFF, n_chunks=len(scenario.stream), seed=seed)
    return dataset, scenario.priced(prices, config.queries or 0)


def report_dataset(dataset: Dataset, reporter: ProgressReporter) -> None:
    """Report the classes, the numbers of images and the skipped files of a data set."""
    reporter.tell(f"data: {dataset.overview()}")
    for note in dataset.notes:
        reporter.tell(f"data: {note}")


def check_world(
    config: LifetimeConfig, seed: int, policies: Sequence[str], *, data_dir: Path | None, download: bool
) -> None:
    """Check that lifetimes can begin: load the data, cut the stream, build the agent.

    Raises:
        DatasetError: the data set cannot be loaded.
        InvalidSetting: the data set or the machine does not allow the settings.
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
    """Lifetimes at initialization.

    Args:
        config: resolved settings.
        seed: seeds the agent.
        world: data set and scenario of the same seed.
        policies: by name.
        plan: None for the plan of the settings, on the test set.

    Raises:
        InvalidSetting: the data set or the machine does not allow the settings.
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
    """A lifetime at initialization that the caller decides, with an evaluation by `halved_plan` after every chunk.

    The caller sees what `observes` names before it decides. Raises as `make_lifetimes` does.
    """
    return Episode(make_lifetimes(config, seed, world, {"": Undecided(observes)}, halved_plan(world[1], every=1)))


def halved_plan(scenario: Scenario, *, every: int = 0) -> EvaluationPlan:
    """Evaluations on one half of the validation images, while the other half fits the mixture.

    Args:
        scenario: gives the validation images; its test images are not used.
        every: chunks between evaluations; 0 for one evaluation at the end.

    Raises:
        InvalidSetting: there are fewer than two validation images.
    """
    fitting, evaluated = halves(scenario.validation)
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


def truth_as_json(scenario: Scenario) -> str:
    """What only the experimenter knows about a scenario, as JSON."""
    truth = {"experience": scenario.experience, "price": scenario.stream.prices, **scenario.truth}
    return json.dumps({"scenario": scenario.name, "by_chunk": truth}) + "\n"


def make_policies(specs: Iterable[str], seed: int) -> dict[str, Policy]:
    """The policies of specs, by spec; raises as `members.make` does."""
    return {spec: make(spec, POLICY, seed=seed) for spec in specs}
