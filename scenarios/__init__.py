"""Worlds for agents, and experiments in them.

`run_lifetime` simulates one lifetime from Python; `LifetimeEnv` is a Gymnasium environment of lifetimes:

    env = scenarios.LifetimeEnv(seeds=(0, 1, 2), observes="learner", cost_weight=0.001)
    observation, info = env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step(1)  # LEARN
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scenarios.experiments.simulate import run_lifetime as run_lifetime
    from scenarios.policy_training.environment import LifetimeEnv as LifetimeEnv

__all__ = ["LifetimeEnv", "run_lifetime"]


def __getattr__(name: str) -> Any:
    """Import on first use: torch and Avalanche take seconds, and `lifetime --help` does not need them."""
    if name == "run_lifetime":
        from scenarios.experiments.simulate import run_lifetime

        return run_lifetime
    if name == "LifetimeEnv":
        from scenarios.policy_training.environment import LifetimeEnv

        return LifetimeEnv
    raise AttributeError(f"module 'scenarios' has no attribute {name!r}")
