"""Counts FLOPs of what really runs, with PyTorch's formulas."""

from collections.abc import Callable, Mapping
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class FlopCount(TorchDispatchMode):
    """While it is entered, the FLOPs of all convolutions and matrix products add up.

    It counts what `torch.utils.flop_counter.FlopCounterMode` counts. That also attributes FLOPs to modules, which takes
    as long as a small network's training does.

    Args:
        formulas: of further operators: FLOPs given the operator's arguments.
    """

    def __init__(self, formulas: Mapping[Any, Callable[..., int]] | None = None) -> None:
        super().__init__()
        self.flops = 0
        self._formulas = formulas or {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator, and count it."""
        found = func(*args, **(kwargs or {}))
        operator = func._overloadpacket
        if operator in self._formulas:
            self.flops += self._formulas[operator](*args)
        elif operator in flop_registry:
            self.flops += flop_registry[operator](*args, **(kwargs or {}), out_val=found)
        return found
