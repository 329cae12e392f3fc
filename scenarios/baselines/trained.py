"""Baselines that train on each chunk and store no samples."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from scenarios.baselines.learner import BaselineLearner, strategies
from scenarios.baselines.losses import check_mean_loss
from scenarios.baselines.protocol import Given, Parts, Strategy, check_at_least


@dataclass(frozen=True)
class Naive:
    """Fine-tuning: gradient steps on each chunk, and nothing against forgetting.

    Args:
        passes: over each chunk, 1 or more.

    Raises:
        InvalidSetting: a setting outside its range.

    References:
        Avalanche, `Naive`
    """

    passes: int = 1
    lazy: ClassVar[bool] = False
    augments: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_at_least("passes", self.passes, 1)

    def learner(self, given: Given) -> BaselineLearner:
        """See `Baseline`."""

        def make(parts: Parts) -> Strategy:
            return strategies().naive(parts, passes=self.passes)

        return BaselineLearner(make, given)


@dataclass(frozen=True)
class LwF:
    """Learning without forgetting: the network before this chunk teaches it the classes that it had seen.

    The teacher is a copy of the network, renewed after every chunk.

    Args:
        alpha: weight of the distillation, 0 or more.
        temperature: of the distillation, above 0.
        passes: over each chunk, 1 or more.

    Raises:
        InvalidSetting: a setting outside its range.

    References:
        Li & Hoiem 2016, arXiv:1606.09282 (weight 1, temperature 2); Avalanche, `LwFPlugin`
    """

    alpha: float = 1.0
    temperature: float = 2.0
    passes: int = 1
    lazy: ClassVar[bool] = False
    augments: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_at_least("alpha", self.alpha, 0)
        check_at_least("temperature", self.temperature, 1e-3)
        check_at_least("passes", self.passes, 1)

    def learner(self, given: Given) -> BaselineLearner:
        """See `Baseline`."""
        check_mean_loss(given.training, "lwf")

        def make(parts: Parts) -> Strategy:
            return strategies().lwf(parts, passes=self.passes, alpha=self.alpha, temperature=self.temperature)

        return BaselineLearner(make, given)


@dataclass(frozen=True)
class Ewc:
    """Elastic weight consolidation: weights that earlier chunks needed, by their Fisher information, are held.

    The information is that of each chunk, from one more pass over it.

    Args:
        strength: weight of the penalty, 0 or more; λ in the paper.
        mode: online keeps one penalty, around the last weights, of the summed information; separate one for each chunk,
            so that bytes and work grow with each.
        decay: online: factor on the information of earlier chunks, 0 to 1.
        passes: over each chunk, 1 or more.

    Raises:
        InvalidSetting: a setting outside its range.

    References:
        Kirkpatrick et al. 2017, arXiv:1612.00796; Schwarz et al. 2018, arXiv:1805.06370 (online); Avalanche,
        `EWCPlugin`
    """

    strength: float = 1.0
    mode: Literal["online", "separate"] = "online"
    decay: float = 1.0
    passes: int = 1
    lazy: ClassVar[bool] = False
    augments: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_at_least("strength", self.strength, 0, 1e30)
        check_at_least("decay", self.decay, 0, 1)
        check_at_least("passes", self.passes, 1)

    def learner(self, given: Given) -> BaselineLearner:
        """See `Baseline`."""
        check_mean_loss(given.training, "ewc")

        def make(parts: Parts) -> Strategy:
            own = {"strength": self.strength, "mode": self.mode, "decay": self.decay}
            return strategies().ewc(parts, passes=self.passes, **own)

        return BaselineLearner(make, given)
