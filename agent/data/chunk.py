"""Labelled inputs, and the chunks of a stream."""

from dataclasses import dataclass

from jaxtyping import Int64, Shaped
from torch import Tensor


@dataclass(frozen=True)
class LabelledInputs:
    """Inputs of one shape with their classes: uint8 images, or float feature vectors."""

    inputs: Shaped[Tensor, "n ..."]
    labels: Int64[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Chunk:
    """The samples of one step of a stream, which the agent learns from or memorizes."""

    step: int
    """Position in the stream, from 0."""
    sample_ids: Int64[Tensor, " n"]
    """Rows in the training set; a row occurs again where a stream repeats an image."""
    inputs: Shaped[Tensor, "n ..."]
    labels: Int64[Tensor, " n"]
    price: float = 1.0
    """Price of compute at this step, as a multiple of the cost model's."""
    queries: int = 0
    """Number of queries about inputs like the chunk's, which the agent answers and pays before it uses the chunk."""

    def __len__(self) -> int:
        return len(self.labels)
