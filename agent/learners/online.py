"""The learner of the online protocol: gradient steps on each chunk as it comes."""

import copy
import time
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from agent.chunk import Chunk
from agent.errors import InvalidSetting
from agent.flops import flops_per_sample
from agent.learners.protocol import Progress, Sight, look, unwatched
from agent.networks import KeyPlaces, ResNet
from agent.randomness import clone_generator, named_generator
from agent.samples import SampleStore
from agent.training import Training, check_finite, constant, passes
from agent.work import Work


class OnlineLearner:
    """SGD on each chunk as it comes, with uniform rehearsal of earlier ones; predicts with averaged weights.

    A chunk of n samples is trained for passes × n / batch steps, and for one at least. Each batch holds new samples,
    every one as often as every other (to within one), and a share drawn uniformly from all chunks learned before: at an
    equal number of steps no cleverer choice is known to do better (BudgetCL, arXiv:2303.11165). Predictions and keys
    come from an exponential moving average of the weights, which stands in for the decay of the learning rate that a
    stream without end cannot have.

    Args:
        network: the network to start from; the learner takes it over.
        training: optimization settings; its schedule must be constant in time.
        keys: where keys are read.
        passes: sets the number of steps, passes × n / batch; a new sample is in passes × (1 - rehearsal) of them.
        rehearsal: share of a batch drawn from earlier chunks, 0 to below 1.
        ema_decay: of the averaged weights, a step; 0 means the weights themselves. Early in life the average is
            shorter: the decay is at most (1 + t) / (10 + t) at step t, counted from 0.
        seed: of the streams "order" and "augmentation".
        progress: told of work done.
    """

    def __init__(
        self,
        network: ResNet,
        training: Training,
        keys: KeyPlaces,
        *,
        passes: float,
        rehearsal: float = 0.5,
        ema_decay: float = 0.995,
        seed: int = 0,
        progress: Progress = unwatched,
    ) -> None:
        if not passes > 0:
            raise InvalidSetting(f"expected more than 0 passes, got {passes}")
        if not 0 <= rehearsal < 1:
            raise InvalidSetting(f"expected a rehearsed share from 0 to below 1, got {rehearsal}")
        if training.schedule is not constant:
            raise InvalidSetting("expected a constant schedule for an online learner, whose stream has no known end")
        if not 0 <= ema_decay < 1:
            raise InvalidSetting(f"expected an EMA decay from 0 to below 1, got {ema_decay}")
        self.training, self.keys, self.passes, self.rehearsal = training, keys, passes, rehearsal
        self.ema_decay, self.progress = ema_decay, progress
        keys.of(network)  # places that the network lacks are an error now, not after an hour
        self.network = network.to(training.device).train()
        self.average = copy.deepcopy(self.network).eval()
        self.optimizer = training.optimizer(self.network)
        self.learned = SampleStore(training.device)
        self.order = named_generator(seed, "order")
        self.augmentation = named_generator(seed, "augmentation")
        self.n_steps = 0
        self.token = object()

    def learn(self, chunk: Chunk) -> Work:
        """Train on the chunk.

        Raises:
            TrainingDiverged: the loss became non-finite.
        """
        if not len(chunk):
            return Work()
        start = time.perf_counter()
        n_earlier, n_new = len(self.learned), len(chunk)
        n_steps, n_fresh, n_rehearsed = self._plan(n_new)
        stored = self.learned.nbytes
        self.learned.append(chunk.images, chunk.labels)
        fresh = n_earlier + passes(n_new, n_steps * n_fresh, self.order).view(n_steps, n_fresh)
        rehearsed = torch.randint(max(1, n_earlier), (n_steps, n_rehearsed), generator=self.order)
        batches = torch.cat([fresh, rehearsed], dim=1).to(self.training.device)  # for all steps at once
        moves = self.training.augmentation.draw(n_steps, n_fresh + n_rehearsed, self.augmentation)
        moves = moves.to(self.training.device)
        averages = self._averages()
        losses = []
        for rows, moved in zip(batches, moves, strict=True):
            images, labels = self.learned.batch(rows)
            losses.append(self.training.step(self.network, self.optimizer, images, labels, moved))
            if self.ema_decay:
                decay = min(self.ema_decay, (self.n_steps + len(losses)) / (9 + self.n_steps + len(losses)))
                torch._foreach_lerp_(*averages, 1 - decay)
            self.progress(3 * len(rows))
        if not self.ema_decay:
            self.average.load_state_dict(self.network.state_dict())
        check_finite(self.network, losses, [self.training.rate(0.0)] * n_steps, first_step=self.n_steps)
        self.n_steps += n_steps
        self.token = object()
        n_trained = n_steps * (n_fresh + n_rehearsed)
        return Work(
            flops=n_trained * flops_per_sample(self.network, *chunk.images.shape[2:]).training,
            nbytes=self.learned.nbytes - stored,
            seconds=time.perf_counter() - start,
            samples=n_trained,
        )

    def _plan(self, n_new: int) -> tuple[int, int, int]:
        """Steps for a chunk of n_new samples, and how many samples of a batch are new and rehearsed."""
        batch = self.training.batch_size
        n_rehearsed = min(round(self.rehearsal * batch), batch - 1) if len(self.learned) else 0
        n_fresh = min(batch - n_rehearsed, n_new)
        n_rehearsed = min(n_rehearsed, round(n_fresh * self.rehearsal / (1 - self.rehearsal)))  # chunks below a batch
        return self.n_steps_for(n_new), n_fresh, n_rehearsed

    def n_steps_for(self, n_new: int) -> int:
        """Gradient steps on a chunk of n_new samples."""
        return max(1, round(self.passes * n_new / self.training.batch_size)) if n_new else 0

    def foresee(self, chunk: Chunk) -> Work:
        """The work of `learn`, without its seconds."""
        if not len(chunk):
            return Work()
        n_steps, n_fresh, n_rehearsed = self._plan(len(chunk))
        n_trained = n_steps * (n_fresh + n_rehearsed)
        flops = flops_per_sample(self.network, *chunk.images.shape[2:]).training
        return Work(n_trained * flops, chunk.images.nbytes + chunk.labels.nbytes, samples=n_trained)

    @property
    def overdue(self) -> bool:
        """Never: the network follows every chunk."""
        return False

    @property
    def nbytes(self) -> int:
        """Bytes of the samples held for rehearsal."""
        return self.learned.nbytes

    def _averages(self) -> tuple[list[Tensor], list[Tensor]]:
        """What is averaged, weights and statistics alike, and what it follows."""
        networks = self.average, self.network
        averaged, current = ([v for v in each.state_dict().values() if v.is_floating_point()] for each in networks)
        return averaged, current

    def settle(self) -> Work:
        """Nothing to do: the network follows every chunk."""
        return Work()

    def forward(self, images: UInt8[Tensor, "n 3 height width"]) -> Sight:
        """Probabilities and keys from the averaged weights."""
        return look(self.average, images, self.training, self.keys, self.progress)

    def forward_flops(self, images: UInt8[Tensor, "n 3 height width"]) -> int:
        """The FLOPs of `forward`."""
        return len(images) * flops_per_sample(self.network, *images.shape[2:]).forward

    def weights(self) -> dict[str, Tensor]:
        """The averaged weights that predict."""
        return {name: values.cpu() for name, values in self.average.state_dict().items()}

    def fork(self) -> "OnlineLearner":
        """A learner with the same past, and a future that draws the same numbers."""
        fork = copy.copy(self)
        fork.network, fork.optimizer, fork.average = copy.deepcopy((self.network, self.optimizer, self.average))
        fork.learned = self.learned.fork()
        fork.order, fork.augmentation = clone_generator(self.order), clone_generator(self.augmentation)
        return fork

    def state(self) -> dict[str, Any]:
        """Tensors and plain values."""
        state = copy.deepcopy(
            {
                "network": self.network.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "order": self.order.get_state(),
                "augmentation": self.augmentation.get_state(),
                "n_steps": self.n_steps,
            }
        )
        return {**state, "learned": self.learned.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Become the learner whose `state` this is."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.learned.load_state(state["learned"])
        self.order.set_state(state["order"])
        self.augmentation.set_state(state["augmentation"])
        self.n_steps = state["n_steps"]
        self.token = object()
