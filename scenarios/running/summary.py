"""The end of a lifetime: its metrics, and what else its summary tells."""

from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from agent.accounting.work import ACCOUNTS
from agent.errors import RunError
from agent.evaluation.scores import Scores
from agent.evaluation.trajectory import Step, Trajectory, scores_as_json
from scenarios.analysis.metrics import average_anytime_accuracy, transfer_metrics, worst_case_accuracy
from scenarios.config.settings import LifetimeConfig
from scenarios.datasets.load import Dataset
from scenarios.streams.scenario import Scenario

N_QUERIES = 10_000
"""Queries whose answers tables give the cost of, whatever the size of the test set."""


def hyperparameters(config: LifetimeConfig, seed: int, policy: str) -> dict[str, Any]:
    """What TensorBoard's table tells runs apart by."""
    shown = (
        "dataset",
        "scenario",
        "tariff",
        "cost",
        "rekey",
        "network",
        "recipe",
        "learner",
        "memory",
        "keys",
    )
    return {"policy": policy, "seed": seed, **{name: getattr(config, name) for name in shown}}


def facts_of(
    config: LifetimeConfig,
    seed: int,
    policy: str,
    dataset: Dataset,
    scenario: Scenario,
    trajectory: Trajectory,
    *,
    cost_unit: str,
) -> dict[str, Any]:
    """What the summary of a lifetime tells beside its last step."""
    matrix = (
        [trajectory.initial_scores, *(trajectory.steps[end].scores for end in scenario.ends)]
        if trajectory.initial_scores
        else []
    )
    return {
        "policy": policy,
        "seed": seed,
        "n_chunks": len(scenario.stream),
        "n_validation": len(scenario.validation),
        "n_test": len(scenario.test),
        "classes": list(dataset.class_names),
        "cost_unit": cost_unit,
        "prior_knowledge": prior_knowledge(dataset),
        "metrics": lifetime_metrics(trajectory, scenario, evaluate_every=config.evaluate_every),
        "accuracy_matrix": [scores_as_json(scores)["per_experience"] for scores in matrix if scores],
        "visited": [scenario.experience[end] for end in scenario.ends] if trajectory.initial_scores else [],
    }


def prior_knowledge(dataset: Dataset) -> dict[str, Any]:
    """What an agent knows of the data at birth, as plain values; everything else comes from its stream."""
    return {
        "n_classes": dataset.n_classes,
        "normalization": asdict(dataset.normalization),
        "normalization_source": "mean and standard deviation of each channel over the whole training part",
        "augmentation_suited_to_the_data": asdict(dataset.augmentation),
    }


def lifetime_metrics(trajectory: Trajectory, scenario: Scenario, *, evaluate_every: int) -> dict[str, float | None]:
    """All metrics of a lifetime; accuracies 0 to 1, costs in the unit of the cost model.

    Args:
        trajectory: as lived in the scenario.
        scenario: says which experience each chunk belonged to; where experiences mix, its nominal one.
        evaluate_every: chunks between evaluations. Anytime accuracy is the mean over those, which lie evenly, and the
            last; those at the ends of experiences are left out, unless (0) there are no others.

    Where an experience brings classes that were never there before, forward transfer is left out: nobody names a class
    before meeting it, so that it is minus the accuracy at birth, whatever the policy.
    """
    steps, last = trajectory.steps, trajectory.steps[-1]
    evaluated = [step for step in steps if step.scores]
    even = [not evaluate_every or (s.step + 1) % evaluate_every == 0 or s is last for s in evaluated]
    current = [scenario.experience[step.step] for step in evaluated]
    anytime = np.array([_per_experience(step.scores) for step in evaluated if step.scores])
    seen = np.array([np.isin(range(anytime.shape[1]), scenario.experience[: step.step + 1]) for step in evaluated])
    worst_case = None
    transfer: dict[str, float | None] = dict.fromkeys(("forgetting", "backward_transfer", "forward_transfer"))
    if trajectory.initial_scores:
        ends = [steps[end].scores for end in scenario.ends]
        matrix = np.array([_per_experience(scores) for scores in (trajectory.initial_scores, *ends) if scores])
        visited = [scenario.experience[end] for end in scenario.ends]
        worst_case = worst_case_accuracy(anytime, seen, current)
        transfer = transfer_metrics(matrix, visited)
        if scenario.new_classes:
            transfer["forward_transfer"] = None
    final = trajectory.accuracy
    megabyte = 1e6
    return {
        "final_accuracy": final.agent,
        "learner_accuracy": final.learner,
        "memory_accuracy": final.memory,
        "prequential_accuracy": _prequential(steps, "agent")[0],
        "prequential_learner_accuracy": _prequential(steps, "learner")[0],
        "prequential_memory_accuracy": _prequential(steps, "memory")[0],
        "prequential_memory_samples": _prequential(steps, "memory")[1],
        "average_anytime_accuracy": average_anytime_accuracy(anytime[even], seen[even]),
        "worst_case_accuracy": worst_case,
        **transfer,
        "learned_fraction": last.learned / last.samples,
        "memory_entries": last.memory_entries,
        "memory_megabytes": last.memory_nbytes / megabyte,
        "held_megabytes": last.held_nbytes / megabyte,
        "recall_mflop_per_query": last.query_flops / 1e6,
        "answer_mflop_per_query": last.answer_flops / 1e6,
        "answer_10000_gflop": (last.recall_flops + N_QUERIES * last.answer_flops) / 1e9,
        **{f"{account}_gflop": last.work[account].flops / 1e9 for account in ACCOUNTS},
        "total_gflop": last.spent_gflop,
        "total_gflop_without_calibration": last.spent_gflop - last.work["calibrate"].flops / 1e9,
        **{f"{account}_cost": last.costs[account] for account in ACCOUNTS},
        "storage_cost": last.costs["storage"],
        "total_cost": last.spent,
        "total_cost_without_calibration": last.spent - last.costs["calibrate"],
    }


def metrics_of(summary: Any, path: Path) -> dict[str, float | None]:
    """The metrics in a summary, which anybody may have edited.

    Raises:
        RunError: they are not there, or no numbers.
    """
    try:
        metrics = {str(name): None if value is None else float(value) for name, value in summary["metrics"].items()}
        odd = [name for name, value in metrics.items() if value is not None and not isfinite(value)]
        odd += [name for name in ("final_accuracy", "average_anytime_accuracy", "total_cost") if name not in metrics]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        odd = [str(error)]
    if odd:
        raise RunError(
            f"expected metrics in every summary of {path}, got none or odd ones ({odd[0]}); --force starts anew"
        )
    return metrics


def _per_experience(scores: Scores) -> list[float]:
    if scores.per_experience is None:
        return [scores.accuracy.agent]
    return [accuracy.agent if accuracy else float("nan") for accuracy in scores.per_experience]


def _prequential(steps: Sequence[Step], part: str) -> tuple[float | None, int]:
    """Share of samples that were classified rightly before they were used, and how many were classified at all.

    The memory classifies nothing while it is empty.
    """
    right, n, before = 0.0, 0, 0
    for step in steps:
        share = getattr(step.prequential, part) if step.prequential else None
        if share is not None:
            right, n = right + share * (step.samples - before), n + step.samples - before
        before = step.samples
    return (right / n if n else None), n
