"""What flows: labelled inputs, and the chunks of them that a stream hands to an agent."""

from dataclasses import dataclass

from jaxtyping import Int64, Shaped
from torch import Tensor


@dataclass(frozen=True)
class LabelledInputs:
    """Inputs of any one shape, with their classes: images as uint8 (they are floats on the network's device alone), or
    feature vectors as floats."""

    inputs: Shaped[Tensor, "n ..."]
    labels: Int64[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Chunk:
    """One step of a stream: what the agent meets at once, and must learn from or memorize."""

    step: int
    """Position in the stream, from 0."""
    sample_ids: Int64[Tensor, " n"]
    """Rows of the data set's training part."""
    inputs: Shaped[Tensor, "n ..."]
    labels: Int64[Tensor, " n"]
    price: float = 1.0
    """Of compute at this step, as a multiple of what the cost model says."""
    queries: int = 0
    """Put to the agent before the chunk is used, about inputs like the chunk's; each is answered and billed once."""

    def __len__(self) -> int:
        return len(self.labels)
