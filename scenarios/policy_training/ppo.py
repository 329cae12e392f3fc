"""Proximal policy optimization with Stable-Baselines3, an optional extra."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from importlib.util import find_spec
from typing import Any, SupportsInt

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from jaxtyping import Float

from agent.errors import InvalidSetting
from agent.policies.features import LIMIT, features_at, features_of
from agent.policies.file import PolicyFile
from agent.policies.observation import Observation
from agent.policies.scoring import written_actions
from agent.randomness import named_seed
from scenarios.config.settings import TrainConfig
from scenarios.policy_training.simulators import Simulator
from scenarios.policy_training.worlds_env import ABSENT, World, WorldsEnv
from scenarios.running.progress import Interrupted, ProgressReporter


def check_installed() -> None:
    """Check that Stable-Baselines3 is installed.

    Raises:
        InvalidSetting: it is missing.
    """
    if find_spec("stable_baselines3") is None:
        raise InvalidSetting(
            "expected Stable-Baselines3 for --method ppo, found none; pip install 'learn-or-memorize[ppo]'"
        )


class OnFeatures(gymnasium.ObservationWrapper[np.ndarray, SupportsInt, np.ndarray]):
    """Replaces observations by their features.

    Args:
        env: a `WorldsEnv`.
        names: of the features.
    """

    def __init__(self, env: gymnasium.Env[np.ndarray, SupportsInt], names: tuple[str, ...]) -> None:
        super().__init__(env)
        self.names = names
        self.observation_space = Box(-LIMIT, LIMIT, (len(names),), np.float32)

    def observation(self, observation: Float[np.ndarray, " fields"]) -> Float[np.ndarray, " n_features"]:
        """The features that a policy computes; absent fields give 0."""
        vector = np.where(observation == ABSENT, np.nan, observation.astype(np.float64))
        left = Observation.names().index("left")
        vector[left] = np.inf if np.isnan(vector[left]) else vector[left]
        return features_of(vector[None], self.names)[0].astype(np.float32)


class PpoTrainer:
    """Trains a small network by PPO; an iteration is `population` lifetimes side by side, and an update.

    Every iteration begins new lifetimes and seeds its own draws, so that training continues from a checkpoint to the
    bit.

    Args:
        config: population, hidden units, learning rate, entropy bonus, what to observe, seed.
        simulator: gives the worlds.

    References:
        Schulman et al., "Proximal policy optimization algorithms", arXiv:1707.06347; Raffin et al.,
        "Stable-Baselines3", JMLR 22, 2021.
    """

    def __init__(self, config: TrainConfig, simulator: Simulator) -> None:
        with _own_draws():
            from stable_baselines3 import PPO
            from stable_baselines3.common.vec_env import DummyVecEnv

        assert config.policy_lr is not None, "the settings fill it in"
        self.config, self.simulator = config, simulator
        self.features, self.n_iterations = features_at(config.observes), 0
        n_steps = config.population * simulator.n_chunks
        worlds = [World(seed, partial(simulator.begin, seed, config.observes)) for seed in simulator.seeds]
        self._envs = DummyVecEnv(
            [lambda: OnFeatures(WorldsEnv(worlds, simulator.cost_weight, actions=simulator.actions), self.features)]
            * config.population
        )
        with _own_draws():
            self._ppo = PPO(
                "MlpPolicy",
                self._envs,
                learning_rate=config.policy_lr,
                n_steps=simulator.n_chunks,
                batch_size=n_steps if n_steps % 2 else n_steps // 2,
                gamma=1.0,
                gae_lambda=0.95,
                ent_coef=config.entropy,
                policy_kwargs={"net_arch": {"pi": [config.hidden], "vf": [config.hidden]}},
                seed=named_seed(config.policy_seed, "weights") % 2**31,
                device="cpu",
            )

    def iterate(self) -> dict[str, float]:
        """Run the population's lifetimes, and update the network.

        Raises:
            Interrupted: the simulator's reporter asked to stop; the network is not updated.
        """
        drawn = named_seed(self.config.policy_seed, f"policy {self.n_iterations}") % 2**31
        returns = _returns(self.simulator.reporter)
        with _own_draws():
            torch.manual_seed(drawn)
            np.random.seed(drawn)  # noqa: NPY002 (Stable-Baselines3 draws from the global generators)
            self._envs.seed(drawn)
            self._ppo._last_obs = None  # begins new lifetimes
            self._ppo.ep_info_buffer = None
            steps = self._ppo.n_steps * self._envs.num_envs
            self._ppo.learn(steps, callback=returns, reset_num_timesteps=False)
        if returns.stopped:
            raise Interrupted
        self.n_iterations += 1
        return {"utility": float(np.mean(returns.utilities)), "best_life": float(np.max(returns.utilities))}

    def policy(self) -> PolicyFile:
        """The greedy policy of the network; each logit is the difference between its output and that of the first."""
        actor = self._ppo.policy
        inner, last = actor.mlp_extractor.policy_net[0], actor.action_net
        weight, bias = last.weight.double(), last.bias.double()
        layers = [
            {"weight": inner.weight.double().tolist(), "bias": inner.bias.double().tolist()},
            {"weight": (weight[1:] - weight[:1]).tolist(), "bias": (bias[1:] - bias[:1]).tolist()},
        ]
        settings = {"features": list(self.features), "layers": layers}
        return PolicyFile("network", settings | written_actions(self.simulator.actions))

    def state(self) -> dict[str, Any]:
        """See Trainer."""
        return {
            "policy": {name: values.clone() for name, values in self._ppo.policy.state_dict().items()},
            "optimizer": deepcopy(self._ppo.policy.optimizer.state_dict()),
            "n_iterations": self.n_iterations,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """See Trainer."""
        self._ppo.policy.load_state_dict(state["policy"])
        self._ppo.policy.optimizer.load_state_dict(deepcopy(state["optimizer"]))
        self.n_iterations = state["n_iterations"]


@contextmanager
def _own_draws() -> Iterator[None]:
    """Restore the global generators afterwards; Stable-Baselines3 seeds them and draws from them."""
    plain, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(plain)
        np.random.set_state(of_numpy)  # noqa: NPY002


def _returns(reporter: ProgressReporter) -> Any:
    from stable_baselines3.common.callbacks import BaseCallback

    class Returns(BaseCallback):
        """Collects the utilities of ended lifetimes, and stops between two chunks if the reporter asks to."""

        def __init__(self) -> None:
            super().__init__()
            self.utilities: list[float] = []
            self.stopped = False

        def _on_step(self) -> bool:
            infos = self.locals["infos"]
            self.utilities += [info["utility"] for info in infos if "schedule" in info]
            reporter.advance(len(infos))
            self.stopped = reporter.stopping
            return not self.stopped

    return Returns()
