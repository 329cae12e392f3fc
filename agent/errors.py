"""Exceptions for users. Each message says what was expected, what was found, and what to do."""

import sys


class LifetimeError(Exception):
    """Base of every error that the command line shows as one line."""


class InvalidSetting(LifetimeError, ValueError):
    """A setting outside its range, or settings that contradict each other."""


class DatasetError(LifetimeError):
    """A data set that is missing, unreadable or too small."""


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
        return type(self), (self.step, self.lr)  # by default unpickling passes only the message


class RunError(LifetimeError):
    """A run directory that cannot be written, is in use, or holds another configuration."""


class CheckpointError(RunError):
    """A checkpoint that is damaged or belongs to something else."""


class PolicyError(LifetimeError):
    """A policy that failed, or returned something other than an action."""


class ContractError(LifetimeError):
    """A component that gave what its contract excludes, such as probabilities that are NaN."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory is exhausted.

    PyTorch raises its own type on a GPU, but a plain RuntimeError on a CPU, which only its message identifies
    (c10/core/impl/alloc_cpu.cpp).
    """
    torch = sys.modules.get("torch")  # without torch imported, the error is not from torch
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    words = ("DefaultCPUAllocator: can't allocate memory", "DefaultCPUAllocator: not enough memory")
    return type(error) is RuntimeError and any(each in str(error) for each in words)
