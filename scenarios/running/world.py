"""The world of the settings, and lifetimes about to begin in it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from pathlib import Path

from agent.accounting.costs import COST_MODELS, CostModel
from agent.data.chunk import LabelledImages
from agent.errors import InvalidSetting
from agent.evaluation.exam import Exam
from agent.learners.protocol import unwatched
from agent.lifetime.episode import Episode, Undecided
from agent.lifetime.loop import Lives
from agent.memory.rekeying import Rekeying
from agent.policies import Policy
from agent.policies.protocol import Observes
from agent.policies.registry import POLICIES
from scenarios.config.settings import LivesConfig
from scenarios.config.specs import FILE, canonical, make, parse, split_specs
from scenarios.datasets.load import Dataset, load_dataset
from scenarios.running.factory import build_agent
from scenarios.running.progress import Unwatched, Watcher
from scenarios.running.provenance import seeds_trained_on
from scenarios.streams.catalog import SCENARIOS
from scenarios.streams.chunking import Chunking
from scenarios.streams.scenario import Scenario
from scenarios.streams.tariffs import TARIFFS


def resolve_policies(text: str, seed: int) -> tuple[str, ...]:
    """The policies that a text specifies, each in its one spelling.

    Args:
        text: specs, separated by blanks or semicolons.
        seed: to try them with.

    Raises:
        InvalidSetting: no policy, an unknown name or setting, or a policy twice.
    """
    policies = []
    for spec in split_specs(text):
        make(spec, POLICIES, "policy", seed=seed)
        policies.append(canonical(spec, POLICIES, "policy"))
        if parse(spec).name == FILE:
            seeds_trained_on(Path(parse(spec).settings["path"]), "", None)  # refused now, not when all is lived
    for policy in policies:
        if policies.count(policy) > 1:
            raise InvalidSetting(f"expected each policy once, got {policy} {policies.count(policy)} times")
    return tuple(policies)


def resolve_specs(config: LivesConfig) -> dict[str, str]:
    """The scenario, tariff and cost model of the settings in their one spelling, each tried as far as it can be.

    Raises:
        InvalidSetting: an unknown name or setting.
    """
    Rekeying.parse(config.rekey)
    make(config.cost, COST_MODELS, "cost model")
    make(config.tariff, TARIFFS, "tariff", n_chunks=1, seed=0)
    return {
        "scenario": canonical(config.scenario, SCENARIOS, "scenario"),
        "tariff": canonical(config.tariff, TARIFFS, "tariff"),
        "cost": canonical(config.cost, COST_MODELS, "cost model"),
    }


def cost_model(config: LivesConfig) -> CostModel:
    """The prices of the settings."""
    return make(config.cost, COST_MODELS, "cost model")


def load_world(
    config: LivesConfig, seed: int, *, data_dir: Path | None, download: bool, watcher: Watcher
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
        progress=watcher.reach,
        max_megapixels=config.max_megapixels,
    )
    tell_of(dataset, watcher)
    chunking = Chunking(config.chunks, config.chunk_size)
    given = {"dataset": dataset, "chunking": chunking, "seed": seed, "data_seed": config.data_seed}
    scenario = make(config.scenario, SCENARIOS, "scenario", **given)
    prices = make(config.tariff, TARIFFS, "tariff", n_chunks=len(scenario.stream), seed=seed)
    return dataset, scenario.priced(prices).asked(config.queries or 0)


def tell_of(dataset: Dataset, watcher: Watcher) -> None:
    """Say which classes and how many images there are, and what was passed over."""
    watcher.tell(f"data: {dataset.overview()}")
    for note in dataset.notes:
        watcher.tell(f"data: {note}")


def try_world(
    config: LivesConfig, seed: int, policies: Sequence[str], *, data_dir: Path | None, download: bool
) -> None:
    """Try whether lifetimes could begin: load the data, cut the stream, build the agent.

    Raises:
        DatasetError: from loading.
        InvalidSetting: settings that the data set or the machine do not allow.
    """
    world = load_world(config, seed, data_dir=data_dir, download=download, watcher=Unwatched())
    newborn(config, seed, world, made(policies, seed))


def newborn(
    config: LivesConfig,
    seed: int,
    world: tuple[Dataset, Scenario],
    policies: Mapping[str, Policy],
    exam: Exam | None = None,
) -> Lives:
    """Lifetimes about to begin.

    Args:
        config: resolved settings.
        seed: of the agent.
        world: of the same seed.
        policies: by name.
        exam: None for the one of the settings, on the test set.

    Raises:
        InvalidSetting: settings that the data set or the machine do not allow.
    """
    dataset, scenario = world
    agent = build_agent(config, dataset, seed=seed, progress=unwatched)
    agent.rekeying = Rekeying.parse(config.rekey)
    return Lives(
        agent,
        scenario.stream,
        policies,
        exam or _exam(config, scenario),
        costs=cost_model(config),
        budget=inf if config.budget is None else config.budget,
        calibrate_every=config.calibrate_every or 0,
    )


def unborn(config: LivesConfig, seed: int, world: tuple[Dataset, Scenario], observes: Observes) -> Episode:
    """A lifetime about to begin, to be decided from outside and examined on validation data after every chunk.

    Half of the validation images fit the mixture, the others serve nothing else than the examinations; the test images
    are not used. See `halved_exam`.

    Args:
        config: resolved settings.
        seed: of the agent.
        world: of the same seed.
        observes: what whoever decides asks to see.

    Raises:
        InvalidSetting: settings that the data set or the machine do not allow.
    """
    return Episode(newborn(config, seed, world, {"": Undecided(observes)}, halved_exam(world[1], every=1)))


def halved_exam(scenario: Scenario, *, every: int = 0) -> Exam:
    """Examinations on one half of the validation images, while the other half fits the mixture.

    Args:
        scenario: gives the validation images.
        every: chunks between examinations; 0 for one at the end alone.

    Raises:
        InvalidSetting: fewer than two validation images.
    """
    fitting, examining = halves(scenario.validation)
    return Exam(fitting, examining, every=every, shown=None if scenario.shown is None else scenario.shown[::2])


def halves(images: LabelledImages) -> tuple[LabelledImages, LabelledImages]:
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
        LabelledImages(images.images[::2], images.labels[::2]),
        LabelledImages(images.images[1::2], images.labels[1::2]),
    )


def _exam(config: LivesConfig, scenario: Scenario) -> Exam:
    several = scenario.n_experiences > 1
    return Exam(
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


def made(specs: Iterable[str], seed: int) -> dict[str, Policy]:
    """The policies that specs name, by spec; raises what `specs.make` raises."""
    return {spec: make(spec, POLICIES, "policy", seed=seed) for spec in specs}
