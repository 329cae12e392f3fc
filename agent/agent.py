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
from agent.mixture import THETA_GRID, Mixture, fit_mixture
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
    """

    def __init__(self, learner: Learner, memory: Memory, mixture: Mixture | None = None) -> None:
        self.learner = learner
        self.memory = memory
        self.mixture = mixture or Mixture()

    def learn(self, chunk: Chunk) -> Bill:
        """Spend compute: let the learner learn from the chunk."""
        return [("learn", self.learner.learn(chunk))]

    def memorize(self, chunk: Chunk) -> Bill:
        """Spend storage: append the chunk to the memory, under keys of the learner as it is now."""
        settled = self.learner.settle()
        sight = self.learner.forward(chunk.images)
        stored = self.memory.insert(sight.keys, chunk.labels)
        return [("learn", settled), ("memorize", sight.work + stored)]

    def look(
        self, images: UInt8[Tensor, "n 3 height width"], thetas: tuple[float, ...], before: Glance | None = None
    ) -> tuple[Glance, Work]:
        """Look at images, again or for the first time; the learner must be settled.

        Args:
            images: to be seen and looked up in memory.
            thetas: θ of the look-up.
            before: an earlier glance at the same images, by this agent, an ancestor, or a fork of it that only looked.
                The learner looks again
                only if it has moved on, and only entries that are new since are compared.

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
        if before is None or before.thetas != thetas:
            recall, new = self.memory.recall(sight.keys, torch.tensor(thetas))
            recalled = new
        else:
            recall, new = self.memory.recall(sight.keys, torch.tensor(thetas), after=before.recall)
            recalled = before.recalled + new
        return Glance(self.learner.token, sight, thetas, recall, recalled), spent + new

    def calibrate(self, validation: LabelledImages, before: Glance | None = None) -> tuple[Glance | None, Work]:
        """Fit the mixture on validation data, which must neither train the learner nor enter the memory.

        With an empty memory there is nothing to fit: w = 1, and no work. The learner must be settled.
        """
        if not self.memory.n_entries:
            self.mixture = Mixture()
            return before, Work()
        glance, spent = self.look(validation.images, THETA_GRID, before)
        start = time.perf_counter()
        self.mixture = fit_mixture(glance.sight.probabilities, glance.recall.probabilities, validation.labels)
        return glance, spent + Work(seconds=time.perf_counter() - start)

    def answer(
        self, images: UInt8[Tensor, "n 3 height width"], before: Glance | None = None
    ) -> tuple[Prediction, Glance, Work]:
        """Predict images with the mixture as it is; the learner must be settled."""
        glance, spent = self.look(images, (self.mixture.theta or 1.0,), before)
        learner, memory = glance.sight.probabilities, glance.recall.probabilities[0]
        return Prediction(self.mixture.mix(learner, memory), learner, memory), glance, spent

    def predict(self, images: UInt8[Tensor, "n 3 height width"]) -> tuple[Prediction, Bill]:
        """Probabilities for images, once the learner is up to date; looking is `observe`, comparing is `recall`."""
        settled = self.learner.settle()
        prediction, glance, _ = self.answer(images)
        return prediction, [("learn", settled), ("observe", glance.sight.work), ("recall", glance.recalled)]

    def fork(self) -> "Agent":
        """An agent with the same past, and a future that draws the same numbers."""
        return Agent(self.learner.fork(), self.memory.fork(), self.mixture)

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `load_state` restores the agent to the bit."""
        mixture = {"w": self.mixture.w, "theta": self.mixture.theta}
        return {"learner": self.learner.state(), "memory": self.memory.state(), "mixture": mixture}

    def load_state(self, state: dict[str, Any]) -> None:
        """Become the agent whose `state` this is."""
        self.learner.load_state(state["learner"])
        self.memory.load_state(state["memory"])
        self.mixture = Mixture(**state["mixture"])
