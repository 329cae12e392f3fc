"""One lifetime under one policy."""

from pathlib import Path
from typing import Any

from agent.policies.registry import POLICIES
from agent.record import RunDirectory
from scenarios.config import SimulateConfig
from scenarios.lives import live_together, load_world, resolve_specs, try_world, write_truth
from scenarios.specs import canonical, make
from scenarios.watching import Watcher


def resolve_simulation(config: SimulateConfig) -> SimulateConfig:
    """The settings with every spec in its one spelling.

    Raises:
        InvalidSetting: an unknown name or setting.
    """
    make(config.policy, POLICIES, "policy", seed=config.seed)
    return config.model_copy(update={"policy": canonical(config.policy, POLICIES, "policy"), **resolve_specs(config)})


def simulate(
    config: SimulateConfig, run: RunDirectory, watcher: Watcher, *, download: bool = False, data_dir: Path | None = None
) -> dict[str, Any]:
    """Live a lifetime, from the last checkpoint on if there is one; a finished one is not lived again.

    Args:
        config: resolved settings.
        run: where everything is written.
        watcher: told of progress.
        download: fetch a missing data set.
        data_dir: where data sets and caches lie; None for the user's cache folder.

    Returns:
        The summary.

    Raises:
        DatasetError: from loading.
        Interrupted: the watcher asked to stop.
        InvalidSetting: settings that the data set or the machine do not allow.
        TrainingDiverged: from the learner; what was recorded stays.
        RunError: from writing.
    """
    record = run.lifetime("")
    if record.summary() is None:
        watcher.say("data")
        world = load_world(config, config.seed, data_dir=data_dir, download=download, watcher=watcher)
        run.write("scenario.json", write_truth(world[1]))
        live_together(config, config.seed, world, {config.policy: record}, run.checkpoints(), watcher)
    summary = record.summary()
    assert summary is not None
    return summary


def prepare(config: SimulateConfig, *, download: bool, data_dir: Path | None) -> None:
    """Try whether the lifetime could begin; see `try_world`."""
    try_world(config, config.seed, [config.policy], download=download, data_dir=data_dir)
