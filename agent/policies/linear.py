"""A weighted sum of features."""

from collections.abc import Sequence
from typing import final

import numpy as np
from jaxtyping import Float

from agent.errors import InvalidSetting
from agent.operations import Action, actions, best
from agent.policies.features import features_of, observes_of
from agent.policies.observation import Observation
from agent.policies.protocol import Policy
from agent.policies.ranges import LARGEST, check_actions


@final
class LinearPolicy(Policy):
    """Learns where a weighted sum of features reaches 0.

    LEARN if bias + Σ weight × feature >= 0. With more actions than two each but the first has a sum of its own, that of
    the first is 0, and the highest is taken. What it observes is what its features need.

    Args:
        features: names out of `agent.policies.features.FEATURES`.
        weights: as many, finite; a list of such for each action but the first, where there are more than two.
        bias: finite; as many, likewise.

    Raises:
        InvalidSetting: an unknown feature, another number of weights, one that is NaN or infinite, or more actions than
            there are.
    """

    def __init__(
        self,
        features: tuple[str, ...],
        weights: Sequence[float] | Sequence[Sequence[float]],
        bias: float | Sequence[float],
    ) -> None:
        self.observes = observes_of(features)
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
        if not (np.isfinite(rows).all() and np.isfinite(biases).all()):
            raise InvalidSetting("expected finite weights and a finite bias, got NaN or infinity among them")
        if max(np.abs(rows).max(initial=0), np.abs(biases).max()) > LARGEST:
            raise InvalidSetting(f"expected weights and a bias of at most ±{LARGEST:g}, got larger ones among them")
        check_actions(len(rows))
        self.features, self.weights, self.bias = features, rows.tolist(), biases.tolist()

    def scores(self, x: Float[np.ndarray, "n n_features"]) -> Float[np.ndarray, "n n_actions"]:
        """How much speaks for each action, by observation: nothing for the first."""
        columns = [
            bias + x @ np.array(row, dtype=np.float64) for row, bias in zip(self.weights, self.bias, strict=True)
        ]
        return np.stack([np.zeros(len(x)), *columns], axis=1)

    def decide(self, observation: Observation) -> Action:
        """The action of the highest score; of equals the one of the highest number."""
        x = features_of(observation.vector()[None], self.features)
        return list(actions())[best(self.scores(x))[0]]
