"""`lifetime curve`: the relative value of learning over memorizing."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scenarios.cli.experiment import Experiment, run_command
from scenarios.cli.identity import dataset_word
from scenarios.cli.options import MOST_WORKERS, Options, experiment_command, settings_from
from scenarios.cli.show import (
    gflop,
    percent,
    print_notes,
    print_widest,
    results_console,
    results_table,
    spread,
    view_command,
)
from scenarios.config.settings import CurveConfig

if TYPE_CHECKING:
    from scenarios.analysis.matched_share import MatchedShares
    from scenarios.analysis.statistics import Ratio
    from scenarios.experiments.relative_value_report import Curve


@experiment_command(CurveConfig)
def curve(
    options: Options,
    given: dict[str, Any],
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_WORKERS,
            help="Processes of one thread each, which run seeds side by side, also on one GPU. On a CPU their number "
            "changes no result. (Default: no processes; all threads run one seed after the other.)",
        ),
    ] = None,
) -> None:
    """Measure the relative value of learning over memorizing.

    k%-learners learn from the first k% of a stream and memorize the rest. With x the accuracy of the learner after
    k%, y after all of it, and z of learner and memory together, R(k) = (y - x) / (z - x): how many times as valuable
    it is to learn the rest as to memorize it.

    Settings come from a preset, then from a TOML file, then from the options below. The same command, given again,
    continues an interrupted run, and shows a finished one.
    """
    run_command(relative_value(workers), settings_from(CurveConfig, options, given), options)


def relative_value(workers: int | None) -> Experiment[CurveConfig, "Curve"]:
    """The experiment: k%-learners over seeds, in this process (None) or in so many workers."""
    from scenarios.experiments.relative_value import prepare, resolve_curve, run_curve

    return Experiment(
        "curve",
        CurveConfig,
        resolve_curve,
        words=lambda settings: [dataset_word(settings.dataset), settings.learner_name],
        prepare=prepare,
        run=partial(run_curve, workers=workers),
        as_json=lambda found, _: _as_json(found),
        show=lambda found, _, path, runs: _show(found, path, runs),
        threads=1 if workers else None,
    )


def _as_json(found: "Curve") -> dict[str, Any]:
    from scenarios.experiments.relative_value_report import curve_json, policies_json

    policies = {"policies": policies_json(found, found.matched)["policies"]} if found.matched else {}
    return curve_json(found) | policies


def _show(found: "Curve", path: Path, runs: Path) -> None:
    console = results_console()
    print_widest(console, (_table(found, costs=costs) for costs in (True, False)))
    statistics = [at.statistics for at in found.learners]
    ratios = [(name, ratio) for values in statistics for name, ratio in (("R", values.R), ("1/R", values.share))]
    for name, reason in dict.fromkeys((name, ratio.reason) for name, ratio in ratios if ratio.reason):
        console.print(f"{name} undetermined: {reason}.")
    if found.matched:
        _show_policies(found, found.matched, console)
    print_notes(console, found.notes)
    print(f"\nfigure: {path / 'curve.png'}\ntable:  {path / 'curve.csv'}, {path / 'curve.json'}")
    if found.matched:
        print(f"policies: {path / 'policies.png'}, {path / 'policies.csv'}, {path / 'policies.json'}")
    print(f"trajectories: {view_command(runs)}")


def _show_policies(found: "Curve", matched: "MatchedShares", console: Console) -> None:
    config = found.config
    table = results_table(
        "policies on the same streams",
        f"accuracies in %, with {100 * config.confidence:g}% t intervals; static: z at the share that the policy "
        "learned, interpolated between the k%-learners; ahead: paired by seed, in points",
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
        console.print(f"static undetermined: less was learned than by any k%-learner ({min(matched.statics):g}%).")
    if not config.evaluate_every:
        console.print("Only ends are drawn: nothing was evaluated earlier. --evaluate-every draws trajectories.")


_COSTS = {
    "learn\nGFLOP": "learn",
    "memorize\nGFLOP": "memorize",
    "total\nGFLOP": "total",
    "without\ncalibrating": "total_without_calibration",
    "10,000\nqueries": "answer_10000",
}
"""The cost of a k%-learner in each column, by heading."""


def _table(found: "Curve", *, costs: bool) -> Table:
    """The curve as a table; without costs it fits in 80 columns."""
    config = found.config
    settings = list(found.learners[0].setting)
    averaged = f"{', '.join(settings)}: geometric mean; " if settings else ""
    more = (
        f"{averaged}10,000 queries: the work to answer that many"
        if costs
        else f"{', '.join(['w', *settings])} and costs in GFLOP: in a wider window and in curve.csv"
    )
    table = results_table(
        f"{config.dataset}, learner {config.learner_name}, {config.seeds} seed{'s' * (config.seeds > 1)}",
        f"accuracies in %; R = (y - x) / (z - x): ratio of means [{100 * config.confidence:g}% Fieller interval]; "
        f"{more}",
        gap=2 if costs else 1,
    )
    columns = ["k %", "x", "z", "y", "y - x", "z - x", "R", "1/R"]
    columns += ["y warm", "R warm"] if config.warm else []
    columns += ["w", *settings, *_COSTS] if costs else []
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for at in found.learners:
        values = at.statistics
        means = [values.x, values.z, values.y, values.y_minus_x, values.z_minus_x]
        row = [f"{at.point.k:g}", *(percent(interval.estimate) for interval in means)]
        row += [_ratio(values.R), _ratio(values.share)]
        if warm := at.warm_statistics:
            row += [percent(warm.y.estimate), _ratio(warm.R)]
        if costs:
            row += [_fitted(value) for value in (at.mean_w, *at.typical_setting.values())]
            row += [gflop(sum(at.gflop[cost]) / len(at.gflop[cost])) for cost in _COSTS.values()]
        table.add_row(*row)
    return table


def _fitted(value: float | None) -> str:
    """A mixing weight or a setting of the memory."""
    return "-" if value is None else f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _ratio(ratio: "Ratio") -> str:
    if ratio.estimate is None:
        return "undetermined"
    return f"{ratio.estimate:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
