"""Helpers of all checks."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from agent.accounting.work import Work


class BrokenPromise(AssertionError):
    """A component breaks a promise of its contract.

    Attributes:
        promise: the promise, as one sentence.
    """

    def __init__(self, component: object, promise: str, found: str) -> None:
        named = component.func if isinstance(component, partial) else component
        name = (named if isinstance(named, type | FunctionType) else type(named)).__name__
        super().__init__(f"{name} breaks a promise: {promise}; {found}")
        self.promise = promise


def through_a_file(component: object, state: dict[str, Any]) -> dict[str, Any]:
    """A state after saving it to a checkpoint and loading it."""
    content = io.BytesIO()
    try:
        torch.save(state, content)
        content.seek(0)
        return torch.load(content, weights_only=True)
    except Exception as error:
        raise BrokenPromise(component, "states are tensors and plain values", f"{error!r}"[:300]) from error


def run_all(component: Callable[[], object], promises: Sequence[Callable[[], None]]) -> None:
    """Check promises in order; any other error from a component breaks the promise that is being checked.

    Args:
        component: makes a component, which errors name.
        promises: each raises BrokenPromise.
    """
    for promise in promises:
        try:
            promise()
        except BrokenPromise:
            raise
        except Exception as error:
            name = getattr(promise, "__name__", None) or promise.func.__name__  # type: ignore[attr-defined]
            try:
                made = component()
            except Exception as refused:
                found = f"it raised {refused!r}"[:300]
                raise BrokenPromise(component, "a new component can be made", found) from refused
            raise BrokenPromise(made, name.replace("_", " "), f"it raised {error!r}"[:300]) from error


@contextmanager
def own_randomness(component: object, remedy: str = "draw from a generator of its own") -> Iterator[None]:
    """Raise BrokenPromise, with a remedy, if the code in this context uses PyTorch's global generator."""
    before = torch.get_rng_state()
    yield
    if not torch.equal(torch.get_rng_state(), before):
        found = f"torch.get_rng_state() has changed; {remedy}"
        raise BrokenPromise(component, "global random state is neither used nor set", found)


@contextmanager
def untouched(component: object, *given: Tensor) -> Iterator[None]:
    """Raise BrokenPromise if the code in this context writes to the tensors."""
    before = [each.clone() for each in given]
    yield
    if not same(before, list(given)):
        raise BrokenPromise(component, "tensors that it is given are left as they are", "they were written to")


def billed(component: object, what: str, work: Any) -> Work:
    """The work that a call returned; raises BrokenPromise if it cannot be charged."""
    amounts = (work.flops, work.nbytes, work.samples) if isinstance(work, Work) else (None,)
    if not all(type(each) is int and each >= 0 for each in amounts):
        raise BrokenPromise(component, "bills are a Work of whole numbers, 0 or more", f"{what} gave {work}")
    return work


def distributions(values: Any, shape: tuple[int, ...]) -> bool:
    """Whether values have this shape, and are finite, 0 or more, and 1 in sum over the last dimension."""
    if not isinstance(values, Tensor) or values.shape != shape or not bool((values >= 0).all()):
        return False
    return torch.allclose(values.cpu().float().sum(dim=-1), torch.ones(shape[:-1]), atol=1e-4)


def same(a: Any, b: Any) -> bool:
    """Equal to the bit, through dictionaries, lists and tuples; NaN equals NaN."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        return torch.equal(a, b) or bool(((a == b) | ((a != a) & (b != b))).all())
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(type(a) is type(b) and a == b)


def sample_inputs(n: int, shape: tuple[int, ...], labels: Tensor, seed: int) -> Tensor:
    """Inputs that are easy to classify: images (three dimensions) as uint8, others as floats."""
    generator = torch.Generator().manual_seed(seed)
    if len(shape) == 3:  # a bright row for each class
        images = torch.randint(120, (n, *shape), generator=generator)
        images[torch.arange(n), :, labels % shape[1]] += 130
        return images.to(torch.uint8)
    floats = torch.randn(n, *shape, generator=generator)
    floats.flatten(1)[torch.arange(n), labels % shape[0]] += 3
    return floats


def labels_of(n: int, n_classes: int, seed: int) -> Tensor:
    """Random classes of n samples."""
    return torch.randint(n_classes, (n,), generator=torch.Generator().manual_seed(seed))
