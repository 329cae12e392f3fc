"""A weighted sum of features."""

from typing import final

import numpy as np
from jaxtyping import Float

from agent.errors import InvalidSetting
from agent.policies.features import features_of, observes_of
from agent.policies.observation import Observation
from agent.policies.protocol import Action, Policy
from agent.policies.ranges import LARGEST


@final
class LinearPolicy(Policy):
    """Learns where a weighted sum of features reaches 0.

    LEARN if bias + Σ weight × feature >= 0. What it observes is what its features need.

    Args:
        features: names out of `agent.policies.features.FEATURES`.
        weights: as many, finite.
        bias: finite.

    Raises:
        InvalidSetting: an unknown feature, another number of weights, or one that is NaN or infinite.
    """

    def __init__(self, features: tuple[str, ...], weights: tuple[float, ...], bias: float) -> None:
        self.observes = observes_of(features)
        if len(weights) != len(features):
            raise InvalidSetting(f"expected a weight for each of {len(features)} features, got {len(weights)} weights")
        if not np.isfinite([*weights, bias]).all():
            raise InvalidSetting("expected finite weights and a finite bias, got NaN or infinity among them")
        if np.abs([*weights, bias]).max() > LARGEST:
            raise InvalidSetting(f"expected weights and a bias of at most ±{LARGEST:g}, got larger ones among them")
        self.features, self.weights, self.bias = features, weights, bias

    def scores(self, x: Float[np.ndarray, "n n_features"]) -> Float[np.ndarray, " n"]:
        """How much speaks for LEARN, by observation; 0 or more means LEARN."""
        return self.bias + x @ np.array(self.weights, dtype=np.float64)

    def decide(self, observation: Observation) -> Action:
        """LEARN where the score is at least 0."""
        x = features_of(observation.vector()[None], self.features)
        return Action.LEARN if self.scores(x)[0] >= 0 else Action.MEMORIZE
