"""Policies that score every action from features of the observation: a weighted sum, and a small neural network."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
from jaxtyping import Float

from agent.errors import InvalidSetting
from agent.operations import OPERATIONS, Action, best
from agent.policies.features import features_of, observes_of
from agent.policies.observation import Observation
from agent.policies.protocol import Policy
from agent.policies.ranges import check_numbers


class ScoringPolicy(Policy):
    """Takes the action with the highest score; decisions depend on the current observation alone.

    The first action, MEMORIZE, has the score 0. If several scores are equal, the last of them is taken: LEARN before
    MEMORIZE. The policy observes what its features need.

    Tables call `scores` for many observations at once, so subclasses have no state and do not override `decide`.

    Args:
        features: names out of `agent.policies.features.FEATURES`.
        n_scored: number of actions with a score of their own; these follow the first.
        actions: names of the actions, those with a score after the first; None for the first ones of
            `agent.operations.OPERATIONS`.

    Raises:
        InvalidSetting: an unknown feature, an unknown action, or another number of actions than there can be.
    """

    def __init__(self, features: tuple[str, ...], n_scored: int, actions: tuple[str, ...] | None = None) -> None:
        if not 1 <= n_scored < len(OPERATIONS):
            known = ", ".join(OPERATIONS)
            raise InvalidSetting(
                f"expected scores of 1 to {len(OPERATIONS) - 1} actions out of {known}, got {n_scored}"
            )
        self.actions = tuple(OPERATIONS)[: 1 + n_scored] if actions is None else actions
        """Names of the actions, in the order of their scores."""
        if len(set(self.actions)) != 1 + n_scored or not OPERATIONS.keys() >= set(self.actions):
            got = ", ".join(self.actions)
            raise InvalidSetting(f"expected {1 + n_scored} actions out of {', '.join(OPERATIONS)}, got {got}")
        self.needs_actions = tuple(name for name in self.actions if OPERATIONS[name].option)
        self.observes, self.features = observes_of(features), features

    @abstractmethod
    def scores(self, x: Float[np.ndarray, "n n_features"]) -> Float[np.ndarray, "n n_actions"]:
        """The score of each action, one row per observation."""

    @final
    def decide(self, observation: Observation) -> Action:
        """The action with the highest score."""
        x = features_of(observation.vector()[None], self.features)
        return Action(self.actions[best(self.scores(x))[0]])


def written_actions(actions: Sequence[str]) -> dict[str, list[str]]:
    """The setting of a policy file that names the actions; none for LEARN and MEMORIZE, which need no name."""
    return {} if len(actions) == 2 else {"actions": list(actions)}


@final
class LinearPolicy(ScoringPolicy):
    """Learns if a weighted sum of features is at least 0.

    LEARN if bias + Σ weight × feature >= 0. With more than two actions, each except the first has its own sum.

    Args:
        features: names out of `agent.policies.features.FEATURES`.
        weights: one finite number per feature; with more than two actions, a list of them per action except the first.
        bias: a finite number; with more than two actions, one per action except the first.
        actions: names of the actions, from the first; None for the first ones that there are.

    Raises:
        InvalidSetting: an unknown feature, a wrong number of weights, a number that is NaN, infinite or above 1e30, or
            more actions than exist.
    """

    def __init__(
        self,
        features: tuple[str, ...],
        weights: Sequence[float] | Sequence[Sequence[float]],
        bias: float | Sequence[float],
        actions: tuple[str, ...] | None = None,
    ) -> None:
        try:
            rows, biases = (np.array(each, dtype=np.float64) for each in (weights, bias))
        except ValueError:
            raise InvalidSetting("expected as many weights for each action, got different numbers of them") from None
        rows, biases = rows.reshape(1, -1) if rows.ndim < 2 else rows, biases.reshape(-1)
        if rows.shape[1] != len(features) or len(rows) != len(biases):
            raise InvalidSetting(
                f"expected a weight for each of {len(features)} features, got {rows.shape[1]} weights"
                + ("" if len(rows) == len(biases) == 1 else f" for {len(rows)} actions, and {len(biases)} biases")
            )
        check_numbers("weights and bias", rows, biases)
        super().__init__(features, len(rows), actions)
        self.weights, self.bias = rows.tolist(), biases.tolist()

    def scores(self, x: Float[np.ndarray, "n n_features"]) -> Float[np.ndarray, "n n_actions"]:
        """The weighted sum of each action, one row per observation; 0 for the first action."""
        columns = [
            bias + x @ np.array(row, dtype=np.float64) for row, bias in zip(self.weights, self.bias, strict=True)
        ]
        return np.stack([np.zeros(len(x)), *columns], axis=1)


@final
class NetworkPolicy(ScoringPolicy):
    """Learns if a small network of tanh layers over features says so.

    LEARN if the logit >= 0. With more than two actions, each except the first has a logit.

    Args:
        features: names out of `agent.policies.features.FEATURES`.
        layers: from the first to the last, each a mapping of `weight`, a list of n_outputs lists of n_inputs numbers,
            and `bias`, a list of n_outputs numbers. tanh follows all layers except the last, which has one output per
            action except the first.
        actions: names of the actions, from the first; None for the first ones that there are.

    Raises:
        InvalidSetting: an unknown feature or action; no layer; layers that do not fit each other, or hold NaN, infinity
            or a number above 1e30.
    """

    def __init__(
        self,
        features: tuple[str, ...],
        layers: Sequence[Mapping[str, Any]],
        actions: tuple[str, ...] | None = None,
    ) -> None:
        if not layers:
            raise InvalidSetting("expected layers that end in 1 output, the logit of LEARN, got no layers")
        checked, width = [], len(features)
        for number, layer in enumerate(layers):
            weight, bias = _checked(layer, f"layer {number}", width)
            checked.append({"weight": weight.tolist(), "bias": bias.tolist()})
            width = len(bias)
        super().__init__(features, width, actions)
        self.layers = checked

    def scores(self, x: Float[np.ndarray, "n n_features"]) -> Float[np.ndarray, "n n_actions"]:
        """The logits of the actions, one row per observation; 0 for the first action."""
        for layer in self.layers[:-1]:
            x = np.tanh(x @ np.array(layer["weight"]).T + layer["bias"])
        logits = x @ np.array(self.layers[-1]["weight"]).T + self.layers[-1]["bias"]
        return np.concatenate([np.zeros((len(x), 1)), logits], axis=1)


def _checked(
    layer: Mapping[str, Any], name: str, n_inputs: int
) -> tuple[Float[np.ndarray, "n_outputs {n_inputs}"], Float[np.ndarray, " n_outputs"]]:
    if layer.keys() != {"weight", "bias"}:
        raise InvalidSetting(f"expected weight and bias in {name}, got {', '.join(map(repr, layer)) or 'nothing'}")
    try:
        weight, bias = (np.array(layer[key], dtype=np.float64) for key in ("weight", "bias"))
    except (TypeError, ValueError, OverflowError):
        raise InvalidSetting(f"expected lists of numbers, equally long, in {name}, got something else") from None
    if not weight.size or bias.ndim != 1 or weight.shape != (len(bias), n_inputs):
        raise InvalidSetting(
            f"expected a weight of shape (n_outputs, {n_inputs}) and as many biases as outputs in {name}, got shapes "
            f"{weight.shape} and {bias.shape}"
        )
    check_numbers(name, weight, bias)
    return weight, bias
