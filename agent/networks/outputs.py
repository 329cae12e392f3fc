"""What a network gives for inputs in one forward pass."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class Outputs(NamedTuple):
    """What a learner's network makes of inputs."""

    probabilities: Float[Tensor, "n classes"]
    keys: Float[Tensor, "n length"]
    """What the inputs are stored and looked up under; not normalized."""
