"""One lifetime under one policy."""

from pathlib import Path
from typing import Any

from agent.evaluation.trajectory import Trajectory
from agent.policies import Policy
from scenarios.analysis.rescues import Rescues
from scenarios.config.families import POLICY
from scenarios.config.members import make
from scenarios.config.presets import resolve
from scenarios.config.settings import SimulateConfig
from scenarios.config.specs import file_name
from scenarios.datasets.source import Access
from scenarios.experiments.rescues import read_rescues, with_rescues, write_rescues
from scenarios.experiments.simulation_report import report
from scenarios.running.experiment import Experiment
from scenarios.running.identity import dataset_word
from scenarios.running.lifetimes import run_together
from scenarios.running.progress import SilentReporter
from scenarios.running.summary import metrics_of
from scenarios.running.tasks import Run, Site
from scenarios.running.world import check_settings, check_world, load_world, make_alike, truth_as_json


def run(config: SimulateConfig, run: Run) -> dict[str, Any]:
    """Run a lifetime, from the last checkpoint if there is one; a finished lifetime does not run again.

    Returns:
        The summary.

    Raises:
        DatasetError: the data set cannot be loaded.
        Interrupted: the reporter stopped the run.
        InvalidSetting: the data set or the machine does not allow the settings.
        TrainingDiverged: from the learner; the records so far stay.
        RunError: a file cannot be written.
    """
    directory = run.directory
    record = directory.lifetime("")
    if record.summary() is None:
        for _ in run.do([run.task(run_one, config)]):
            pass
    summary = record.summary()
    metrics_of(summary, directory.path)
    directory.checkpoints().drop()  # left by a process that was killed just before it deleted them
    if rescues := _rescues(config, directory.path):
        write_rescues(rescues, directory)  # without TensorBoard, whose events in this folder are the lifetime's
    assert summary is not None
    return summary


def run_one(config: SimulateConfig, site: Site) -> None:
    """The task: the lifetime, from its last checkpoint."""
    site.reporter.say("data")
    world, method = load_world(config, config.seed, site.access, site.reporter), config.as_method
    site.directory.write("scenario.json", truth_as_json(world[1]))
    site.reporter.expect(len(world[1].stream))
    records = {method.label: site.directory.lifetime("")}
    run_together(config, config.seed, [method], world, records, site.directory.checkpoints(), site.reporter)


def _rescues(config: SimulateConfig, path: Path) -> Rescues | None:
    """What the memory of the lifetime rescues; None if predictions were not kept."""
    if not config.keep_predictions:
        return None
    folders: dict[tuple[str, float | None], dict[int, Path]] = {(str(config.policy), None): {config.seed: path}}
    return read_rescues(config.title, "policy", folders, confidence=0.95)


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
    check_settings(config)
    decider: Policy = make(policy, POLICY, seed=seed) if isinstance(policy, str) else policy
    access = Access(None if data_dir is None else Path(data_dir), download)
    world = load_world(config, seed, access, SilentReporter())
    lifetimes = make_alike(config, seed, world, {"": decider})
    while lifetimes:
        lifetimes.advance()
    [(_, trajectory, _)] = lifetimes.ended()
    return trajectory


def _words(config: SimulateConfig) -> list[str]:
    decides = config.policy if config.baseline is None else config.baseline
    scenario, named = file_name(config.scenario.spec), file_name(decides.spec)
    return [dataset_word(config.dataset), scenario, named, f"seed{config.seed}"]


SIMULATE = Experiment(
    "simulate",
    SimulateConfig,
    words=_words,
    run=run,
    report=lambda summary, config, path: with_rescues(report(summary, config, path), _rescues(config, path), path),
    check=lambda config: check_settings(config, [config.policy]),
    prepare=lambda config, access: check_world(config, config.seed, [config.as_method], access),
)
