"""Lifetimes of one seed, lived together, recorded, checkpointed and resumed."""

from collections.abc import Mapping

from agent.agent import Agent
from agent.evaluation.trajectory import Trajectory
from agent.storage.checkpoint import Checkpoints
from agent.storage.record import LifetimeRecord
from scenarios.config.settings import LifetimeConfig
from scenarios.datasets.load import Dataset
from scenarios.running.progress import ProgressReporter
from scenarios.running.resumable import live_on_record
from scenarios.running.summary import facts_of, hyperparameters
from scenarios.running.world import cost_model, make_lifetimes, make_policies
from scenarios.streams.scenario import Scenario


def live_together(
    config: LifetimeConfig,
    seed: int,
    world: tuple[Dataset, Scenario],
    records: Mapping[str, LifetimeRecord],
    checkpoints: Checkpoints,
    reporter: ProgressReporter,
) -> None:
    """Live under every policy that has not finished, from the last checkpoint on if there is one.

    Args:
        config: all settings.
        seed: of the agent and of what policies draw.
        world: of the same seed.
        records: by policy as written, where each lifetime is written down.
        checkpoints: of these lifetimes.
        reporter: told of progress; asked after each chunk whether to stop.

    Raises:
        Interrupted: the reporter asked to stop; a checkpoint has been written.
        InvalidSetting: settings that the data set or the machine do not allow.
        TrainingDiverged: from the learner; what was recorded stays.
        RunError: from writing, or checkpoints none of which can be used.
    """
    dataset, scenario = world
    n_unfinished = sum(record.summary() is None for record in records.values())
    reporter.expect(len(scenario.stream) * n_unfinished)

    def finish(policy: str, trajectory: Trajectory, agent: Agent) -> None:
        unit = cost_model(config).unit
        facts = facts_of(config, seed, policy, dataset, scenario, trajectory, cost_unit=unit)
        shown = hyperparameters(config, seed, policy)
        records[policy].finish(trajectory, facts, settings=shown, weights=agent.learner.weights())

    live_on_record(
        lambda policies: make_lifetimes(config, seed, world, make_policies(policies, seed)),
        records,
        checkpoints,
        reporter,
        title=f"seed {seed}:",
        checkpoint_every=config.checkpoint_every,
        on_step=lambda steps: reporter.advance(len(steps)),
        on_end=finish,
    )
