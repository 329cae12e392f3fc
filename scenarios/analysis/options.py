"""Ways to spend a lifetime, as arrays: the accuracy that each option reaches, and the resources that it takes."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Float, Int64

from agent.accounting.costs import CostModel


@dataclass(frozen=True)
class Options:
    """Options to choose one from, measured under the same seeds. Row i of every array belongs to the same seed.

    Attributes:
        names: what each option is called beside its memory, such as `20%` or `LLMM`.
        memories: the label of each option's memory; empty for an option that leaves its memory empty.
        learned: share of the stream that is learned, from 0 to 1.
        accuracy: accuracy in [0, 1] at the end of the stream.
        flops: FLOPs that the agent pays during the stream, each times the tariff at its time.
        query_flops: FLOPs of an answer, for each query after the stream.
        recall_flops: FLOPs of a recall, once for all queries together; nothing without a query.
        written: bytes written.
        byte_chunks: sum of the bytes held over all chunks of the stream.
    """

    names: tuple[str, ...]
    memories: tuple[str, ...]
    learned: Float[np.ndarray, " options"]
    accuracy: Float[np.ndarray, "seeds options"]
    flops: Float[np.ndarray, "seeds options"]
    query_flops: Float[np.ndarray, "seeds options"]
    recall_flops: Float[np.ndarray, "seeds options"]
    written: Float[np.ndarray, "seeds options"]
    byte_chunks: Float[np.ndarray, "seeds options"]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def n_seeds(self) -> int:
        """Number of seeds."""
        return len(self.accuracy)

    def label(self, i: int) -> str:
        """The name of option i with its memory."""
        return f"{self.memories[i]} {self.names[i]}".strip()

    def computing(self, queries: int) -> Float[np.ndarray, "seeds options"]:
        """FLOPs of the stream, and of so many queries after it, at a price of 1."""
        return self.flops + queries * self.query_flops + (self.recall_flops if queries else 0)

    def cost(self, model: CostModel, queries: int) -> Float[np.ndarray, "seeds options"]:
        """Cost of the stream and so many queries, in the unit of the cost model."""
        return (
            self.computing(queries) * model.per_flop
            + self.written * model.per_byte_written
            + self.byte_chunks * model.per_byte_chunk
        )

    def at(self, indices: Int64[np.ndarray, " chosen"]) -> "Options":
        """The options with these indices."""
        arrays = {name: getattr(self, name)[:, indices] for name in AMOUNTS}
        names, memories = ([each[i] for i in indices] for each in (self.names, self.memories))
        return replace(self, names=tuple(names), memories=tuple(memories), learned=self.learned[indices], **arrays)

    def without_repeats(self) -> "Options":
        """The options without those that equal an earlier one in accuracy and resources under every seed."""
        columns = np.concatenate([getattr(self, name) for name in AMOUNTS]).T
        _, first = np.unique(columns, axis=0, return_index=True)
        return self.at(np.sort(first).astype(np.int64))


AMOUNTS = tuple(field.name for field in fields(Options))[3:]
"""The arrays with a row for each seed."""


def joined(parts: Sequence[Options]) -> Options:
    """All options of several sets under the same seeds, in order; the sets are at least one."""
    arrays = {name: np.concatenate([getattr(part, name) for part in parts], axis=1) for name in AMOUNTS}
    return Options(
        tuple(name for part in parts for name in part.names),
        tuple(memory for part in parts for memory in part.memories),
        np.concatenate([part.learned for part in parts]),
        **arrays,
    )
