"""Lifetimes of one seed, lived together, recorded, checkpointed and resumed."""

import json
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from pathlib import Path

from agent.agent import Agent
from agent.checkpoint import Checkpoints
from agent.chunk import LabelledImages
from agent.costs import COST_MODELS, CostModel
from agent.episode import Episode, Undecided
from agent.errors import InvalidSetting
from agent.exam import Exam
from agent.learners.protocol import unwatched
from agent.lifetime import Lives
from agent.policies import Policy
from agent.policies.protocol import Observes
from agent.policies.registry import POLICIES
from agent.record import LifetimeRecord
from agent.rekeying import Rekeying
from agent.trajectory import Trajectory
from scenarios.build import build_agent
from scenarios.chunking import Chunking
from scenarios.config import LivesConfig
from scenarios.datasets import Dataset, load_dataset
from scenarios.held_out import seeds_trained_on
from scenarios.recording import live_on_record
from scenarios.scenario import Scenario
from scenarios.specs import FILE, canonical, make, parse, split_specs
from scenarios.streams import SCENARIOS
from scenarios.summary import facts_of, hyperparameters
from scenarios.tariffs import TARIFFS
from scenarios.watching import Unwatched, Watcher


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


def live_together(
    config: LivesConfig,
    seed: int,
    world: tuple[Dataset, Scenario],
    records: Mapping[str, LifetimeRecord],
    checkpoints: Checkpoints,
    watcher: Watcher,
) -> None:
    """Live under every policy that has not finished, from the last checkpoint on if there is one.

    Args:
        config: all settings.
        seed: of the agent and of what policies draw.
        world: of the same seed.
        records: by policy as written, where each lifetime is written down.
        checkpoints: of these lifetimes.
        watcher: told of progress; asked after each chunk whether to stop.

    Raises:
        Interrupted: the watcher asked to stop; a checkpoint has been written.
        InvalidSetting: settings that the data set or the machine do not allow.
        TrainingDiverged: from the learner; what was recorded stays.
        RunError: from writing, or checkpoints none of which can be used.
    """
    dataset, scenario = world
    n_unfinished = sum(record.summary() is None for record in records.values())
    watcher.expect(len(scenario.stream) * n_unfinished)

    def finish(policy: str, trajectory: Trajectory, agent: Agent) -> None:
        unit = cost_model(config).unit
        facts = facts_of(config, seed, policy, dataset, scenario, trajectory, cost_unit=unit)
        shown = hyperparameters(config, seed, policy)
        records[policy].finish(trajectory, facts, settings=shown, weights=agent.learner.weights())

    live_on_record(
        lambda policies: newborn(config, seed, world, made(policies, seed)),
        records,
        checkpoints,
        watcher,
        title=f"seed {seed}:",
        checkpoint_every=config.checkpoint_every,
        on_step=lambda steps: watcher.advance(len(steps)),
        on_end=finish,
    )


def write_truth(scenario: Scenario) -> str:
    """What the experimenter knows of a scenario and the agent does not, as JSON."""
    truth = {"experience": scenario.experience, "price": scenario.stream.prices, **scenario.truth}
    return json.dumps({"scenario": scenario.name, "by_chunk": truth}) + "\n"


def made(specs: Iterable[str], seed: int) -> dict[str, Policy]:
    """The policies that specs name, by spec; raises what `specs.make` raises."""
    return {spec: make(spec, POLICIES, "policy", seed=seed) for spec in specs}
