"""Evaluate policies and heuristics on the schedule tables of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.policies.thresholds import SleepPolicy
from scenarios.config.families import POLICY
from scenarios.config.members import Member
from scenarios.config.presets import validate
from scenarios.config.settings import EvaluateConfig, TreeConfig
from scenarios.config.specs import split_specs
from scenarios.oracle.evaluation_report import report, write_evaluation
from scenarios.oracle.regret import Evaluated, evaluate
from scenarios.oracle.table import ScheduleTable
from scenarios.oracle.tables import Pricing, read_tables, tables_digest
from scenarios.running.experiment import Experiment, nothing
from scenarios.running.provenance import policy_files, seeds_trained_on
from scenarios.running.tasks import Run
from scenarios.running.world import check_policies

HEURISTICS = (
    "random periodic:period=2 periodic:period=4 tariff loss uncertainty disagreement novelty linucb thompson forecast"
)
"""The specs of the heuristics in every evaluation; with a budget `budget` is another one, and `sleep` where trees have
its action."""
_WITH_COST_WEIGHT = ("linucb", "thompson", "forecast")


def pricing_of(tables: Sequence[ScheduleTable], config: EvaluateConfig) -> Pricing:
    """The prices in the settings of the trees, replaced by those that are given; None keeps the setting.

    Raises:
        InvalidSetting: an invalid tariff, cost model or amount.
    """
    given = {name: getattr(config, name) for name in ("tariff", "cost", "cost_weight", "budget")}
    chosen = {name: value for name, value in given.items() if value is not None}
    pricing = Pricing.of_settings(validate(TreeConfig, {**tables[0].facts["settings"], **chosen}))
    pricing.tariff.make(n_chunks=tables[0].n_chunks, seed=0)
    pricing.cost.make()
    return pricing


def evaluate_policies(
    tables: Sequence[ScheduleTable],
    policies: Sequence[Member],
    pricing: Pricing,
    confidence: float,
    n_draws: int = 1,
) -> Evaluated:
    """Run policies, heuristics and static schedules on the trees that no policy was trained on.

    The heuristic `novelty` is included if the memory measures novelty.

    Args:
        tables: the tables of a run.
        policies: in addition to the heuristics.
        pricing: tariff, cost model and cost weight for the utilities.
        confidence: level of all intervals, in (0, 1).
        n_draws: number of tariff paths for each tree if the tariff is random, 1 or more.

    Raises:
        InvalidSetting: an invalid policy, or policies were trained on all trees.
    """
    further = [] if pricing.budget is None else ["budget"]
    further += ["sleep"] if set(SleepPolicy.needs_actions) <= set(tables[0].actions) else []
    heuristics = [
        Member.read(f"{name}:cost_weight={pricing.cost_weight!r}" if name in _WITH_COST_WEIGHT else name, POLICY)
        for name in [*split_specs(HEURISTICS), *further]
        if name != "novelty" or any(table.tells_novelty for table in tables)
    ]
    seen = {spec: trained_on(path, tables) for spec, path in policy_files(policies).items()}
    every = list(dict.fromkeys([*policies, *heuristics]))
    return evaluate(tables, every, pricing, trained_on=seen, n_draws=n_draws, confidence=confidence)


def trained_on(path: Path, tables: Sequence[ScheduleTable]) -> frozenset[int]:
    """The seeds of the trees that the policy in a file was trained on; errors of `seeds_trained_on`."""
    facts = tables[0].facts
    dataset = validate(TreeConfig, dict(facts["settings"])).dataset
    seen = seeds_trained_on(path, dataset, facts.get("data"))
    return seen & {int(table.facts["seed"]) for table in tables}


def _evaluated(config: EvaluateConfig) -> Evaluated:
    tables = read_tables(config.trees)
    pricing = pricing_of(tables, config)
    return evaluate_policies(tables, config.policies or (), pricing, config.confidence, config.tariff_draws)


def _run(config: EvaluateConfig, run: Run) -> Evaluated:
    evaluated = _evaluated(config)
    write_evaluation(evaluated, run.directory)
    return evaluated


def _facts(config: EvaluateConfig) -> dict[str, Any]:
    tables = read_tables(config.trees)
    return {"trees_digest": tables_digest(tables), "pricing": pricing_of(tables, config).as_json()}


EVALUATE = Experiment(
    "evaluate",
    EvaluateConfig,
    words=lambda config: [config.trees.resolve().name],
    run=_run,
    check=lambda config: check_policies(config.policies or ()),
    report=report,
    prepare=lambda config, _: nothing(_evaluated(config)),
    facts=_facts,
)
