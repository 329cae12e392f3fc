"""The relative value of learning over memorizing: k%-learners lived over seeds (E. Orhan, 2019)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from agent.agent import Agent
from agent.data.chunk import LabelledInputs
from agent.errors import RunError
from agent.evaluation.plan import EvaluationPlan
from agent.evaluation.scores import accuracy_of
from agent.evaluation.trajectory import Trajectory
from agent.learners import RefitLearner
from agent.learners.training import unreported
from agent.lifetime.loop import Lifetimes
from agent.policies import Policy, StaticPolicy
from agent.storage.record import LifetimeRecord, RunDirectory
from scenarios.analysis.matched_share import MatchedShares, course_of, place
from scenarios.config.settings import CurveConfig
from scenarios.config.specs import file_name, split_specs
from scenarios.datasets.load import Dataset, load_dataset
from scenarios.experiments.relative_value_report import Curve, read_curve, write_curve
from scenarios.running.factory import build_agent, choose_augmentation, resolve_agent
from scenarios.running.progress import NotingReporter, ProgressReporter, SilentReporter
from scenarios.running.provenance import notes_on_tariffs, notes_on_training
from scenarios.running.resumable import live_on_record
from scenarios.running.summary import prior_knowledge
from scenarios.running.workers import WorkerPool
from scenarios.running.workload import workload
from scenarios.running.world import make_policies, resolve_policies, tell_of
from scenarios.streams.catalog import ChunkStream, iid_stream


def resolve_curve(config: CurveConfig) -> CurveConfig:
    """The settings with every part of the agent and every policy in their one spelling.

    Raises:
        InvalidSetting: no policy where some are asked for, an unknown name or setting, or a policy twice.
    """
    resolved = resolve_agent(config)
    if config.with_policies is not None:
        resolved["with_policies"] = " ".join(resolve_policies(config.with_policies, config.first_seed))
    return config.model_copy(update=resolved)


def live_curve(
    config: CurveConfig,
    run: RunDirectory,
    reporter: ProgressReporter,
    *,
    workers: int | None = None,
    download: bool = False,
    data_dir: Path | None = None,
) -> Curve:
    """Live the static k%-learners for every seed, and policies beside them if asked to, and write the curve.

    Lifetimes that the run directory holds already are not lived again, and unfinished ones go on from their checkpoint.

    Args:
        config: resolved settings.
        run: where everything is written.
        reporter: told of progress.
        workers: processes of one thread each that live a seed each, side by side; how many there are does not change a
            bit. None for this process and all its threads.
        download: fetch a missing data set.
        data_dir: where data sets and caches lie; None for the user's cache folder.

    Raises:
        DatasetError: from loading.
        InvalidSetting: settings that the data set does not allow.
        TrainingDiverged: from the learner; what was recorded stays.
        Interrupted: the reporter asked to stop; a checkpoint has been written.
        RunError: from writing.
    """
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    folders = _folders(config)
    records = {seed: _records(config, run, seed) for seed in seeds}
    unlived = {seed: [name for name in folders if records[seed][name].summary() is None] for seed in seeds}
    for seed in seeds:
        if not unlived[seed]:
            run.checkpoints(f"seed{seed}").drop()  # of a process that was killed just before it could
    if unfinished := {seed: names for seed, names in unlived.items() if names}:
        _live_seeds(config, unfinished, run, reporter, workers, data_dir, download)
    by_name = {name: [records[seed][name] for seed in seeds] for name in folders}
    n_lives = len(folders) * len(seeds)
    try:
        curve = read_curve(config, {k: by_name[f"{k:g}"] for k in {*config.k, 100.0}})
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"expected whole summaries of {n_lives} lifetimes in {run.path}, got one without or with an odd "
            f"{str(error) or type(error).__name__}; --force starts anew"
        ) from error
    if config.with_policies:
        policies = _policies(config)
        of_training = notes_on_training(policies, config.dataset, seeds, data_dir)
        for note in [*of_training, *notes_on_tariffs(policies)]:
            reporter.warn(note)
        curve = replace(curve, matched=_placed(config, by_name))
    write_curve(curve, run)
    return curve


def _live_seeds(
    config: CurveConfig,
    unfinished: Mapping[int, list[str]],
    run: RunDirectory,
    reporter: ProgressReporter,
    workers: int | None,
    data_dir: Path | None,
    download: bool,
) -> None:
    """Live the lifetimes of every seed that are not finished: one seed after the other, or side by side."""
    first = next(iter(unfinished))
    reporter.say("data")
    dataset = _load(config, first, data_dir, download, reporter.reach)
    tell_of(dataset, reporter)
    works = {seed: _work(config, dataset, names) for seed, names in unfinished.items()}
    reporter.expect(sum(works.values()))
    if workers is not None:
        _live_side_by_side(config, works, run, reporter, workers, data_dir)
        return
    for seed in unfinished:
        if seed != first:
            reporter.say("data")
            dataset = _load(config, seed, data_dir, download, reporter.reach)
        reporter.say(f"seed {seed}")
        _live_seed(config, dataset, seed, run, reporter)


def _statics(config: CurveConfig) -> dict[str, float]:
    """The k of every k%-learner, by the name of its lifetimes."""
    return {f"{k:g}": k for k in sorted({*config.k, 100.0})}


def _policies(config: CurveConfig) -> list[str]:
    return split_specs(config.with_policies) if config.with_policies else []


def _work(config: CurveConfig, dataset: Dataset, names: Sequence[str]) -> float:
    """What the lifetimes of these names will take of a seed."""
    ks = [k for name, k in _statics(config).items() if name in names]
    learner = build_agent(config, dataset, seed=config.first_seed, progress=unreported).learner
    return workload(config, learner, dataset, ks, len(names) - len(ks))


def _folders(config: CurveConfig) -> dict[str, str]:
    """Where in a seed's folder a lifetime is recorded, by its name."""
    statics = {name: f"k{k:03g}" for name, k in _statics(config).items()}
    return statics | {policy: file_name(policy) for policy in _policies(config)}


def _records(config: CurveConfig, run: RunDirectory, seed: int) -> dict[str, LifetimeRecord]:
    return {name: run.lifetime(f"seed{seed}/{folder}") for name, folder in _folders(config).items()}


def prepare(config: CurveConfig, seed: int, *, download: bool, data_dir: Path | None) -> None:
    """Try whether the lifetimes of a seed could begin: load the data, cut the stream, build agent and policies.

    Raises:
        DatasetError: from loading.
        InvalidSetting: settings that the data set or the machine do not allow.
    """
    dataset = _load(config, seed, data_dir, download, None)
    stream = iid_stream(dataset, config.chunks, seed=seed)
    _newborn(config, dataset, stream, seed, _made(config, seed), SilentReporter())


def _load(
    config: CurveConfig, seed: int, data_dir: Path | None, download: bool, progress: Callable[[int, int], None] | None
) -> Dataset:
    return load_dataset(
        config.dataset,
        seed=seed if config.data_seed is None else config.data_seed,
        n_train=config.train_size,
        n_validation=config.validation_size,
        n_test=config.test_size,
        data_dir=data_dir,
        download=download,
        progress=progress,
        max_megapixels=config.max_megapixels,
    )


def _made(config: CurveConfig, seed: int) -> dict[str, Policy]:
    """The policy of each lifetime of a seed, by the name of the lifetime."""
    return {name: StaticPolicy(k) for name, k in _statics(config).items()} | make_policies(_policies(config), seed)


def _newborn(
    config: CurveConfig,
    dataset: Dataset,
    stream: ChunkStream,
    seed: int,
    policies: Mapping[str, Policy],
    reporter: ProgressReporter,
) -> Lifetimes:
    plan = EvaluationPlan(dataset.validation, dataset.test, every=config.evaluate_every)
    agent = build_agent(config, dataset, seed=seed, progress=reporter.advance)
    return Lifetimes(agent, stream, policies, plan)


def _live_side_by_side(
    config: CurveConfig,
    works: Mapping[int, float],
    run: RunDirectory,
    reporter: ProgressReporter,
    workers: int,
    data_dir: Path | None,
) -> None:
    """Live seeds in processes of their own; `works` says how much there is to do for each."""
    waiting = list(works)
    with WorkerPool(workers, reporter) as pool:
        while waiting or pool.working:
            while waiting and pool.free:
                pool.begin(_live_seed_apart, config, waiting.pop(0), run.path, data_dir)
            reporter.say(f"{len(works) - len(waiting)} of {len(works)} seeds begun")
            for seed, warnings in pool.ended():
                reporter.advance(works[seed])
                for warning in warnings:
                    reporter.warn(warning)


def _live_seed_apart(config: CurveConfig, seed: int, path: Path, data_dir: Path | None) -> tuple[int, list[str]]:
    """A worker's task, in the run directory of its parent; stopped, it loses what came after the last checkpoint."""
    dataset, noting = _load(config, seed, data_dir, False, None), NotingReporter()
    _live_seed(config, dataset, seed, RunDirectory(path), noting)
    return seed, noting.warnings


def _live_seed(config: CurveConfig, dataset: Dataset, seed: int, run: RunDirectory, reporter: ProgressReporter) -> None:
    records, checkpoints = _records(config, run, seed), run.checkpoints(f"seed{seed}")
    stream = iid_stream(dataset, config.chunks, seed=seed)
    policies = _made(config, seed)
    statics = _statics(config)
    about = {
        "n_train": len(dataset.train),
        "n_validation": len(dataset.validation),
        "n_test": len(dataset.test),
        "n_classes": dataset.n_classes,
        "augmentation": asdict(choose_augmentation(config, dataset)),
        "prior_knowledge": prior_knowledge(dataset),
    }

    def begin(names: Iterable[str]) -> Lifetimes:
        return _newborn(config, dataset, stream, seed, {name: policies[name] for name in names}, reporter)

    def finish(name: str, trajectory: Trajectory, aged: Agent) -> None:
        facts: dict[str, Any] = dict(about)
        if name not in statics:
            facts |= {"policy": name, "seed": seed}
        elif config.warm:
            facts |= _warm(aged, stream, StaticPolicy(statics[name]), dataset.test)
        records[name].finish(trajectory, facts)

    live_on_record(
        begin,
        records,
        checkpoints,
        reporter,
        title=f"seed {seed}:",
        checkpoint_every=config.checkpoint_every,
        on_step=lambda _: None,  # the learner itself tells of its progress
        on_end=finish,
    )


def _warm(agent: Agent, stream: ChunkStream, policy: StaticPolicy, test: LabelledInputs) -> dict[str, float]:
    """The k%-learner after it has learned the rest of the stream too, from the weights it has: accuracy and cost."""
    assert isinstance(agent.learner, RefitLearner), "checked by the configuration"
    learner = agent.learner.warmed()
    for chunk in stream[policy.n_learned(len(stream)) :]:
        learner.learn(chunk.inputs, chunk.labels)
    work = learner.flush()
    accuracy = accuracy_of(learner.forward(test.inputs)[0].probabilities, test.labels)
    return {"y_warm": accuracy, "warm_gflop": work.flops / 1e9}


def _placed(config: CurveConfig, records: Mapping[str, Sequence[LifetimeRecord]]) -> MatchedShares:
    courses = {name: [course_of(record) for record in lived] for name, lived in records.items()}
    statics = {k: courses[name] for name, k in _statics(config).items()}
    return place(statics, {policy: courses[policy] for policy in _policies(config)}, config.confidence)
