"""A published setting, lived as it is recorded, beside what was published."""

from agent.errors import InvalidSetting
from scenarios.config.reproduce import ReproduceConfig, read_reproduce
from scenarios.datasets.source import Access
from scenarios.experiments import compare
from scenarios.experiments.reproduction_report import Reproduced, make_reproduced, report, write_reproduced
from scenarios.running.experiment import Experiment
from scenarios.running.identity import dataset_word
from scenarios.running.progress import SilentReporter
from scenarios.running.tasks import Run
from scenarios.running.world import check_parts, check_world, load_data


def run(config: ReproduceConfig, run: Run) -> Reproduced:
    """Run the comparison that is recorded (`compare.run`), and put it beside what was published.

    Raises:
        DatasetError: the data set cannot be loaded.
        Interrupted: the reporter stopped the run.
        InvalidSetting: the data set or the machine does not allow the settings, or nothing is recorded under the name.
        TrainingDiverged: from the learner; the records so far stay.
        RunError: a file cannot be written, or a summary is invalid.
    """
    recorded = config.recorded
    if not any(run.directory.path.glob("seed*")):  # nothing has been lived yet
        _check_classes(config, run.access)
    compared = compare.run(config, run)
    reproduced = make_reproduced(config, recorded, compared)
    write_reproduced(reproduced, run.directory)
    return reproduced


def _words(config: ReproduceConfig) -> list[str]:
    elsewhere = [dataset_word(config.dataset)] if str(config.dataset) != config.recorded.settings["dataset"] else []
    return [config.reproduction, *(["short"] if config.short else []), *elsewhere]


def _prepare(config: ReproduceConfig, access: Access) -> None:
    _check_classes(config, access)
    check_world(config, config.first_seed, config.methods, access)


def _check_classes(config: ReproduceConfig, access: Access) -> None:
    """Refuse images of other classes than those that are recorded."""
    n = load_data(config, config.first_seed, access, SilentReporter()).n_classes
    if n != config.recorded.n_classes:
        raise InvalidSetting(
            f"expected the {config.recorded.n_classes} classes of {config.recorded.settings['dataset']} for "
            f"{config.reproduction}, got {n} in {config.dataset}; give its images, or use `lifetime compare`"
        )


REPRODUCE = Experiment(
    "reproduce",
    ReproduceConfig,
    words=_words,
    run=run,
    report=lambda reproduced, _, path: report(reproduced, path),
    check=lambda config: check_parts(config, config.methods),
    prepare=_prepare,
    side_by_side=True,
    read=read_reproduce,
)
