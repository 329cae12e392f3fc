"""The agent: a learner, a memory, and the mixture of what they say."""

import time
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from agent.chunk import Chunk, LabelledImages
from agent.learners import Learner, Sight
from agent.memory import Memory, Recall
from agent.mixture import PRIOR_THETA, THETA_GRID, Mixture, fit_mixture
from agent.rekeying import Rekeying
from agent.samples import SampleStore
from agent.work import Account, Work

Bill = list[tuple[Account, Work]]
"""Work and the accounts that it belongs to."""


@dataclass(frozen=True)
class Prediction:
    """Class probabilities of the agent and of its two parts for the same images."""

    agent: Float[Tensor, "n classes"]
    learner: Float[Tensor, "n classes"]
    memory: Float[Tensor, "n classes"]


@dataclass(frozen=True)
class Glance:
    """What an agent made of a fixed set of images, kept for the next look at them; forks may go on from the same."""

    token: object
    """The learner's, at the time."""
    generation: object
    """The memory's, at the time."""
    sight: Sight
    thetas: tuple[float, ...]
    recall: Recall
    recalled: Work
    """What the recall has cost in all, as much as one from scratch would."""


class Agent:
    """Learner and memory under one roof; every method that computes returns its work.

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
        self.kept = SampleStore(torch.device("cpu"))
        self.n_chunks = 0
        self.met: set[int] = set()
        """Classes that it has been taught, by learning or memorizing."""
        self._keyed_by: object = learner.token  # the weights behind all keys in memory; if several, no learner's token

    @property
    def memory_nbytes(self) -> int:
        """Bytes of the memory and of the raw images kept for re-keying."""
        return self.memory.nbytes + self.kept.nbytes

    @property
    def nbytes(self) -> int:
        """Bytes held in all: memory, raw images, and what the learner rehearses (but no weights)."""
        return self.memory_nbytes + self.learner.nbytes

    @property
    def stale(self) -> bool:
        """Whether the memory holds keys of an older network."""
        return self.memory.n_entries > 0 and self._keyed_by is not self.learner.token

    def learn(self, chunk: Chunk) -> Bill:
        """Spend compute: let the learner learn from the chunk."""
        bill: Bill = [("learn", self.learner.learn(chunk))]
        self.met.update(chunk.labels.tolist())
        if self.rekeying.on_learn and not self.learner.overdue:
            bill += self._rekey()
        return bill + self._age()

    def memorize(self, chunk: Chunk, sight: Sight | None = None) -> Bill:
        """Spend storage: append the chunk to the memory, under keys of the learner as it is now.

        Args:
            chunk: to be stored.
            sight: of the chunk, if the learner as it is has looked already; its work is not billed again.
        """
        bill = self.settle()
        seen = sight or self.learner.forward(chunk.images)
        if not self.memory.n_entries:
            self._keyed_by = self.learner.token
        elif self.stale:
            self._keyed_by = object()
        stored = self.memory.insert(seen.keys, chunk.labels)
        self.met.update(chunk.labels.tolist())
        if self.rekeying.needs_images:
            before = self.kept.nbytes
            self.kept.append(chunk.images, chunk.labels)
            stored += Work(nbytes=self.kept.nbytes - before)
        bill.append(("memorize", stored if sight else seen.work + stored))
        return bill + self._age()

    def settle(self) -> Bill:
        """Bring the learner up to date with all it has admitted, and the keys with the learner if they follow it."""
        if not self.learner.overdue:
            return []
        bill: Bill = [("learn", self.learner.settle())]
        return bill + (self._rekey() if self.rekeying.on_learn else [])

    def _age(self) -> Bill:
        self.n_chunks += 1
        if not self.rekeying.every or self.n_chunks % self.rekeying.every:
            return []
        return self.settle() + self._rekey()

    def _rekey(self) -> Bill:
        if not self.stale:
            return []
        looked = Work()

        def keys_of(first: int, end: int) -> Tensor:
            nonlocal looked
            sight = self.learner.forward(self.kept.batch(torch.arange(first, end))[0])
            looked += sight.work
            return sight.keys

        stored = self.memory.rekey(keys_of)
        self._keyed_by = self.learner.token
        return [("rekey", looked + stored)]

    def foresee_learning(self, chunk: Chunk) -> Work:
        """What `learn` would take, settling and the re-keying on learning included; nothing is done.

        Re-keying every n chunks follows from no single decision, and is left out.
        """
        work = self.learner.foresee(chunk)
        if self.rekeying.on_learn and len(self.kept):
            first, n = self.kept.batch(torch.arange(1))[0], len(self.kept)
            work += Work(n * self.learner.forward_flops(first), self.memory.nbytes - self.kept.labels.nbytes)
        return work

    def foresee_memorizing(self, chunk: Chunk) -> Work:
        """The FLOPs that `memorize` would take for the keys; nothing is done."""
        return Work(self.learner.forward_flops(chunk.images))

    def look(
        self, images: UInt8[Tensor, "n 3 height width"], thetas: tuple[float, ...], before: Glance | None = None
    ) -> tuple[Glance, Work]:
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
        if before is not None and before.token is not self.learner.token:
            before = None
        if before is None:
            sight = self.learner.forward(images)
            spent = sight.work
        else:
            sight = before.sight
        if before is None or before.thetas != thetas or before.generation is not self.memory.generation:
            recall, new = self.memory.recall(sight.keys, torch.tensor(thetas))
            recalled = new
        else:
            recall, new = self.memory.recall(sight.keys, torch.tensor(thetas), after=before.recall)
            recalled = before.recalled + new
        return Glance(self.learner.token, self.memory.generation, sight, thetas, recall, recalled), spent + new

    def fit(self, validation: LabelledImages, before: Glance | None = None) -> tuple[Mixture, Glance | None, Work]:
        """The mixture that suits validation data, which must neither train the learner nor enter the memory.

        Of the validation data those count whose class the agent has met, lest it learn of the future; without any, the
        mixture stays as it is. With an empty memory there is nothing to fit: w = 1, and no work. The learner must be
        settled.
        """
        if not self.memory.n_entries:
            return Mixture(), before, Work()
        glance, spent = self.look(validation.images, THETA_GRID, before)
        start = time.perf_counter()
        known = torch.isin(validation.labels.cpu(), torch.tensor(sorted(self.met)))
        learner, memory = glance.sight.probabilities.cpu(), glance.recall.probabilities.cpu()
        mixture = self.mixture
        if known.any():
            mixture = fit_mixture(learner[known], memory[:, known], validation.labels.cpu()[known])
        return mixture, glance, spent + Work(seconds=time.perf_counter() - start)

    def calibrate(self, validation: LabelledImages, before: Glance | None = None) -> tuple[Glance | None, Work]:
        """Take on the mixture that `fit` finds."""
        self.mixture, glance, spent = self.fit(validation, before)
        return glance, spent

    def answer(
        self,
        images: UInt8[Tensor, "n 3 height width"],
        before: Glance | None = None,
        mixture: Mixture | None = None,
        *,
        at_every_theta: bool = False,
    ) -> tuple[Prediction, Glance, Work]:
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
        glance, spent = self.look(images, thetas, before)
        learner, memory = glance.sight.probabilities, glance.recall.probabilities[thetas.index(theta)]
        return Prediction(mixture.mix(learner, memory), learner, memory), glance, spent

    def predict(self, images: UInt8[Tensor, "n 3 height width"]) -> tuple[Prediction, Bill]:
        """Probabilities for images, once the learner is up to date; looking is `observe`, comparing is `recall`."""
        settled = self.settle()
        prediction, glance, _ = self.answer(images)
        return prediction, [*settled, ("observe", glance.sight.work), ("recall", glance.recalled)]

    def fork(self) -> "Agent":
        """An agent with the same past, and a future that draws the same numbers."""
        fork = Agent(self.learner.fork(), self.memory.fork(), self.mixture, self.rekeying)
        fork.kept, fork.n_chunks, fork._keyed_by = self.kept.fork(), self.n_chunks, self._keyed_by
        fork.met = set(self.met)
        return fork

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `load_state` restores the agent to the bit."""
        return {
            "learner": self.learner.state(),
            "memory": self.memory.state(),
            "mixture": {"w": self.mixture.w, "theta": self.mixture.theta},
            "kept": self.kept.state(),
            "n_chunks": self.n_chunks,
            "met": sorted(self.met),
            "stale": self.stale,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Become the agent whose `state` this is."""
        self.learner.load_state(state["learner"])
        self.memory.load_state(state["memory"])
        self.mixture = Mixture(**state["mixture"])
        self.kept.load_state(state["kept"])
        self.n_chunks, self.met = state["n_chunks"], set(state["met"])
        self._keyed_by = object() if state["stale"] else self.learner.token
