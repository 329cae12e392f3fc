"""Worlds for agents, and experiments in them.

`run_lifetime` simulates one lifetime from Python, a `Method` is what `lifetime compare` compares, and `LifetimeEnv` is
a Gymnasium environment of lifetimes:

    env = scenarios.LifetimeEnv(seeds=(0, 1, 2), observes="learner", cost_weight=0.001)
    observation, info = env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step(1)  # LEARN
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scenarios.config.method import Method as Method
    from scenarios.experiments.simulate import run_lifetime as run_lifetime
    from scenarios.policy_training.environment import LifetimeEnv as LifetimeEnv

__all__ = ["LifetimeEnv", "Method", "run_lifetime"]


_WHERE = {
    "LifetimeEnv": "scenarios.policy_training.environment",
    "Method": "scenarios.config.method",
    "run_lifetime": "scenarios.experiments.simulate",
}


def __getattr__(name: str) -> Any:
    """Import on first use: torch and Avalanche take seconds, and `lifetime --help` does not need them."""
    if name not in _WHERE:
        raise AttributeError(f"module 'scenarios' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
