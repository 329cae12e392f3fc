"""Errors are told apart by their type."""

import re
import tokenize
from pathlib import Path

import pytest
import torch

from agent.errors import is_out_of_memory

ROOT = Path(__file__).parents[2]


def test_lack_of_memory_on_a_cpu_is_known_by_pytorch_s_words():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert type(raised.value) is RuntimeError  # if it ever gets a type of its own, that is what to ask for
    assert is_out_of_memory(raised.value)


@pytest.mark.parametrize(
    ("error", "lacks"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (KeyError("memory"), False),
        (RuntimeError("Error(s) in loading state_dict: memory.weight"), False),
        (ValueError("DefaultCPUAllocator: can't allocate memory"), False),
    ],
)
def test_an_error_that_speaks_of_memory_need_not_be_a_lack_of_it(error, lacks):
    assert is_out_of_memory(error) is lacks


def test_no_decision_hangs_on_the_words_of_a_message_but_that_one():
    asked = re.compile(r"\bin str\((e|error|exception)\)|str\((e|error)\)\.(startswith|find|count)")
    found = []
    for package in ("agent", "scenarios"):
        for path in (ROOT / package).rglob("*.py"):
            with tokenize.open(path) as source:
                found += [path.name for line in source if asked.search(line)]
    assert found == ["errors.py"]
