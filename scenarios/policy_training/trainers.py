"""Learners of policies: each iteration tries some policies in a field, and moves towards the better ones."""

import math
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from cmaes import CMA
from jaxtyping import Float
from torch import Tensor, nn

from agent.operations import OPERATIONS, Action, actions
from agent.policies import Policy, RandomPolicy
from agent.policies.features import accuracy_seen, features_at, features_of
from agent.policies.file import PolicyFile
from agent.policies.forecast import counts_before_each, fit_prior, terms_of
from agent.policies.network import NetworkPolicy
from agent.policies.observation import Observation
from agent.policies.protocol import Observes
from agent.randomness import clone_generator, named_generator, named_seed
from scenarios.config.settings import TrainConfig
from scenarios.policy_training.simulators import Simulator


@runtime_checkable
class Trainer(Protocol):
    """Learns a policy, iteration by iteration; what it draws and knows is in its state."""

    def iterate(self) -> dict[str, float]:
        """Try policies and learn from how they did; returns what to draw: `utility`, the mean of those tried, ..."""

    def policy(self) -> PolicyFile:
        """The policy learned so far, without its training."""

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `load_state` goes on to the bit."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Become, newly made, the trainer whose `state` this is."""


class CmaTrainer:
    """Weights of a `LinearPolicy` by covariance matrix adaptation.

    Keeps the policy of the highest mean utility that it has met. It is restored by asking it the same questions and
    telling it the utilities that were found, which are its state.

    Args:
        config: population, what to observe, seed.
        simulator: where policies are tried.

    References:
        Hansen, "The CMA evolution strategy: a tutorial", arXiv:1604.00772; Nomura and Shibata, "cmaes: a simple yet
        practical Python library for CMA-ES", arXiv:2402.01373.
    """

    def __init__(self, config: TrainConfig, simulator: Simulator) -> None:
        self.simulator, self.features = simulator, features_at(config.observes)
        self._cma = CMA(
            mean=np.zeros((len(self.features) + 1) * (len(OPERATIONS) - 1)),
            sigma=1.0,
            population_size=config.population,
            seed=named_seed(config.policy_seed, "policy") % 2**32,
        )
        self._found: list[list[float]] = []
        self._best, self._weights = -np.inf, np.zeros(self._cma.dim)

    def iterate(self) -> dict[str, float]:
        """A generation."""
        asked = [self._cma.ask() for _ in range(self._cma.population_size)]
        policies = [self._policy(weights).make() for weights in asked]  # without a mind of their own: shared
        found = self.simulator.utilities([partial(_same, policy) for policy in policies]).mean(axis=1)
        self._tell(asked, found.tolist())
        spread = float(np.sqrt(np.diag(self._cma._C)).mean() * self._cma._sigma)
        return {"utility": float(found.mean()), "best_utility": self._best, "deviation_of_weights": spread}

    def _tell(self, asked: list[np.ndarray], found: list[float]) -> None:
        self._found.append(found)
        for weights, reached in zip(asked, found, strict=True):
            if reached > self._best:
                self._best, self._weights = reached, weights
        self._cma.tell([(weights, -reached) for weights, reached in zip(asked, found, strict=True)])

    def _policy(self, weights: Float[np.ndarray, " n"]) -> PolicyFile:
        *of_features, bias = weights.reshape(len(OPERATIONS) - 1, -1).T.tolist()
        rows = np.array(of_features).reshape(len(self.features), -1).T.tolist()
        one = len(OPERATIONS) == 2
        found = {"weights": rows[0] if one else rows, "bias": bias[0] if one else bias}
        return PolicyFile("linear", {"features": list(self.features), **found})

    def policy(self) -> PolicyFile:
        """The best one met, its weights scaled by a power of two, which changes no decision, to be read with ease."""
        largest = float(np.abs(self._weights).max())
        return self._policy(np.ldexp(self._weights, -math.frexp(largest)[1]))

    def state(self) -> dict[str, Any]:
        """See Trainer."""
        return {"found": [list(found) for found in self._found]}

    def load_state(self, state: dict[str, Any]) -> None:
        """See Trainer."""
        for found in state["found"]:
            self._tell([self._cma.ask() for _ in range(self._cma.population_size)], found)


class SamplingPolicy(Policy):
    """Draws its actions by the logits of a network, and remembers what it did.

    Args:
        network: gives the logits.
        generator: taken over.
    """

    def __init__(self, network: NetworkPolicy, generator: torch.Generator) -> None:
        self.network, self.generator, self.observes = network, generator, network.observes
        self.x: list[np.ndarray] = []
        self.chosen: list[int] = []

    def decide(self, observation: Observation) -> Action:
        """Each action with the probability that the network gives it."""
        x = features_of(observation.vector()[None], self.network.features)
        drawn = torch.rand((), generator=self.generator, dtype=torch.float64).item()
        number = drawn_by(self.network.scores(x)[0], drawn)
        self.x.append(x[0])
        self.chosen.append(number)
        return list(actions())[number]

    def state(self) -> dict[str, Any]:
        """Nothing: it is never saved in the middle of a life."""
        return {}


def drawn_by(logits: Float[np.ndarray, " n_actions"], drawn: float) -> int:
    """The number of an action: the last with its probability, else the one before it with its own, and so on.

    Args:
        logits: of each action, 0 for the first.
        drawn: uniform in [0, 1).
    """
    for number in range(len(logits) - 1, 0, -1):
        others = np.exp(logits[:number] - logits[number]).sum()
        probability = float(1 / (1 + others))
        if drawn < probability:
            return number
        drawn = (drawn - probability) / (1 - probability)
    return 0


def _surprise_and_entropy(logits: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Of lifetimes: -log probability of what was chosen, summed over chunks, and the mean entropy of a choice.

    Args:
        logits: lifetimes × chunks × actions but the first, whose logit is 0.
        chosen: lifetimes × chunks, numbers of actions.
    """
    if logits.shape[-1] == 1:
        surprise = nn.functional.binary_cross_entropy_with_logits(logits[..., 0], chosen.double(), reduction="none")
        return surprise.sum(dim=1), torch.distributions.Bernoulli(logits=logits[..., 0]).entropy().mean()
    every = torch.distributions.Categorical(logits=nn.functional.pad(logits, (1, 0)))
    return -every.log_prob(chosen).sum(dim=1), every.entropy().mean()


class ReinforceTrainer:
    """A small network by policy gradient; the baseline of a life are the others of its seed, lived at the same time.

    A lifetime's return is its utility, and its advantage is that less the mean utility of the population's other
    lifetimes under the same seed.

    Args:
        config: population, hidden units, learning rate, entropy bonus, what to observe, seed.
        simulator: where policies are tried.

    References:
        Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning", Machine
        Learning 8, 1992; Kool, van Hoof and Welling, "Buy 4 REINFORCE samples, get a baseline for free!", ICLR 2019
        workshop (the baseline).
    """

    def __init__(self, config: TrainConfig, simulator: Simulator) -> None:
        assert config.policy_lr is not None, "the settings fill it in"
        self.config, self.simulator, self.features = config, simulator, features_at(config.observes)
        self.generator = named_generator(config.policy_seed, "policy")
        self.network = small_network(len(self.features), config.hidden, self.generator)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.policy_lr)

    def iterate(self) -> dict[str, float]:
        """Live the population once, and take a step."""
        lived: dict[int, list[SamplingPolicy]] = {seed: [] for seed in self.simulator.seeds}
        current = self.policy().make()
        assert isinstance(current, NetworkPolicy)

        def sampled(seed: int) -> Policy:
            fork = torch.Generator()
            fork.manual_seed(int(torch.randint(2**62, (), generator=self.generator)))
            lived[seed].append(SamplingPolicy(current, fork))
            return lived[seed][-1]

        before = clone_generator(self.generator)
        try:
            found = torch.from_numpy(self.simulator.utilities([sampled] * self.config.population))
        except BaseException:
            self.generator = before  # stopped in the middle: this iteration is lived again
            raise
        others = (found.sum(dim=0) - found) / (len(found) - 1)
        advantage = (found - others).T.flatten()  # by seed, then by policy, as they were made
        policies = [policy for seed in self.simulator.seeds for policy in lived[seed]]
        x = torch.from_numpy(np.stack([policy.x for policy in policies]))
        chosen = torch.tensor([policy.chosen for policy in policies])
        surprise, entropy = _surprise_and_entropy(self.network(x), chosen)
        loss = (advantage / advantage.std().clamp_min(1e-6) * surprise).mean() - self.config.entropy * entropy
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {
            "utility": float(found.mean()),
            "best_of_population": float(found.mean(dim=1).max()),
            "entropy": entropy.item(),
        }

    def policy(self) -> PolicyFile:
        """The network, acting greedily."""
        return PolicyFile("network", {"features": list(self.features), "layers": layers_of(self.network)})

    def state(self) -> dict[str, Any]:
        """See Trainer."""
        return {
            "network": {name: values.clone() for name, values in self.network.state_dict().items()},
            "optimizer": deepcopy(self.optimizer.state_dict()),
            "generator": self.generator.get_state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """See Trainer."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(deepcopy(state["optimizer"]))
        self.generator.set_state(state["generator"])


class Watching(Policy):
    """Decides by lot, and remembers what it saw.

    Args:
        p: probability of learning.
        seed: of what it draws.
        observes: what it sees.
    """

    def __init__(self, p: float, seed: int, observes: Observes) -> None:
        self.lot, self.observes = RandomPolicy(p, seed=seed), observes
        self.seen: list[float] = []
        self.learned: list[bool] = []

    def decide(self, observation: Observation) -> Action:
        """By lot."""
        action = self.lot.decide(observation)
        self.seen.append(accuracy_seen(observation, self.observes))
        self.learned.append(action == Action.LEARN)
        return action

    def state(self) -> dict[str, Any]:
        """Nothing: it is never saved in the middle of a life."""
        return {}


class ForecastTrainer:
    """The prior of a `ForecastPolicy` from lifetimes decided by lot, each with its own share of learning.

    Args:
        config: population, cost weight, what to observe, seed.
        simulator: where they are lived.
    """

    NOISE = 0.05

    def __init__(self, config: TrainConfig, simulator: Simulator) -> None:
        self.config, self.simulator = config, simulator
        self._observes: Observes = config.observes
        self._rows: list[list[list[float]]] = []
        """By iteration: of every chunk of every life its world, the four terms and the accuracy seen."""

    def iterate(self) -> dict[str, float]:
        """Live a population."""
        lived: list[tuple[int, Watching]] = []
        n_lived = self.config.population * len(self._rows)

        def watching(i: int) -> Callable[[int], Policy]:
            def made(seed: int) -> Policy:
                drawn = named_seed(self.config.policy_seed, f"policy {n_lived + i} of world {seed}")
                policy = Watching((i + 0.5) / self.config.population, drawn, self._observes)
                lived.append((seed, policy))
                return policy

            return made

        found = self.simulator.utilities([watching(i) for i in range(self.config.population)])
        rows = []
        for seed, policy in lived:
            world = self.simulator.worlds[seed]
            terms = terms_of(counts_before_each(np.array(policy.learned)), len(policy.learned))
            rows += [[world, *each, seen] for each, seen in zip(terms.tolist(), policy.seen, strict=True)]
        self._rows.append(rows)
        return {"utility": float(found.mean()), "error": self._error()}

    def _error(self) -> float:
        table = np.array([row for rows in self._rows for row in rows])
        mean, _ = self._fit(table)
        return float(np.sqrt(np.mean((table[:, 1:5] @ np.array(mean) - table[:, 5]) ** 2)))

    def _fit(self, table: np.ndarray) -> tuple[tuple[float, ...], tuple[tuple[float, ...], ...]]:
        return fit_prior(table[:, 1:5], table[:, 5], table[:, 0].astype(np.int64), noise=self.NOISE)

    def policy(self) -> PolicyFile:
        """The forecaster with the prior that these lifetimes tell."""
        settings: dict[str, Any] = {"cost_weight": self.config.cost_weight, "noise": self.NOISE}
        settings["observes"] = self._observes
        if self._rows:
            mean, precision = self._fit(np.array([row for rows in self._rows for row in rows]))
            settings |= {"mean": list(mean), "precision": [list(row) for row in precision]}
        return PolicyFile("forecast", settings)

    def state(self) -> dict[str, Any]:
        """See Trainer."""
        return {"rows": [[list(row) for row in rows] for rows in self._rows]}

    def load_state(self, state: dict[str, Any]) -> None:
        """See Trainer."""
        self._rows = [[list(row) for row in rows] for rows in state["rows"]]


def _same(policy: Policy, seed: int) -> Policy:
    return policy


def small_network(n_features: int, hidden: int, generator: torch.Generator) -> nn.Sequential:
    """One tanh layer and a logit for each action but the first, in float64; near 0, so that all actions are tried."""
    shapes = ((n_features, hidden), (hidden, len(OPERATIONS) - 1))
    inner, last = (nn.utils.skip_init(nn.Linear, *shape, dtype=torch.float64) for shape in shapes)  # no global draws
    with torch.no_grad():
        for layer, gain in ((inner, 1.0), (last, 0.1)):
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator, dtype=torch.float64))
            layer.weight.mul_(gain / layer.in_features**0.5)
            layer.bias.zero_()
    return nn.Sequential(inner, nn.Tanh(), last)


def layers_of(network: nn.Sequential) -> list[dict[str, list[Any]]]:
    """The linear layers of a network, as `NetworkPolicy` takes them."""
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    return [{"weight": layer.weight.tolist(), "bias": layer.bias.tolist()} for layer in linear]
