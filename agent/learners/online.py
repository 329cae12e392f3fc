"""The online learner: gradient steps on each chunk as it comes."""

import copy
import math
import time
from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple

import torch
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
    NewSamples,
    Training,
    check_finite,
    clone,
    constants_of,
    even_sizes,
    falling,
    load_weights,
    passes,
    weights_of,
)
from agent.networks.keys import Keys
from agent.networks.protocol import Network
from agent.randomness import bottom, clone_generator, named_generator, named_seed

MOST_STORED = 10**9

ROUNDING = 1e-9
"""In samples: rounding error allowed when the carried remainder reaches a whole sample."""


class OnlineLearner(NetworkLearner):
    """Takes gradient steps on each chunk, with uniform rehearsal of earlier ones; predicts with averaged weights.

    A chunk of n samples is trained on for epochs × n samples, rehearsed ones included; a fraction of a sample is
    carried over to the next chunk. They form as few batches as the batch size allows, whose sizes differ by at most
    one; if a chunk is smaller than its part of a batch, batches are smaller too. Each batch holds new samples, each as
    often as any other (to within one), and a share drawn uniformly from all chunks learned before: at an equal number
    of steps no other selection is known to do better (BudgetCL, arXiv:2303.11165).

    Predictions and keys come from an exponential moving average of the weights. It replaces the decay of the learning
    rate, which needs a known end of the stream.

    Args:
        network: initial weights; the learner owns the network from now on.
        training: the recipe, bound to a data set and a device.
        keys: where keys are read.
        epochs: samples trained on for each new sample, above 0; a new sample itself is in epochs × (1 - rehearsal)
            batches, and in `epochs` batches of the first chunk, which has nothing to rehearse.
        rehearsal: share of a batch drawn from earlier chunks, 0 to below 1.
        timescale: gradient steps after which the learning rate has fallen to 0.71 of what it was, as 1 / √(1 + steps /
            timescale), above 0; inf for a constant rate.
        ema_decay: decay of the averaged weights for each step; 0 uses the weights themselves. The average is shorter
            at first: the decay is at most (1 + t) / (10 + t) at step t, counted from 0.
        stored: the most samples that stay for rehearsal after a chunk, 1 or more, a uniform sample of all that were
            learned (bottom-k, as a reservoir); None for all.
        seed: seed of the order of samples, of augmentation and of what stays.
        keeps: store the samples of all chunks even if none are rehearsed; the cooldown learner needs them.

    Raises:
        InvalidSetting: a setting outside its range, places that the network lacks, or a recipe that lacks some of its
            parameters.

    References:
        Zhai et al. 2022, arXiv:2106.04560 (a rate that falls without a known end, and a cool-down)
        Prabhu et al. 2023, arXiv:2303.11165 (uniform rehearsal)
    """

    lazy: ClassVar[bool] = False

    def __init__(
        self,
        network: Network,
        training: Training,
        keys: Keys,
        *,
        epochs: float = 6,
        rehearsal: float = 0.5,
        timescale: float = math.inf,
        ema_decay: float = 0.99,
        stored: int | None = None,
        seed: int = 0,
        keeps: bool = False,
    ) -> None:
        if not 0 < epochs <= MAX_EPOCHS:
            raise InvalidSetting(f"expected a number of epochs above 0, at most {MAX_EPOCHS:g}, got {epochs}")
        if not 0 <= rehearsal < 1:
            raise InvalidSetting(f"expected a rehearsed share from 0 to below 1, got {rehearsal}")
        if not timescale > 0:
            raise InvalidSetting(f"expected a timescale above 0, got {timescale}")
        if not 0 <= ema_decay < 1:
            raise InvalidSetting(f"expected an EMA decay from 0 to below 1, got {ema_decay}")
        if stored is not None and not 1 <= stored <= MOST_STORED:
            raise InvalidSetting(f"expected from 1 to {MOST_STORED:,} samples stored for rehearsal, got {stored}")
        super().__init__(training, keys)
        if stored is not None and not (keeps or rehearsal):
            raise InvalidSetting(f"expected rehearsal of what is stored, got {stored} samples stored and a share of 0")
        self.stored, self.seed = stored, seed
        self.epochs, self.rehearsal, self.timescale, self.ema_decay = epochs, rehearsal, timescale, ema_decay
        self.keeps = keeps or rehearsal > 0
        keys.of(network)  # places that the network lacks are an error now, not after an hour
        self._begin_with(network.to(training.device))
        self.prepared = False
        self.samples = SampleStore(training.device)
        self.ids = torch.zeros(0, dtype=torch.int64)
        """Of the samples in store, by the order of learning; none while all are stored."""
        self.n_learned = 0
        self.order = named_generator(seed, "order")
        self.augmentation = named_generator(seed, "augmentation")
        self.turns = Turns()
        self.n_steps = 0
        self.carried = 0.0
        """Fraction of a sample that is trained on with the next chunk; below 1."""

    def _begin_with(self, network: Network) -> None:
        self.network = network.train()
        self.predictor = clone(network, network).eval()
        self.optimizers = self.training.optimizers(network)

    def prepare(self, inputs: Shaped[Tensor, "n ..."]) -> Work:
        """Prepare the network as the recipe says; only the first call does anything."""
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
        """Bytes of the samples stored for rehearsal or cool-downs; without either nothing is stored."""
        return self.samples.nbytes

    def most_nbytes(self, inputs: Shaped[Tensor, "n ..."]) -> float:
        """The most bytes that are ever held between chunks; see `BoundedStorage`."""
        if not self.keeps:
            return 0
        sample = inputs.element_size() * inputs.shape[1:].numel() + LABEL_NBYTES
        return math.inf if self.stored is None else self.stored * sample

    def learn(self, inputs: Shaped[Tensor, "n ..."], labels: Int64[Tensor, " n"]) -> Work:
        """Train on the chunk.

        Raises:
            TrainingDiverged: the loss became non-finite.
        """
        if not len(labels):
            return Work()
        start = time.perf_counter()
        n_earlier, n_new = len(self.samples), len(labels)
        plan = self._plan(n_new)
        stored = self.samples.nbytes
        self.samples.append(inputs, labels)
        if self.training.augmentation.alternating:
            self.turns.append(n_new, self.augmentation)
        written = self.samples.nbytes - stored if self.keeps else 0
        losses: list[Tensor] = []
        drawing = Work()
        if plan.sizes:
            factors = [self.rate_factor(self.n_steps + step) for step in range(len(plan.sizes))]
            averages = self._both(averaged=True)
            batches, drawing = self._batches(plan, n_earlier, n_new)
            for (rows, moves), n_rehearsed, factor in zip(batches, plan.rehearsed, factors, strict=True):
                batch, new = self.samples.batch(rows), self._new_samples(len(rows) - n_rehearsed, labels)
                losses.append(self.training.step(self.network, self.optimizers, *batch, moves, factor=factor, new=new))
                if self.ema_decay:
                    decay = min(self.ema_decay, (self.n_steps + len(losses)) / (9 + self.n_steps + len(losses)))
                    torch._foreach_lerp_(*averages, 1 - decay)
                self.training.progress(3 * len(rows))
            if not self.ema_decay:
                torch._foreach_copy_(*self._both(averaged=False))
            rates = [self.training.recipe.lr * factor for factor in factors]
            check_finite(self.network, losses, rates, first_step=self.n_steps)
        self.n_steps += len(losses)
        self.carried = plan.carried
        self.version = self.lineage.next()
        if not self.keeps:
            self.samples, self.turns = SampleStore(self.training.device), Turns()
        self._forget(n_new)
        n_trained = sum(plan.sizes)
        work = Work(
            flops=self.training.flops_of_steps(self.network, inputs.shape[1:], n_trained, len(plan.sizes)),
            nbytes=written,
            seconds=time.perf_counter() - start - drawing.seconds,
            samples=n_trained,
        )
        self.training.meter.add("training", work)
        return work + drawing

    def _forget(self, n_new: int) -> None:
        """Drop what is more than the store may hold; the last n_new samples are new."""
        if self.stored is None or not self.keeps:
            return
        self.ids = torch.cat([self.ids, self.n_learned + torch.arange(n_new)])
        self.n_learned += n_new
        if len(self.ids) > self.stored:
            staying = bottom(self.ids, self.stored, named_seed(self.seed, "stored"))
            self.ids, self.turns = self.ids[staying], self.turns.part(staying)
            self.samples = self.samples.part(staying)

    def n_stored_with(self, n_new: int) -> int:
        """Samples in store after n_new more are learned."""
        n = len(self.samples) + n_new
        return n if self.stored is None else min(n, self.stored)

    def rate_factor(self, step: int) -> float:
        """The factor on the learning rates at a gradient step."""
        return falling(step, self.timescale)

    def _plan(self, n_new: int) -> "Plan":
        """Plan the batches of a chunk of n_new samples."""
        batch = self.training.recipe.batch_size
        n_rehearsed = self._rehearsed(batch)
        n_fresh = min(batch - n_rehearsed, n_new)
        n_rehearsed = min(n_rehearsed, round(n_fresh * self.rehearsal / (1 - self.rehearsal)))  # chunks below a batch
        largest = n_fresh + n_rehearsed
        owed = self.epochs * n_new + self.carried
        n_samples = int(owed + ROUNDING)
        sizes = even_sizes(n_samples, largest)
        return Plan(sizes, tuple(self._rehearsed(size) for size in sizes), max(0.0, owed - n_samples))

    def _new_samples(self, n: int, labels: Int64[Tensor, " m"]) -> NewSamples | None:
        """What is done otherwise with the n new samples of a batch, out of a chunk with these labels; nothing."""
        return None

    def _rehearsed(self, size: int) -> int:
        """Rehearsed samples in a batch of `size`."""
        return min(round(self.rehearsal * size), size - 1) if len(self.samples) else 0

    def _batches(self, plan: "Plan", n_earlier: int, n_new: int) -> tuple[Iterable[tuple[Tensor, Tensor]], Work]:
        """Rows of the store and moves of the augmentation for each step, drawn and sent to the device all at once.

        Returns:
            The batches, and the work of choosing what is rehearsed.
        """
        device = self.training.device
        n_fresh = [size - rehearsed for size, rehearsed in zip(plan.sizes, plan.rehearsed, strict=True)]
        fresh = (n_earlier + passes(n_new, sum(n_fresh), self.order)).split(n_fresh)
        drawn, work = self._draw(sum(plan.rehearsed), n_earlier)
        rehearsed = drawn.split(plan.rehearsed)
        rows = torch.cat([part for both in zip(fresh, rehearsed, strict=True) for part in both]).split(plan.sizes)
        augmentation, largest = self.training.augmentation, max(plan.sizes)
        moves = augmentation.draw_for(rows, largest, self.augmentation, self.turns, device)
        return zip(torch.cat(rows).to(device).split(plan.sizes), moves, strict=True), work

    def _draw(self, n: int, n_earlier: int) -> tuple[Int64[Tensor, " n"], Work]:
        """Rows of n samples to rehearse, of which n_earlier are in store before the new ones; the work of choosing."""
        return torch.randint(max(1, n_earlier), (n,), generator=self.order), Work()

    def n_steps_for(self, n_new: int) -> int:
        """Gradient steps on a chunk of n_new samples."""
        return len(self._plan(n_new).sizes) if n_new else 0

    def estimate(self, inputs: Shaped[Tensor, "n ..."]) -> LearningEstimate:
        """The work of `learn`; nothing is deferred."""
        if not len(inputs):
            return LearningEstimate(Work(), Work())
        sizes = self._plan(len(inputs)).sizes
        n_trained = sum(sizes)
        flops = self.training.flops_of_steps(self.network, inputs.shape[1:], n_trained, len(sizes))
        nbytes = inputs.nbytes + len(inputs) * LABEL_NBYTES if self.keeps else 0
        return LearningEstimate(Work(flops, nbytes, samples=n_trained), Work())

    def _both(self, *, averaged: bool) -> tuple[list[Tensor], list[Tensor]]:
        """Tensors of the predictor and of the network, all or those that are averaged, without those that both share.

        Batch statistics are averaged like weights; counters are not.
        """
        average, current = self.predictor.state_dict(), self.network.state_dict()
        names = [
            name
            for name, values in current.items()
            if (values.is_floating_point() or not averaged) and values.data_ptr() != average[name].data_ptr()
        ]
        return [average[name] for name in names], [current[name] for name in names]

    def fork(self) -> "OnlineLearner":
        """An independent copy that draws the same random numbers from here on."""
        fork = super().fork()
        trained = self.network, self.optimizers, self.predictor
        fork.network, fork.optimizers, fork.predictor = clone(trained, self.network)
        fork.samples, fork.turns = self.samples.fork(), self.turns.fork()
        fork.order, fork.augmentation = clone_generator(self.order), clone_generator(self.augmentation)
        return fork

    def state(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return {
            "network": weights_of(self.network),
            "predictor": weights_of(self.predictor),
            "constants": constants_of(self.network),
            "optimizers": copy.deepcopy([optimizer.state_dict() for optimizer in self.optimizers]),
            "order": self.order.get_state(),
            "augmentation": self.augmentation.get_state(),
            "turns": self.turns.state(),
            "n_steps": self.n_steps,
            "carried": self.carried,
            "prepared": self.prepared,
            "samples": self.samples.state(),
            "ids": self.ids,
            "n_learned": self.n_learned,
            "seed": self.seed,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        load_weights(self.network, state["network"], state["constants"])
        self._begin_with(self.network)
        self.predictor.load_state_dict(state["predictor"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(copy.deepcopy(saved))  # the optimizer would share its tensors otherwise
        self.samples.load_state(state["samples"])
        self.ids, self.n_learned, self.seed = state["ids"], state["n_learned"], state["seed"]
        self.order.set_state(state["order"])
        self.augmentation.set_state(state["augmentation"])
        self.turns = Turns(state["turns"])
        self.n_steps, self.carried, self.prepared = state["n_steps"], state["carried"], state["prepared"]
        self.version = self.lineage.next()


class Plan(NamedTuple):
    """The batches of a chunk."""

    sizes: tuple[int, ...]
    """Samples in each step."""
    rehearsed: tuple[int, ...]
    """Those of them that are rehearsed."""
    carried: float
