"""The relative value of learning over memorizing: k%-learners over seeds (E. Orhan, 2019)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from agent.agent import Agent
from agent.data.chunk import LabelledInputs
from agent.errors import CheckpointError, RunError
from agent.evaluation.plan import EvaluationPlan
from agent.evaluation.scores import accuracy_of
from agent.evaluation.trajectory import Trajectory
from agent.learners.protocol import WarmStarting
from agent.lifetime.loop import Lifetimes
from agent.policies import Policy, StaticPolicy
from agent.storage.record import SECONDS, LifetimeRecord, RunDirectory
from scenarios.analysis.matched_share import MatchedShares, course_of, place
from scenarios.analysis.rescues import Rescues
from scenarios.config.method import Method
from scenarios.config.settings import CurveConfig
from scenarios.config.specs import file_name
from scenarios.datasets.load import Dataset
from scenarios.datasets.source import Access
from scenarios.experiments.relative_value_files import write_curve
from scenarios.experiments.relative_value_reading import Curve, check_record, computed_in, read_curve
from scenarios.experiments.relative_value_report import report
from scenarios.experiments.rescues import read_rescues, with_rescues
from scenarios.running.experiment import Experiment
from scenarios.running.factory import build_agents
from scenarios.running.identity import dataset_word
from scenarios.running.kept_predictions import kept_predictions
from scenarios.running.progress import ProgressReporter, SilentReporter
from scenarios.running.provenance import notes_on_tariffs, notes_on_training
from scenarios.running.resumable import run_recorded
from scenarios.running.summary import facts_of_training, prior_knowledge
from scenarios.running.tasks import Run, Site
from scenarios.running.workload import workload
from scenarios.running.world import check_settings, load_data, report_dataset
from scenarios.streams.catalog import ChunkStream, iid_stream


def run(config: CurveConfig, run: Run) -> Curve:
    """Run the static k%-learners, and policies if the settings name some, under every seed, and write the curve.

    Finished lifetimes in the run directory do not run again; unfinished ones continue from their checkpoint.

    Raises:
        DatasetError: the data set cannot be loaded.
        InvalidSetting: the data set does not allow the settings.
        TrainingDiverged: from the learner; the records so far stay.
        Interrupted: the reporter stopped the run; a checkpoint is saved.
        RunError: a file cannot be written.
    """
    directory = run.directory
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    records = {seed: records_of(config, directory, seed) for seed in seeds}
    unfinished: dict[int, list[str]] = {}
    for seed in seeds:
        if names := [name for name, record in records[seed].items() if record.summary() is None]:
            unfinished[seed] = names
        else:
            directory.checkpoints(f"seed{seed}").drop()  # left by a process that was killed before it deleted them
    if unfinished:
        _run_seeds(config, unfinished, run)
    curve = curve_of(config, records)
    if policies := config.with_policies:
        of_training = notes_on_training(policies, config.dataset, seeds, run.access)
        for note in [*of_training, *notes_on_tariffs(policies)]:
            run.reporter.warn(note)
    write_curve(curve, directory)
    return curve


def curve_of(config: CurveConfig, records: Mapping[int, Mapping[str, LifetimeRecord]]) -> Curve:
    """The curve of finished lifetimes, given by seed and name.

    Raises:
        RunError: a record is incomplete or damaged.
    """
    for of_seed in records.values():
        for record in of_seed.values():
            check_record(record)
    by_name = _by_name(records)
    main = {k: by_name[f"{k:g}"] for k in {*config.k, 100.0}}  # a k that rounds to 100 shares its lifetime
    memories: dict[str, dict[float, Sequence[LifetimeRecord]]] = {}
    for name, static in _statics(config).items():
        if static.memory:
            memories.setdefault(static.memory.label, {})[static.k] = by_name[name]
    try:
        curve = read_curve(config, list(records), main, memories)
    except (CheckpointError, KeyError, TypeError, ValueError, IndexError) as error:
        runs = list(dict.fromkeys(str(of_seed["100"].path.parents[1]) for of_seed in records.values()))
        raise RunError(
            f"expected whole records of lifetimes in {' and '.join(runs)}, got: {str(error) or type(error).__name__}; "
            "remove the folder of the lifetime that is damaged, and `lifetime resume` of its run lives it again"
        ) from error
    folders = {seed: of_seed["100"].path.parent for seed, of_seed in records.items()}
    matched = _placed(config, by_name) if config.with_policies else None
    rescues = None
    if config.keep_predictions:
        rescues = _rescues(config, list(records), {str(config.memory): main, **memories})
    return replace(curve, matched=matched, folders=folders, computed=computed_in(folders), rescues=rescues)


def _rescues(
    config: CurveConfig, seeds: Sequence[int], memories: Mapping[str, Mapping[float, Sequence[LifetimeRecord]]]
) -> Rescues:
    """What each memory rescues at each k; the records are in the order of the seeds."""
    folders: dict[tuple[str, float | None], dict[int, Path]] = {
        (label, k): {seed: record.path for seed, record in zip(seeds, of_memory[k], strict=True)}
        for label, of_memory in memories.items()
        for k in sorted(config.k)
        if k in of_memory
    }
    return read_rescues(f"{config.dataset}, {config.learner.name}", "memory", folders, config.confidence)


def _by_name(records: Mapping[int, Mapping[str, LifetimeRecord]]) -> dict[str, list[LifetimeRecord]]:
    return {name: [of_seed[name] for of_seed in records.values()] for name in next(iter(records.values()))}


def _run_seeds(config: CurveConfig, unfinished: Mapping[int, list[str]], run: Run) -> None:
    """Run the unfinished lifetimes, given by seed: a task for each."""
    reporter = run.reporter
    first = next(iter(unfinished))
    reporter.say("data")
    dataset = run.cache.get(first, lambda: load_data(config, first, run.access, reporter))
    report_dataset(dataset, reporter)
    reporter.expect(sum(_work(config, dataset, names) for names in unfinished.values()))
    for _ in run.do(run.task(run_seed, config, seed, part=f"seed{seed}") for seed in unfinished):
        pass


class _Static(NamedTuple):
    """A k%-learner."""

    k: float
    memory: Method | None = None
    """One beside that of the settings; None for that one."""


def _statics(config: CurveConfig) -> dict[str, _Static]:
    """Every k%-learner, by the name of its lifetime."""
    ks = sorted({*config.k, 100.0})
    found = {f"{k:g}": _Static(k) for k in ks}
    for memory in config.with_memories:
        found |= {f"{memory.label} {k:g}": _Static(k, memory) for k in ks if k < 100}
    return found


def _work(config: CurveConfig, dataset: Dataset, names: Sequence[str]) -> float:
    """The workload of a seed's lifetimes with these names."""
    statics = _statics(config)
    ks = {statics[name].k for name in names if name in statics}  # memories share learners
    learner = build_agents(config, {"": config}, dataset, seed=config.first_seed)[""].learner
    return workload(config, learner, dataset, sorted(ks), sum(name not in statics for name in names))


def records_of(config: CurveConfig, run: RunDirectory, seed: int) -> dict[str, LifetimeRecord]:
    """The record of each lifetime of a seed, by name."""
    folders = {
        name: f"k{static.k:03g}" + (f"-{static.memory.file_name}" if static.memory else "")
        for name, static in _statics(config).items()
    }
    folders |= {str(policy): file_name(policy.spec) for policy in config.with_policies or ()}
    return {name: run.lifetime(f"seed{seed}/{folder}") for name, folder in folders.items()}


def prepare(config: CurveConfig, access: Access) -> None:
    """Check that the lifetimes of the first seed can begin: load the data, cut the stream, build agent and policies.

    Raises:
        DatasetError: the data set cannot be loaded.
        InvalidSetting: the data set or the machine does not allow the settings.
    """
    seed, reporter = config.first_seed, SilentReporter()
    dataset = load_data(config, seed, access, reporter)
    stream = iid_stream(dataset, config.chunks, seed=seed)
    lifetimes_of(config, dataset, stream, seed, policies_by_name(config, seed), reporter)


def policies_by_name(config: CurveConfig, seed: int) -> dict[str, Policy]:
    """The policy of each lifetime of a seed, by name of the lifetime."""
    others = {str(policy): policy.make(seed=seed) for policy in config.with_policies or ()}
    return {name: StaticPolicy(static.k) for name, static in _statics(config).items()} | others


def lifetimes_of(
    config: CurveConfig,
    dataset: Dataset,
    stream: ChunkStream,
    seed: int,
    policies: Mapping[str, Policy],
    reporter: ProgressReporter,
) -> Lifetimes:
    """The lifetimes of a seed under these policies, by name, at initialization."""
    statics = _statics(config)
    plan = EvaluationPlan(
        dataset.validation,
        dataset.test,
        every=config.evaluate_every,
        recalling_after=frozenset(round(k * config.chunks / 100) - 1 for k in config.k if config.surface),
        rules=config.with_mixtures,
        detailed=frozenset(name for name, static in statics.items() if not static.memory),
        keeps_predictions=config.keep_predictions,
    )
    methods = {name: (statics[name].memory if name in statics else None) or config for name in policies}
    agents = build_agents(config, methods, dataset, seed=seed, progress=reporter.advance)
    return Lifetimes(agents, stream, policies, plan)


def run_seed(config: CurveConfig, seed: int, site: Site) -> None:
    """The task: the unfinished lifetimes of a seed, from their last checkpoint."""
    reporter = site.reporter
    dataset = site.cache.get(seed, lambda: load_data(config, seed, site.access, reporter))
    reporter.say(f"seed {seed}")
    records, checkpoints = records_of(config, site.directory, seed), site.directory.checkpoints(f"seed{seed}")
    stream = iid_stream(dataset, config.chunks, seed=seed)
    policies = policies_by_name(config, seed)
    statics = _statics(config)
    # A meter that begins anew beside finished lifetimes would lack their work.
    whole = bool(checkpoints.found()) or all(record.summary() is None for record in records.values())
    if not whole:
        (site.directory.path / f"seed{seed}" / SECONDS).unlink(missing_ok=True)
    about = {
        "n_train": len(dataset.train),
        "n_validation": len(dataset.validation),
        "n_test": len(dataset.test),
        "n_classes": dataset.n_classes,
        "prior_knowledge": prior_knowledge(dataset, config.network),
    }

    def begin(names: Iterable[str]) -> Lifetimes:
        return lifetimes_of(config, dataset, stream, seed, {name: policies[name] for name in names}, reporter)

    def finish(name: str, trajectory: Trajectory, agent: Agent) -> None:
        facts: dict[str, Any] = about | facts_of_training(agent.learner)
        if name not in statics:
            facts |= {"policy": name, "seed": seed}
        elif config.warm and not statics[name].memory:
            before = agent.meter.state()
            facts |= _warm(agent, stream, StaticPolicy(statics[name].k), dataset.test)
            agent.meter.load_state(before)  # the curve does without y_warm
        if whole:
            site.directory.write(f"seed{seed}/{SECONDS}", json.dumps(agent.meter.state(), indent=2) + "\n")
        records[name].finish(trajectory, facts, predictions=kept_predictions(trajectory, dataset))

    run_recorded(
        begin,
        records,
        checkpoints,
        reporter,
        title=f"seed {seed}:",
        checkpoint_every=config.checkpoint_every,
        on_step=lambda _: None,  # the learner reports its progress itself
        on_end=finish,
    )


def _warm(agent: Agent, stream: ChunkStream, policy: StaticPolicy, test: LabelledInputs) -> dict[str, float]:
    """Accuracy and GFLOPs of the k%-learner after it also learns the rest of the stream, from its present weights."""
    assert isinstance(agent.learner, WarmStarting), "checked by the configuration"
    learner = agent.learner.warmed()
    for chunk in stream[policy.n_learned(len(stream)) :]:
        learner.learn(chunk.inputs, chunk.labels)
    work = learner.flush()
    accuracy = accuracy_of(learner.forward(test.inputs)[0].probabilities, test.labels)
    return {"y_warm": accuracy, "warm_gflop": work.flops / 1e9}


def _placed(config: CurveConfig, records: Mapping[str, Sequence[LifetimeRecord]]) -> MatchedShares:
    courses = {name: [course_of(record) for record in by_seed] for name, by_seed in records.items()}
    statics = {static.k: courses[name] for name, static in _statics(config).items() if not static.memory}
    policies = {str(policy): courses[str(policy)] for policy in config.with_policies or ()}
    return place(statics, policies, config.confidence)


CURVE = Experiment(
    "curve",
    CurveConfig,
    words=lambda config: [dataset_word(config.dataset), config.learner.name],
    run=run,
    report=lambda curve, _, path: with_rescues(
        report(curve, path, more_seeds="The same command with --seeds {seeds} lives only the new ones."),
        curve.rescues,
        path,
    ),
    check=lambda config: check_settings(config, config.with_policies or ()),
    prepare=prepare,
)
