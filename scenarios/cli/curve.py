"""`lifetime curve`: the relative value of learning over memorizing."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scenarios.cli.identity import dataset_word, describe, run_folder
from scenarios.cli.options import settings_from, with_options
from scenarios.cli.running import MOST_WORKERS, running
from scenarios.cli.show import gflop, percent, print_json, results_console, spread, view_command
from scenarios.config.settings import CurveConfig

if TYPE_CHECKING:
    from scenarios.analysis.matched_share import MatchedShares
    from scenarios.analysis.statistics import Ratio
    from scenarios.experiments.relative_value_report import Curve


def curve(
    workers: int | None,
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
    """Measure the relative value of learning over memorizing.

    k%-learners learn from the first k% of a stream and memorize the rest. With x the accuracy of the learner after
    k%, y after all of it, and z of learner and memory together, R(k) = (y - x) / (z - x): how many times as valuable
    it is to learn the rest as to memorize it.

    Settings come from a preset, then from a TOML file, then from the options below. The same command given again
    continues an interrupted run, and shows a finished one.
    """
    settings = settings_from(CurveConfig, preset, config, overrides, name)

    from scenarios.experiments.relative_value import resolve_curve
    from scenarios.running.factory import choose_device

    with redirect_stdout(sys.stderr):  # a policy of the user's own may print
        settings = resolve_curve(settings)
    settings = settings.model_copy(update={"device": choose_device(settings.device).type})
    described = describe("curve", preset, settings, threads=1 if workers else None, data_dir=data_dir)
    path = run_folder(runs / "curve", name, [dataset_word(settings.dataset), settings.learner_name], described)
    options: dict[str, Any] = {"force": force, "data_dir": data_dir, "download": download, "quiet": quiet or as_json}
    found = live_in(path, settings, described, workers=workers, **options)
    report(found, path, runs, quiet=quiet, as_json=as_json)


with_options(
    CurveConfig,
    curve,
    (
        "workers",
        int | None,
        typer.Option(
            None,
            min=1,
            max=MOST_WORKERS,
            help="Processes of one thread each that live seeds side by side, as one GPU takes several; how many there "
            "are changes no number on a CPU (default: none, but all threads for one seed after the other).",
        ),
    ),
)


def live_in(
    path: Path,
    settings: CurveConfig,
    described: dict[str, Any],
    *,
    workers: int | None = None,
    force: bool = False,
    data_dir: Path | None = None,
    download: bool = False,
    quiet: bool = False,
) -> "Curve":
    """Live the curve in a run directory, new or to be continued."""
    from scenarios.experiments.relative_value import live_curve, prepare

    if force:  # nothing is dropped for settings that cannot be lived
        prepare(settings, settings.first_seed, download=download, data_dir=data_dir)
    with running(path, described, force=force, quiet=quiet) as (run, bar):
        return live_curve(settings, run, bar, workers=workers, download=download, data_dir=data_dir)


def report(found: "Curve", path: Path, runs: Path, *, quiet: bool, as_json: bool) -> None:
    """Print the curve as was asked for."""
    if as_json:
        from scenarios.experiments.relative_value_report import curve_json, policies_json

        beside = {"policies": policies_json(found, found.matched)["policies"]} if found.matched else {}
        print_json(curve_json(found) | beside)
    elif not quiet:
        _show(found, path, runs)


def _show(found: "Curve", path: Path, runs: Path) -> None:
    """Print the table, and where everything lies."""
    console = results_console()
    table = _table(found, costs=True)
    if console.measure(table, options=console.options.update_width(1000)).maximum > console.width:
        table = _table(found, costs=False)
    console.print(table)
    ratios = [(name, ratio) for values in found.statistics for name, ratio in (("R", values.R), ("1/R", values.share))]
    for name, reason in dict.fromkeys((name, ratio.reason) for name, ratio in ratios if ratio.reason):
        console.print(f"{name} not told: {reason}.")
    if found.matched:
        _show_policies(found, found.matched, console)
    for note in found.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    print(f"\nfigure: {path / 'curve.png'}\ntable:  {path / 'curve.csv'}, {path / 'curve.json'}")
    if found.matched:
        print(f"policies: {path / 'policies.png'}, {path / 'policies.csv'}, {path / 'policies.json'}")
    print(f"trajectories: {view_command(runs)}")


def _show_policies(found: "Curve", matched: "MatchedShares", console: Console) -> None:
    config = found.config
    table = Table(
        title="policies on the same streams",
        caption=f"accuracies in %, with {100 * config.confidence:g}% t intervals; static: z between the k's that were "
        "lived, at the share that the policy learned; ahead: paired by seed, in points",
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("policy", overflow="fold")
    for column in ("learned\n%", "final accuracy", "static", "ahead", "spent\nGFLOP"):
        table.add_column(column, justify="right", no_wrap=True)
    for placed in matched.policies:
        table.add_row(
            escape(placed.policy),
            percent(placed.learned.estimate),
            spread(placed.accuracy),
            percent(placed.static.estimate if placed.static else None),
            spread(placed.difference),
            gflop(placed.gflop.estimate),
        )
    console.print()
    console.print(table)
    if any(placed.difference is None for placed in matched.policies):
        console.print(f"static not told: less was learned than by any k%-learner ({min(matched.statics):g}%).")
    if not config.evaluate_every:
        console.print("Only ends are drawn: nothing was examined on the way. --evaluate-every draws trajectories.")


_COSTS = {
    "learn\nGFLOP": "learn",
    "memorize\nGFLOP": "memorize",
    "total\nGFLOP": "total",
    "without\ncalibrating": "total_without_calibration",
    "10,000\nqueries": "answer_10000",
}
"""Costs of a k%-learner by the headings of their columns."""


def _table(found: "Curve", *, costs: bool) -> Table:
    """The curve as a table; without its costs it fits in 80 columns."""
    config = found.config
    settings = list(found.learners[0].setting)
    table = Table(
        title=escape(f"{config.dataset}, learner {config.learner_name}, {config.seeds} seed{'s' * (config.seeds > 1)}"),
        caption="accuracies in %; R = (y - x) / (z - x): ratio of means "
        + f"[{100 * config.confidence:g}% Fieller interval]"
        + (
            f"; {', '.join(settings)}: geometric mean; 10,000 queries: what answering so many takes"
            if costs
            else f"; {', '.join(['w', *settings])} and costs in GFLOP: in a wider window, and in curve.csv"
        ),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1) if costs else (0, 1, 0, 0),
    )
    columns = ["k %", "x", "z", "y", "y - x", "z - x", "R", "1/R"]
    columns += ["y warm", "R warm"] if found.warm_statistics else []
    columns += ["w", *settings, *_COSTS] if costs else []
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for i, (at, values) in enumerate(zip(found.learners, found.statistics, strict=True)):
        means = [values.x, values.z, values.y, values.y_minus_x, values.z_minus_x]
        row = [f"{at.point.k:g}", *(percent(interval.estimate) for interval in means)]
        row += [_ratio(values.R), _ratio(values.share)]
        if found.warm_statistics:
            warm = found.warm_statistics[i]
            row += [percent(warm.y.estimate), _ratio(warm.R)]
        if costs:
            row += [_fitted(value) for value in (at.mean_w, *at.typical_setting.values())]
            row += [gflop(sum(at.gflop[cost]) / len(at.gflop[cost])) for cost in _COSTS.values()]
        table.add_row(*row)
    return table


def _fitted(value: float | None) -> str:
    """A weight or a setting of the memory, of any size."""
    return "-" if value is None else f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _ratio(ratio: "Ratio") -> str:
    if ratio.estimate is None:
        return "not told"
    return f"{ratio.estimate:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
