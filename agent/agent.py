"""The agent: a learner, a memory, and the mixture of what they say."""

import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from agent.accounting.work import Bill, Charge, Work
from agent.data.chunk import Chunk, LabelledImages
from agent.data.sample_store import LABEL_NBYTES, SampleStore
from agent.evaluation.scores import Prediction
from agent.learners import Learner, Outputs
from agent.memory import Memory, Recall
from agent.memory.mixture import PRIOR_THETA, THETA_GRID, Mixture, fit_mixture
from agent.memory.rekeying import Rekeying
from agent.version import Version


@dataclass(frozen=True)
class CachedOutputs:
    """What an agent made of a fixed set of images, kept for the next look at them; forks may go on from the same."""

    learner: Version
    """The learner's, at the time."""
    memory: Version
    """The memory's, at the time."""
    outputs: Outputs
    thetas: tuple[float, ...]
    recall: Recall
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
    """

    def __init__(
        self,
        learner: Learner,
        memory: Memory,
        mixture: Mixture | None = None,
        rekeying: Rekeying = Rekeying(),  # noqa: B008 (frozen)
    ) -> None:
        self.learner = learner
        self.memory = memory
        self.mixture = mixture or Mixture()
        self.rekeying = rekeying
        self.raw_images = SampleStore(torch.device("cpu"))
        self.n_chunks = 0
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

    def learn(self, chunk: Chunk) -> Bill:
        """Spend compute: let the learner learn from the chunk."""
        bill: Bill = [Charge("learn", self.learner.learn(chunk), chunk.price)]
        self.seen_classes.update(chunk.labels.tolist())
        if self.learner.pending:
            self.admitted = self.admitted.plus(chunk)
        elif self.rekeying.on_learn:
            bill += self._rekey(chunk.price)
        return bill + self._age(chunk.price)

    def memorize(self, chunk: Chunk, outputs: Outputs | None = None) -> Bill:
        """Spend storage: append the chunk to the memory, under keys of the learner as it is now.

        Args:
            chunk: to be stored.
            sight: of the chunk, if the learner as it is has looked already; its work is not billed again.
        """
        bill = self.flush()
        seen = outputs or self.learner.forward(chunk.images)
        if not self.memory.n_entries:
            self._keyed_by = self.learner.version
        elif self.stale:
            self._keyed_by = None
        stored = self.memory.insert(seen.keys, chunk.labels)
        self.seen_classes.update(chunk.labels.tolist())
        if self.rekeying.needs_images:
            before = self.raw_images.nbytes
            self.raw_images.append(chunk.images, chunk.labels)
            stored += Work(nbytes=self.raw_images.nbytes - before)
        bill.append(Charge("memorize", stored if outputs else seen.work + stored, chunk.price))
        return bill + self._age(chunk.price)

    def flush(self) -> Bill:
        """Bring the learner up to date with all it has admitted, and the keys with the learner if they follow it.

        Whoever asks for it, the chunks that were admitted pay, in proportion to their samples, each at its own price.
        """
        if not self.learner.pending:
            return []
        price, self.admitted = self.admitted.price, Admitted()
        bill: Bill = [Charge("learn", self.learner.flush(), price)]
        return bill + (self._rekey(price) if self.rekeying.on_learn else [])

    def _age(self, price: float) -> Bill:
        self.n_chunks += 1
        if not self.rekeying.every or self.n_chunks % self.rekeying.every:
            return []
        return self.flush() + self._rekey(price)

    def _rekey(self, price: float) -> Bill:
        if not self.stale:
            return []
        looked = Work()

        def keys_of(first: int, end: int) -> Tensor:
            nonlocal looked
            outputs = self.learner.forward(self.raw_images.batch(torch.arange(first, end))[0])
            looked += outputs.work
            return outputs.keys

        stored = self.memory.rekey(keys_of)
        self._keyed_by = self.learner.version
        return [Charge("rekey", looked + stored, price)]

    def estimate_flush(self, images: UInt8[Tensor, "n 3 height width"]) -> Bill:
        """What `flush` would bill now, without its seconds; nothing is done.

        Args:
            images: any number of the size of those admitted.
        """
        if not self.learner.pending:
            return []
        price = self.admitted.price
        bill: Bill = [Charge("learn", self.learner.estimate(images[:0]).later, price)]
        return bill + ([Charge("rekey", self._rekeying_work(), price)] if self._rekeys_on_learn else [])

    def estimate_learning(self, chunk: Chunk) -> Estimate:
        """What LEARN takes, and the `flush` right after it as far as this chunk pays for it; nothing is done.

        The re-keying on learning is part of it. Re-keying every n chunks follows from no single decision, and is left
        out; so is holding what the learner keeps.
        """
        at_once, later = self.learner.estimate(chunk.images)
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
        entries = self.memory.nbytes_of(len(chunk), self.learner.key_length(chunk.images))
        raw_images = chunk.images.nbytes + len(chunk) * LABEL_NBYTES if self.rekeying.needs_images else 0
        flops = 0 if looked else self.learner.forward_flops(chunk.images)
        pending = self.estimate_flush(chunk.images)
        bill = [*pending, Charge("memorize", Work(flops, entries + raw_images), chunk.price)]
        return Estimate(bill, held_nbytes=entries + raw_images)

    @property
    def _rekeys_on_learn(self) -> bool:
        return self.rekeying.on_learn and len(self.raw_images) > 0

    def _rekeying_work(self) -> Work:
        """Of computing all keys anew."""
        one, n = self.raw_images.batch(torch.arange(1))[0], len(self.raw_images)
        return Work(n * self.learner.forward_flops(one), self.memory.nbytes - self.raw_images.labels.nbytes)

    def answering(self, n: int, images: UInt8[Tensor, "m 3 height width"]) -> Work:
        """The work of answering n queries: for each a forward pass, and a look-up in memory at one θ.

        Args:
            n: number of queries.
            images: one or more of their size.
        """
        each = self.learner.forward_flops(images[:1]) + self.memory.query_flops
        return Work(n * each, samples=n)

    def look(
        self, images: UInt8[Tensor, "n 3 height width"], thetas: tuple[float, ...], before: CachedOutputs | None = None
    ) -> tuple[CachedOutputs, Work]:
        """Look at images, again or for the first time; the learner must be settled.

        Args:
            images: to be seen and looked up in memory.
            thetas: θ of the look-up.
            before: an earlier glance at the same images, by this agent, an ancestor, or a fork of it that only looked.
                The learner looks again only if it has moved on, and only entries that are new since are compared.

        Returns:
            The new glance, and the work it took: nothing for what has not changed.
        """
        spent = Work()
        if before is not None and before.learner != self.learner.version:
            before = None
        if before is None:
            outputs = self.learner.forward(images)
            spent = outputs.work
        else:
            outputs = before.outputs
        if before is None or before.thetas != thetas or before.memory != self.memory.version:
            recall, new = self.memory.recall(outputs.keys, torch.tensor(thetas))
            recalled = new
        else:
            recall, new = self.memory.recall(outputs.keys, torch.tensor(thetas), after=before.recall)
            recalled = before.recalled + new
        return CachedOutputs(self.learner.version, self.memory.version, outputs, thetas, recall, recalled), spent + new

    def fit(
        self,
        validation: LabelledImages,
        before: CachedOutputs | None = None,
        usable: Bool[Tensor, " n_validation"] | None = None,
    ) -> tuple[Mixture, CachedOutputs | None, Work]:
        """The mixture that suits validation data, which must neither train the learner nor enter the memory.

        Of the validation data those count whose class the agent has been taught, lest it learn of the future; without
        any, the mixture stays as it is, at no work. With an empty memory there is nothing to fit: w = 1, and no work.
        The learner must be settled.

        Args:
            validation: images and their classes.
            before: an earlier glance at them; see `look`.
            usable: which of them show what the stream has shown so far; None for all.
        """
        if not self.memory.n_entries:
            return Mixture(), before, Work()
        known = torch.isin(validation.labels.cpu(), torch.tensor(sorted(self.seen_classes)))
        if usable is not None:
            known &= usable
        if not known.any():
            return self.mixture, before, Work()
        cached, spent = self.look(validation.images, THETA_GRID, before)
        start = time.perf_counter()
        learner, memory = cached.outputs.probabilities.cpu(), cached.recall.probabilities.cpu()
        mixture = fit_mixture(learner[known], memory[:, known], validation.labels.cpu()[known])
        return mixture, cached, spent + Work(seconds=time.perf_counter() - start)

    def calibrate(
        self,
        validation: LabelledImages,
        before: CachedOutputs | None = None,
        usable: Bool[Tensor, " n_validation"] | None = None,
    ) -> tuple[CachedOutputs | None, Work]:
        """Take on the mixture that `fit` finds; see there for the arguments."""
        self.mixture, cached, spent = self.fit(validation, before, usable)
        return cached, spent

    def answer(
        self,
        images: UInt8[Tensor, "n 3 height width"],
        before: CachedOutputs | None = None,
        mixture: Mixture | None = None,
        *,
        at_every_theta: bool = False,
    ) -> tuple[Prediction, CachedOutputs, Work]:
        """Predict images with the agent's mixture, or another; the learner must be settled.

        Args:
            images: to be predicted.
            before: an earlier glance at them; see `look`.
            mixture: None for the agent's own.
            at_every_theta: recall at all of `THETA_GRID`, so that the next look finds what it needs whatever θ is then.
        """
        mixture = mixture or self.mixture
        theta = mixture.theta or PRIOR_THETA
        thetas = THETA_GRID if at_every_theta else (theta,)
        cached, spent = self.look(images, thetas, before)
        learner, memory = cached.outputs.probabilities, cached.recall.probabilities[thetas.index(theta)]
        told = memory if cached.recall.n_entries else None
        return Prediction(mixture.mix(learner, memory), learner, told), cached, spent

    def predict(self, images: UInt8[Tensor, "n 3 height width"]) -> tuple[Prediction, Bill]:
        """Probabilities for images, once the learner is up to date; the work is `answer`."""
        flushed = self.flush()
        prediction, cached, _ = self.answer(images)
        return prediction, [*flushed, Charge("answer", cached.outputs.work + cached.recalled)]

    def fork(self) -> "Agent":
        """An agent with the same past, and a future that draws the same numbers."""
        fork = Agent(self.learner.fork(), self.memory.fork(), self.mixture, self.rekeying)
        fork.raw_images, fork.n_chunks, fork._keyed_by = self.raw_images.fork(), self.n_chunks, self._keyed_by
        fork.seen_classes, fork.admitted = set(self.seen_classes), self.admitted
        return fork

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `load_state` restores the agent to the bit."""
        return {
            "learner": self.learner.state(),
            "memory": self.memory.state(),
            "mixture": {"w": self.mixture.w, "theta": self.mixture.theta},
            "kept": self.raw_images.state(),
            "n_chunks": self.n_chunks,
            "taught": sorted(self.seen_classes),
            "admitted": [self.admitted.n_samples, self.admitted.priced],
            "stale": self.stale,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Become the agent whose `state` this is."""
        self.learner.load_state(state["learner"])
        self.memory.load_state(state["memory"])
        self.mixture = Mixture(**state["mixture"])
        self.raw_images.load_state(state["kept"])
        self.n_chunks, self.seen_classes = state["n_chunks"], set(state["taught"])
        n_samples, priced = state["admitted"]
        self.admitted = Admitted(n_samples, priced)
        self._keyed_by = None if state["stale"] else self.learner.version
