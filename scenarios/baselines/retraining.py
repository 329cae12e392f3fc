"""Baselines that train from the initial weights, on what they have stored, before they predict."""

from dataclasses import dataclass
from typing import ClassVar

from agent.learners.training import SCHEDULES, ScheduleName
from scenarios.baselines.learner import RetrainedLearner, strategies
from scenarios.baselines.protocol import Given, check_at_least


@dataclass(frozen=True)
class GDumb:
    """GDumb: stores equally many samples of each class, and trains on these alone, from scratch, before it predicts.

    The paper trains 256 passes of SGD with warm restarts (`epochs=256,schedule=warm-restarts`) and CutMix.

    Args:
        mem: samples that stay, 1 or more.
        epochs: passes over the buffer in a training, 1 or more.
        schedule: the learning rate over a training.

    Raises:
        InvalidSetting: a setting outside its range.

    References:
        Prabhu et al. 2020, "GDumb: a simple approach that questions our progress in continual learning"; Avalanche,
        `ClassBalancedBuffer`
    """

    mem: int = 200
    epochs: int = 30
    schedule: ScheduleName = "one-cycle"
    lazy: ClassVar[bool] = True
    augments: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_at_least("mem", self.mem, 1)
        check_at_least("epochs", self.epochs, 1, 1e5)

    def learner(self, given: Given) -> RetrainedLearner:
        """See `Baseline`."""

        def make() -> object:
            return strategies().balanced_by_class(self.mem)

        return RetrainedLearner(make, given, epochs=self.epochs, schedule=SCHEDULES[self.schedule])


@dataclass(frozen=True)
class Cumulative:
    """Cumulative: stores all samples, and trains on all of them, from scratch, before it predicts: an upper bound.

    Avalanche's trains after each chunk, on with the weights that it has.

    Args:
        epochs: passes over all samples in a training, 1 or more.
        schedule: the learning rate over a training.

    Raises:
        InvalidSetting: a setting outside its range.

    References:
        Avalanche, `Cumulative`
    """

    epochs: int = 4
    schedule: ScheduleName = "one-cycle"
    lazy: ClassVar[bool] = True
    augments: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_at_least("epochs", self.epochs, 1, 1e5)

    def learner(self, given: Given) -> RetrainedLearner:
        """See `Baseline`."""

        def make() -> object:
            return strategies().Everything()

        return RetrainedLearner(make, given, epochs=self.epochs, schedule=SCHEDULES[self.schedule])
