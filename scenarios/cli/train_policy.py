"""`lifetime train-policy`: learn when to learn."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.errors import InvalidSetting, RunError
from scenarios.cli.experiment import Experiment, run_command
from scenarios.cli.identity import dataset_word
from scenarios.cli.options import Options, experiment_command, settings_from
from scenarios.cli.show import percent, view_command
from scenarios.config.presets import from_toml
from scenarios.config.settings import LifetimeConfig, TrainConfig

if TYPE_CHECKING:
    from agent.storage.record import RunDirectory
    from scenarios.cli.progress import Bar
    from scenarios.oracle.table import ScheduleTable


@dataclass(frozen=True)
class Trees:
    """The schedule tables of a run of `lifetime tree`."""

    path: Path
    tables: "Sequence[ScheduleTable]"
    digest: str

    @staticmethod
    def read(path: Path) -> "Trees":
        """The tables in a folder; raises as `read_tables` does."""
        from scenarios.oracle.evaluate import tables_digest
        from scenarios.oracle.tables import read_tables

        tables = read_tables(path)
        return Trees(path, tables, tables_digest(tables))


@experiment_command(TrainConfig)
def train_policy(
    options: Options,
    given: dict[str, Any],
    trees: Annotated[
        Path | None, typer.Option(help="Run of `lifetime tree` to train on, instead of lifetimes.")
    ] = None,
) -> None:
    """Train a policy to decide between learning and memorizing, for the highest mean utility.

    It is trained on the tables of `lifetime tree` (--trees RUN), where a lifetime takes microseconds, or in lifetimes.
    The result is a file, policy.json, for the option --policy file:PATH of any command. The file lists the seeds that
    the policy was trained on: `lifetime evaluate` leaves them out.

    The same command, given again, continues an interrupted training, and shows a finished one.
    """
    if trees is None:
        run_command(policy_training(None), settings_from(TrainConfig, options, given), options)
        return
    read = Trees.read(trees)
    settings = _over_tables(read.tables, options, given)
    run_command(policy_training(read), settings, options)


def policy_training(trees: Trees | None) -> Experiment[TrainConfig, dict[str, Any]]:
    """The experiment: a training on trees, or in lifetimes (None); its result is the content of training.json."""
    from agent.storage.record import CONFIG, read_object
    from scenarios.policy_training.train import prepare, resolve_training, train_policy, training_tables

    tables = trees.tables if trees else None

    def check(settings: TrainConfig, **loading: Any) -> None:
        if tables is None:
            prepare(settings, **loading)
        else:
            training_tables(tables, settings)

    def run(settings: TrainConfig, directory: "RunDirectory", bar: "Bar", **loading: Any) -> dict[str, Any]:
        config = read_object(directory.path / CONFIG, "--force starts anew")
        about: dict[str, Any] = {name: config[name] for name in ("versions", "data", "trees_digest") if name in config}
        return train_policy(settings, directory, bar, tables=tables, about=about, **loading)

    facts: dict[str, Any] = {}
    if trees:
        data = trees.tables[0].facts.get("data")
        facts = {"data": data, "trees": str(trees.path.absolute()), "trees_digest": trees.digest}
    return Experiment(
        "train-policy",
        TrainConfig,
        resolve_training,
        words=_words,
        prepare=check,
        run=run,
        as_json=lambda trained, path: {"run": str(path), **trained},
        show=lambda trained, _, path, runs: _show(trained, path, runs),
        reads_data=trees is None,
        facts=facts,
        saved="iteration",
    )


def resumed_training(run: Path, config: dict[str, Any]) -> Experiment[TrainConfig, dict[str, Any]]:
    """The experiment of an interrupted run, on the trees that it began with, if any.

    Raises:
        RunError: the trees are gone or changed, or the configuration is invalid.
    """
    path, digest = config.get("trees"), config.get("trees_digest")
    if not all(isinstance(each, str | None) for each in (path, digest)):
        raise RunError(f"expected a run of this program at {run}, got one with invalid trees: {path}, {digest}")
    if path is None:
        return policy_training(None)
    trees = Trees.read(Path(path))
    if trees.digest != digest:
        raise RunError(
            f"expected the trees in {path} as they were when the training in {run} began, got others; put those "
            "back, or train anew with `lifetime train-policy`"
        )
    return policy_training(trees)


def _words(settings: TrainConfig) -> list[str]:
    scenario, tariff = (spec.partition(":")[0] for spec in (settings.scenario, settings.tariff))
    tariffs = [] if settings.tariff == "constant" else [tariff]
    return [dataset_word(settings.dataset), scenario, *tariffs, settings.method]


def _over_tables(tables: "Sequence[ScheduleTable]", options: Options, given: dict[str, Any]) -> TrainConfig:
    """The settings of the tables' world, overridden by the given ones.

    Raises:
        InvalidSetting: a given setting is of the world.
    """
    from scenarios.oracle.tables import OF_PRICES

    from_file = from_toml(options.config) if options.config else {}
    overrides = from_file | {name: value for name, value in given.items() if value is not None}
    world = LifetimeConfig.model_fields.keys() - OF_PRICES - {"checkpoint_every"}
    rejected = [f"--{name.replace('_', '-')}" for name in overrides if name in world]
    if options.preset != "quick":
        rejected.append("--preset")
    if rejected:
        raise InvalidSetting(
            f"expected no settings of the world beside --trees, which have their own, got {', '.join(rejected)}; leave "
            "them out"
        )
    known = TrainConfig.model_fields.keys() - {"seeds", "first_seed"}
    of_tables = {name: value for name, value in tables[0].facts["settings"].items() if name in known}
    return settings_from(TrainConfig, replace(options, config=None), of_tables | overrides)


def _show(trained: dict[str, Any], path: Path, runs: Path) -> None:
    from agent.policies.file import read_policy_file

    file = read_policy_file(path / "policy.json")
    first, last = trained["history"][0], trained["history"][-1]
    seeds = ", ".join(map(str, file.training["seeds"]))
    print(f"utility, mean over training seeds {seeds}: {percent(trained['utility'])} points, with greedy decisions")
    print(
        f"policies tried: {percent(first['utility'])} in the first of {len(trained['history'])} iterations, "
        f"{percent(last['utility'])} in the last"
    )
    if file.kind == "linear" and not isinstance(file.settings["bias"], list):  # one sum, for two actions
        named = zip(file.settings["features"], file.settings["weights"], strict=True)
        terms = [f"{weight:+.3g} {name}" for name, weight in named]
        print(f"learns where {file.settings['bias']:.3g} {' '.join(terms)} >= 0")
    print(f"policy: --policy file:{path / 'policy.json'}\ncurves: {view_command(runs)}")
