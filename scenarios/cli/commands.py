"""The command of each experiment."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.errors import InvalidSetting
from scenarios.cli.experiment import run_command, settings_of
from scenarios.cli.options import Options, experiment_command
from scenarios.config.presets import resolve
from scenarios.config.reproduce import ReproduceConfig
from scenarios.config.settings import (
    BesideCurvesConfig,
    CompareConfig,
    CompareRunsConfig,
    CurveConfig,
    EvaluateConfig,
    FrontierConfig,
    JoinCurvesConfig,
    SimulateConfig,
    TrainConfig,
    TreeConfig,
)
from scenarios.config.sweep import NOT_SWEPT
from scenarios.config.tune import TuneConfig


@experiment_command(SimulateConfig)
def simulate(options: Options, given: dict[str, Any]) -> None:
    """Simulate one lifetime: for each chunk of a stream, a policy decides whether the agent learns or memorizes it.

    Settings come from a preset, then from a TOML file, then from the options below. The same command, given again,
    continues an interrupted run from its last checkpoint, and shows a finished one.
    """
    run_command("simulate", options, settings_of("simulate", options, given), anew=options.force)


@experiment_command(CompareConfig)
def compare(
    options: Options,
    given: dict[str, Any],
    run: Annotated[
        list[Path] | None, typer.Argument(help="Folders of finished runs, instead of --policies and --methods.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CHOICE",
            help="Of finished runs only the lifetimes with these settings, label or seed, as in 'scenario = iid'.",
        ),
    ] = None,
) -> None:
    """Compare lifetimes: those of finished runs, or of --policies and --methods over --seeds.

    A method names the parts in which lifetimes differ, as in --methods 'ridge = memory:ridge | policy:static:k=50'.
    Gives means and intervals over paired seeds, the Pareto front of accuracy against cost, and the best schedule at
    each budget. Methods of one seed run together and share the work that they have in common. The same command, given
    again, continues an interrupted comparison, and shows a finished one.
    """
    if run:
        run_command("compare-runs", options, lambda: _of_runs(run, where or [], options, given), anew=options.force)
    elif where:
        raise InvalidSetting("expected finished runs beside --where, got none; give their folders")
    else:
        run_command("compare", options, settings_of("compare", options, given), anew=options.force)


def _of_runs(paths: list[Path], where: list[str], options: Options, given: dict[str, Any]) -> CompareRunsConfig:
    """The settings of a comparison of finished runs; raises InvalidSetting if other settings were given."""
    overrides = _beside_runs(options, given, {"confidence", "cost_weight", "want_width"})
    return resolve(CompareRunsConfig, "quick", {"paths": paths, "where": where, **overrides})


def _beside_runs(options: Options, given: dict[str, Any], allowed: set[str]) -> dict[str, Any]:
    """The settings that were given beside finished runs.

    Raises:
        InvalidSetting: others than those allowed.
    """
    of_lifetimes = {
        "config": options.config,
        "data_dir": options.data_dir,
        "download": options.download or None,
        "preset": None if options.preset == "quick" else options.preset,
        "workers": options.workers,
        "executor": options.executor,
    }
    overrides = {name: value for name, value in {**given, **of_lifetimes}.items() if value is not None}
    if overrides.keys() - allowed:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in overrides)
        raise InvalidSetting(
            f"expected no settings beside finished runs, which have their own, got {flags}; leave them out"
        )
    return overrides


@experiment_command(ReproduceConfig)
def reproduce(
    options: Options,
    given: dict[str, Any],
    reproduction: Annotated[
        str, typer.Argument(metavar="NAME", help="Its name; `lifetime list reproductions` shows them.")
    ],
) -> None:
    """Live a published setting, and print our accuracy beside the published one, with both spreads.

    The settings are recorded with what was published, the circumstances, and what is done otherwise here; data, seeds
    and machine may be others. The difference has Welch's interval. With --short a shortened form takes minutes.

    The same command, given again, continues an interrupted run, and shows a finished one.
    """
    settings = settings_of("reproduce", options, {**given, "reproduction": reproduction})
    run_command("reproduce", options, settings, anew=options.force)


@experiment_command(CompareConfig, without=NOT_SWEPT)
def sweep(
    options: Options,
    given: dict[str, Any],
    spec: Annotated[
        Path | None,
        typer.Argument(help="TOML file: settings, a table [axes] of settings with lists of values, methods."),
    ] = None,
    axis: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AXIS", help="A setting with several values, as in 'memory = cache | ridge'; once for each axis."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print tasks, GFLOP, bytes and hours; nothing is lived or written.")
    ] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run the tasks that failed again, too.")] = False,
) -> None:
    """Run every combination of axes: methods, scenarios and any other settings, over seeds.

    Settings come from a preset, then from SPEC, then from the options below; axes from SPEC and --axis. The results are
    a table of all lifetimes, lifetimes.parquet, with every setting, metric and cost, and means of each method in each
    world. Lifetimes that can share a learner are one task. `lifetime compare` reads the folder of a sweep too.

    The same command, given again, goes on with an interrupted sweep: finished tasks are skipped, failed ones listed.
    Axes, methods and seeds may have changed: what the sweep has finished before is found again.
    """
    if spec is not None and options.config is not None:
        raise InvalidSetting("expected settings in SPEC or in --config, got both; leave out --config")
    file, stem = spec or options.config, None if spec is None else spec.stem
    options = replace(options, config=file, name=options.name or stem)
    settings = settings_of("sweep", options, {**given, "axes": axis or None, "retry_failed": retry_failed or None})
    run_command("sweep", options, settings, anew=options.force, planned=dry_run)


@experiment_command(TuneConfig)
def tune(
    options: Options,
    given: dict[str, Any],
    search: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SEARCH",
            help="What is searched: a part of a method or part.key with a range or choices, as in 'recipe.lr = 0.01 .. "
            "0.3 log' or 'memory = cache | ridge'; once for each.",
        ),
    ] = None,
) -> None:
    """Search for the parts of a method that are best on held-out training images, with Optuna.

    Part of the training images takes the place of the test set, whose images are not used, and the seeds are not those
    of other runs. The result is a file of settings, best.toml, for the options --config and --tuned of other commands.
    It says what was tuned on what, and so do the reports of the runs that use it.

    Settings come from a preset, then from a TOML file, whose table `search` is what is searched, then from the options
    below. The same command, given again, continues an interrupted search; with more --trials it goes on.
    """
    settings = settings_of("tune", options, {**given, "search": search or None})
    run_command("tune", options, settings, anew=options.force)


@experiment_command(CurveConfig)
def curve(
    options: Options,
    given: dict[str, Any],
    run: Annotated[
        list[Path] | None, typer.Argument(help="With --join or --beside: folders of more finished runs.")
    ] = None,
    join: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN",
            help="Make one curve of the seeds of finished runs, which differ in their seeds alone: --join RUN RUN ...",
        ),
    ] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN",
            help="Put finished runs of different learners beside each other, to see whether R falls as the learner "
            "gets stronger: --beside RUN RUN ...",
        ),
    ] = None,
) -> None:
    """Measure the relative value of learning over memorizing.

    k%-learners learn from the first k% of a stream and memorize the rest. With x the accuracy of the learner after
    k%, y after all of it, and z of learner and memory together, R(k) = (y - x) / (z - x): how many times as valuable
    it is to learn the rest as to memorize it.

    Settings come from a preset, then from a TOML file, then from the options below. The same command, given again,
    continues an interrupted run, and shows a finished one. Seeds may be lived in several runs, for example on several
    machines: --first-seed tells them apart, and --join puts them together.
    """
    if join and beside:
        raise InvalidSetting("expected --join or --beside, got both; leave one of them out")
    if beside:
        runs = [*beside, *(run or [])]
        run_command("beside-curves", options, lambda: _beside(runs, options, given), anew=options.force)
    elif join:
        paths = [*join, *(run or [])]
        run_command("join-curves", options, lambda: _joined(paths, options, given), anew=options.force)
    elif run:
        raise InvalidSetting(
            f"expected --join before folders of finished runs, got {run[0]} alone; --join {run[0]} ..., or "
            f"--beside {run[0]} ..."
        )
    else:
        run_command("curve", options, settings_of("curve", options, given), anew=options.force)


def _joined(paths: list[Path], options: Options, given: dict[str, Any]) -> JoinCurvesConfig:
    """The settings of a curve of finished runs; raises InvalidSetting if other settings were given."""
    overrides = _beside_runs(options, given, {"confidence", "want_width", "show_costs"})
    return resolve(JoinCurvesConfig, "quick", {"paths": paths, **overrides})


def _beside(paths: list[Path], options: Options, given: dict[str, Any]) -> BesideCurvesConfig:
    """The settings of finished curves beside each other.

    Raises:
        InvalidSetting: a single run, or other settings.
    """
    if len(paths) < 2:
        raise InvalidSetting(f"expected two or more finished runs after --beside, got {paths[0]} alone; add others")
    return resolve(BesideCurvesConfig, "quick", {"paths": paths, **_beside_runs(options, given, {"confidence"})})


@experiment_command(TreeConfig)
def tree(options: Options, given: dict[str, Any]) -> None:
    """Simulate every schedule of a short stream, and find the best one: the oracle that policies are compared with.

    Schedules that begin alike share the work of their common part, so a tree of n chunks takes 2^n - 1 trainings on a
    chunk instead of n 2^(n-1). The result is a table of the observations, the costs and the accuracy at every node.
    `lifetime evaluate` and `lifetime train-policy` use the table to simulate a policy in a millisecond or less, under
    any tariff and cost model. Utility is accuracy - cost weight × cost, on validation images that serve nothing else.

    The same command, given again, continues interrupted trees, and shows finished ones.
    """
    run_command("tree", options, settings_of("tree", options, given), anew=options.force)


@experiment_command(TrainConfig)
def train_policy(options: Options, given: dict[str, Any]) -> None:
    """Train a policy to decide between learning and memorizing, for the highest mean utility.

    It is trained on the tables of `lifetime tree` (--trees RUN), where a lifetime takes microseconds, or in lifetimes.
    The result is a file, policy.json, for the option --policy file:PATH of any command. The file lists the seeds that
    the policy was trained on: `lifetime evaluate` leaves them out.

    The same command, given again, continues an interrupted training, and shows a finished one.
    """
    run_command("train-policy", options, settings_of("train-policy", options, given), anew=options.force)


@experiment_command(EvaluateConfig)
def evaluate(
    options: Options, given: dict[str, Any], trees: Annotated[Path, typer.Argument(help="Run of `lifetime tree`.")]
) -> None:
    """Evaluate policies on schedule tables: utility, regret to the oracle, and gain over static schedules.

    The program's own heuristics and all static schedules are evaluated too. Trees of seeds that a policy was trained
    on are left out. Regret is the utility of the best schedule of a seed, in hindsight, minus that of the policy. The
    best schedule is chosen on the images that measure its accuracy, so regret is overestimated, for all policies
    alike. Every difference is paired by seed. No lifetime is simulated: the command takes seconds.
    """
    run_command("evaluate", options, settings_of("evaluate", options, {**given, "trees": trees}), anew=options.force)


@experiment_command(FrontierConfig)
def frontier(
    options: Options,
    given: dict[str, Any],
    run: Annotated[
        list[Path], typer.Argument(help="Finished runs of `lifetime curve`, also joined ones, or of `lifetime tree`.")
    ],
) -> None:
    """Find the options that are best as prices move: how much to learn, and with which memory.

    Utility is accuracy - price × cost, over the stream and a number of queries after it. The options are the
    k%-learners of finished curves with each of their memories, or the schedules of trees. Gives the best option at
    every price under each cost model with the break-even prices between them, the number of queries at which
    memorizing the rest has cost as much as learning it, and a map of the best option over the prices of compute and
    storage. Only what was measured is named. No lifetime is simulated: the command takes seconds.
    """
    run_command("frontier", options, settings_of("frontier", options, {**given, "paths": run}), anew=options.force)
