"""What memories have in common of which every insert changes every answer."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from agent.accounting.work import Work
from agent.errors import InvalidSetting
from agent.memory.protocol import ReadOut


class Recomputed:
    """The cache of a recall is its read-out, which holds until the version changes."""

    device: torch.device
    n_classes: int

    def again(self, queries: Float[Tensor, "n length"], cache: ReadOut) -> tuple[ReadOut, ReadOut, Work]:
        """The result of a recall whose read-out is known."""
        return ReadOut(cache.probabilities.to(queries.device), cache.novelty), cache, Work()

    def uniform(self, n_settings: int, queries: Float[Tensor, "n length"]) -> Float[Tensor, "n_settings n classes"]:
        """The answers of an empty memory."""
        return torch.full((n_settings, len(queries), self.n_classes), 1 / self.n_classes, device=queries.device)

    def save_cache(self, cache: ReadOut) -> dict[str, Any]:
        """The read-out."""
        return {"probabilities": cache.probabilities.cpu()}

    def load_cache(self, state: dict[str, Any]) -> ReadOut:
        """The read-out that was saved."""
        return ReadOut(state["probabilities"].to(self.device), None)


def check_limit(key_length: int, limit: int, name: str, gigabytes: float, gflop: float) -> None:
    """Raise InvalidSetting for keys of more numbers than the limit of a memory that solves equations of that size.

    Args:
        key_length: numbers in a key.
        limit: of the memory.
        name: of the memory on the command line.
        gigabytes: that its sums would take.
        gflop: that solving would take at each setting.
    """
    if key_length > limit:
        raise InvalidSetting(
            f"expected keys of at most {limit:,} numbers for --memory {name}, got {key_length:,}: it would take "
            f"{gigabytes:,.1f} GB, and {gflop:,.0f} GFLOP for each setting that is tried; pool the keys (--pool), or "
            f"raise the limit (--memory {name}:limit={key_length})"
        )
