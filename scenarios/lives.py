"""Lifetimes of one seed, lived together, recorded, checkpointed and resumed."""

import json
from collections.abc import Iterable, Mapping, Sequence
from math import inf, isfinite
from pathlib import Path
from typing import Any

import numpy as np

from agent.agent import Agent
from agent.checkpoint import Checkpoints
from agent.costs import COST_MODELS, CostModel
from agent.errors import RunError
from agent.exam import Accuracy, Exam, Scores
from agent.learners.protocol import unwatched
from agent.lifetime import Lives
from agent.policies import Policy
from agent.policies.registry import POLICIES
from agent.record import LifetimeRecord
from agent.rekeying import Rekeying
from agent.trajectory import Step, Trajectory, scores_as_json
from agent.work import ACCOUNTS
from scenarios.build import build_agent
from scenarios.chunking import Chunking
from scenarios.config import LivesConfig
from scenarios.datasets import Dataset, load_dataset
from scenarios.metrics import average_anytime_accuracy, continual_metrics
from scenarios.recording import live_on_record
from scenarios.scenario import Scenario
from scenarios.specs import canonical, make
from scenarios.streams import SCENARIOS
from scenarios.tariffs import TARIFFS
from scenarios.watching import Unwatched, Watcher


def resolve_specs(config: LivesConfig) -> dict[str, str]:
    """The scenario, tariff and cost model of the settings in their one spelling, each tried as far as it can be.

    Raises:
        InvalidSetting: an unknown name or setting.
    """
    Rekeying.parse(config.rekey)
    make(config.cost, COST_MODELS, "cost model")
    make(config.tariff, TARIFFS, "tariff", n_chunks=1, seed=0)
    return {
        "scenario": canonical(config.scenario, SCENARIOS, "scenario"),
        "tariff": canonical(config.tariff, TARIFFS, "tariff"),
        "cost": canonical(config.cost, COST_MODELS, "cost model"),
    }


def cost_model(config: LivesConfig) -> CostModel:
    """The prices of the settings."""
    return make(config.cost, COST_MODELS, "cost model")


def load_world(
    config: LivesConfig, seed: int, *, data_dir: Path | None, download: bool, watcher: Watcher
) -> tuple[Dataset, Scenario]:
    """The data set, and the scenario with its tariff.

    Raises:
        DatasetError: from loading.
        InvalidSetting: settings that the data set does not allow.
    """
    dataset = load_dataset(
        config.dataset,
        seed=seed,
        n_train=config.train_size,
        n_validation=config.validation_size,
        n_test=config.test_size,
        data_dir=data_dir,
        download=download,
        progress=watcher.reach,
    )
    chunking = Chunking(config.chunks, config.chunk_size)
    scenario = make(config.scenario, SCENARIOS, "scenario", dataset=dataset, chunking=chunking, seed=seed)
    prices = make(config.tariff, TARIFFS, "tariff", n_chunks=len(scenario.stream), seed=seed)
    return dataset, scenario.priced(prices)


def try_world(
    config: LivesConfig, seed: int, policies: Sequence[str], *, data_dir: Path | None, download: bool
) -> None:
    """Try whether lifetimes could begin: load the data, cut the stream, build the agent.

    Raises:
        DatasetError: from loading.
        InvalidSetting: settings that the data set or the machine do not allow.
    """
    world = load_world(config, seed, data_dir=data_dir, download=download, watcher=Unwatched())
    newborn(config, seed, world, _made(policies, seed))


def newborn(config: LivesConfig, seed: int, world: tuple[Dataset, Scenario], policies: Mapping[str, Policy]) -> Lives:
    """Lifetimes about to begin.

    Args:
        config: resolved settings.
        seed: of the agent.
        world: of the same seed.
        policies: by name.

    Raises:
        InvalidSetting: settings that the data set or the machine do not allow.
    """
    dataset, scenario = world
    several = scenario.n_experiences > 1
    exam = Exam(
        scenario.validation,
        scenario.test,
        every=config.evaluate_every,
        after=frozenset(scenario.ends) if several else frozenset(),
        groups=scenario.group if several else None,
        prequential=bool(config.prequential),
    )
    agent = build_agent(config, dataset, seed=seed, progress=unwatched)
    agent.rekeying = Rekeying.parse(config.rekey)
    return Lives(
        agent,
        scenario.stream,
        policies,
        exam,
        costs=cost_model(config),
        budget=inf if config.budget is None else config.budget,
        calibrate_every=config.calibrate_every or 0,
    )


def live_together(
    config: LivesConfig,
    seed: int,
    world: tuple[Dataset, Scenario],
    records: Mapping[str, LifetimeRecord],
    checkpoints: Checkpoints,
    watcher: Watcher,
) -> None:
    """Live under every policy that has not finished, from the last checkpoint on if there is one.

    Args:
        config: all settings.
        seed: of the agent and of what policies draw.
        world: of the same seed.
        records: by policy as written, where each lifetime is written down.
        checkpoints: of these lifetimes.
        watcher: told of progress; asked after each chunk whether to stop.

    Raises:
        Interrupted: the watcher asked to stop; a checkpoint has been written.
        InvalidSetting: settings that the data set or the machine do not allow.
        TrainingDiverged: from the learner; what was recorded stays.
        RunError: from writing, or checkpoints none of which can be used.
    """
    dataset, scenario = world
    n_unfinished = sum(record.summary() is None for record in records.values())
    watcher.expect(len(scenario.stream) * n_unfinished)

    def finish(policy: str, trajectory: Trajectory, agent: Agent) -> None:
        facts = _facts(config, seed, policy, dataset, scenario, trajectory)
        shown = _hyperparameters(config, seed, policy)
        records[policy].finish(trajectory, facts, settings=shown, weights=agent.learner.weights())

    live_on_record(
        lambda policies: newborn(config, seed, world, _made(policies, seed)),
        records,
        checkpoints,
        watcher,
        title=f"seed {seed}:",
        checkpoint_every=config.checkpoint_every,
        on_step=lambda steps: watcher.advance(len(steps)),
        on_end=finish,
    )


def write_truth(scenario: Scenario) -> str:
    """What the experimenter knows of a scenario and the agent does not, as JSON."""
    truth = {"experience": scenario.experience, "price": scenario.stream.prices, **scenario.truth}
    return json.dumps({"scenario": scenario.name, "by_chunk": truth}) + "\n"


def _made(specs: Iterable[str], seed: int) -> dict[str, Policy]:
    return {spec: make(spec, POLICIES, "policy", seed=seed) for spec in specs}


def _hyperparameters(config: LivesConfig, seed: int, policy: str) -> dict[str, Any]:
    shown = (
        "dataset",
        "scenario",
        "tariff",
        "cost",
        "rekey",
        "protocol",
        "depth",
        "width",
        "epochs",
        "batch",
        "lr",
        "keys",
    )
    return {"policy": policy, "seed": seed, **{name: getattr(config, name) for name in shown}}


def _facts(
    config: LivesConfig, seed: int, policy: str, dataset: Dataset, scenario: Scenario, trajectory: Trajectory
) -> dict[str, Any]:
    matrix = [trajectory.birth, *(trajectory.steps[end].scores for end in scenario.ends)] if trajectory.birth else []
    return {
        "policy": policy,
        "seed": seed,
        "n_chunks": len(scenario.stream),
        "n_validation": len(scenario.validation),
        "n_test": len(scenario.test),
        "classes": list(dataset.class_names),
        "cost_unit": cost_model(config).unit,
        "metrics": lifetime_metrics(trajectory, scenario, evaluate_every=config.evaluate_every),
        "accuracy_matrix": [scores_as_json(scores)["per_experience"] for scores in matrix if scores],
        "visited": [scenario.experience[end] for end in scenario.ends] if trajectory.birth else [],
    }


def lifetime_metrics(trajectory: Trajectory, scenario: Scenario, *, evaluate_every: int) -> dict[str, float | None]:
    """All metrics of a lifetime; accuracies 0 to 1, costs in the unit of the cost model.

    Args:
        trajectory: as lived in the scenario.
        scenario: says which experience each chunk belonged to; where experiences mix, its nominal one.
        evaluate_every: chunks between evaluations. Anytime accuracy is the mean over those, which lie evenly, and the
            last; those at the ends of experiences are left out, unless (0) there are no others.
    """
    steps, last = trajectory.steps, trajectory.steps[-1]
    evaluated = [step for step in steps if step.scores]
    even = [not evaluate_every or (s.step + 1) % evaluate_every == 0 or s is last for s in evaluated]
    current = [scenario.experience[step.step] for step in evaluated]
    anytime = np.array([_per_experience(step.scores) for step in evaluated if step.scores])
    seen = np.array([np.isin(range(anytime.shape[1]), scenario.experience[: step.step + 1]) for step in evaluated])
    apart: dict[str, float | None] = dict.fromkeys(("worst_case_accuracy", "forgetting", "backward_transfer"))
    apart["forward_transfer"] = None
    if trajectory.birth:
        ends = [steps[end].scores for end in scenario.ends]
        matrix = np.array([_per_experience(scores) for scores in (trajectory.birth, *ends) if scores])
        visited = [scenario.experience[end] for end in scenario.ends]
        apart = continual_metrics(matrix, visited, anytime=anytime, current=current, seen=seen)
    final = trajectory.accuracy
    megabyte = 1e6
    return {
        "final_accuracy": final.agent,
        "learner_accuracy": final.learner,
        "memory_accuracy": final.memory,
        "prequential_accuracy": _prequential(steps, "agent"),
        "prequential_learner_accuracy": _prequential(steps, "learner"),
        "prequential_memory_accuracy": _prequential(steps, "memory"),
        **apart,
        "average_anytime_accuracy": average_anytime_accuracy(anytime[even], seen[even]),
        "learned_fraction": last.learned / last.samples,
        "memory_entries": last.memory_entries,
        "memory_megabytes": last.memory_nbytes / megabyte,
        "held_megabytes": last.held_nbytes / megabyte,
        "recall_mflop_per_query": last.query_flops / 1e6,
        **{f"{account}_gflop": last.work[account].flops / 1e9 for account in ACCOUNTS},
        "total_gflop": last.spent_gflop,
        **{f"{account}_cost": last.costs[account] for account in ACCOUNTS},
        "storage_cost": last.costs["storage"],
        "total_cost": last.spent,
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


def _prequential(steps: Sequence[Step], part: str) -> float | None:
    """Share of all samples met that were classified rightly before they were used."""
    right, before = 0.0, 0
    for step in steps:
        if not isinstance(step.prequential, Accuracy):
            return None
        right += getattr(step.prequential, part) * (step.samples - before)
        before = step.samples
    return right / before
