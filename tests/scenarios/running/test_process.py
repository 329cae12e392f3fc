"""What a process does with freed memory."""

import os
import platform
import subprocess
import sys

import pytest

from scenarios.running import process

SCRIPT = """
import resource, torch
from scenarios.running.process import compute_with

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        torch.ones(10_000_000)  # above the largest block that glibc keeps by default
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
compute_with(1)
print(before, min(faults() for _ in range(4)), torch.get_num_threads())
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc is told to keep freed memory")
def test_freed_memory_is_used_again_unless_the_user_has_set_its_parameters() -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    found = []
    for environment in (clean, {**clean, "MALLOC_TOP_PAD_": "131072"}):
        ran = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
        )
        found.append([int(number) for number in ran.stdout.split()])
    (before, after, threads), (_, left, _) = found
    assert threads == 1
    assert after < before / 10
    assert left > before / 2


@pytest.mark.parametrize("accepts", [True, False])
def test_what_glibc_refuses_leaves_all_else_as_it_is(monkeypatch: pytest.MonkeyPatch, accepts: bool) -> None:
    for name in os.environ:
        if name.startswith(("MALLOC_", "GLIBC_TUNABLES")):
            monkeypatch.delenv(name)
    asked: list[int] = []

    class Glibc:
        def __init__(self, _: None) -> None: ...

        def mallopt(self, number: int, _: int) -> int:
            asked.append(number)
            return accepts

    monkeypatch.setattr(process.ctypes, "CDLL", Glibc)
    monkeypatch.setattr(process.platform, "libc_ver", lambda: ("glibc", "2.17"))
    process._keep_freed_memory.__wrapped__()
    mmap_threshold, *others = asked
    assert mmap_threshold == -3
    assert len(others) == 2 * accepts
