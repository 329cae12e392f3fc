"""Run the lifetimes of one seed together, with records and checkpoints."""

from collections.abc import Mapping, Sequence

from agent.agent import Agent
from agent.evaluation.trajectory import Trajectory
from agent.storage.checkpoint import Checkpoints
from agent.storage.record import LifetimeRecord
from scenarios.config.method import Method
from scenarios.config.settings import LifetimeConfig
from scenarios.datasets.load import Dataset
from scenarios.running.kept_predictions import kept_predictions
from scenarios.running.progress import ProgressReporter
from scenarios.running.resumable import run_recorded
from scenarios.running.summary import facts_of, facts_of_training, hyperparameters
from scenarios.running.world import make_lifetimes
from scenarios.streams.scenario import Scenario


def sharing_a_learner(methods: Sequence[Method]) -> list[list[Method]]:
    """Methods in groups that differ in no part of the learner, in the order of their first members.

    The lifetimes of a group share the learner, and its forward passes, for as long as their policies decide alike. A
    baseline, which cannot be forked, shares with none.
    """
    groups: dict[tuple[object, ...], list[Method]] = {}
    for method in methods:
        parts = (method.network, method.recipe, method.learner)
        groups.setdefault(parts if method.baseline is None else (method.label,), []).append(method)
    return list(groups.values())


def run_together(
    config: LifetimeConfig,
    seed: int,
    methods: Sequence[Method],
    world: tuple[Dataset, Scenario],
    records: Mapping[str, LifetimeRecord],
    checkpoints: Checkpoints,
    reporter: ProgressReporter,
) -> None:
    """Run each unfinished lifetime, from the last checkpoint if there is one; the reporter may stop the run.

    Args:
        config: settings of the world.
        seed: seeds the agents and the policies.
        methods: one for each lifetime, which differ in no part of the learner.
        world: data set and scenario of the same seed.
        records: of each lifetime, by the label of its method.
        checkpoints: of these lifetimes together.
        reporter: receives the progress.

    Raises:
        Interrupted: the reporter stopped the run; a checkpoint is saved.
        InvalidSetting: the data set or the machine does not allow the settings.
        TrainingDiverged: from the learner; the records so far stay.
        RunError: a file cannot be written, or there are checkpoints but none can be used.
    """
    by_label = {method.label: method for method in methods}

    def finish(label: str, trajectory: Trajectory, agent: Agent) -> None:
        facts = facts_of(config, seed, by_label[label], world, trajectory) | facts_of_training(agent.learner)
        settings = hyperparameters(config, seed, by_label[label])
        weights, predictions = agent.learner.weights(), kept_predictions(trajectory, world[0])
        records[label].finish(trajectory, facts, settings=settings, weights=weights, predictions=predictions)

    run_recorded(
        lambda labels: make_lifetimes(config, seed, world, {label: by_label[label] for label in labels}),
        records,
        checkpoints,
        reporter,
        title=f"seed {seed}:",
        checkpoint_every=config.checkpoint_every,
        on_step=lambda steps: reporter.advance(len(steps)),
        on_end=finish,
    )
