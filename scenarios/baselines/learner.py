"""The adapter: a strategy of Avalanche as a learner, and one that is trained anew before it predicts."""

import io
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any, ClassVar

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from agent.accounting.work import Work
from agent.data.augmentation import Augmentation
from agent.data.chunk import LabelledInputs
from agent.data.sample_store import LABEL_NBYTES
from agent.errors import InvalidSetting, TrainingDiverged
from agent.learners.predicting import Predicting
from agent.learners.training import Schedule, clone, even_sizes
from agent.networks.protocol import Network
from agent.randomness import named_seed
from agent.version import Lineage, Version
from scenarios.baselines.counter import FlopCount
from scenarios.baselines.model import Criterion, Optimizers, Prepared, Tally
from scenarios.baselines.protocol import Given, MakeStrategy, Parts, Strategy
from scenarios.baselines.randomness import OwnRandomness


class BaselineLearner(Predicting):
    """A strategy of Avalanche that learns each chunk as one experience, once and forward.

    It can neither be forked nor saved. Its FLOPs are counted while it trains. It draws from a random stream of its own.
    Batches of a chunk have even sizes, none above that of the recipe.

    Args:
        make: makes the strategy.
        given: what it is made from.

    Raises:
        InvalidSetting: places that the network lacks, or a recipe that lacks some of its parameters.
    """

    lazy: ClassVar[bool] = False

    def __init__(self, make: MakeStrategy, given: Given) -> None:
        super().__init__(given.training, given.keys)
        given.keys.of(given.network)  # places that the network lacks are an error now, not after an hour
        self._make, self._given = make, given
        self._randomness = OwnRandomness(named_seed(given.seed, "baseline"), given.training.device)
        self._further = FurtherLabels(given.further)
        self._transform = transform_of(given.training.augmentation)
        self._n_chunks = self._n_given = 0
        self._stored: frozenset[int] = frozenset()  # ids of the samples in the buffer
        self._sample_nbytes = 0  # of an input and its label
        self._prepared = False
        self._begin_with(given.network.to(given.training.device))

    def _begin_with(self, network: Network) -> None:
        self.predictor = network.eval()
        self._tally = Tally(self.training)
        self._strategy: Strategy = self._make(parts_of(network, self._given, self._tally))

    def prepare(self, inputs: Shaped[Tensor, "n ..."]) -> Work:
        """Prepare the network as the recipe says; only the first call does anything."""
        if self._prepared:
            return Work()
        self._prepared = True
        network, work = self.training.prepared(self.predictor, inputs)
        if network is not self.predictor:
            self._begin_with(network)
            self.version = self.lineage.next()
        return work

    @property
    def n_steps(self) -> int:
        """Gradient steps since initialization."""
        return self._tally.n_steps

    @property
    def nbytes(self) -> int:
        """Bytes of the buffer's samples, and of what else the strategy keeps: logits, weights, Fisher matrices."""
        held = sum(each.nbytes for each in self._strategy.held())
        return self._nbytes_of(len(self._stored)) + held

    def _nbytes_of(self, n: int) -> int:
        return n * (self._sample_nbytes + self._strategy.sample_nbytes)

    def learn(self, inputs: Shaped[Tensor, "n ..."], labels: Int64[Tensor, " n"]) -> Work:
        """Train the strategy on the chunk, and on what labels it is given beside it.

        Raises:
            TrainingDiverged: the weights became non-finite.
        """
        inputs, labels = self._further.beside(self._n_chunks, inputs, labels)
        self._n_chunks += 1
        if not len(labels):
            return Work()
        start = time.perf_counter()
        self._sample_nbytes = inputs[0].nbytes + LABEL_NBYTES
        strategy = self._strategy
        held = {id(each): each for each in strategy.held()}
        samples = self._dataset(inputs, labels)
        sizes = even_sizes(len(labels), self.training.recipe.batch_size)

        def train() -> None:
            strategy.train(samples, self._n_chunks - 1, max(sizes))

        flops, n_samples = self._trained(train, sizes, self.predictor)
        written = self._nbytes_of(self._store(strategy.buffer))
        written += sum(each.nbytes for each in strategy.held() if id(each) not in held)
        work = Work(flops, written, time.perf_counter() - start, n_samples)
        self.training.meter.add("training", work)
        return work

    def answers(self) -> tuple[Network, Version]:
        """A copy of the network that predicts, and its version."""
        return clone(self.predictor, self.predictor), self.version

    def answer_with(self, answers: tuple[Network, Version]) -> tuple[Network, Version]:
        """Predict with another network; returns the one until now, which must be back before the next chunk."""
        before = self.predictor, self.version
        self.predictor, self.version = answers
        return before

    def _store(self, buffer: Any) -> int:
        """Note what a buffer has, after it was updated; returns the number of new samples."""
        if buffer is None:
            return 0
        if self._n_chunks % strategies().COMPACTED_EVERY == 0:
            strategies().compact(buffer, self._transform)
        before, self._stored = self._stored, frozenset(strategies().ids_in(buffer))
        return len(self._stored - before)

    def _dataset(self, inputs: Shaped[Tensor, "n ..."], labels: Int64[Tensor, " n"]) -> Any:
        first, self._n_given = self._n_given, self._n_given + len(labels)
        return strategies().dataset_of(inputs, labels, range(first, self._n_given), self._transform)

    def _trained(self, train: Callable[[], None], sizes: Sequence[int], network: Network) -> tuple[int, int]:
        """Train a network in the learner's own random stream; returns FLOPs and samples that passed through."""
        passed = self._tally.n_samples
        try:
            with self._randomness, silence(), FlopCount() as counter:
                train()
        except ValueError as error:  # as of batch normalization, if a channel has but one number
            if min(sizes) > 1:
                raise
            raise InvalidSetting(
                f"expected at least 2 samples in each gradient step of {type(network).__name__}, got 1, which it "
                f"refuses: {error}; larger chunks have more"
            ) from error
        network.eval()
        norms = torch.stack(torch._foreach_norm(list(network.parameters())))
        if not bool(torch.isfinite(norms.sum())):
            raise TrainingDiverged(self._tally.n_steps - 1, self.training.recipe.lr)
        self.version = self.lineage.next()
        n_samples = self._tally.n_samples - passed
        self.training.progress(3 * n_samples)
        return counter.flops, n_samples


class RetrainedLearner(BaselineLearner):
    """Keeps samples in a buffer of Avalanche, and trains on them from the initial weights before it predicts.

    A training depends on the buffer, and on how many trainings came before. It cannot be saved, but forked: an
    evaluation on the way trains a fork, and changes nothing.

    Args:
        make: makes the buffer.
        given: what learners are made from.
        epochs: passes over the buffer in a training.
        schedule: the learning rate over a training.
    """

    lazy: ClassVar[bool] = True

    def __init__(self, make: Callable[[], Any], given: Given, *, epochs: int, schedule: Schedule) -> None:
        self._buffer, self._epochs, self._schedule = make(), epochs, schedule
        self._n_trained_on = 0
        super().__init__(lambda _: None, given)

    def _begin_with(self, network: Network) -> None:
        self._initial = self.predictor = network.eval()
        self._tally = Tally(self.training)

    @property
    def nbytes(self) -> int:
        """Bytes of the buffer's samples; the initial weights follow from the seed."""
        return len(self._stored) * self._sample_nbytes

    @property
    def pending(self) -> bool:
        """Whether samples were given since the last training."""
        return self._n_given != self._n_trained_on

    def learn(self, inputs: Shaped[Tensor, "n ..."], labels: Int64[Tensor, " n"]) -> Work:
        """Let the buffer have the chunk, and what labels are given beside it."""
        inputs, labels = self._further.beside(self._n_chunks, inputs, labels)
        self._n_chunks += 1
        if not len(labels):
            return Work()
        start = time.perf_counter()
        self._sample_nbytes = inputs[0].nbytes + LABEL_NBYTES
        with self._randomness, silence():
            self._buffer.update_from_dataset(self._dataset(inputs, labels))
        n_new = self._store(self._buffer)
        return Work(nbytes=n_new * self._sample_nbytes, seconds=time.perf_counter() - start)

    def flush(self) -> Work:
        """Train on the buffer, if samples came since the last training.

        Raises:
            TrainingDiverged: the weights became non-finite.
        """
        if not self.pending:
            return Work()
        start = time.perf_counter()
        samples = self._buffer.buffer
        sizes = even_sizes(len(samples), self.training.recipe.batch_size)
        network = clone(self._initial, self._initial)

        def train() -> None:
            n_steps = self._epochs * -(-len(samples) // max(sizes))
            parts = parts_of(network, self._given, self._tally)
            strategy = strategies().retrained(parts, epochs=self._epochs, schedule=self._schedule, n_steps=n_steps)
            strategy.train(samples, 0, max(sizes))

        flops, n_samples = self._trained(train, sizes, network)
        self.predictor, self._n_trained_on = network, self._n_given
        work = Work(flops, seconds=time.perf_counter() - start, samples=n_samples)
        self.training.meter.add("training", work)
        return work

    def fork(self) -> "RetrainedLearner":
        """An independent copy that draws the same random numbers from here on; weights that predict are shared."""
        fork = object.__new__(RetrainedLearner)
        fork.__dict__.update(self.__dict__)
        fork.lineage, fork._tally = Lineage(), Tally(self.training)
        fork._tally.n_steps, fork._tally.n_samples = self._tally.n_steps, self._tally.n_samples
        fork._buffer, fork._randomness = strategies().forked(self._buffer), self._randomness.fork()
        return fork


class FurtherLabels:
    """Labelled inputs that a learner is given beside its chunks.

    Args:
        by_chunk: for each chunk, by its position.
    """

    def __init__(self, by_chunk: Sequence[LabelledInputs]) -> None:
        self._by_chunk = by_chunk

    def beside(
        self, number: int, inputs: Shaped[Tensor, "n ..."], labels: Int64[Tensor, " n"]
    ) -> tuple[Shaped[Tensor, "m ..."], Int64[Tensor, " m"]]:
        """A chunk with what is given beside it."""
        if number >= len(self._by_chunk) or not len(self._by_chunk[number]):
            return inputs, labels
        further = self._by_chunk[number]
        both = ((inputs, further.inputs.to(inputs.device)), (labels, further.labels.to(labels.device)))
        return torch.cat(both[0]), torch.cat(both[1])


def strategies() -> Any:
    """The module of strategies, which imports Avalanche: that takes seconds, and only baselines need it."""
    from scenarios.baselines import strategies

    return strategies


@contextmanager
def silence() -> Iterator[None]:
    """Neither what Avalanche prints nor its warnings, which are about its own next version, are a user's concern."""
    with warnings.catch_warnings(record=True), redirect_stdout(io.StringIO()):  # it turns its own warnings on again
        warnings.simplefilter("ignore")
        yield


def parts_of(network: Network, given: Given, tally: Tally) -> Parts:
    """What a strategy is made from, for a network."""
    training = given.training
    optimizers = Optimizers(training.optimizers(network), tally)
    criterion, batch = Criterion(training.recipe.loss), training.recipe.batch_size
    return Parts(Prepared(network, tally), optimizers, criterion, batch, given.n_classes, training.device, tally)


def transform_of(augmentation: Augmentation) -> Callable[[Tensor], Tensor] | None:
    """The augmentation of one image, drawn from the global generator; each is mirrored with probability 1/2."""
    if not (augmentation.shift or augmentation.mirror):
        return None

    def augment(image: Tensor) -> Tensor:
        moves = augmentation.draw(1, 1, torch.default_generator)[0]
        return augmentation(image[None], moves.to(image.device))[0]

    return augment
