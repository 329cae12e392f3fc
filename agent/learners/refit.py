"""The refit learner: a new training to convergence on all samples so far."""

import copy
import time
from typing import Any, ClassVar

from jaxtyping import Int64, Shaped
from torch import Tensor

from agent.accounting.work import Work
from agent.data.augmentation import Turns
from agent.data.sample_store import LABEL_NBYTES, SampleStore
from agent.errors import InvalidSetting
from agent.learners.predicting import NetworkLearner
from agent.learners.protocol import LearningEstimate
from agent.learners.training import (
    MAX_EPOCHS,
    SCHEDULES,
    ScheduleName,
    Training,
    check_finite,
    clone,
    constants_of,
    even_sizes,
    load_weights,
    passes,
    weights_of,
)
from agent.networks.keys import Keys
from agent.networks.protocol import Network
from agent.randomness import clone_generator, named_generator


class RefitLearner(NetworkLearner):
    """Trains to convergence on all admitted samples, at the next flush: consecutive LEARNs share one training.

    Each training starts from the same initial weights or, if warm, from the weights of the training before. (A warm
    start generalizes worse on CIFAR-10: Ash & Adams 2020, arXiv:1910.08475.)

    Args:
        network: initial weights; the learner owns the network from now on.
        training: the recipe, bound to a data set and a device.
        keys: where keys are read.
        epochs: passes over the admitted samples in one training.
        schedule: the learning rate over one training.
        warm: continue from the weights of the training before.
        seed: seed of the order of samples and of augmentation.

    Raises:
        InvalidSetting: a setting outside its range, places that the network lacks, or a recipe that lacks some of its
            parameters.

    References:
        Ash & Adams 2020, arXiv:1910.08475 (warm starts)
    """

    lazy: ClassVar[bool] = True

    def __init__(
        self,
        network: Network,
        training: Training,
        keys: Keys,
        *,
        epochs: float = 4,
        schedule: ScheduleName = "one-cycle",
        warm: bool = False,
        seed: int = 0,
    ) -> None:
        if not 0 < epochs <= MAX_EPOCHS:
            raise InvalidSetting(f"expected a number of epochs above 0, at most {MAX_EPOCHS:g}, got {epochs}")
        super().__init__(training, keys)
        self.epochs, self.schedule, self.warm = epochs, SCHEDULES[schedule], warm
        keys.of(network)  # places that the network lacks are an error now, not after an hour
        training.optimizers(network)  # nor a recipe that lacks some of its parameters
        self.network = self.predictor = network.to(training.device).eval()
        self.prepared = False
        self.samples = SampleStore(training.device)
        self.n_trained_on = 0
        self.order = named_generator(seed, "order")
        self.augmentation = named_generator(seed, "augmentation")
        self.n_steps = 0

    def prepare(self, inputs: Shaped[Tensor, "n ..."]) -> Work:
        """Prepare the initial weights as the recipe says; only the first call does anything."""
        if self.prepared:
            return Work()
        self.prepared = True
        network, work = self.training.prepared(self.network, inputs)
        if network is not self.network:
            self.network = self.predictor = network
            self.version = self.lineage.next()
        return work

    @property
    def nbytes(self) -> int:
        """Bytes of the admitted samples."""
        return self.samples.nbytes

    def learn(self, inputs: Shaped[Tensor, "n ..."], labels: Int64[Tensor, " n"]) -> Work:
        """Admit the samples to the next training."""
        stored = self.samples.nbytes
        self.samples.append(inputs, labels)
        return Work(nbytes=self.samples.nbytes - stored)

    def _plan(self, n: int) -> tuple[int, ...]:
        """Samples in each step of a training on n samples.

        Full batches where a whole number of them makes up the epochs to within 1%, else batches of even sizes.
        """
        batch, wanted = min(self.training.recipe.batch_size, n), max(1, round(self.epochs * n))
        n_whole = max(1, round(self.epochs * n / batch))
        return (batch,) * n_whole if abs(n_whole * batch - wanted) <= 0.01 * wanted else even_sizes(wanted, batch)

    def estimate(self, inputs: Shaped[Tensor, "n ..."]) -> LearningEstimate:
        """The work of admitting the inputs, and of a training on all samples admitted by then."""
        admitting = Work(nbytes=inputs.nbytes + len(inputs) * LABEL_NBYTES)
        n = len(self.samples) + len(inputs)
        if n == self.n_trained_on:
            return LearningEstimate(admitting, Work())
        sizes = self._plan(n)
        flops = self.training.flops_of_steps(self.network, inputs.shape[1:], sum(sizes), len(sizes))
        return LearningEstimate(admitting, Work(flops, samples=sum(sizes)))

    @property
    def pending(self) -> bool:
        """Whether samples were admitted since the last training."""
        return len(self.samples) != self.n_trained_on

    def flush(self) -> Work:
        """Train on all admitted samples, if there are new ones.

        Raises:
            TrainingDiverged: the loss became non-finite.
        """
        if not self.pending:
            return Work()
        start = time.perf_counter()
        n = len(self.samples)
        sizes = self._plan(n)
        n_steps, n_trained = len(sizes), sum(sizes)
        start_from = self.predictor if self.warm else self.network
        network = clone(start_from, start_from).train()
        optimizers = self.training.optimizers(network)
        rows, device, turns = passes(n, n_trained, self.order), self.training.device, Turns()
        if self.training.augmentation.alternating:
            turns.append(n, self.augmentation)
        drawn, there = rows.split(sizes), rows.to(device).split(sizes)
        steps_an_epoch = -(-n // max(sizes))
        for first in range(0, n_steps, steps_an_epoch):
            epoch = range(first, min(first + steps_an_epoch, n_steps))
            own, largest = [drawn[step] for step in epoch], max(sizes)
            moves = self.training.augmentation.draw_for(own, largest, self.augmentation, turns, device)
            losses, rates = [], []
            for step, moved in zip(epoch, moves, strict=True):
                inputs, labels = self.samples.batch(there[step])
                factor = self.schedule(step / n_steps)
                losses.append(self.training.step(network, optimizers, inputs, labels, moved, factor=factor))
                rates.append(self.training.recipe.lr * factor)
                self.training.progress(3 * sizes[step])
            check_finite(network, losses, rates, first_step=self.n_steps + first)
        self.predictor = network.eval()
        self.n_steps += n_steps
        self.version = self.lineage.next()
        self.n_trained_on = n
        work = Work(
            flops=self.training.flops_of_steps(network, inputs.shape[1:], n_trained, n_steps),
            seconds=time.perf_counter() - start,
            samples=n_trained,
        )
        self.training.meter.add("training", work)
        return work

    def fork(self) -> "RefitLearner":
        """An independent copy that draws the same random numbers from here on; trained weights are shared."""
        fork = super().fork()
        fork.samples = self.samples.fork()
        fork.order, fork.augmentation = clone_generator(self.order), clone_generator(self.augmentation)
        return fork

    def warmed(self) -> "RefitLearner":
        """A fork whose trainings continue from its current weights."""
        fork = self.fork()
        fork.warm = True
        return fork

    def state(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return {
            "network": weights_of(self.network),
            "predictor": weights_of(self.predictor),
            "constants": constants_of(self.network),
            "n_trained_on": self.n_trained_on,
            "order": self.order.get_state(),
            "augmentation": self.augmentation.get_state(),
            "n_steps": self.n_steps,
            "prepared": self.prepared,
            "samples": self.samples.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self.network = copy.deepcopy(self.network)
        load_weights(self.network, state["network"], state["constants"])
        self.predictor = clone(self.network, self.network)
        self.predictor.load_state_dict(state["predictor"])
        self.samples.load_state(state["samples"])
        self.n_trained_on = state["n_trained_on"]
        self.order.set_state(state["order"])
        self.augmentation.set_state(state["augmentation"])
        self.n_steps, self.prepared = state["n_steps"], state["prepared"]
        self.version = self.lineage.next()
