"""Every experiment, by name."""

from importlib import import_module
from pathlib import Path
from typing import Any

from agent.errors import RunError

EXPERIMENTS = {
    "simulate": "scenarios.experiments.simulate:SIMULATE",
    "compare": "scenarios.experiments.compare:COMPARE",
    "compare-runs": "scenarios.experiments.finished_runs:COMPARE_RUNS",
    "reproduce": "scenarios.experiments.reproduce:REPRODUCE",
    "curve": "scenarios.experiments.relative_value:CURVE",
    "join-curves": "scenarios.experiments.joined_curves:JOIN_CURVES",
    "beside-curves": "scenarios.experiments.beside_curves:BESIDE_CURVES",
    "sweep": "scenarios.experiments.sweep:SWEEP",
    "tune": "scenarios.experiments.tune:TUNE",
    "tree": "scenarios.oracle.grow:TREE",
    "train-policy": "scenarios.policy_training.train:TRAIN_POLICY",
    "evaluate": "scenarios.oracle.evaluate:EVALUATE",
    "frontier": "scenarios.frontiers.experiment:FRONTIER",
}
"""The `Experiment` of each name, as `module:NAME`; it is imported on first use, because torch takes seconds."""


def find_experiment(name: Any, path: Path | None = None) -> Any:
    """The experiment of a name.

    Args:
        name: as in config.json.
        path: of the run that names it, for the message.

    Raises:
        RunError: there is none of that name.
    """
    if not isinstance(name, str) or name not in EXPERIMENTS:
        raise RunError(f"expected a run of {', '.join(EXPERIMENTS)} at {path}, got one of {name}")
    module, _, found = EXPERIMENTS[name].partition(":")
    return getattr(import_module(module), found)
