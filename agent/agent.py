"""The agent: a learner, a memory, and the mixture of what they say."""

import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor

from agent.abilities import Resumable, fork_of, state_of
from agent.accounting.work import Bill, Charge, Work
from agent.data.chunk import Chunk, LabelledInputs
from agent.errors import InvalidSetting
from agent.evaluation.scores import Prediction
from agent.learners import Learner
from agent.learners.protocol import Estimating, LearningEstimate, Preparable
from agent.memory import Memory, ReadOut, Rekeyable
from agent.memory.mixture import Mixture, Setting
from agent.memory.rekeying import RawImages, Rekeying
from agent.networks.outputs import Outputs
from agent.networks.protocol import Shape
from agent.operations import Action
from agent.version import Version


@dataclass(frozen=True)
class CachedOutputs:
    """What an agent made of a fixed set of images, kept for the next look at them; forks may go on from the same."""

    learner: Version
    """The learner's, at the time."""
    memory: Version
    """The memory's, at the time."""
    outputs: Outputs
    looked: Work
    """Of the forward pass."""
    settings: tuple[Setting, ...]
    """What the memory was read with."""
    recall: Any
    """The memory's own cache, which only the memory understands."""
    recalled: Work
    """What the recall has cost in all, as much as one from scratch would."""


@dataclass(frozen=True)
class Admitted:
    """What a learner has been given since it was last brought up to date, and at which prices."""

    n_samples: int = 0
    priced: float = 0.0
    """Samples times the price of compute at which each was given, summed."""

    def plus(self, chunk: Chunk) -> "Admitted":
        """With a chunk more."""
        return Admitted(self.n_samples + len(chunk), self.priced + len(chunk) * chunk.price)

    @property
    def price(self) -> float:
        """At which bringing the learner up to date is billed: each chunk pays its samples' share at its own price."""
        return self.priced / self.n_samples if self.n_samples else 1.0


class Estimate(NamedTuple):
    """What an action will take; nothing is done for it."""

    bill: Bill
    """For the action alone."""
    shared: tuple[Charge, ...] = ()
    """For a training right after, which other chunks have ordered too."""
    share: float = 1.0
    """Of that the part of the chunk at hand: by samples, 0 to 1."""
    held_nbytes: int = 0
    """Bytes that will be held in addition."""

    @property
    def flops(self) -> float:
        """Charged for the chunk at hand."""
        alone, shared = (sum(charge.work.flops for charge in bill) for bill in (self.bill, self.shared))
        return alone + self.share * shared


class Agent:
    """Learner and memory under one roof; every method that computes returns its bill.

    Work is billed at the price of the chunk that ordered it, also where a learner does it later.

    Args:
        learner: the slow system: gradient descent.
        memory: the fast one: an episodic store.
        mixture: how the two are combined, until `calibrate` fits it.
        rekeying: what is done about keys of an older network; raw images are kept only where it needs them.

    Raises:
        InvalidSetting: re-keying of a memory that cannot be re-keyed.
    """

    def __init__(
        self,
        learner: Learner,
        memory: Memory[Any],
        mixture: Mixture | None = None,
        rekeying: Rekeying = Rekeying(),  # noqa: B008 (frozen)
    ) -> None:
        if rekeying.needs_inputs and not isinstance(memory, Rekeyable):
            raise InvalidSetting(
                "expected a memory whose entries can be renewed (agent.memory.Rekeyable), got "
                f"{type(memory).__name__}; --rekey never"
            )
        self.learner = learner
        self.memory = memory
        self.mixture = mixture or Mixture()
        self.rekeying = rekeying
        self.raw_images = RawImages()
        self.n_chunks = 0
        self.n_memorized = 0
        """Samples given to the memory so far; the number of the next one is its id."""
        self.seen_classes: set[int] = set()
        """Classes that it has learned or memorized."""
        self.admitted = Admitted()
        self._keyed_by: Version | None = learner.version  # of the weights behind all keys in memory; None for several

    @property
    def memory_nbytes(self) -> int:
        """Bytes of the memory and of the raw images kept for re-keying."""
        return self.memory.nbytes + self.raw_images.nbytes

    @property
    def nbytes(self) -> int:
        """Bytes held in all: memory, raw images, and what the learner rehearses (but no weights)."""
        return self.memory_nbytes + self.learner.nbytes

    @property
    def stale(self) -> bool:
        """Whether the memory holds keys of an older network."""
        return self.memory.n_entries > 0 and self._keyed_by != self.learner.version

    def perform(self, action: Action, chunk: Chunk, outputs: Outputs | None = None) -> Bill:
        """Do with a chunk what was decided, and what is due after so many chunks.

        Args:
            action: an operation.
            chunk: at hand.
            outputs: of the chunk, if the learner as it is has looked already and been paid for it.
        """
        bill = action.operation.perform(self, chunk, outputs)
        self.n_chunks += 1
        if not self.rekeying.every or self.n_chunks % self.rekeying.every:
            return bill
        return bill + self.flush() + self._rekey(chunk.price)

    def learn(self, chunk: Chunk) -> Bill:
        """Spend compute: let the learner learn from the chunk."""
        bill = self.prepare(chunk)
        bill.append(Charge("learn", self.learner.learn(chunk.inputs, chunk.labels), chunk.price))
        self.seen_classes.update(chunk.labels.tolist())
        if self.learner.pending:
            self.admitted = self.admitted.plus(chunk)
        elif self.rekeying.on_learn:
            bill += self._rekey(chunk.price)
        return bill

    def prepare(self, chunk: Chunk) -> Bill:
        """Before anything is done with the first chunk: prepare the network from it, if the learner asks for that."""
        if self.n_chunks or not isinstance(self.learner, Preparable):
            return []
        work = self.learner.prepare(chunk.inputs)
        return [Charge("learn", work, chunk.price)] if work != Work() else []

    def memorize(self, chunk: Chunk, outputs: Outputs | None = None) -> Bill:
        """Spend storage: append the chunk to the memory, under keys of the learner as it is now.

        Args:
            chunk: to be stored.
            outputs: of the chunk, if the learner as it is has looked already and been paid for it.
        """
        bill = self.prepare(chunk) + self.flush()
        work = Work()
        if outputs is None:
            outputs, work = self.learner.forward(chunk.inputs)
        first, n_before = self.n_memorized, self.memory.n_entries
        ids = torch.arange(first, first + len(chunk))
        inputs = chunk.inputs if self.memory.needs_inputs else None
        stored, evicted = self.memory.insert(outputs, chunk.labels, ids, inputs)
        if int((evicted < first).sum()) == n_before:  # nothing is left from before
            self._keyed_by = self.learner.version
        elif self._keyed_by != self.learner.version:
            self._keyed_by = None
        self.n_memorized += len(chunk)
        self.seen_classes.update(chunk.labels.tolist())
        if self.rekeying.needs_inputs:
            stored += self.raw_images.append(chunk.inputs, ids)
            self.raw_images.drop(evicted)
        bill.append(Charge("memorize", work + stored, chunk.price))
        return bill

    def flush(self) -> Bill:
        """Bring the learner up to date with all it has admitted, and the keys with the learner if they follow it.

        Whoever asks for it, the chunks that were admitted pay, in proportion to their samples, each at its own price.
        """
        if not self.learner.pending:
            return []
        price, self.admitted = self.admitted.price, Admitted()
        bill: Bill = [Charge("learn", self.learner.flush(), price)]
        return bill + (self._rekey(price) if self.rekeying.on_learn else [])

    def _rekey(self, price: float) -> Bill:
        if not self.stale:
            return []
        looked = Work()

        def renew(ids: Int64[Tensor, " n"]) -> Outputs:
            nonlocal looked
            outputs, work = self.learner.forward(self.raw_images.of(ids))
            looked += work
            return outputs

        assert isinstance(self.memory, Rekeyable)
        stored = self.memory.rekey(renew)
        self._keyed_by = self.learner.version
        return [Charge("rekey", looked + stored, price)]

    def estimate_flush(self, inputs: Shaped[Tensor, "n ..."]) -> Bill:
        """What `flush` would bill now, without its seconds; nothing is done.

        Args:
            inputs: any number of the shape of those admitted.
        """
        if not self.learner.pending:
            return []
        price = self.admitted.price
        bill: Bill = [Charge("learn", self._learning(inputs[:0]).later, price)]
        return bill + ([Charge("rekey", self._rekeying_work(), price)] if self._rekeys_on_learn else [])

    def estimate_learning(self, chunk: Chunk) -> Estimate:
        """What LEARN takes, and the `flush` right after it as far as this chunk pays for it; nothing is done.

        The re-keying on learning is part of it. Re-keying every n chunks follows from no single decision, and is left
        out; so is holding what the learner keeps.
        """
        at_once, later = self._learning(chunk.inputs)
        rekeyed = self._rekeying_work() if self._rekeys_on_learn else Work()
        if later == Work():
            work = at_once + rekeyed
            return Estimate([Charge("learn", work, chunk.price)])
        share = len(chunk) / (self.admitted.n_samples + len(chunk))
        shared = Charge("learn", later + rekeyed, chunk.price)
        return Estimate([Charge("learn", at_once, chunk.price)], (shared,), share)

    def estimate_memorizing(self, chunk: Chunk, *, looked: bool) -> Estimate:
        """What MEMORIZE takes, and the `flush` that it makes necessary; nothing is done.

        Args:
            chunk: to be stored.
            looked: whether the learner as it is has looked at the chunk already, and been paid for it.
        """
        insertion = self.memory.estimate_insert(len(chunk), self.learner.key_length(chunk.inputs.shape[1:]))
        written, held = 0, insertion.held_nbytes
        if self.rekeying.needs_inputs and len(chunk):
            written = RawImages.nbytes_of(chunk.inputs)
            held += (len(chunk) - insertion.n_evicted) * (written // len(chunk))
        flops = 0 if looked else self.learner.forward_flops(len(chunk), chunk.inputs.shape[1:])
        pending = self.estimate_flush(chunk.inputs)
        bill = [*pending, Charge("memorize", insertion.work + Work(flops, written), chunk.price)]
        return Estimate(bill, held_nbytes=held)

    def _learning(self, inputs: Shaped[Tensor, "n ..."]) -> LearningEstimate:
        """What the learner says; nothing for one that cannot say."""
        return (
            self.learner.estimate(inputs) if isinstance(self.learner, Estimating) else LearningEstimate(Work(), Work())
        )

    @property
    def _rekeys_on_learn(self) -> bool:
        return self.rekeying.on_learn and len(self.raw_images) > 0

    def _rekeying_work(self) -> Work:
        """Of computing all keys anew."""
        assert isinstance(self.memory, Rekeyable)
        flops = self.learner.forward_flops(len(self.raw_images), self.raw_images.shape)
        return Work(flops) + self.memory.estimate_rekey()

    def answering(self, n: int, shape: Shape) -> Work:
        """The work of answering n queries: for each a forward pass, and a look-up in memory at one setting.

        Args:
            n: number of queries.
            shape: of the inputs that are asked about.
        """
        flops = self.learner.forward_flops(n, shape) + self.memory.recall_flops(n)
        return Work(flops, samples=n)

    def look(
        self,
        inputs: Shaped[Tensor, "n ..."],
        settings: tuple[Setting, ...],
        before: CachedOutputs | None = None,
    ) -> tuple[CachedOutputs, ReadOut, Work]:
        """Look at inputs, again or for the first time; the learner must be flushed.

        Args:
            inputs: to be seen and looked up in memory.
            settings: to read the memory with.
            before: what was kept of an earlier look at the same inputs, by this agent, an ancestor, or a fork of it
                that only looked. The learner looks again only if it has moved on, and only what is new in memory since
                is computed, where the memory can tell it apart.

        Returns:
            What to keep for the next look, what the memory answers, and the work it took: nothing for what has not
            changed.
        """
        spent = Work()
        if before is not None and before.learner != self.learner.version:
            before = None
        if before is None:
            outputs, looked = self.learner.forward(inputs)
            spent = looked
        else:
            outputs, looked = before.outputs, before.looked
        if before is None or before.settings != settings or before.memory != self.memory.version:
            read_out, recall, new = self.memory.recall(outputs.keys, settings)
            recalled = new
        else:
            read_out, recall, new = self.memory.recall(outputs.keys, settings, before.recall)
            recalled = before.recalled + new
        versions = self.learner.version, self.memory.version
        return CachedOutputs(*versions, outputs, looked, settings, recall, recalled), read_out, spent + new

    def fit(
        self,
        validation: LabelledInputs,
        before: CachedOutputs | None = None,
        usable: Bool[Tensor, " n_validation"] | None = None,
    ) -> tuple[Mixture, CachedOutputs | None, Work]:
        """The mixture that suits validation data, which must neither train the learner nor enter the memory.

        Of the validation data those count whose class the agent has been taught, lest it learn of the future; without
        any, the mixture stays as it is, at no work. With an empty memory there is nothing to fit: w = 1, and no work.
        The learner must be flushed.

        Args:
            validation: images and their classes.
            before: what was kept of an earlier look at them; see `look`.
            usable: which of them show what the stream has shown so far; None for all.
        """
        if not self.memory.n_entries:
            return Mixture(), before, Work()
        known = torch.isin(validation.labels.cpu(), torch.tensor(sorted(self.seen_classes)))
        if usable is not None:
            known &= usable
        if not known.any():
            return self.mixture, before, Work()
        cached, read_out, spent = self.look(validation.inputs, self.memory.settings, before)
        start = time.perf_counter()
        learner, memory = cached.outputs.probabilities.cpu(), read_out.probabilities.cpu()
        mixture = self.memory.fit(learner[known], memory[:, known], validation.labels.cpu()[known])
        return mixture, cached, spent + Work(seconds=time.perf_counter() - start)

    def calibrate(
        self,
        validation: LabelledInputs,
        before: CachedOutputs | None = None,
        usable: Bool[Tensor, " n_validation"] | None = None,
    ) -> tuple[CachedOutputs | None, Work]:
        """Take on the mixture that `fit` finds; see there for the arguments."""
        self.mixture, cached, spent = self.fit(validation, before, usable)
        return cached, spent

    def answer(
        self,
        inputs: Shaped[Tensor, "n ..."],
        before: CachedOutputs | None = None,
        mixture: Mixture | None = None,
        *,
        at_every_setting: bool = False,
    ) -> tuple[Prediction, CachedOutputs, ReadOut, Work]:
        """Predict inputs with the agent's mixture, or another; the learner must be flushed.

        Args:
            inputs: to be predicted.
            before: what was kept of an earlier look at them; see `look`.
            mixture: None for the agent's own.
            at_every_setting: recall at all settings of the memory, so that the next look finds what it needs whichever
                is fitted then.
        """
        mixture = mixture or self.mixture
        setting = self.memory.prior if mixture.setting is None else mixture.setting
        settings = self.memory.settings if at_every_setting else (setting,)
        if setting not in settings:  # a mixture of one's own
            settings = (*settings, setting)
        cached, read_out, spent = self.look(inputs, settings, before)
        learner, memory = cached.outputs.probabilities, read_out.probabilities[settings.index(setting)]
        combined = self.memory.combine(learner, memory, mixture)
        told = memory if self.memory.n_entries else None
        return Prediction(combined, learner, told), cached, read_out, spent

    def predict(self, inputs: Shaped[Tensor, "n ..."]) -> tuple[Prediction, Bill]:
        """Probabilities for inputs, once the learner is up to date; the work is `answer`."""
        flushed = self.flush()
        prediction, cached, _, _ = self.answer(inputs)
        return prediction, [*flushed, Charge("answer", cached.looked + cached.recalled)]

    def fork(self) -> "Agent":
        """An agent with the same past, and a future that draws the same numbers."""
        fork = Agent(fork_of(self.learner), self.memory.fork(), self.mixture, self.rekeying)
        fork.raw_images, fork.n_chunks, fork.n_memorized = self.raw_images.fork(), self.n_chunks, self.n_memorized
        fork._keyed_by = self._keyed_by
        fork.seen_classes, fork.admitted = set(self.seen_classes), self.admitted
        return fork

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `load_state` restores the agent to the bit."""
        return {
            "learner": state_of(self.learner),
            "memory": self.memory.state(),
            "mixture": self.mixture.as_json(),
            "raw_images": self.raw_images.state(),
            "n_chunks": self.n_chunks,
            "n_memorized": self.n_memorized,
            "seen_classes": sorted(self.seen_classes),
            "admitted": [self.admitted.n_samples, self.admitted.priced],
            "stale": self.stale,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Become the agent whose `state` this is."""
        assert isinstance(self.learner, Resumable)
        self.learner.load_state(state["learner"])
        self.memory.load_state(state["memory"])
        self.mixture = Mixture.from_json(state["mixture"])
        self.raw_images.load_state(state["raw_images"])
        self.n_chunks, self.n_memorized = state["n_chunks"], state["n_memorized"]
        self.seen_classes = set(state["seen_classes"])
        n_samples, priced = state["admitted"]
        self.admitted = Admitted(n_samples, priced)
        self._keyed_by = None if state["stale"] else self.learner.version
