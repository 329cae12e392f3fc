"""The learner of the original protocol: trained to convergence on all that was admitted."""

import copy
import time
from typing import Any

from jaxtyping import UInt8
from torch import Tensor

from agent.accounting.work import Work
from agent.data.chunk import Chunk
from agent.data.sample_store import LABEL_NBYTES, SampleStore
from agent.errors import InvalidSetting
from agent.learners.protocol import LearningEstimate, Progress, look, unreported
from agent.learners.sgd import Training, check_finite, even_sizes, passes
from agent.networks.flops import flops_per_sample
from agent.networks.keys import KeyPlaces
from agent.networks.outputs import Outputs
from agent.networks.resnet import ResNet
from agent.randomness import clone_generator, named_generator
from agent.version import Lineage


class RefitLearner:
    """Trains to convergence on everything admitted so far, when next asked: consecutive LEARNs are one training.

    Each training starts from the same initial weights, or, if warm, from the weights of the training before. (A warm
    start generalizes worse on CIFAR-10: Ash & Adams 2020, arXiv:1910.08475.)

    Args:
        network: initial weights.
        training: optimization settings; the schedule runs over each training.
        keys: where keys are read.
        epochs: passes over the admitted samples in one training.
        warm: continue from the weights of the training before.
        seed: of the streams "order" and "augmentation".
        progress: told of work done.
    """

    def __init__(
        self,
        network: ResNet,
        training: Training,
        keys: KeyPlaces,
        *,
        epochs: float,
        warm: bool = False,
        seed: int = 0,
        progress: Progress = unreported,
    ) -> None:
        if not epochs > 0:
            raise InvalidSetting(f"expected more than 0 epochs, got {epochs}")
        self.training, self.keys, self.epochs, self.warm, self.progress = training, keys, epochs, warm, progress
        keys.of(network)  # places that the network lacks are an error now, not after an hour
        self.initial = network.to(training.device).eval()
        self.network = self.initial
        self.admitted = SampleStore(training.device)
        self.n_trained_on = 0
        self.order = named_generator(seed, "order")
        self.augmentation = named_generator(seed, "augmentation")
        self.n_steps = 0
        self.lineage = Lineage()
        self.version = self.lineage.next()

    def learn(self, chunk: Chunk) -> Work:
        """Admit the chunk to the samples of the next training."""
        stored = self.admitted.nbytes
        self.admitted.append(chunk.images, chunk.labels)
        return Work(nbytes=self.admitted.nbytes - stored)

    def _plan(self, n: int) -> tuple[int, ...]:
        """Samples in each step of a training on n samples.

        They are whole batches where these make up the epochs to within 1%, and else batches of equal sizes to a sample.
        """
        batch, wanted = min(self.training.batch_size, n), max(1, round(self.epochs * n))
        n_whole = max(1, round(self.epochs * n / batch))
        return (batch,) * n_whole if abs(n_whole * batch - wanted) <= 0.01 * wanted else even_sizes(wanted, batch)

    def estimate(self, images: UInt8[Tensor, "n 3 height width"]) -> LearningEstimate:
        """The work of admitting the images, and of a training on everything admitted by then."""
        admitting = Work(nbytes=images.nbytes + len(images) * LABEL_NBYTES)
        n = len(self.admitted) + len(images)
        if n == self.n_trained_on:
            return LearningEstimate(admitting, Work())
        n_trained = sum(self._plan(n))
        flops = flops_per_sample(self.initial, *images.shape[2:]).training
        return LearningEstimate(admitting, Work(n_trained * flops, samples=n_trained))

    @property
    def pending(self) -> bool:
        """Whether anything was admitted since the last training."""
        return len(self.admitted) != self.n_trained_on

    @property
    def nbytes(self) -> int:
        """Bytes of the samples admitted."""
        return self.admitted.nbytes

    def flush(self) -> Work:
        """Train on everything admitted, if anything was since the last training.

        Raises:
            TrainingDiverged: the loss became non-finite.
        """
        if not self.pending:
            return Work()
        start = time.perf_counter()
        n = len(self.admitted)
        sizes = self._plan(n)
        n_steps, n_trained = len(sizes), sum(sizes)
        network = copy.deepcopy(self.network if self.warm else self.initial).train()
        optimizer = self.training.optimizer(network)
        rows = passes(n, n_trained, self.order).to(self.training.device).split(sizes)
        steps_an_epoch = -(-n // max(sizes))
        for first in range(0, n_steps, steps_an_epoch):
            epoch = range(first, min(first + steps_an_epoch, n_steps))
            moves = self.training.augmentation.draw(len(epoch), max(sizes), self.augmentation).to(self.training.device)
            losses, rates = [], []
            for step, moved in zip(epoch, moves, strict=True):
                images, labels = self.admitted.batch(rows[step])
                done, of_batch = step / n_steps, moved[:, : sizes[step]]
                losses.append(self.training.step(network, optimizer, images, labels, of_batch, done=done))
                rates.append(self.training.rate(done))
                self.progress(3 * sizes[step])
            check_finite(network, losses, rates, first_step=self.n_steps + first)
        self.network = network.eval()
        self.n_steps += n_steps
        self.version = self.lineage.next()
        self.n_trained_on = n
        return Work(
            flops=n_trained * flops_per_sample(network, *images.shape[2:]).training,
            seconds=time.perf_counter() - start,
            samples=n_trained,
        )

    def forward(self, images: UInt8[Tensor, "n 3 height width"]) -> tuple[Outputs, Work]:
        """Probabilities and keys from the last training; nothing may be pending."""
        assert not self.pending, "flush before forward"
        return look(self.network, images, self.training, self.keys, self.progress)

    def forward_flops(self, images: UInt8[Tensor, "n 3 height width"]) -> int:
        """The FLOPs of `forward`."""
        return len(images) * flops_per_sample(self.initial, *images.shape[2:]).forward

    def key_length(self, images: UInt8[Tensor, "n 3 height width"]) -> int:
        """Numbers in a key of such images."""
        return self.keys.length(self.initial, *images.shape[2:])

    def weights(self) -> dict[str, Tensor]:
        """The weights that predict."""
        return {name: values.cpu() for name, values in self.network.state_dict().items()}

    def fork(self) -> "RefitLearner":
        """A learner with the same past, and a future that draws the same numbers; trained weights are shared."""
        fork = copy.copy(self)
        fork.lineage = Lineage()
        fork.admitted = self.admitted.fork()
        fork.order, fork.augmentation = clone_generator(self.order), clone_generator(self.augmentation)
        return fork

    def warmed(self) -> "RefitLearner":
        """A fork whose trainings go on from the weights it has."""
        fork = self.fork()
        fork.warm = True
        return fork

    def state(self) -> dict[str, Any]:
        """Tensors and plain values."""
        state = copy.deepcopy(
            {
                "initial": self.initial.state_dict(),
                "network": self.network.state_dict(),
                "n_trained_on": self.n_trained_on,
                "order": self.order.get_state(),
                "augmentation": self.augmentation.get_state(),
                "n_steps": self.n_steps,
            }
        )
        return {**state, "admitted": self.admitted.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Become the learner whose `state` this is."""
        self.initial, self.network = copy.deepcopy(self.initial), copy.deepcopy(self.initial)
        self.initial.load_state_dict(state["initial"])
        self.network.load_state_dict(state["network"])
        self.admitted.load_state(state["admitted"])
        self.n_trained_on = state["n_trained_on"]
        self.order.set_state(state["order"])
        self.augmentation.set_state(state["augmentation"])
        self.n_steps = state["n_steps"]
        self.version = self.lineage.next()
