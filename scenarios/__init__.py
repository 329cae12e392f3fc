"""Worlds for agents, and experiments in them.

The experiments are calls that return their results as values: `simulate`, `compare`, `reproduce`, `sweep`, `tune`,
`curve`, `tree`, `train_policy`, `evaluate` and `frontier` take the options of the command of the same name; `resume`
goes on with an interrupted run, and `load` reads a finished one.

    found = scenarios.compare(policies="static:k=50 loss", seeds=3)
    found.frame(), found.lifetimes(), found.steps()  # pandas frames
    scenarios.load("runs/curve/NAME")

`read_predictions` reads what a lifetime predicts at its end, if its run kept it (`keep_predictions=True`).
`run_lifetime` simulates one lifetime in memory, a `Method` is what `compare` compares, and `LifetimeEnv` is a Gymnasium
environment of lifetimes:

    env = scenarios.LifetimeEnv(seeds=(0, 1, 2), observes="learner", cost_weight=0.001)
    observation, info = env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step(1)  # LEARN
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.storage.predictions import read_predictions as read_predictions
    from scenarios.calls import load as load
    from scenarios.calls import resume as resume
    from scenarios.config.method import Method as Method
    from scenarios.experiments.simulate import run_lifetime as run_lifetime
    from scenarios.policy_training.environment import LifetimeEnv as LifetimeEnv
    from scenarios.results import Results as Results

_CALLS = (
    "beside_curves",
    "compare",
    "compare_runs",
    "curve",
    "evaluate",
    "frontier",
    "join_curves",
    "load",
    "reproduce",
    "resume",
    "simulate",
    "sweep",
    "train_policy",
    "tree",
    "tune",
)
_WHERE = {
    "LifetimeEnv": "scenarios.policy_training.environment",
    "Method": "scenarios.config.method",
    "Results": "scenarios.results",
    "run_lifetime": "scenarios.experiments.simulate",
    "read_predictions": "agent.storage.predictions",
    **dict.fromkeys((*_CALLS, "load", "resume"), "scenarios.calls"),
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    """Import on first use: torch and Avalanche take seconds, and `lifetime --help` does not need them."""
    if name not in _WHERE:
        raise AttributeError(f"module 'scenarios' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
