"""When keys from an older network are computed again, and the raw inputs that this needs."""

from dataclasses import dataclass

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from agent.data.sample_store import LABEL_NBYTES, SampleStore
from agent.errors import InvalidSetting


@dataclass(frozen=True)
class Rekeying:
    """When an agent re-keys its memory; by default never.

    Args:
        on_learn: after each change of the learner.
        every: chunks between re-keyings of stale keys; 0 for never.

    Raises:
        InvalidSetting: a negative number of chunks, or both at once.
    """

    on_learn: bool = False
    every: int = 0

    def __post_init__(self) -> None:
        if self.every < 0 or (self.on_learn and self.every):
            raise InvalidSetting(f"expected re-keying on learning, or every 1 chunk or more, got {self!r}")

    @property
    def needs_inputs(self) -> bool:
        """Whether the agent must store raw images."""
        return self.on_learn or self.every > 0

    def __str__(self) -> str:
        return f"every:{self.every}" if self.every else "on-learn" if self.on_learn else "never"

    @classmethod
    def parse(cls, text: str) -> "Rekeying":
        """Parse `never`, `on-learn` or `every:n`; raises InvalidSetting for anything else."""
        name, _, number = text.partition(":")
        if text in ("never", "on-learn"):
            return cls(on_learn=text == "on-learn")
        if name != "every" or not number.isascii() or not number.isdigit() or not 0 < int(number) < 10**9:
            raise InvalidSetting(f"expected never, on-learn or every:n with n of 1 chunk or more, got {text!r}")
        return cls(every=int(number))


# Raw inputs lie in a SampleStore whose labels are the ids of the entries, in ascending order.
def raw_nbytes(inputs: Shaped[Tensor, "n ..."]) -> int:
    """Bytes of storing inputs with their ids."""
    return inputs.nbytes + len(inputs) * LABEL_NBYTES


def inputs_of(raw: SampleStore, ids: Int64[Tensor, " n"]) -> Shaped[Tensor, "n ..."]:
    """The inputs of entries, in the order of `ids`; raises InvalidSetting for an id that is not stored."""
    ids = ids.cpu()
    rows = torch.searchsorted(raw.labels, ids).clamp_max(max(len(raw) - 1, 0))
    found = raw.labels[rows] if len(raw) else torch.full_like(ids, -1)
    if not torch.equal(found, ids):
        missing = int(ids[found != ids][0])
        raise InvalidSetting(f"expected ids of entries that are in memory, got {missing}; was it evicted?")
    return raw.batch(rows)[0]


def without(raw: SampleStore, ids: Int64[Tensor, " n"]) -> SampleStore:
    """A store of the raw inputs of all other entries; the same store for no ids."""
    if not len(ids) or not len(raw):
        return raw
    remains = ~torch.isin(raw.labels, ids.cpu())
    left = SampleStore(raw.device)
    left.append(raw.rows[remains], raw.labels[remains])
    return left
