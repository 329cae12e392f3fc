"""Run the lifetimes of one seed together, with records and checkpoints."""

from collections.abc import Mapping

from agent.agent import Agent
from agent.evaluation.trajectory import Trajectory
from agent.storage.checkpoint import Checkpoints
from agent.storage.record import LifetimeRecord
from scenarios.config.settings import LifetimeConfig
from scenarios.datasets.load import Dataset
from scenarios.running.progress import ProgressReporter
from scenarios.running.resumable import run_recorded
from scenarios.running.summary import facts_of, hyperparameters
from scenarios.running.world import make_lifetimes, make_policies
from scenarios.streams.scenario import Scenario


def run_together(
    config: LifetimeConfig,
    seed: int,
    world: tuple[Dataset, Scenario],
    records: Mapping[str, LifetimeRecord],
    checkpoints: Checkpoints,
    reporter: ProgressReporter,
) -> None:
    """Run each unfinished lifetime, from the last checkpoint if there is one; the reporter may stop the run.

    Args:
        config: resolved settings.
        seed: seeds the agent and the policies.
        world: data set and scenario of the same seed.
        records: of each lifetime, by the spec of its policy.
        checkpoints: of these lifetimes together.
        reporter: receives the progress.

    Raises:
        Interrupted: the reporter stopped the run; a checkpoint is saved.
        InvalidSetting: the data set or the machine does not allow the settings.
        TrainingDiverged: from the learner; the records so far stay.
        RunError: a file cannot be written, or there are checkpoints but none can be used.
    """
    _, scenario = world
    n_unfinished = sum(record.summary() is None for record in records.values())
    reporter.expect(len(scenario.stream) * n_unfinished)

    def finish(policy: str, trajectory: Trajectory, agent: Agent) -> None:
        facts = facts_of(config, seed, policy, world, trajectory)
        settings = hyperparameters(config, seed, policy)
        records[policy].finish(trajectory, facts, settings=settings, weights=agent.learner.weights())

    run_recorded(
        lambda policies: make_lifetimes(config, seed, world, make_policies(policies, seed)),
        records,
        checkpoints,
        reporter,
        title=f"seed {seed}:",
        checkpoint_every=config.checkpoint_every,
        on_step=lambda steps: reporter.advance(len(steps)),
        on_end=finish,
    )
