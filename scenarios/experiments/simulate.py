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
from scenarios.running.lifetimes import run_together
from scenarios.running.progress import ProgressReporter, SilentReporter
from scenarios.running.summary import metrics_of
from scenarios.running.world import (
    check_world,
    load_world,
    make_lifetimes,
    resolve_policy,
    resolve_specs,
    truth_as_json,
)


def resolve_simulation(config: SimulateConfig) -> SimulateConfig:
    """The settings with canonical specs.

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
    """Run a lifetime, from the last checkpoint if there is one; a finished lifetime does not run again.

    Args:
        config: resolved settings.
        run: where everything is written.
        reporter: receives the progress.
        download: download a missing data set.
        data_dir: where data sets and caches are stored; None for the user's cache folder.

    Returns:
        The summary.

    Raises:
        DatasetError: the data set cannot be loaded.
        Interrupted: the reporter stopped the run.
        InvalidSetting: the data set or the machine does not allow the settings.
        TrainingDiverged: from the learner; the records so far stay.
        RunError: a file cannot be written.
    """
    record = run.lifetime("")
    if record.summary() is None:
        reporter.say("data")
        world = load_world(config, config.seed, data_dir=data_dir, download=download, reporter=reporter)
        run.write("scenario.json", truth_as_json(world[1]))
        run_together(config, config.seed, world, {config.policy: record}, run.checkpoints(), reporter)
    summary = record.summary()
    metrics_of(summary, run.path)
    run.checkpoints().drop()  # left by a process that was killed just before it deleted them
    assert summary is not None
    return summary


def run_lifetime(
    policy: Policy | str,
    *,
    seed: int = 0,
    preset: str = "quick",
    data_dir: Path | str | None = None,
    download: bool = False,
    **settings: Any,
) -> Trajectory:
    """Simulate one lifetime in memory; nothing is written.

    Args:
        policy: an object, or a spec such as `static:k=20`.
        seed: seeds the split and the order of the data, the initial weights and, if it is a spec, the policy.
        preset: where the settings start: quick or cifar10.
        data_dir: where data sets and caches are stored; None for the user's cache folder.
        download: download a missing data set.
        settings: override the preset. Their names are the options of `lifetime simulate --help` with _ for -, such as
            dataset, scenario, tariff, chunks, cost and rekey.

    Raises:
        DatasetError: the data set cannot be loaded.
        InvalidSetting: a setting is invalid.
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
    """Check that the lifetime can begin; see `check_world`."""
    check_world(config, config.seed, [config.policy], download=download, data_dir=data_dir)
