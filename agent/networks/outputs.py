"""The outputs of a learner's forward pass."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class Outputs(NamedTuple):
    """Probabilities and keys from one forward pass."""

    probabilities: Float[Tensor, "n classes"]
    keys: Float[Tensor, "n length"]
    """The inputs are stored and looked up under these; not normalized."""
