"""Policies on the schedule tables of a run: which, at what prices, on which seeds; and what is written of it."""

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from agent.errors import InvalidSetting
from agent.policies.file import POLICY_FILE
from agent.storage.record import RunDirectory
from scenarios.analysis.comparison import comparison_csv, comparison_json
from scenarios.config.families import COST_MODEL, POLICY, TARIFF
from scenarios.config.members import canonical, make
from scenarios.config.presets import validate
from scenarios.config.settings import TreeConfig
from scenarios.config.specs import FILE, parse, split_specs
from scenarios.figures.pareto import pareto_figure
from scenarios.figures.style import figure_png
from scenarios.oracle.regret import Evaluated, evaluate, static_schedules
from scenarios.oracle.table import ScheduleTable
from scenarios.oracle.tables import ACCURACY, COST, FIXED, ORACLE, Pricing
from scenarios.running.interval_notes import notes_on_intervals
from scenarios.running.provenance import seeds_trained_on

HEURISTICS = (
    "random periodic:period=2 periodic:period=4 tariff loss uncertainty disagreement novelty linucb thompson forecast"
)
"""Evaluated beside whatever is asked for, `budget` too where there is one; who weighs costs is told the weight."""


def pricing_of(tables: Sequence[ScheduleTable], given: Mapping[str, Any]) -> Pricing:
    """The prices that trees were grown with, and over them those that are given (None where not).

    Raises:
        InvalidSetting: a tariff, a cost model or an amount that cannot be.
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
    """Live policies, heuristics and static schedules on the trees that no policy was trained on.

    The heuristic `novelty` is among them where the memory tells how far a chunk lies from what it holds.

    Args:
        tables: of a run.
        policies: specs, separated by blanks or semicolons; None for the heuristics alone.
        pricing: behind utilities.
        confidence: level of all intervals, in (0, 1).
        n_draws: paths of a tariff that is drawn, for each tree, 1 or more.

    Raises:
        InvalidSetting: policies or a number that cannot be, or trees that were all trained on.
    """
    if not 1 <= n_draws <= 10_000:
        raise InvalidSetting(f"expected 1 to 10,000 paths of the tariff for each tree, got {n_draws}")
    asked = [canonical(text, POLICY) for text in split_specs(policies)] if policies else []
    weighing = ("linucb", "thompson", "forecast")
    heuristics = [
        canonical(f"{name}:cost_weight={pricing.cost_weight!r}" if name in weighing else name, POLICY)
        for name in [*HEURISTICS.split(), *(["budget"] if pricing.budget is not None else [])]
        if name != "novelty" or any(table.tells_novelty for table in tables)
    ]
    specs = list(dict.fromkeys([*asked, *heuristics]))
    seen = {spec: trained_on(Path(parse(spec).settings["path"]), tables) for spec in asked if parse(spec).name == FILE}
    statics = static_schedules(tables[0].n_chunks)
    return evaluate(tables, specs, pricing, statics=statics, trained_on=seen, n_draws=n_draws, confidence=confidence)


def trained_on(path: Path, tables: Sequence[ScheduleTable]) -> frozenset[int]:
    """The seeds of trees that the policy in a file has seen in training.

    Raises:
        InvalidSetting: as `seeds_trained_on`.
    """
    facts = tables[0].facts
    seen = seeds_trained_on(path, facts["settings"]["dataset"], facts.get("data"))
    return seen & {int(table.facts["seed"]) for table in tables}


def short_labels(labels: Sequence[str]) -> dict[str, str]:
    """What people read in the place of labels: policy files by the folder of their run, or by their name.

    A label stays whole where two would become one.
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
    """Labels of what a reader wants to see: all but most of the static schedules."""
    asked = {difference.policy for difference in evaluated.differences}
    few = {evaluated.best_static, "static:k=0", "static:k=100", ORACLE, FIXED} | asked
    statics = set(static_schedules(evaluated.n_chunks))
    return [each.label for each in evaluated.comparison.schedules if each.label in few or each.label not in statics]


def write_evaluation(evaluated: Evaluated, run: RunDirectory) -> None:
    """Write evaluation.json, .csv and .png, and the figure for TensorBoard; differences.csv holds every pair."""
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
    unit = pricing.model.unit
    title = f"policies on held-out trees of {evaluated.n_chunks} chunks, {pricing.tariff} tariff"
    figure = pareto_figure(
        replace(comparison, schedules=drawn),
        cost=COST,
        accuracy=ACCURACY,
        unit=unit,
        title=title,
        cost_weight=pricing.cost_weight,
    )
    png = figure_png(figure)
    run.write("evaluation.png", png)
    with run.tensorboard() as board:
        board.add_image("evaluation", np.asarray(Image.open(io.BytesIO(png)).convert("RGB")), dataformats="HWC")


def notes_of(evaluated: Evaluated) -> list[str]:
    """What a careful reader of the intervals should know."""
    n = len({difference.policy for difference in evaluated.differences})
    return notes_on_intervals(evaluated.settings, n_together=n, of="policies")


def tables_digest(tables: Sequence[ScheduleTable]) -> str:
    """Identifies what tables say, wherever they lie."""
    digest = hashlib.blake2b(digest_size=8)
    for table in tables:
        digest.update(table.as_npz())
    return digest.hexdigest()


def _differences_csv(evaluated: Evaluated) -> str:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    of = ("utility", "accuracy", "cost", "regret_ratio")
    writer.writerow(["policy", "baseline", *(f"{name}{end}" for name in of for end in ("", "_low", "_high"))])
    for difference in evaluated.differences:
        intervals = [getattr(difference, name) for name in of]
        cells = [value for each in intervals for value in (each.estimate, each.low, each.high)]
        writer.writerow([difference.policy, difference.baseline, *cells])
    return table.getvalue()
