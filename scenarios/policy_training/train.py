"""Training of a policy: iterations in a simulator, recorded, checkpointed and resumed to the bit."""

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.errors import CheckpointError, InvalidSetting, RunError
from agent.policies.file import POLICY_FILE, PolicyFile, policy_file_text, read_policy_file
from agent.storage.record import CONFIG, RunDirectory, read_object
from scenarios.analysis.formats import percent
from scenarios.analysis.report import Report
from scenarios.config.presets import resolve
from scenarios.config.settings import LifetimeConfig, TrainConfig
from scenarios.datasets.source import Access
from scenarios.oracle.table import ScheduleTable
from scenarios.oracle.tables import OF_PRICES, Pricing, TableSet, read_tables, tables_digest, with_tariffs_drawn
from scenarios.policy_training.simulators import LifetimeSimulator, Simulator, TableSimulator
from scenarios.policy_training.trainers import Trainer, make_trainer
from scenarios.running.experiment import Experiment
from scenarios.running.identity import dataset_word
from scenarios.running.progress import Interrupted, ProgressReporter, SilentReporter
from scenarios.running.provenance import notes_on_tuning
from scenarios.running.tasks import Run, SerialExecutor
from scenarios.running.world import check_settings, load_world, make_episode

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

TRAINING = "training.json"


def check(config: TrainConfig) -> None:
    """Check the settings without data.

    Raises:
        InvalidSetting: an invalid setting, a method whose libraries are missing, or a seed without a table.
    """
    if config.method == "ppo":
        from scenarios.policy_training.ppo import check_installed

        check_installed()
    if config.method == "forecast" and config.observes == "nothing":
        raise InvalidSetting("expected --observes learner or memory for --method forecast, got nothing to forecast by")
    check_settings(config)


def read_settings(preset: str, *overrides: dict[str, Any]) -> TrainConfig:
    """The settings of a training: of a preset, or those of the schedule tables `trees`, with overrides.

    Raises:
        InvalidSetting: an unknown or invalid setting, or a preset beside schedule tables.
        RunError: from `read_tables`.
    """
    given = {name: value for override in overrides for name, value in override.items()}
    trees = given.pop("trees", None)
    if trees is None:
        return resolve(TrainConfig, preset, *overrides)
    if preset != "quick":
        raise InvalidSetting("expected no --preset beside --trees, which have settings of their own; leave it out")
    return settings_over_tables(Path(trees), given)


def settings_over_tables(trees: Path, settings: dict[str, Any]) -> TrainConfig:
    """The settings of the world of schedule tables, overridden by other settings.

    Args:
        trees: a run of `lifetime tree`.
        settings: of the training and the prices.

    Raises:
        InvalidSetting: a setting is of the world, or invalid.
        RunError: from `read_tables`.
    """
    world = LifetimeConfig.model_fields.keys() - OF_PRICES - {"checkpoint_every", "threads"}
    rejected = [f"--{name.replace('_', '-')}" for name in settings if name in world]
    if rejected:
        raise InvalidSetting(
            f"expected no settings of the world beside --trees, which have their own, got {', '.join(rejected)}; leave "
            "them out"
        )
    known = TrainConfig.model_fields.keys() - {"seeds", "first_seed"}
    found = read_tables(trees)[0].facts["settings"]
    of_tables = {name: value for name, value in found.items() if name in known}
    return resolve(TrainConfig, "quick", of_tables, {**settings, "trees": trees.absolute()})


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


def run(config: TrainConfig, run: Run) -> dict[str, Any]:
    """Train a policy, from the last checkpoint if there is one; a finished training returns its result.

    The reporter may stop the training after each iteration, and in simulated lifetimes after each chunk.

    Returns:
        The content of training.json.

    Raises:
        DatasetError: from loading.
        Interrupted: the reporter asked to stop; a checkpoint has been written.
        InvalidSetting: invalid settings.
        TrainingDiverged: from the learner.
        RunError: from writing.
    """
    directory, reporter = run.directory, run.reporter
    if (finished := _finished(directory)) is not None:
        directory.checkpoints().drop()  # a process killed just before this step leaves some
        return finished
    simulator: Simulator
    if config.trees is None:
        reporter.say("data")
        if config.method == "ppo" and not isinstance(run.executor, SerialExecutor | None):
            reporter.tell("ppo runs its lifetimes in this process, one after the other")
        simulator = LifetimeSimulator(config, _seeds(config), run)
    else:
        tables = training_tables(read_tables(config.trees), config)
        drawn = with_tariffs_drawn(tables, config.tariff, config.tariff_draws)
        simulator = TableSimulator(TableSet(drawn, Pricing.of_settings(config)))
    trainer, history = _resumed(config, simulator, directory, reporter)
    with directory.tensorboard() as board:
        policy, reached = _iterate(config, trainer, history, simulator, directory, board, reporter)
    described = read_object(directory.path / CONFIG, "--force starts anew")
    training: dict[str, Any] = {
        "method": config.method,
        "seeds": list(_seeds(config)),
        "on": "lifetimes" if config.trees is None else "tables",
        "utility": reached,
        "settings": config.model_dump(mode="json", exclude={"trees"}),
        **{name: described[name] for name in ("versions", "data", "trees_digest") if name in described},
    }
    directory.write(POLICY_FILE, policy_file_text(PolicyFile(policy.kind, policy.settings, training)))
    content = {"policy": POLICY_FILE, "kind": policy.kind, "utility": reached, "history": history}
    directory.write(TRAINING, json.dumps(content, indent=1) + "\n")
    directory.checkpoints().drop()
    return content


def _iterate(
    config: TrainConfig,
    trainer: Trainer,
    history: list[dict[str, float]],
    simulator: Simulator,
    directory: RunDirectory,
    board: "SummaryWriter",
    reporter: ProgressReporter,
) -> tuple[PolicyFile, float]:
    """Iterate to the end, with checkpoints; returns the policy and its mean utility in the simulator.

    Raises:
        Interrupted: the reporter asked to stop; a checkpoint has been written.
    """
    on_tables, checkpoints = isinstance(simulator, TableSimulator), directory.checkpoints()
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
        return policy, float(simulator.utilities([lambda _: policy.make()]).utilities.mean())
    except Interrupted:
        if len(history) > saved:
            checkpoints.save({"trainer": trainer.state(), "history": history})
        raise


def prepare(config: TrainConfig, access: Access) -> None:
    """Check that lifetimes of the first seed can begin, or that every seed has a table.

    Raises:
        DatasetError: from loading.
        InvalidSetting: the data set, the tables or the machine do not allow the settings.
    """
    if config.trees is not None:
        training_tables(read_tables(config.trees), config)
        return
    world = load_world(config, config.first_seed, access, SilentReporter())
    make_episode(config, config.first_seed, world, config.observes)


def _seeds(config: TrainConfig) -> range:
    return range(config.first_seed, config.first_seed + config.seeds)


def _finished(directory: RunDirectory) -> dict[str, Any] | None:
    try:
        finished = read_object(directory.path / TRAINING, "--force starts anew")
    except FileNotFoundError:
        return None
    try:
        whole = {"policy", "kind"} <= finished.keys() and bool(finished["history"])
        numbers = [finished["utility"], *(values["utility"] for values in finished["history"])]
        read_policy_file(directory.path / POLICY_FILE)
    except InvalidSetting as error:
        raise RunError(f"{error}, as a finished training left it; --force starts anew") from None
    except (LookupError, TypeError):
        whole, numbers = False, []
    if not whole or not all(isinstance(number, float) and isfinite(number) for number in numbers):
        raise RunError(
            f"expected a finished training in {directory.path / TRAINING}, got an odd one; --force starts anew"
        )
    return finished


def _resumed(
    config: TrainConfig, simulator: Simulator, directory: RunDirectory, reporter: ProgressReporter
) -> tuple[Trainer, list[dict[str, float]]]:
    checkpoints = directory.checkpoints()
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


def report(trained: dict[str, Any], config: TrainConfig, path: Path) -> Report:
    """The report of a training."""
    file = read_policy_file(path / POLICY_FILE)
    first, last = trained["history"][0], trained["history"][-1]
    seeds = ", ".join(map(str, file.training["seeds"]))
    lines = [
        f"utility, mean over training seeds {seeds}: {percent(trained['utility'])} points, with greedy decisions",
        f"policies tried: {percent(first['utility'])} in the first of {len(trained['history'])} iterations, "
        f"{percent(last['utility'])} in the last",
    ]
    if file.kind == "linear" and not isinstance(file.settings["bias"], list):  # one sum, for two actions
        named = zip(file.settings["features"], file.settings["weights"], strict=True)
        terms = [f"{weight:+.3g} {name}" for name, weight in named]
        lines.append(f"learns where {file.settings['bias']:.3g} {' '.join(terms)} >= 0")
    facts = [("policy", [f"--policy file:{path / POLICY_FILE}"])]
    return Report({"run": str(path), **trained}, lines, notes_on_tuning(config), facts)


def _words(config: TrainConfig) -> list[str]:
    tariffs = [] if config.tariff.name == "constant" else [config.tariff.name]
    return [dataset_word(config.dataset), config.scenario.name, *tariffs, config.method]


def _facts(config: TrainConfig) -> dict[str, Any]:
    if config.trees is None:
        return {}
    tables = read_tables(config.trees)
    return {"data": tables[0].facts.get("data"), "trees_digest": tables_digest(tables)}


TRAIN_POLICY = Experiment(
    "train-policy",
    TrainConfig,
    words=_words,
    run=run,
    report=report,
    check=check,
    prepare=prepare,
    dataset=lambda config: config.dataset if config.trees is None else None,
    facts=_facts,
    saves="iteration",
    read=read_settings,
)
