"""What learners share: predictions by one network, and the samples and random numbers of gradient descent."""

import copy
from typing import Any, TypeVar

from jaxtyping import Shaped
from torch import Tensor

from agent.accounting.work import Work
from agent.data.sample_store import SampleStore
from agent.learners.training import Training
from agent.networks.keys import KeyPlaces
from agent.networks.outputs import Outputs
from agent.networks.protocol import Network, Shape
from agent.randomness import clone_generator, named_generator
from agent.version import Lineage

Self = TypeVar("Self", bound="NetworkLearner")
SelfTraining = TypeVar("SelfTraining", bound="GradientLearner")


class NetworkLearner:
    """Predicts with one network; a subclass trains it.

    Args:
        training: the recipe, bound to a data set and a device.
        keys: where keys are read.
    """

    predictor: Network
    """The network that predicts, in evaluation mode."""

    def __init__(self, training: Training, keys: KeyPlaces) -> None:
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

    def key_length(self, shape: Shape) -> int:
        """Numbers in a key."""
        return self.keys.length(self.predictor, shape)

    def weights(self) -> dict[str, Tensor]:
        """The weights that predict."""
        return {name: values.cpu() for name, values in self.predictor.state_dict().items()}

    def fork(self: Self) -> Self:
        """An independent copy that draws the same random numbers from here on; weights that predict are shared."""
        fork = copy.copy(self)
        fork.lineage = Lineage()
        return fork


class GradientLearner(NetworkLearner):
    """Trains a network by gradient descent on stored samples.

    Args:
        network: initial weights; the learner owns the network from now on.
        training: the recipe, bound to a data set and a device.
        keys: where keys are read.
        seed: seed of the order of samples and of augmentation.

    Raises:
        InvalidSetting: places that the network lacks, or a recipe that lacks some of its parameters.
    """

    network: Network
    """The weights that training begins with, or goes on from."""

    def __init__(self, network: Network, training: Training, keys: KeyPlaces, seed: int) -> None:
        super().__init__(training, keys)
        keys.of(network)
        training.optimizers(network)
        self._begin_with(network.to(training.device))
        self.prepared = False
        self.samples = SampleStore(training.device)
        self.order = named_generator(seed, "order")
        self.augmentation = named_generator(seed, "augmentation")
        self.n_steps = 0

    def _begin_with(self, network: Network) -> None:
        """Set `network`, `predictor` and what else depends on the initial weights."""
        raise NotImplementedError

    def prepare(self, inputs: Shaped[Tensor, "n ..."]) -> Work:
        """Prepare the initial weights as the recipe says; only the first call does anything."""
        if self.prepared:
            return Work()
        self.prepared = True
        network, work = self.training.prepared(self.network, inputs)
        if network is not self.network:
            self._begin_with(network)
            self.version = self.lineage.next()
        return work

    @property
    def nbytes(self) -> int:
        """Bytes of the stored samples."""
        return self.samples.nbytes

    def fork(self: SelfTraining) -> SelfTraining:
        """See `NetworkLearner.fork`; samples are shared."""
        fork = super().fork()
        fork.samples = self.samples.fork()
        fork.order, fork.augmentation = clone_generator(self.order), clone_generator(self.augmentation)
        return fork

    def state(self) -> dict[str, Any]:
        """Tensors and plain values, without weights."""
        return {
            "order": self.order.get_state(),
            "augmentation": self.augmentation.get_state(),
            "n_steps": self.n_steps,
            "prepared": self.prepared,
            "samples": self.samples.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self.samples.load_state(state["samples"])
        self.order.set_state(state["order"])
        self.augmentation.set_state(state["augmentation"])
        self.n_steps, self.prepared = state["n_steps"], state["prepared"]
        self.version = self.lineage.next()
