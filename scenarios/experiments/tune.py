"""A search for the parts of a method, on training images alone: trials by Optuna, whose lifetimes are tasks.

A trial is a method, and its value the mean over seeds of what its lifetimes reach on training images that were held
out. Trials that suggest the same share the lifetimes of the first of them, in `trialN/seedS`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from agent.accounting.utility import utility
from agent.storage.record import CONFIG, SUMMARY, RunDirectory, read_object
from scenarios.config.method import Method
from scenarios.config.tune import UTILITY, TuneConfig, read_tune
from scenarios.datasets.load import Dataset
from scenarios.datasets.source import Access
from scenarios.experiments.optuna_study import JOURNAL, Study, Trial, check_installed, damaged
from scenarios.experiments.tune_report import HeldOut, Lived, Tuning, make_tuning, report, write_tuning
from scenarios.running.experiment import Experiment, nothing
from scenarios.running.failures import FAILED, PASSING, said_of
from scenarios.running.identity import dataset_word, identity_of, short_digest
from scenarios.running.lifetimes import run_together
from scenarios.running.own_code import component_errors
from scenarios.running.progress import Interrupted, SilentReporter
from scenarios.running.provenance import notes_on_training
from scenarios.running.summary import metrics_of
from scenarios.running.tasks import Run, Site, Task
from scenarios.running.world import check_parts, load_tuning_world, truth_as_json
from scenarios.streams.scenario import Scenario

HELD_OUT, POINT = "held_out.json", "point.json"
_MOST_WORLDS = 4
"""Most seeds whose data a process keeps."""


@dataclass(frozen=True)
class _Lifetime:
    """A lifetime of a trial."""

    directory: RunDirectory
    trial: int
    """The first one that suggests its method."""
    seed: int

    @property
    def folder(self) -> str:
        return f"{_name(self.trial)}/seed{self.seed}"

    @property
    def waits(self) -> bool:
        path = self.directory.path / self.folder
        return not ((path / SUMMARY).exists() or (path / FAILED).exists())

    @property
    def error(self) -> str | None:
        """How it failed, if it did."""
        try:
            return str(read_object(self.directory.path / self.folder / FAILED, "remove it")["error"])
        except FileNotFoundError:
            return None

    @property
    def metrics(self) -> dict[str, float | None]:
        """Of a lifetime that has ended."""
        path = self.directory.path / self.folder
        return metrics_of(read_object(path / SUMMARY, "remove it, and give the same command again"), path)


def run(config: TuneConfig, run: Run) -> Tuning:
    """Suggest and live trials until there are as many as the settings say, and write what they reached.

    A trial whose lifetime fails is told to Optuna as failed, and the search goes on.

    Raises:
        DatasetError: the data set cannot be loaded.
        Interrupted: the reporter stopped the run; the results have the trials that have ended.
        InvalidSetting: the data set or the machine does not allow the settings.
        RunError: a file cannot be written or is damaged, or a worker process was lost.
    """
    if not (run.is_read or (run.directory.path / JOURNAL).exists()):
        _load_first(config, run)  # before anything is suggested
    space, sampler = config.space.values, config.sampler
    study = Study(run.directory.path, space, sampler, config.sampler_seed, is_read=run.is_read)
    trials = study.trials
    _check_points(trials, run.directory)
    if run.is_read:
        return _write(config, study, run)
    if len(trials) < config.trials or any(each.state == "running" for each in trials):
        _expect(config, trials, run)
        try:
            while batch := _next(config, study):
                for _ in run.do(_tasks(config, batch, study.trials, run)):
                    pass
                for trial in batch:
                    study.tell(trial.number, _value(config, _lifetimes(config, trial, study.trials, run.directory)))
        except Interrupted:
            _write(config, study, run)
            raise
    return _write(config, study, run)


def _next(config: TuneConfig, study: Study) -> list[Trial]:
    """The trials that are to be lived together; those that a process had suggested before it ended come first."""
    trials = study.trials
    while len(trials) < config.trials and (len(trials) % config.at_a_time or not _running(trials)):
        study.suggest()
        trials = study.trials
    return _running(trials)


def _running(trials: Sequence[Trial]) -> list[Trial]:
    return [each for each in trials if each.state == "running"]


def _name(first: int) -> str:
    """The label, and the folder, of the first trial that suggests a method."""
    return f"trial{first:04d}"


def _check_points(trials: Sequence[Trial], directory: RunDirectory) -> None:
    """Check that trials are those whose lifetimes are in the folders; raises RunError."""
    for trial in trials:
        path = directory.path / _name(trial.number) / POINT
        if path.exists() and read_object(path, "remove it") != trial.point:
            raise damaged(directory.path / JOURNAL, f"a trial {trial.number} of another suggestion")


def _first(trial: Trial, trials: Sequence[Trial]) -> int:
    """The first trial that suggests the same."""
    return next(each.number for each in trials if each.point == trial.point)


def _lifetimes(config: TuneConfig, trial: Trial, trials: Sequence[Trial], directory: RunDirectory) -> list[_Lifetime]:
    return [_Lifetime(directory, _first(trial, trials), seed) for seed in config.on_seeds]


def _tasks(config: TuneConfig, batch: Sequence[Trial], trials: Sequence[Trial], run: Run) -> Iterator[Task]:
    """A task for each lifetime that has not ended; those of a seed after each other, since they share its data."""
    several = {_first(trial, trials): trial for trial in batch}
    for seed in config.on_seeds:
        for first, trial in several.items():
            lifetime = _Lifetime(run.directory, first, seed)
            if lifetime.waits:
                method = config.space.method(trial.point, _name(first))
                run.directory.write(f"{_name(first)}/{POINT}", json.dumps(trial.point, indent=2) + "\n")
                yield run.task(run_lifetime, config, method, seed, lifetime.folder, part=lifetime.folder)


def _load_first(config: TuneConfig, run: Run) -> tuple[Dataset, Scenario]:
    """The world of the first seed."""
    run.reporter.say("data")
    seed = config.first_seed
    return run.cache.get(
        ("held out", seed), lambda: load_tuning_world(config, seed, run.access, run.reporter), most=_MOST_WORLDS
    )


def _expect(config: TuneConfig, trials: Sequence[Trial], run: Run) -> None:
    """Load the data of the first seed, say what is held out, and how many chunks are to be lived."""
    dataset, scenario = _load_first(config, run)
    held_out = HeldOut(len(dataset.train) + len(dataset.test), len(dataset.test), dataset.own_test)
    run.directory.write(HELD_OUT, json.dumps(asdict(held_out)) + "\n")
    waiting = {
        lifetime.folder
        for trial in _running(trials)
        for lifetime in _lifetimes(config, trial, trials, run.directory)
        if lifetime.waits
    }
    n = len(waiting) + (config.trials - len(trials)) * config.seeds
    run.reporter.expect(n * len(scenario.stream))


def run_lifetime(config: TuneConfig, method: Method, seed: int, folder: str, site: Site) -> None:
    """Run a lifetime, from its last checkpoint; what makes it fail is written to a file.

    Args:
        config: settings of the world.
        method: of the trial.
        seed: of the lifetime.
        folder: of its record, in that of the run.
        site: in the folder of the run.

    Raises:
        Interrupted: the reporter stopped the run.
        DatasetError, RunError, OSError: what another trial would meet too.
    """
    world: tuple[Dataset, Scenario] = site.cache.get(
        ("held out", seed),
        lambda: load_tuning_world(config, seed, site.access, site.reporter),
        most=_MOST_WORLDS,
    )
    checkpoints = site.directory.checkpoints(folder)
    try:
        with component_errors():
            site.directory.write(f"{folder}/scenario.json", truth_as_json(world[1]))
            records = {method.label: site.directory.lifetime(folder)}
            run_together(config, seed, [method], world, records, checkpoints, site.reporter)
    except (Interrupted, *PASSING):
        raise
    except Exception as error:  # the other trials go on
        site.directory.write(f"{folder}/{FAILED}", json.dumps(said_of(error), indent=2) + "\n")
        checkpoints.drop()


def _objective(config: TuneConfig, metrics: Mapping[str, float | None]) -> float:
    """What is maximized, of one lifetime."""
    if config.maximize == UTILITY:
        accuracy, cost = metrics["final_accuracy"], metrics["total_cost"]
        assert accuracy is not None
        assert cost is not None
        assert config.cost_weight is not None
        return utility(accuracy, cost, config.cost_weight)
    value = metrics[config.maximize]
    assert value is not None
    return value


def _value(config: TuneConfig, lifetimes: Sequence[_Lifetime]) -> float | None:
    """The value of a trial; None if it failed."""
    if any(each.error is not None for each in lifetimes):
        return None
    return sum(_objective(config, each.metrics) for each in lifetimes) / len(lifetimes)


def _write(config: TuneConfig, study: Study, run: Run) -> Tuning:
    """Write the results of the trials that have ended."""
    directory, trials = run.directory, study.trials
    lived = []
    for trial in trials:
        if trial.state == "running":
            continue
        lifetimes = _lifetimes(config, trial, trials, directory)
        folder = _name(lifetimes[0].trial)
        errors = [f"{each.error} (seed {each.seed})" for each in lifetimes if each.error is not None]
        metrics = {} if errors else {each.seed: each.metrics for each in lifetimes}
        values = {seed: _objective(config, each) for seed, each in metrics.items()}
        lived.append(Lived(trial.number, trial.point, folder, values, metrics, errors[0] if errors else None))
    found = read_object(directory.path / HELD_OUT, "give the same command again")
    described = read_object(directory.path / CONFIG, "--force starts anew")
    notes = notes_on_training([each.policy for each in config.probes], config.dataset, config.on_seeds, run.access)
    digest = short_digest(identity_of(described))
    tuning = make_tuning(config, HeldOut(**found), digest, described.get("data"), lived, notes)
    write_tuning(tuning, directory)
    return tuning


def _check(config: TuneConfig) -> None:
    check_installed()
    check_parts(config, config.probes)


def _prepare(config: TuneConfig, access: Access) -> None:
    nothing(load_tuning_world(config, config.first_seed, access, SilentReporter()))


TUNE = Experiment(
    "tune",
    TuneConfig,
    words=lambda config: [dataset_word(config.dataset), *config.search],
    run=run,
    report=lambda tuning, _, path: report(tuning, path),
    check=_check,
    prepare=_prepare,
    side_by_side=True,
    read=read_tune,
)
