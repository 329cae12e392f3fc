"""The cooldown learner: a trunk trained at a high rate, and a short cool-down of a copy at each flush."""

import math
import time
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Int64, Shaped
from torch import Tensor

from agent.accounting.work import Work
from agent.data.sample_store import SampleStore
from agent.errors import InvalidSetting
from agent.learners.online import OnlineLearner
from agent.learners.predicting import NetworkLearner
from agent.learners.protocol import LearningEstimate
from agent.learners.training import (
    Training,
    check_finite,
    clone,
    one_minus_sqrt,
    passes,
    weights_of,
)
from agent.networks.keys import Keys
from agent.networks.protocol import Network
from agent.randomness import named_generator
from agent.version import Version

MAX_SHARE = 100


class CooldownLearner(NetworkLearner):
    """A trunk learns each chunk at a high rate; predictions come from a copy of it that has been cooled down.

    A cool-down takes a share of the steps that the trunk has taken, on batches drawn uniformly from all samples stored,
    at the trunk's last rate times 1 - √t as t goes from 0 to 1 (Hägele et al. 2024, arXiv:2405.18392, equation 1). The
    trunk itself never cools down. So one trunk and its cool-downs give a converged network for each amount of data, for
    little more than one training. Consecutive LEARNs share one cool-down. Its random numbers depend on the seed and the
    trunk alone, not on earlier cool-downs, and forks that need the same cool-down share the result.

    Args:
        network: initial weights; the learner owns the network from now on.
        training: the recipe, bound to a data set and a device.
        keys: where keys are read.
        share: length of a cool-down, as a share of the trunk's steps so far; above 0.
        epochs: samples that the trunk trains on for each new sample, rehearsed ones included, above 0; cool-downs
            come on top.
        rehearsal: share of the trunk's batches drawn from earlier chunks, 0 to below 1.
        timescale: gradient steps after which the trunk's learning rate has fallen to 0.71 of what it was; inf for a
            constant rate. See `OnlineLearner`.
        stored: the most samples that stay after a chunk, for rehearsal and cool-downs; None for all. See
            `OnlineLearner`.
        seed: seed of all random draws of trunk and cool-downs.

    Raises:
        InvalidSetting: a setting outside its range, places that the network lacks, or a recipe that lacks some of its
            parameters.

    References:
        Hägele et al. 2024, arXiv:2405.18392
    """

    lazy: ClassVar[bool] = True

    def __init__(
        self,
        network: Network,
        training: Training,
        keys: Keys,
        *,
        share: float = 0.1,
        epochs: float = 4,
        rehearsal: float = 0.5,
        timescale: float = math.inf,
        stored: int | None = None,
        seed: int = 0,
    ) -> None:
        if not 0 < share <= MAX_SHARE:
            raise InvalidSetting(
                f"expected a cool-down of more than 0 times the steps so far, at most {MAX_SHARE}, got {share}"
            )
        super().__init__(training, keys)
        self.trunk = OnlineLearner(
            network,
            training,
            keys,
            epochs=epochs,
            rehearsal=rehearsal,
            timescale=timescale,
            ema_decay=0.0,
            stored=stored,
            seed=seed,
            keeps=True,
        )
        self.share, self.seed = share, seed
        self.predictor = clone(self.trunk.network, self.trunk.network).eval()
        self.n_cooling_steps = 0
        self._cooled_at: Version | None = self.trunk.version  # of the trunk that `network` was cooled down from
        self._latest: list[_CoolDown] = []  # at most one; this learner and its forks share the list

    def prepare(self, inputs: Shaped[Tensor, "n ..."]) -> Work:
        """Prepare the network as the recipe says; only the first call does anything."""
        before = self.trunk.version
        work = self.trunk.prepare(inputs)
        if self.trunk.version != before:
            self.predictor = clone(self.trunk.network, self.trunk.network).eval()
            self.version, self._cooled_at = self.lineage.next(), self.trunk.version
        return work

    @property
    def n_steps(self) -> int:
        """Gradient steps since initialization, cool-downs included."""
        return self.trunk.n_steps + self.n_cooling_steps

    def learn(self, inputs: Shaped[Tensor, "n ..."], labels: Int64[Tensor, " n"]) -> Work:
        """Train the trunk; see `OnlineLearner.learn`."""
        return self.trunk.learn(inputs, labels)

    @property
    def pending(self) -> bool:
        """Whether the trunk has changed since the last cool-down."""
        return self._cooled_at != self.trunk.version

    def flush(self) -> Work:
        """Cool a copy of the trunk down, if the trunk has changed; the full work is returned even if a fork did it.

        Raises:
            TrainingDiverged: the loss became non-finite.
        """
        if not self.pending:
            return Work()
        if not self._latest or self._latest[0].trunk != self.trunk.version:
            self._latest[:] = [self._cool_down()]
        [done] = self._latest
        self.predictor, self._cooled_at = done.network, done.trunk
        self.version = self.lineage.next()  # not the fork's: charges must not depend on what forks did before
        self.n_cooling_steps += done.n_steps
        return done.work

    def _plan(self, n_trunk_steps: int, n: int) -> tuple[int, int]:
        """Steps of a cool-down on n samples, and samples in each step."""
        return max(1, round(self.share * n_trunk_steps)), min(self.trunk.training.recipe.batch_size, n)

    def _cool_down(self) -> "_CoolDown":
        start = time.perf_counter()
        trunk, training = self.trunk, self.trunk.training
        n_steps, batch = self._plan(trunk.n_steps, len(trunk.samples))
        network, optimizers = clone((trunk.network, trunk.optimizers), trunk.network)
        generator = named_generator(self.seed, f"cool-down at step {trunk.n_steps}")
        losses, rates = [], []
        rows = passes(len(trunk.samples), n_steps * batch, generator).view(n_steps, batch)
        moves = training.augmentation.draw_for(list(rows), batch, generator, trunk.turns.fork(), training.device)
        rows = rows.to(training.device)
        for step in range(n_steps):
            inputs, labels = trunk.samples.batch(rows[step])
            factor = trunk.rate_factor(trunk.n_steps) * one_minus_sqrt(step / n_steps)
            losses.append(training.step(network, optimizers, inputs, labels, moves[step], factor=factor))
            rates.append(training.recipe.lr * factor)
            training.progress(3 * batch)
        check_finite(network, losses, rates, first_step=trunk.n_steps)
        flops = training.flops_of_steps(network, inputs.shape[1:], n_steps * batch, n_steps)
        work = Work(flops, seconds=time.perf_counter() - start, samples=n_steps * batch)
        training.meter.add("cool-downs", work)
        return _CoolDown(trunk.version, network.eval(), n_steps, work)

    def estimate(self, inputs: Shaped[Tensor, "n ..."]) -> LearningEstimate:
        """The work of `learn`, and of the cool-down that follows."""
        at_once, n = self.trunk.estimate(inputs).at_once, self.trunk.n_stored_with(len(inputs))
        if not (len(inputs) or self.pending):
            return LearningEstimate(at_once, Work())
        n_steps, batch = self._plan(self.trunk.n_steps + self.trunk.n_steps_for(len(inputs)), n)
        flops = self.training.flops_of_steps(self.predictor, inputs.shape[1:], n_steps * batch, n_steps)
        return LearningEstimate(at_once, Work(flops, samples=n_steps * batch))

    @property
    def samples(self) -> SampleStore:
        """Those of the trunk."""
        return self.trunk.samples

    @property
    def nbytes(self) -> int:
        """Bytes of the samples held for rehearsal and cool-downs."""
        return self.trunk.nbytes

    def most_nbytes(self, inputs: Shaped[Tensor, "n ..."]) -> float:
        """That of the trunk."""
        return self.trunk.most_nbytes(inputs)

    def fork(self) -> "CooldownLearner":
        """See `NetworkLearner.fork`."""
        fork = super().fork()
        fork.trunk = self.trunk.fork()
        return fork

    def state(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return {
            "trunk": self.trunk.state(),
            "predictor": weights_of(self.predictor),
            "n_cooling_steps": self.n_cooling_steps,
            "pending": self.pending,
            "seed": self.seed,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self.trunk.load_state(state["trunk"])
        self.predictor = clone(self.trunk.network, self.trunk.network).eval()
        self.predictor.load_state_dict(state["predictor"])
        self.n_cooling_steps, self.seed = state["n_cooling_steps"], state["seed"]
        self.version = self.lineage.next()
        self._cooled_at = None if state["pending"] else self.trunk.version
        self._latest = []


@dataclass(frozen=True)
class _CoolDown:
    """The result of a cool-down."""

    trunk: Version
    """Version of the trunk that was cooled down."""
    network: Network
    n_steps: int
    work: Work
