"""The exceptions a user can meet. Each message says what was expected, what came, and what to do."""


class LifetimeError(Exception):
    """Base of every error that the command line shows as one line."""


class InvalidSetting(LifetimeError, ValueError):
    """A setting outside its range, or settings that contradict each other."""


class DatasetError(LifetimeError):
    """A data set that is missing, unreadable or too small for what is asked of it."""


class TrainingDiverged(LifetimeError):
    """The training loss became NaN or infinite.

    Attributes:
        step: gradient steps done before the failing one, since the learner's first.
        lr: learning rate of the failing step.
    """

    def __init__(self, step: int, lr: float) -> None:
        super().__init__(
            f"expected a finite training loss, got a non-finite one at gradient step {step} with learning rate {lr:g}; "
            "lower the learning rate (--lr)"
        )
        self.step = step
        self.lr = lr


class RunError(LifetimeError):
    """A run directory that cannot be written, is in use, or holds another configuration."""
