"""When the keys in memory are computed anew: those of an older network are stale."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from agent.accounting.work import Work
from agent.data.sample_store import LABEL_NBYTES, SampleStore
from agent.errors import InvalidSetting


@dataclass(frozen=True)
class Rekeying:
    """What an agent does about stale keys; by default nothing.

    Args:
        on_learn: after each change of the learner.
        every: after so many chunks each, if keys are stale then; 0 for never.

    Raises:
        InvalidSetting: a negative number of chunks, or both at once.
    """

    on_learn: bool = False
    every: int = 0

    def __post_init__(self) -> None:
        if self.every < 0 or (self.on_learn and self.every):
            raise InvalidSetting(f"expected re-keying on learning, or every 1 chunk or more, got {self}")

    @property
    def needs_inputs(self) -> bool:
        """Whether raw images have to be kept for it."""
        return self.on_learn or self.every > 0

    @classmethod
    def parse(cls, text: str) -> "Rekeying":
        """Re-keying as written: `never`, `on-learn` or `every:n`.

        Raises:
            InvalidSetting: anything else.
        """
        name, _, number = text.partition(":")
        if text in ("never", "on-learn"):
            return cls(on_learn=text == "on-learn")
        if name != "every" or not number.isascii() or not number.isdigit() or not 0 < int(number) < 10**9:
            raise InvalidSetting(f"expected never, on-learn or every:n with n of 1 chunk or more, got {text!r}")
        return cls(every=int(number))


class RawImages:
    """The inputs (images, most often) behind the entries of a memory, by id, for a network that looks at them again."""

    def __init__(self) -> None:
        self._store = SampleStore(torch.device("cpu"))  # with ids in the place of labels, in ascending order

    def __len__(self) -> int:
        return len(self._store)

    @property
    def nbytes(self) -> int:
        """Bytes of inputs and ids."""
        return self._store.nbytes

    @staticmethod
    def nbytes_of(inputs: Shaped[Tensor, "n ..."]) -> int:
        """Bytes that `append` will write."""
        return inputs.nbytes + len(inputs) * LABEL_NBYTES

    def append(self, inputs: Shaped[Tensor, "n ..."], ids: Int64[Tensor, " n"]) -> Work:
        """Add inputs under ids that ascend, and are higher than all before."""
        before = self.nbytes
        self._store.append(inputs, ids)
        return Work(nbytes=self.nbytes - before)

    def drop(self, ids: Int64[Tensor, " n"]) -> None:
        """Forget the inputs of entries that are no more."""
        if not len(ids) or not len(self):
            return
        stays = ~torch.isin(self._store.labels, ids.cpu())
        left, self._store = self._store, SampleStore(torch.device("cpu"))
        self._store.append(left.rows[stays], left.labels[stays])

    def of(self, ids: Int64[Tensor, " n"]) -> Shaped[Tensor, "n ..."]:
        """The inputs of entries, in the order of `ids`.

        Raises:
            InvalidSetting: an id that no input is held of.
        """
        ids = ids.cpu()
        rows = torch.searchsorted(self._store.labels, ids).clamp_max(max(len(self) - 1, 0))
        found = self._store.labels[rows] if len(self) else torch.full_like(ids, -1)
        if not torch.equal(found, ids):
            missing = int(ids[found != ids][0])
            raise InvalidSetting(f"expected ids of entries that are in memory, got {missing}; was it evicted?")
        return self._store.batch(rows)[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one of them."""
        return tuple(self._store.rows.shape[1:])

    def fork(self) -> "RawImages":
        """The same inputs, and a future of its own."""
        fork = RawImages()
        fork._store = self._store.fork()
        return fork

    def state(self) -> dict[str, Any]:
        """Tensors that `load_state` takes."""
        return self._store.state()

    def load_state(self, state: dict[str, Any]) -> None:
        """Become the inputs whose `state` this is."""
        self._store.load_state(state)
