"""The exceptions a user can meet. Each message says what was expected, what came, and what to do."""

import sys


class LifetimeError(Exception):
    """Base of every error that the command line shows as one line."""


class InvalidSetting(LifetimeError, ValueError):
    """A setting outside its range, or settings that contradict each other."""


class DatasetError(LifetimeError):
    """A data set that is missing, unreadable or too small for what is asked of it."""


class TrainingDiverged(LifetimeError):
    """The training loss, or the weights, became NaN or infinite.

    Attributes:
        step: number of the failing gradient step, from 0.
        lr: learning rate of the failing step.
    """

    def __init__(self, step: int, lr: float) -> None:
        super().__init__(
            f"expected a finite training loss, got NaN or infinity at gradient step {step} with learning rate {lr:g}; "
            "lower it (lr of --recipe)"
        )
        self.step = step
        self.lr = lr

    def __reduce__(self) -> tuple[type["TrainingDiverged"], tuple[int, float]]:
        return type(self), (self.step, self.lr)  # by default an exception is made anew from its message alone


class RunError(LifetimeError):
    """A run directory that cannot be written, is in use, or holds another configuration."""


class CheckpointError(RunError):
    """A checkpoint that cannot be trusted or does not fit."""


class PolicyError(LifetimeError):
    """A policy that failed, or answered something else than an action."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has run out, whoever raises it.

    On a GPU PyTorch raises a type of its own. On a CPU it raises a plain RuntimeError: this is the one place where
    the words of a message decide anything, and the words are those of c10/core/impl/alloc_cpu.cpp.
    """
    torch = sys.modules.get("torch")  # where nothing has imported it, it has raised nothing
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    words = ("DefaultCPUAllocator: can't allocate memory", "DefaultCPUAllocator: not enough memory")
    return type(error) is RuntimeError and any(each in str(error) for each in words)
