"""Trainers of policies: each iteration tries some policies in a simulator, and moves towards the better ones."""

from typing import Any, Protocol, runtime_checkable

from agent.policies import PolicyFile
from scenarios.config.settings import TrainConfig
from scenarios.policy_training.cma import CmaTrainer
from scenarios.policy_training.forecast import ForecastTrainer
from scenarios.policy_training.reinforce import ReinforceTrainer
from scenarios.policy_training.simulators import Simulator


@runtime_checkable
class Trainer(Protocol):
    """Trains a policy, iteration by iteration; its state includes its random generators."""

    def iterate(self) -> dict[str, float]:
        """Try policies and learn from their utilities; returns curves to plot, among them the mean `utility`."""

    def policy(self) -> PolicyFile:
        """The policy trained so far, without facts about its training."""

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `load_state` continues to the bit."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned, in a new trainer of the same settings."""


def make_trainer(config: TrainConfig, simulator: Simulator) -> Trainer:
    """The trainer of the method in the settings."""
    if config.method == "ppo":  # an optional extra
        from scenarios.policy_training.ppo import PpoTrainer

        return PpoTrainer(config, simulator)
    if config.method == "cma":
        return CmaTrainer(config, simulator)
    return (ReinforceTrainer if config.method == "reinforce" else ForecastTrainer)(config, simulator)
