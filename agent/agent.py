"""The agent: a learner, a memory, and the mixture of their predictions."""

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor

from agent.accounting.meter import Meter, Part
from agent.accounting.work import Bill, Charge, Work
from agent.data.chunk import Chunk, LabelledInputs
from agent.data.sample_store import LABEL_NBYTES
from agent.errors import InvalidSetting
from agent.evaluation.cached import CachedOutputs
from agent.evaluation.scores import Prediction
from agent.learners import Learner
from agent.learners.protocol import BoundedStorage, KeyReading, Remembering
from agent.learners.shared import SharedLearner
from agent.memory import Memory, ReadOut, Rekeyable
from agent.memory.consolidation import Consolidation
from agent.memory.decorated import Decorated, evictable
from agent.memory.mixture import WITHIN, Mixture, Rule, fit_temperature, fixed_mixture, tempered
from agent.memory.protocol import Evictable, InsertionEstimate
from agent.memory.raw_images import RawImages, spaced
from agent.memory.rekeying import Rekeying
from agent.memory.settings import Setting
from agent.memory.transformed import N_FITTED, TransformedMemory
from agent.networks.keys import Columns
from agent.networks.outputs import Outputs
from agent.networks.protocol import Shape
from agent.operations import Action, Estimate, offered
from agent.version import Version


class Agent:
    """A learner and a memory; every method that computes returns its work or its bill.

    Work is billed at the price of the chunk that ordered it, even if the learner does it later. Several agents may
    share a learner (`share`) and do what concerns it in turns; each is billed for all of it.

    Args:
        learner: learns by gradient descent.
        memory: an episodic memory.
        mixture: how their predictions are combined before `calibrate` fits it.
        rekeying: when keys of older networks are renewed.
        consolidation: what the action CONSOLIDATE learns; by default the agent does not offer it. Raw images are stored
            for re-keying, and for consolidation until they are learned; else none are.
        both: whether it offers the action BOTH, which learns a chunk and then memorizes it; by default it does not.
        calibrate_every: chunks between fits of the mixture that the agent pays for; it also fits when the memory gets
            its first entries, and at the end. With 0 it fits at the end alone, and evaluations before fit a mixture
            on the account `evaluate`.
        keys: the columns of the learner's keys that are this agent's (`agent.networks.keys.joint_keys`); None for all.
        rule: how the mixture is fitted; if it is `fixed`, it follows from the memory alone.
        meter: counts recall and calibration; forks share it.

    Raises:
        InvalidSetting: re-keying of a memory that is not `Rekeyable`, a release of entries that cannot be removed, raw
            images beside a shared capacity, or a negative number of chunks.
    """

    def __init__(
        self,
        learner: Learner,
        memory: Memory[Any],
        mixture: Mixture | None = None,
        rekeying: Rekeying = Rekeying(),  # noqa: B008 (frozen)
        consolidation: Consolidation = Consolidation(),  # noqa: B008 (frozen)
        both: bool = False,
        calibrate_every: int = 0,
        keys: Columns | None = None,
        rule: Rule = "author",
        meter: Meter | None = None,
    ) -> None:
        if rekeying.needs_inputs and not isinstance(memory, Rekeyable):
            raise InvalidSetting(
                "expected a memory whose entries can be renewed (agent.memory.Rekeyable), got "
                f"{type(memory).__name__}; --rekey never"
            )
        if consolidation.release and not evictable(memory):
            raise InvalidSetting(
                "expected a memory whose entries can be removed (cache, knn, residual, logistic, or one of your own "
                f"with agent.memory.protocol.Evictable) to release them, got {type(memory).__name__}; --consolidate "
                f"{consolidation.images}"
            )
        self.rekeying, self.consolidation, self.both = rekeying, consolidation, both
        self.raw_images = RawImages(all_kept=rekeying.needs_inputs, awaiting=consolidation.needs_inputs)
        shared_nbytes = memory.shared_nbytes if isinstance(memory, Decorated) else None
        if self.raw_images.stores and shared_nbytes is not None:
            raise InvalidSetting(
                f"expected neither re-keying nor consolidation with a capacity of {shared_nbytes:,} bytes that is "
                "shared with the learner, as raw images would come on top; --rekey never, --consolidate never"
            )
        if calibrate_every < 0:
            raise InvalidSetting(f"expected 0 or more chunks between calibrations, got {calibrate_every}")
        self.shared = SharedLearner(learner)
        self.memory = memory
        self._mixture = mixture or Mixture()
        self.meter = meter or Meter()
        self.calibrate_every, self.keys, self.rule = calibrate_every, keys, rule
        self.n_chunks = 0
        self.n_learned = 0
        """Samples given to the learner so far."""
        self.n_memorized = 0
        """Samples given to the memory so far; also the id of the next one."""
        self.seen_classes: set[int] = set()
        """Classes of the samples that were learned or memorized."""
        self._keyed_by: Version | None = learner.version  # that computed all keys in memory; None if several did

    @property
    def mixture(self) -> Mixture:
        """How the predictions of learner and memory are combined."""
        if self.rule != "fixed":
            return self._mixture
        return fixed_mixture(self.memory.prior) if self.memory.n_entries else Mixture()

    @mixture.setter
    def mixture(self, mixture: Mixture) -> None:
        self._mixture = mixture

    @property
    def learner(self) -> Learner:
        """The learner, which other agents may share; see `SharedLearner.learner`."""
        return self.shared.learner

    @property
    def memory_nbytes(self) -> int:
        """Bytes of the memory and of its raw images."""
        return self.memory.nbytes + self.raw_images.nbytes

    @property
    def nbytes(self) -> int:
        """Bytes of memory, raw images and the learner's samples, without weights."""
        return self.memory_nbytes + self.learner.nbytes

    @property
    def operations(self) -> tuple[str, ...]:
        """The names of the operations that it offers, in the order of `agent.operations.OPERATIONS`."""
        return offered(self.consolidation, both=self.both)

    @property
    def stale(self) -> bool:
        """Whether the memory holds keys from an older network."""
        return self.memory.n_entries > 0 and self._keyed_by != self.learner.version

    @property
    def rekeying_due(self) -> bool:
        """Whether the periodic re-keying follows the last chunk."""
        return self.rekeying.every > 0 and self.n_chunks % self.rekeying.every == 0

    @property
    def calibration_due(self) -> bool:
        """Whether a calibration follows the last chunk."""
        if not self.calibrate_every:
            return False
        return self.n_chunks % self.calibrate_every == 0 or (self.memory.n_entries > 0 and not self.mixture.fitted)

    def perform(self, action: Action, chunk: Chunk, outputs: Outputs | None = None) -> Bill:
        """Perform an action on a chunk.

        Args:
            action: the decision.
            chunk: the current one.
            outputs: of this agent on the chunk (`forward`), if they are known and paid for.
        """
        bill = action.operation.perform(self, chunk, outputs)
        self.n_chunks += 1
        return bill

    def learn(self, chunk: Chunk) -> Bill:
        """Let the learner learn from the chunk."""
        bill = self._learn(chunk)
        self._reserve()
        return bill

    def _learn(self, chunk: Chunk) -> Bill:
        """`learn`, without leaving room for what the learner stores."""
        bill = self.prepare(chunk) + self.shared.learn(chunk)
        self.n_learned += len(chunk)
        self.seen_classes.update(chunk.labels.tolist())
        if self.rekeying.on_learn and not self.shared.pending:
            bill += self._rekey(chunk.price)
        return bill

    def prepare(self, chunk: Chunk) -> Bill:
        """Prepare the network from the first chunk, if the learner is `Preparable`; no work for later chunks."""
        return [] if self.n_chunks else self.shared.prepare(chunk)

    def memorize(self, chunk: Chunk, outputs: Outputs | None = None) -> Bill:
        """Store the chunk in memory under keys of the current learner; `outputs` are those of `perform`."""
        return self._memorize(chunk, outputs)

    def _memorize(self, chunk: Chunk, outputs: Outputs | None = None, *, learned: bool = False) -> Bill:
        """`memorize`; `learned` says whether the learner has learned the chunk already."""
        bill = self.prepare(chunk) + self.flush()
        self._reserve()
        work = Work()
        if outputs is None:
            outputs, work = self.shared.forward(chunk.inputs, self.keys, plain=True)
        if len(chunk):
            work += self._fit_keys()
        first, n_before = self.n_memorized, self.memory.n_entries
        ids = torch.arange(first, first + len(chunk))
        inputs = chunk.inputs if self.memory.needs_inputs else None
        stored, evicted = self.memory.insert(outputs, chunk.labels, ids, inputs)
        self.meter.add("memorize", stored)
        if int((evicted < first).sum()) == n_before:  # no earlier entry is left
            self._keyed_by = self.learner.version
        elif self._keyed_by != self.learner.version:
            self._keyed_by = None
        self.n_memorized += len(chunk)
        self.seen_classes.update(chunk.labels.tolist())
        stored += Work(nbytes=self.raw_images.append(chunk.inputs, chunk.labels, ids, learned=learned))
        self.raw_images.evict(evicted)
        bill.append(Charge("memorize", work + stored, chunk.price))
        return bill

    def consolidate(self, chunk: Chunk, outputs: Outputs | None = None) -> Bill:
        """Memorize the chunk, and then learn from images in memory that the learner has not learned yet.

        They are up to as many as `consolidation` says, evenly spaced by age among all that wait, those of this chunk
        included. Each image is learned once at most. If `consolidation` says so, the memory forgets them; else their
        keys stay, but not their raw images.
        """
        bill = self.memorize(chunk, outputs)
        ids = self.raw_images.next(self.consolidation.images)
        if not len(ids):
            return bill
        images = self.raw_images.of(ids)
        if self.consolidation.release:
            assert isinstance(self.memory, Evictable | Decorated)
            self.memory.evict(ids)
            self.raw_images.evict(ids)
        else:
            self.raw_images.learned(ids)
        return bill + self.learn(replace(chunk, sample_ids=ids, inputs=images.inputs, labels=images.labels))

    def learn_and_memorize(self, chunk: Chunk) -> Bill:
        """Learn the chunk, and then memorize it under the keys of the network after that.

        A learner that learns later, such as refit, learns now: each such chunk costs a training on all that was
        learned. Re-keying on learning renews the earlier entries in between. The chunk does not wait for CONSOLIDATE.

        References:
            Orhan, "A simple cache model for image recognition", 2018, arXiv:1805.08709: a cache over the images that
            the network was trained on.
        """
        # `_memorize` leaves room for the learner's samples, once the learner has changed for the last time.
        return self._learn(chunk) + self._memorize(chunk, learned=True)

    def _reserve(self) -> None:
        """Leave room for the learner's samples in a capacity that they share with the memory."""
        if isinstance(self.memory, Decorated):
            self.memory.reserve(self.learner.nbytes)

    def _fit_keys(self) -> Work:
        """Fit the memory's transform of keys to learned samples, if that is due and the learner still has some."""
        positions = self._fitted_samples()
        if not len(positions):
            return Work()
        assert isinstance(self.memory, TransformedMemory)
        assert isinstance(self.learner, Remembering)
        inputs, _ = self.learner.samples.batch(positions)
        outputs, work = self.shared.forward(inputs, self.keys, remembered=False, plain=True)
        return work + self.memory.fit_keys(outputs.keys)

    def _fitted_samples(self, n_further: int = 0) -> Int64[Tensor, " n"]:
        """Which of the learner's samples, and so many further ones, the next insert fits a transform to.

        They are evenly spaced.
        """
        due = isinstance(self.memory, TransformedMemory) and self.memory.wants_keys
        n = len(self.learner.samples) + n_further if due and isinstance(self.learner, Remembering) else 0
        return spaced(n, N_FITTED)

    def _estimate_insert(self, n: int, shape: Shape, n_further: int = 0) -> InsertionEstimate:
        """The insert of n samples, with the fit of a transform that comes first.

        Args:
            n: samples.
            shape: of one.
            n_further: samples that the learner stores before it.
        """
        length, n_fitted = self.key_length(shape), len(self._fitted_samples(n_further))
        if not n_fitted or not n:
            return self.memory.estimate_insert(n, length)
        assert isinstance(self.memory, TransformedMemory)
        insertion = self.memory.estimate_insert(n, length, fitted=True)
        fitting = Work(self.reading_flops(n_fitted, shape)) + self.memory.estimate_fitting(n_fitted, length)
        return insertion._replace(work=insertion.work + fitting)

    def flush(self) -> Bill:
        """Let the learner learn from all pending samples; then renew the keys, if `rekeying` is `on_learn`.

        The bill uses the mean price of the pending samples, so each chunk pays its share at its own price.
        """
        bill = self.shared.flush()
        return bill + self._rekey(bill[0].price) if bill and self.rekeying.on_learn else bill

    def rekey_if_due(self, price: float) -> Bill:
        """The periodic re-keying, if it follows the last chunk; `price` is that chunk's."""
        return self.flush() + self._rekey(price) if self.rekeying_due else []

    def _rekey(self, price: float) -> Bill:
        if not self.stale:
            return []
        forward = Work()

        def renew(ids: Int64[Tensor, " n"]) -> Outputs:
            nonlocal forward
            inputs = self.raw_images.of(ids).inputs  # a new tensor, which no other agent has
            outputs, work = self.shared.forward(inputs, self.keys, remembered=False, plain=True)
            forward += work
            return outputs

        assert isinstance(self.memory, Rekeyable)
        stored = self.memory.rekey(renew)
        self.meter.add("memorize", stored)
        self._keyed_by = self.learner.version
        return [Charge("rekey", forward + stored, price)]

    def estimate_flush(self, inputs: Shaped[Tensor, "n ..."]) -> Bill:
        """The bill of `flush`, without seconds and without doing it.

        Args:
            inputs: of the learner's input shape; their number does not matter.
        """
        if not self.learner.pending:
            return []
        price, rekeying = self.shared.admitted.price, self._rekeying_on_learn(inputs.shape[1:])
        bill: Bill = [Charge("learn", self.shared.estimate(inputs[:0]).later, price)]
        return bill + ([Charge("rekey", rekeying, price)] if rekeying != Work() else [])

    def estimate_learning(self, chunk: Chunk) -> Estimate:
        """Estimate `learn`, with the chunk's share of a `flush` right after it.

        It includes re-keying on learning, but not re-keying every n chunks, which no single decision causes.
        """
        (at_once, later), rekeying = self.shared.estimate(chunk.inputs), self._rekeying_on_learn(chunk.inputs.shape[1:])
        stored = self._samples_nbytes(at_once, chunk.inputs)
        if later == Work():
            return Estimate([Charge("learn", at_once + rekeying, chunk.price)], samples_nbytes=stored)
        share = len(chunk) / (self.shared.admitted.n_samples + len(chunk))
        shared = Charge("learn", later + rekeying, chunk.price)
        mean_price = self.shared.admitted.plus(chunk).price
        return Estimate(
            [Charge("learn", at_once, chunk.price)],
            (shared,),
            share,
            shared_price=mean_price,
            samples_nbytes=stored,
        )

    def estimate_memorizing(self, chunk: Chunk, *, looked: bool) -> Estimate:
        """Estimate `memorize`, with the `flush` that comes first.

        Args:
            chunk: the current one.
            looked: whether the outputs of the current learner on it are known and paid for.
        """
        insertion = self._estimate_insert(len(chunk), chunk.inputs.shape[1:])
        n_raw, one = len(self.raw_images), self.raw_images.nbytes_of(chunk.inputs[:1])
        n_stored = len(chunk) * self.raw_images.stores
        held = insertion.held_nbytes + one * (
            self._remaining(n_raw + n_stored, len(chunk), insertion.n_evicted) - n_raw
        )
        flops = 0 if looked else self.reading_flops(len(chunk), chunk.inputs.shape[1:])
        pending = self.estimate_flush(chunk.inputs)
        bill = [*pending, Charge("memorize", insertion.work + Work(flops, one * len(chunk)), chunk.price)]
        return Estimate(bill, held_nbytes=held)

    def estimate_consolidating(self, chunk: Chunk, *, looked: bool) -> Estimate:
        """Estimate `consolidate`, with a `flush` right after it; the arguments are those of `estimate_memorizing`.

        Where a capacity evicts entries, it takes those that wait for the learner to be as likely to go as others. Of
        entries that are released or re-keyed it counts what a plain memory of entries needs, without what a transform
        or an eviction adds.
        """
        memorizing, shape = self.estimate_memorizing(chunk, looked=looked), chunk.inputs.shape[1:]
        n, n_evicted = len(chunk), self._estimate_insert(len(chunk), shape).n_evicted
        waiting = self._remaining(len(self.raw_images.unlearned) + n, n, n_evicted)
        n_learned = min(waiting, self.consolidation.images)
        if not n_learned:
            return memorizing
        n_released = n_learned if self.consolidation.release else 0
        images = chunk.inputs.new_empty(1, *shape).expand(n_learned, *shape)
        at_once, later = self.shared.estimate(images)
        stored = self._samples_nbytes(at_once, images)
        rekeying = self._rekeying_on_learn(shape, self.memory.n_entries + n - n_evicted - n_released)
        held = memorizing.held_nbytes - n_released * self._entry_nbytes(shape)
        if n_released or not self.rekeying.needs_inputs:
            held -= n_learned * self.raw_images.nbytes_of(chunk.inputs[:1])
        if later == Work():
            bill = [*memorizing.bill, Charge("learn", at_once + rekeying, chunk.price)]
            return Estimate(bill, held_nbytes=held, samples_nbytes=stored)
        bill = [*memorizing.bill, Charge("learn", at_once, chunk.price)]
        shared = (Charge("learn", later + rekeying, chunk.price),)
        return Estimate(bill, shared, held_nbytes=held, samples_nbytes=stored)

    def _samples_nbytes(self, learning: Work, inputs: Shaped[Tensor, "n ..."]) -> int:
        """Bytes of samples that the learner stores in addition when it learns from inputs, at most."""
        learner = self.learner
        most = learner.most_nbytes(inputs) if isinstance(learner, BoundedStorage) else math.inf
        return int(min(learning.nbytes, max(0, most - learner.nbytes)))

    def estimate_learning_and_memorizing(self, chunk: Chunk) -> Estimate:
        """Estimate `learn_and_memorize`, with the training of all that is pending, which it does.

        It does not count the entries that go because the learner stores more in a capacity that they share.
        """
        learning, shape, n = self.estimate_learning(chunk), chunk.inputs.shape[1:], len(chunk)
        one = chunk.inputs[:1]
        n_further = learning.samples_nbytes // max(one.nbytes + len(one) * LABEL_NBYTES, 1)
        insertion = self._estimate_insert(n, shape, n_further)
        written = self.raw_images.nbytes_of(chunk.inputs, learned=True)
        memorizing = insertion.work + Work(self.reading_flops(n, shape), written)
        n_raw, n_stored = len(self.raw_images), n * self.raw_images.all_kept
        n_gone = n_raw + n_stored - self._remaining(n_raw + n_stored, n, insertion.n_evicted)
        held = insertion.held_nbytes + written - n_gone * self.raw_images.nbytes_of(one)
        bill = [*learning.whole, Charge("memorize", memorizing, chunk.price)]
        return Estimate(bill, held_nbytes=held, samples_nbytes=learning.samples_nbytes)

    def _remaining(self, n_raw: int, n: int, n_evicted: int) -> int:
        """How many of `n_raw` images remain when n entries come and some go, each as likely as the others."""
        return n_raw - n_evicted * n_raw // max(self.memory.n_entries + n, 1)

    def _entry_nbytes(self, shape: Shape) -> int:
        """Bytes that one entry more takes."""
        one, two = (self.memory.estimate_insert(n, self.key_length(shape)).work.nbytes for n in (1, 2))
        return two - one

    def _rekeying_on_learn(self, shape: Shape, n_entries: int | None = None) -> Work:
        """The work of the re-keying that follows a change of the learner, of all entries or of another number."""
        n = len(self.raw_images) if n_entries is None else n_entries
        if not self.rekeying.on_learn or not n:
            return Work()
        assert isinstance(self.memory, Rekeyable)
        work = Work(self.reading_flops(n, shape))
        if n_entries is None:
            return work + self.memory.estimate_rekey()
        return work + Work(nbytes=n * (self._entry_nbytes(shape) - LABEL_NBYTES))

    def reading_flops(self, n: int, shape: Shape) -> int:
        """FLOPs of computing the keys of n inputs of `shape`, for the memory."""
        learner = self.learner
        if isinstance(learner, KeyReading):
            return learner.reading_flops(n, shape)
        return learner.forward_flops(n, shape)

    def key_length(self, shape: Shape) -> int:
        """Numbers in the agent's key of an input of `shape`."""
        return self.keys.length if self.keys else self.learner.key_length(shape)

    def check_stores(self, chunk: Chunk) -> None:
        """Raise InvalidSetting if this agent cannot store such chunks.

        The learner has fewer columns than its keys, the keys are too long for the memory, or the learner may store more
        than a capacity that it shares with the memory.
        """
        n_columns = self.learner.key_length(chunk.inputs.shape[1:])
        if self.keys and not 0 <= self.keys.first < self.keys.end <= n_columns:
            raise InvalidSetting(f"expected columns of the learner's {n_columns} numbers in a key, got {self.keys}")
        self.estimate_memorizing(chunk, looked=False)
        shared = self.memory.shared_nbytes if isinstance(self.memory, Decorated) else None
        learner = self.learner
        most = learner.most_nbytes(chunk.inputs) if isinstance(learner, BoundedStorage) else math.inf
        if shared is not None and most >= shared:
            stores = "any number of bytes" if math.isinf(most) else f"{most:,} bytes"
            raise InvalidSetting(
                f"expected a learner that stores less than the {shared:,} bytes that it shares with the memory, got "
                f"{stores}; bound it, as in --learner online:stored=500, or raise --capacity"
            )

    def forward(self, inputs: Shaped[Tensor, "n ..."]) -> tuple[Outputs, Work]:
        """The learner's outputs, with the agent's part of the keys; the learner must be flushed."""
        return self.shared.forward(inputs, self.keys)

    def answering(self, n: int, shape: Shape) -> Work:
        """The work of answering n queries of `shape`: a forward pass and a look-up at one setting for each."""
        flops = self.learner.forward_flops(n, shape) + self.memory.recall_flops(n)
        return Work(flops, samples=n)

    def look(
        self,
        inputs: Shaped[Tensor, "n ..."],
        settings: tuple[Setting, ...],
        before: CachedOutputs | None = None,
        *,
        part: Part = "recall",
    ) -> tuple[CachedOutputs, ReadOut, Work]:
        """Pass inputs through the network and look their keys up in memory; the learner must be flushed.

        Args:
            inputs: any number of them.
            settings: of the recall.
            before: result of an earlier call with the same inputs, by this agent, an ancestor, or a fork that did
                nothing else since. The network then computes only if the learner has changed, and the memory only what
                has changed, if it can.
            part: of the meter, for the recall.

        Returns:
            The outputs for the next call, the read-out, and the work of what was computed.
        """
        spent = Work()
        if before and before.learner == self.learner.version:
            outputs, looked = before.outputs, before.looked
        else:
            before = None
            outputs, looked = self.forward(inputs)
            spent = looked
        if before and (before.settings != settings or before.memory != self.memory.version):
            before = None
        read_out, recall, new = self.memory.recall(outputs.keys, settings, before.recall if before else None)
        self.meter.add(part, new)
        recalled = before.recalled + new if before else new
        versions = self.learner.version, self.memory.version
        return CachedOutputs(*versions, outputs, looked, settings, recall, recalled), read_out, spent + new

    def fit(
        self,
        validation: LabelledInputs,
        before: CachedOutputs | None = None,
        usable: Bool[Tensor, " n_validation"] | None = None,
        rule: Rule | None = None,
    ) -> tuple[Mixture, CachedOutputs | None, Work]:
        """Fit the mixture to validation data; the learner must be flushed.

        It uses only images of seen classes, so that nothing about future classes leaks. Without any such image the
        mixture stays as it is, without work; with an empty memory it is w = 1, without work, and so is a fixed one.

        Args:
            validation: data that neither trained the learner nor entered the memory.
            before: cached outputs on the validation data; see `look`.
            usable: which images may be used; None for all.
            rule: None for the agent's own.
        """
        rule = rule or self.rule
        if not self.memory.n_entries:
            return Mixture(), before, Work()
        if rule == "fixed":
            return fixed_mixture(self.memory.prior), before, Work()
        known = torch.isin(validation.labels.cpu(), torch.tensor(sorted(self.seen_classes)))
        if usable is not None:
            known &= usable
        if not known.any():
            return self.mixture, before, Work()
        cached, read_out, spent = self.look(validation.inputs, self.memory.settings, before, part="calibration")
        start = time.perf_counter()
        labels = validation.labels.cpu()[known]
        learner, memory = cached.outputs.probabilities.cpu()[known], read_out.probabilities.cpu()[:, known]
        temperature = fit_temperature(learner, labels) if rule == "calibrated" else 1.0
        mixture = self.memory.fit(tempered(learner, temperature), memory, labels, within=WITHIN[rule])
        fitting = Work(seconds=time.perf_counter() - start)
        self.meter.add("calibration", fitting)
        return replace(mixture, temperature=temperature), cached, spent + fitting

    def calibrate(
        self,
        validation: LabelledInputs,
        before: CachedOutputs | None = None,
        usable: Bool[Tensor, " n_validation"] | None = None,
    ) -> tuple[CachedOutputs | None, Work]:
        """Replace the mixture by that of `fit` by the agent's own rule; the arguments are the same."""
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
        combined = self.memory.combine(tempered(learner, mixture.temperature), memory, mixture)
        return Prediction(combined, learner, memory if self.memory.n_entries else None), cached, read_out, spent

    def fork(self) -> "Agent":
        """An independent agent with the same past, which draws the same random numbers."""
        [fork] = fork_together([self])
        return fork

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `load_state` restores the agent to the bit."""
        return {**self.shared.state(), **self.own_state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self.shared.load_state(state)
        self.load_own_state(state)

    def own_state(self) -> dict[str, Any]:
        """The state without that of the learner, which agents may share."""
        return {
            "memory": self.memory.state(),
            "mixture": self.mixture.as_json(),
            "raw_images": self.raw_images.state(),
            "n_chunks": self.n_chunks,
            "n_learned": self.n_learned,
            "n_memorized": self.n_memorized,
            "seen_classes": sorted(self.seen_classes),
            "stale": self.stale,
        }

    def load_own_state(self, state: dict[str, Any]) -> None:
        """Restore what `own_state` returned, after the learner."""
        self.memory.load_state(state["memory"])
        self.mixture = Mixture.from_json(state["mixture"])
        self.raw_images.load_state(state["raw_images"])
        self.n_chunks = state["n_chunks"]
        self.n_learned, self.n_memorized = state["n_learned"], state["n_memorized"]
        self.seen_classes = set(state["seen_classes"])
        self._reserve()
        self._keyed_by = None if state["stale"] else self.learner.version


def share(agents: Sequence[Agent]) -> None:
    """Let agents at initialization share their learner.

    Raises:
        InvalidSetting: they have different learners.
    """
    shared = agents[0].shared
    for agent in agents:
        if agent.learner is not shared.learner:
            raise InvalidSetting(
                "expected agents of one learner (the same object), got two; run lifetimes of different learners apart"
            )
        agent.shared = shared


def fork_together(agents: Sequence[Agent]) -> list[Agent]:
    """Forks of agents that share a learner, which share a fork of it."""
    shared, forks = agents[0].shared.fork(), []
    for agent in agents:
        fork = copy.copy(agent)
        fork.shared, fork.memory = shared, agent.memory.fork()
        fork.raw_images, fork.seen_classes = agent.raw_images.fork(), set(agent.seen_classes)
        forks.append(fork)
    return forks
