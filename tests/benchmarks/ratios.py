"""Ratios of times measured side by side in one process, so that a slow machine changes both sides alike.

A busy one does not: two threads that meet many times in a millisecond, as small tensors make them, wait for whoever has
lost its core, and far longer than large products do. Measure on an idle machine.
"""

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch

ROUNDS = 5


@dataclass(frozen=True)
class Ratio:
    """How much faster (or dearer) something is than a rival: the median of several rounds, and their extremes."""

    what: str
    rival: str
    rounds: tuple[float, ...]
    target: str = ""
    detail: str = ""
    """What else a reader should know: rates, sizes."""

    @property
    def value(self) -> float:
        """The median."""
        return statistics.median(self.rounds)

    def __str__(self) -> str:
        between = f"[{min(self.rounds):.2f}, {max(self.rounds):.2f}]"
        return f"{self.value:6.2f} {between:<14} {self.what} / {self.rival}" + (f"; {self.detail}" * bool(self.detail))


def seconds_of(function: Callable[[], object]) -> float:
    """Wall-clock time of a call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def alternately(
    *functions: Callable[[], object], rounds: int = ROUNDS, warm_up: bool = True
) -> list[tuple[float, ...]]:
    """Seconds of each function in every round, one function after the other within a round.

    Args:
        functions: what is timed; each call does the same work anew.
        rounds: how often.
        warm_up: call each once before.
    """
    if warm_up:
        for function in functions:
            function()
    found = [[seconds_of(function) for function in functions] for _ in range(rounds)]
    return [tuple(column) for column in zip(*found, strict=True)]


def ratios(numerators: tuple[float, ...], denominators: tuple[float, ...]) -> tuple[float, ...]:
    """Round by round."""
    return tuple(a / b for a, b in zip(numerators, denominators, strict=True))


SGEMM_FLOPS = 2 * 2048**3


def sgemm() -> Callable[[], object]:
    """The product of two 2048 × 2048 matrices: what the machine multiplies at best."""
    a, b = torch.randn(2, 2048, 2048, generator=torch.Generator().manual_seed(0))
    return lambda: a @ b


def processor() -> str:
    """The model, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{named[0]} ({platform.machine()})" if named else platform.machine()


def machine() -> str:
    """What the figures were measured on."""
    cores = torch.get_num_threads()
    names = {"torch": "torch", "numpy": "NumPy", "avalanche-lib": "Avalanche"}
    names |= {"faiss-cpu": "FAISS"} if find_spec("faiss") else {}
    versions = ", ".join(f"{name} {version(package).partition('+')[0]}" for package, name in names.items())
    return f"{processor()}, {cores} threads, Python {platform.python_version()}, {versions}"
