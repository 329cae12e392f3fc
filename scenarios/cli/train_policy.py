"""`lifetime train-policy`: learn when to learn."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from agent.errors import InvalidSetting, RunError
from scenarios.cli.identity import dataset_word, describe, run_folder
from scenarios.cli.options import settings_from, with_options
from scenarios.cli.running import running
from scenarios.cli.show import percent, print_json, view_command
from scenarios.config.settings import TrainConfig

if TYPE_CHECKING:
    from scenarios.oracle.table import ScheduleTable


def train_policy(
    trees: Path | None,
    preset: str,
    config: Path | None,
    runs: Path,
    name: str | None,
    force: bool,
    data_dir: Path | None,
    download: bool,
    quiet: bool,
    as_json: bool,
    **overrides: Any,
) -> None:
    """Train a policy to decide between learning and memorizing, for the highest mean utility.

    It is trained on the tables of `lifetime tree` (--trees RUN), where a lifetime takes microseconds, or in lifetimes.
    The result is a file, policy.json, that --policy file:PATH takes anywhere. It says which seeds it was trained on:
    `lifetime evaluate` leaves those out.

    The same command given again continues an interrupted training, and shows a finished one.
    """
    from scenarios.policy_training.train import resolve_training
    from scenarios.running.factory import choose_device

    tables: Sequence[ScheduleTable] | None = None
    if trees is not None:
        from scenarios.oracle.tables import read_tables

        tables = read_tables(trees)
        overrides = _over_tables(tables, preset, config, overrides)
        preset, config = "quick", None
    settings = resolve_training(settings_from(TrainConfig, preset, config, overrides, name))
    if tables is None:  # tables keep the device that they were grown on
        settings = settings.model_copy(update={"device": choose_device(settings.device).type})
    described = described_training(preset, settings, trees, tables, data_dir)
    tariff = [] if settings.tariff == "constant" else [settings.tariff.partition(":")[0]]
    words = [dataset_word(settings.dataset), settings.scenario.partition(":")[0], *tariff, settings.method]
    path = run_folder(runs / "train-policy", name, words, described)
    options: dict[str, Any] = {"force": force, "data_dir": data_dir, "download": download, "quiet": quiet or as_json}
    trained = train_in(path, settings, described, tables, **options)
    report(trained, path, runs, quiet=quiet, as_json=as_json)


with_options(
    TrainConfig,
    train_policy,
    ("trees", Path | None, typer.Option(None, help="Run of `lifetime tree` to train on, instead of lifetimes.")),
)


def described_training(
    preset: str,
    settings: TrainConfig,
    trees: Path | None,
    tables: "Sequence[ScheduleTable] | None",
    data_dir: Path | None,
) -> dict[str, Any]:
    """The content of config.json."""
    from scenarios.oracle.evaluate import tables_digest

    described = describe("train-policy", preset, settings, reads_data=tables is None, data_dir=data_dir)
    if tables is not None and trees is not None:
        described |= {"trees": str(trees.absolute()), "trees_digest": tables_digest(tables)}
        described["data"] = tables[0].facts.get("data")
    return described


def _over_tables(
    tables: "Sequence[ScheduleTable]", preset: str, config: Path | None, overrides: dict[str, Any]
) -> dict[str, Any]:
    """The settings of the tables' world, under those that were given; raises InvalidSetting for others of the world."""
    from scenarios.config.presets import from_toml
    from scenarios.config.settings import LifetimeConfig
    from scenarios.oracle.tables import OF_PRICES

    given = {**(from_toml(config) if config else {}), **{k: v for k, v in overrides.items() if v is not None}}
    of_world = [
        f"--{name.replace('_', '-')}" for name in given if name in LifetimeConfig.model_fields.keys() - OF_PRICES
    ]
    of_world = [option for option in of_world if option != "--checkpoint-every"]
    if preset != "quick":
        of_world.append("--preset")
    if of_world:
        raise InvalidSetting(
            f"expected no settings of the world beside --trees, which have their own, got {', '.join(of_world)}; leave "
            "them out"
        )
    known = TrainConfig.model_fields.keys() - {"seeds", "first_seed"}
    return {name: value for name, value in tables[0].facts["settings"].items() if name in known} | given


def train_in(
    path: Path,
    settings: TrainConfig,
    described: dict[str, Any],
    tables: "Sequence[ScheduleTable] | None",
    *,
    force: bool = False,
    data_dir: Path | None = None,
    download: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Train in a run directory, new or to be continued; returns the content of training.json."""
    from scenarios.policy_training.train import prepare, train_policy, training_tables

    if tables is not None:
        training_tables(tables, settings)
    elif force:  # nothing is dropped for settings that cannot be lived
        prepare(settings, download=download, data_dir=data_dir)
    about: dict[str, Any] = {
        name: described[name] for name in ("versions", "data", "trees_digest") if name in described
    }
    with running(path, described, force=force, quiet=quiet, saved="iteration") as (run, bar):
        options: dict[str, Any] = {"download": download, "data_dir": data_dir}
        return train_policy(settings, run, bar, tables=tables, about=about, **options)


def go_on_in(
    path: Path,
    settings: TrainConfig,
    preset: str,
    trees: str | None,
    digest: str | None,
    *,
    data_dir: Path | None,
    **options: Any,
) -> dict[str, Any]:
    """Go on training in a run directory, on the tables that it was begun with, if any.

    Raises:
        RunError: those tables are gone, or others now.
    """
    if trees is None:
        described = described_training(preset, settings, None, None, data_dir)
        return train_in(path, settings, described, None, data_dir=data_dir, **options)
    from scenarios.oracle.tables import read_tables

    tables = read_tables(Path(trees))
    described = described_training(preset, settings, Path(trees), tables, data_dir)
    if described["trees_digest"] != digest:
        raise RunError(
            f"expected the trees in {trees} as they were when the training in {path} began, got others; put those "
            "back, or train anew with `lifetime train-policy`"
        )
    return train_in(path, settings, described, tables, data_dir=data_dir, **options)


def report(trained: dict[str, Any], path: Path, runs: Path, *, quiet: bool, as_json: bool) -> None:
    """Print what was learned as was asked for."""
    from agent.policies.file import read_policy_file

    if as_json:
        print_json({"run": str(path), **trained})
        return
    if quiet:
        return
    file = read_policy_file(path / "policy.json")
    first, last = trained["history"][0], trained["history"][-1]
    seeds = ", ".join(map(str, file.training["seeds"]))
    print(f"utility, mean over training seeds {seeds}: {percent(trained['utility'])} points, acting greedily")
    print(
        f"policies tried: {percent(first['utility'])} in the first of {len(trained['history'])} iterations, "
        f"{percent(last['utility'])} in the last"
    )
    if file.kind == "linear":
        named = zip(file.settings["features"], file.settings["weights"], strict=True)
        terms = [f"{weight:+.3g} {name}" for name, weight in named]
        print(f"learns where {file.settings['bias']:.3g} {' '.join(terms)} >= 0")
    print(f"policy: --policy file:{path / 'policy.json'}\ncurves: {view_command(runs)}")
