"""How a process computes: its threads, and what becomes of memory that it frees."""

import ctypes
import os
import platform
from functools import cache

import torch

_KEPT = 2**30
"""Freed blocks of memory of up to so many bytes are kept for the next tensors."""

_MMAP_THRESHOLD, _TRIM_THRESHOLD, _TOP_PAD = -3, -1, -2
"""Parameters of glibc's `mallopt`, as malloc.h numbers them."""


def compute_with(threads: int) -> None:
    """Let PyTorch compute with so many threads, in memory that the process keeps; no number depends on the latter."""
    torch.set_num_threads(threads)
    _keep_freed_memory()


@cache
def _keep_freed_memory() -> None:
    """Have glibc reuse freed memory, which it would else give back, page by page, and ask for again.

    The activations of a batch are tens of megabytes each. glibc maps blocks above 32 MB anew each time, and the system
    then clears every page: with airbench 94, 40% of the time of a forward pass and a sixth of that of a gradient step.
    Other C libraries, users who have set glibc's parameters themselves, and a glibc that refuses so high a threshold,
    as earlier ones do, keep what they have.
    """
    set_by_user = any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in os.environ)
    if platform.libc_ver()[0] == "glibc" and not set_by_user:
        libc = ctypes.CDLL(None)
        if libc.mallopt(_MMAP_THRESHOLD, _KEPT):  # first: any other would end glibc's own adaptation of this one
            libc.mallopt(_TRIM_THRESHOLD, _KEPT)
            libc.mallopt(_TOP_PAD, 2**26)
