"""The summary of a lifetime: its metrics and other facts."""

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
from agent.learners import Learner
from agent.learners.head import HeadLearner
from agent.learners.predicting import Predicting
from agent.networks import Network
from scenarios.analysis.metrics import average_anytime_accuracy, transfer_metrics, worst_case_accuracy
from scenarios.config.members import Member
from scenarios.config.method import Method
from scenarios.config.settings import LifetimeConfig
from scenarios.datasets.load import Dataset
from scenarios.running.world import cost_model
from scenarios.streams.scenario import Scenario

N_QUERIES = 10_000
"""Number of queries for which tables report the cost of answers, independent of the size of the test set."""

REFUSED = "refused_fraction"
"""The metric of lifetimes with enforced budgets: the share of the chunks on which the policy's action was refused."""
MISSED = "missed_fraction"
"""The metric of lifetimes on streams that do not wait: the share of the chunks that were missed."""
_COUNTED = {"n_refused": REFUSED, "n_missed": MISSED}
"""The numbers of which they are shares."""

PROBE = "linear_probe"
"""The metric of lifetimes with a linear probe: its accuracy, from 0 to 1."""


def hyperparameters(config: LifetimeConfig, seed: int, method: Method) -> dict[str, Any]:
    """The settings in TensorBoard's table of hyperparameters."""
    of_world, of_method = (each.model_dump(mode="json") for each in (config, method))
    shown: tuple[str, ...] = ("network", "recipe", "learner", "memory", "keys", "rekey")
    if method.consolidate.images:
        shown += ("consolidate",)
    if method.both:
        shown += ("both",)
    if method.baseline is not None:
        shown = ("network", "recipe", "baseline")
    return {
        "policy": of_method["policy"],
        "seed": seed,
        **{name: of_world[name] for name in ("dataset", "scenario", "tariff", "cost")},
        **({"label_delay": config.label_delay} if config.label_delay else {}),
        **{name: of_method[name] for name in shown},
    }


def facts_of(
    config: LifetimeConfig, seed: int, method: Method, world: tuple[Dataset, Scenario], trajectory: Trajectory
) -> dict[str, Any]:
    """The facts in the summary of a lifetime, in addition to its last step."""
    dataset, scenario = world
    counted = {}
    if config.enforce:
        counted["n_refused"] = sum(step.wanted is not None for step in trajectory.steps)
    if config.speed is not None:
        counted["n_missed"] = sum(step.missed for step in trajectory.steps)
    ends = scenario.ends if trajectory.initial_scores else ()
    last = trajectory.steps[-1].scores
    matrix = [trajectory.initial_scores, *(trajectory.steps[end].scores for end in ends)]
    return {
        "method": method.label,
        "policy": str(method.policy),
        "seed": seed,
        "n_chunks": len(scenario.stream),
        "n_validation": len(scenario.validation),
        "n_test": len(scenario.test),
        "classes": list(dataset.class_names),
        "cost_unit": cost_model(config).unit,
        "prior_knowledge": prior_knowledge(dataset, method.network),
        **counted,
        "metrics": _lifetime_metrics(trajectory, scenario, evaluate_every=config.evaluate_every)
        | {_COUNTED[name]: n / len(trajectory.steps) for name, n in counted.items()}
        | ({PROBE: last.linear_probe} if last and last.linear_probe is not None else {}),
        "accuracy_matrix": [scores_as_json(scores)["per_experience"] for scores in matrix if scores],
        "visited": [scenario.experience[end] for end in ends],
    }


def facts_of_training(learner: Learner) -> dict[str, Any]:
    """What the recipe chose, for learners that have one."""
    return {"training": learner.facts()} if isinstance(learner, Predicting | HeadLearner) else {}


def prior_knowledge(dataset: Dataset, network: Member) -> dict[str, Any]:
    """What an agent with a network knows about the data at initialization, as plain values."""
    kind, source = network.factory, "mean and standard deviation of each channel over the whole training part"
    assert isinstance(kind, type)
    assert issubclass(kind, Network)
    pretrained = {"pretrained": kind.pretrained} if kind.pretrained else {}
    return {
        "n_classes": dataset.n_classes,
        "normalization": asdict(kind.normalization or dataset.normalization),
        "normalization_source": "that of the network's pretraining" if kind.normalization else source,
        "augmentation_suited_to_the_data": asdict(dataset.augmentation),
    } | pretrained


def _lifetime_metrics(trajectory: Trajectory, scenario: Scenario, *, evaluate_every: int) -> dict[str, float | None]:
    """All metrics of a lifetime: accuracies from 0 to 1, costs in the unit of the cost model.

    Forward transfer is None if experiences bring new classes: no agent predicts a class before it has seen it, so
    forward transfer would be minus the accuracy at initialization for every policy.

    Args:
        trajectory: of a lifetime in the scenario.
        scenario: gives the experience of each chunk; if experiences mix, the nominal one.
        evaluate_every: chunks between evaluations. Anytime accuracy is the mean over these evaluations and the last
            one. Evaluations at the ends of experiences only count if there are no others (0).
    """
    steps, last = trajectory.steps, trajectory.steps[-1]
    evaluated = [step for step in steps if step.scores]
    regular = [not evaluate_every or (s.step + 1) % evaluate_every == 0 or s is last for s in evaluated]
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
    prequential_memory, n_answered_by_memory = _prequential(steps, "memory")
    return {
        "final_accuracy": final.agent,
        "learner_accuracy": final.learner,
        "memory_accuracy": final.memory,
        "prequential_accuracy": _prequential(steps, "agent")[0],
        "prequential_learner_accuracy": _prequential(steps, "learner")[0],
        "prequential_memory_accuracy": prequential_memory,
        "prequential_memory_samples": n_answered_by_memory,
        "average_anytime_accuracy": average_anytime_accuracy(anytime[regular], seen[regular]),
        "worst_case_accuracy": worst_case,
        **transfer,
        **_resource_metrics(last),
    }


def _resource_metrics(last: Step) -> dict[str, float | None]:
    """Sizes, work and costs at the last step of a lifetime."""
    return {
        "learned_fraction": last.learned / last.samples,
        "memory_entries": last.memory_entries,
        "memory_megabytes": last.memory_nbytes / 1e6,
        "held_megabytes": last.held_nbytes / 1e6,
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
    """The metrics in a summary that was read from a file.

    Raises:
        RunError: a metric is missing or not a finite number.
    """
    try:
        metrics = {str(name): None if value is None else float(value) for name, value in summary["metrics"].items()}
        faults = [name for name, value in metrics.items() if value is not None and not isfinite(value)]
        faults += [name for name in ("final_accuracy", "average_anytime_accuracy", "total_cost") if name not in metrics]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        faults = [str(error)]
    if faults:
        raise RunError(
            f"expected metrics in every summary of {path}, got none or invalid ones ({faults[0]}); --force starts anew"
        )
    return metrics


def _per_experience(scores: Scores) -> list[float]:
    if scores.per_experience is None:
        return [scores.accuracy.agent]
    return [accuracy.agent if accuracy else float("nan") for accuracy in scores.per_experience]


def _prequential(steps: Sequence[Step], part: str) -> tuple[float | None, int]:
    """The share of samples classified correctly when they came, and the number of samples classified.

    An empty memory classifies nothing.
    """
    correct, n, before = 0.0, 0, 0
    for step in steps:
        share = getattr(step.prequential, part) if step.prequential else None
        asked = step.samples - before if step.newest is None else step.newest
        if share is not None:
            correct, n = correct + share * asked, n + asked
        before = step.samples
    return (correct / n if n else None), n
