"""`lifetime evaluate`: policies on schedule tables, beside static schedules and the oracle."""

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from scenarios.cli.identity import own_code, run_folder, same_run, versions
from scenarios.cli.options import check_name
from scenarios.cli.show import gflop, percent, plus_minus, results_console, spread
from scenarios.config.settings import UTILITY_HELP

_COLUMNS = (
    ("learned", "cost", "accuracy", "utility", "regret", "over", "equal", "rivals"),
    ("learned", "cost", "accuracy", "utility", "regret", "over", "equal"),
    ("cost", "accuracy", "utility", "regret", "over"),
    ("cost", "utility", "over"),
)
"""From a wide window to a narrow one."""

if TYPE_CHECKING:
    from scenarios.analysis.comparison import Schedule
    from scenarios.analysis.statistics import Interval
    from scenarios.oracle.regret import Evaluated


def evaluate(
    trees: Annotated[Path, typer.Argument(help="Run of `lifetime tree`.")],
    policies: Annotated[
        str | None,
        typer.Option(help="More policies, separated by blanks or semicolons, as in 'file:PATH loss:threshold=0.9'."),
    ] = None,
    tariff: Annotated[str | None, typer.Option(help="Price of compute over time (default: the trees').")] = None,
    cost: Annotated[str | None, typer.Option(help="Cost model (default: the trees').")] = None,
    cost_weight: Annotated[float | None, typer.Option(help=f"{UTILITY_HELP} (default: the trees').")] = None,
    budget: Annotated[
        float | None, typer.Option(help="What a lifetime may spend; shown to policies (default: the trees').")
    ] = None,
    tariff_draws: Annotated[
        int, typer.Option(help="Paths of a tariff that is drawn (random-walk), for each tree; their mean counts.")
    ] = 8,
    confidence: Annotated[float, typer.Option(help="Level of all intervals.")] = 0.95,
    runs: Annotated[Path, typer.Option(help="Folder that runs are written to.")] = Path("runs"),
    name: Annotated[
        str | None, typer.Option(help="Name of the run's folder (default: made from the settings).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Start anew, dropping what the run's folder holds.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON, and nothing else.")] = False,
) -> None:
    """Evaluate policies on schedule tables: utility, regret to the oracle, and what they have over static schedules.

    The program's own heuristics and every static schedule are evaluated beside the policies given. Trees of seeds that
    a policy was trained on are left out. Regret is the utility of the best schedule of a seed, in hindsight, less that
    of the policy; that schedule is the best on the very images that tell its accuracy, so that regrets are on the high
    side, of every policy alike. Every difference is paired by seed. Nothing is lived: it takes seconds.
    """
    check_name(name)

    from agent.storage.record import open_run
    from scenarios.oracle.evaluate import evaluate_policies, pricing_of, tables_digest, write_evaluation
    from scenarios.oracle.tables import read_tables

    tables = read_tables(trees)
    given = {"tariff": tariff, "cost": cost, "cost_weight": cost_weight, "budget": budget}
    pricing = pricing_of(tables, given)
    with redirect_stdout(sys.stderr):  # a policy of the user's own may print
        evaluated = evaluate_policies(tables, policies, pricing, confidence, tariff_draws)
    described = {
        "experiment": "evaluate",
        "trees_digest": tables_digest(tables),
        "policies": policies,
        "pricing": vars(pricing),
        "tariff_draws": evaluated.n_paths,
        "confidence": confidence,
        "versions": versions(),
        "own_code": own_code({"policies": policies}),
    }
    path = run_folder(runs / "evaluate", name, [trees.resolve().name], described)
    with open_run(path, described, anew=force, compared=same_run) as run:
        write_evaluation(evaluated, run)
    if as_json:
        print((path / "evaluation.json").read_text(encoding="utf-8"), end="")
    elif not quiet:
        _show(evaluated, trees, path)


def _show(evaluated: "Evaluated", trees: Path, path: Path) -> None:
    console = results_console()
    for columns in _COLUMNS:
        table = _table(evaluated, trees, columns)
        if console.measure(table, options=console.options.update_width(1000)).maximum <= console.width:
            break
    console.print(table)
    from scenarios.oracle.evaluate import notes_of

    console.print(_verdict(evaluated), markup=False, highlight=False)
    for note in notes_of(evaluated):
        console.print(f"note: {note}", markup=False, highlight=False)
    print(
        f"figure: {path / 'evaluation.png'}\n"
        f"table:  {path / 'evaluation.csv'}, {path / 'evaluation.json'}; every pair: {path / 'differences.csv'}"
    )


def _table(evaluated: "Evaluated", trees: Path, columns: Sequence[str]) -> Table:
    from scenarios.oracle.evaluate import short_labels, shown

    pricing, comparison, best = evaluated.pricing, evaluated.comparison, evaluated.best_static
    unit, n = pricing.model.unit, len(comparison.seeds)
    left_out = f"; left out, as trained on: {_listed(evaluated.left_out)}" if evaluated.left_out else ""
    paths = f" ({evaluated.n_paths} paths a tree)" if evaluated.n_paths > 1 else ""
    title = (
        f"{trees}: {evaluated.n_chunks} chunks, {pricing.tariff} tariff{paths}, seeds {_listed(comparison.seeds)}"
        f"{left_out}"
    )
    told = [
        f"means ± half of {100 * comparison.confidence:g}% t intervals over {n} seed{'s' * (n > 1)}, in points",
        f"utility = accuracy - {pricing.cost_weight:g} × cost in {unit}",
        *(["regret: to the schedule that is best on these very images, luck included"] if "regret" in columns else []),
        f"over {best}: utility, paired by seed; intervals are not corrected for the number of policies",
    ]
    if "equal" in columns:
        told.append("at equal cost: accuracy over the best lot between two static schedules of that mean cost, paired")
    if "rivals" in columns:
        told.append("among all: likewise, between any two that are static or heuristic")
    if len(columns) < len(_COLUMNS[0]):
        told.append("more columns: in a wider window")
    table = Table(
        title=escape(title),
        caption=escape("; ".join(told)),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("policy", overflow="fold")
    headings = {"learned": "learned\n%", "cost": f"cost\n{escape(unit)}", "over": f"over\n{escape(best)}"}
    headings |= {"equal": "at equal\ncost", "rivals": "among\nall"}
    for column in columns:
        table.add_column(headings.get(column, column), justify="right", no_wrap=True)
    ahead = {
        difference.policy: difference.utility for difference in evaluated.differences if difference.baseline == best
    }
    equal = {(each.policy, each.among): each.difference for each in evaluated.at_equal_cost}
    labels = short_labels(shown(evaluated))
    listed = [schedule for schedule in comparison.schedules if schedule.label in labels]
    for schedule in sorted(listed, key=lambda each: -_estimate(each, "utility")):
        label = labels[schedule.label] + (f"\n({evaluated.fixed})" if schedule.label == "best fixed schedule" else "")
        cells = {
            "learned": percent(_estimate(schedule, "learned_fraction")),
            "cost": gflop(_estimate(schedule, "total_cost")),
            "accuracy": plus_minus(schedule.means["final_accuracy"]),
            "utility": plus_minus(schedule.means["utility"]),
            "regret": plus_minus(schedule.means["regret"]),
            "over": _paired(ahead.get(schedule.label)),
            "equal": _paired(equal.get((schedule.label, "statics"))),
            "rivals": _paired(equal.get((schedule.label, "statics and heuristics"))),
        }
        table.add_row(escape(label), *(cells[column] for column in columns))
    return table


def _verdict(evaluated: "Evaluated") -> str:
    from scenarios.oracle.evaluate import short_labels

    labels = short_labels([schedule.label for schedule in evaluated.comparison.schedules])
    over = [difference for difference in evaluated.differences if difference.baseline == evaluated.best_static]
    n = len(evaluated.comparison.seeds)
    sure = [difference for difference in over if difference.utility.low is not None and difference.utility.low > 0]
    if not sure:
        return (
            f"no policy is ahead of {evaluated.best_static}, the best static schedule, by an interval that excludes "
            "zero: there is nothing to be had here by adapting, or these policies do not find it, or "
            f"{n} seed{'s are' if n > 1 else ' is'} too few to tell"
        )
    best = max(sure, key=lambda difference: difference.utility.estimate)
    ratio = best.regret_ratio
    of_regret = (
        ""
        if ratio.estimate is None
        else f", with {percent(ratio.estimate)} [{percent(ratio.low)}, {percent(ratio.high)}] % of its regret"
    )
    return (
        f"ahead of {evaluated.best_static}, the best static schedule, by an interval that excludes zero: "
        f"{', '.join(labels[difference.policy] for difference in sure)}; most of all {labels[best.policy]}, by "
        f"{spread(best.utility)} points{of_regret}, at {gflop(abs(best.cost.estimate))} {evaluated.pricing.model.unit} "
        f"{'more' if best.cost.estimate > 0 else 'less'} cost; intervals are not corrected for having been picked out "
        f"of {len(over)}"
    )


def _estimate(schedule: "Schedule", metric: str) -> float:
    mean = schedule.means[metric]
    return mean.estimate if mean else 0.0


def _paired(interval: "Interval | None") -> str:
    return "-" if interval is None else spread(interval)


def _listed(seeds: "tuple[int, ...]") -> str:
    if len(seeds) > 2 and seeds == tuple(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))
