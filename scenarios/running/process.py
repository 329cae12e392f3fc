"""How a process computes: its threads, and what becomes of memory that it frees."""

import ctypes
import os
import platform
from functools import cache

import torch

_KEPT = 2**30
"""Freed blocks of memory of up to so many bytes are kept for the next tensors."""

_MALLOPT = {-1: _KEPT, -2: 2**26, -3: _KEPT}
"""Parameters of glibc's `mallopt`: M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_THRESHOLD."""


def compute_with(threads: int) -> None:
    """Let PyTorch compute with so many threads, in memory that the process keeps; no number depends on the latter."""
    torch.set_num_threads(threads)
    _keep_freed_memory()


@cache
def _keep_freed_memory() -> None:
    """Have glibc reuse freed memory, which it would else give back, page by page, and ask for again.

    The activations of a batch are tens of megabytes each. glibc maps blocks above 32 MB anew each time, and the system
    then clears every page: with airbench 94, a third of the time of a forward pass and a fifth of that of a gradient
    step. Other C libraries, and users who have set glibc's parameters themselves, keep what they have.
    """
    set_by_user = any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in os.environ)
    if platform.libc_ver()[0] == "glibc" and not set_by_user:
        libc = ctypes.CDLL(None)
        for number, value in _MALLOPT.items():
            libc.mallopt(number, value)
