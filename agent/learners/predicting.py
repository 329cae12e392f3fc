"""How learners predict: with one network, and keys read from it."""

import copy
from typing import Any, TypeVar

from jaxtyping import Float, Shaped
from torch import Tensor

from agent.accounting.work import Work
from agent.learners.training import Training
from agent.networks.keys import Keys, features_of
from agent.networks.outputs import Outputs
from agent.networks.protocol import Network, Shape
from agent.version import Lineage

Self = TypeVar("Self", bound="NetworkLearner")


class Predicting:
    """What a learner does that predicts with one network; how that is trained is up to the learner.

    Args:
        training: the recipe, bound to a data set and a device.
        keys: where keys are read.
    """

    predictor: Network
    """The network that predicts, in evaluation mode."""

    def __init__(self, training: Training, keys: Keys) -> None:
        self.training, self.keys = training, keys
        self.lineage = Lineage()
        self.version = self.lineage.next()

    @property
    def pending(self) -> bool:
        """Whether the next `flush` has samples to learn from; never, if `learn` trains at once."""
        return False

    def flush(self) -> Work:
        """Nothing to do, if `learn` trains at once."""
        return Work()

    def forward(self, inputs: Shaped[Tensor, "n ..."]) -> tuple[Outputs, Work]:
        """Probabilities and keys; nothing may be pending."""
        assert not self.pending, "flush before forward"
        return self.training.look(self.predictor, inputs, self.keys)

    def forward_flops(self, n: int, shape: Shape) -> int:
        """The FLOPs of `forward`."""
        return n * self.training.flops_of_looking(self.predictor, shape)

    def read(self, inputs: Shaped[Tensor, "n ..."]) -> tuple[Outputs, Work]:
        """The keys of `forward`, with the probabilities of the plain inputs alone; nothing may be pending."""
        assert not self.pending, "flush before read"
        return self.training.look(self.predictor, inputs, self.keys, plain=True)

    def reading_flops(self, n: int, shape: Shape) -> int:
        """The FLOPs of `read`."""
        return n * self.training.flops_of_looking(self.predictor, shape, plain=True)

    def features(self, inputs: Shaped[Tensor, "n ..."]) -> tuple[Float[Tensor, "n features"], Work]:
        """What the head of the network that predicts is given, of the plain inputs; nothing may be pending."""
        assert not self.pending, "flush before features"
        outputs, work = self.training.look(self.predictor, inputs, features_of(self.predictor), plain=True)
        return outputs.keys, work

    def key_length(self, shape: Shape) -> int:
        """Numbers in a key."""
        return self.keys.length(self.predictor, shape)

    def weights(self) -> dict[str, Tensor]:
        """The weights that predict."""
        return {name: values.cpu() for name, values in self.predictor.state_dict().items()}

    def facts(self) -> dict[str, Any]:
        """What the recipe chose for the data set, the network and this machine, as plain values."""
        return self.training.facts(self.predictor)


class NetworkLearner(Predicting):
    """The same, for a learner that can be forked: what is copied beside it is up to the learner.

    Args: as `Predicting`.
    """

    def fork(self: Self) -> Self:
        """An independent copy that draws the same random numbers from here on; weights that predict are shared."""
        fork = copy.copy(self)
        fork.lineage = Lineage()
        return fork
