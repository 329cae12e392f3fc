"""Helpers of all checks."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class BrokenPromise(AssertionError):
    """A component breaks a promise of its contract.

    Attributes:
        promise: the promise, as one sentence.
    """

    def __init__(self, component: object, promise: str, found: str) -> None:
        super().__init__(f"{type(component).__name__} breaks a promise: {promise}; {found}")
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
        component: returns a component, which errors name.
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
                made: object = component()
            except Exception:
                made = component
            raise BrokenPromise(made, name.replace("_", " "), f"it raised {error!r}"[:300]) from error


@contextmanager
def own_randomness(component: object) -> Iterator[None]:
    """Check that the code in this context does not use PyTorch's global generator.

    Raises:
        BrokenPromise: it does.
    """
    before = torch.get_rng_state()
    yield
    if not torch.equal(torch.get_rng_state(), before):
        found = "torch.get_rng_state() has changed"
        raise BrokenPromise(component, "global random state is neither used nor set", found)


def same(a: Any, b: Any) -> bool:
    """Equal to the bit, through dictionaries, lists and tuples."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
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
