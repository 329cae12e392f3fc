"""Training of a policy: iterations in a simulator, recorded, checkpointed and resumed to the bit."""

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.errors import CheckpointError, InvalidSetting, RunError
from agent.policies.file import POLICY_FILE, PolicyFile, policy_file_text, read_policy_file
from agent.storage.record import RunDirectory, read_object
from scenarios.config.settings import TrainConfig
from scenarios.oracle.table import ScheduleTable
from scenarios.oracle.tables import Pricing, TableSet, with_tariffs_drawn
from scenarios.policy_training.simulators import LifetimeSimulator, Simulator, TableSimulator
from scenarios.policy_training.trainers import Trainer, make_trainer
from scenarios.running.progress import Interrupted, ProgressReporter, SilentReporter
from scenarios.running.world import load_world, make_episode, resolve_specs

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

TRAINING = "training.json"


def resolve_training(config: TrainConfig) -> TrainConfig:
    """The settings with canonical specs.

    Raises:
        InvalidSetting: an unknown name or setting, or a method whose libraries are missing.
    """
    if config.method == "ppo":
        from scenarios.policy_training.ppo import check_installed

        check_installed()
    if config.method == "forecast" and config.observes == "nothing":
        raise InvalidSetting("expected --observes learner or memory for --method forecast, got nothing to forecast by")
    return config.model_copy(update=resolve_specs(config))


def training_tables(tables: Sequence[ScheduleTable], config: TrainConfig) -> list[ScheduleTable]:
    """The tables of the seeds to train on.

    Raises:
        InvalidSetting: a seed has no table.
    """
    wanted = _seeds(config)
    found = [table for table in tables if table.facts["seed"] in wanted]
    if len(found) < len(wanted):
        there = ", ".join(str(table.facts["seed"]) for table in tables)
        raise InvalidSetting(
            f"expected trees of seeds {wanted[0]} to {wanted[-1]} to train on, got those of {there}; change --seeds or "
            "--first-seed, or grow more with `lifetime tree`"
        )
    return found


def train_policy(
    config: TrainConfig,
    run: RunDirectory,
    reporter: ProgressReporter,
    *,
    tables: Sequence[ScheduleTable] | None,
    about: Mapping[str, Any],
    download: bool = False,
    data_dir: Path | None = None,
) -> dict[str, Any]:
    """Train a policy, from the last checkpoint if there is one; a finished training returns its result.

    Args:
        config: resolved settings.
        run: the directory for checkpoints and results.
        reporter: receives progress; may ask to stop after each iteration, and in simulated lifetimes after each chunk.
        tables: to train on; None for simulated lifetimes.
        about: plain values to add to the policy file.
        download: download a missing data set.
        data_dir: directory of data sets and caches; None for the user's cache directory.

    Returns:
        The content of training.json.

    Raises:
        DatasetError: from loading.
        Interrupted: the reporter asked to stop; a checkpoint has been written.
        InvalidSetting: invalid settings.
        TrainingDiverged: from the learner.
        RunError: from writing.
    """
    if (finished := _finished(run)) is not None:
        run.checkpoints().drop()  # a process killed just before this step leaves some
        return finished
    simulator: Simulator
    if tables is None:
        reporter.say("data")
        simulator = LifetimeSimulator(config, _seeds(config), reporter, download=download, data_dir=data_dir)
    else:
        pricing = Pricing(config.tariff, config.cost, config.cost_weight, config.budget)
        drawn = with_tariffs_drawn(training_tables(tables, config), config.tariff, config.tariff_draws)
        simulator = TableSimulator(TableSet(drawn, pricing))
    trainer, history = _resumed(config, simulator, run, reporter)
    with run.tensorboard() as board:
        policy, reached = _iterate(config, trainer, history, simulator, run, board, reporter)
    training = {
        "method": config.method,
        "seeds": list(_seeds(config)),
        "on": "tables" if tables is not None else "lifetimes",
        "utility": reached,
        "settings": config.model_dump(mode="json"),
        **about,
    }
    run.write(POLICY_FILE, policy_file_text(PolicyFile(policy.kind, policy.settings, training)))
    content = {"policy": POLICY_FILE, "kind": policy.kind, "utility": reached, "history": history}
    run.write(TRAINING, json.dumps(content, indent=1) + "\n")
    run.checkpoints().drop()
    return content


def _iterate(
    config: TrainConfig,
    trainer: Trainer,
    history: list[dict[str, float]],
    simulator: Simulator,
    run: RunDirectory,
    board: "SummaryWriter",
    reporter: ProgressReporter,
) -> tuple[PolicyFile, float]:
    """Iterate to the end, with checkpoints; returns the policy and its mean utility in the simulator.

    Raises:
        Interrupted: the reporter asked to stop; a checkpoint has been written.
    """
    on_tables, checkpoints = isinstance(simulator, TableSimulator), run.checkpoints()
    assert config.iterations is not None
    if on_tables:
        of_iteration, of_policy = 1, 0
    else:  # chunks; the simulator reports them
        of_policy = simulator.n_chunks * len(simulator.seeds)
        of_iteration = config.population * (simulator.n_chunks if config.method == "ppo" else of_policy)
    reporter.expect(config.iterations * of_iteration + of_policy)
    reporter.advance(len(history) * of_iteration)
    saved, every = len(history), config.checkpoint_every if on_tables else 1  # lifetimes cost more than a file
    for number, values in enumerate(history):
        _draw(board, values, number)
    try:
        while len(history) < config.iterations:
            values = trainer.iterate()
            _draw(board, values, len(history))
            history.append(values)
            if on_tables:
                reporter.advance(1)
            reporter.say(f"utility {100 * values['utility']:.1f}")
            if reporter.stopping:
                raise Interrupted
            if len(history) % every == 0:
                checkpoints.save({"trainer": trainer.state(), "history": history})
                saved = len(history)
        policy = trainer.policy()
        return policy, float(simulator.utilities([lambda _: policy.make()]).mean())
    except Interrupted:
        if len(history) > saved:
            checkpoints.save({"trainer": trainer.state(), "history": history})
        raise


def prepare(config: TrainConfig, *, download: bool, data_dir: Path | None) -> None:
    """Check that lifetimes of the first seed can begin.

    Raises:
        DatasetError: from loading.
        InvalidSetting: the data set or the machine does not allow the settings.
    """
    world = load_world(config, config.first_seed, data_dir=data_dir, download=download, reporter=SilentReporter())
    make_episode(config, config.first_seed, world, config.observes)


def _seeds(config: TrainConfig) -> range:
    return range(config.first_seed, config.first_seed + config.seeds)


def _finished(run: RunDirectory) -> dict[str, Any] | None:
    try:
        finished = read_object(run.path / TRAINING, "--force starts anew")
    except FileNotFoundError:
        return None
    try:
        whole = {"policy", "kind"} <= finished.keys() and bool(finished["history"])
        numbers = [finished["utility"], *(values["utility"] for values in finished["history"])]
        read_policy_file(run.path / POLICY_FILE)
    except InvalidSetting as error:
        raise RunError(f"{error}, as a finished training left it; --force starts anew") from None
    except (LookupError, TypeError):
        whole, numbers = False, []
    if not whole or not all(isinstance(number, float) and isfinite(number) for number in numbers):
        raise RunError(f"expected a finished training in {run.path / TRAINING}, got an odd one; --force starts anew")
    return finished


def _resumed(
    config: TrainConfig, simulator: Simulator, run: RunDirectory, reporter: ProgressReporter
) -> tuple[Trainer, list[dict[str, float]]]:
    checkpoints = run.checkpoints()
    for path in checkpoints.found():
        try:
            state = checkpoints.load(path)
            trainer = make_trainer(config, simulator)
            trainer.load_state(state["trainer"])
            return trainer, list(state["history"])
        except (CheckpointError, LookupError, RuntimeError, TypeError, ValueError, AttributeError) as error:
            reporter.warn(f"{str(error) or type(error).__name__}; trying the checkpoint before it, if there is one")
    return make_trainer(config, simulator), []


def _draw(board: Any, values: Mapping[str, float], iteration: int) -> None:
    for name, value in values.items():
        board.add_scalar(f"training/{name}", value, iteration)
