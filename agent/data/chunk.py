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
    """The samples of one step of a stream, which the agent learns from or memorizes.

    Where labels come later than inputs, these are the samples whose labels have just come.
    """

    step: int
    """Position in the stream, from 0."""
    sample_ids: Int64[Tensor, " n"]
    """Rows in the training set; a row occurs again where a stream repeats an image."""
    inputs: Shaped[Tensor, "n ..."]
    labels: Int64[Tensor, " n"]
    price: float = 1.0
    """Price of compute at this step, as a multiple of the cost model's."""
    queries: int = 0
    """Number of queries about inputs like those of `asked`, which the agent answers and pays before it uses the
    chunk."""
    newest: LabelledInputs | None = None
    """The inputs that have come since the step before, if labels come later; None for the chunk's own.

    Their labels are for scoring alone.
    """
    waiting_nbytes: int = 0
    """Bytes of the inputs that have come and whose labels have not."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def asked(self) -> LabelledInputs:
        """The inputs that the agent is asked about before it uses the chunk."""
        return LabelledInputs(self.inputs, self.labels) if self.newest is None else self.newest
