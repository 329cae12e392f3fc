"""One lifetime under one policy."""

from pathlib import Path
from typing import Any

from agent.evaluation.trajectory import Trajectory
from agent.policies import Policy
from agent.storage.record import RunDirectory
from scenarios.config.families import POLICY
from scenarios.config.members import make
from scenarios.config.presets import resolve
from scenarios.config.settings import SimulateConfig
from scenarios.running.lifetimes import live_together
from scenarios.running.progress import ProgressReporter, SilentReporter
from scenarios.running.summary import metrics_of
from scenarios.running.world import load_world, make_lifetimes, resolve_policy, resolve_specs, try_world, write_truth


def resolve_simulation(config: SimulateConfig) -> SimulateConfig:
    """The settings with every spec in its one spelling.

    Raises:
        InvalidSetting: an unknown name or setting.
    """
    policy = resolve_policy(config.policy, config.seed)
    return config.model_copy(update={"policy": policy, **resolve_specs(config)})


def simulate(
    config: SimulateConfig,
    run: RunDirectory,
    reporter: ProgressReporter,
    *,
    download: bool = False,
    data_dir: Path | None = None,
) -> dict[str, Any]:
    """Live a lifetime, from the last checkpoint on if there is one; a finished one is not lived again.

    Args:
        config: resolved settings.
        run: where everything is written.
        reporter: told of progress.
        download: fetch a missing data set.
        data_dir: where data sets and caches lie; None for the user's cache folder.

    Returns:
        The summary.

    Raises:
        DatasetError: from loading.
        Interrupted: the reporter asked to stop.
        InvalidSetting: settings that the data set or the machine do not allow.
        TrainingDiverged: from the learner; what was recorded stays.
        RunError: from writing.
    """
    record = run.lifetime("")
    if record.summary() is None:
        reporter.say("data")
        world = load_world(config, config.seed, data_dir=data_dir, download=download, reporter=reporter)
        run.write("scenario.json", write_truth(world[1]))
        live_together(config, config.seed, world, {config.policy: record}, run.checkpoints(), reporter)
    summary = record.summary()
    metrics_of(summary, run.path)
    run.checkpoints().drop()  # of a process that was killed just before it could
    assert summary is not None
    return summary


def live(
    policy: Policy | str,
    *,
    seed: int = 0,
    preset: str = "quick",
    data_dir: Path | str | None = None,
    download: bool = False,
    **settings: Any,
) -> Trajectory:
    """Live one lifetime in memory; nothing is written.

    Args:
        policy: an object of one's own, or a spec such as `static:k=20`.
        seed: of the data's split, their order, initial weights and the policy, if it is a spec.
        preset: where the settings start: quick or cifar10.
        data_dir: where data sets and caches lie; None for the user's cache folder.
        download: fetch a missing data set.
        settings: over the preset's, by the names of the command line's options with _ for -: dataset, scenario, tariff,
            chunks, cost, rekey, lr, ... (`lifetime simulate --help`).

    Raises:
        DatasetError: from loading.
        InvalidSetting: a setting that cannot be.
        PolicyError: the policy failed.
        TrainingDiverged: from the learner.
    """
    config = resolve(SimulateConfig, preset, {**settings, "seed": seed})
    config = config.model_copy(update=resolve_specs(config))
    decider: Policy = make(policy, POLICY, seed=seed) if isinstance(policy, str) else policy
    folder = None if data_dir is None else Path(data_dir)
    world = load_world(config, seed, data_dir=folder, download=download, reporter=SilentReporter())
    lifetimes = make_lifetimes(config, seed, world, {"": decider})
    while lifetimes:
        lifetimes.advance()
    [(_, trajectory, _)] = lifetimes.ended()
    return trajectory


def prepare(config: SimulateConfig, *, download: bool, data_dir: Path | None) -> None:
    """Try whether the lifetime could begin; see `try_world`."""
    try_world(config, config.seed, [config.policy], download=download, data_dir=data_dir)
