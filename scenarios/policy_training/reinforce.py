"""REINFORCE: policy gradient on a small network."""

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from agent.operations import Action
from agent.policies import NetworkPolicy, Policy, PolicyFile
from agent.policies.features import features_at, features_of
from agent.policies.observation import Observation
from agent.policies.scoring import written_actions
from agent.randomness import clone_generator, named_generator
from scenarios.config.settings import TrainConfig
from scenarios.policy_training.simulators import Simulator


class SamplingPolicy(Policy):
    """Samples its actions from the softmax of a network's logits, and records features and actions.

    Args:
        network: gives the logits.
        generator: the policy owns it from now on.
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
        return Action(self.network.actions[number])

    def state(self) -> dict[str, Any]:
        """Empty: a training saves no checkpoint during a lifetime."""
        return {}


def drawn_by(logits: Float[np.ndarray, " n_actions"], drawn: float) -> int:
    """The number of an action, sampled with its probability; the last actions have the lowest part of [0, 1).

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


class ReinforceTrainer:
    """Trains a small network by policy gradient.

    The return of a lifetime is its utility. Its advantage is the utility minus the mean utility of the other lifetimes
    of the population under the same seed.

    Args:
        config: population, hidden units, learning rate, entropy bonus, what to observe, seed.
        simulator: tries the policies.

    References:
        Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning", Machine
        Learning 8, 1992; Kool, van Hoof and Welling, "Buy 4 REINFORCE samples, get a baseline for free!", ICLR 2019
        workshop (the baseline).
    """

    def __init__(self, config: TrainConfig, simulator: Simulator) -> None:
        assert config.policy_lr is not None, "the settings fill it in"
        self.config, self.simulator, self.features = config, simulator, features_at(config.observes)
        self.generator = named_generator(config.policy_seed, "policy")
        n_scored = len(simulator.actions) - 1
        self.network = small_network(len(self.features), config.hidden, n_scored, self.generator)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.policy_lr)

    def iterate(self) -> dict[str, float]:
        """Run the population's lifetimes, and take one gradient step."""
        current = self.policy().make()
        assert isinstance(current, NetworkPolicy)

        def sampled(seed: int) -> Policy:
            fork = torch.Generator()
            fork.manual_seed(int(torch.randint(2**62, (), generator=self.generator)))
            return SamplingPolicy(current, fork)

        before = clone_generator(self.generator)
        try:
            tried = self.simulator.utilities([sampled] * self.config.population)
        except BaseException:
            self.generator = before  # an interrupted iteration runs again
            raise
        found = torch.from_numpy(tried.utilities)
        others = (found.sum(dim=0) - found) / (len(found) - 1)
        advantage = (found - others).T.flatten()  # by seed, then by policy
        policies: list[Any] = [each for of_seed in tried.policies.values() for each in of_seed]
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
        """The greedy policy of the network."""
        settings = {"features": list(self.features), "layers": layers_of(self.network)}
        return PolicyFile("network", settings | written_actions(self.simulator.actions))

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


def _surprise_and_entropy(
    logits: Float[Tensor, "lifetimes chunks scored"], chosen: Tensor
) -> tuple[Float[Tensor, " lifetimes"], Float[Tensor, ""]]:
    """-log probability of the chosen actions, summed over each lifetime, and the mean entropy of a decision.

    Args:
        logits: of all actions except the first, whose logit is 0.
        chosen: numbers of actions, lifetimes × chunks.
    """
    if logits.shape[-1] == 1:
        surprise = nn.functional.binary_cross_entropy_with_logits(logits[..., 0], chosen.double(), reduction="none")
        return surprise.sum(dim=1), torch.distributions.Bernoulli(logits=logits[..., 0]).entropy().mean()
    every = torch.distributions.Categorical(logits=nn.functional.pad(logits, (1, 0)))
    return -every.log_prob(chosen).sum(dim=1), every.entropy().mean()


def small_network(n_features: int, hidden: int, n_scored: int, generator: torch.Generator) -> nn.Sequential:
    """One tanh layer, and a logit per action except the first, in float64; logits near 0 make all actions likely."""
    shapes = ((n_features, hidden), (hidden, n_scored))
    inner, last = (nn.utils.skip_init(nn.Linear, *shape, dtype=torch.float64) for shape in shapes)  # no global draws
    with torch.no_grad():
        for layer, gain in ((inner, 1.0), (last, 0.1)):
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator, dtype=torch.float64))
            layer.weight.mul_(gain / layer.in_features**0.5)
            layer.bias.zero_()
    return nn.Sequential(inner, nn.Tanh(), last)


def layers_of(network: nn.Sequential) -> list[dict[str, list[Any]]]:
    """The linear layers of a network, as arguments of `NetworkPolicy`."""
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    return [{"weight": layer.weight.tolist(), "bias": layer.bias.tolist()} for layer in linear]
