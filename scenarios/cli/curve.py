"""`lifetime curve`: the relative value of learning over memorizing."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.markup import escape
from rich.table import Table

from scenarios.cli.identity import dataset_word, default_name, describe
from scenarios.cli.options import settings_from, with_options
from scenarios.cli.running import running
from scenarios.cli.show import gflop, percent, print_json, results_console, view_command
from scenarios.config import CurveConfig

if TYPE_CHECKING:
    from scenarios.analysis import Ratio
    from scenarios.relative_value import Curve


def curve(
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

    from scenarios.build import choose_device

    settings = settings.model_copy(update={"device": choose_device(settings.device).type})
    described = describe("curve", preset, settings)
    path = runs / "curve" / (name or default_name([dataset_word(settings.dataset), settings.protocol], described))
    found = live_in(path, settings, described, force=force, data_dir=data_dir, download=download, quiet=quiet)
    if as_json:
        from scenarios.relative_value import curve_json

        print_json(curve_json(found))
    elif not quiet:
        show(found, path, runs)


with_options(CurveConfig, curve)


def live_in(
    path: Path,
    settings: CurveConfig,
    described: dict[str, Any],
    *,
    force: bool = False,
    data_dir: Path | None = None,
    download: bool = False,
    quiet: bool = False,
) -> "Curve":
    """Live the curve in a run directory, new or to be continued."""
    from scenarios.relative_value import live_curve, prepare

    if force:  # nothing is dropped for settings that cannot be lived
        prepare(settings, settings.first_seed, download=download, data_dir=data_dir)
    with running(path, described, force=force, quiet=quiet) as (run, bar):
        return live_curve(settings, run, bar, download=download, data_dir=data_dir)


def show(found: "Curve", path: Path, runs: Path) -> None:
    """Print the table, and where everything lies."""
    console = results_console()
    table = _table(found, costs=True)
    if console.measure(table, options=console.options.update_width(1000)).maximum > console.width:
        table = _table(found, costs=False)
    console.print(table)
    ratios = [(name, ratio) for values in found.statistics for name, ratio in (("R", values.R), ("1/R", values.share))]
    for name, reason in dict.fromkeys((name, ratio.reason) for name, ratio in ratios if ratio.reason):
        console.print(f"{name} not told: {reason}.")
    print(f"\nfigure: {path / 'curve.png'}\ntable:  {path / 'curve.csv'}, {path / 'curve.json'}")
    print(f"trajectories: {view_command(runs)}")


def _table(found: "Curve", *, costs: bool) -> Table:
    """The curve as a table; without its costs it fits in 80 columns."""
    config = found.config
    table = Table(
        title=escape(f"{config.dataset}, {config.protocol} protocol, {config.seeds} seed{'s' * (config.seeds > 1)}"),
        caption="accuracies in %; R = (y - x) / (z - x): ratio of means "
        + f"[{100 * config.confidence:g}% Fieller interval]"
        + (
            f"; θ: geometric mean; recall: of {found.n_test:,} test images, once"
            if costs
            else "; w, θ and costs in GFLOP: in a wider window, and in curve.csv"
        ),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1) if costs else (0, 1, 0, 0),
    )
    columns = ["k %", "x", "z", "y", "y - x", "z - x", "R", "1/R"]
    columns += ["y warm", "R warm"] if found.warm_statistics else []
    columns += ["w", "θ", "learn\nGFLOP", "memorize\nGFLOP", "recall\nGFLOP"] if costs else []
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
            row += [f"{sum(at.w) / len(at.w):.2f}", f"{at.typical_theta:.0f}" if at.typical_theta else "-"]
            row += [gflop(sum(at.gflop[cost]) / len(at.gflop[cost])) for cost in ("learn", "memorize", "recall")]
        table.add_row(*row)
    return table


def _ratio(ratio: "Ratio") -> str:
    if ratio.estimate is None:
        return "not told"
    return f"{ratio.estimate:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
