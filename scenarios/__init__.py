"""Worlds for agents, and experiments in them.

`live` simulates one lifetime from Python; `LifetimeEnv` is a Gymnasium environment of lifetimes:

    env = scenarios.LifetimeEnv(seeds=(0, 1, 2), observes="learner", cost_weight=0.001)
    observation, info = env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step(1)  # LEARN
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scenarios.experiments.simulate import live as live
    from scenarios.policy_training.environment import LifetimeEnv as LifetimeEnv

__all__ = ["LifetimeEnv", "live"]


def __getattr__(name: str) -> Any:
    """Import on first use: torch and Avalanche take seconds, and `lifetime --help` does not need them."""
    if name == "live":
        from scenarios.experiments.simulate import live

        return live
    if name == "LifetimeEnv":
        from scenarios.policy_training.environment import LifetimeEnv

        return LifetimeEnv
    raise AttributeError(f"module 'scenarios' has no attribute {name!r}")
