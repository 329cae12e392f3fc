"""The agent: a learner, a memory, and the mixture of their predictions."""

import copy
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor

from agent.abilities import Resumable, fork_of, state_of
from agent.accounting.work import Bill, Charge, Work
from agent.data.chunk import Chunk, LabelledInputs
from agent.data.sample_store import SampleStore
from agent.errors import InvalidSetting
from agent.evaluation.scores import Prediction
from agent.learners import Learner
from agent.learners.protocol import Estimating, LearningEstimate, Preparable
from agent.memory import Memory, ReadOut, Rekeyable
from agent.memory.mixture import Mixture, Setting
from agent.memory.rekeying import Rekeying, inputs_of, raw_nbytes, without
from agent.networks.outputs import Outputs
from agent.networks.protocol import Shape
from agent.operations import Action, Estimate
from agent.version import Version


@dataclass(frozen=True)
class CachedOutputs:
    """An agent's outputs on fixed inputs, for the next `look` at them by this agent or a fork."""

    learner: Version
    """Version of the learner that computed them."""
    memory: Version
    """Version of the memory at the recall."""
    outputs: Outputs
    looked: Work
    """Work of the forward pass."""
    settings: tuple[Setting, ...]
    """Settings of the recall."""
    recall: Any
    """The memory's own cache of the recall."""
    recalled: Work
    """Total work of the recall, equal to that of one from scratch."""


class Admitted(NamedTuple):
    """The samples that the learner has been given since its last flush, and their prices."""

    n_samples: int = 0
    priced: float = 0.0
    """Sum over the samples of the price of compute when each was given."""

    def plus(self, chunk: Chunk) -> "Admitted":
        """With one more chunk."""
        return Admitted(self.n_samples + len(chunk), self.priced + len(chunk) * chunk.price)

    @property
    def price(self) -> float:
        """Price of compute for the flush: the mean over the samples."""
        return self.priced / self.n_samples if self.n_samples else 1.0


class Agent:
    """A learner and a memory; every method that computes returns its work or its bill.

    Work is billed at the price of the chunk that ordered it, even if the learner does it later.

    Args:
        learner: learns by gradient descent.
        memory: an episodic memory.
        mixture: how their predictions are combined before `calibrate` fits it.
        rekeying: when keys of older networks are renewed; the agent stores raw images only if it needs them for that.

    Raises:
        InvalidSetting: re-keying of a memory that is not `Rekeyable`.
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
        self.raw_images = SampleStore(torch.device("cpu"))
        """Inputs of the entries in memory, if `rekeying` needs them; see `agent.memory.rekeying`."""
        self.n_chunks = 0
        self.n_memorized = 0
        """Samples given to the memory so far; also the id of the next one."""
        self.seen_classes: set[int] = set()
        """Classes of the samples that were learned or memorized."""
        self.admitted = Admitted()
        self._keyed_by: Version | None = learner.version  # that computed all keys in memory; None if several did

    @property
    def memory_nbytes(self) -> int:
        """Bytes of the memory and of the raw images for re-keying."""
        return self.memory.nbytes + self.raw_images.nbytes

    @property
    def nbytes(self) -> int:
        """Bytes of memory, raw images and the learner's samples, without weights."""
        return self.memory_nbytes + self.learner.nbytes

    @property
    def stale(self) -> bool:
        """Whether the memory holds keys from an older network."""
        return self.memory.n_entries > 0 and self._keyed_by != self.learner.version

    def perform(self, action: Action, chunk: Chunk, outputs: Outputs | None = None) -> Bill:
        """Perform an action on a chunk, and the periodic re-keying after it.

        Args:
            action: the decision.
            chunk: the current one.
            outputs: of the current learner on the chunk, if they are known and paid for.
        """
        bill = action.operation.perform(self, chunk, outputs)
        self.n_chunks += 1
        if not self.rekeying.every or self.n_chunks % self.rekeying.every:
            return bill
        return bill + self.flush() + self._rekey(chunk.price)

    def learn(self, chunk: Chunk) -> Bill:
        """Let the learner learn from the chunk."""
        bill = self.prepare(chunk)
        bill.append(Charge("learn", self.learner.learn(chunk.inputs, chunk.labels), chunk.price))
        self.seen_classes.update(chunk.labels.tolist())
        if self.learner.pending:
            self.admitted = self.admitted.plus(chunk)
        elif self.rekeying.on_learn:
            bill += self._rekey(chunk.price)
        return bill

    def prepare(self, chunk: Chunk) -> Bill:
        """Prepare the network from the first chunk, if the learner is `Preparable`; no work for later chunks."""
        if self.n_chunks or not isinstance(self.learner, Preparable):
            return []
        work = self.learner.prepare(chunk.inputs)
        return [Charge("learn", work, chunk.price)] if work != Work() else []

    def memorize(self, chunk: Chunk, outputs: Outputs | None = None) -> Bill:
        """Store the chunk in memory under keys of the current learner; `outputs` are those of `perform`."""
        bill = self.prepare(chunk) + self.flush()
        work = Work()
        if outputs is None:
            outputs, work = self.learner.forward(chunk.inputs)
        first, n_before = self.n_memorized, self.memory.n_entries
        ids = torch.arange(first, first + len(chunk))
        inputs = chunk.inputs if self.memory.needs_inputs else None
        stored, evicted = self.memory.insert(outputs, chunk.labels, ids, inputs)
        if int((evicted < first).sum()) == n_before:  # no earlier entry is left
            self._keyed_by = self.learner.version
        elif self._keyed_by != self.learner.version:
            self._keyed_by = None
        self.n_memorized += len(chunk)
        self.seen_classes.update(chunk.labels.tolist())
        if self.rekeying.needs_inputs:
            stored += Work(nbytes=raw_nbytes(chunk.inputs))
            self.raw_images.append(chunk.inputs, ids)
            self.raw_images = without(self.raw_images, evicted)
        bill.append(Charge("memorize", work + stored, chunk.price))
        return bill

    def flush(self) -> Bill:
        """Let the learner learn from all pending samples; then renew the keys, if `rekeying` is `on_learn`.

        The bill uses the mean price of the pending samples, so each chunk pays its share at its own price.
        """
        if not self.learner.pending:
            return []
        price, self.admitted = self.admitted.price, Admitted()
        bill: Bill = [Charge("learn", self.learner.flush(), price)]
        return bill + (self._rekey(price) if self.rekeying.on_learn else [])

    def _rekey(self, price: float) -> Bill:
        if not self.stale:
            return []
        forward = Work()

        def renew(ids: Int64[Tensor, " n"]) -> Outputs:
            nonlocal forward
            outputs, work = self.learner.forward(inputs_of(self.raw_images, ids))
            forward += work
            return outputs

        assert isinstance(self.memory, Rekeyable)
        stored = self.memory.rekey(renew)
        self._keyed_by = self.learner.version
        return [Charge("rekey", forward + stored, price)]

    def estimate_flush(self, inputs: Shaped[Tensor, "n ..."]) -> Bill:
        """The bill of `flush`, without seconds and without doing it.

        Args:
            inputs: of the learner's input shape; their number does not matter.
        """
        if not self.learner.pending:
            return []
        price, rekeying = self.admitted.price, self._rekeying_on_learn()
        bill: Bill = [Charge("learn", self._learning(inputs[:0]).later, price)]
        return bill + ([Charge("rekey", rekeying, price)] if rekeying != Work() else [])

    def estimate_learning(self, chunk: Chunk) -> Estimate:
        """Estimate `learn`, with the chunk's share of a `flush` right after it.

        It includes re-keying on learning, but not re-keying every n chunks, which no single decision causes, nor the
        bytes of the learner's samples.
        """
        (at_once, later), rekeying = self._learning(chunk.inputs), self._rekeying_on_learn()
        if later == Work():
            return Estimate([Charge("learn", at_once + rekeying, chunk.price)])
        share = len(chunk) / (self.admitted.n_samples + len(chunk))
        shared = Charge("learn", later + rekeying, chunk.price)
        return Estimate([Charge("learn", at_once, chunk.price)], (shared,), share)

    def estimate_memorizing(self, chunk: Chunk, *, looked: bool) -> Estimate:
        """Estimate `memorize`, with the `flush` that comes first.

        Args:
            chunk: the current one.
            looked: whether the outputs of the current learner on it are known and paid for.
        """
        insertion = self.memory.estimate_insert(len(chunk), self.learner.key_length(chunk.inputs.shape[1:]))
        written, held = 0, insertion.held_nbytes
        if self.rekeying.needs_inputs and len(chunk):
            written = raw_nbytes(chunk.inputs)
            held += (len(chunk) - insertion.n_evicted) * (written // len(chunk))
        flops = 0 if looked else self.learner.forward_flops(len(chunk), chunk.inputs.shape[1:])
        pending = self.estimate_flush(chunk.inputs)
        bill = [*pending, Charge("memorize", insertion.work + Work(flops, written), chunk.price)]
        return Estimate(bill, held_nbytes=held)

    def _learning(self, inputs: Shaped[Tensor, "n ..."]) -> LearningEstimate:
        """The learner's estimate; no work if it is not `Estimating`."""
        if isinstance(self.learner, Estimating):
            return self.learner.estimate(inputs)
        return LearningEstimate(Work(), Work())

    def _rekeying_on_learn(self) -> Work:
        """The work of the re-keying that follows a change of the learner."""
        if not self.rekeying.on_learn or not len(self.raw_images):
            return Work()
        assert isinstance(self.memory, Rekeyable)
        flops = self.learner.forward_flops(len(self.raw_images), self.raw_images.rows.shape[1:])
        return Work(flops) + self.memory.estimate_rekey()

    def answering(self, n: int, shape: Shape) -> Work:
        """The work of answering n queries of `shape`: a forward pass and a look-up at one setting for each."""
        flops = self.learner.forward_flops(n, shape) + self.memory.recall_flops(n)
        return Work(flops, samples=n)

    def look(
        self,
        inputs: Shaped[Tensor, "n ..."],
        settings: tuple[Setting, ...],
        before: CachedOutputs | None = None,
    ) -> tuple[CachedOutputs, ReadOut, Work]:
        """Pass inputs through the network and look their keys up in memory; the learner must be flushed.

        Args:
            inputs: any number of them.
            settings: of the recall.
            before: result of an earlier call with the same inputs, by this agent, an ancestor, or a fork that did
                nothing else since. The network then computes only if the learner has changed, and the memory only what
                has changed, if it can.

        Returns:
            The outputs for the next call, the read-out, and the work of what was computed.
        """
        spent = Work()
        if before and before.learner == self.learner.version:
            outputs, looked = before.outputs, before.looked
        else:
            before = None
            outputs, looked = self.learner.forward(inputs)
            spent = looked
        if before and (before.settings != settings or before.memory != self.memory.version):
            before = None
        read_out, recall, new = self.memory.recall(outputs.keys, settings, before.recall if before else None)
        recalled = before.recalled + new if before else new
        versions = self.learner.version, self.memory.version
        return CachedOutputs(*versions, outputs, looked, settings, recall, recalled), read_out, spent + new

    def fit(
        self,
        validation: LabelledInputs,
        before: CachedOutputs | None = None,
        usable: Bool[Tensor, " n_validation"] | None = None,
    ) -> tuple[Mixture, CachedOutputs | None, Work]:
        """Fit the mixture to validation data; the learner must be flushed.

        It uses only images of seen classes, so that nothing about future classes leaks. Without any such image the
        mixture stays as it is, without work; with an empty memory it is w = 1, without work.

        Args:
            validation: data that neither trained the learner nor entered the memory.
            before: cached outputs on the validation data; see `look`.
            usable: which images may be used; None for all.
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
        """Replace the mixture by that of `fit`, which has the same arguments."""
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
        """Predict inputs; the learner must be flushed.

        Args:
            inputs: any number of them.
            before: cached outputs on the inputs; see `look`.
            mixture: None for the agent's own.
            at_every_setting: recall at all settings of the memory, so that the cached outputs remain useful when
                another setting is fitted.
        """
        mixture = mixture or self.mixture
        setting = self.memory.prior if mixture.setting is None else mixture.setting
        settings = self.memory.settings if at_every_setting else (setting,)
        if setting not in settings:  # a mixture that `fit` did not choose
            settings = (*settings, setting)
        cached, read_out, spent = self.look(inputs, settings, before)
        learner, memory = cached.outputs.probabilities, read_out.probabilities[settings.index(setting)]
        combined = self.memory.combine(learner, memory, mixture)
        return Prediction(combined, learner, memory if self.memory.n_entries else None), cached, read_out, spent

    def fork(self) -> "Agent":
        """An independent agent with the same past, which draws the same random numbers."""
        fork = copy.copy(self)
        fork.learner, fork.memory = fork_of(self.learner), self.memory.fork()
        fork.raw_images, fork.seen_classes = self.raw_images.fork(), set(self.seen_classes)
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
            "admitted": list(self.admitted),
            "stale": self.stale,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
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
