"""A published setting, lived as it is recorded, beside what was published."""

from scenarios.config.reproduce import ReproduceConfig, read_reproduce
from scenarios.datasets.source import Access
from scenarios.experiments import compare
from scenarios.experiments.reproduction_report import Reproduced, make_reproduced, report, write_reproduced
from scenarios.running.experiment import Experiment
from scenarios.running.identity import dataset_word
from scenarios.running.tasks import Run
from scenarios.running.world import check_parts, check_world


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
    compared = compare.run(config, run)
    reproduced = make_reproduced(config, recorded, compared)
    write_reproduced(reproduced, run.directory)
    return reproduced


def _words(config: ReproduceConfig) -> list[str]:
    elsewhere = [dataset_word(config.dataset)] if str(config.dataset) != config.recorded.settings["dataset"] else []
    return [config.reproduction, *(["short"] if config.short else []), *elsewhere]


def _prepare(config: ReproduceConfig, access: Access) -> None:
    check_world(config, config.first_seed, config.methods, access)


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
