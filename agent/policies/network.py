"""A small neural network over features."""

from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
from jaxtyping import Float

from agent.errors import InvalidSetting
from agent.operations import Action, actions, best
from agent.policies.features import features_of, observes_of
from agent.policies.observation import Observation
from agent.policies.protocol import Policy
from agent.policies.ranges import LARGEST, check_actions


@final
class NetworkPolicy(Policy):
    """Learns where a small network says so: tanh layers over features, with the logit of LEARN at the end.

    Greedy: LEARN if the logit >= 0. With more actions than two each but the first has a logit, that of the first is 0,
    and the highest is taken. What it observes is what its features need.

    Args:
        features: names out of `agent.policies.features.FEATURES`.
        layers: from the first to the last, each a mapping of `weight`, a list of n_outputs lists of n_inputs numbers,
            and `bias`, a list of n_outputs numbers. tanh follows all but the last, which has one output, or one for
            each action but the first.

    Raises:
        InvalidSetting: an unknown feature; no layer; layers that do not fit each other, or hold NaN or infinity.
    """

    def __init__(self, features: tuple[str, ...], layers: Sequence[Mapping[str, Any]]) -> None:
        self.observes = observes_of(features)
        self.features = features
        self.layers: list[dict[str, list[Any]]] = []
        width = len(features)
        for number, layer in enumerate(layers):
            weight, bias = _checked(layer, f"layer {number}", width)
            self.layers.append({"weight": weight.tolist(), "bias": bias.tolist()})
            width = len(bias)
        if not self.layers:
            raise InvalidSetting("expected layers that end in 1 output, the logit of LEARN, got no layers")
        check_actions(width)

    def scores(self, x: Float[np.ndarray, "n n_features"]) -> Float[np.ndarray, "n n_actions"]:
        """Logits of the actions, by observation: 0 for the first."""
        for layer in self.layers[:-1]:
            x = np.tanh(x @ np.array(layer["weight"]).T + layer["bias"])
        logits = x @ np.array(self.layers[-1]["weight"]).T + self.layers[-1]["bias"]
        return np.concatenate([np.zeros((len(x), 1)), logits], axis=1)

    def decide(self, observation: Observation) -> Action:
        """The action of the highest logit; of equals the one of the highest number."""
        x = features_of(observation.vector()[None], self.features)
        return list(actions())[best(self.scores(x))[0]]


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
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise InvalidSetting(f"expected finite numbers in {name}, got NaN or infinity among them")
    if max(np.abs(weight).max(), np.abs(bias).max()) > LARGEST:
        raise InvalidSetting(f"expected numbers of at most ±{LARGEST:g} in {name}, got larger ones among them")
    return weight, bias
