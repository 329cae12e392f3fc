"""The agent: a learner, a memory, and the mixture of what they say."""

import time
from dataclasses import dataclass, replace
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
    """What an agent last made of a fixed set of images.

    Looking again costs a forward pass only if the learner has moved on, and a comparison with the entries that are
    new since. Forks may go on from the same glance.
    """

    images: UInt8[Tensor, "n 3 height width"]
    n_steps: int = -1
    sight: Sight | None = None
    recall: Recall | None = None
    thetas: tuple[float, ...] = ()


class Agent:
    """Learner and memory under one roof; every method that computes returns the bill.

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

    def look(self, glance: Glance, thetas: tuple[float, ...]) -> tuple[Glance, Work, Work]:
        """Look at a fixed set of images, again or for the first time; the learner must be settled.

        Returns:
            The new glance, the work of forward passes and the work of recall; what has not changed costs nothing.
        """
        seen = Work()
        if glance.sight is None or glance.n_steps != self.learner.n_steps:
            sight = self.learner.forward(glance.images)
            seen = sight.work
            glance = Glance(glance.images, self.learner.n_steps, sight)
        assert glance.sight is not None
        known = glance.recall if glance.thetas == thetas else None
        recall, recalled = self.memory.recall(glance.sight.keys, torch.tensor(thetas), after=known)
        return replace(glance, recall=recall, thetas=thetas), seen, recalled

    def calibrate(self, validation: LabelledImages, glance: Glance | None = None) -> tuple[Glance, Bill]:
        """Fit the mixture on validation data, which must neither train the learner nor enter the memory.

        With an empty memory there is nothing to fit: w = 1, and no work.
        """
        glance = glance or Glance(validation.images)
        bill: Bill = [("learn", self.learner.settle())]
        if not self.memory.n_entries:
            self.mixture = Mixture()
            return glance, bill
        glance, seen, recalled = self.look(glance, THETA_GRID)
        start = time.perf_counter()
        assert glance.sight is not None
        assert glance.recall is not None
        self.mixture = fit_mixture(glance.sight.probabilities, glance.recall.probabilities, validation.labels)
        fitted = Work(seconds=time.perf_counter() - start)
        return glance, [*bill, ("calibrate", seen + recalled + fitted)]

    def answer(self, glance: Glance) -> tuple[Prediction, Glance, Work, Work]:
        """Predict a fixed set of images with the mixture as it is.

        Returns:
            The prediction, the new glance, the work of forward passes and the work of recall.
        """
        glance, seen, recalled = self.look(glance, (self.mixture.theta or 1.0,))
        assert glance.sight is not None
        assert glance.recall is not None
        learner, memory = glance.sight.probabilities, glance.recall.probabilities[0]
        return Prediction(self.mixture.mix(learner, memory), learner, memory), glance, seen, recalled

    def predict(self, images: UInt8[Tensor, "n 3 height width"]) -> tuple[Prediction, Bill]:
        """Probabilities for images, once the learner is up to date; looking is `observe`, comparing is `recall`."""
        settled = self.learner.settle()
        prediction, _, seen, recalled = self.answer(Glance(images))
        return prediction, [("learn", settled), ("observe", seen), ("recall", recalled)]

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
