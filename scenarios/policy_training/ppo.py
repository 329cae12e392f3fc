"""A policy by proximal policy optimization, through Stable-Baselines3: an optional extra."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from importlib.util import find_spec
from math import inf
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
from agent.randomness import named_seed
from scenarios.config.settings import TrainConfig, TreeConfig
from scenarios.policy_training.environment import ABSENT, LifetimeEnv
from scenarios.policy_training.simulators import LiveSimulator, Simulator, TableSimulator
from scenarios.running.progress import Interrupted, ProgressReporter, SilentReporter


def check_installed() -> None:
    """Refuse where Stable-Baselines3 is missing.

    Raises:
        InvalidSetting: it is.
    """
    if find_spec("stable_baselines3") is None:
        raise InvalidSetting(
            "expected Stable-Baselines3 for --method ppo, found none; pip install 'learn-or-memorize[ppo]'"
        )


class OnFeatures(gymnasium.ObservationWrapper[np.ndarray, SupportsInt, np.ndarray]):
    """Shows the features of an observation in its stead.

    Args:
        env: a `LifetimeEnv`.
        names: of the features.
    """

    def __init__(self, env: gymnasium.Env[np.ndarray, SupportsInt], names: tuple[str, ...]) -> None:
        super().__init__(env)
        self.names = names
        self.observation_space = Box(-LIMIT, LIMIT, (len(names),), np.float32)

    def observation(self, observation: Float[np.ndarray, " fields"]) -> Float[np.ndarray, " n_features"]:
        """Features; what is absent is 0, as for a policy."""
        vector = np.where(observation == ABSENT, np.nan, observation.astype(np.float64))
        left = Observation.names().index("left")
        vector[left] = np.inf if np.isnan(vector[left]) else vector[left]
        return features_of(vector[None], self.names)[0].astype(np.float32)


class PpoTrainer:
    """A small network by PPO on `LifetimeEnv`s, side by side; an iteration is `population` lifetimes and an update.

    Every iteration begins new lifetimes and seeds its own draws, so that one that goes on from a checkpoint does what
    one that was never stopped would do.

    Args:
        config: population, hidden units, learning rate, entropy bonus, what to observe, seed.
        simulator: whose worlds to live in.

    References:
        Schulman et al., "Proximal policy optimization algorithms", arXiv:1707.06347; Raffin et al.,
        "Stable-Baselines3", JMLR 22, 2021.
    """

    def __init__(self, config: TrainConfig, simulator: Simulator) -> None:
        with _own_draws():
            from stable_baselines3 import PPO
            from stable_baselines3.common.vec_env import DummyVecEnv

        assert config.policy_lr is not None, "the settings fill it in"
        self.config, self.features, self.n_iterations = config, features_at(config.observes), 0
        self._field = simulator
        n_steps = config.population * simulator.n_chunks
        self._envs = DummyVecEnv(
            [lambda: OnFeatures(_environment(config, simulator), self.features)] * config.population
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
        """Live the population, and update.

        Raises:
            Interrupted: the simulator's reporter asked to stop; nothing has been learned of this iteration.
        """
        drawn = named_seed(self.config.policy_seed, f"policy {self.n_iterations}") % 2**31
        returns = _returns(self._field.reporter if isinstance(self._field, LiveSimulator) else SilentReporter())
        with _own_draws():
            torch.manual_seed(drawn)
            np.random.seed(drawn)  # noqa: NPY002 (Stable-Baselines3 draws from the global generators)
            self._envs.seed(drawn)
            self._ppo._last_obs = None  # lifetimes anew
            self._ppo.ep_info_buffer = None
            steps = self._ppo.n_steps * self._envs.num_envs
            self._ppo.learn(steps, callback=returns, reset_num_timesteps=False)
        if returns.stopped:
            raise Interrupted
        self.n_iterations += 1
        return {"utility": float(np.mean(returns.utilities)), "best_life": float(np.max(returns.utilities))}

    def policy(self) -> PolicyFile:
        """The network, acting greedily; the logit of LEARN is that of its two outputs' difference."""
        actor = self._ppo.policy
        inner, last = actor.mlp_extractor.policy_net[0], actor.action_net
        weight, bias = last.weight.double(), last.bias.double()
        layers = [
            {"weight": inner.weight.double().tolist(), "bias": inner.bias.double().tolist()},
            {"weight": (weight[1:] - weight[:1]).tolist(), "bias": (bias[1:] - bias[:1]).tolist()},
        ]
        return PolicyFile("network", {"features": list(self.features), "layers": layers})

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
    """Leave the global generators as they were, which Stable-Baselines3 seeds and draws from."""
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
        """Collects the utilities of lifetimes that end, and stops between two chunks where that is asked for."""

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


def _environment(config: TrainConfig, simulator: Simulator) -> LifetimeEnv:
    if isinstance(simulator, TableSimulator):
        pricing = simulator.table_set.pricing
        return LifetimeEnv(
            tables=list(simulator.table_set.by_seed.values()),
            cost_weight=pricing.cost_weight,
            observes=config.observes,
            tariff=pricing.tariff,
            cost=pricing.cost,
            budget=inf if pricing.budget is None else pricing.budget,
        )
    assert isinstance(simulator, LiveSimulator)
    named = {name: getattr(config, name) for name in TreeConfig.model_fields if name not in TreeConfig.unused}
    for name in ("seeds", "first_seed", "search", "beam_width", "cost_weight"):
        del named[name]
    return LifetimeEnv(
        seeds=simulator.seeds,
        cost_weight=config.cost_weight,
        observes=config.observes,
        data_dir=simulator.data_dir,
        download=simulator.download,
        **named,
    )
