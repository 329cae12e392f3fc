"""Evaluate policies and heuristics on the schedule tables of a run, and write the results."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from agent.errors import InvalidSetting
from agent.policies.file import POLICY_FILE
from agent.storage.record import RunDirectory
from scenarios.analysis.comparison import comparison_csv, comparison_json
from scenarios.analysis.csv_table import csv_table, interval_columns
from scenarios.config.families import COST_MODEL, POLICY, TARIFF
from scenarios.config.members import canonical, make
from scenarios.config.presets import validate
from scenarios.config.settings import TreeConfig
from scenarios.config.specs import FILE, split_specs
from scenarios.figures.pareto import pareto_figure
from scenarios.figures.style import figure_png, png_pixels
from scenarios.oracle.regret import Evaluated, evaluate, static_schedules
from scenarios.oracle.table import ScheduleTable
from scenarios.oracle.tables import ACCURACY, COST, Pricing
from scenarios.running.interval_notes import notes_on_intervals
from scenarios.running.provenance import policy_files, seeds_trained_on

HEURISTICS = (
    "random periodic:period=2 periodic:period=4 tariff loss uncertainty disagreement novelty linucb thompson forecast"
)
"""The specs of the heuristics in every evaluation; with a budget, `budget` is another one."""
_WITH_COST_WEIGHT = ("linucb", "thompson", "forecast")


def pricing_of(tables: Sequence[ScheduleTable], given: Mapping[str, Any]) -> Pricing:
    """The prices in the settings of the trees, replaced by those given; None keeps the setting.

    Raises:
        InvalidSetting: an invalid tariff, cost model or amount.
    """
    settings = tables[0].facts["settings"]
    chosen = {name: settings[name] if given[name] is None else given[name] for name in given}
    config = validate(TreeConfig, {**settings, **chosen})
    make(config.tariff, TARIFF, n_chunks=tables[0].n_chunks, seed=0)
    make(config.cost, COST_MODEL)
    return Pricing(
        tariff=canonical(config.tariff, TARIFF),
        cost=canonical(config.cost, COST_MODEL),
        cost_weight=config.cost_weight,
        budget=config.budget,
    )


def evaluate_policies(
    tables: Sequence[ScheduleTable], policies: str | None, pricing: Pricing, confidence: float, n_draws: int = 1
) -> Evaluated:
    """Run policies, heuristics and static schedules on the trees that no policy was trained on.

    The heuristic `novelty` is included if the memory measures novelty.

    Args:
        tables: the tables of a run.
        policies: specs, separated by blanks or semicolons; None for the heuristics alone.
        pricing: tariff, cost model and cost weight for the utilities.
        confidence: level of all intervals, in (0, 1).
        n_draws: number of tariff paths for each tree if the tariff is random, 1 or more.

    Raises:
        InvalidSetting: an invalid policy or number, or policies were trained on all trees.
    """
    if not 1 <= n_draws <= 10_000:
        raise InvalidSetting(f"expected 1 to 10,000 paths of the tariff for each tree, got {n_draws}")
    asked = [canonical(text, POLICY) for text in split_specs(policies)] if policies else []
    heuristics = [
        canonical(f"{name}:cost_weight={pricing.cost_weight!r}" if name in _WITH_COST_WEIGHT else name, POLICY)
        for name in [*split_specs(HEURISTICS), *(["budget"] if pricing.budget is not None else [])]
        if name != "novelty" or any(table.tells_novelty for table in tables)
    ]
    specs = list(dict.fromkeys([*asked, *heuristics]))
    seen = {spec: trained_on(path, tables) for spec, path in policy_files(asked).items()}
    return evaluate(tables, specs, pricing, trained_on=seen, n_draws=n_draws, confidence=confidence)


def trained_on(path: Path, tables: Sequence[ScheduleTable]) -> frozenset[int]:
    """The seeds of the trees that the policy in a file was trained on; errors of `seeds_trained_on`."""
    facts = tables[0].facts
    seen = seeds_trained_on(path, facts["settings"]["dataset"], facts.get("data"))
    return seen & {int(table.facts["seed"]) for table in tables}


def short_labels(labels: Sequence[str]) -> dict[str, str]:
    """A short form of each label: a policy file is named by the folder of its run, or by its own name.

    A label stays whole if its short form is not unique.
    """
    short = {label: _short(label) for label in labels}
    taken = list(short.values())
    return {label: each if taken.count(each) == 1 else label for label, each in short.items()}


def _short(label: str) -> str:
    if not label.startswith(f"{FILE}:"):
        return label
    path = Path(label.removeprefix(f"{FILE}:"))
    named = path.parent.name if path.name == POLICY_FILE and path.parent.name else path.name
    short = f"{FILE}:…/{named}"
    return short if len(short) < len(label) else label


def shown(evaluated: Evaluated) -> list[str]:
    """The labels to show: all but most of the static schedules."""
    always = {evaluated.best_static, "static:k=0", "static:k=100"}
    always |= {difference.policy for difference in evaluated.differences}
    hidden = set(static_schedules(evaluated.n_chunks)) - always
    return [each.label for each in evaluated.comparison.schedules if each.label not in hidden]


def write_evaluation(evaluated: Evaluated, run: RunDirectory) -> None:
    """Write evaluation.json, .csv and .png, the figure for TensorBoard, and every pair in differences.csv."""
    pricing, comparison = evaluated.pricing, evaluated.comparison
    content = {
        "pricing": asdict(pricing),
        "n_chunks": evaluated.n_chunks,
        "n_paths": evaluated.n_paths,
        "left_out": list(evaluated.left_out),
        "best_static": evaluated.best_static,
        "best_fixed_schedule": evaluated.fixed,
        "differences": [asdict(difference) for difference in evaluated.differences],
        "at_equal_cost": [asdict(each) for each in evaluated.at_equal_cost],
        "notes": notes_of(evaluated),
        **comparison_json(comparison),
    }
    run.write("evaluation.json", json.dumps(content, indent=1) + "\n")
    run.write("evaluation.csv", comparison_csv(comparison))
    run.write("differences.csv", _differences_csv(evaluated))
    labels = short_labels(shown(evaluated))
    drawn = tuple(replace(each, label=labels[each.label]) for each in comparison.schedules if each.label in labels)
    figure = pareto_figure(
        replace(comparison, schedules=drawn),
        cost=COST,
        accuracy=ACCURACY,
        unit=pricing.model.unit,
        title=f"policies on held-out trees of {evaluated.n_chunks} chunks, {pricing.tariff} tariff",
        cost_weight=pricing.cost_weight,
    )
    png = figure_png(figure)
    run.write("evaluation.png", png)
    with run.tensorboard() as board:
        board.add_image("evaluation", png_pixels(png), dataformats="HWC")


def notes_of(evaluated: Evaluated) -> list[str]:
    """Notes about the intervals; see `notes_on_intervals`."""
    n = len({difference.policy for difference in evaluated.differences})
    return notes_on_intervals(evaluated.settings, n_together=n, of="policies")


def tables_digest(tables: Sequence[ScheduleTable]) -> str:
    """A digest of the contents of tables, independent of their paths."""
    digest = hashlib.blake2b(digest_size=8)
    for table in tables:
        digest.update(table.as_npz())
    return digest.hexdigest()


def _differences_csv(evaluated: Evaluated) -> str:
    return csv_table(
        [
            {
                "policy": difference.policy,
                "baseline": difference.baseline,
                **interval_columns("utility", difference.utility),
                **interval_columns("accuracy", difference.accuracy),
                **interval_columns("cost", difference.cost),
                **interval_columns("regret_ratio", difference.regret_ratio),
            }
            for difference in evaluated.differences
        ]
    )
