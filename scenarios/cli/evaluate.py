"""`lifetime evaluate`: policies on schedule tables, compared with static schedules and the oracle."""

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from scenarios.cli.identity import own_code, own_components, run_folder, same_run
from scenarios.cli.machine import versions
from scenarios.cli.options import AsJson, Force, Name, Quiet, Runs, check_name
from scenarios.cli.show import (
    estimate_of,
    gflop,
    percent,
    plus_minus,
    print_widest,
    results_console,
    results_table,
    spread,
)
from scenarios.config.settings import UTILITY_HELP
from scenarios.config.specs import split_specs
from scenarios.running.own_code import component_errors

_COLUMNS = (
    ("learned", "cost", "accuracy", "utility", "regret", "over", "equal", "rivals"),
    ("learned", "cost", "accuracy", "utility", "regret", "over", "equal"),
    ("cost", "accuracy", "utility", "regret", "over"),
    ("cost", "utility", "over"),
)
"""The columns for each width of the window, the widest first."""

if TYPE_CHECKING:
    from scenarios.oracle.regret import Evaluated


def evaluate(
    trees: Annotated[Path, typer.Argument(help="Run of `lifetime tree`.")],
    policies: Annotated[
        str | None,
        typer.Option(help="More policies, separated by spaces or semicolons, as in 'file:PATH loss:threshold=0.9'."),
    ] = None,
    tariff: Annotated[str | None, typer.Option(help="Price of compute over time (default: the trees').")] = None,
    cost: Annotated[str | None, typer.Option(help="Cost model (default: the trees').")] = None,
    cost_weight: Annotated[float | None, typer.Option(help=f"{UTILITY_HELP} (default: the trees').")] = None,
    budget: Annotated[
        float | None, typer.Option(help="The most that a lifetime may spend; policies see it (default: the trees').")
    ] = None,
    tariff_draws: Annotated[
        int, typer.Option(help="Paths of a random tariff (random-walk) for each tree; the result is their mean.")
    ] = 8,
    confidence: Annotated[float, typer.Option(help="Level of all intervals.")] = 0.95,
    runs: Runs = Path("runs"),
    name: Name = None,
    force: Force = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate policies on schedule tables: utility, regret to the oracle, and gain over static schedules.

    The program's own heuristics and all static schedules are evaluated too. Trees of seeds that a policy was trained
    on are left out. Regret is the utility of the best schedule of a seed, in hindsight, minus that of the policy. The
    best schedule is chosen on the images that measure its accuracy, so regret is overestimated, for all policies
    alike. Every difference is paired by seed. No lifetime is simulated: the command takes seconds.
    """
    check_name(name)

    from agent.storage.record import open_run
    from scenarios.oracle.evaluate import evaluate_policies, pricing_of, tables_digest, write_evaluation
    from scenarios.oracle.tables import read_tables

    tables = read_tables(trees)
    given = {"tariff": tariff, "cost": cost, "cost_weight": cost_weight, "budget": budget}
    pricing = pricing_of(tables, given)
    own = own_components(split_specs(policies) if policies else ())
    with redirect_stdout(sys.stderr), component_errors(own):  # a user's policy may print
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
    from scenarios.oracle.evaluate import notes_of

    console = results_console()
    print_widest(console, (_table(evaluated, trees, columns) for columns in _COLUMNS))
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
    unit = pricing.model.unit
    left_out = f"; left out, as trained on: {_listed(evaluated.left_out)}" if evaluated.left_out else ""
    paths = f" ({evaluated.n_paths} paths a tree)" if evaluated.n_paths > 1 else ""
    seeds = f"seeds {_listed(comparison.seeds)}{left_out}"
    table = results_table(
        f"{trees}: {evaluated.n_chunks} chunks, {pricing.tariff} tariff{paths}, {seeds}", _caption(evaluated, columns)
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
    for schedule in sorted(listed, key=lambda each: -estimate_of(each.means["utility"])):
        label = labels[schedule.label] + (f"\n({evaluated.fixed})" if schedule.label == "best fixed schedule" else "")
        cells = {
            "learned": percent(estimate_of(schedule.means["learned_fraction"])),
            "cost": gflop(estimate_of(schedule.means["total_cost"])),
            "accuracy": plus_minus(schedule.means["final_accuracy"]),
            "utility": plus_minus(schedule.means["utility"]),
            "regret": plus_minus(schedule.means["regret"]),
            "over": spread(ahead.get(schedule.label)),
            "equal": spread(equal.get((schedule.label, "statics"))),
            "rivals": spread(equal.get((schedule.label, "statics and heuristics"))),
        }
        table.add_row(escape(label), *(cells[column] for column in columns))
    return table


def _caption(evaluated: "Evaluated", columns: Sequence[str]) -> str:
    pricing, comparison, best = evaluated.pricing, evaluated.comparison, evaluated.best_static
    seeds = f"{len(comparison.seeds)} seed{'s' * (len(comparison.seeds) > 1)}"
    caption = [
        f"means ± half of {100 * comparison.confidence:g}% t intervals over {seeds}, in points",
        f"utility = accuracy - {pricing.cost_weight:g} × cost in {pricing.model.unit}",
    ]
    if "regret" in columns:
        caption.append("regret: to the schedule that is best on the same images, luck included")
    caption.append(f"over {best}: utility, paired by seed; intervals are not corrected for the number of policies")
    if "equal" in columns:
        caption.append(
            "at equal cost: accuracy over the best random mix of two static schedules of that mean cost, paired"
        )
    if "rivals" in columns:
        caption.append("among all: the same with a mix of any two static schedules or heuristics")
    if len(columns) < len(_COLUMNS[0]):
        caption.append("more columns: in a wider window")
    return "; ".join(caption)


def _verdict(evaluated: "Evaluated") -> str:
    from scenarios.oracle.evaluate import short_labels

    labels = short_labels([schedule.label for schedule in evaluated.comparison.schedules])
    over = [difference for difference in evaluated.differences if difference.baseline == evaluated.best_static]
    n = len(evaluated.comparison.seeds)
    sure = [difference for difference in over if difference.utility.low is not None and difference.utility.low > 0]
    if not sure:
        return (
            f"no policy is ahead of {evaluated.best_static}, the best static schedule, by an interval that excludes "
            "zero: adapting gains nothing here, or these policies do not find the gain, or "
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
        f"{', '.join(labels[difference.policy] for difference in sure)}; the furthest is {labels[best.policy]}, by "
        f"{spread(best.utility)} points{of_regret}, at {gflop(abs(best.cost.estimate))} {evaluated.pricing.model.unit} "
        f"{'more' if best.cost.estimate > 0 else 'less'} cost; intervals are not corrected for this choice among "
        f"{len(over)}"
    )


def _listed(seeds: "tuple[int, ...]") -> str:
    if len(seeds) > 2 and seeds == tuple(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))
