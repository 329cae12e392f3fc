"""The rule by which the precision is chosen."""

import pytest
import torch

from agent.learners import precision
from agent.learners.precision import has_bfloat16, precision_of
from agent.networks import MLP, Airbench, ConvNet

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))
GENERATOR = torch.Generator()
WIDE, NARROW = Airbench(93, n_classes=2, generator=GENERATOR), ConvNet(32, 2, n_classes=2, generator=GENERATOR)
VECTORS = MLP(256, n_classes=2, input_shape=(4,), generator=GENERATOR)


@pytest.fixture
def machine(monkeypatch):
    def of(**capabilities):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
        has_bfloat16.cache_clear()

    yield of
    monkeypatch.undo()
    has_bfloat16.cache_clear()


@pytest.mark.parametrize(
    ("capabilities", "knows"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, True),
        ({"avx512_bf16": False, "amx_bf16": True}, True),
        ({"avx512_bf16": False, "amx_bf16": False, "avx2": True}, False),
        ({"neon": True}, False),
    ],
)
def test_a_cpu_is_asked_for_its_capabilities(machine, capabilities, knows):
    machine(**capabilities)
    assert has_bfloat16() == knows
    assert precision_of("auto", WIDE, CPU) == ("bfloat16" if knows else "float32")
    assert precision_of("auto", NARROW, CPU) == precision_of("auto", VECTORS, CPU) == "float32"


def test_a_torch_that_cannot_tell_counts_as_no(machine, monkeypatch):
    machine()
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not has_bfloat16()


def test_other_devices_and_what_is_wanted_do_not_ask(machine):
    machine(avx512_bf16=True)
    assert precision_of("auto", NARROW, CUDA) == "bfloat16"
    assert precision_of("auto", WIDE, MPS) == "float32"
    for wanted in ("float32", "bfloat16"):
        assert {precision_of(wanted, each, device) for each in (WIDE, NARROW) for device in (CPU, CUDA)} == {wanted}
    assert precision.WIDE == 128
